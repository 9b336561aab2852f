//! What has a run counted so far?
//!
//! Sums over the slices that are over. Requests that are due during warm-up
//! are in none, as they are in no record; a request that is under way counts
//! when its slice is over. What a record says in the end is what is here after
//! the last slice.

use std::collections::BTreeMap;

use super::instrument::{Instrument, Value};
use crate::load::observe::{PassedSlice, Sets};
use crate::record::{Buckets, Outcome};
use crate::scenario::Event;
use crate::token;

/// Counts of a run.
#[derive(Debug, Default)]
pub struct Totals {
    offered: u64,
    requests: BTreeMap<String, u64>,
    answered: Spans,
    failed: Spans,
    lag: Buckets,
    signing: Buckets,
    pub(super) in_flight: u64,
    pub(super) waiting: u64,
    /// Of the steps that are over, and of the one that goes on.
    cache: [BTreeMap<&'static str, u64>; 2],
}

/// Response and service times.
#[derive(Debug, Default)]
struct Spans {
    response: Buckets,
    service: Buckets,
}

impl Totals {
    /// Takes an event in.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Slice(slice) => self.slice(slice),
            Event::Step(progress) => {
                self.in_flight = progress
                    .sent
                    .saturating_sub(progress.answered + progress.failed);
                self.waiting = progress.due.saturating_sub(progress.sent);
            }
            Event::Cache(metrics) => self.cache[1] = events(metrics),
            Event::StepEnded(_) => {
                let [before, now] = &mut self.cache;
                for (name, count) in std::mem::take(now) {
                    *before.entry(name).or_default() += count;
                }
                (self.in_flight, self.waiting) = (0, 0);
            }
            _ => {}
        }
    }

    fn slice(&mut self, slice: &PassedSlice<'_>) {
        self.offered += slice.scheduled;
        for (name, sets) in slice.outcomes() {
            self.add(name, sets);
        }
    }

    /// Takes the sums over all slices in place of what was counted.
    #[cfg(feature = "fleet")]
    pub(super) fn replace(&mut self, offered: u64, outcomes: &BTreeMap<String, Sets>) {
        *self = Self {
            offered,
            in_flight: self.in_flight,
            waiting: self.waiting,
            ..Self::default()
        };
        for (name, sets) in outcomes {
            self.add(name, sets);
        }
    }

    fn add(&mut self, name: &str, sets: &Sets) {
        let count = sets.response.count();
        match self.requests.get_mut(name) {
            Some(sum) => *sum += count,
            None => {
                self.requests.insert(name.to_owned(), count);
            }
        }
        let spans = if Outcome::is_name_of_token(name) {
            &mut self.answered
        } else {
            &mut self.failed
        };
        spans.response.add(&sets.response);
        spans.service.add(&sets.service);
        self.lag.add(&sets.generator_lag);
        self.signing.add(&sets.signing);
        // A load that keeps tokens tells so by its outcomes.
        let event = match name {
            "cached" => "hit",
            "joined" => "wait",
            _ => return,
        };
        *self.cache[0].entry(event).or_default() += count;
    }

    /// Returns the instruments.
    #[must_use]
    pub fn instruments(&self) -> Vec<Instrument> {
        let histogram = |buckets: &Buckets| Value::Histogram(Box::new(buckets.clone()));
        let by_result = |of: fn(&Spans) -> &Buckets| {
            [("answered", &self.answered), ("failed", &self.failed)]
                .into_iter()
                .map(|(result, spans)| (vec![("result", result.to_owned())], histogram(of(spans))))
                .collect()
        };
        let mut cache = self.cache[0].clone();
        for (name, count) in &self.cache[1] {
            *cache.entry(name).or_default() += count;
        }
        vec![
            Instrument::single(
                "mintmark_offered",
                "Requests that were due.",
                Value::count(self.offered),
            ),
            Instrument::counters(
                "mintmark_requests",
                "Requests that have ended, by how.",
                "outcome",
                self.requests
                    .iter()
                    .map(|(name, count)| (name.as_str(), *count)),
            ),
            Instrument::of(
                "mintmark_response_duration_seconds",
                "From the intended start of a request to its end.",
                by_result(|spans| &spans.response),
            ),
            Instrument::of(
                "mintmark_service_duration_seconds",
                "From the sending of a request to its end.",
                by_result(|spans| &spans.service),
            ),
            Instrument::single(
                "mintmark_send_lag_seconds",
                "How late the generator noticed that a request was due.",
                histogram(&self.lag),
            ),
            Instrument::single(
                "mintmark_sign_duration_seconds",
                "The making of an assertion.",
                histogram(&self.signing),
            ),
            Instrument::counters(
                "mintmark_token_cache_events",
                "What happened in the token cache.",
                "event",
                cache.iter().map(|(name, count)| (*name, *count)),
            ),
            Instrument::single(
                "mintmark_in_flight",
                "Requests that were sent and have not ended.",
                Value::Gauge(self.in_flight as f64),
            ),
            Instrument::single(
                "mintmark_waiting",
                "Requests that are due and wait for a connection.",
                Value::Gauge(self.waiting as f64),
            ),
        ]
    }
}

