//! How often did a cache hit, and how old was what it handed out?
//!
//! Counting must not cost more than a hit. Each thread has counters of its
//! own, which it alone writes, without a locked instruction; a reading adds
//! them up. Hits are counted by the age of the token, in classes that double,
//! so that a hit is one addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;

/// The classes of age. The first is below 2²⁰ ns, about a millisecond; the
/// last holds all from 2⁵⁰ ns, about 13 days, on.
const AGES: usize = 32;

/// The bits of an age in nanoseconds that the first class spans.
const FIRST_AGE_BITS: u32 = 20;

/// What happened in a cache, apart from hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Event {
    /// A caller found no token that is good, and led the flight.
    Miss,
    /// A caller waited for a flight that another led.
    Wait,
    /// A caller got a stale token.
    Stale,
    /// A caller got the failure of a moment ago.
    FailedFast,
    /// A fetch began, for a miss or a refresh.
    Fetch,
    /// A fetch began in the background, while the old token was in use.
    Refresh,
    /// A fetch failed.
    Failure,
    /// A fetch was dropped before its end.
    Abandoned,
    /// A fetch brought a token that was unwanted by then.
    Superseded,
    /// A token was refused by those it was shown to.
    Refused,
    /// A token was forgotten or revoked.
    Forgotten,
    /// A subject was evicted for want of room.
    Evicted,
}

const EVENTS: usize = Event::Evicted as usize + 1;

/// The counters of one cache.
#[derive(Default)]
pub(super) struct Meter(ThreadLocal<CachePadded<Counters>>);

struct Counters {
    ages: [AtomicU64; AGES],
    events: [AtomicU64; EVENTS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            ages: [const { AtomicU64::new(0) }; AGES],
            events: [const { AtomicU64::new(0) }; EVENTS],
        }
    }
}

impl Meter {
    /// Counts the use of a token that is `age` nanoseconds old.
    pub fn hit(&self, age: u64) {
        add(&self.0.get_or_default().ages[class_of(age)]);
    }

    /// Counts an event.
    pub fn count(&self, event: Event) {
        add(&self.0.get_or_default().events[event as usize]);
    }

    /// Adds up what all threads have counted.
    pub fn read(&self) -> Metrics {
        let sum = |event: Event| -> u64 {
            self.0
                .iter()
                .map(|counters| counters.events[event as usize].load(Ordering::Relaxed))
                .sum()
        };
        let ages: Vec<u64> = (0..AGES)
            .map(|class| {
                self.0
                    .iter()
                    .map(|counters| counters.ages[class].load(Ordering::Relaxed))
                    .sum()
            })
            .collect();
        Metrics {
            hits: ages.iter().sum(),
            misses: sum(Event::Miss),
            waits: sum(Event::Wait),
            stale: sum(Event::Stale),
            failed_fast: sum(Event::FailedFast),
            fetches: sum(Event::Fetch),
            refreshes: sum(Event::Refresh),
            failures: sum(Event::Failure),
            abandoned: sum(Event::Abandoned),
            superseded: sum(Event::Superseded),
            refused: sum(Event::Refused),
            forgotten: sum(Event::Forgotten),
            evicted: sum(Event::Evicted),
            age_at_use: ages
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
                .map(|(class, count)| AgeClass {
                    below_ns: bound_of(class),
                    hits: *count,
                })
                .collect(),
        }
    }
}

/// Adds one to a counter that only this thread writes.
///
/// A plain load and store cannot lose a count then, and a reader sees one or
/// the other.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn class_of(age: u64) -> usize {
    let bits = u64::BITS - (age >> FIRST_AGE_BITS).leading_zeros();
    (bits as usize).min(AGES - 1)
}

/// Returns the age below which a class ends; the last has no end.
fn bound_of(class: usize) -> Option<u64> {
    (class < AGES - 1).then(|| 1 << (FIRST_AGE_BITS as usize + class))
}

/// What a cache counted since it was made.
///
/// A reading is not one instant's, but every count only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Calls that got a fresh token at once.
    pub hits: u64,
    /// Calls that found no good token and caused a fetch.
    pub misses: u64,
    /// Calls that waited for the fetch of another.
    pub waits: u64,
    /// Calls that got an old token, since no other could be had.
    pub stale: u64,
    /// Calls that got the failure of a moment ago.
    pub failed_fast: u64,
    /// Fetches that began, refreshes among them.
    pub fetches: u64,
    /// Fetches that began in the background while the old token was in use.
    pub refreshes: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Fetches that were dropped before their end.
    pub abandoned: u64,
    /// Fetches whose token was unwanted by then.
    pub superseded: u64,
    /// Tokens that were reported as refused.
    pub refused: u64,
    /// Subjects whose token was forgotten or revoked.
    pub forgotten: u64,
    /// Subjects that were evicted for want of room.
    pub evicted: u64,
    /// Hits by the age of the token, youngest first; classes double.
    pub age_at_use: Vec<AgeClass>,
}

/// The hits with tokens of about one age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeClass {
    /// The age at which the class ends; it begins at half of it. The last
    /// class has no end.
    pub below_ns: Option<u64>,
    /// How many hits.
    pub hits: u64,
}

impl Metrics {
    /// Returns the share of calls that got a token at once; none without calls.
    #[must_use]
    pub fn hit_share(&self) -> Option<f64> {
        let calls = self.hits + self.misses + self.waits + self.stale + self.failed_fast;
        (calls > 0).then(|| self.hits as f64 / calls as f64)
    }

    /// Returns an age that the share `q` of hits did not reach; `None`
    /// without hits, or if it is beyond the last class.
    #[must_use]
    pub fn age_below(&self, q: f64) -> Option<Duration> {
        let mut seen = 0;
        for class in &self.age_at_use {
            seen += class.hits;
            if seen as f64 >= q * self.hits as f64 {
                return class.below_ns.map(Duration::from_nanos);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn counts_of_many_threads_add_up() {
        let meter = Meter::default();
        for _ in 0..3 {
            thread::scope(|scope| {
                for age in 0..4_u64 {
                    let meter = &meter;
                    scope.spawn(move || {
                        for _ in 0..1_000 {
                            meter.hit(age * 3_000_000);
                            meter.count(Event::Wait);
                        }
                    });
                }
            });
        }
        let metrics = meter.read();
        assert_eq!(metrics.hits, 12_000);
        assert_eq!(metrics.waits, 12_000);
        assert_eq!(metrics.misses, 0);
        assert_eq!(metrics.hit_share(), Some(0.5));
    }

    #[test]
    fn ages_fall_into_classes_that_double() {
        let ms = 1 << FIRST_AGE_BITS;
        for (age, class) in [
            (0, 0),
            (ms - 1, 0),
            (ms, 1),
            (2 * ms - 1, 1),
            (2 * ms, 2),
            (u64::MAX, AGES - 1),
        ] {
            assert_eq!(class_of(age), class, "{age}");
            assert!(bound_of(class).is_none_or(|bound| age < bound));
        }
    }

    #[test]
    fn an_age_that_most_hits_stay_below_is_a_bound_of_a_class() {
        let meter = Meter::default();
        assert_eq!(meter.read().age_below(0.5), None);
        for _ in 0..99 {
            meter.hit(0);
        }
        meter.hit(1 << 30);
        let metrics = meter.read();
        assert_eq!(metrics.age_below(0.5), Some(Duration::from_nanos(1 << 20)));
        assert_eq!(metrics.age_below(1.0), Some(Duration::from_nanos(1 << 31)));
    }
}
