//! Programs of different versions do not share a run.

use std::path::Path;
use std::thread;
use std::time::Duration;

use mintmark::fleet::message::{Card, Leader, PROTOCOL, Refusal, Spec};
use mintmark::record::KeyFacts;
use mintmark::scenario::Scenario;

use super::Stage;
use super::coordinators::resume;
use super::keys::wait_for_run;
use super::strangers::leader_run;

/// A version that there never was.
const OTHER: &str = "0.0.0-other";

/// The version of the program under test.
const OWN: &str = env!("CARGO_PKG_VERSION");

#[test]
fn an_agent_stays_away_from_a_run_of_another_version_and_says_both() {
    let Some(stage) = Stage::new() else { return };
    let path = stage.scenario(100, "2s");
    let scenario = Scenario::read(Path::new(&path)).unwrap();
    let (runtime, bus) = stage.bus();
    let mut agent = stage.agent("agent-0", &[]);
    let refusal = runtime.block_on(async {
        let run = "of-another";
        let mut refusals = bus.listen("refused", run).await.unwrap();
        bus.prepare(1 << 20, 1).await.unwrap();
        let leader = Leader {
            protocol: PROTOCOL,
            run: run.into(),
            coordinator: "0000000000000001".into(),
            host: "there".into(),
            beat: 1,
            takeovers: 0,
            is_over: false,
        };
        let spec = Spec {
            protocol: PROTOCOL,
            run: run.into(),
            version: OTHER.into(),
            agents: 1,
            scenario,
            files: Vec::new(),
            recipients: Vec::new(),
        };
        bus.put(&format!("{run}.spec"), &spec).await.unwrap();
        bus.put("leader", &leader).await.unwrap();
        let refusal = futures_util::StreamExt::next(&mut refusals);
        let refusal = tokio::time::timeout(Duration::from_secs(30), refusal).await;
        let refusal = refusal.unwrap().unwrap();
        let card = bus.get::<Card>(&format!("{run}.agent.0")).await.unwrap();
        assert!(card.is_none(), "it takes no place");
        serde_json::from_slice::<Refusal>(&refusal.payload).unwrap()
    });
    assert_eq!(agent.end(), 3);
    for words in [&refusal.why, &agent.said()] {
        assert!(words.contains(OTHER) && words.contains(OWN), "{words}");
    }
}

#[test]
fn a_coordinator_refuses_an_agent_of_another_version_and_says_both() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    let mut coordinator = stage.coordinator(&scenario, 2, &["--join-timeout", "30s"]);
    let (runtime, bus) = stage.bus();
    runtime.block_on(async {
        while !matches!(bus.get::<Leader>("leader").await, Ok(Some(_))) {
            thread::sleep(Duration::from_millis(20));
        }
        let run = leader_run(&bus).await;
        let card = Card {
            protocol: PROTOCOL,
            incarnation: "0000000000000002".into(),
            host: "elsewhere".into(),
            version: OTHER.into(),
            cpus: 1,
            signs_per_s: 1.0,
            wall_offset_ns: 0,
            clock_bound_ns: 0,
            jti_space: "AAAA".into(),
            key: KeyFacts {
                bits: 2048,
                algorithm: "RS256".into(),
                container: "plain".into(),
                spki_sha256: "00".repeat(32),
            },
            signed_by: "aws-lc-rs".into(),
        };
        bus.put(&format!("{run}.agent.1"), &card).await.unwrap();
    });
    assert_eq!(coordinator.end(), 3);
    let words = coordinator.said();
    let all = ["agent 1", "elsewhere", OTHER, OWN];
    assert!(all.iter().all(|word| words.contains(word)), "{words}");
    let (leader, _) = runtime
        .block_on(bus.get::<Leader>("leader"))
        .unwrap()
        .unwrap();
    assert!(leader.is_over, "agents that wait are let go");
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
    theirs["version"] = OTHER.into();
    theirs["novelty"] = true.into();
    runtime.block_on(bus.put(&key, &theirs)).unwrap();
    let resume = |name: &str| {
        let mut resuming = resume(&stage, name, &["--join-timeout", "100ms"]);
        assert_eq!(resuming.end(), 3, "{}", resuming.said());
        resuming.said()
    };
    let said = resume("refused");
    for words in [OTHER, OWN] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(leader(), before, "the other version can still take it over");
    // Of its own version it is ended, for want of agents.
    runtime.block_on(bus.put(&key, &spec)).unwrap();
    let said = resume("resumed");
    assert!(said.contains("0 of 1 agents joined"), "{said}");
    assert!(leader().is_over);
}