fn events(metrics: &token::Metrics) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("hit", metrics.hits),
        ("miss", metrics.misses),
        ("wait", metrics.waits),
        ("stale", metrics.stale),
        ("fetch", metrics.fetches),
        ("refresh", metrics.refreshes),
        ("failure", metrics.failures),
        ("evicted", metrics.evicted),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn value(totals: &Totals, name: &str, label: &str) -> Value {
        let all = totals.instruments();
        let found = all.iter().find(|one| one.name == name).unwrap();
        let point = found
            .points
            .iter()
            .find(|(labels, _)| labels.is_empty() || labels[0].1 == label);
        point
            .unwrap_or_else(|| panic!("{label} of {found:?}"))
            .1
            .clone()
    }

    #[test]
    fn totals_are_the_sums_of_slices() {
        let mut sets = Sets::default();
        for ms in 1..=100 {
            sets.response.record(Duration::from_millis(ms));
            sets.service.record(Duration::from_millis(ms));
            sets.generator_lag.record(Duration::from_micros(3));
            sets.signing.record(Duration::from_micros(50));
        }
        let outcomes = BTreeMap::from([
            ("answered".to_owned(), sets.clone()),
            ("cached".to_owned(), sets.clone()),
            ("timed_out".to_owned(), sets),
        ]);
        let mut totals = Totals::default();
        for second in 0..3 {
            totals.hear(&Event::Slice(PassedSlice::new(
                second * 1_000_000_000,
                1_000_000_000,
                301,
                &outcomes,
            )));
        }
        assert_eq!(
            value(&totals, "mintmark_offered", ""),
            Value::Counter(903.0)
        );
        for outcome in ["answered", "cached", "timed_out"] {
            assert_eq!(
                value(&totals, "mintmark_requests", outcome),
                Value::Counter(300.0)
            );
        }
        let count = |name, label| match value(&totals, name, label) {
            Value::Histogram(buckets) => buckets.count(),
            other => panic!("{other:?}"),
        };
        assert_eq!(count("mintmark_response_duration_seconds", "answered"), 600);
        assert_eq!(count("mintmark_service_duration_seconds", "failed"), 300);
        assert_eq!(count("mintmark_send_lag_seconds", ""), 900);
        assert_eq!(count("mintmark_sign_duration_seconds", ""), 900);
        assert_eq!(
            value(&totals, "mintmark_token_cache_events", "hit"),
            Value::Counter(300.0)
        );
    }

    #[test]
    fn counts_of_caches_add_up_over_steps() {
        let mut totals = Totals::default();
        let told = |hits| {
            Event::Cache(token::Metrics {
                hits,
                ..token::Metrics::default()
            })
        };
        totals.hear(&told(5));
        totals.hear(&told(9));
        totals.hear(&Event::StepEnded(Box::new(
            crate::record::sample::document().steps.remove(0),
        )));
        totals.hear(&told(2));
        let hits = value(&totals, "mintmark_token_cache_events", "hit");
        assert_eq!(hits, Value::Counter(11.0));
    }
}
