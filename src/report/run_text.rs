//! How is the document of a run shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use super::capacity_text::capacity_text;
use super::habit_bars::{habit_bars, has_herds};
use super::open_text::open_text;
use super::summary::{AGENT_HEADINGS, agent_rows, fleet_facts};
use super::table::Columns;
use crate::bench::BenchRecord;
use crate::record::{FleetRecord, KeyHabit, Outcome, RunDocument, StepRecord, TokenHabit};
use crate::units::{Grouped, Shown};

/// Renders the document of a run as text, some 40 lines of at most 100 columns.
#[must_use]
pub fn run_text(document: &RunDocument) -> String {
    let mut out = String::new();
    write_all(&mut out, document).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, document: &RunDocument) -> fmt::Result {
    conditions(out, document)?;
    if let Some(record) = &document.signing {
        signing(out, document, record)?;
    }
    if let Some(search) = &document.capacity {
        capacity_text(out, search)?;
    }
    for step in &document.steps {
        if let Some(open) = &step.open {
            open_text(out, step, open)?;
        }
    }
    if document.steps.iter().any(|step| step.open.is_none()) {
        steps(out, document)?;
        if has_herds(&document.steps) {
            write!(out, "{}", habit_bars(&document.steps))?;
        } else {
            savings(out, &document.steps)?;
        }
    }
    if let Some(fleet) = &document.fleet {
        fleet_text(out, fleet)?;
    }
    failures(out, &document.steps)?;
    warnings(out, document)
}

/// Writes which machines made the load, and what is missing of it.
fn fleet_text(out: &mut String, fleet: &FleetRecord) -> fmt::Result {
    writeln!(
        out,
        "\nCoverage of the schedule by {} agents",
        fleet.planned
    )?;
    for fact in fleet_facts(fleet) {
        writeln!(out, "  {:<18}{}", fact.name, fact.value)?;
    }
    // Machines' names, and words, are not figures.
    let mut table = Columns::new(&AGENT_HEADINGS, 3);
    for row in agent_rows(fleet) {
        table.row(row);
    }
    write!(out, "{table}")
}

fn conditions(out: &mut String, document: &RunDocument) -> fmt::Result {
    let host = &document.host;
    writeln!(
        out,
        "{}  {}  mintmark {}",
        document.run, document.started_at, document.tool.version
    )?;
    writeln!(
        out,
        "  host    {}, {} {}{}, {} {}",
        host.cpu_model,
        host.cpus,
        if host.cpus == 1 {
            "processor"
        } else {
            "processors"
        },
        if host.is_virtual { " (virtual)" } else { "" },
        host.os,
        host.kernel
    )?;
    let key = &document.key;
    writeln!(
        out,
        "  key     {} bits, {}, kept as {}",
        key.bits, key.algorithm, key.container
    )?;
    let target = match &document.broker {
        Some(_) => "the embedded broker, in this process".to_owned(),
        None => document.scenario["target"]["url"]["url"]
            .as_str()
            .unwrap_or("a token endpoint")
            .to_owned(),
    };
    writeln!(out, "  target  {target}")
}

fn signing(out: &mut String, document: &RunDocument, record: &BenchRecord) -> fmt::Result {
    let reference = record
        .cases
        .iter()
        .find(|case| case.is_reference)
        .map_or("", |case| case.case.backend.as_str());
    writeln!(
        out,
        "\nSigning {} with this key, one thread, by its CPU time",
        document.key.algorithm
    )?;
    let mut table = Columns::new(
        &[
            "rank",
            "backend",
            "version",
            "sign/s",
            &format!("× {reference}"),
            "bounds",
        ],
        3,
    );
    let mut cases: Vec<_> = record.cases.iter().collect();
    cases.sort_by(|a, b| {
        a.rank
            .cmp(&b.rank)
            .then(b.per_core_per_s.total_cmp(&a.per_core_per_s))
    });
    for case in cases {
        let version = document
            .backends
            .iter()
            .find(|facts| facts.name == case.case.backend)
            .map_or("", |facts| facts.version.as_str());
        let (ratio, bounds) = match &case.speed {
            Some(speed) => (
                format!("{:.2}", speed.floor.ratio),
                format!("{:.2} … {:.2}", speed.floor.lower, speed.floor.upper),
            ),
            None => ("1".into(), "reference".into()),
        };
        table.row([
            case.rank.to_string(),
            case.case.backend.clone(),
            version.to_owned(),
            Grouped(case.per_core_per_s).to_string(),
            ratio,
            bounds,
        ]);
    }
    write!(out, "{table}")?;
    for refusal in &document.refused {
        writeln!(
            out,
            "  {} took no part: {}",
            refusal.backend, refusal.reason
        )?;
    }
    Ok(())
}

fn steps(out: &mut String, document: &RunDocument) -> fmt::Result {
    let first = &document.steps[0];
    writeln!(
        out,
        "\nTokens for {} workers in a closed loop, {} a step, signed by {}",
        first.workers,
        Shown(Duration::from_nanos(first.phases.measured_ns)),
        document.signed_by
    )?;
    if let Some(gathered) = &document.gathered {
        let requests: u64 = (0_u64..)
            .zip(&gathered.batches)
            .map(|(n, count)| n * count)
            .sum();
        let batches: u64 = gathered.batches.iter().sum();
        writeln!(
            out,
            "  gathered by a mint of {} {}, {} at once on average; {} signs where the key is opened per call",
            gathered.threads,
            if gathered.threads == 1 {
                "thread"
            } else {
                "threads"
            },
            Grouped(requests as f64 / batches.max(1) as f64),
            document.signed_singly_by.as_deref().unwrap_or("it"),
        )?;
    }
    if has_herds(&document.steps) {
        write!(out, "{}", work_table(&document.steps))?;
    } else {
        write!(out, "{}", rate_table(&document.steps))?;
    }
    if document.steps.iter().any(lacks_quantile) {
        writeln!(
            out,
            "  –: fewer than {NEEDED:.0} calls were slower than this quantile"
        )?;
    }
    for step in &document.steps {
        writeln!(out, "  {}: {}", step.name, habits(step))?;
    }
    Ok(())
}

