//! What did the slices of the last second measure?
//!
//! Slices may be shorter than a second or longer. Short ones are put together
//! until they cover a second, so that a quantile rests on more than a few
//! requests; of long ones the last stands until the next is over.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::observe::PassedSlice;
use crate::load::verdict::lateness;
use crate::record::{Finding, Histogram, Outcome};

/// The time that slices are put together for.
const COVERS: Duration = Duration::from_secs(1);

/// How many requests must lie beyond a quantile for it to be shown.
const LEAST_BEYOND: f64 = 10.0;

/// Figures of one part of the time of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many requests they are of.
    pub count: u64,
    /// The median.
    pub p50: Option<Duration>,
    /// Nine of ten are not above.
    pub p90: Option<Duration>,
    /// 99 of a hundred are not above; none where fewer than ten are beyond.
    pub p99: Option<Duration>,
    /// 999 of a thousand are not above; none where fewer than ten are beyond.
    pub p999: Option<Duration>,
    /// The longest.
    pub max: Option<Duration>,
}

impl Quantiles {
    /// Takes them from a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Self {
        let count = histogram.count();
        let quantile = |q: f64| {
            let is_known = (1.0 - q) * count as f64 >= LEAST_BEYOND - 1e-6;
            histogram.quantile(q).filter(|_| is_known)
        };
        Self {
            count,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// What a second, or a longer slice, came to.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// The time that it covers.
    pub length: Duration,
    /// Requests that were due within it.
    pub scheduled: u64,
    /// Requests that got a token.
    pub answered: u64,
    /// Requests that did not, by outcome.
    pub failed: BTreeMap<String, u64>,
    /// From the intended start, of answered requests.
    pub response: Quantiles,
    /// From sending, of answered requests.
    pub service: Quantiles,
    /// How late the generator noticed, of all requests.
    pub lag: Quantiles,
    /// Making an assertion.
    pub signing: Quantiles,
    /// What the generator's lateness makes of the figures.
    pub lateness: Option<Finding>,
}

/// Puts slices together.
#[derive(Debug, Default)]
pub struct Gathering {
    first_ns: Option<u64>,
    end_ns: u64,
    scheduled: u64,
    outcomes: BTreeMap<String, u64>,
    answered_response: Histogram,
    answered_service: Histogram,
    all_response: Histogram,
    all_lag: Histogram,
    signing: Histogram,
}

impl Gathering {
    /// Adds a slice; returns what there is once it covers a second.
    pub fn add(&mut self, slice: &PassedSlice<'_>) -> Option<Recent> {
        let end_ns = slice.start_ns + slice.length_ns;
        let first_ns = *self.first_ns.get_or_insert(slice.start_ns);
        self.end_ns = self.end_ns.max(end_ns);
        self.scheduled += slice.scheduled;
        for (name, sets) in slice.outcomes() {
            let count = sets.response.count();
            match self.outcomes.get_mut(name) {
                Some(sum) => *sum += count,
                None => {
                    self.outcomes.insert(name.to_owned(), count);
                }
            }
            if Outcome::is_name_of_token(name) {
                self.answered_response.add(&sets.response);
                self.answered_service.add(&sets.service);
            }
            self.all_response.add(&sets.response);
            self.all_lag.add(&sets.generator_lag);
            self.signing.add(&sets.signing);
        }
        let length = Duration::from_nanos(self.end_ns.saturating_sub(first_ns));
        (length >= COVERS).then(|| self.take(length))
    }

    fn take(&mut self, length: Duration) -> Recent {
        let mut answered = 0;
        let mut failed = BTreeMap::new();
        for (name, count) in std::mem::take(&mut self.outcomes) {
            if Outcome::is_name_of_token(&name) {
                answered += count;
            } else {
                failed.insert(name, count);
            }
        }
        let recent = Recent {
            length,
            scheduled: self.scheduled,
            answered,
            failed,
            response: Quantiles::of(&self.answered_response),
            service: Quantiles::of(&self.answered_service),
            lag: Quantiles::of(&self.all_lag),
            signing: Quantiles::of(&self.signing),
            lateness: lateness(&self.all_response, &self.all_lag),
        };
        self.clear();
        recent
    }

    /// Forgets what was gathered, and keeps its memory.
    pub fn clear(&mut self) {
        self.first_ns = None;
        self.end_ns = 0;
        self.scheduled = 0;
        self.outcomes.clear();
        self.answered_response.clear();
        self.answered_service.clear();
        self.all_response.clear();
        self.all_lag.clear();
        self.signing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::observe::Sets;

    fn sets(responses_ms: impl Iterator<Item = u64>, lag_us: u64) -> Sets {
        let mut sets = Sets::default();
        for ms in responses_ms {
            sets.response.record(Duration::from_millis(ms));
            sets.service.record(Duration::from_millis(ms));
            sets.generator_lag.record(Duration::from_micros(lag_us));
        }
        sets
    }

    #[test]
    fn short_slices_are_put_together_until_they_cover_a_second() {
        let mut gathering = Gathering::default();
        let outcomes = BTreeMap::from([
            ("answered".to_owned(), sets(1..=200, 5)),
            ("timed_out".to_owned(), sets(0..3, 5)),
        ]);
        let slice =
            |number: u64| PassedSlice::new(number * 250_000_000, 250_000_000, 203, &outcomes);
        for number in 0..3 {
            assert!(gathering.add(&slice(number)).is_none(), "{number}");
        }
        let recent = gathering.add(&slice(3)).unwrap();
        assert_eq!(recent.length, Duration::from_secs(1));
        assert_eq!((recent.scheduled, recent.answered), (812, 800));
        assert_eq!(
            recent.failed,
            BTreeMap::from([("timed_out".to_owned(), 12)])
        );
        assert_eq!(recent.response.count, 800);
        let p50 = recent.response.p50.unwrap().as_secs_f64();
        assert!((p50 - 0.1).abs() < 0.001, "{p50}");
        assert_eq!(recent.response.p99, None, "eight are beyond, not ten");
        assert!(recent.lateness.is_none());
        assert!(
            gathering.add(&slice(4)).is_none(),
            "the next second is open"
        );
    }

    #[test]
    fn a_long_slice_stands_for_itself() {
        let mut gathering = Gathering::default();
        let outcomes = BTreeMap::from([("answered".to_owned(), sets(1..=2_000, 5))]);
        let slice = PassedSlice::new(0, 10_000_000_000, 2_000, &outcomes);
        let recent = gathering.add(&slice).unwrap();
        assert_eq!(recent.length, Duration::from_secs(10));
        assert!(recent.response.p99.is_some());
    }

    #[test]
    fn a_generator_that_sends_late_is_found_while_it_does() {
        let mut gathering = Gathering::default();
        // A fifth of the response time is the generator's own.
        let outcomes =
            BTreeMap::from([("answered".to_owned(), sets((0..2_000).map(|_| 10), 2_000))]);
        let slice = PassedSlice::new(0, 1_000_000_000, 2_000, &outcomes);
        let finding = gathering.add(&slice).unwrap().lateness.unwrap();
        assert_eq!(finding.warning.code, "generator-lag");
    }
}
