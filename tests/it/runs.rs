//! Runs: from a scenario to a record, whatever happens on the way.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mintmark::credential::AppConfig;
use mintmark::record::{RunDocument, store};
use mintmark::report::run_text;
use mintmark::scenario::{Event, Plan, Scenario, run};
use serde_json::Value;

use crate::stage::{USER, broker_for, generated_app, mintmark, program, text};

const EMBEDDED: &str = r#"
name = "short"
[target]
broker = { users = 5 }
[signing]
compare = { budget = "300ms", backends = ["aws-lc-rs", "ring"] }
[load]
closed = { workers = 4 }
warm_up = "100ms"
measure = "700ms"
slice = "100ms"
[[step]]
name = "naive"
key = "decrypt-per-call"
token = "fetch-per-call"
[[step]]
name = "parsed"
key = "parse-per-call"
token = "fetch-per-call"
[[step]]
name = "reused"
key = "reuse"
token = "fetch-per-call"
[[step]]
name = "cached"
key = "reuse"
token = "cache"
"#;

fn plan(text: &str) -> Plan {
    Scenario::from_toml(text, Path::new("test.toml"))
        .unwrap()
        .plan()
        .unwrap()
}

/// A scenario against an endpoint that the test provides.
fn against(url: &str, config: &Path, measure: &str) -> String {
    format!(
        r#"
name = "against"
[target]
url = "{url}"
users = ["{USER}"]
[credentials]
config = "{}"
[load]
closed = {{ workers = 4 }}
warm_up = "0ms"
measure = "{measure}"
timeout = "2s"
[[step]]
name = "reused"
key = "reuse"
token = "fetch-per-call"
"#,
        config.display()
    )
}

fn written(app: &AppConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    app.write(&folder.path().join("app.json")).unwrap();
    folder
}

#[test]
fn a_run_against_the_embedded_broker_mints_real_tokens_without_an_error() {
    let stop = AtomicBool::new(false);
    let document = run(&plan(EMBEDDED), "r", &stop, &mut |_| ()).unwrap();
    assert_eq!(document.partial, None);
    assert_eq!(document.steps.len(), 4);
    for step in &document.steps {
        assert!(step.answered() > 0, "{}", step.name);
        assert_eq!(step.failed(), 0, "{}: {:?}", step.name, step.outcomes);
        assert_eq!(step.abandoned, 0);
        assert_eq!(step.latencies.response.count(), step.answered());
        assert!(step.cpu.client_ns > 0 && step.cpu.broker_ns.is_some());
        let sliced: u64 = step
            .slices
            .iter()
            .flat_map(|slice| slice.outcomes.values())
            .sum();
        assert_eq!(sliced, step.calls());
    }
    for step in &document.steps[..3] {
        assert_eq!(step.assertions_signed, step.calls(), "{}", step.name);
        assert_eq!(step.requests_sent, step.calls(), "{}", step.name);
    }
    let cached = &document.steps[3];
    assert!(cached.requests_sent < cached.calls());
    // Every token that a worker saw was issued; warm-up calls come on top.
    let fetched: u64 = document.steps[..3]
        .iter()
        .map(mintmark::record::StepRecord::answered)
        .sum();
    let broker = document.broker.as_ref().unwrap();
    assert!(broker["granted"] >= fetched);
    assert!(
        broker.keys().all(|name| !name.starts_with("refused")),
        "{broker:?}"
    );
    assert!(document.signing.is_some());
    assert!(["aws-lc-rs", "ring"].contains(&document.signed_by.as_str()));
}

