//! Runs that are paused, changed in rate and stopped while they go on.

use std::thread;
use std::time::Duration;

use mintmark::fleet::message::{Begin, Leader};
use mintmark::load::pacer::now_ns;
use mintmark::record::RunDocument;
use mintmark::record::fleet::AgentEnd;

use super::{Process, Stage, fleet_of, has_finding, is_whole, open_of};
use crate::stage::program;

/// The scenario's warm-up, in nanoseconds.
const WARM_UP: u64 = 300_000_000;

/// The length of its slices, in nanoseconds.
const SLICE: u64 = 500_000_000;

pub(super) fn steer(stage: &Stage, verb: &[&str]) -> Process {
    let mut command = program();
    command
        .arg("fleet")
        .args(verb)
        .args(["--nats", &stage.url(), "--connect-wait", "5s"]);
    Process::start(&mut command, stage.path(), verb[0])
}

/// Returns when the schedule began, on the clock that all processes of this
/// machine share.
pub(super) fn beginning(stage: &Stage) -> u64 {
    let (runtime, bus) = stage.bus();
    runtime.block_on(async {
        let (leader, _) = bus.get::<Leader>("leader").await.unwrap().unwrap();
        let key = format!("{}.begin", leader.run);
        bus.get::<Begin>(&key).await.unwrap().unwrap().0.at_ns
    })
}

/// Waits until a slice of the measured phase has passed; returns when the
/// schedule began.
pub(super) fn wait_for_a_slice(stage: &Stage) -> u64 {
    let begun_ns = beginning(stage);
    let passed_ns = begun_ns + WARM_UP + SLICE;
    thread::sleep(Duration::from_nanos(passed_ns.saturating_sub(now_ns())));
    begun_ns
}

/// Returns the starts of a slice, by its beginning in the measured phase.
fn scheduled(document: &RunDocument, number: u64) -> u64 {
    let slices = &open_of(document).slices;
    let found = slices.iter().find(|slice| slice.start_ns == number * SLICE);
    found.map_or(0, |slice| slice.scheduled)
}

/// Returns the numbers of the slices that lie between two moments of the
/// schedule as a whole.
fn between(from_ns: u64, to_ns: u64) -> std::ops::Range<u64> {
    let first = from_ns.saturating_sub(WARM_UP).div_ceil(SLICE);
    first..to_ns.saturating_sub(WARM_UP) / SLICE
}

#[test]
fn a_change_of_rate_and_a_pause_reach_all_agents_within_a_second_and_totals_stay_exact() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "9s");
    let mut agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    let begun_ns = wait_for_a_slice(&stage);
    let mut asked = Vec::new();
    for verb in [&["rate", "0.5"][..], &["pause"], &["continue"]] {
        let mut steering = steer(&stage, verb);
        assert_eq!(steering.end(), 0, "{}", steering.said());
        asked.push(now_ns() - begun_ns);
        thread::sleep(Duration::from_millis(1_900));
    }
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?}");
    let factors: Vec<u64> = fleet
        .changes
        .iter()
        .map(|change| change.factor_ppm)
        .collect();
    assert_eq!(factors, [500_000, 0, 1_000_000]);
    for (change, asked_ns) in fleet.changes.iter().zip(asked) {
        assert!(change.from_ns < asked_ns + 1_000_000_000, "{change:?}");
    }
    // Each agent knew of each before it took effect.
    for agent in &fleet.agents {
        assert_eq!(agent.heard_late_ns, 0, "{agent:?}");
    }
    assert!(!has_finding(&document, "fleet-control"));
    let [slower, paused, on] = [0, 1, 2].map(|number| fleet.changes[number].from_ns);
    let end_ns = WARM_UP + 9_000_000_000;
    let mut seen = [0; 4];
    for (at, (from_ns, to_ns, starts)) in [
        (WARM_UP, slower, 100),
        (slower, paused, 50),
        (paused, on, 0),
        (on, end_ns, 100),
    ]
    .into_iter()
    .enumerate()
    {
        for number in between(from_ns, to_ns) {
            // A change in the middle of a start's turn moves one by a bit.
            let found = scheduled(&document, number);
            assert!(found.abs_diff(starts) <= 1, "{number}: {found}, {starts}");
            seen[at] += 1;
        }
    }
    assert!(seen.iter().all(|slices| *slices > 0), "{seen:?}");
    // What was not made is known to the start.
    let coverage = fleet.coverage;
    assert_eq!(coverage.planned + coverage.not_due, 1_800);
    let missed = (paused - slower) / 10_000_000 + (on - paused) / 5_000_000;
    assert!(coverage.not_due.abs_diff(missed) <= 2, "{coverage:?}");
    let answered = open_of(&document).accounts.answered;
    assert_eq!(answered, coverage.covered);
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
}

#[test]
fn a_higher_rate_works_the_schedule_off_sooner() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "6s");
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    wait_for_a_slice(&stage);
    assert_eq!(steer(&stage, &["rate", "3"]).end(), 0);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    let coverage = fleet_of(&document).coverage;
    assert_eq!((coverage.covered, coverage.not_due), (600, 0));
    let measured_ns = document.steps[0].phases.measured_ns;
    assert!(measured_ns < 5_500_000_000, "{measured_ns}");
}

#[test]
fn a_pause_that_is_never_ended_ends_with_the_measured_phase() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "4s");
    let _agents = stage.agents(1);
    let mut coordinator = stage.coordinator(&scenario, 1, &[]);
    coordinator.wait_to_say("1 of 1 agents send");
    assert_eq!(steer(&stage, &["pause"]).end(), 0);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert!(fleet_of(&document).coverage.not_due > 0);
    let measured_ns = document.steps[0].phases.measured_ns;
    assert!(
        (3_990_000_000..=4_000_000_000).contains(&measured_ns),
        "{measured_ns}"
    );
}

#[test]
fn a_stop_ends_all_agents_within_a_second_even_in_a_pause() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "30s");
    let mut agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    assert_eq!(steer(&stage, &["pause"]).end(), 0);
    coordinator.wait_to_say("the load pauses");
    let begun_ns = beginning(&stage);
    let mut stopping = steer(&stage, &["stop"]);
    assert_eq!(stopping.end(), 0, "{}", stopping.said());
    let asked_ns = now_ns() - begun_ns;
    let (document, code) = stage.outcome(&mut coordinator);
    // The longest of all agents' times until the end was noticed.
    let phases = &document.steps[0].phases;
    let ended_ns = phases.warm_up_ns + phases.measured_ns;
    assert!(ended_ns < asked_ns + 1_000_000_000, "{phases:?} {asked_ns}");
    assert_eq!(code, 3);
    assert!(document.partial.is_some());
    for agent in &fleet_of(&document).agents {
        assert_eq!(agent.end, AgentEnd::Stopped, "{agent:?}");
        assert_eq!(agent.is_exact, Some(true), "{agent:?}");
    }
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
    // There is nothing left to steer.
    let mut late = steer(&stage, &["pause"]);
    assert_eq!(late.end(), 3);
    assert!(late.said().contains("is at no run"), "{}", late.said());
}
