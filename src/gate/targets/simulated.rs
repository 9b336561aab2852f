//! Are two equal queues told apart, and is a slower one found?
//!
//! Two servers with exponential service times and Poisson arrivals (M/M/1)
//! are compared by the code that compares endpoints; time is a number here.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::session::Segments;
use super::{LoadGate, LoadResult, LoadTolerance, Segment, compare};
use crate::clock::ManualClock;
use crate::gate::GateVerdict;
use crate::record::Validity;
use crate::record::search::Decision;
use crate::stats::sliced::Slice;
use crate::stats::{Random, Verdict};

const SLICES: usize = 20;
const SLICE_NS: f64 = 1e9;
const WARM_UP_NS: f64 = 2e9;

/// Two servers.
struct Queues {
    per_s: f64,
    service_s: [f64; 2],
    failing: [f64; 2],
    services: Random,
    invalid: Vec<bool>,
    /// How much longer both take in each segment.
    pace: fn(u32) -> f64,
    segments: u32,
}

impl Queues {
    fn new(load: f64, factor: f64, seed: u64) -> Self {
        let service_s = 0.004;
        Self {
            per_s: load / service_s,
            service_s: [service_s, service_s * factor],
            failing: [0.0; 2],
            services: Random::new(seed),
            invalid: Vec::new(),
            pace: |_| 1.0,
            segments: 0,
        }
    }
}

impl Segments for Queues {
    fn baseline(&self) -> String {
        "old".into()
    }

