//! How is a comparison of backends shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use super::bench_bars::bars;
use super::table::Columns;
use crate::bench::{BenchRecord, Bounded, Case, CaseRecord, ComparisonRecord, KeyPolicy, Question};
use crate::stats::{Estimate, Verdict};
use crate::units::{Grouped, Shown};

/// Renders a comparison as text of at most 100 columns.
#[must_use]
pub fn bench_text(record: &BenchRecord) -> String {
    let mut out = String::new();
    write_all(&mut out, record).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, record: &BenchRecord) -> fmt::Result {
    conditions(out, record)?;
    let mut shown: Vec<&Case> = Vec::new();
    for case in &record.cases {
        if !shown.iter().any(|other| other.is_same_cell(&case.case)) {
            shown.push(&case.case);
            cell(out, record, &case.case)?;
        }
    }
    scaling(out, record)?;
    costs(
        out,
        record,
        Question::KeyPolicy,
        "What handling the key costs a signature",
    )?;
    costs(
        out,
        record,
        Question::Algorithm,
        "What another algorithm or key size would yield",
    )?;
    costs(
        out,
        record,
        Question::ClaimsSize,
        "What larger claims cost a signature",
    )?;
    loading(out, record)?;
    refused(out, record)?;
    warnings(out, record)
}

fn conditions(out: &mut String, record: &BenchRecord) -> fmt::Result {
    let host = &record.host;
    writeln!(
        out,
        "host   {}, {} processor{}{}, {} {}",
        host.cpu_model,
        host.cpus,
        if host.cpus == 1 { "" } else { "s" },
        if host.is_virtual { " (virtual)" } else { "" },
        host.os,
        host.kernel
    )?;
    for key in &record.keys {
        write!(out, "key    {} {} bits", key.kind, key.bits)?;
        if let Some(exponent) = key.public_exponent {
            write!(out, ", e = {exponent}")?;
        }
        if let Some(container) = &key.container {
            write!(out, ", kept as {container}")?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "took   {} of {}; bounds and orders are wrong in at most {} of runs, verdicts likewise",
        Shown(Duration::from_nanos(record.took_ns)),
        Shown(Duration::from_nanos(record.budget_ns)),
        percent(record.alpha)
    )
}

/// Shows the backends of one cell, ranked, and a picture of their speeds.
fn cell(out: &mut String, record: &BenchRecord, of: &Case) -> fmt::Result {
    let cases = ranked(record, of);
    let reference = cases
        .iter()
        .find(|case| case.is_reference)
        .map_or("", |case| case.case.backend.as_str());
    writeln!(out, "\n{}", heading(of))?;
    let ratio = format!("× {reference}");
    let mut headings = vec!["rank", "backend", "version", "sign/s/core"];
    if of.threads > 1 {
        headings.push("sign/s");
    }
    headings.extend([ratio.as_str(), "mean ×", "p50", "p99", "max"]);
    let mut table = Columns::new(&headings, 3);
    for case in &cases {
        let version = record
            .backends
            .iter()
            .find(|facts| facts.name == case.case.backend)
            .map_or("", |facts| facts.version.as_str());
        let (floor, mean) = match &case.speed {
            Some(speed) => (speed.floor.to_string(), speed.mean.to_string()),
            None if case.is_reference => ("1".into(), "1".into()),
            None => ("–".into(), "–".into()),
        };
        let time = |ns: Option<u64>| {
            ns.map_or_else(
                || "–".to_owned(),
                |ns| Shown(Duration::from_nanos(ns)).to_string(),
            )
        };
        let mut row = vec![
            case.rank.to_string(),
            case.case.backend.clone(),
            version.to_owned(),
            Grouped(case.per_core_per_s).to_string(),
        ];
        if of.threads > 1 {
            row.push(Grouped(case.total_per_s).to_string());
        }
        row.extend([
            floor,
            mean,
            time(case.latency.p50_ns),
            time(case.latency.p99_ns),
            time(Some(case.latency.max_ns)),
        ]);
        table.row(row);
    }
    write!(out, "{table}")?;
    write!(out, "{}", bars(&cases))
}

fn scaling(out: &mut String, record: &BenchRecord) -> fmt::Result {
    if record.scaling.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nThreads that share one key object, by the clock on the wall"
    )?;
    let mut table = Columns::new(
        &["backend", "", "threads", "sign/s", "a thread ×", "busy"],
        2,
    );
    for scaling in &record.scaling {
        for (at, point) in scaling.points.iter().enumerate() {
            let first = |text: String| if at == 0 { text } else { String::new() };
            table.row([
                first(scaling.case.backend.clone()),
                first(context(record, &scaling.case, Question::Threads)),
                point.threads.to_string(),
                Grouped(point.total_per_s).to_string(),
                point
                    .efficiency
                    .map_or_else(|| "1".to_owned(), |bounded| bounded.to_string()),
                percent(point.utilisation),
            ]);
        }
    }
    write!(out, "{table}")?;
    for scaling in &record.scaling {
        if let Some(threads) = scaling.stops_at_threads {
            writeln!(
                out,
                "  {} {} stops gaining at {threads} thread{}: another adds less than half of one",
                scaling.case.backend,
                context(record, &scaling.case, Question::Threads),
                if threads == 1 { "" } else { "s" }
            )?;
        }
    }
    Ok(())
}

