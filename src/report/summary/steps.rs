//! What did a step of the load measure?

use std::collections::BTreeMap;

use serde::Serialize;

use super::Percentiles;
use crate::record::{Histogram, KeyHabit, OpenRecord, StepRecord, TokenHabit};

/// What a step measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepSummary {
    /// The step's name.
    pub name: String,
    /// `open` or `closed`.
    pub model: &'static str,
    /// How its clients behaved, in words.
    pub habits: String,
    /// The rate that was asked for, in the open model.
    pub offered_per_s: Option<f64>,
    /// The rate that was sent, in the open model.
    pub sent_per_s: Option<f64>,
    /// The rate of answered calls.
    pub goodput_per_s: f64,
    /// Calls, however they ended.
    pub calls: u64,
    /// Those that got a token.
    pub answered: u64,
    /// Those that did not: failed, dropped or not ended.
    pub failed: u64,
    /// Calls by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Assertions that were signed.
    pub assertions_signed: u64,
    /// Token requests that were sent.
    pub requests_sent: u64,
    /// The client's processor time for a call.
    pub client_cpu_per_call_ns: Option<u64>,
    /// From the intended start to the end.
    pub response: Option<Percentiles>,
    /// From sending to the end.
    pub service: Option<Percentiles>,
    /// Every part that was timed.
    pub parts: Vec<Part>,
    /// Where the response time went; together 1.
    pub shares: Vec<Share>,
    /// Whose fault it was, as the run itself judged: shares by name.
    pub blame: Vec<Share>,
}

/// A part of the time of answered calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The part's name.
    pub name: &'static str,
    /// Its percentiles, over the calls that had it.
    pub times: Percentiles,
}

/// A part's share of all response time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The part's name.
    pub name: &'static str,
    /// Its share, 0 to 1.
    pub share: f64,
}

impl StepSummary {
    /// Computes the summary of a step.
    #[must_use]
    pub fn of(step: &StepRecord) -> Self {
        let open = step.open.as_deref();
        let unanswered = open.map_or(step.failed(), |open| {
            open.accounts.failed + open.accounts.dropped + open.accounts.unfinished
        });
        let response = response_of(step);
        Self {
            name: step.name.clone(),
            model: if open.is_some() { "open" } else { "closed" },
            habits: habits(step),
            offered_per_s: open.map(|open| open.offered_per_s),
            sent_per_s: open.map(|open| open.sent_per_s),
            goodput_per_s: step.goodput_per_s(),
            calls: open.map_or(step.calls(), |open| open.accounts.scheduled),
            answered: step.answered(),
            failed: unanswered,
            outcomes: step.outcomes.clone(),
            assertions_signed: step.assertions_signed,
            requests_sent: step.requests_sent,
            client_cpu_per_call_ns: step
                .client_cpu_per_call()
                // The open model of early documents did not account for it.
                .filter(|cost| !cost.is_zero())
                .map(|cost| u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX)),
            response: Percentiles::of(&response),
            service: service_of(step).and_then(|service| Percentiles::of(&service)),
            parts: parts(step),
            shares: shares(step, &response),
            blame: open.map(blame).unwrap_or_default(),
        }
    }
}

/// Returns the response times of answered calls.
pub(in crate::report) fn response_of(step: &StepRecord) -> Histogram {
    match &step.open {
        Some(open) => open
            .answered()
            .map(|stages| stages.response.open())
            .unwrap_or_default(),
        None => step.latencies.response.clone(),
    }
}

/// Returns the service times, from sending to the whole answer, where calls
/// sent a request.
pub(in crate::report) fn service_of(step: &StepRecord) -> Option<Histogram> {
    let service = match &step.open {
        Some(open) => open.answered()?.service.open(),
        None => step.latencies.exchange.clone(),
    };
    (service.count() > 0).then_some(service)
}

fn named_parts(step: &StepRecord) -> Vec<(&'static str, Histogram)> {
    let Some(open) = &step.open else {
        return vec![
            (
                "response, from the intended start",
                step.latencies.response.clone(),
            ),
            (
                "opening the key and signing",
                step.latencies.signing.clone(),
            ),
            ("request to answer", step.latencies.exchange.clone()),
            ("failed calls", step.latencies.failed.clone()),
        ];
    };
    let Some(stages) = open.answered() else {
        return Vec::new();
    };
    [
        ("response, from the intended start", &stages.response),
        ("service, from sending", &stages.service),
        ("generator lag", &stages.generator_lag),
        ("wait for a connection", &stages.connection_wait),
        ("signing", &stages.signing),
        ("wait for a signature", &stages.signing_wait),
        ("address look-up", &stages.dns),
        ("connect", &stages.connect),
        ("TLS handshake", &stages.tls),
        ("first byte", &stages.first_byte),
        ("body", &stages.body),
        ("receive lag", &stages.receive_lag),
    ]
    .into_iter()
    .map(|(name, packed)| (name, packed.open()))
    .collect()
}

