//! Changes of a run that agents hear of late, or whose server is away; and what
//! was signed before a pause.

use std::fs;
use std::thread;
use std::time::Duration;

use mintmark::fleet::message::Control;
use mintmark::record::fleet::AgentEnd;
use rustix::process::Signal;

use super::control::{steer, wait_for_a_slice};
use super::strangers::leader_run;
use super::{CONFIG, Process, Stage, fleet_of, has_finding, is_whole, open_of};
use crate::stage::program;

/// A profile whose assertions a broker takes.
const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/oauth/profiles/box.toml");

#[test]
fn what_was_signed_before_a_pause_is_signed_again_after_it() {
    let Some(stage) = Stage::new() else { return };
    // Assertions live for two seconds, and the broker takes none beyond that.
    let profile = fs::read_to_string(PROFILE).unwrap();
    let short = profile.replace("lifetime = \"30s\"\n", "lifetime = \"2s\"\n");
    assert_ne!(profile, short);
    let path = stage.path().join("short.toml");
    fs::write(&path, short).unwrap();
    let mut command = program();
    command
        .args(["broker", "--json", "--app", CONFIG])
        .args(["--user", "1000000", "--user", "1000001"]);
    let _broker = Process::start(&mut command, stage.path(), "broker");
    let told = stage.path().join("broker.out");
    while fs::read(&told).unwrap().is_empty() {
        thread::sleep(Duration::from_millis(20));
    }
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
    let scenario = stage.scenario(100, "7s");
    let toml = fs::read_to_string(&scenario).unwrap();
    let target = format!(
        "url = \"{}\"\nprofile = \"{}\"",
        told["token_url"].as_str().unwrap(),
        path.display()
    );
    let own = format!("url = \"{}\"", stage.target.url());
    assert!(toml.contains(&own));
    fs::write(&scenario, toml.replace(&own, &target)).unwrap();
    let _agents = stage.agents(1);
    let mut coordinator = stage.coordinator(&scenario, 1, &[]);
    coordinator.wait_to_say("1 of 1 agents send");
    wait_for_a_slice(&stage);
    assert_eq!(steer(&stage, &["pause"]).end(), 0);
    thread::sleep(Duration::from_millis(3_500));
    assert_eq!(steer(&stage, &["continue"]).end(), 0);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    let [pause, on] = &fleet_of(&document).changes[..] else {
        panic!("{:?}", fleet_of(&document).changes)
    };
    assert!(on.from_ns - pause.from_ns > 3_000_000_000);
    let open = open_of(&document);
    assert_eq!(open.accounts.failed, 0, "{:?}", open.outcomes);
    assert!(open.accounts.answered > 150, "{:?}", open.accounts);
}

#[test]
fn an_agent_that_hears_late_is_named_and_its_starts_are_counted_all_the_same() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "5s");
    let agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    let begun_ns = wait_for_a_slice(&stage);
    // It stands still from before the change to well after it.
    agents[1].signal(Signal::STOP);
    assert_eq!(steer(&stage, &["rate", "0.5"]).end(), 0);
    thread::sleep(Duration::from_millis(1_600));
    agents[1].signal(Signal::CONT);
    let asked_ns = mintmark::load::pacer::now_ns() - begun_ns;
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?}");
    let change = fleet.changes[0];
    assert_eq!(fleet.agents[0].heard_late_ns, 0);
    let late_ns = fleet.agents[1].heard_late_ns;
    assert!(late_ns > 500_000_000, "{late_ns}");
    assert!(change.from_ns + late_ns < asked_ns + 1_000_000_000);
    assert!(has_finding(&document, "fleet-control"));
    // What it had sent too soon was due later anyhow.
    assert!(!has_finding(&document, "fleet-schedule"));
    let coverage = fleet.coverage;
    assert_eq!((coverage.lost, coverage.covered), (0, coverage.planned));
    assert_eq!(coverage.planned + coverage.not_due, 1_000);
}

#[test]
fn a_change_survives_a_server_that_is_killed_after_it_even_with_its_store() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let scenario = stage.scenario(200, "8s");
    let mut agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    wait_for_a_slice(&stage);
    assert_eq!(steer(&stage, &["rate", "0.5"]).end(), 0);
    coordinator.wait_to_say("0.5 times");
    stage.server.kill();
    // While it is away nobody can steer.
    let mut refused = program();
    refused.args([
        "fleet",
        "pause",
        "--nats",
        &stage.url(),
        "--connect-wait",
        "100ms",
    ]);
    let mut refused = Process::start(&mut refused, stage.path(), "refused");
    assert_eq!(refused.end(), 3, "{}", refused.said());
    fs::remove_dir_all(stage.path().join("store")).unwrap();
    stage.serve_again();
    // The coordinator lays down what was steered before anybody steers again.
    let (runtime, bus) = stage.bus();
    let known = runtime.block_on(async {
        loop {
            if let Ok(Some(_)) = bus.get::<mintmark::fleet::message::Leader>("leader").await {
                let key = format!("{}.control", leader_run(&bus).await);
                return bus.get::<Control>(&key).await.unwrap().unwrap().0;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(known.changes.len(), 1);
    // Of two that steer at once none is lost.
    for steering in &mut [steer(&stage, &["rate", "2"]), steer(&stage, &["continue"])] {
        assert_eq!(steering.end(), 0, "{}", steering.said());
    }
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?} {}", coordinator.said());
    assert_eq!(fleet.changes[0], known.changes[0]);
    let factors = fleet.changes[1..].iter().map(|change| change.factor_ppm);
    let factors: std::collections::BTreeSet<u64> = factors.collect();
    assert_eq!(factors, [1_000_000, 2_000_000].into());
    assert_eq!(fleet.coverage.covered, fleet.coverage.planned);
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
}

#[test]
fn a_run_in_which_nothing_was_ever_due_is_no_measurement_and_says_so() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    let mut agents = stage.agents(1);
    let mut coordinator = stage.coordinator(&scenario, 1, &[]);
    coordinator.wait_to_say("begins in");
    // Told before the beginning, it holds from there on.
    assert_eq!(steer(&stage, &["pause"]).end(), 0);
    let (document, code) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert_eq!((fleet.coverage.covered, fleet.coverage.planned), (0, 0));
    assert_eq!(fleet.coverage.not_due, 200);
    assert_eq!(fleet.agents[0].end, AgentEnd::Finished);
    assert!(has_finding(&document, "nothing-due"));
    assert_eq!(code, 4);
    assert_eq!(agents[0].end(), 0, "{}", agents[0].said());
}
