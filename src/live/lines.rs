//! What does the picture of a run say in one line?
//!
//! For logs and pipes: a line a second, as text or as JSON. Units are in the
//! names of fields; what is not known is absent or null, never zero.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::{Phase, Picture};
use super::recent::Quantiles;
use crate::units::{Grouped, Shown};

/// Says it in text.
#[must_use]
pub fn text(picture: &Picture) -> String {
    if let Phase::Preparing(what) = &picture.phase {
        return format!("mintmark: {}: {what}", picture.title);
    }
    let mut parts = vec![
        format!("mintmark: {}", picture.step),
        format!(
            "{} {:.1}/{:.1} s",
            picture.phase.word(),
            picture.elapsed.as_secs_f64(),
            picture.planned.as_secs_f64()
        ),
    ];
    if let Some(rates) = picture.counted.rates {
        for (name, rate) in [
            ("offered", rates.offered_per_s),
            ("achieved", rates.achieved_per_s),
            ("goodput", rates.goodput_per_s),
            ("failed", rates.failed_per_s),
        ] {
            parts.push(format!("{name} {}/s", Grouped(rate)));
        }
    }
    if let Some(recent) = &picture.recent {
        for (name, value) in [
            ("p50", recent.response.p50),
            ("p99", recent.response.p99),
            ("max", recent.response.max),
            ("lag p99", recent.lag.p99),
        ] {
            if let Some(value) = value {
                parts.push(format!("{name} {}", Shown(value)));
            }
        }
    }
    for (name, count) in [
        ("in flight", picture.counted.in_flight),
        ("waiting", picture.counted.waiting),
    ] {
        parts.push(format!("{name} {}", Grouped(count as f64)));
    }
    for warning in picture.warnings() {
        parts.push(format!("! {}", warning.code));
    }
    parts.join("  ")
}

/// Says it in JSON.
#[must_use]
pub fn json(picture: &Picture) -> String {
    object(picture).to_string()
}

/// Says it in an object of JSON.
pub(super) fn object(picture: &Picture) -> Value {
    let rates = picture.counted.rates;
    let recent = picture.recent.as_ref();
    json!({
        "type": "progress",
        "title": picture.title,
        "step": picture.step,
        "phase": picture.phase.word(),
        "elapsed_s": picture.elapsed.as_secs_f64(),
        "planned_s": picture.planned.as_secs_f64(),
        "offered_per_s": rates.map(|rates| rates.offered_per_s),
        "achieved_per_s": rates.map(|rates| rates.achieved_per_s),
        "goodput_per_s": rates.map(|rates| rates.goodput_per_s),
        "failed_per_s": rates.map(|rates| rates.failed_per_s),
        "in_flight": picture.counted.in_flight,
        "waiting": picture.counted.waiting,
        "response": recent.map(|recent| quantiles(&recent.response)),
        "service": recent.map(|recent| quantiles(&recent.service)),
        "generator_lag": recent.map(|recent| quantiles(&recent.lag)),
        "signing": recent.map(|recent| quantiles(&recent.signing)),
        "failures": picture.failures,
        "warnings": picture.warnings().iter().map(|one| &one.code).collect::<Vec<_>>(),
    })
}

/// Says the figures of one part of requests.
pub(super) fn quantiles(of: &Quantiles) -> Value {
    json!({
        "count": of.count,
        "p50_ns": as_ns(of.p50),
        "p90_ns": as_ns(of.p90),
        "p99_ns": as_ns(of.p99),
        "p999_ns": as_ns(of.p999),
        "max_ns": as_ns(of.max),
    })
}

fn as_ns(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |duration| {
        u64::try_from(duration.as_nanos())
            .unwrap_or(u64::MAX)
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Model;
    use crate::live::model::sample::model;
    use crate::scenario::Event;

    #[test]
    fn a_line_says_where_the_run_is_and_how_it_does() {
        assert_eq!(
            text(&model().picture),
            "mintmark: open  measure 12.5/31.0 s  offered 2,000/s  achieved 2,000/s  \
             goodput 1,990/s  failed 10/s  p50 1.93 ms  p99 4.82 ms  max 4.90 ms  \
             lag p99 12.0 µs  in flight 3  waiting 2"
        );
        let mut early = Model::new("steady");
        early.hear(&Event::Generating { bits: 2048 });
        assert_eq!(
            text(&early.picture),
            "mintmark: steady: making a key of 2048 bits"
        );
    }

    #[test]
    fn a_line_of_json_has_units_in_names_and_null_for_what_is_unknown() {
        let line: Value = serde_json::from_str(&json(&model().picture)).unwrap();
        assert_eq!(line["phase"], "measure");
        assert_eq!(line["failures"]["http_503"], 110);
        let p99 = line["response"]["p99_ns"].as_f64().unwrap();
        assert!((p99 / 4_820_000.0 - 1.0).abs() < 0.01, "{p99}");
        let early: Value = serde_json::from_str(&json(&Model::new("steady").picture)).unwrap();
        assert!(early["response"].is_null() && early["goodput_per_s"].is_null());
        assert_eq!(early["in_flight"], 0);
    }
}
