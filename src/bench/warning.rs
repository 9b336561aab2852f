//! What must a reader know before believing the figures?
//!
//! Warnings are derived from the record's other facts and change none of
//! them. Their codes are stable: scripts branch on them.

use super::case::Question;
use super::probes::counts_allocations;
use super::quads::TimedBy;
use super::record::{BenchRecord, ComparisonRecord};
use crate::record::Warning;
use crate::stats::Verdict;
use crate::stats::serial::lag1_by_chance;

/// Runnable work beyond this many tasks a processor disturbs: with 1, every
/// processor is just busy, and what comes on top waits.
const BUSY_PER_CPU: f64 = 1.0;

/// More stolen time than this is told: one part in a hundred moves a mean by
/// as much as the smallest effect that is judged.
const STOLEN_SHARE: f64 = 0.01;

/// More preempted operations than this are told; measured machines shared
/// with others have 0.09 to 0.28, idle ones less than 0.01.
const PREEMPTED_SHARE: f64 = 0.05;

/// A larger change of the reference's floor than this is told: a neighbour on
/// the same core costs 0.1 to 0.3.
const DRIFT: f64 = 0.05;

/// Fewer quads than this make t bounds of skewed times doubtful.
const ENOUGH_QUADS: usize = 100;

/// Process over thread CPU time that no bookkeeping of this program reaches.
const HIDDEN_WORK: f64 = 1.25;

/// Derives the warnings of a record.
#[must_use]
pub fn warnings(record: &BenchRecord) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |code: &str, message: String, hint: &str| {
        found.push(Warning::new(code, message, hint));
    };
    if cfg!(debug_assertions) {
        warn(
            "unoptimised-build",
            "this program was built without optimisation".into(),
            "build it with --release before believing a figure",
        );
    }
    if counts_allocations() {
        warn(
            "counting-allocator",
            "this program counts allocations, which slows down what allocates".into(),
            "take times with a build that lacks the feature count-allocations",
        );
    }
    if record.is_stopped {
        warn(
            "stopped",
            "the run was stopped before its time".into(),
            "bounds are wider than they would have been",
        );
    }
    comparisons(record, &mut warn);
    machine(record, &mut warn);
    cases(record, &mut warn);
    found
}

fn comparisons(record: &BenchRecord, warn: &mut impl FnMut(&str, String, &str)) {
    let name = |comparison: &ComparisonRecord| {
        let (a, b) = (
            &record.cases[comparison.baseline].case,
            &record.cases[comparison.candidate].case,
        );
        format!("{b} against {a}")
    };
    for comparison in &record.comparisons {
        let quads = comparison.floor_log_ratios.len();
        if comparison.question == Question::NullControl {
            if matches!(comparison.verdict, Verdict::Regressed | Verdict::Improved) {
                warn(
                    "null-control",
                    format!("{} differs from itself", name(comparison)),
                    "do not believe the other verdicts of this run; repeat it on a quieter machine",
                );
            }
        } else if comparison.verdict == Verdict::Inconclusive {
            warn(
                "inconclusive",
                format!("{} is undecided", name(comparison)),
                "allow a larger --budget, or accept that they do not differ by much",
            );
        }
        if quads > 0 && quads < ENOUGH_QUADS {
            warn(
                "few-quads",
                format!("{} rests on {quads} quads only", name(comparison)),
                "allow a larger --budget, or ask about fewer cases",
            );
        }
        if quads >= 30 && comparison.lag1.abs() > lag1_by_chance(quads).max(0.1) {
            warn(
                "dependent-quads",
                format!(
                    "neighbouring quads of {} depend on each other (lag-1 {:.2})",
                    name(comparison),
                    comparison.lag1
                ),
                "the bounds are too narrow; repeat the run on a quieter machine",
            );
        }
    }
}

fn machine(record: &BenchRecord, warn: &mut impl FnMut(&str, String, &str)) {
    let quality = &record.quality;
    let threads = record
        .cases
        .iter()
        .map(|case| case.case.threads)
        .max()
        .unwrap_or(1);
    let others = quality.load_1m.unwrap_or(0.0) - threads as f64;
    if quality.preempted_share > PREEMPTED_SHARE || others > BUSY_PER_CPU * quality.cpus as f64 {
        warn(
            "busy-machine",
            format!(
                "other work wanted the processors: {:.0} % of the operations were interrupted",
                100.0 * quality.preempted_share
            ),
            "ratios hold; latencies and achieved rates are those of a busy machine",
        );
    }
    if let Some(steal) = quality.steal_share
        && steal > STOLEN_SHARE
    {
        warn(
            "stolen-time",
            format!(
                "the hypervisor gave {:.1} % of the processors' time to others",
                100.0 * steal
            ),
            "repeat the run on a host of its own before quoting absolute rates",
        );
    }
    if let Some(drift) = quality.drift
        && drift.ln().abs() > DRIFT
    {
        warn(
            "drift",
            format!(
                "the machine's speed changed by {:+.0} % during the session",
                100.0 * (1.0 / drift - 1.0)
            ),
            "ratios hold; absolute rates are a mixture of both speeds",
        );
    }
    if threads > quality.cpus {
        warn(
            "too-many-threads",
            format!(
                "{threads} threads were asked for on {} processors",
                quality.cpus
            ),
            "threads beyond the processors only wait for each other",
        );
    }
}

fn cases(record: &BenchRecord, warn: &mut impl FnMut(&str, String, &str)) {
    for case in &record.cases {
        if case.process_per_thread_cpu > HIDDEN_WORK {
            warn(
                "hidden-threads",
                format!(
                    "{} used {:.2} times the CPU time of the signing threads",
                    case.case, case.process_per_thread_cpu
                ),
                "its library works on threads of its own, so CPU time of the process decided",
            );
        }
    }
    let mut waiting: Vec<&str> = record
        .comparisons
        .iter()
        .filter(|comparison| {
            comparison.timed_by == TimedBy::Wall && comparison.question != Question::Threads
        })
        .map(|comparison| record.cases[comparison.candidate].case.backend.as_str())
        .collect();
    waiting.sort_unstable();
    waiting.dedup();
    if !waiting.is_empty() {
        warn(
            "waiting-signatures",
            format!(
                "signatures of {} wait for more than a processor, so the wall clock decided",
                waiting.join(", ")
            ),
            "on a busy machine the wall clock understates differences",
        );
    }
}
