//! What must a reader know before believing the figures?
//!
//! Warnings are values with a stable code, a sentence and a hint. They are
//! derived from the record's other facts and change none of them.

use serde::{Deserialize, Serialize};

use super::case::Question;
use super::quads::TimedBy;
use super::record::{BenchRecord, ComparisonRecord};
use crate::stats::Verdict;
use crate::stats::serial::lag1_by_chance;

/// A remark about a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// Which remark it is; scripts branch on it.
    pub code: WarningCode,
    /// What was seen, as a sentence.
    pub sentence: String,
    /// What can be done about it, as a sentence.
    pub hint: String,
}

/// The kind of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// The program was built without optimisation.
    UnoptimisedBuild,
    /// The run was stopped before its time.
    Stopped,
    /// A backend differed from itself.
    NullControl,
    /// Some comparison could not be decided.
    Inconclusive,
    /// Too few quads for bounds of a mean.
    FewQuads,
    /// Neighbouring quads depend on each other.
    DependentQuads,
    /// Other work wanted the processors.
    BusyMachine,
    /// The hypervisor gave processors away.
    StolenTime,
    /// The machine's speed changed during the session.
    Drift,
    /// A library works on threads of its own.
    HiddenThreads,
    /// Signatures wait for something; the wall clock decided.
    WaitingSignatures,
    /// More threads than processors.
    TooManyThreads,
}

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
    let mut warn = |code, sentence: String, hint: &str| {
        found.push(Warning {
            code,
            sentence,
            hint: hint.into(),
        });
    };
    if cfg!(debug_assertions) {
        warn(
            WarningCode::UnoptimisedBuild,
            "This program was built without optimisation.".into(),
            "Build it with --release before believing a figure.",
        );
    }
    if record.is_stopped {
        warn(
            WarningCode::Stopped,
            "The run was stopped before its time.".into(),
            "Bounds are wider than they would have been.",
        );
    }
    comparisons(record, &mut warn);
    machine(record, &mut warn);
    cases(record, &mut warn);
    found
}

fn comparisons(record: &BenchRecord, warn: &mut impl FnMut(WarningCode, String, &str)) {
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
                    WarningCode::NullControl,
                    format!("{} differs from itself.", name(comparison)),
                    "Do not believe the other verdicts of this run; repeat it on a quieter machine.",
                );
            }
        } else if comparison.verdict == Verdict::Inconclusive {
            warn(
                WarningCode::Inconclusive,
                format!("{} is undecided.", name(comparison)),
                "Allow a larger --budget, or accept that they do not differ by much.",
            );
        }
        if quads > 0 && quads < ENOUGH_QUADS {
            warn(
                WarningCode::FewQuads,
                format!("{} rests on {quads} quads only.", name(comparison)),
                "Allow a larger --budget, or ask about fewer cases.",
            );
        }
        if quads >= 30 && comparison.lag1.abs() > lag1_by_chance(quads).max(0.1) {
            warn(
                WarningCode::DependentQuads,
                format!(
                    "Neighbouring quads of {} depend on each other (lag-1 {:.2}).",
                    name(comparison),
                    comparison.lag1
                ),
                "The bounds are too narrow; repeat the run on a quieter machine.",
            );
        }
    }
}

fn machine(record: &BenchRecord, warn: &mut impl FnMut(WarningCode, String, &str)) {
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
            WarningCode::BusyMachine,
            format!(
                "Other work wanted the processors: {:.0} % of the operations were interrupted.",
                100.0 * quality.preempted_share
            ),
            "Ratios hold; latencies and achieved rates are those of a busy machine.",
        );
    }
    if let Some(steal) = quality.steal_share
        && steal > STOLEN_SHARE
    {
        warn(
            WarningCode::StolenTime,
            format!(
                "The hypervisor gave {:.1} % of the processors' time to others.",
                100.0 * steal
            ),
            "Repeat the run on a host of its own before quoting absolute rates.",
        );
    }
    if let Some(drift) = quality.drift
        && drift.ln().abs() > DRIFT
    {
        warn(
            WarningCode::Drift,
            format!(
                "The machine's speed changed by {:+.0} % during the session.",
                100.0 * (1.0 / drift - 1.0)
            ),
            "Ratios hold; absolute rates are a mixture of both speeds.",
        );
    }
    if threads > quality.cpus {
        warn(
            WarningCode::TooManyThreads,
            format!(
                "{threads} threads were asked for on {} processors.",
                quality.cpus
            ),
            "Threads beyond the processors only wait for each other.",
        );
    }
}

fn cases(record: &BenchRecord, warn: &mut impl FnMut(WarningCode, String, &str)) {
    for case in &record.cases {
        if case.process_per_thread_cpu > HIDDEN_WORK {
            warn(
                WarningCode::HiddenThreads,
                format!(
                    "{} used {:.2} times the CPU time of the signing threads.",
                    case.case, case.process_per_thread_cpu
                ),
                "Its library works on threads of its own; compare by CPU time of the process.",
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
            WarningCode::WaitingSignatures,
            format!(
                "Signatures of {} wait for more than a processor, so the wall clock decided.",
                waiting.join(", ")
            ),
            "On a busy machine the wall clock understates differences.",
        );
    }
}
