//! The gate as a build server uses it: exit codes, files, and real workers.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::keys;

/// Runs the verb; cases last half a second, as no speed is judged here.
fn gate(folder: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .current_dir(folder)
        .arg("gate")
        .args(flags)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_backend_that_is_twice_as_slow_fails_the_build() {
    let here = folder();
    let output = gate(
        here.path(),
        &[
            "--baseline",
            "aws-lc-rs",
            "--candidate",
            "rsa-unblinded",
            "--most",
            "4s",
            "--json",
            "--junit",
            "gate.xml",
            "--markdown",
            "gate.md",
        ],
    );
    let record = json(&output);
    // A machine that is too busy for the control decides nothing, and says so.
    let expected = if record["control"]["verdict"] == "unchanged" {
        (Some(1), "regressed", "<failure")
    } else {
        (Some(4), "inconclusive", "<skipped")
    };
    assert_eq!(output.status.code(), expected.0);
    assert_eq!(record["verdict"], expected.1);
    let xml = std::fs::read_to_string(here.path().join("gate.xml")).unwrap();
    assert!(xml.contains(expected.2), "{xml}");
    let markdown = std::fs::read_to_string(here.path().join("gate.md")).unwrap();
    assert!(markdown.contains(&expected.1.to_uppercase()), "{markdown}");
    let floor = &record["cases"][0]["attempt"]["floor"]["log_ratio"];
    assert!(floor.as_f64().unwrap() > 0.5, "{floor}");
}

#[test]
fn two_builds_meet_in_fresh_pinned_workers() {
    let here = folder();
    let output = gate(
        here.path(),
        &[
            "--baseline-bin",
            env!("CARGO_BIN_EXE_mintmark"),
            "--backends",
            "ring",
            "--algorithms",
            "ES256",
            "--most",
            "3s",
            "--json",
        ],
    );
    let record = json(&output);
    let case = &record["cases"][0];
    let attempt = &case["attempt"];
    assert!(attempt["pairs"].as_u64().unwrap() >= 3, "{record}");
    assert_eq!(attempt["timed_by"], "thread_cpu");
    assert!(attempt["floor_log_ratios"].as_array().unwrap().len() > 20);
    assert!(matches!(output.status.code(), Some(0 | 4)), "{record}");
}

#[test]
fn what_is_no_mintmark_is_not_comparable() {
    let here = folder();
    for program in ["/bin/true", "/bin/cat"] {
        let output = gate(
            here.path(),
            &["--baseline-bin", program, "--backends", "ring", "--json"],
        );
        assert_eq!(output.status.code(), Some(5), "{program}");
        let record = json(&output);
        assert_eq!(record["verdict"], "not_comparable");
        let reason = record["cases"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(program), "{reason}");
    }
}

#[test]
fn a_backend_that_lacks_the_algorithm_is_not_comparable() {
    let here = folder();
    let output = gate(
        here.path(),
        &[
            "--baseline",
            "ring",
            "--candidate",
            "rsa",
            "--algorithms",
            "ES256",
            "--json",
        ],
    );
    assert_eq!(output.status.code(), Some(5));
    let record = json(&output);
    let reason = record["cases"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("ES256"), "{reason}");
}

#[test]
fn saved_figures_advise_on_the_machine_that_they_came_from() {
    let here = folder();
    let init = gate(
        here.path(),
        &["init", "--backends", "ring", "--algorithms", "ES256"],
    );
    assert!(
        init.status.success(),
        "{}",
        String::from_utf8_lossy(&init.stderr)
    );
    let path = here.path().join("gate-baseline.json");
    // Files that are there are not overwritten.
    assert_eq!(gate(here.path(), &["init"]).status.code(), Some(2));

    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let floor = saved["cases"][0]["floor_ns"].as_f64().unwrap();
    saved["cases"][0]["floor_ns"] = (floor / 2.0).into();
    std::fs::write(&path, saved.to_string()).unwrap();
    let advised = gate(here.path(), &["--config", "gate.toml", "--json"]);
    assert_eq!(advised.status.code(), Some(4));
    assert_eq!(json(&advised)["saved"][0]["verdict"], "regressed");
    let trusted = gate(here.path(), &["--config", "gate.toml", "--trust-saved"]);
    assert_eq!(trusted.status.code(), Some(1));

    saved["fingerprint"]["cpu_model"] = "another".into();
    std::fs::write(&path, saved.to_string()).unwrap();
    let elsewhere = gate(
        here.path(),
        &["--saved", "gate-baseline.json", "--trust-saved"],
    );
    assert_eq!(elsewhere.status.code(), Some(5));
}

#[test]
fn a_configuration_with_a_wrong_field_is_refused_by_name() {
    let here = folder();
    let text = "baseline = { backend = \"ring\" }\ncandidate = \"this\"\n[[cases]]\nbit = [2048]\n";
    std::fs::write(here.path().join("gate.toml"), text).unwrap();
    let output = gate(here.path(), &["--config", "gate.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("gate.toml") && said.contains("bit"), "{said}");
    assert!(said.contains("algorithms"), "{said}");
    assert_eq!(gate(here.path(), &[]).status.code(), Some(2));
}

#[test]
fn a_key_that_is_brought_decides_the_size() {
    let here = folder();
    std::fs::write(here.path().join("key.der"), keys::rsa(3072).pkcs8_der()).unwrap();
    let output = gate(
        here.path(),
        &[
            "--baseline",
            "ring",
            "--candidate",
            "aws-lc-rs",
            "--key",
            "key.der",
            "--most",
            "500ms",
            "--json",
        ],
    );
    let record = json(&output);
    assert_eq!(record["cases"][0]["case"]["candidate"]["key_bits"], 3072);
    assert!(!record["cases"][0]["attempt"].is_null(), "{record}");
    let missing = gate(
        here.path(),
        &[
            "--baseline",
            "ring",
            "--candidate",
            "ring",
            "--key",
            "no-such-file",
        ],
    );
    assert_eq!(missing.status.code(), Some(2));
}
