//! In which words and figures do all reports of a gate agree?

use crate::gate::{GateRecord, GateVerdict};
use crate::stats::{Estimate, Tolerance};

/// Says in one line what a gate found.
pub(super) fn headline(record: &GateRecord) -> String {
    let all = record.cases.len() + record.saved.len() + usize::from(record.load.is_some());
    let count = |verdict: GateVerdict| {
        let cases = record.cases.iter().filter(|case| case.verdict == verdict);
        let saved = record.saved.iter().filter(|case| case.verdict == verdict);
        let load = record.load.iter().filter(|load| load.verdict == verdict);
        cases.count() + saved.count() + load.count()
    };
    let parts: Vec<String> = [
        GateVerdict::Regressed,
        GateVerdict::NotComparable,
        GateVerdict::Inconclusive,
        GateVerdict::Unchanged,
        GateVerdict::Improved,
    ]
    .into_iter()
    .filter(|verdict| count(*verdict) > 0)
    .map(|verdict| format!("{} {verdict}", count(verdict)))
    .collect();
    let missed = if record.misses_objective() {
        ", objective missed"
    } else {
        ""
    };
    let stopped = if record.is_stopped {
        ", stopped before its time"
    } else {
        ""
    };
    format!(
        "{}: {} of {all} case{}{missed}{stopped}",
        record.verdict.name().to_uppercase(),
        parts.join(", "),
        if all == 1 { "" } else { "s" }
    )
}

/// Shows a change of time: `+3.01 %` is slower.
pub(super) fn change(estimate: &Estimate) -> String {
    format!("{:+.2} %", 100.0 * estimate.change())
}

/// Shows the bounds of a change.
pub(super) fn bounds(estimate: &Estimate) -> String {
    format!(
        "{:+.2} … {:+.2}",
        100.0 * estimate.lower.exp_m1(),
        100.0 * estimate.upper.exp_m1()
    )
}

/// Shows tolerances, both if they differ.
pub(super) fn tolerance(tolerance: &Tolerance) -> String {
    let percent = |share: f64| format!("{}", (share * 10_000.0).round() / 100.0);
    if (tolerance.floor - tolerance.mean).abs() < f64::EPSILON {
        format!("{} %", percent(tolerance.floor))
    } else {
        format!("{}/{} %", percent(tolerance.floor), percent(tolerance.mean))
    }
}
