//! The merged result is what one machine would have measured.

use std::time::Duration;

use mintmark::fleet::message::{Told, of_json};
use mintmark::fleet::schedule::Schedule;
use mintmark::record::{Histogram, RunDocument, store};
use mintmark::report::{Summary, run_html, run_markdown, run_text, side_by_side};
use mintmark::scenario::Scenario;

use super::{Stage, check, fleet_of, is_whole, open_of};
use crate::stage::{mintmark, text};

#[test]
fn the_result_of_four_agents_equals_one_histogram_fed_with_their_samples() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario_with("{ ramp = { from = 100.0, to = 500.0 }, seed = 9 }", "3s");
    let _agents = stage.agents(4);
    let mut coordinator = stage.coordinator(&scenario, 4, &[]);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));

    // The starts are those that one machine would have made.
    let plan = Scenario::read(&scenario).unwrap().plan().unwrap();
    let schedule = Schedule::of(&plan).unwrap();
    let (from, until) = (schedule.warm_up, schedule.warm_up + schedule.measure);
    let due = |ns| Duration::from_nanos(ns);
    let alone = schedule
        .arrival
        .starts(0, 1)
        .filter(|start| (from..until).contains(&due(start.due_ns)))
        .count() as u64;
    let open = open_of(&document);
    assert_eq!(open.accounts.scheduled, alone);
    // Every request reached the target, and nobody sent one twice.
    let warm_up = schedule
        .arrival
        .starts(0, 1)
        .filter(|start| due(start.due_ns) < from)
        .count() as u64;
    let served = stage.target.served.lock().unwrap().len() as u64;
    assert_eq!(served, alone + warm_up);

    // What the server kept, added up by other means, is what was reported.
    let (runtime, bus) = stage.bus();
    let frames = runtime
        .block_on(bus.fetch(&mut bus.frames(&document.run)))
        .unwrap();
    let mut one = Histogram::new();
    for frame in frames {
        if let Told::Delta(delta) = Told::of_frame(&frame).unwrap() {
            let parts = delta.slices.iter().flat_map(|slice| &slice.outcomes);
            for part in parts.filter(|part| part.outcome == "answered") {
                one.add(&Histogram::decode(&part.parts[0]).unwrap());
            }
        }
    }
    let merged = &document.steps[0].latencies.response;
    assert_eq!(*merged, one);
    for q in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
        assert_eq!(merged.quantile(q), one.quantile(q));
    }
    assert_eq!(merged.count(), open.accounts.answered);
    let fleet = fleet_of(&document);
    assert_eq!(fleet.dealt, "by-lot");
    assert!(fleet.agents.iter().all(|agent| agent.covered > alone / 8));
}

#[test]
fn one_command_starts_everything_on_one_machine() {
    let Some(stage) = Stage::new() else { return };
    let path = stage.path().join("local.toml");
    let scenario = "name = \"local\"\ntarget = { broker = { users = 4 } }\n\
         [credentials]\ngenerate = { apps = 2, weights = [3.0, 1.0] }\n\
         [load]\nopen = { per_s = 150.0 }\nconnections = 4\nwarm_up = \"200ms\"\n\
         measure = \"2s\"\ncalibrate = \"0s\"\n";
    std::fs::write(&path, scenario).unwrap();
    let results = stage.path().join("results");
    let output = mintmark(&[
        "fleet",
        "local",
        "2",
        path.to_str().unwrap(),
        "--json",
        "--results",
        results.to_str().unwrap(),
    ]);
    let document: RunDocument =
        of_json(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    check(&document);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    let open = open_of(&document);
    assert_eq!(open.accounts.answered, open.accounts.scheduled);
    assert!(document.broker.as_ref().unwrap()["granted"] >= open.accounts.answered);
    // The record is an ordinary one, which every report can show.
    let stored = store::read(&results.join(&document.run)).unwrap();
    assert_eq!(stored, document);
    let summaries = [Summary::of(&stored)];
    let documents = [stored.clone()];
    for report in [
        run_text(&stored),
        run_markdown(&summaries, &side_by_side(&documents, &summaries)),
        run_html(&documents),
        serde_json::to_string(&summaries).unwrap(),
    ] {
        for part in ["coverage", "lost"] {
            assert!(
                report.to_lowercase().contains(part),
                "{part} is not in {report}"
            );
        }
    }
}

#[test]
fn kept_tokens_are_each_fetched_by_one_agent() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario_with("{ per_s = 200.0 }", "2s");
    let text = std::fs::read_to_string(&scenario).unwrap();
    let users: Vec<_> = (0..12)
        .map(|id| format!("\"{}\"", 1_000_000 + id))
        .collect();
    let text = text
        .replace(
            "users = [\"1000000\", \"1000001\"]",
            &format!("users = [{}]", users.join(", ")),
        )
        .replace("slice =", "cache = { hits = 0.9 }\nslice =");
    std::fs::write(&scenario, text).unwrap();
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(fleet_of(&document).dealt, "by-subject");
    let cache = open_of(&document).cache.unwrap();
    let calls = cache.found + cache.joined + cache.fetched;
    assert_eq!(calls, open_of(&document).accounts.scheduled);
    assert!(cache.found > cache.fetched, "{cache:?}");
}
