//! The verbs that look at scenarios and search with them.

use serde_json::Value;

use crate::stage::{mintmark, text};

const QUEUE: &str = r#"
name = "queue"
description = "A single server with a queue"
objective = "p99<200ms,errors<1%"
[target.broker]
users = 5
behaviour = { service_time = "constant:5ms", queue = true }
[load]
open = { per_s = 50 }
connections = 32
measure = "1s"
"#;

#[test]
fn a_search_leaves_every_slice_of_every_rate() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("queue.toml");
    std::fs::write(&scenario, QUEUE).unwrap();
    let results = folder.path().join("results");
    let output = mintmark(&[
        "capacity",
        scenario.to_str().unwrap(),
        "--quick",
        "--shorten",
        "0.02",
        "--limit",
        "800",
        "--json",
        "--results",
        results.to_str().unwrap(),
    ]);
    // So short a search may well end at the generator, which it then says.
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{}",
        text(&output.stderr)
    );
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let own = std::fs::read_dir(&results)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let name = own.file_name().into_string().unwrap();
    assert!(name.ends_with("-capacity-queue"), "{name}");
    let kept = std::fs::read(own.path().join("result.json")).unwrap();
    assert_eq!(printed, serde_json::from_slice::<Value>(&kept).unwrap());
    assert_ne!(printed["capacity"]["answer"]["confidence"], "confirmed");
    let rungs = printed["capacity"]["answer"]["rungs"].as_array().unwrap();
    assert!(!rungs.is_empty());
    for rung in rungs {
        let slices = rung["slices"].as_array().unwrap();
        let requests: u64 = slices
            .iter()
            .map(|slice| slice["requests"].as_u64().unwrap())
            .sum();
        assert_eq!(rung["requests"].as_u64().unwrap(), requests);
    }
}

#[test]
fn a_scenario_can_be_checked_shown_and_described_without_running_it() {
    let folder = tempfile::tempdir().unwrap();
    let right = folder.path().join("right.toml");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&right, QUEUE).unwrap();
    std::fs::write(&wrong, QUEUE.replace("per_s", "per_second")).unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let checked = mintmark(&["scenario", "check", right]);
    assert_eq!(checked.status.code(), Some(0));
    let checked = mintmark(&["scenario", "check", right, wrong]);
    assert_eq!(checked.status.code(), Some(2));
    let complaint = text(&checked.stderr);
    for part in ["wrong.toml", "per_second", "per_s"] {
        assert!(complaint.contains(part), "{complaint}");
    }
    let shown = mintmark(&["scenario", "show", right]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["load"]["open"]["connections"], 32);
    let schema = mintmark(&["scenario", "schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["load"].is_object());
}
