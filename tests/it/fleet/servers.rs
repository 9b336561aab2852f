//! Servers that die, stand still or are full.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{Stage, fleet_of, is_whole, open_of};

#[test]
fn a_server_that_is_killed_and_started_again_loses_nothing() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let scenario = stage.scenario(200, "5s");
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &["--lost-after", "2s"]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_secs(1));
    stage.server.kill();
    thread::sleep(Duration::from_millis(2_500));
    stage.serve_again();
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", coordinator.said());
    assert_eq!(open_of(&document).accounts.scheduled, 1_000);
    assert!(fleet.deltas.resent > 0, "{fleet:?}");
}

#[test]
fn a_server_that_has_lost_its_store_is_told_everything_again() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let scenario = stage.scenario(200, "4s");
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(1_500));
    stage.server.kill();
    std::fs::remove_dir_all(stage.path().join("store")).unwrap();
    stage.serve_again();
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", coordinator.said());
}

#[test]
fn a_server_that_stands_still_for_a_time_is_nobody_elses_fault() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "5s");
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &["--lost-after", "2s"]);
    coordinator.wait_to_say("2 of 2 agents send");
    stage.server.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(3));
    stage.server.signal(Signal::CONT);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(
        is_whole(&document),
        "{:?} {}",
        fleet_of(&document),
        coordinator.said()
    );
}

#[test]
fn a_store_that_takes_nothing_any_more_is_gone_round() {
    // Room for two frames or three; the rest reaches the coordinator without
    // the store.
    let Some(stage) = Stage::with("") else { return };
    let scenario = stage.scenario(400, "4s");
    let _agents = stage.agents(2);
    let (runtime, bus) = stage.bus();
    runtime.block_on(bus.prepare(12_000, 1)).unwrap();
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", coordinator.said());
    assert_eq!(open_of(&document).accounts.scheduled, 1_600);
}
