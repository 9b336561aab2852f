//! Backends compared: real signatures, no absolute speeds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mintmark::bench::{self, BenchError, BenchRecord};
use mintmark::signer::{Algorithm, PrivateKey};

use crate::keys;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn quick(key: &Arc<PrivateKey>, backends: &[&str]) -> Result<BenchRecord, BenchError> {
    bench::quick(
        key,
        Algorithm::Rs256,
        &names(backends),
        Duration::from_millis(400),
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