fn parts(step: &StepRecord) -> Vec<Part> {
    named_parts(step)
        .into_iter()
        .filter_map(|(name, histogram)| {
            Some(Part {
                name,
                times: Percentiles::of(&histogram)?,
            })
        })
        .collect()
}

/// Splits the summed response time of answered calls into its parts.
///
/// Parts overlap by nature: a connection is opened while the request waits
/// for one. Each moment is given to the narrower part.
fn shares(step: &StepRecord, response: &Histogram) -> Vec<Share> {
    let sum = |histogram: &Histogram| {
        histogram.mean().map_or(0.0, |mean| mean.as_secs_f64()) * histogram.count() as f64
    };
    let whole = sum(response);
    if whole <= 0.0 {
        return Vec::new();
    }
    let mut spent: Vec<(&'static str, f64)> = Vec::new();
    if let Some(stages) = step.open.as_deref().and_then(OpenRecord::answered) {
        let of = |packed: &crate::record::Packed| sum(&packed.open());
        let opening = [
            ("address look-up", of(&stages.dns)),
            ("connect", of(&stages.connect)),
            ("TLS handshake", of(&stages.tls)),
        ];
        let opened: f64 = opening.iter().map(|(_, time)| time).sum();
        spent.push(("generator lag", of(&stages.generator_lag)));
        spent.push((
            "queue for a connection",
            (of(&stages.connection_wait) - opened).max(0.0),
        ));
        spent.push(("signing", of(&stages.signing_wait)));
        spent.extend(opening);
        spent.push(("wait for the first byte", of(&stages.first_byte)));
        spent.push(("reading the answer", of(&stages.body)));
    } else {
        spent.push(("signing", sum(&step.latencies.signing)));
        spent.push(("request to answer", sum(&step.latencies.exchange)));
    }
    let known: f64 = spent.iter().map(|(_, time)| time).sum();
    spent.push(("rest", (whole - known).max(0.0)));
    // Parts may exceed the whole by the width of a histogram's bins.
    let base = known.max(whole);
    spent
        .into_iter()
        .filter(|(_, time)| *time > 0.0)
        .map(|(name, time)| Share {
            name,
            share: time / base,
        })
        .collect()
}

fn blame(open: &OpenRecord) -> Vec<Share> {
    let blame = &open.blame;
    [
        ("target", blame.target),
        ("connections", blame.connections),
        ("signing", blame.signing),
        ("generator", blame.generator),
    ]
    .into_iter()
    .map(|(name, share)| Share { name, share })
    .collect()
}

fn habits(step: &StepRecord) -> String {
    let key = match step.habits.key {
        KeyHabit::DecryptPerCall => "key decrypted for every assertion",
        KeyHabit::ParsePerCall => "key parsed for every assertion",
        KeyHabit::Reuse => "key reused",
    };
    let token = match step.habits.token {
        TokenHabit::FetchPerCall => "token fetched for every call",
        TokenHabit::CacheNoSingleFlight => "token cached, fetched by each that finds it too old",
        TokenHabit::Cache => "token cached, fetched by one while the rest wait",
        TokenHabit::CacheRefreshAhead => "token cached, replaced before its end",
    };
    format!("{key}, {token}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn shares_of_every_step_add_up_to_the_whole() {
        for step in &sample::document().steps {
            let summary = StepSummary::of(step);
            let whole: f64 = summary.shares.iter().map(|share| share.share).sum();
            assert!((whole - 1.0).abs() < 1e-9, "{}: {whole}", step.name);
        }
    }

    #[test]
    fn opening_a_connection_is_not_counted_as_waiting_for_one() {
        let mut document = sample::document();
        let open = document.steps[1].open.as_mut().unwrap();
        let stages = &mut open.outcomes[0].stages;
        stages.connection_wait = crate::record::Packed::of(&sample::around(1, 995));
        stages.tls = stages.connection_wait.clone();
        let shares = StepSummary::of(&document.steps[1]).shares;
        assert!(shares.iter().any(|share| share.name == "TLS handshake"));
        assert!(
            !shares
                .iter()
                .any(|share| share.name == "queue for a connection")
        );
    }

    #[test]
    fn what_was_not_timed_has_no_part() {
        let summary = StepSummary::of(&sample::document().steps[1]);
        let names: Vec<_> = summary.parts.iter().map(|part| part.name).collect();
        assert!(names.contains(&"generator lag"));
        assert!(!names.contains(&"TLS handshake"));
        assert_eq!(summary.calls, 1_000);
        assert_eq!(summary.failed, 5);
    }
}
