//! How is a gate shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use super::gate_load;
use super::gate_words::{bounds, change, headline, tolerance};
use super::table::Columns;
use crate::gate::targets::LoadResult;
use crate::gate::{CaseResult, GateRecord, GateVerdict, SavedResult};
use crate::units::Shown;

/// Renders a gate as text of at most 100 columns.
#[must_use]
pub fn gate_text(record: &GateRecord) -> String {
    let mut out = String::new();
    write_all(&mut out, record).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, record: &GateRecord) -> fmt::Result {
    let host = &record.host;
    writeln!(out, "{}", headline(record))?;
    writeln!(
        out,
        "  host       {}, {} processors{}, {} {}",
        host.cpu_model,
        host.cpus,
        if host.is_virtual { " (virtual)" } else { "" },
        host.os,
        host.kernel
    )?;
    writeln!(out, "  baseline   {}", record.baseline)?;
    writeln!(out, "  candidate  {}", record.candidate)?;
    write!(
        out,
        "  took       {}",
        Shown(Duration::from_nanos(record.took_ns))
    )?;
    // Saved figures are compared with a limit, without a chance of error.
    if record.alpha > 0.0 {
        write!(
            out,
            "; verdicts on a side are wrong in at most {} % of gates",
            100.0 * record.alpha
        )?;
    }
    writeln!(out)?;
    if !record.cases.is_empty() {
        writeln!(out, "\nTime of a signature, candidate against baseline")?;
        let mut table = Columns::new(
            &[
                "verdict", "case", "floor", "bounds", "mean", "bounds", "±", "took",
            ],
            2,
        );
        for case in &record.cases {
            table.row(row(case));
        }
        write!(out, "{table}")?;
        for case in &record.cases {
            if let Some(reason) = &case.reason {
                writeln!(out, "  {}: {reason}", case.name)?;
            }
        }
    }
    if !record.saved.is_empty() {
        writeln!(
            out,
            "\nUndisturbed time of a signature, now against saved figures"
        )?;
        let mut table = Columns::new(&["verdict", "case", "saved", "now", "change", "±"], 2);
        for saved in &record.saved {
            table.row(saved_row(saved));
        }
        write!(out, "{table}")?;
        for saved in &record.saved {
            if let Some(reason) = &saved.reason {
                writeln!(out, "  {}: {reason}", saved.name)?;
            }
        }
        if !record.trusts_saved {
            writeln!(
                out,
                "  saved figures are advice: --trust-saved lets them decide the exit code"
            )?;
        }
    }
    if let Some(load) = &record.load {
        load_part(out, load)?;
    }
    if let Some(control) = &record.control {
        writeln!(
            out,
            "\nControl: the baseline against itself is {}",
            control.verdict
        )?;
    }
    let known = quality(record);
    if !known.is_empty() {
        writeln!(out, "Quality: {}", known.join(", "))?;
    }
    Ok(())
}

fn load_part(out: &mut String, load: &LoadResult) -> fmt::Result {
    writeln!(
        out,
        "\nResponse time under the load {}, candidate against baseline: {}",
        load.scenario, load.verdict
    )?;
    let rows = gate_load::rows(load);
    if !rows.is_empty() {
        let mut table = Columns::new(&gate_load::HEADS, 1);
        for row in rows {
            table.row(row);
        }
        write!(out, "{table}")?;
    }
    for note in gate_load::notes(load) {
        writeln!(out, "  {note}")?;
    }
    Ok(())
}

/// What is known of the machine while it was measured.
fn quality(record: &GateRecord) -> Vec<String> {
    let facts = &record.quality;
    let mut known = Vec::new();
    known.extend(facts.load_1m.map(|load| format!("load {load:.1}")));
    if record.cases.iter().any(|case| case.attempt.is_some()) {
        let share = 100.0 * facts.preempted_share;
        known.push(format!("{share:.0} % of operations preempted"));
    }
    known.extend(
        facts
            .steal_share
            .map(|share| format!("{:.1} % stolen", 100.0 * share)),
    );
    known
}

fn row(case: &CaseResult) -> Vec<String> {
    let last = case.confirmation.as_ref().or(case.attempt.as_ref());
    let of = |estimate| {
        let estimate: Option<crate::stats::Estimate> = estimate;
        (
            estimate.as_ref().map_or_else(|| "–".into(), change),
            estimate.as_ref().map_or_else(|| "–".into(), bounds),
        )
    };
    let (floor, floor_bounds) = of(last.and_then(|attempt| attempt.floor));
    let (mean, mean_bounds) = of(last.and_then(|attempt| attempt.mean));
    let spent: u64 = [&case.attempt, &case.confirmation]
        .into_iter()
        .flatten()
        .map(|attempt| attempt.spent_ns)
        .sum();
    vec![
        case.verdict.to_string(),
        case.name.clone(),
        floor,
        floor_bounds,
        mean,
        mean_bounds,
        tolerance(&case.case.tolerance),
        format!("{:.1} s", spent as f64 / 1e9),
    ]
}

fn saved_row(saved: &SavedResult) -> Vec<String> {
    let us = |ns: f64| format!("{:.1} µs", ns / 1e3);
    let now = saved
        .candidate_floor_ns
        .filter(|_| saved.verdict != GateVerdict::NotComparable);
    vec![
        saved.verdict.to_string(),
        saved.name.clone(),
        us(saved.baseline_floor_ns),
        now.map_or_else(|| "–".into(), us),
        now.map_or_else(
            || "–".into(),
            |now| format!("{:+.2} %", 100.0 * (now / saved.baseline_floor_ns - 1.0)),
        ),
        format!("{:.0} %", 100.0 * saved.tolerance),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Fingerprint, SAVED_SCHEMA_VERSION, Saved};

    #[test]
    fn what_was_not_measured_is_not_shown() {
        let then = Saved {
            schema_version: SAVED_SCHEMA_VERSION,
            taken_at: "2026-01-01T00:00:00Z".into(),
            fingerprint: Fingerprint::here(),
            cases: Vec::new(),
        };
        let record = GateRecord::of_saved("then.json", &then, Vec::new(), Duration::ZERO, 1);
        let text = gate_text(&record);
        assert!(text.contains("then.json"), "{text}");
        for unknown in ["wrong in at most", "Quality", "preempted", "stolen"] {
            assert!(!text.contains(unknown), "{unknown}: {text}");
        }
    }
}
