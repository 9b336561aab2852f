//! What document do tests of stores and reports start from?
//!
//! One document with invented figures: a closed step, a load at a rate and a
//! search. Built into tests alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::search::{Answer, Confidence, Counts, Decision, Rung, SearchRecord, Stage};
use super::{
    Accounts, Blame, Calibration, ConnectionFacts, CpuTime, Culprit, Finding, GeneratorHealth,
    Habits, Histogram, Host, KeyFacts, KeyHabit, Latencies, OpenRecord, OpenSlice, OutcomeStages,
    Packed, Phases, Quality, RunDocument, SigningFacts, Slice, Soundness, Stages, StepRecord,
    TokenHabit, Tool, Validity, Warning,
};

const SECOND_NS: u64 = 1_000_000_000;

/// Returns a document.
pub(crate) fn document() -> RunDocument {
    RunDocument {
        schema_version: super::document::SCHEMA_VERSION,
        run: "20261120T100000Z-sample".into(),
        tool: Tool::this(),
        started_at: "2026-11-20T10:00:00Z".into(),
        elapsed_ns: 60 * SECOND_NS,
        partial: None,
        scenario: serde_json::json!({
            "name": "sample",
            "description": "Invented figures",
            "target": { "url": { "url": "https://example.com/token" } },
            "objective": "p99<50ms,errors<0.1%",
        }),
        host: host(),
        quality: Quality {
            load_average: 0.5,
            steal_share: 0.001,
            idle_share: 0.5,
            involuntary_switches: 17,
            measured_ns: 60 * SECOND_NS,
        },
        backends: Vec::new(),
        refused: Vec::new(),
        signed_by: "ring".into(),
        signed_singly_by: None,
        gathered: None,
        key: KeyFacts {
            bits: 2048,
            algorithm: "RS256".into(),
            container: "PKCS#8 in PEM".into(),
            spki_sha256: "00".repeat(32),
        },
        signing: None,
        steps: vec![closed(), open()],
        capacity: Some(search()),
        fleet: None,
        broker: None,
        warnings: vec![Warning::steal(0.02)],
    }
}

fn host() -> Host {
    Host {
        cpu_model: "A Processor".into(),
        cpu_signature: "family 1 model 2 stepping 3".into(),
        cpus: 2,
        cpu_features: vec!["avx2".into()],
        is_virtual: true,
        os: "An OS".into(),
        kernel: "1.2".into(),
        memory_bytes: 8 << 30,
        arch: "x86_64".into(),
        is_optimised: true,
    }
}

/// A histogram of `count` durations around `ms`, with a tail.
pub(crate) fn around(ms: u64, count: u64) -> Histogram {
    let mut histogram = Histogram::new();
    for i in 0..count {
        let tail = if i % 50 == 49 { 10 } else { 1 };
        histogram.record(Duration::from_micros(ms * 1_000 * tail + i));
    }
    histogram
}

fn closed() -> StepRecord {
    let slices: Vec<Slice> = (0..5)
        .map(|at| Slice {
            start_ns: at * SECOND_NS,
            length_ns: SECOND_NS,
            outcomes: BTreeMap::from([("answered".into(), 400), ("timed_out".into(), 2)]),
            response: around(2, 400),
        })
        .collect();
    let mut response = Histogram::new();
    for slice in &slices {
        response.add(&slice.response);
    }
    StepRecord {
        name: "first step".into(),
        habits: Habits {
            key: KeyHabit::DecryptPerCall,
            token: TokenHabit::FetchPerCall,
        },
        workers: 4,
        threads: 4,
        phases: Phases {
            warm_up_ns: SECOND_NS,
            measured_ns: 5 * SECOND_NS,
            drain_ns: 0,
        },
        outcomes: BTreeMap::from([("answered".into(), 2_000), ("timed_out".into(), 10)]),
        assertions_signed: 2_010,
        requests_sent: 2_010,
        abandoned: 0,
        latencies: Latencies {
            response,
            signing: around(1, 2_000),
            exchange: around(1, 2_000),
            failed: around(30, 10),
        },
        cpu: CpuTime {
            client_ns: 2_010_000_000,
            calls_ns: None,
            broker_ns: None,
            process_ns: 3_000_000_000,
        },
        slices,
        herds: None,
        open: None,
    }
}

