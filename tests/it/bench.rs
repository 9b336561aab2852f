//! Backends compared: real signatures, no absolute speeds.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mintmark::bench::keys::generated;
use mintmark::bench::{
    self, BenchError, BenchRecord, ComparisonRecord, KeyPolicy, Question, TimedBy,
};
use mintmark::clock::SystemClock;
use mintmark::signer::{Algorithm, KeyKind, PrivateKey, Registry};

use crate::{keys, vectors};

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn quick(key: &Arc<PrivateKey>, backends: &[&str]) -> Result<BenchRecord, BenchError> {
    bench::quick(
        key,
        Algorithm::Rs256,
        &names(backends),
        Duration::from_secs(2),
        &AtomicBool::new(false),
    )
}

#[test]
fn a_quick_comparison_has_a_rate_and_bounds_for_each_backend() {
    let record = quick(&keys::rsa(2048), &["aws-lc-rs", "ring"]).unwrap();
    assert_eq!(record.cases.len(), 2);
    assert!(record.cases.iter().all(|case| case.per_core_per_s > 0.0));
    let reference = record.case_of("ring").unwrap();
    assert!(reference.is_reference && reference.speed.is_none());
    let other = record.case_of("aws-lc-rs").unwrap().speed.unwrap();
    assert!(other.floor.lower <= other.floor.ratio && other.floor.ratio <= other.floor.upper);
    assert!(!record.fastest().is_empty());
    assert!(record.refused.is_empty());
}

#[test]
fn a_backend_that_cannot_use_the_key_is_left_out_with_its_reason() {
    let record = quick(&keys::rsa(2048), &["ring", "no-such-backend"]).unwrap();
    assert_eq!(record.cases.len(), 1);
    assert_eq!(record.refused.len(), 1);
    assert!(record.refused[0].reason.contains("no-such-backend"));
    assert_eq!(record.fastest(), ["ring"]);
    let error = quick(&keys::rsa(2048), &["no-such-backend"]).unwrap_err();
    assert!(matches!(error, BenchError::NothingToMeasure { .. }));
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let record = quick(&keys::rsa(2048), &["aws-lc-rs", "ring"]).unwrap();
    let text = serde_json::to_string(&record).unwrap();
    let back: BenchRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(back, record);
    let key = record.keys[0].spki_sha256.as_ref().unwrap();
    assert_eq!(key.len(), 64);
}

#[test]
fn a_stopped_comparison_keeps_what_it_has() {
    let record = bench::quick(
        &keys::rsa(2048),
        Algorithm::Rs256,
        &names(&["aws-lc-rs", "ring"]),
        Duration::from_secs(60),
        &AtomicBool::new(true),
    )
    .unwrap();
    assert!(record.is_stopped);
    assert!(
        record
            .warnings
            .iter()
            .any(|warning| warning.code == "stopped")
    );
}