#[test]
fn the_verb_leaves_a_folder_whose_record_is_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("short.toml");
    std::fs::write(&scenario, EMBEDDED).unwrap();
    let results = folder.path().join("results");
    let output = mintmark(&[
        "run",
        scenario.to_str().unwrap(),
        "--results",
        results.to_str().unwrap(),
        "--json",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: RunDocument = serde_json::from_slice(&output.stdout).unwrap();
    let own = std::fs::read_dir(&results)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(own.file_name().to_str().unwrap().ends_with("-short"));
    let stored = store::read(&own.path()).unwrap();
    assert_eq!(printed, stored);
    // A screen is for terminals: a pipe sees a line a second, and the last.
    let stderr = text(&output.stderr);
    assert!(
        stderr.lines().all(|line| line.starts_with("mintmark: ")),
        "{stderr}"
    );
    assert!(stderr.lines().last().unwrap().contains("the record is in"));
    let report = run_text(&stored);
    for part in ["naive", "cached", "calls/s", "aws-lc-rs", "shared-machine"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
}

#[test]
fn an_unusable_scenario_is_a_usage_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("wrong.toml");
    std::fs::write(&scenario, EMBEDDED.replace("measure", "mesure")).unwrap();
    let results = folder.path().join("results");
    let output = mintmark(&[
        "run",
        scenario.to_str().unwrap(),
        "--results",
        results.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    for part in ["wrong.toml", "mesure", "measure"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!results.exists());
}

#[test]
fn results_that_cannot_be_stored_are_found_out_before_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("short.toml");
    std::fs::write(&scenario, EMBEDDED).unwrap();
    // A file stands where the folder should be.
    let output = mintmark(&[
        "run",
        scenario.to_str().unwrap(),
        "--results",
        scenario.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("short.toml"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_broker_that_dies_in_the_middle_is_counted_and_not_waited_for() {
    let app = generated_app();
    let folder = written(&app);
    let mut broker = Some(broker_for(&app));
    let url = broker.as_ref().unwrap().url();
    let scenario = against(&url, &folder.path().join("app.json"), "1500ms");
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let document = run(&plan(&scenario), "r", &stop, &mut |event| {
        if let Event::Step(progress) = event
            && progress.answered >= 50
            && let Some(broker) = broker.take()
        {
            broker.kill();
        }
    })
    .unwrap();
    assert!(broker.is_none(), "the broker was never killed");
    let step = &document.steps[0];
    assert!(step.answered() >= 1);
    assert!(step.failed() >= 1, "{:?}", step.outcomes);
    for name in step.outcomes.keys() {
        assert!(
            ["answered", "connect_refused", "connection_reset"].contains(&name.as_str()),
            "{:?}",
            step.outcomes
        );
    }
    assert!(
        document
            .warnings
            .iter()
            .any(|warning| warning.code == "errors")
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Starts `mintmark broker` as a process and waits for its address.
fn broker_process(arguments: &[&str]) -> (Child, String) {
    let mut child = program()
        .arg("broker")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    (child, url.trim().to_owned())
}

#[test]
fn a_broker_process_that_is_killed_ends_in_a_report_with_counted_errors() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("app.json");
    let (mut broker, url) = broker_process(&[
        "--listen",
        "127.0.0.1:0",
        "--write-config",
        config.to_str().unwrap(),
        "--user",
        USER,
    ]);
    let scenario = folder.path().join("against.toml");
    std::fs::write(&scenario, against(&url, &config, "3s")).unwrap();
    let plan = plan(&std::fs::read_to_string(&scenario).unwrap());
    let stop = AtomicBool::new(false);
    let mut is_killed = false;
    let document = run(&plan, "r", &stop, &mut |event| {
        if let Event::Step(progress) = event
            && progress.answered >= 20
            && !is_killed
        {
            broker.kill().unwrap();
            is_killed = true;
        }
    })
    .unwrap();
    broker.wait().unwrap();
    let step = &document.steps[0];
    assert!(is_killed);
    assert!(
        step.answered() >= 1 && step.failed() >= 1,
        "{:?}",
        step.outcomes
    );
    assert!(run_text(&document).contains("failed in reused"));
}

#[test]
fn a_stop_in_the_middle_of_a_step_keeps_what_was_measured() {
    let stop = AtomicBool::new(false);
    let mut text = EMBEDDED.replace("700ms", "60s");
    text = text.replace(
        "compare = { budget = \"300ms\", backends = [\"aws-lc-rs\", \"ring\"] }",
        "",
    );
    let document = run(&plan(&text), "r", &stop, &mut |event| {
        if let Event::Step(progress) = event
            && progress.elapsed > Duration::from_millis(300)
            && progress.answered > 0
        {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert!(document.partial.as_ref().unwrap().contains("naive"));
    assert_eq!(document.steps.len(), 1);
    assert!(document.steps[0].answered() > 0);
    assert!(
        document
            .warnings
            .iter()
            .any(|warning| warning.code == "partial")
    );
}

#[test]
fn ctrl_c_ends_with_a_record_that_is_marked_partial() {
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("long.toml");
        std::fs::write(&scenario, EMBEDDED.replace("700ms", "60s")).unwrap();
        let results = folder.path().join("results");
        let child = program()
            .args(["run", scenario.to_str().unwrap(), "--json", "--results"])
            .arg(&results)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The handlers stand once the folder does and threads have started.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !has_thread(child.id(), "load-0") {
            assert!(Instant::now() < deadline, "the load never began");
            std::thread::yield_now();
        }
        let killed = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(printed["partial"].is_string());
        let own = std::fs::read_dir(&results)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert!(store::read(&own.path()).unwrap().partial.is_some());
    }
}

fn has_thread(process: u32, name: &str) -> bool {
    std::fs::read_dir(format!("/proc/{process}/task")).is_ok_and(|tasks| {
        tasks.flatten().any(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
    })
}