fn stages(count: u64) -> Stages {
    Stages {
        response: Packed::of(&around(4, count)),
        service: Packed::of(&around(3, count)),
        generator_lag: Packed::of(&around(1, count)),
        first_byte: Packed::of(&around(2, count)),
        body: Packed::of(&around(1, count)),
        ..Stages::default()
    }
}

fn open() -> StepRecord {
    let of = |outcome: &str, count| OutcomeStages {
        outcome: outcome.into(),
        count,
        stages: stages(count),
    };
    let record = OpenRecord {
        transport: "lean".into(),
        connections: 32,
        accounts: Accounts {
            scheduled: 1_000,
            answered: 995,
            failed: 5,
            dropped: 0,
            unfinished: 0,
        },
        offered_per_s: 100.0,
        sent_per_s: 100.0,
        outcomes: vec![of("answered", 995), of("http_503", 5)],
        slices: (0..10)
            .map(|at| OpenSlice {
                start_ns: at * SECOND_NS,
                length_ns: SECOND_NS,
                scheduled: 100,
                outcomes: if at < 9 {
                    vec![of("answered", 100)]
                } else {
                    vec![of("answered", 95), of("http_503", 5)]
                },
            })
            .collect(),
        blame: Blame {
            target: 0.75,
            connections: 0.0,
            signing: 0.0,
            generator: 0.25,
        },
        signing: SigningFacts {
            mode: "mint".into(),
            threads: 1,
            signed: 1_000,
            under_runs: 0,
        },
        health: GeneratorHealth::default(),
        opened: ConnectionFacts::default(),
        retries: None,
        cache: None,
        rotation: None,
        calibration: Some(calibration()),
        soundness: Soundness {
            validity: Validity::Suspect,
            culprit: Culprit::GeneratorCpu,
            findings: vec![Finding {
                validity: Validity::Suspect,
                culprit: Culprit::GeneratorCpu,
                warning: Warning::new("generator-late", "sent late".into(), "send less"),
            }],
        },
    };
    StepRecord {
        name: "open".into(),
        outcomes: record.counts(),
        latencies: Latencies::default(),
        slices: Vec::new(),
        open: Some(Box::new(record)),
        ..closed()
    }
}

fn calibration() -> Calibration {
    Calibration {
        ceiling_per_s: 20_000.0,
        floor_p50_ns: 50_000,
        floor_p99_ns: 90_000,
    }
}

fn search() -> SearchRecord {
    let rung = |per_s: f64, stage, decision, ms| Rung {
        per_s,
        stage,
        decision,
        is_forced: false,
        tried_ns: 10 * SECOND_NS,
        requests: 10_000,
        share_over: if decision == Decision::Pass {
            0.002
        } else {
            0.3
        },
        share_failed: 0.0,
        slices: vec![Counts::default(); 20],
        spoiled: 0,
        is_generator_limited: false,
        response: Packed::of(&around(ms, 1_000)),
    };
    SearchRecord {
        objective: "p99<50ms,errors<0.1%".into(),
        settings: serde_json::json!({ "start_per_s": 50.0 }),
        seed: 1,
        calibration: calibration(),
        answer: Answer {
            sustains_per_s: Some(1_000.0),
            refuses_per_s: Some(1_030.0),
            confidence: Confidence::Confirmed,
            rungs: vec![
                rung(500.0, Stage::Bracket, Decision::Pass, 1),
                rung(1_000.0, Stage::Bracket, Decision::Pass, 3),
                rung(2_000.0, Stage::Bracket, Decision::Fail, 90),
                rung(1_030.0, Stage::Narrow, Decision::Fail, 20),
                rung(1_000.0, Stage::Soak, Decision::Pass, 3),
            ],
        },
    }
}
