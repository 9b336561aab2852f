//! How is the document of a run shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use super::capacity_text::capacity_text;
use super::habit_bars::habit_bars;
use super::open_text::open_text;
use super::table::Columns;
use crate::bench::BenchRecord;
use crate::record::{KeyHabit, RunDocument, StepRecord, TokenHabit};
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
        savings(out, &document.steps)?;
        write!(out, "{}", habit_bars(&document.steps))?;
    }
    failures(out, &document.steps)?;
    warnings(out, document)
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
    // Where tokens expire, the herds are of more interest than a quantile.
    let has_herds = document.steps.iter().any(|step| {
        step.herds
            .is_some_and(|herds| herds.later > 0 || herds.first_largest > 1)
    });
    let mut table = Columns::new(
        &[
            "step",
            "calls/s",
            "p50",
            if has_herds { "p99" } else { "p90" },
            if has_herds { "p99.9" } else { "p99" },
            if has_herds { "max" } else { "p99.9" },
            if has_herds { "herd" } else { "max" },
            "CPU/call",
            "signed",
            "requests",
            "failed",
        ],
        1,
    );
    for step in &document.steps {
        let response = &step.latencies.response;
        let quantile = |q: f64| {
            // A quantile needs some calls beyond it to mean anything.
            let beyond = (1.0 - q) * response.count() as f64;
            response
                .quantile(q)
                .filter(|_| beyond >= 10.0)
                .map_or_else(|| "–".to_owned(), |found| Shown(found).to_string())
        };
        let max = response
            .max()
            .map_or_else(|| "–".to_owned(), |found| Shown(found).to_string());
        let [a, b, c, d] = if has_herds {
            [quantile(0.99), quantile(0.999), max, herd(step)]
        } else {
            [quantile(0.9), quantile(0.99), quantile(0.999), max]
        };
        table.row([
            step.name.clone(),
            Grouped(step.goodput_per_s()).to_string(),
            quantile(0.5),
            a,
            b,
            c,
            d,
            step.client_cpu_per_call()
                .map_or_else(|| "–".to_owned(), |cost| Shown(cost).to_string()),
            Grouped(step.assertions_signed as f64).to_string(),
            Grouped(step.requests_sent as f64).to_string(),
            Grouped(step.failed() as f64).to_string(),
        ]);
    }
    write!(out, "{table}")?;
    if has_herds {
        writeln!(
            out,
            "  herd: requests for one subject's token when it expires, on average and at most"
        )?;
    }
    for step in &document.steps {
        writeln!(out, "  {}: {}", step.name, habits(step))?;
    }
    Ok(())
}

/// Says how many fetched one token at once when it expired.
fn herd(step: &StepRecord) -> String {
    match &step.herds {
        Some(herds) => match herds.later_mean() {
            Some(mean) => format!("{} / {}", Grouped(mean), herds.later_largest),
            None => "–".into(),
        },
        None => "–".into(),
    }
}

fn habits(step: &StepRecord) -> String {
    let key = match step.habits.key {
        KeyHabit::DecryptPerCall => "key decrypted for every assertion",
        KeyHabit::ParsePerCall => "key parsed for every assertion",
        KeyHabit::Reuse => "key object reused",
    };
    let token = match step.habits.token {
        TokenHabit::FetchPerCall => "token fetched for every call",
        TokenHabit::CacheNoSingleFlight => "token cached, fetched by each that finds it too old",
        TokenHabit::Cache => "token cached, fetched by one while the rest wait",
        TokenHabit::CacheRefreshAhead => "token cached, replaced in the background before its end",
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
            .filter(|(name, _)| name.as_str() != "answered")
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
