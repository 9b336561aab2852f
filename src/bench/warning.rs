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

/// A lower autocorrelation than this hardly changes a bound: 0.1 widens it by
/// a tenth.
const LAG1: f64 = 0.1;

/// Fewer quads than this tell nothing about their dependence.
const ENOUGH_FOR_LAG1: usize = 30;

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
    let asked: Vec<&ComparisonRecord> = record
        .comparisons
        .iter()
        .filter(|comparison| !comparison.floor_log_ratios.is_empty())
        .collect();
    let name = |comparison: &&ComparisonRecord| {
        let case = &record.cases[comparison.candidate].case;
        if record
            .cases
            .iter()
            .all(|other| other.case.is_same_cell(case))
        {
            case.backend.clone()
        } else {
            case.to_string()
        }
    };
    let control = asked.iter().find(|comparison| {
        comparison.question == Question::NullControl
            && matches!(comparison.verdict, Verdict::Regressed | Verdict::Improved)
    });
    if let Some(control) = control {
        warn(
            "null-control",
            format!("{} differs from itself", name(control)),
            "do not believe the other verdicts of this run; repeat it on a quieter machine",
        );
    }
    let undecided: Vec<String> = asked
        .iter()
        .filter(|comparison| {
            comparison.question != Question::NullControl
                && comparison.verdict == Verdict::Inconclusive
        })
        .map(name)
        .collect();
    if !undecided.is_empty() {
        warn(
            "inconclusive",
            format!("undecided: {}", listed(&undecided)),
            "allow a larger --budget, or accept that they do not differ by much",
        );
    }
    let quads = |comparison: &&ComparisonRecord| comparison.floor_log_ratios.len();
    let few: Vec<usize> = asked
        .iter()
        .map(quads)
        .filter(|n| *n < ENOUGH_QUADS)
        .collect();
    if let Some(fewest) = few.iter().min() {
        warn(
            "few-quads",
            format!(
                "{} of {} comparisons rest on fewer than {ENOUGH_QUADS} quads, one on {fewest}",
                few.len(),
                asked.len()
            ),
            "allow a larger --budget, or ask about fewer cases",
        );
    }
    let dependent: Vec<String> = asked
        .iter()
        .filter(|comparison| {
            let chance = lag1_by_chance(quads(comparison)).max(LAG1);
            // A negative one makes bounds too wide, which misleads nobody.
            quads(comparison) >= ENOUGH_FOR_LAG1 && comparison.lag1 > chance
        })
        .map(|comparison| format!("{} (lag-1 {:.2})", name(comparison), comparison.lag1))
        .collect();
    if !dependent.is_empty() {
        warn(
            "dependent-quads",
            format!(
                "neighbouring quads depend on each other: {}",
                listed(&dependent)
            ),
            "the bounds are too narrow; repeat the run on a quieter machine",
        );
    }
}

/// Names a few, and how many there are besides.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let few = names[..names.len().min(SHOWN)].join("; ");
    if names.len() > SHOWN {
        format!("{few}; and {} more", names.len() - SHOWN)
    } else {
        few
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::sample;

    fn codes(record: &BenchRecord) -> Vec<String> {
        warnings(record)
            .into_iter()
            .map(|warning| warning.code)
            .filter(|code| code != "unoptimised-build")
            .collect()
    }

    /// A sample in which nothing is worth a remark.
    fn quiet() -> BenchRecord {
        let mut record = sample();
        record.quality.cpus = 2;
        record.comparisons[0].floor_log_ratios = vec![0.0; 200];
        record
    }

    #[test]
    fn a_quiet_run_has_none() {
        assert!(codes(&quiet()).is_empty(), "{:?}", codes(&quiet()));
    }

    #[test]
    fn each_disturbance_has_its_code() {
        let with = |change: fn(&mut BenchRecord)| {
            let mut record = quiet();
            change(&mut record);
            codes(&record)
        };
        assert_eq!(with(|r| r.is_stopped = true), ["stopped"]);
        assert_eq!(with(|r| r.quality.preempted_share = 0.2), ["busy-machine"]);
        assert_eq!(with(|r| r.quality.load_1m = Some(7.0)), ["busy-machine"]);
        assert_eq!(
            with(|r| r.quality.steal_share = Some(0.05)),
            ["stolen-time"]
        );
        assert_eq!(with(|r| r.quality.drift = Some(1.2)), ["drift"]);
        assert_eq!(with(|r| r.quality.drift = Some(0.8)), ["drift"]);
        assert_eq!(
            with(|r| r.comparisons[0].verdict = Verdict::Regressed),
            ["null-control"]
        );
        assert_eq!(
            with(|r| {
                r.comparisons[0].question = Question::Backend;
                r.comparisons[0].verdict = Verdict::Inconclusive;
            }),
            ["inconclusive"]
        );
        assert_eq!(
            with(|r| r.comparisons[0].floor_log_ratios.truncate(50)),
            ["few-quads"]
        );
        assert_eq!(with(|r| r.comparisons[0].lag1 = 0.5), ["dependent-quads"]);
        assert_eq!(
            with(|r| r.cases[0].process_per_thread_cpu = 1.7),
            ["hidden-threads"]
        );
        assert_eq!(
            with(|r| {
                r.comparisons[0].question = Question::Backend;
                r.comparisons[0].timed_by = TimedBy::Wall;
            }),
            ["waiting-signatures"]
        );
        assert_eq!(with(|r| r.cases[0].case.threads = 9), ["too-many-threads"]);
    }

    #[test]
    fn a_warning_names_what_it_is_about() {
        let mut record = quiet();
        record.comparisons[0].question = Question::Backend;
        record.comparisons[0].candidate = 0;
        record.comparisons[0].verdict = Verdict::Inconclusive;
        let found = warnings(&record);
        let inconclusive = found.iter().find(|w| w.code == "inconclusive").unwrap();
        assert_eq!(inconclusive.message, "undecided: aws-lc-rs");
    }
}
