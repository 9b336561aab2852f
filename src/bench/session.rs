//! How does a list of cases become a record?
//!
//! Signers are made and proven before anything is timed; then all questions
//! share one schedule of quads. A case that cannot be made is left out with
//! its reason, and the rest goes on.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::arm::Arm;
use super::case::{Case, KeyPolicy, Question, questions, reference_of};
use super::prepare::{Ready, prepare};
use super::quads::{Pair, Progress, Schedule, TimedBy, compare};
use super::quality::Counters;
use super::record::{BenchRecord, SCHEMA_VERSION};
use super::results::{self, case_records, comparison_records};
use super::scaling::scalings;
use super::{BenchError, SigningKey, warning};
use crate::clock::Clock;
use crate::record::Host;
use crate::signer::{Algorithm, Registry};
use crate::stats::paired::CHANNELS;
use crate::stats::{Looks, Tolerance};

/// The chance of any wrong verdict or order in a record, both sides together.
///
/// One in a hundred runs; ten times less costs about a third more time.
pub const ALPHA: f64 = 0.01;

/// How narrow bounds must be before a decided pair leaves its time to others.
///
/// A quarter of a percent at the floor and one percent of the mean: beyond
/// that, the machine changes more from one hour to the next.
const PRECISION: Tolerance = Tolerance {
    floor: 0.0025,
    mean: 0.01,
};

/// What is to be compared, and for how long.
pub struct Request<'a> {
    /// The backends that there are.
    pub registry: &'a Registry,
    /// The keys to sign with; each serves the algorithms of its kind.
    pub keys: &'a [SigningKey],
    /// The names of the backends to compare.
    pub backends: &'a [String],
    /// The algorithms.
    pub algorithms: &'a [Algorithm],
    /// The numbers of threads.
    pub threads: &'a [usize],
    /// The key policies.
    pub key_policies: &'a [KeyPolicy],
    /// The sizes of the claims, in bytes.
    pub claims_bytes: &'a [usize],
    /// The backend that others are compared with.
    pub reference: &'a str,
    /// The time for everything that is timed.
    pub budget: Duration,
    /// The seed of the order of blocks.
    pub seed: u64,
    /// Whether the reference is also compared with itself.
    pub has_null_control: bool,
}

/// Measures what `request` asks for.
///
/// `watch` is told now and then how far it is. When `stop` is set, the record
/// is made of what there is.
///
/// # Errors
///
/// Nothing was left to measure, a signature failed while it was timed, or the
/// system started no threads.
pub fn run(
    request: &Request<'_>,
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<BenchRecord, BenchError> {
    let started = clock.monotonic();
    let before = Counters::now();
    let (ready, refused) = prepare(request);
    if ready.is_empty() {
        return Err(BenchError::NothingToMeasure {
            reasons: refused
                .iter()
                .map(|refused| format!("{}: {}", refused.case.backend, refused.reason))
                .collect::<Vec<_>>()
                .join("; "),
        });
    }
    let cases: Vec<Case> = ready.iter().map(|ready| ready.case.clone()).collect();
    let mut asked = questions(&cases, request.reference);
    let mut arms: Vec<Box<dyn Arm>> = ready
        .iter()
        .map(Ready::arm)
        .collect::<Result<_, BenchError>>()?;
    if request.has_null_control || asked.is_empty() {
        let control = reference_of(&cases, 0, request.reference);
        asked.push((control, arms.len(), Question::NullControl));
        arms.push(ready[control].arm()?);
    }
    let pairs: Vec<Pair> = asked
        .iter()
        .map(|(baseline, candidate, question)| Pair {
            baseline: *baseline,
            candidate: *candidate,
            by: deciding_clock(&ready, *baseline, *candidate, *question),
        })
        .collect();
    let share = request.budget / u32::try_from(pairs.len()).unwrap_or(u32::MAX).max(1);
    let schedule = Schedule {
        looks: Looks::new(
            vec![share / 4, share / 2, share, share * 2],
            ALPHA,
            CHANNELS,
            pairs.len(),
        ),
        limit: request.budget,
        tolerance: Tolerance::default(),
        precision: Some(PRECISION),
        seed: request.seed,
    };
    let outcome =
        compare(&mut arms, &pairs, &schedule, clock, stop, watch).map_err(|(arm, source)| {
            BenchError::Sign {
                // The arm of the null control is the reference's once more.
                case: cases.get(arm).unwrap_or(&cases[0]).to_string(),
                source,
            }
        })?;
    let took = clock.monotonic() - started;
    let mut record = BenchRecord {
        schema_version: SCHEMA_VERSION,
        seed: request.seed,
        budget_ns: results::whole_ns(request.budget),
        took_ns: results::whole_ns(took),
        is_stopped: outcome.is_stopped,
        alpha: ALPHA,
        tolerance: schedule.tolerance,
        keys: request.keys.iter().map(results::key_facts).collect(),
        backends: request
            .registry
            .iter()
            .map(|backend| backend.facts())
            .filter(|facts| cases.iter().any(|case| case.backend == facts.name))
            .collect(),
        cases: case_records(&ready, &outcome, &asked, request.reference),
        comparisons: comparison_records(&cases, &outcome, &asked, &schedule),
        scaling: Vec::new(),
        refused,
        cycles_unavailable: results::cycles_unavailable(&ready[0]),
        host: Host::detect(),
        quality: Counters::now().since(&before, took),
        warnings: Vec::new(),
    };
    let reference = reference_of(&cases, 0, request.reference);
    results::complete(&mut record.quality, &outcome.tallies, reference);
    record.scaling = scalings(&record.cases, &record.comparisons);
    record.warnings = warning::warnings(&record);
    Ok(record)
}

/// Names the clock that decides, where the arms alone would not tell it.
fn deciding_clock(
    ready: &[Ready],
    baseline: usize,
    candidate: usize,
    question: Question,
) -> Option<TimedBy> {
    // What threads do to each other is lost time, not used time.
    if question == Question::Threads {
        return Some(TimedBy::Wall);
    }
    // The second arm of the null control is the baseline's once more.
    let candidate = ready.get(candidate).unwrap_or(&ready[baseline]);
    (ready[baseline].has_hidden_threads || candidate.has_hidden_threads)
        .then_some(TimedBy::ProcessCpu)
}