/// Runs a matrix of ring and AWS-LC for a second or so.
fn matrix(change: impl FnOnce(&mut bench::Request<'_>)) -> BenchRecord {
    matrix_of(&["aws-lc-rs", "ring"], change)
}

fn matrix_of(backends: &[&str], change: impl FnOnce(&mut bench::Request<'_>)) -> BenchRecord {
    let registry = Registry::compiled();
    let keys = [
        generated(KeyKind::Rsa, 2048).unwrap(),
        generated(KeyKind::P256, 0).unwrap(),
    ];
    let backends = names(backends);
    let mut request = bench::Request {
        registry: &registry,
        keys: &keys,
        backends: &backends,
        algorithms: &[Algorithm::Rs256],
        threads: &[1],
        key_policies: &[KeyPolicy::Reused],
        claims_bytes: &[bench::USUAL_CLAIMS_BYTES],
        reference: "ring",
        budget: Duration::from_millis(900),
        seed: 1,
        has_null_control: true,
    };
    change(&mut request);
    let stop = AtomicBool::new(false);
    bench::run(&request, &SystemClock::new(), &stop, &mut |_| {}).unwrap()
}

/// The median quad, which a loaded machine still has when bounds need more.
fn median(comparison: &ComparisonRecord) -> f64 {
    let mut sorted = comparison.floor_log_ratios.clone();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn asked(record: &BenchRecord, question: Question) -> usize {
    record
        .comparisons
        .iter()
        .filter(|comparison| comparison.question == question)
        .count()
}

#[test]
fn threads_are_compared_by_the_wall_clock_and_yield_a_curve() {
    let record = matrix(|request| request.threads = &[1, 2]);
    assert_eq!(record.cases.len(), 4);
    assert_eq!(asked(&record, Question::Threads), 2);
    for comparison in &record.comparisons {
        let is_threads = comparison.question == Question::Threads;
        let has_bounds = comparison.floor.is_some();
        assert_eq!(comparison.efficiency.is_some(), is_threads && has_bounds);
        if is_threads {
            assert_eq!(comparison.timed_by, TimedBy::Wall);
        }
    }
    assert_eq!(record.scaling.len(), 2);
    for scaling in &record.scaling {
        let threads: Vec<_> = scaling.points.iter().map(|point| point.threads).collect();
        assert_eq!(threads, [1, 2]);
        assert!(scaling.points[1].total_per_s > 0.0);
    }
}

#[test]
fn handling_the_key_anew_costs_time_and_is_shown() {
    let record = matrix(|request| {
        request.key_policies = &KeyPolicy::ALL;
        request.budget = Duration::from_millis(1_800);
    });
    assert_eq!(record.cases.len(), 6);
    assert_eq!(asked(&record, Question::KeyPolicy), 4);
    for comparison in &record.comparisons {
        if comparison.question == Question::KeyPolicy {
            // Decrypting and parsing are work on top of a signature.
            assert!(median(comparison) > 0.0, "{}", median(comparison));
        }
    }
    for case in &record.cases {
        let (parse, decrypt) = (case.load_ns.unwrap(), case.decrypt_and_load_ns.unwrap());
        assert!(parse < decrypt, "{parse} {decrypt}");
    }
    assert!(record.keys[0].container.as_ref().unwrap().contains("PBES2"));
}

#[test]
fn a_policy_that_a_library_has_anyway_is_left_out() {
    let record = matrix_of(&["jsonwebtoken", "ring"], |request| {
        request.key_policies = &[KeyPolicy::Reused, KeyPolicy::ParsedPerCall];
    });
    assert_eq!(record.cases.len(), 3);
    assert_eq!(record.refused.len(), 1);
    assert_eq!(record.refused[0].case.backend, "jsonwebtoken");
    let jsonwebtoken = record.case_of("jsonwebtoken").unwrap();
    assert_eq!(jsonwebtoken.load_ns, None);
}

#[test]
fn leaving_rsa_is_a_question_of_its_own() {
    let record = matrix(|request| {
        request.algorithms = &[Algorithm::Rs256, Algorithm::Es256];
    });
    assert_eq!(asked(&record, Question::Algorithm), 2);
    for comparison in &record.comparisons {
        if comparison.question == Question::Algorithm {
            // An elliptic-curve signature is a tenth of the work at most.
            assert!(median(comparison) < 0.5_f64.ln(), "{}", median(comparison));
        }
    }
    let kinds: Vec<_> = record.keys.iter().map(|key| key.kind).collect();
    assert_eq!(kinds, [KeyKind::Rsa, KeyKind::P256]);
}

#[test]
fn the_reference_is_compared_with_itself_only_if_asked() {
    let record = matrix(|request| request.budget = Duration::from_millis(300));
    assert_eq!(asked(&record, Question::NullControl), 1);
    let control = record.comparisons.last().unwrap();
    assert_eq!(control.baseline, control.candidate);
    let record = matrix(|request| {
        request.budget = Duration::from_millis(300);
        request.has_null_control = false;
    });
    assert_eq!(asked(&record, Question::NullControl), 0);
}

fn mintmark(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_verb_prints_a_record_and_writes_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("bench.csv");
    let output = mintmark(&[
        "bench",
        "--backends",
        "ring,aws-lc-rs",
        "--budget",
        "400ms",
        "--json",
        "--csv",
        csv.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let record: BenchRecord = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record.cases.len(), 2);
    assert!(output.stderr.is_empty(), "silent when piped: {output:?}");
    let rows = std::fs::read_to_string(csv).unwrap();
    assert_eq!(rows.lines().count(), 3);
}

#[test]
fn the_verb_signs_with_a_key_from_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    let config = mintmark::credential::generate::app_config(
        mintmark::credential::generate::RsaBits::B2048,
        Some(mintmark::credential::Sealing::CONSOLE),
    )
    .unwrap();
    config.write(&path).unwrap();
    let output = mintmark(&[
        "bench",
        "--backends",
        "ring",
        "--budget",
        "200ms",
        "--json",
        "--key",
        path.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let record: BenchRecord = serde_json::from_str(&text).unwrap();
    let key = config.credential().unwrap().key.open().unwrap();
    let fingerprint = key.public_key().unwrap().fingerprint();
    assert_eq!(record.keys.len(), 1);
    let shown = record.keys[0].spki_sha256.as_ref().unwrap();
    assert_eq!(vectors::hex(&shown.as_str().into()), fingerprint);
    assert!(!text.contains("PRIVATE KEY"));
}

#[test]
fn flags_that_cannot_be_used_are_named() {
    for (arguments, part) in [
        (vec!["bench", "--backends", "rings"], "rings"),
        (vec!["bench", "--bits", "1024"], "1024"),
        (vec!["bench", "--threads", "0"], "--threads is 0"),
        (vec!["bench", "--key-policies", "cached"], "cached"),
        (vec!["bench", "--budget", "20"], "duration"),
        (
            vec!["bench", "--key", "/nowhere/app.json"],
            "/nowhere/app.json",
        ),
    ] {
        let output = mintmark(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn backends_are_listed_with_what_is_missing() {
    let output = mintmark(&["backends", "--json"]);
    assert!(output.status.success());
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let compiled = listing["compiled"].as_array().unwrap();
    assert!(compiled.len() >= 7);
    let pkcs11 = compiled
        .iter()
        .find(|one| one["facts"]["name"] == "pkcs11")
        .unwrap();
    if std::env::var_os("MINTMARK_PKCS11_MODULE").is_none() {
        let reason = pkcs11["unavailable"].as_str().unwrap();
        assert!(reason.contains("MINTMARK_PKCS11_MODULE"), "{reason}");
    }
    for absent in listing["absent"].as_array().unwrap() {
        assert!(absent["feature"].is_string());
    }
}