/// Shows cases that differ from the first of their kind in one dimension.
fn costs(out: &mut String, record: &BenchRecord, question: Question, title: &str) -> fmt::Result {
    let asked: Vec<&ComparisonRecord> = record
        .comparisons
        .iter()
        .filter(|comparison| comparison.question == question)
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    let is_speed = question == Question::Algorithm;
    let ratio = if is_speed { "× as fast" } else { "× as long" };
    let mut table = Columns::new(
        &[
            "backend",
            "",
            "",
            "sign/s/core",
            "",
            "sign/s/core",
            ratio,
            "mean",
        ],
        3,
    );
    for comparison in asked {
        let (first, other) = (
            &record.cases[comparison.baseline],
            &record.cases[comparison.candidate],
        );
        let times = |estimate: Option<Estimate>| {
            let turned = estimate.map(|times| if is_speed { times } else { times.mirrored() });
            turned.map_or_else(|| "–".to_owned(), |found| Bounded::from(found).to_string())
        };
        table.row([
            first.case.backend.clone(),
            context(record, &first.case, question),
            word(&first.case, question),
            Grouped(first.per_core_per_s).to_string(),
            word(&other.case, question),
            Grouped(other.per_core_per_s).to_string(),
            times(comparison.floor),
            times(comparison.mean),
        ]);
    }
    write!(out, "{table}")
}

/// Names what sets a row apart from others of its table: the dimensions that
/// vary in the record, without the backend and the one that is asked about.
fn context(record: &BenchRecord, case: &Case, question: Question) -> String {
    let varies = |dimension| {
        dimension != question
            && record
                .cases
                .iter()
                .any(|other| word(&other.case, dimension) != word(case, dimension))
    };
    [
        Question::Algorithm,
        Question::Threads,
        Question::KeyPolicy,
        Question::ClaimsSize,
    ]
    .into_iter()
    .filter(|dimension| varies(*dimension))
    .map(|dimension| word(case, dimension))
    .collect::<Vec<_>>()
    .join(", ")
}

fn word(case: &Case, question: Question) -> String {
    match question {
        Question::KeyPolicy => case.key_policy.to_string(),
        Question::Algorithm => format!("{} {}", case.algorithm, case.key_bits),
        Question::ClaimsSize => format!("{} B", case.claims_bytes),
        Question::Threads if case.threads == 1 => "1 thread".to_owned(),
        Question::Threads => format!("{} threads", case.threads),
        Question::Backend | Question::NullControl => case.backend.clone(),
    }
}