/// How many calls have to lie beyond a quantile for it to mean anything.
const NEEDED: f64 = 10.0;

/// The highest quantile that tables show.
const HIGHEST: f64 = 0.999;

/// What steps achieve, where every call is much like the next.
fn rate_table(steps: &[StepRecord]) -> Columns {
    let mut table = Columns::new(
        &[
            "step", "calls/s", "p50", "p90", "p99", "p99.9", "max", "CPU/call", "signed",
            "requests", "failed",
        ],
        1,
    );
    for step in steps {
        let max = step.latencies.response.max();
        table.row([
            step.name.clone(),
            Grouped(step.goodput_per_s()).to_string(),
            quantile(step, 0.5),
            quantile(step, 0.9),
            quantile(step, 0.99),
            quantile(step, HIGHEST),
            shown(max),
            shown(step.client_cpu_per_call()),
            Grouped(step.assertions_signed as f64).to_string(),
            Grouped(step.requests_sent as f64).to_string(),
            Grouped(step.failed() as f64).to_string(),
        ]);
    }
    table
}

/// What calls cause, where few of them fetch a token and the rest find it; at
/// most 80 columns unless some failed.
fn work_table(steps: &[StepRecord]) -> Columns {
    let has_failed = steps.iter().any(|step| step.failed() > 0);
    let mut headings = vec![
        "step", "calls", "p50", "p99", "p99.9", "CPU/call", "signed", "sent",
    ];
    headings.extend(has_failed.then_some("failed"));
    let mut table = Columns::new(&headings, 1);
    for step in steps {
        let mut row = vec![
            step.name.clone(),
            Grouped(step.calls() as f64).to_string(),
            quantile(step, 0.5),
            quantile(step, 0.99),
            quantile(step, HIGHEST),
            shown(step.client_cpu_per_call()),
            Grouped(step.assertions_signed as f64).to_string(),
            Grouped(step.requests_sent as f64).to_string(),
        ];
        row.extend(has_failed.then(|| Grouped(step.failed() as f64).to_string()));
        table.row(row);
    }
    table
}

fn quantile(step: &StepRecord, q: f64) -> String {
    let response = &step.latencies.response;
    let beyond = (1.0 - q) * response.count() as f64;
    shown(response.quantile(q).filter(|_| beyond >= NEEDED))
}

fn lacks_quantile(step: &StepRecord) -> bool {
    (1.0 - HIGHEST) * (step.latencies.response.count() as f64) < NEEDED
}

fn shown(span: Option<Duration>) -> String {
    span.map_or_else(|| "–".to_owned(), |span| Shown(span).to_string())
}

fn habits(step: &StepRecord) -> String {
    let key = match step.habits.key {
        KeyHabit::DecryptPerCall => "key decrypted for every assertion",
        KeyHabit::ParsePerCall => "key parsed for every assertion",
        KeyHabit::Reuse => "key kept",
    };
    let token = match step.habits.token {
        TokenHabit::FetchPerCall => "token fetched for every call",
        TokenHabit::CacheNoSingleFlight => "token cached, fetched by each that finds it old",
        TokenHabit::Cache => "token cached, fetched by one while the rest wait",
        TokenHabit::CacheRefreshAhead => "token cached, replaced in the background",
    };
    format!("{key}, {token}")
}

/// Compares what a call costs the client, step by step with the first.
fn savings(out: &mut String, steps: &[StepRecord]) -> fmt::Result {
    let Some((first, cost)) = steps
        .first()
        .and_then(|first| Some((first, first.client_cpu_per_call()?)))
    else {
        return Ok(());
    };
    if steps.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\nWhat it saves, by the client's CPU time for a call")?;
    for step in &steps[1..] {
        if let Some(own) = step.client_cpu_per_call().filter(|own| !own.is_zero()) {
            writeln!(
                out,
                "  {} costs {} a call, {} × less than {}",
                step.name,
                Shown(own),
                Grouped(cost.as_secs_f64() / own.as_secs_f64()),
                first.name
            )?;
        }
    }
    Ok(())
}

fn failures(out: &mut String, steps: &[StepRecord]) -> fmt::Result {
    for step in steps {
        let kinds: Vec<String> = step
            .outcomes
            .iter()
            .filter(|(name, _)| !Outcome::is_name_of_token(name))
            .map(|(name, count)| format!("{name} {}", Grouped(*count as f64)))
            .collect();
        if !kinds.is_empty() {
            writeln!(out, "\n  failed in {}: {}", step.name, kinds.join(", "))?;
        }
        if step.abandoned > 0 {
            writeln!(
                out,
                "  given up in {} when the drain ended: {}",
                step.name, step.abandoned
            )?;
        }
    }
    Ok(())
}

fn warnings(out: &mut String, document: &RunDocument) -> fmt::Result {
    if document.warnings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nMind")?;
    for warning in &document.warnings {
        writeln!(out, "  {}: {}", warning.code, warning.message)?;
        writeln!(out, "      {}", warning.hint)?;
    }
    Ok(())
}
