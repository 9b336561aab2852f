//! Coordinators that die, and more than one of them.

use std::process::Command;
use std::thread;
use std::time::Duration;

use mintmark::fleet::message::Leader;
use mintmark::record::fleet::AgentEnd;
use rustix::process::Signal;

use super::{Process, Stage, check, fleet_of, has_finding, is_whole, open_of};
use crate::stage::program;

fn resume(stage: &Stage, name: &str) -> Process {
    let mut command = program();
    command
        .args([
            "fleet",
            "resume",
            "--nats",
            &stage.url(),
            "--json",
            "--results",
        ])
        .arg(stage.path().join("results"));
    Process::start(&mut command, stage.path(), name)
}

#[test]
fn a_coordinator_that_is_killed_is_resumed_and_nothing_is_missing() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "4s");
    let mut agents = stage.agents(2);
    let mut first = stage.coordinator(&scenario, 2, &[]);
    first.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(1_200));
    first.kill();
    let mut second = resume(&stage, "second");
    second.end();
    let document = stage.document("second");
    check(&document);
    assert!(
        is_whole(&document),
        "{:?} {}",
        fleet_of(&document),
        second.said()
    );
    assert_eq!(fleet_of(&document).takeovers, 1);
    assert_eq!(open_of(&document).accounts.scheduled, 800);
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
    // It is over: nobody can take it over once more, and another run begins.
    let mut third = resume(&stage, "third");
    assert_eq!(third.end(), 3);
    assert!(third.said().contains("no run without a result"));
}

/// Resumes a run where the monotonic clock is far from that of the others, as
/// on another machine; `None` where that cannot be.
fn resume_elsewhere(stage: &Stage, name: &str, ahead: &str) -> Option<Process> {
    let apart = ["--time", "--monotonic", ahead];
    let can = Command::new("unshare").args(apart).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("skipped: there are no namespaces of time here");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(apart)
        .arg(program().get_program())
        .args(["fleet", "resume", "--nats", &stage.url(), "--json"])
        .arg("--results")
        .arg(stage.path().join("results"));
    Some(Process::start(&mut command, stage.path(), name))
}

#[test]
fn a_run_that_is_resumed_on_another_machine_before_its_beginning_begins_at_once() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "3s");
    let _first_agent = stage.agent("agent-0", &["--slot", "0"]);
    let mut first = stage.coordinator(&scenario, 2, &[]);
    first.wait_to_say("agent 0 joined");
    first.kill();
    let Some(mut second) = resume_elsewhere(&stage, "second", "500000") else {
        return;
    };
    second.wait_to_say("agent 0 joined");
    let _second_agent = stage.agent("agent-1", &["--slot", "1"]);
    second.end();
    let document = stage.document("second");
    check(&document);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert!(fleet_of(&document).start_skew_ns < 500_000_000);
}

#[test]
fn a_run_that_is_resumed_on_another_machine_can_be_steered() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "11s");
    let _agents = stage.agents(2);
    let mut first = stage.coordinator(&scenario, 2, &[]);
    first.wait_to_say("2 of 2 agents send");
    first.kill();
    let Some(mut second) = resume_elsewhere(&stage, "second", "500000") else {
        return;
    };
    second.wait_to_say("2 of 2 agents send");
    let mut rate = program();
    rate.args(["fleet", "rate", "0.5", "--nats", &stage.url()]);
    assert_eq!(Process::start(&mut rate, stage.path(), "rate").end(), 0);
    second.end();
    let document = stage.document("second");
    check(&document);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?}");
    assert_eq!(fleet.changes.len(), 1);
    // It took four seconds and more to find the first one dead.
    assert!(fleet.changes[0].from_ns > 4_000_000_000, "{fleet:?}");
    assert!(!has_finding(&document, "fleet-control"), "{fleet:?}");
}

#[test]
fn of_two_coordinators_the_second_is_turned_away() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(50, "4s");
    let _agents = stage.agents(1);
    let mut first = stage.coordinator(&scenario, 1, &[]);
    first.wait_to_say("1 of 1 agents send");
    let mut again = program();
    again
        .args(["fleet", "run", scenario.to_str().unwrap(), "--agents", "1"])
        .args(["--nats", &stage.url(), "--discard", "--results"])
        .arg(stage.path().join("results"));
    let mut second = Process::start(&mut again, stage.path(), "second");
    assert_eq!(second.end(), 3);
    assert!(
        second.said().contains("is led by another coordinator"),
        "{}",
        second.said()
    );
    let (document, _) = stage.outcome(&mut first);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
}

#[test]
fn a_coordinator_whose_lead_was_taken_ends_without_a_result() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(50, "4s");
    let _agents = stage.agents(1);
    let mut first = stage.coordinator(&scenario, 1, &[]);
    first.wait_to_say("1 of 1 agents send");
    let (runtime, bus) = stage.bus();
    runtime.block_on(async {
        let (mut leader, _) = bus.get::<Leader>("leader").await.unwrap().unwrap();
        leader.coordinator = "another".into();
        leader.host = "elsewhere".into();
        bus.put("leader", &leader).await.unwrap();
    });
    assert_eq!(first.end(), 3);
    let said = first.said();
    assert!(
        said.contains("elsewhere") && said.contains("taken the run"),
        "{said}"
    );
}

#[test]
fn an_interrupt_at_the_coordinator_stops_all_agents_and_keeps_what_was_measured() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "30s");
    let mut agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(1_500));
    coordinator.signal(Signal::INT);
    let (document, code) = stage.outcome(&mut coordinator);
    assert_eq!(code, 3);
    assert!(document.partial.is_some());
    let fleet = fleet_of(&document);
    for agent in &fleet.agents {
        assert_eq!(agent.end, AgentEnd::Stopped, "{agent:?}");
        assert_eq!(agent.is_exact, Some(true), "{agent:?}");
        assert!(
            agent.covered > 0 && agent.covered < agent.planned,
            "{agent:?}"
        );
    }
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
}
