//! Agents whose starts others make once they are lost.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use mintmark::record::Validity;
use mintmark::record::fleet::{AgentEnd, AgentRecord};
use rustix::process::Signal;

use super::{Process, Stage, fleet_of, has_finding, open_of};
use crate::stage::program;

const REASSIGN: &str = "\n[fleet]\nlost_share = \"reassign\"\n";

/// Writes a scenario whose lost shares are reassigned.
fn scenario(stage: &Stage, open: &str, measure: &str) -> PathBuf {
    let path = stage.scenario_with(open, measure);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + REASSIGN).unwrap();
    path
}

/// Returns the parts in which others made the starts of an agent.
fn parts_of(agents: &[AgentRecord], lost: usize) -> Vec<&AgentRecord> {
    let is_part = |agent: &&AgentRecord| agent.in_place_of == Some(lost);
    agents.iter().filter(is_part).collect()
}

#[test]
fn what_lost_agents_leave_is_made_by_those_that_are_left() {
    let Some(stage) = Stage::new() else { return };
    let scenario = scenario(&stage, "{ per_s = 240.0, arrival = \"even\" }", "14s");
    let mut agents = stage.agents(3);
    let mut coordinator = stage.coordinator(&scenario, 3, &["--lost-after", "2s"]);
    coordinator.wait_to_say("3 of 3 agents send");
    agents[1].kill();
    coordinator.wait_to_say("what agent 1 would start");
    thread::sleep(Duration::from_millis(3_000));
    // With it goes the half of the first one's share that it took over.
    agents[2].kill();
    coordinator.wait_to_say("what agent 2 would start");
    coordinator.wait_to_say("what agent 4 would start");
    let (document, code) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert_eq!((fleet.planned, fleet.joined, fleet.finished), (3, 3, 1));
    assert_eq!(fleet.agents.len(), 7, "{fleet:?}");
    assert_eq!(parts_of(&fleet.agents, 1).len(), 2);
    for lost in [1, 2, 4] {
        let lost = &fleet.agents[lost];
        assert_eq!(lost.end, AgentEnd::Lost);
        assert!(lost.covered < lost.planned, "{lost:?}");
        assert!(lost.covered_until_ns < lost.given_away_ns.unwrap());
    }
    // The last one made all that was left, under a slot for each part.
    for left in [0, 3, 5, 6] {
        let left = &fleet.agents[left];
        assert_eq!(left.end, AgentEnd::Finished, "{left:?}");
        assert_eq!(left.covered, left.planned);
        assert!(left.covered > 0);
    }
    let reassigned: u64 = [1, 2, 4]
        .iter()
        .flat_map(|lost| parts_of(&fleet.agents, *lost))
        .map(|part| part.planned)
        .sum();
    assert_eq!(fleet.coverage.reassigned, reassigned);
    assert_eq!(fleet.coverage.planned, 14 * 240);
    // From the last handover on nothing is missing.
    let given_away = fleet.agents.iter().filter_map(|agent| agent.given_away_ns);
    let last = given_away.max().unwrap();
    assert!(last < 14_000_000_000);
    for slice in &open_of(&document).slices {
        if slice.start_ns >= last {
            assert_eq!(slice.scheduled, 120, "{slice:?}");
        }
    }
    for code in ["fleet-lost", "fleet-reassigned"] {
        assert!(has_finding(&document, code));
    }
    assert_eq!(open_of(&document).soundness.validity, Validity::Invalid);
    assert_eq!(code, 4);
    assert_eq!(agents[0].end(), 0, "{}", agents[0].said());
}

#[test]
fn an_agent_that_comes_back_after_it_was_replaced_stops_and_its_surplus_is_named() {
    let Some(stage) = Stage::new() else { return };
    let scenario = scenario(&stage, "{ per_s = 100.0, arrival = \"even\" }", "10s");
    let mut agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &["--lost-after", "2s"]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(700));
    agents[0].signal(Signal::STOP);
    coordinator.wait_to_say("what agent 0 would start");
    // The others begin two seconds and a slice later, at the latest.
    thread::sleep(Duration::from_millis(3_500));
    agents[0].signal(Signal::CONT);
    let (document, code) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    let replaced = &fleet.agents[0];
    assert_eq!(replaced.end, AgentEnd::Replaced);
    assert_eq!(replaced.is_exact, Some(true));
    // What was due while it stood still it made late, and told.
    assert_eq!(replaced.covered, replaced.planned);
    assert_eq!(fleet.coverage.lost, 0);
    assert_eq!(fleet.coverage.planned, 1_000);
    // What was due after that, both have made.
    assert!(replaced.surplus > 0);
    assert_eq!(fleet.coverage.surplus, replaced.surplus);
    assert_eq!(open_of(&document).accounts.scheduled, 1_000);
    for code in ["fleet-reassigned", "fleet-surplus"] {
        assert!(has_finding(&document, code));
    }
    assert!(document.partial.is_none(), "nobody stopped the run");
    assert_ne!(code, 3);
    assert_eq!(agents[0].end(), 0, "{}", agents[0].said());
}

#[test]
fn an_agent_that_its_machine_stops_is_replaced_and_another_coordinator_knows() {
    let Some(stage) = Stage::new() else { return };
    let scenario = scenario(&stage, "{ per_s = 200.0 }", "13s");
    let agents = stage.agents(3);
    let mut coordinator = stage.coordinator(&scenario, 3, &["--lost-after", "2s"]);
    coordinator.wait_to_say("3 of 3 agents send");
    agents[2].signal(Signal::TERM);
    coordinator.wait_to_say("what agent 2 would start");
    thread::sleep(Duration::from_millis(3_000));
    coordinator.kill();
    let mut command = program();
    command
        .args(["fleet", "resume", "--nats", &stage.url()])
        .args(["--json", "--lost-after", "3s", "--results"])
        .arg(stage.path().join("resumed"));
    let mut resumed = Process::start(&mut command, stage.path(), "resumed");
    resumed.end();
    let document = stage.document("resumed");
    super::check(&document);
    let fleet = fleet_of(&document);
    assert_eq!(fleet.takeovers, 1);
    let parts = parts_of(&fleet.agents, 2);
    assert_eq!(parts.len(), 2, "{fleet:?}");
    for agent in parts.into_iter().chain(&fleet.agents[..2]) {
        assert_eq!(agent.end, AgentEnd::Finished, "{agent:?}");
    }
    let stopped = &fleet.agents[2];
    assert_eq!(stopped.end, AgentEnd::Replaced);
    assert_eq!(stopped.is_exact, Some(true));
    assert_eq!(stopped.surplus, 0);
    assert_eq!(fleet.coverage.lost, stopped.planned - stopped.covered);
    assert_eq!(fleet.deltas.stale, 0);
    assert!(document.partial.is_none(), "the run went on to its end");
}
