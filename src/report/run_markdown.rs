//! How do results look in a job summary or a merge request?
//!
//! GitHub's and GitLab's Markdown: headings, tables and lists. Every text from
//! outside is escaped, so that a name cannot become markup.

use std::fmt::{self, Write};
use std::time::Duration;

use super::summary::{
    AGENT_HEADINGS, Percentiles, SideBySide, Standing, StepSummary, Summary, agent_rows,
    fleet_facts,
};
use crate::record::FleetRecord;
use crate::units::{Grouped, Shown};

/// Renders results as Markdown, several beside each other first.
#[must_use]
pub fn run_markdown(summaries: &[Summary], beside: &SideBySide) -> String {
    let mut out = String::new();
    write_all(&mut out, summaries, beside).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, summaries: &[Summary], beside: &SideBySide) -> fmt::Result {
    if summaries.len() > 1 {
        side_by_side(out, beside)?;
    }
    for summary in summaries {
        one(out, summary)?;
    }
    Ok(())
}

fn side_by_side(out: &mut String, beside: &SideBySide) -> fmt::Result {
    writeln!(out, "## Side by side\n")?;
    for difference in &beside.differences {
        writeln!(out, "> {}\n", escaped(difference))?;
    }
    let mut headings = vec![String::new()];
    headings.extend(beside.runs.clone());
    table(
        out,
        &headings,
        beside.rows.iter().map(|(name, texts)| {
            let mut row = vec![name.clone()];
            row.extend(texts.clone());
            row
        }),
    )
}

fn one(out: &mut String, summary: &Summary) -> fmt::Result {
    writeln!(
        out,
        "## {} ({})\n",
        escaped(&summary.scenario),
        escaped(&summary.run)
    )?;
    for verdict in &summary.verdicts {
        let sign = match verdict.standing {
            Standing::Good => "✅",
            Standing::Doubtful => "⚠️",
            Standing::Bad => "❌",
        };
        writeln!(
            out,
            "- {sign} **{}: {}** – {}",
            escaped(&verdict.subject),
            escaped(&verdict.word),
            escaped(&verdict.sentence)
        )?;
    }
    writeln!(out)?;
    steps(out, &summary.steps)?;
    backends(out, summary)?;
    rates(out, summary)?;
    if let Some(fleet) = &summary.fleet {
        coverage(out, fleet)?;
    }
    writeln!(out, "<details><summary>Conditions</summary>\n")?;
    table(
        out,
        &["condition".into(), "value".into()],
        summary
            .conditions
            .iter()
            .chain(&summary.host)
            .map(|fact| vec![fact.name.clone(), fact.value.clone()]),
    )?;
    writeln!(out, "</details>\n")?;
    for warning in &summary.warnings {
        writeln!(
            out,
            "- `{}`: {} – {}",
            warning.code,
            escaped(&warning.message),
            escaped(&warning.hint)
        )?;
    }
    writeln!(out)
}

fn coverage(out: &mut String, fleet: &FleetRecord) -> fmt::Result {
    table(
        out,
        &["coverage".into(), "value".into()],
        fleet_facts(fleet)
            .into_iter()
            .map(|fact| vec![fact.name, fact.value]),
    )?;
    table(
        out,
        &AGENT_HEADINGS.map(str::to_owned),
        agent_rows(fleet).into_iter().map(Vec::from),
    )
}

fn steps(out: &mut String, steps: &[StepSummary]) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    let headings = [
        "step",
        "answered",
        "failed",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "service p50",
        "service p99",
        "CPU a call",
    ];
    table(
        out,
        &headings.map(str::to_owned),
        steps.iter().map(|step| {
            let of = |times: Option<Percentiles>, pick: fn(&Percentiles) -> Option<u64>| {
                shown(times.as_ref().and_then(pick))
            };
            vec![
                step.name.clone(),
                format!("{}/s", Grouped(step.goodput_per_s)),
                Grouped(step.failed as f64).to_string(),
                of(step.response, |times| times.p50_ns),
                of(step.response, |times| times.p90_ns),
                of(step.response, |times| times.p99_ns),
                of(step.response, |times| times.p999_ns),
                of(step.response, |times| Some(times.max_ns)),
                of(step.service, |times| times.p50_ns),
                of(step.service, |times| times.p99_ns),
                shown(step.client_cpu_per_call_ns),
            ]
        }),
    )
}

fn backends(out: &mut String, summary: &Summary) -> fmt::Result {
    if summary.backends.is_empty() {
        return Ok(());
    }
    let headings = [
        "rank",
        "backend",
        "version",
        "signatures per CPU second",
        "speed",
        "bounds",
    ];
    table(
        out,
        &headings.map(str::to_owned),
        summary.backends.iter().map(|line| {
            vec![
                line.rank.to_string(),
                line.name.clone(),
                line.version.clone(),
                Grouped(line.per_core_per_s).to_string(),
                line.speed
                    .map_or("reference".into(), |speed| format!("{speed:.2} ×")),
                match (line.lower, line.upper) {
                    (Some(lower), Some(upper)) => format!("{lower:.2} … {upper:.2}"),
                    _ => String::new(),
                },
            ]
        }),
    )
}

fn rates(out: &mut String, summary: &Summary) -> fmt::Result {
    if summary.rates.is_empty() {
        return Ok(());
    }
    let headings = [
        "rate",
        "objective",
        "over the limit",
        "failed",
        "p50",
        "p99",
    ];
    table(
        out,
        &headings.map(str::to_owned),
        summary.rates.iter().map(|line| {
            vec![
                format!("{}/s", Grouped(line.per_s)),
                if line.is_met { "met" } else { "missed" }.to_owned(),
                super::summary::share(line.share_over),
                super::summary::share(line.share_failed),
                shown(line.response.and_then(|times| times.p50_ns)),
                shown(line.response.and_then(|times| times.p99_ns)),
            ]
        }),
    )
}

fn table(
    out: &mut String,
    headings: &[String],
    rows: impl Iterator<Item = Vec<String>>,
) -> fmt::Result {
    let mut line = |texts: &[String]| {
        let cells: Vec<_> = texts.iter().map(|text| escaped(text)).collect();
        writeln!(out, "| {} |", cells.join(" | "))
    };
    line(headings)?;
    // The first column holds names, the others figures.
    let rule: Vec<_> = (0..headings.len())
        .map(|at| if at == 0 { ":---" } else { "---:" }.to_owned())
        .collect();
    line(&rule)?;
    for row in rows {
        line(&row)?;
    }
    writeln!(out)
}

fn shown(ns: Option<u64>) -> String {
    ns.map_or_else(
        || "–".to_owned(),
        |ns| Shown(Duration::from_nanos(ns)).to_string(),
    )
}

/// Keeps a text from becoming markup, a cell or a line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;
    use crate::report::summary::side_by_side;

    #[test]
    fn a_name_cannot_become_markup() {
        assert_eq!(escaped("<b>|[x](y)\n*z*"), "&lt;b&gt;\\|\\[x\\](y) \\*z\\*");
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells() {
        let documents = [sample::document(), sample::document()];
        let summaries: Vec<_> = documents.iter().map(Summary::of).collect();
        let text = run_markdown(&summaries, &side_by_side(&documents, &summaries));
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let mut in_table = 0;
        for line in text.lines() {
            if !line.starts_with('|') {
                in_table = 0;
            } else if in_table == 0 {
                in_table = cells(line);
            } else {
                assert_eq!(cells(line), in_table, "{line}");
            }
        }
        assert!(text.contains("**objective p99 &lt; 50.0 ms, errors &lt; 0.1 %: missed**"));
    }
}
