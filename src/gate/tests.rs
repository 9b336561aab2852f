//! A gate, tried with arms that invent durations.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::session::Arms;
use super::*;
use crate::bench::arm::Arm;
use crate::bench::fake::{InventedArm, Machine};
use crate::bench::{Case, KeyPolicy, QualityFacts};
use crate::error::Exit;
use crate::signer::Algorithm;
use crate::stats::Tolerance;

/// What the candidate of one attempt is like: how many times the baseline's
/// time it takes, and the share of operations that take three times as long.
type Effect = (f64, f64);

/// A contest of invented arms; each attempt takes the next effect.
struct Invented {
    machine: Arc<Machine>,
    control: Effect,
    effects: VecDeque<Result<Effect, String>>,
    is_swapped: bool,
}

impl Invented {
    fn new(seed: u64, effects: &[Effect]) -> Self {
        Self {
            machine: Machine::new(seed),
            control: (1.0, 0.0),
            effects: effects.iter().copied().map(Ok).collect(),
            is_swapped: false,
        }
    }
}

impl Contest for Invented {
    fn baseline(&self) -> String {
        "old".into()
    }

    fn candidate(&self) -> String {
        "new".into()
    }

    fn arms(&mut self, _: &GateCase, is_control: bool) -> Result<Arms<'_>, String> {
        const BASE_NS: f64 = 500_000.0;
        let (factor, rare) = if is_control {
            self.control
        } else {
            self.effects.pop_front().unwrap_or(Ok((1.0, 0.0)))?
        };
        let plain = InventedArm::new(&self.machine, 0, BASE_NS);
        let other = InventedArm::new(&self.machine, 1, BASE_NS * factor).rarely_slow(rare, 3.0);
        let (plain, other): (Box<dyn Arm>, Box<dyn Arm>) = (Box::new(plain), Box::new(other));
        Ok(Arms {
            arms: if self.is_swapped && !is_control {
                [other, plain]
            } else {
                [plain, other]
            },
            by: None,
        })
    }
}

fn cases(count: usize) -> Vec<GateCase> {
    (0..count)
        .map(|at| {
            let case = Case {
                backend: "invented".into(),
                algorithm: Algorithm::Rs256,
                key_bits: 2048,
                threads: 1 + at,
                key_policy: KeyPolicy::Reused,
                claims_bytes: 286,
            };
            GateCase {
                baseline: case.clone(),
                candidate: case,
                tolerance: Tolerance::default(),
            }
        })
        .collect()
}

fn gate(contest: &mut Invented, count: usize, seed: u64) -> GateRecord {
    let plan = Plan {
        cases: cases(count),
        looks: Plan::LOOKS.to_vec(),
        alpha: 0.01,
        seed,
    };
    let machine = Arc::clone(&contest.machine);
    run(
        contest,
        &plan,
        &machine.clock,
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap()
}

fn verdicts(record: &GateRecord) -> Vec<GateVerdict> {
    record.cases.iter().map(|case| case.verdict).collect()
}

#[test]
fn a_slower_candidate_fails_the_build_and_only_that_case() {
    // The second case is measured twice, since it regressed.
    let mut contest = Invented::new(1, &[(1.0, 0.0), (1.03, 0.0), (1.0, 0.0), (1.03, 0.0)]);
    let record = gate(&mut contest, 3, 1);
    assert_eq!(
        verdicts(&record),
        [
            GateVerdict::Unchanged,
            GateVerdict::Regressed,
            GateVerdict::Unchanged
        ]
    );
    assert_eq!(record.exit(OnInconclusive::Report), Exit::Missed);
    let slower = &record.cases[1];
    let floor = slower.attempt.as_ref().unwrap().floor.unwrap();
    assert!((floor.change() - 0.03).abs() < 0.003, "{floor:?}");
    assert!(slower.confirmation.is_some());
    assert!(record.cases[0].confirmation.is_none());
}

#[test]
fn a_rare_slowdown_fails_the_build() {
    let mut contest = Invented::new(2, &[(1.0, 0.02), (1.0, 0.02)]);
    let record = gate(&mut contest, 1, 2);
    assert_eq!(verdicts(&record), [GateVerdict::Regressed]);
}

#[test]
fn a_regression_that_is_not_found_again_decides_nothing() {
    let mut contest = Invented::new(3, &[(1.05, 0.0), (1.0, 0.0)]);
    let record = gate(&mut contest, 1, 3);
    assert_eq!(verdicts(&record), [GateVerdict::Inconclusive]);
    assert!(record.cases[0].reason.as_ref().unwrap().contains("again"));
    assert_eq!(record.exit(OnInconclusive::Report), Exit::Inconclusive);
    assert_eq!(record.exit(OnInconclusive::Pass), Exit::Success);
    assert_eq!(record.exit(OnInconclusive::Fail), Exit::Missed);
}

#[test]
fn a_session_whose_baseline_differs_from_itself_decides_nothing() {
    let mut contest = Invented::new(4, &[(1.05, 0.0), (1.05, 0.0), (0.9, 0.0)]);
    contest.control = (1.04, 0.0);
    let record = gate(&mut contest, 2, 4);
    assert_eq!(verdicts(&record), [GateVerdict::Inconclusive; 2]);
    assert!(record.cases[0].reason.as_ref().unwrap().contains("itself"));
}

#[test]
fn a_side_that_cannot_sign_is_not_comparable_and_no_pass() {
    let mut contest = Invented::new(5, &[]);
    contest.effects = [Err("new: no such backend".to_owned()), Ok((1.0, 0.0))].into();
    let record = gate(&mut contest, 2, 5);
    assert_eq!(
        verdicts(&record),
        [GateVerdict::NotComparable, GateVerdict::Unchanged]
    );
    assert_eq!(record.exit(OnInconclusive::Pass), Exit::NotComparable);
    assert_eq!(
        record.cases[0].reason.as_deref(),
        Some("new: no such backend")
    );
}

#[test]
fn swapping_the_arms_mirrors_the_verdict() {
    for factor in [0.9, 0.97, 1.0, 1.03, 1.1] {
        let found = |is_swapped| {
            let mut contest = Invented::new(6, &[(factor, 0.0), (factor, 0.0)]);
            contest.is_swapped = is_swapped;
            gate(&mut contest, 1, 6).cases[0].verdict
        };
        let mirrored = match found(false) {
            GateVerdict::Regressed => GateVerdict::Improved,
            GateVerdict::Improved => GateVerdict::Regressed,
            other => other,
        };
        assert_eq!(found(true), mirrored, "{factor}");
    }
}

#[test]
fn equal_sides_raise_no_alarm_and_waste_no_time() {
    let mut undecided = 0;
    for seed in 0..60 {
        let record = gate(&mut Invented::new(seed, &[]), 4, seed);
        for case in &record.cases {
            assert!(
                !matches!(case.verdict, GateVerdict::Regressed | GateVerdict::Improved),
                "{seed}: {case:?}"
            );
            undecided += usize::from(case.verdict != GateVerdict::Unchanged);
            let spent = case.attempt.as_ref().unwrap().spent_ns;
            assert!(spent < 17_000_000_000, "{spent}");
        }
    }
    assert!(undecided <= 24, "{undecided} of 240");
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let record = gate(&mut Invented::new(7, &[(1.05, 0.0), (1.05, 0.0)]), 1, 7);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<GateRecord>(&text).unwrap(), record);
}

