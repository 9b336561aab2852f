//! Results: folders that are whole, read by this program, by older documents'
//! heirs and by other people's tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mintmark::record::{RunDocument, store};
use serde_json::Value;

use crate::stage::{mintmark, program, text};

const SHORT: &str = r#"
name = "short"
objective = "p99<5s,errors<1%"
[target]
broker = { users = 5 }
[signing]
compare = { budget = "300ms", backends = ["aws-lc-rs", "ring"] }
[load]
open = { per_s = 50 }
connections = 4
calibrate = "0s"
warm_up = "100ms"
measure = "1s"
slice = "100ms"
"#;

const STEPS: &str = r#"
name = "steps"
[target]
broker = { users = 5 }
[load]
closed = { workers = 2 }
warm_up = "0ms"
measure = "400ms"
slice = "100ms"
[[step]]
name = "key reused"
key = "reuse"
token = "fetch-per-call"
[[step]]
name = "token cached"
key = "reuse"
token = "cache"
"#;

/// Runs scenarios and returns the folder that holds their results.
fn ran(scenarios: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (at, scenario) in scenarios.iter().enumerate() {
        let file = folder.path().join(format!("{at}.toml"));
        fs::write(&file, scenario).unwrap();
        let output = program()
            .args(["run", file.to_str().unwrap(), "--results"])
            .arg(folder.path().join("results"))
            .output()
            .unwrap();
        // A busy machine may make a run doubt itself; it is kept all the same.
        let code = output.status.code().unwrap();
        assert!(matches!(code, 0 | 4), "{code}: {}", text(&output.stderr));
    }
    folder
}

fn runs(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut runs: Vec<_> = fs::read_dir(folder.path().join("results"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    runs.sort();
    runs
}

fn fixtures() -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/results"
    ))
    .unwrap()
    .map(|entry| entry.unwrap().path())
    .collect();
    found.sort();
    found
}

/// Returns a Python that has `module`, or says why a test is skipped.
pub(crate) fn python_with(module: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let found = [own, PathBuf::from("python3")].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", &format!("import {module}")])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: no Python with {module}; .ci/run installs it in target/python");
    }
    found
}

fn python(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn documents_of_every_older_version_are_read() {
    let mut versions = Vec::new();
    for path in fixtures() {
        let document = store::read(&path).unwrap();
        versions.push(document.schema_version);
        assert!(!document.run.is_empty());
        // What was read is written in its own version and read again.
        let again: RunDocument =
            serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
        assert_eq!(again, document, "{}", path.display());
    }
    let newest = mintmark::record::document::SCHEMA_VERSION;
    for version in 1..=newest {
        assert!(
            versions.contains(&version),
            "no fixture of version {version}"
        );
    }
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/result.schema.json");
    let kept: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let output = mintmark(&["results", "schema"]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        kept == made,
        "the types have changed: raise SCHEMA_VERSION if documents have, and run `mintmark results schema > docs/result.schema.json`"
    );
}

#[test]
fn real_output_satisfies_the_schema_and_a_changed_one_does_not() {
    let Some(interpreter) = python_with("jsonschema") else {
        return;
    };
    let folder = ran(&[SHORT, STEPS]);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/result.schema.json");
    let mut documents: Vec<_> = runs(&folder)
        .iter()
        .map(|run| run.join("result.json"))
        .collect();
    documents.extend(fixtures());
    let script = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
check = jsonschema.Draft202012Validator(schema)
jsonschema.Draft202012Validator.check_schema(schema)
for path in sys.argv[2:]:
    document = json.load(open(path))
    check.validate(document)
    document['surprise'] = 1
    assert not check.is_valid(document)
    del document['surprise'], document['host']['cpus']
    assert not check.is_valid(document)
    print(path)
";
    let mut arguments: Vec<&Path> = vec![&schema];
    arguments.extend(documents.iter().map(PathBuf::as_path));
    let checked = python(&interpreter, script, &arguments);
    assert_eq!(checked.lines().count(), documents.len());
}

#[test]
fn a_foreign_decoder_reads_the_log_as_it_was_counted() {
    let Some(interpreter) = python_with("hdrh") else {
        return;
    };
    let folder = ran(&[SHORT, STEPS]);
    let script = "
import sys, json
from hdrh.log import HistogramLogReader
from hdrh.histogram import HdrHistogram
whole = {}
lines = 0
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3600000000000, 3))
last = 0
while True:
    interval = reader.get_next_interval_histogram()
    if not interval:
        break
    lines += 1
    assert interval.get_start_time_stamp() >= last
    last = interval.get_start_time_stamp()
    tag = interval.get_tag()
    whole.setdefault(tag, HdrHistogram(1, 3600000000000, 3)).add(interval)
print(json.dumps({tag: [h.get_total_count(), h.get_value_at_percentile(99.0), h.get_max_value()] for tag, h in whole.items()}))
";
    for run in runs(&folder) {
        let document = store::read(&run).unwrap();
        let found: Value =
            serde_json::from_str(&python(&interpreter, script, &[&run.join("load.hlog")])).unwrap();
        for step in &document.steps {
            let (response, service) = mintmark::report::step_times(step);
            let name = step.name.replace(' ', "_");
            let mut expected = vec![(format!("{name}/answered"), response)];
            if step.open.is_some() {
                expected.push((format!("{name}/answered/service"), service.unwrap()));
            }
            for (tag, histogram) in expected {
                let seen = &found[&tag];
                assert_eq!(seen[0], histogram.count(), "{tag} of {found}");
                // The decoder rounds a rank where the library rounds it up,
                // and may give another value of the same 0.1 %.
                let rank = 1.0 / histogram.count() as f64;
                let ns = |q: f64| histogram.quantile(q).unwrap().as_nanos() as f64;
                let (p99, max) = (seen[1].as_f64().unwrap(), seen[2].as_f64().unwrap());
                assert!(p99 >= ns(0.99 - rank) * 0.998, "{tag}: {p99}");
                assert!(p99 <= ns((0.99 + rank).min(1.0)) * 1.002, "{tag}: {p99}");
                assert!((max / ns(1.0) - 1.0).abs() < 0.002, "{tag}: {max}");
            }
        }
    }
}

