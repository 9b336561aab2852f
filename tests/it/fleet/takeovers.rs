//! Coordinators that take over on machines whose clocks show another time, and
//! those that leave things behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use mintmark::fleet::agent::read_clocks;
use mintmark::fleet::message::{Card, Leader, PROTOCOL, Spec};
use mintmark::load::pacer::now_ns;
use mintmark::scenario::Scenario;

use super::control::{steer, wait_for_a_slice};
use super::coordinators::resume;
use super::keys::wait_for_run;
use super::{Process, Stage, check, fleet_of, has_finding, is_whole, open_of};

/// Starts `fleet resume` where the monotonic clock is a day ahead, as on a
/// machine that has run for longer; nothing if that cannot be done here.
fn resume_elsewhere(stage: &Stage) -> Option<Process> {
    let apart = || {
        let mut command = Command::new("unshare");
        command.args(["--time", "--monotonic", "86400", "--fork", "--kill-child"]);
        command
    };
    let can = apart().arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("skipped: there are no namespaces of time here");
        return None;
    }
    let mut command = apart();
    command
        .arg(env!("CARGO_BIN_EXE_mintmark"))
        .args(["fleet", "resume", "--nats", &stage.url(), "--json"])
        .arg("--results")
        .arg(stage.path().join("results"));
    Some(Process::start(&mut command, stage.path(), "second"))
}

#[test]
fn a_change_of_rate_holds_when_it_should_whoevers_clock_the_coordinator_has() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "9s");
    let _agents = stage.agents(2);
    let mut first = stage.coordinator(&scenario, 2, &[]);
    first.wait_to_say("2 of 2 agents send");
    let begun_ns = wait_for_a_slice(&stage);
    first.kill();
    let Some(mut second) = resume_elsewhere(&stage) else {
        return;
    };
    second.wait_to_say("agents send");
    let mut steering = steer(&stage, &["rate", "0.5"]);
    assert_eq!(steering.end(), 0, "{}", steering.said());
    let asked_ns = now_ns() - begun_ns;
    second.end();
    let document = stage.document("second");
    check(&document);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", second.said());
    let change = fleet.changes[0];
    assert!(
        (asked_ns..asked_ns + 1_000_000_000).contains(&change.from_ns),
        "{change:?} {asked_ns}"
    );
    assert!(!has_finding(&document, "fleet-control"), "{fleet:?}");
}

#[test]
fn an_agent_that_joined_before_a_takeover_begins_by_the_clock_of_who_took_over() {
    let Some(stage) = Stage::new() else { return };
    let scenario = Scenario::read(&stage.scenario(100, "2s")).unwrap();
    let (runtime, bus) = stage.bus();
    // A coordinator that dies when its agent has joined, before it says when
    // the run begins.
    let run = "left-early";
    let answering = bus.clone();
    let clock = runtime.spawn(async move {
        let mut questions = answering.listen("clock", run).await.unwrap();
        while let Some(question) = questions.next().await {
            answering.answer(&question, &read_clocks()).await;
        }
    });
    let _agent = stage.agent("agent-0", &[]);
    runtime.block_on(async {
        bus.prepare(1 << 24, 1).await.unwrap();
        let spec = Spec {
            protocol: PROTOCOL,
            run: run.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            agents: 1,
            scenario,
            files: Vec::new(),
            recipients: Vec::new(),
        };
        let leader = Leader {
            protocol: PROTOCOL,
            run: run.into(),
            coordinator: "0000000000000001".into(),
            host: "there".into(),
            beat: 1,
            takeovers: 0,
            is_over: false,
        };
        bus.put(&format!("{run}.spec"), &spec).await.unwrap();
        bus.put("leader", &leader).await.unwrap();
        let card = format!("{run}.agent.0");
        while bus.get::<Card>(&card).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    clock.abort();
    let Some(mut second) = resume_elsewhere(&stage) else {
        return;
    };
    second.end();
    let document = stage.document("second");
    check(&document);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", second.said());
    assert_eq!(open_of(&document).accounts.scheduled, 200);
    let late_ns = fleet.agents[0].began_late_ns.unwrap();
    assert!(late_ns < 500_000_000, "{late_ns}");
}

#[test]
fn a_run_of_another_version_is_not_resumed_and_both_are_named() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    let mut first = stage.coordinator(&scenario, 1, &[]);
    let (runtime, bus) = stage.bus();
    wait_for_run(&runtime, &bus);
    first.kill();
    let leader = || {
        runtime
            .block_on(bus.get::<Leader>("leader"))
            .unwrap()
            .unwrap()
            .0
    };
    let before = leader();
    let key = format!("{}.spec", before.run);
    let spec = runtime.block_on(bus.get::<Spec>(&key)).unwrap().unwrap().0;
    // What another version says besides is not understood here.
    let mut theirs = serde_json::to_value(&spec).unwrap();
    theirs["version"] = "0.0.0-other".into();
    theirs["novelty"] = true.into();
    runtime.block_on(bus.put(&key, &theirs)).unwrap();
    let resume = |name: &str| {
        let mut resuming = resume(&stage, name);
        assert_eq!(resuming.end(), 3, "{}", resuming.said());
        resuming.said()
    };
    let said = resume("refused");
    for words in ["0.0.0-other", env!("CARGO_PKG_VERSION")] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(leader(), before, "the other version can still take it over");
    // Of its own version it is ended, for want of agents.
    runtime.block_on(bus.put(&key, &spec)).unwrap();
    let said = resume("resumed");
    assert!(said.contains("0 of 1 agents joined"), "{said}");
    assert!(leader().is_over);
}

#[test]
fn a_run_that_could_not_be_laid_down_is_in_nobodys_way() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    // No stream takes a message of such a length.
    let toml = fs::read_to_string(&scenario).unwrap();
    let users = "users = [\"1000000\"";
    let long = (0..150).map(|user| format!(", \"{user:010000}\""));
    let long = users.to_owned() + &long.collect::<String>();
    assert!(toml.contains(users));
    fs::write(&scenario, toml.replace(users, &long)).unwrap();
    let mut first = stage.coordinator(&scenario, 1, &[]);
    assert_eq!(first.end(), 3, "{}", first.said());
    let scenario = stage.scenario(100, "1s");
    let _agents = stage.agents(1);
    let mut second = stage.coordinator(&scenario, 1, &[]);
    let (document, _) = stage.outcome(&mut second);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
}