fn saved(floor_ns: f64) -> Saved {
    Saved {
        schema_version: SAVED_SCHEMA_VERSION,
        taken_at: "2026-01-01T00:00:00Z".into(),
        fingerprint: Fingerprint::here(),
        cases: vec![SavedCase {
            case: cases(1).remove(0).candidate,
            backend_version: "1".into(),
            floor_ns,
            visits_ns: vec![floor_ns; 3],
        }],
    }
}

#[test]
fn saved_figures_are_judged_by_three_percent() {
    let verdict = |now: f64| compare_saved(&saved(100.0), &saved(now))[0].verdict;
    assert_eq!(verdict(100.0), GateVerdict::Unchanged);
    assert_eq!(verdict(102.9), GateVerdict::Unchanged);
    assert_eq!(verdict(103.1), GateVerdict::Regressed);
    assert_eq!(verdict(97.2), GateVerdict::Unchanged);
    assert_eq!(verdict(97.0), GateVerdict::Improved);
}

#[test]
fn figures_of_another_machine_are_not_judged() {
    let mut then = saved(100.0);
    then.fingerprint.cpu_model = "another".into();
    then.fingerprint.cpus += 1;
    let found = compare_saved(&then, &saved(200.0)).remove(0);
    assert_eq!(found.verdict, GateVerdict::NotComparable);
    let reason = found.reason.unwrap();
    assert!(reason.contains("another") && reason.contains("number of processors"));
    let record = GateRecord::of_saved(
        "gate-baseline.json",
        &then,
        compare_saved(&then, &saved(200.0)),
        std::time::Duration::ZERO,
        1,
    );
    assert_eq!(record.exit(OnInconclusive::Pass), Exit::NotComparable);
    assert_eq!(record.quality, QualityFacts::default());
}

#[test]
fn a_worker_answers_what_it_is_asked_and_refuses_other_versions() {
    let key = crate::bench::keys::generated(crate::signer::KeyKind::P256, 0).unwrap();
    let case = Case {
        backend: "ring".into(),
        algorithm: Algorithm::Es256,
        key_bits: 256,
        ..cases(1).remove(0).candidate
    };
    let lines = |protocol| {
        let start = worker::Ask::Start {
            protocol,
            case: case.clone(),
            key: worker::Secret::of(&key.key),
        };
        [
            serde_json::to_string(&start).unwrap(),
            serde_json::to_string(&worker::Ask::SignaturesPerOperation(3)).unwrap(),
            serde_json::to_string(&worker::Ask::Run(2)).unwrap(),
            serde_json::to_string(&worker::Ask::RunAlone(2)).unwrap(),
            "what?".to_owned(),
        ]
        .join("\n")
    };
    let answers = |protocol| -> Vec<worker::Answer> {
        let mut out = Vec::new();
        worker::serve(lines(protocol).as_bytes(), &mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let found = answers(worker::PROTOCOL);
    assert!(matches!(found[0], worker::Answer::Ready { .. }));
    assert!(matches!(found[1], worker::Answer::Done));
    let worker::Answer::Block(block) = &found[2] else {
        panic!("{:?}", found[2]);
    };
    assert_eq!((block.signatures, block.cpu_ns.len()), (6, 2));
    // Signing waits for nothing, however busy the machine is.
    let worker::Answer::Alone(block, Some(given_up)) = &found[3] else {
        panic!("{:?}", found[3]);
    };
    assert_eq!(block.cpu_ns.len(), 2);
    assert!(*given_up < 2, "{given_up}");
    assert!(matches!(found[4], worker::Answer::Failed(_)));
    assert!(matches!(answers(99)[0], worker::Answer::Failed(_)));
    // What goes over the pipe does not show itself.
    assert!(!format!("{:?}", worker::Secret::of(&key.key)).contains("MI"));
}
