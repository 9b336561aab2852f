//! How is a gate shown in the summary of a CI job?

use std::fmt::{self, Write};
use std::time::Duration;

use super::gate_load;
use super::gate_words::{bounds, change, headline, tolerance};
use crate::gate::{CaseResult, GateRecord, GateVerdict};
use crate::units::Shown;

/// Renders a gate as GitHub-flavoured Markdown, verdict first.
#[must_use]
pub fn gate_markdown(record: &GateRecord) -> String {
    let mut out = String::new();
    write_all(&mut out, record).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, record: &GateRecord) -> fmt::Result {
    writeln!(out, "## {} {}\n", sign(record.verdict), headline(record))?;
    writeln!(
        out,
        "`{}` against `{}` on {}, {} processors, {}.\n",
        cell(&record.candidate),
        cell(&record.baseline),
        cell(&record.host.cpu_model),
        record.host.cpus,
        Shown(Duration::from_nanos(record.took_ns)),
    )?;
    if !record.cases.is_empty() {
        writeln!(
            out,
            "| | case | floor | bounds | mean | bounds | tolerance |"
        )?;
        writeln!(out, "|---|---|---:|---:|---:|---:|---:|")?;
        for case in &record.cases {
            row(out, case)?;
        }
        writeln!(out)?;
    }
    if !record.saved.is_empty() {
        writeln!(out, "| | case | saved | now | tolerance |")?;
        writeln!(out, "|---|---|---:|---:|---:|")?;
        for saved in &record.saved {
            writeln!(
                out,
                "| {} {} | {} | {:.1} µs | {} | {:.0} % |",
                sign(saved.verdict),
                saved.verdict,
                cell(&saved.name),
                saved.baseline_floor_ns / 1e3,
                saved
                    .candidate_floor_ns
                    .map_or_else(|| "–".into(), |ns| format!("{:.1} µs", ns / 1e3)),
                100.0 * saved.tolerance
            )?;
        }
        writeln!(out)?;
    }
    if let Some(load) = &record.load {
        writeln!(
            out,
            "{} {}: response time under the load {}\n",
            sign(load.verdict),
            load.verdict,
            cell(&load.scenario)
        )?;
        let rows = gate_load::rows(load);
        if !rows.is_empty() {
            writeln!(out, "| {} |", gate_load::HEADS.join(" | "))?;
            writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
            for row in rows {
                writeln!(out, "| {} |", row.join(" | "))?;
            }
            writeln!(out)?;
        }
        for note in gate_load::notes(load) {
            writeln!(out, "- {}", cell(&note))?;
        }
    }
    let reasons = record
        .cases
        .iter()
        .map(|case| (&case.name, &case.reason))
        .chain(record.saved.iter().map(|case| (&case.name, &case.reason)));
    for (name, reason) in reasons {
        if let Some(reason) = reason {
            writeln!(out, "- {}: {}", cell(name), cell(reason))?;
        }
    }
    if let Some(control) = &record.control {
        writeln!(out, "- the baseline against itself: {}", control.verdict)?;
    }
    Ok(())
}

fn row(out: &mut String, case: &CaseResult) -> fmt::Result {
    let last = case.confirmation.as_ref().or(case.attempt.as_ref());
    let floor = last.and_then(|attempt| attempt.floor);
    let mean = last.and_then(|attempt| attempt.mean);
    let show = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    writeln!(
        out,
        "| {} {} | {} | {} | {} | {} | {} | {} |",
        sign(case.verdict),
        case.verdict,
        cell(&case.name),
        show(floor.as_ref().map(change)),
        show(floor.as_ref().map(bounds)),
        show(mean.as_ref().map(change)),
        show(mean.as_ref().map(bounds)),
        tolerance(&case.case.tolerance)
    )
}

/// Keeps a text from ending its cell, or from being markup.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace(['\n', '\r', '`'], " ")
}

fn sign(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Regressed => "❌",
        GateVerdict::NotComparable | GateVerdict::Inconclusive => "⚠️",
        GateVerdict::Unchanged | GateVerdict::Improved => "✅",
    }
}
