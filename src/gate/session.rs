//! In which order are the cases of a gate measured, and what follows from
//! each?
//!
//! One case after the other, each in its own schedule of quads, so that only
//! two arms are alive at a time. The baseline meets itself first. A case that
//! regressed is measured again with fresh arms, and fails only if that agrees.
//! How arms are made is a [`Contest`]'s affair.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::record::{Attempt, CaseResult, GateRecord, GateVerdict, SCHEMA_VERSION};
use super::{Fingerprint, GateCase, GateError};
use crate::bench::arm::Arm;
use crate::bench::quads::{Pair, PairOutcome, Progress, Schedule, TimedBy, compare};
use crate::bench::quality::Counters;
use crate::clock::Clock;
use crate::record::Host;
use crate::stats::multiple::step_down;
use crate::stats::paired::CHANNELS;
use crate::stats::serial::lag1;
use crate::stats::{Looks, Verdict};

/// Two sides that can be set against each other.
pub trait Contest {
    /// Describes the baseline.
    fn baseline(&self) -> String;

    /// Describes the candidate.
    fn candidate(&self) -> String;

    /// Makes two fresh arms for a case, baseline first; both of the baseline
    /// if `is_control`.
    ///
    /// # Errors
    ///
    /// One side cannot do the case; the text says which and why.
    fn arms(&mut self, case: &GateCase, is_control: bool) -> Result<Arms<'_>, String>;

    /// Says why an arm of the last pair failed, if the contest knows more than
    /// the arm could tell.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Returns how many pairs of arms took part since the last call of
    /// [`Self::arms`].
    fn pairs(&self) -> usize {
        1
    }
}

/// The arms of one attempt.
pub struct Arms<'a> {
    /// Baseline and candidate.
    pub arms: [Box<dyn Arm + 'a>; 2],
    /// The clock that decides, if it is not left to what the arms do.
    pub by: Option<TimedBy>,
}

/// What to compare, and how long and how surely.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cases.
    pub cases: Vec<GateCase>,
    /// The moments at which a case is judged.
    pub looks: Vec<Duration>,
    /// The chance that any verdict on a side is wrong.
    pub alpha: f64,
    /// The seed of the order of blocks.
    pub seed: u64,
}

impl Plan {
    /// The usual moments: most cases are settled at the first, and what is not
    /// by the last is left undecided.
    pub const LOOKS: [Duration; 4] = [
        Duration::from_secs(2),
        Duration::from_secs(4),
        Duration::from_secs(8),
        Duration::from_secs(16),
    ];
}

/// How far a gate is.
#[derive(Clone, Debug)]
pub struct Watched<'a> {
    /// What is being measured.
    pub case: &'a str,
    /// Cases that are done, the control being one.
    pub done: usize,
    /// All of them.
    pub of: usize,
}

/// Runs a gate.
///
/// # Errors
///
/// The plan has no case. A case that cannot be measured is no error: it is
/// not comparable.
pub fn run(
    contest: &mut dyn Contest,
    plan: &Plan,
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Watched<'_>),
) -> Result<GateRecord, GateError> {
    let first = plan.cases.first().ok_or(GateError::NoCase)?;
    let started_at = jiff::Timestamp::now().to_string();
    let started = clock.monotonic();
    let before = Counters::now();
    let looks = Looks::new(plan.looks.clone(), plan.alpha, CHANNELS, plan.cases.len());
    let mut session = Session {
        contest,
        plan,
        looks,
        clock,
        stop,
        watch,
        done: 0,
        attempts: 0,
    };
    let control = session.control(first);
    let mut cases: Vec<Measured> = plan.cases.iter().map(|case| session.case(case)).collect();
    session.step_down(&mut cases);
    for measured in &mut cases {
        session.confirm(measured);
    }
    let mut cases: Vec<CaseResult> = cases.into_iter().map(|measured| measured.result).collect();
    let is_stopped = stop.load(Ordering::Relaxed);
    distrust(&control, &mut cases);
    let took = clock.monotonic() - started;
    let mut quality = Counters::now().since(&before, took);
    quality.preempted_share = preempted(&cases);
    Ok(GateRecord {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        took_ns: whole_ns(took),
        baseline: session.contest.baseline(),
        candidate: session.contest.candidate(),
        alpha: plan.alpha,
        looks_ns: plan.looks.iter().copied().map(whole_ns).collect(),
        seed: plan.seed,
        verdict: GateRecord::joined(cases.iter().map(|case| case.verdict)),
        control: Some(control),
        cases,
        saved: Vec::new(),
        load: None,
        trusts_saved: false,
        is_stopped,
        host: Host::detect(),
        fingerprint: Fingerprint::here(),
        quality,
    })
}

/// A case with what only the session needs of it.
struct Measured {
    result: CaseResult,
    p_values: (f64, f64),
}

struct Session<'a> {
    contest: &'a mut dyn Contest,
    plan: &'a Plan,
    looks: Looks,
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(&Watched<'_>),
    done: usize,
    attempts: u64,
}

