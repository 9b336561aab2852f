//! What record do tests of reports and warnings start from?
//!
//! One record with invented figures, made by hand; built into tests alone.

use crate::bench::record::{Latency, SpeedRatio};
use crate::bench::{
    BenchRecord, Bounded, Case, CaseRecord, ComparisonRecord, KeyPolicy, QualityFacts, Question,
    TimedBy,
};
use crate::record::{Histogram, Host, Warning};
use crate::signer::{Algorithm, Facts};
use crate::stats::{Estimate, Tolerance, Verdict};

/// Returns a record of two backends in one cell.
#[allow(clippy::too_many_lines)] // A list of invented figures.
pub(crate) fn sample() -> BenchRecord {
    let bounded = |ratio: f64| Bounded {
        ratio,
        lower: ratio * 0.99,
        upper: ratio * 1.01,
    };
    let case = |backend: &str, rank, per_core_per_s: f64, speed: Option<f64>| CaseRecord {
        case: Case {
            backend: backend.into(),
            algorithm: Algorithm::Rs256,
            key_bits: 2048,
            threads: 1,
            key_policy: KeyPolicy::Reused,
            claims_bytes: 286,
        },
        is_reference: speed.is_none(),
        rank,
        signatures: 4_000,
        blocks: 1_000,
        per_core_per_s,
        per_core_spread_per_s: (per_core_per_s * 0.9, per_core_per_s * 1.01),
        mean_per_core_per_s: per_core_per_s * 0.97,
        total_per_s: per_core_per_s,
        achieved_per_s: per_core_per_s * 0.9,
        utilisation: 0.95,
        process_per_thread_cpu: 1.01,
        speed: speed.map(|ratio| SpeedRatio {
            floor: bounded(ratio),
            mean: bounded(ratio * 0.99),
        }),
        latency: Latency {
            min_ns: 230_000,
            p50_ns: Some(232_000),
            p90_ns: Some(250_000),
            p99_ns: Some(4_100_000),
            p999_ns: None,
            max_ns: 8_300_000,
        },
        latency_histogram: Histogram::new(),
        rust_allocations: None,
        rust_allocated_bytes: None,
        cycles: None,
        load_ns: Some(153_000),
        decrypt_and_load_ns: Some(1_200_000),
    };
    let facts = |name: &str, version: &str| Facts {
        name: name.into(),
        version: version.into(),
        cpu_features: vec!["bmi2".into(), "adx".into()],
        ..Facts::default()
    };
    BenchRecord {
        schema_version: 1,
        seed: 1,
        budget_ns: 20_000_000_000,
        took_ns: 14_000_000_000,
        is_stopped: false,
        alpha: 0.01,
        tolerance: Tolerance::default(),
        keys: Vec::new(),
        backends: vec![facts("aws-lc-rs", "1.19.0"), facts("ring", "0.17.14")],
        cases: vec![
            case("aws-lc-rs", 1, 4_348.0, Some(2.4)),
            case("ring", 2, 1_811.0, None),
        ],
        comparisons: vec![ComparisonRecord {
            question: Question::NullControl,
            baseline: 1,
            candidate: 1,
            timed_by: TimedBy::ThreadCpu,
            verdict: Verdict::Unchanged,
            floor: Some(Estimate {
                log_ratio: 0.0,
                lower: -0.001,
                upper: 0.001,
            }),
            mean: None,
            efficiency: None,
            looks: 2,
            spent_ns: 1_000_000_000,
            lag1: 0.01,
            floor_log_ratios: vec![0.0; 3],
            mean_log_ratios: vec![0.0; 3],
        }],
        scaling: Vec::new(),
        refused: vec![crate::bench::record::RefusedCase {
            case: Case {
                backend: "pkcs11".into(),
                algorithm: Algorithm::Rs256,
                key_bits: 2048,
                threads: 1,
                key_policy: KeyPolicy::Reused,
                claims_bytes: 286,
            },
            reason: "no module".into(),
        }],
        cycles_unavailable: Some("no counter".into()),
        host: Host {
            cpu_model: "Some CPU".into(),
            cpu_signature: "family 1 model 2 stepping 3".into(),
            cpus: 2,
            cpu_features: Vec::new(),
            is_virtual: true,
            os: "Some OS".into(),
            kernel: "6.1".into(),
            memory_bytes: 1,
            arch: "x86_64".into(),
            is_optimised: true,
        },
        quality: QualityFacts::default(),
        warnings: vec![Warning::new(
            "inconclusive",
            "something is undecided".into(),
            "wait longer",
        )],
    }
}