/// Shows what is paid once per key, and what a signature costs besides time.
fn loading(out: &mut String, record: &BenchRecord) -> fmt::Result {
    writeln!(out, "\nPaid once per key, and per signature besides time")?;
    let mut table = Columns::new(
        &[
            "backend",
            "key",
            "parse",
            "decrypt and parse",
            "allocations",
            "cycles",
        ],
        2,
    );
    let mut shown: Vec<(&str, String)> = Vec::new();
    for case in &record.cases {
        let key = format!("{} {}", case.case.algorithm, case.case.key_bits);
        if case.case.key_policy != KeyPolicy::Reused
            || shown
                .iter()
                .any(|(name, of)| *name == case.case.backend && *of == key)
        {
            continue;
        }
        shown.push((&case.case.backend, key.clone()));
        let time = |ns: Option<u64>| {
            ns.map_or_else(
                || "–".to_owned(),
                |ns| Shown(Duration::from_nanos(ns)).to_string(),
            )
        };
        let count = |count: Option<f64>| {
            count.map_or_else(|| "–".to_owned(), |count| Grouped(count).to_string())
        };
        table.row([
            case.case.backend.clone(),
            key,
            time(case.load_ns),
            time(case.decrypt_and_load_ns),
            count(case.rust_allocations),
            count(case.cycles),
        ]);
    }
    write!(out, "{table}")?;
    if record
        .cases
        .iter()
        .all(|case| case.rust_allocations.is_none())
    {
        writeln!(
            out,
            "  allocations are counted by a build with the feature count-allocations"
        )?;
    }
    if let Some(reason) = &record.cycles_unavailable {
        writeln!(out, "  cycles are not known: {reason}")?;
    }
    for facts in &record.backends {
        if !facts.cpu_features.is_empty() {
            writeln!(
                out,
                "  {} finds {}",
                facts.name,
                facts.cpu_features.join(", ")
            )?;
        }
    }
    Ok(())
}

fn refused(out: &mut String, record: &BenchRecord) -> fmt::Result {
    if record.refused.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nLeft out")?;
    for refused in &record.refused {
        writeln!(out, "  {}: {}", refused.case, refused.reason)?;
    }
    Ok(())
}

fn warnings(out: &mut String, record: &BenchRecord) -> fmt::Result {
    let control = record
        .comparisons
        .iter()
        .find(|comparison| comparison.question == Question::NullControl);
    if let Some(control) = control {
        let name = &record.cases[control.baseline].case.backend;
        let found = match control.verdict {
            Verdict::Unchanged => "no difference, as it should be",
            Verdict::Inconclusive => "nothing, for want of time",
            Verdict::Regressed | Verdict::Improved => "a difference that cannot be there",
        };
        writeln!(out, "\nControl: {name} against itself shows {found}")?;
    }
    for warning in &record.warnings {
        writeln!(out, "\nwarning[{}]: {}", warning.code, warning.message)?;
        writeln!(out, "  {}", warning.hint)?;
    }
    Ok(())
}

/// Returns the cases of a cell, fastest first.
fn ranked<'a>(record: &'a BenchRecord, of: &Case) -> Vec<&'a CaseRecord> {
    let mut cases: Vec<&CaseRecord> = record
        .cases
        .iter()
        .filter(|case| case.case.is_same_cell(of))
        .collect();
    cases.sort_by(|a, b| {
        a.rank
            .cmp(&b.rank)
            .then(b.per_core_per_s.total_cmp(&a.per_core_per_s))
    });
    cases
}

fn heading(case: &Case) -> String {
    format!(
        "{}, {} bits, {} thread{}, key {}, {} B of claims",
        case.algorithm,
        case.key_bits,
        case.threads,
        if case.threads == 1 { "" } else { "s" },
        case.key_policy,
        case.claims_bytes
    )
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::sample;

    #[test]
    fn a_comparison_fits_the_terminal_and_names_what_matters() {
        let text = bench_text(&sample());
        for line in text.lines() {
            assert!(line.chars().count() <= 110, "{line}");
        }
        for part in [
            "RS256, 2048 bits, 1 thread",
            "aws-lc-rs",
            "2.40",
            "warning[inconclusive]",
            "Control: ring against itself",
            "Left out",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        // The faster backend stands above the reference.
        assert!(text.find("aws-lc-rs").unwrap() < text.find("  ring  ").unwrap());
    }
}
