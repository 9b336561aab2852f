//! A fleet on a terminal, in lines of JSON and in metrics.

use std::io::Write;

use mintmark::record::fleet::AgentEnd;
use rustix::process::Signal;
use serde_json::Value;

use super::{Stage, fleet_of, open_of};
use crate::live::terminal::OnTerminal;
use crate::live::{ask, figure, record_in};
use mintmark::fleet::local::find_server;

const LOCAL: &str = r#"
name = "looked-at"
[target]
broker = { users = 5 }
[load]
open = { per_s = 40 }
connections = 2
warm_up = "200ms"
measure = "60s"
slice = "500ms"
"#;

#[test]
fn keys_pause_a_fleet_let_it_go_on_and_stop_it() {
    if find_server().is_none() {
        println!("skipped: there is no nats-server here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("scenario.toml");
    std::fs::write(&scenario, LOCAL).unwrap();
    let results = folder.path().join("results");
    let command = format!(
        "{} fleet local 2 {} --results {}",
        env!("CARGO_BIN_EXE_mintmark"),
        scenario.display(),
        results.display()
    );
    let Some(mut run) = OnTerminal::start(&command) else {
        return;
    };
    run.until_drawn("agents: 2 running");
    run.keys.write_all(b"p").unwrap();
    run.until_drawn("c goes on, q or Ctrl-C stops the run");
    run.keys.write_all(b"c").unwrap();
    run.until_drawn("p pauses, + and - change the rate by a tenth");
    run.keys.write_all(b"s").unwrap();
    let shown = run.end();
    assert!(shown.contains("ended with 3"), "{shown:?}");
    let document = record_in(&results);
    let fleet = fleet_of(&document);
    let factors: Vec<_> = fleet.changes.iter().map(|one| one.factor_ppm).collect();
    assert_eq!(factors, [0, 1_000_000]);
    assert!(document.partial.is_some());
    assert_eq!(fleet.agents.len(), 2);
    for agent in &fleet.agents {
        assert_eq!(agent.end, AgentEnd::Stopped, "{agent:?}");
        assert_eq!(agent.heard_late_ns, 0, "{agent:?}");
    }
}

#[test]
fn lines_of_json_and_metrics_have_the_figures_of_the_record() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "3s");
    let _agents = stage.agents(2);
    let flags = ["--log-format", "json", "--metrics", "0"];
    let linger = ["--metrics-linger", "60s"];
    let mut coordinator = stage.coordinator(&scenario, 2, &[&flags[..], &linger].concat());
    coordinator.wait_to_say("the record is in");
    let said = coordinator.said();
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let mut notes = lines.iter().filter_map(|line| line["message"].as_str());
    let url = notes.find_map(|note| note.strip_prefix("metrics are at "));
    let (_, metrics) = ask("GET", url.unwrap());
    coordinator.signal(Signal::TERM);
    let (document, _) = stage.outcome(&mut coordinator);
    let both_send = lines.iter().filter(|line| {
        line["type"] == "progress"
            && line["fleet"]["agents"]["running"] == 2
            && line["offered_per_s"]
                .as_f64()
                .is_some_and(|rate| (rate - 100.0).abs() < 1e-6)
    });
    assert!(both_send.count() > 0, "{said}");
    let (fleet, open) = (fleet_of(&document), open_of(&document));
    for (series, count) in [
        ("mintmark_offered_total", fleet.coverage.covered),
        (
            "mintmark_requests_total{outcome=\"answered\"}",
            open.accounts.answered,
        ),
        ("mintmark_fleet_agents{state=\"ended\"}", 2),
        ("mintmark_fleet_agents{state=\"lost\"}", 0),
        (
            "mintmark_fleet_messages_total{result=\"merged\"}",
            fleet.deltas.merged,
        ),
    ] {
        let found = figure(&metrics, series);
        assert_eq!(found, Some(count as f64), "{series}:\n{metrics}");
    }
}
