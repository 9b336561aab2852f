//! Lines a second, for logs and pipes.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::stage::{program, text};

/// Runs a load of three seconds without a terminal.
fn watched(flags: &[&str], folder: &Path) -> Output {
    program()
        .args(flags)
        .args(["load", "--rate", "100", "--duration", "3s"])
        .args(["--calibrate", "0s", "--warm-up", "100ms"])
        .args(["--json", "--results"])
        .arg(folder)
        .output()
        .unwrap()
}

#[test]
fn without_a_terminal_a_run_writes_a_line_a_second_to_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = watched(&[], folder.path());
    let stderr = text(&output.stderr);
    let lines: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("offered"))
        .collect();
    assert!(lines.len() >= 2, "{stderr}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("mintmark: open  ")),
        "{stderr}"
    );
    // Standard output is the record's alone.
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["steps"][0]["open"].is_object());
}

#[test]
fn with_json_each_line_of_standard_error_is_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--log-format", "json", "--log-level", "info"];
    let output = watched(&flags, folder.path());
    let stderr = text(&output.stderr);
    let lines: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let progress: Vec<_> = lines
        .iter()
        .filter(|line| line["type"] == "progress")
        .collect();
    let measured = progress.iter().filter(|line| {
        line["response"]["count"]
            .as_u64()
            .is_some_and(|count| count > 50)
    });
    assert!(measured.count() >= 1, "{stderr}");
    let events: Vec<_> = lines
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect();
    for event in ["a broker listens", "a step began", "a broker has stopped"] {
        assert!(events.contains(&event), "no {event:?} in {events:?}");
    }
    assert!(
        events
            .iter()
            .any(|event| event.starts_with("the record is in ")),
        "{events:?}"
    );
}

#[test]
fn failing_requests_are_logged_by_class_and_then_counted() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("limited.toml");
    std::fs::write(
        &scenario,
        r#"
name = "limited"
[target]
broker = { users = 5, rate_limit = { per_s = 20, burst = 1 } }
[load]
open = { per_s = 200 }
connections = 4
calibrate = "0s"
warm_up = "0ms"
measure = "2s"
slice = "200ms"
"#,
    )
    .unwrap();
    let output = program()
        .args([
            "run",
            scenario.to_str().unwrap(),
            "--log-format",
            "json",
            "--results",
        ])
        .arg(folder.path().join("results"))
        .output()
        .unwrap();
    let lines: Vec<Value> = text(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |message: &str| -> Vec<&Value> {
        let is = |line: &&Value| line["message"] == message;
        lines.iter().filter(is).collect()
    };
    assert_eq!(of("requests failed").len(), 5, "of ten slices");
    let all = of("requests failed in all");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["class"], "oauth_429_rate_limit_exceeded");
    let record: mintmark::record::RunDocument = super::record_in(&folder.path().join("results"));
    let failed = record.steps[0].open.as_ref().unwrap().accounts.failed;
    assert_eq!(all[0]["requests"].as_u64(), Some(failed));
}
