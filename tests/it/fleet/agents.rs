//! Agents that die, hang, are slow or have another time.

use std::path::Path;
use std::thread;
use std::time::Duration;

use mintmark::record::Validity;
use mintmark::record::fleet::AgentEnd;
use rustix::process::Signal;

use super::{Stage, fleet_of, has_finding, is_whole, open_of};
use crate::stage::program;

#[test]
fn an_agent_that_is_killed_counts_as_far_as_it_told_and_its_rest_is_lost() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "5s");
    let mut agents = stage.agents(3);
    let mut coordinator = stage.coordinator(&scenario, 3, &["--lost-after", "2s"]);
    coordinator.wait_to_say("3 of 3 agents send");
    thread::sleep(Duration::from_millis(2_500));
    agents[1].kill();
    let (document, code) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    let killed = &fleet.agents[1];
    assert_eq!(killed.end, AgentEnd::Lost);
    assert!(
        killed.covered > 0 && killed.covered < killed.planned,
        "{killed:?}"
    );
    assert_eq!(fleet.coverage.lost, killed.planned - killed.covered);
    assert!(killed.covered_until_ns < 5_000_000_000);
    for other in [0, 2] {
        assert_eq!(fleet.agents[other].end, AgentEnd::Finished);
    }
    // More than one start in a hundred is gone, so nobody may believe it.
    assert!(has_finding(&document, "fleet-lost"));
    assert_eq!(open_of(&document).soundness.validity, Validity::Invalid);
    assert_eq!(code, 4);
    for other in [0, 2] {
        assert_eq!(agents[other].end(), 0, "{}", agents[other].said());
    }
}

#[test]
fn an_agent_that_hangs_is_lost_for_a_time_and_nothing_of_it_is_missing() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "6s");
    let agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &["--lost-after", "1s"]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(500));
    agents[0].signal(Signal::STOP);
    coordinator.wait_to_say("agent 0 is silent");
    agents[0].signal(Signal::CONT);
    coordinator.wait_to_say("agent 0 is back");
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert!(has_finding(&document, "fleet-stalled"));
    assert!(open_of(&document).soundness.validity >= Validity::Suspect);
}

#[test]
fn an_agent_that_is_slow_delays_nobody_and_is_waited_for() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "3s");
    let mut slow = program_with_less();
    let fast = stage.agent("agent-0", &["--slot", "0"]);
    let slow = stage.agent_of(
        slow.take().unwrap_or_else(program),
        "agent-1",
        &["--slot", "1"],
    );
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    drop((fast, slow));
}

/// The program with the least priority, where that can be set.
fn program_with_less() -> Option<std::process::Command> {
    let nice = Path::new("/usr/bin/nice");
    nice.exists().then(|| {
        let mut command = std::process::Command::new(nice);
        command.args(["-n", "19"]).arg(program().get_program());
        command
    })
}

#[test]
fn a_wall_clock_that_is_minutes_off_moves_no_start_and_is_named() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let Some(stage) = Stage::new() else { return };
    if !Path::new(LIBRARY).exists() {
        println!("skipped: there is no libfaketime");
        return;
    }
    let scenario = stage.scenario(100, "3s");
    let _right = stage.agent("agent-0", &["--slot", "0"]);
    let mut off = program();
    off.env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME", "+400s")
        .env("DONT_FAKE_MONOTONIC", "1");
    let _off = stage.agent_of(off, "agent-1", &["--slot", "1"]);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    let fleet = fleet_of(&document);
    let found = fleet.agents[1].clock_offset_ns;
    assert!(
        (399_000_000_000..401_000_000_000).contains(&found),
        "{found}"
    );
    assert!(fleet.agents[0].clock_offset_ns.abs() < 1_000_000_000);
    assert!(has_finding(&document, "fleet-clock"));
    // Both made their starts at the same time all the same.
    let slices = &open_of(&document).slices;
    assert!(
        slices.iter().all(|slice| slice.scheduled == 50),
        "{slices:?}"
    );
}

#[test]
fn an_agent_with_another_file_stays_away() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    // A file that has to be the same everywhere is another one for the agent:
    // the coordinator's is replaced after it was read.
    let trace = stage.path().join("starts.txt");
    std::fs::write(&trace, "0.4\n0.5\n0.6\n").unwrap();
    let text = std::fs::read_to_string(&scenario).unwrap();
    let open = "{ per_s = 100.0, arrival = \"even\" }";
    let text = text.replace(open, &format!("{{ trace = {trace:?} }}"));
    std::fs::write(&scenario, text).unwrap();
    let mut coordinator = stage.coordinator(&scenario, 1, &["--join-timeout", "6s"]);
    thread::sleep(Duration::from_secs(2));
    std::fs::write(&trace, "0.4\n0.5\n").unwrap();
    let mut agent = stage.agent("agent-0", &[]);
    assert_eq!(agent.end(), 3);
    let words = agent.said();
    assert!(words.contains("not the file"), "{words}");
    assert_eq!(coordinator.end(), 3);
    let said = coordinator.said();
    assert!(said.contains("an agent stays away"), "{said}");
    assert!(said.contains("0 of 1 agents joined"), "{said}");
}
