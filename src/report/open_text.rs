//! How is a load at a given rate shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use super::table::Columns;
use crate::record::{Histogram, OpenRecord, Packed, StepRecord};
use crate::units::{Grouped, Shown};

/// Writes what a step of the open model measured.
pub(super) fn open_text(out: &mut String, step: &StepRecord, open: &OpenRecord) -> fmt::Result {
    let accounts = &open.accounts;
    writeln!(
        out,
        "\nTokens at a given rate for {}, over {} connections on {} {} ({})",
        Shown(Duration::from_nanos(step.phases.measured_ns)),
        open.connections,
        step.threads,
        if step.threads == 1 {
            "thread"
        } else {
            "threads"
        },
        open.transport
    )?;
    writeln!(
        out,
        "  offered {}/s, sent {}/s, answered {}/s; {} due, {} failed, {} dropped, {} unfinished",
        Grouped(open.offered_per_s),
        Grouped(open.sent_per_s),
        Grouped(step.goodput_per_s()),
        Grouped(accounts.scheduled as f64),
        Grouped(accounts.failed as f64),
        Grouped(accounts.dropped as f64),
        Grouped(accounts.unfinished as f64),
    )?;
    if let Some(stages) = open.answered() {
        let mut table = Columns::new(&["part", "p50", "p90", "p95", "p99", "p99.9", "max"], 1);
        for (name, part) in [
            ("response, from the intended start", &stages.response),
            ("service, from sending", &stages.service),
            ("generator lag", &stages.generator_lag),
            ("wait for a connection", &stages.connection_wait),
            ("receive lag", &stages.receive_lag),
            ("signing", &stages.signing),
            ("wait for a signature", &stages.signing_wait),
            ("look-up", &stages.dns),
            ("connect", &stages.connect),
            ("TLS handshake", &stages.tls),
            ("first byte", &stages.first_byte),
            ("body", &stages.body),
        ] {
            row(&mut table, name, part);
        }
        write!(out, "{table}")?;
    }
    asides(out, open)?;
    let blame = &open.blame;
    writeln!(
        out,
        "  of the response time: target {:.1} %, connections {:.1} %, signing {:.1} %, generator {:.1} %",
        blame.target * 100.0,
        blame.connections * 100.0,
        blame.signing * 100.0,
        blame.generator * 100.0
    )?;
    if let Some(calibration) = &open.calibration {
        writeln!(
            out,
            "  this machine sends up to {}/s to a target that does nothing, and measures no less than {} there (p99 {})",
            Grouped(calibration.ceiling_per_s),
            Shown(Duration::from_nanos(calibration.floor_p50_ns)),
            Shown(Duration::from_nanos(calibration.floor_p99_ns)),
        )?;
    }
    writeln!(
        out,
        "  verdict on this run: {}; most of the time was that of {}",
        open.soundness.validity, open.soundness.culprit
    )
}

/// Writes what a load did besides sending each request once.
fn asides(out: &mut String, open: &OpenRecord) -> fmt::Result {
    if let Some(cache) = &open.cache {
        writeln!(
            out,
            "  cache: {:.2} % of calls found a token, {:.2} % were to; {} joined another's request, {} asked",
            cache.hit_ratio() * 100.0,
            cache.wanted_hit_ratio * 100.0,
            Grouped(cache.joined as f64),
            Grouped(cache.fetched as f64),
        )?;
    }
    if let Some(retries) = &open.retries {
        writeln!(
            out,
            "  retries: {} for {} requests, each signed anew; {} of them got a token",
            Grouped(retries.attempts as f64),
            Grouped(retries.requests as f64),
            Grouped(retries.recovered as f64),
        )?;
    }
    if let Some(rotation) = &open.rotation {
        writeln!(
            out,
            "  keys: replaced {} times; {}",
            rotation.replaced_at_ns.len(),
            if rotation.is_abrupt {
                "the endpoint dropped old ones at once".to_owned()
            } else {
                let longest = Duration::from_nanos(rotation.longest_drain_ns);
                format!("an old one was in use for {} at most", Shown(longest))
            }
        )?;
    }
    Ok(())
}

fn row(table: &mut Columns, name: &str, part: &Packed) {
    if part.is_empty() {
        return;
    }
    let histogram = part.open();
    table.row([
        name.to_owned(),
        quantile(&histogram, 0.5),
        quantile(&histogram, 0.9),
        quantile(&histogram, 0.95),
        quantile(&histogram, 0.99),
        quantile(&histogram, 0.999),
        histogram
            .max()
            .map_or_else(|| "–".to_owned(), |found| Shown(found).to_string()),
    ]);
}

fn quantile(histogram: &Histogram, q: f64) -> String {
    // A quantile needs some requests beyond it to mean anything.
    let beyond = (1.0 - q) * histogram.count() as f64;
    histogram
        .quantile(q)
        .filter(|_| beyond >= 10.0)
        .map_or_else(|| "–".to_owned(), |found| Shown(found).to_string())
}