#[test]
fn results_are_listed_named_shown_exported_and_pruned() {
    let folder = ran(&[SHORT, STEPS]);
    let results = folder.path().join("results");
    let at = results.to_str().unwrap();
    let names: Vec<String> = runs(&folder)
        .iter()
        .map(|run| run.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let json = |arguments: &[&str]| -> Value {
        let output = mintmark(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };

    let list = json(&["results", "list", "--json", "--results", at]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert!(list[0]["verdicts"].as_array().unwrap().len() >= 2);

    let first = names.iter().find(|name| name.ends_with("short")).unwrap();
    assert!(
        mintmark(&["results", "name", first, "before", "--results", at])
            .status
            .success()
    );
    let shown = json(&["results", "show", "before", "--json", "--results", at]);
    assert_eq!(shown["run"], first.as_str());

    // What was exported as a log is what the run had left.
    let log = mintmark(&[
        "results",
        "export",
        "before",
        "--format",
        "hlog",
        "--results",
        at,
    ]);
    assert_eq!(
        log.stdout,
        fs::read(results.join(first).join("load.hlog")).unwrap()
    );
    let csv = mintmark(&[
        "results",
        "export",
        "before",
        "--format",
        "csv",
        "--results",
        at,
    ]);
    assert_eq!(text(&csv.stdout).lines().count(), 1 + 10);
    let two = names.iter().find(|name| name.ends_with("steps")).unwrap();
    let unclear = mintmark(&[
        "results",
        "export",
        two,
        "--format",
        "hgrm",
        "--results",
        at,
    ]);
    assert_eq!(unclear.status.code(), Some(2));
    assert!(text(&unclear.stderr).contains("token cached"));
    let database = folder.path().join("months.sqlite");
    let output = mintmark(&[
        "results",
        "export",
        "before",
        two,
        "--format",
        "sqlite",
        "--results",
        at,
        "-o",
        database.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let steps: u64 = rusqlite::Connection::open(&database)
        .unwrap()
        .query_row("SELECT count(*) FROM steps", [], |row| row.get(0))
        .unwrap();
    assert_eq!(steps, 3);

    let would = json(&["results", "prune", "--keep", "0", "--json", "--results", at]);
    assert_eq!(would["removed"], false);
    assert_eq!(would["folders"].as_array().unwrap().len(), 1);
    assert_eq!(would["spared_baselines"][0], "before");
    assert_eq!(runs(&folder).len(), 2);
    json(&[
        "results",
        "prune",
        "--keep",
        "0",
        "--yes",
        "--json",
        "--results",
        at,
    ]);
    assert_eq!(runs(&folder).len(), 1);
    assert!(results.join(first).is_dir());
}

#[test]
fn a_killed_run_leaves_no_folder_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    fs::write(&file, STEPS.replace("400ms", "60s")).unwrap();
    let results = folder.path().join("results");
    let mut child = program()
        .args(["run", file.to_str().unwrap(), "--results"])
        .arg(&results)
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while !results.is_dir() || fs::read_dir(&results).unwrap().count() == 0 {
        assert!(begun.elapsed().as_secs() < 60, "the run makes no folder");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = mintmark(&[
        "results",
        "list",
        "--json",
        "--results",
        results.to_str().unwrap(),
    ]);
    assert_eq!(text(&output.stdout).trim(), "[]");
}

#[test]
fn a_history_of_runs_shows_where_the_goodput_fell() {
    let folder = ran(&[SHORT]);
    let first = runs(&folder).remove(0);
    let document: Value =
        serde_json::from_slice(&fs::read(first.join("result.json")).unwrap()).unwrap();
    fs::remove_dir_all(&first).unwrap();
    let results = folder.path().join("results");
    for number in 0..14_u64 {
        let mut run = document.clone();
        let name = format!("run-{number:02}");
        run["run"] = name.clone().into();
        run["steps"][0]["open"]["soundness"]["validity"] = "VALID".into();
        let answered = if number < 8 { 1_000 } else { 700 };
        run["steps"][0]["outcomes"]["answered"] = (answered + number % 3).into();
        fs::create_dir(results.join(&name)).unwrap();
        fs::write(results.join(&name).join("result.json"), run.to_string()).unwrap();
    }
    let history = |flags: &[&str]| {
        program()
            .current_dir(folder.path())
            .arg("history")
            .args(flags)
            .output()
            .unwrap()
    };
    let output = history(&[
        "short",
        "--metric",
        "goodput",
        "--json",
        "--csv",
        "short.csv",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let changes = found["series"][0]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["run"], "run-08");
    assert_eq!(changes[0]["is_worse"], true);
    let csv = fs::read_to_string(folder.path().join("short.csv")).unwrap();
    assert_eq!(csv.lines().count(), 15);
    for wrong in [
        &["another"][..],
        &["--metric", "latency"],
        &["--level", "0"],
        &["--results", "nowhere"],
    ] {
        let output = history(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(text(&output.stderr).contains("expected"), "{wrong:?}");
    }
}