impl Session<'_> {
    fn control(&mut self, case: &GateCase) -> CaseResult {
        let case = GateCase {
            candidate: case.baseline.clone(),
            ..case.clone()
        };
        let mut result = self.case_as(&case, true).result;
        result.name = format!("control: {}", result.name);
        result
    }

    fn case(&mut self, case: &GateCase) -> Measured {
        self.case_as(case, false)
    }

    fn case_as(&mut self, case: &GateCase, is_control: bool) -> Measured {
        let name = case.name();
        let mut measured = Measured {
            result: CaseResult {
                name,
                case: case.clone(),
                verdict: GateVerdict::NotComparable,
                reason: None,
                attempt: None,
                confirmation: None,
            },
            p_values: (1.0, 1.0),
        };
        match self.attempt(case, is_control, &measured.result.name.clone()) {
            Ok((attempt, p_values)) => {
                measured.result.verdict = attempt.verdict.into();
                measured.result.attempt = Some(attempt);
                measured.p_values = p_values;
            }
            Err(reason) => measured.result.reason = Some(reason),
        }
        self.done += 1;
        measured
    }

    /// Measures a case once.
    fn attempt(
        &mut self,
        case: &GateCase,
        is_control: bool,
        name: &str,
    ) -> Result<(Attempt, (f64, f64)), String> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("the gate was stopped before this case".into());
        }
        let progress = Watched {
            case: name,
            done: self.done,
            of: self.plan.cases.len() + 1,
        };
        self.attempts += 1;
        let schedule = Schedule {
            looks: self.looks.clone(),
            limit: self.plan.looks.last().copied().unwrap_or_default() + Duration::from_secs(1),
            tolerance: case.tolerance,
            precision: None,
            seed: self.plan.seed.wrapping_add(self.attempts),
        };
        let Arms { arms, by } = self.contest.arms(case, is_control)?;
        let pair = Pair {
            baseline: 0,
            candidate: 1,
            by,
        };
        let mut arms = Vec::from(arms);
        let watch = &mut *self.watch;
        let outcome = compare(
            &mut arms,
            &[pair],
            &schedule,
            self.clock,
            self.stop,
            &mut |_: Progress| watch(&progress),
        );
        drop(arms);
        let outcome = outcome.map_err(|(arm, error)| {
            let side = ["the baseline", "the candidate"][arm.min(1)];
            let why = self.contest.failure().unwrap_or_else(|| error.to_string());
            format!("{side} failed: {why}")
        })?;
        let operations = outcome
            .tallies
            .iter()
            .fold(0_u64, |sum, tally| sum + tally.operations());
        let preempted_share = outcome
            .tallies
            .iter()
            .map(|tally| tally.preempted_share() * tally.operations() as f64)
            .sum::<f64>()
            / operations.max(1) as f64;
        let found: &PairOutcome = outcome.pairs.first().ok_or("nothing was measured")?;
        let attempt = Attempt {
            verdict: found.verdict,
            timed_by: found.by,
            floor: found.floor,
            mean: found.mean,
            looks: found.looks,
            spent_ns: whole_ns(found.spent),
            lag1: lag1(found.comparison.floor_log_ratios()),
            preempted_share,
            pairs: self.contest.pairs(),
            floor_log_ratios: found.comparison.floor_log_ratios().to_vec(),
            mean_log_ratios: found.comparison.mean_log_ratios(),
        };
        Ok((attempt, found.comparison.p_values(case.tolerance)))
    }

    /// Decides what is open and can be, the cases being a family.
    fn step_down(&self, cases: &mut [Measured]) {
        let measured: Vec<usize> = (0..cases.len())
            .filter(|at| cases[*at].result.attempt.is_some())
            .collect();
        let verdicts: Vec<Verdict> = measured
            .iter()
            .filter_map(|at| Some(cases[*at].result.attempt.as_ref()?.verdict))
            .collect();
        let p_values: Vec<(f64, f64)> = measured.iter().map(|at| cases[*at].p_values).collect();
        let looks = self.looks.at().len();
        let decided = step_down(&verdicts, &p_values, looks, self.plan.alpha);
        for (at, verdict) in measured.into_iter().zip(decided) {
            cases[at].result.verdict = verdict.into();
        }
    }

    /// Measures a regression once more.
    fn confirm(&mut self, measured: &mut Measured) {
        let result = &mut measured.result;
        if result.verdict != GateVerdict::Regressed {
            return;
        }
        let name = format!("once more: {}", result.name);
        match self.attempt(&result.case.clone(), false, &name) {
            Ok((attempt, _)) => {
                if attempt.verdict != Verdict::Regressed {
                    result.verdict = GateVerdict::Inconclusive;
                    result.reason = Some(
                        "a second attempt with fresh arms did not find the regression again".into(),
                    );
                }
                result.confirmation = Some(attempt);
            }
            Err(reason) => {
                result.verdict = GateVerdict::Inconclusive;
                result.reason = Some(format!("the regression was not confirmed: {reason}"));
            }
        }
    }
}

/// Takes every verdict back if the baseline differs from itself.
fn distrust(control: &CaseResult, cases: &mut [CaseResult]) {
    let reason = match control.verdict {
        GateVerdict::Unchanged => return,
        GateVerdict::NotComparable => "the baseline could not be compared with itself",
        GateVerdict::Inconclusive => {
            "the machine was too restless to find the baseline equal to itself"
        }
        GateVerdict::Regressed | GateVerdict::Improved => {
            "this time the baseline differed from itself"
        }
    };
    for case in cases {
        if case.verdict != GateVerdict::NotComparable {
            case.verdict = GateVerdict::Inconclusive;
            case.reason = Some(reason.to_owned());
        }
    }
}

fn preempted(cases: &[CaseResult]) -> f64 {
    let attempts: Vec<&Attempt> = cases
        .iter()
        .filter_map(|case| case.attempt.as_ref())
        .collect();
    let sum: f64 = attempts.iter().map(|attempt| attempt.preempted_share).sum();
    sum / attempts.len().max(1) as f64
}

pub(super) fn whole_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