    fn candidate(&self) -> String {
        "new".into()
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(22)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn segment(
        &mut self,
        side: usize,
        seed: u64,
        _: &AtomicBool,
    ) -> Result<Option<Segment>, String> {
        let mut arrivals = Random::new(seed);
        let mut slices = vec![Slice::default(); SLICES];
        let (mut now, mut free_at) = (0.0_f64, 0.0_f64);
        let service_ns = 1e9 * self.service_s[side] * (self.pace)(self.segments);
        self.segments += 1;
        loop {
            now -= (1.0 - arrivals.unit()).ln() * 1e9 / self.per_s;
            let at = (now - WARM_UP_NS) / SLICE_NS;
            if at >= SLICES as f64 {
                break;
            }
            free_at = free_at.max(now) - (1.0 - self.services.unit()).ln() * service_ns;
            let fails = self.services.unit() < self.failing[side];
            if at >= 0.0 {
                let slice = &mut slices[at as usize];
                slice.due += 1;
                if !fails {
                    slice.times.push(((free_at - now) as u64, 1));
                }
            }
        }
        let is_invalid = self.invalid.pop().unwrap_or_default();
        Ok(Some(Segment {
            side,
            seed,
            validity: if is_invalid {
                Validity::Invalid
            } else {
                Validity::Valid
            },
            finding: is_invalid.then(|| "it was late".into()),
            sent_share: 1.0,
            slice_ns: SLICE_NS as u64,
            slices,
        }))
    }
}

fn gate(seed: u64, most_s: u64) -> LoadGate {
    LoadGate {
        scenario: "queue".into(),
        tolerance: LoadTolerance::default(),
        objective: None,
        most: Duration::from_secs(most_s),
        alpha: 0.01,
        seed,
    }
}

fn compared(queues: &mut Queues, gate: &LoadGate) -> LoadResult {
    compare(
        queues,
        gate,
        &ManualClock::default(),
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap()
}

/// Returns how often a factor is found to be slower, different at all, and
/// equal, in so many comparisons of two looks.
fn shares(load: f64, factor: f64, comparisons: u64) -> (f64, f64, f64) {
    let mut counts = [0_u32; 3];
    for seed in 0..comparisons {
        let result = compared(&mut Queues::new(load, factor, seed), &gate(seed, 400));
        counts[0] += u32::from(result.verdict == GateVerdict::Regressed);
        counts[1] += u32::from(matches!(
            result.verdict,
            GateVerdict::Regressed | GateVerdict::Improved
        ));
        counts[2] += u32::from(result.verdict == GateVerdict::Unchanged);
    }
    let [slower, different, equal] = counts.map(|n| f64::from(n) / comparisons as f64);
    (slower, different, equal)
}

#[test]
fn equal_endpoints_are_hardly_ever_called_different() {
    let different: f64 = [0.3, 0.7].map(|load| shares(load, 1.0, 40).1).iter().sum();
    assert!(different <= 0.025, "{different}");
}

/// What `scripts/self-test-gate.sh` prints: a thousand comparisons of equal
/// queues, and how often slower ones are found.
#[test]
#[ignore = "minutes without optimisation"]
fn a_thousand_comparisons_of_equal_endpoints_and_the_power() {
    println!("load  service  comparisons  slower  different  equal");
    let mut wrong = 0.0;
    for load in [0.3, 0.5, 0.7, 0.8] {
        for (factor, comparisons) in [(1.0, 300), (1.05, 40), (1.1, 40), (1.2, 40)] {
            let (slower, different, equal) = shares(load, factor, comparisons);
            println!(
                "{load:>4}  {:>+5.0} %  {comparisons:>11}  {:>4.1} %  {:>7.1} %  {:>3.0} %",
                100.0 * (factor - 1.0),
                100.0 * slower,
                100.0 * different,
                100.0 * equal,
            );
            if factor <= 1.0 {
                wrong += different * 300.0;
            }
        }
    }
    println!("equal queues called different: {wrong:.0} of 1200");
    assert!(wrong <= 12.0, "{wrong} of 1200");
}

#[test]
fn an_endpoint_that_takes_a_fifth_longer_is_found() {
    for load in [0.3, 0.5, 0.7] {
        let (slower, _, _) = shares(load, 1.2, 20);
        assert!(slower >= 0.9, "{slower} at a load of {load}");
    }
}

#[test]
fn swapping_the_sides_mirrors_the_verdict() {
    for seed in 0..10 {
        let forth = compared(&mut Queues::new(0.5, 1.3, seed), &gate(seed, 400));
        let mut queues = Queues::new(0.5, 1.0, seed);
        queues.service_s[0] *= 1.3;
        let back = compared(&mut queues, &gate(seed, 400));
        assert_eq!(forth.verdict, GateVerdict::Regressed);
        assert_eq!(back.verdict, GateVerdict::Improved);
    }
}

#[test]
fn answers_that_are_missing_are_a_regression() {
    let mut queues = Queues::new(0.3, 1.0, 1);
    queues.failing[1] = 0.05;
    let result = compared(&mut queues, &gate(1, 400));
    assert_eq!(result.verdict, GateVerdict::Regressed);
    let found = result.attempt.unwrap();
    assert!((found.figures[1].failed_share - 0.05).abs() < 0.01);
    let goodput = found.effects.goodput.unwrap();
    assert!((goodput.change() + 0.05).abs() < 0.01, "{goodput:?}");
}

#[test]
fn a_drift_of_the_machine_is_no_regression() {
    for seed in 0..10 {
        let mut queues = Queues::new(0.3, 1.0, seed);
        queues.pace = |segment| 1.0 + 0.01 * f64::from(segment);
        let result = compared(&mut queues, &gate(seed, 400));
        assert!(
            matches!(
                result.verdict,
                GateVerdict::Unchanged | GateVerdict::Inconclusive
            ),
            "{seed}: {}",
            result.verdict
        );
    }
}

#[test]
fn a_quad_whose_generator_was_late_is_set_aside_and_several_are_no_comparison() {
    let mut queues = Queues::new(0.3, 1.2, 1);
    queues.invalid = vec![true];
    let found = compared(&mut queues, &gate(1, 400));
    let attempt = found.attempt.unwrap();
    assert_eq!(attempt.spoiled, 1);
    assert_eq!(found.verdict, GateVerdict::Regressed);
    assert!(
        attempt
            .segments
            .iter()
            .all(|segment| segment.validity == Validity::Valid)
    );
    let mut queues = Queues::new(0.3, 1.2, 1);
    queues.invalid = vec![true; 40];
    let found = compared(&mut queues, &gate(1, 400));
    assert_eq!(found.verdict, GateVerdict::NotComparable);
    assert!(found.reason.unwrap().contains("it was late"));
}

#[test]
fn an_objective_is_tested_on_the_candidate_by_its_slices() {
    let decision = |limit_ms: u64| {
        let gate = LoadGate {
            objective: Some(format!("p99<{limit_ms}ms,errors<1%").parse().unwrap()),
            ..gate(1, 400)
        };
        let result = compared(&mut Queues::new(0.5, 1.0, 1), &gate);
        result.objective().unwrap().decision
    };
    // The p99 of this queue is ln(100) / (μ − λ), 36.8 ms.
    assert_eq!(decision(80), Decision::Pass);
    assert_eq!(decision(20), Decision::Fail);
}

#[test]
fn a_baseline_that_differs_from_itself_decides_nothing() {
    let mut queues = Queues::new(0.3, 1.0, 1);
    // The second half of one quad and the first of the next.
    queues.pace = |segment| {
        let is_second = segment % 4 >= 2;
        let is_turned = segment / 4 % 2 == 1;
        if is_second == is_turned { 1.0 } else { 1.5 }
    };
    let result = compared(&mut queues, &gate(1, 180));
    let attempt = result.attempt.unwrap();
    assert_eq!(attempt.control, Verdict::Regressed);
    assert_eq!(result.verdict, GateVerdict::Inconclusive);
    assert!(result.reason.unwrap().contains("itself"));
}

#[test]
fn too_little_time_is_refused() {
    let error = compare(
        &mut Queues::new(0.5, 1.0, 1),
        &gate(1, 60),
        &ManualClock::default(),
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(error.to_string().contains("expected at least"), "{error}");
}
