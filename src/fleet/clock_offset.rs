//! How far is one machine's clock from another's, and how sure is that?
//!
//! Cristian's method (1989): a question and its answer enclose the moment at
//! which the other clock was read. Of several answers the one with the
//! shortest way says most; half of its way bounds the error. Monotonic clocks
//! are compared, so that no setting of a wall clock moves a beginning.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// What a clock shows when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Monotonic time in nanoseconds.
    pub monotonic_ns: u64,
    /// Wall time since the Unix epoch in nanoseconds.
    pub wall_ns: u64,
}

/// A question about the time and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The own monotonic time when it was asked.
    pub asked_ns: u64,
    /// What the other's clocks showed.
    pub other: Reading,
    /// The own clocks when the answer was there.
    pub answered: Reading,
}

/// The other's clocks, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// The other's monotonic time less the own, in nanoseconds.
    pub monotonic_ns: i64,
    /// The own wall time less the other's, in nanoseconds.
    pub wall_ns: i64,
    /// How far both may be off, in nanoseconds.
    pub bound_ns: u64,
}

impl ClockOffset {
    /// Takes what the sample with the shortest way says; `None` without one.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let best = samples.iter().min_by_key(|sample| sample.way_ns())?;
        let half = best.way_ns() / 2;
        let signed = |a: u64, b: u64| i64::try_from(i128::from(a) - i128::from(b)).ok();
        Some(Self {
            monotonic_ns: signed(best.other.monotonic_ns, best.asked_ns + half)?,
            wall_ns: signed(
                best.answered.wall_ns.saturating_sub(half),
                best.other.wall_ns,
            )?,
            bound_ns: best.way_ns().div_ceil(2),
        })
    }

    /// Returns the other's monotonic time of an own instant.
    #[must_use]
    pub fn other_ns(&self, own_ns: u64) -> u64 {
        own_ns.saturating_add_signed(self.monotonic_ns)
    }

    /// Returns the own monotonic time of an instant of the other's.
    #[must_use]
    pub fn own_ns(&self, other_ns: u64) -> u64 {
        other_ns.saturating_add_signed(self.monotonic_ns.saturating_neg())
    }
}

/// The clock by which a run's beginning is told, at whoever leads the run now.
///
/// That is the own clock, unless the beginning was told by another coordinator:
/// on another machine, or before this one was started anew. What agents say of
/// the time since the beginning shows how far that clock was ahead, up to the
/// age of what they say.
#[derive(Debug)]
pub struct RunClock(AtomicI64);

/// By how much a clock was ahead of which nothing is known yet.
const UNKNOWN: i64 = i64::MIN;

/// What agents say of the time is not older; within this it is one clock.
const MOST_AGE_NS: u64 = 2_000_000_000;

impl RunClock {
    /// Makes the clock of whoever tells the beginning.
    #[must_use]
    pub fn own() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Makes it the clock of a beginning that another coordinator told.
    pub fn forget(&self) {
        self.0.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Hears from an agent, at `own_ns` of the own clock, that `elapsed_ns` have
    /// passed since the beginning at `begin_ns`.
    pub fn hear(&self, begin_ns: u64, elapsed_ns: u64, own_ns: u64) {
        let ahead = i128::from(begin_ns) + i128::from(elapsed_ns) - i128::from(own_ns);
        let Ok(ahead) = i64::try_from(ahead) else {
            return;
        };
        if ahead.unsigned_abs() <= MOST_AGE_NS {
            self.0.store(0, Ordering::Relaxed);
        } else if self.0.load(Ordering::Relaxed) != 0 {
            // The youngest word is the one that says most.
            self.0.fetch_max(ahead, Ordering::Relaxed);
        }
    }

    /// Reads the clock when the own one shows `own`; `None` if nobody has said
    /// yet how far they are apart.
    #[must_use]
    pub fn read(&self, own: Reading) -> Option<Reading> {
        let ahead = self.0.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then(|| Reading {
            monotonic_ns: own.monotonic_ns.saturating_add_signed(ahead),
            ..own
        })
    }
}

impl Sample {
    fn way_ns(&self) -> u64 {
        self.answered.monotonic_ns.saturating_sub(self.asked_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_of_another_coordinator_is_known_by_what_agents_say() {
        const SECOND: u64 = 1_000_000_000;
        let own = |ns| Reading {
            monotonic_ns: ns,
            wall_ns: 7,
        };
        let clock = RunClock::own();
        clock.forget();
        assert_eq!(clock.read(own(5)), None);
        // It showed 900 s when the run began; here it is 10 s, and 30 s later.
        clock.hear(900 * SECOND, 29 * SECOND, 10 * SECOND);
        clock.hear(900 * SECOND, 30 * SECOND, 10 * SECOND);
        clock.hear(900 * SECOND, 30 * SECOND + SECOND / 2, 11 * SECOND);
        let read = clock.read(own(12 * SECOND)).unwrap();
        assert_eq!(read, own(932 * SECOND));
        // A coordinator on the same machine has the same clock to the nanosecond.
        let clock = RunClock::own();
        clock.forget();
        clock.hear(900 * SECOND, 29 * SECOND, 929 * SECOND + 400_000_000);
        assert_eq!(clock.read(own(5)), Some(own(5)));
        let clock = RunClock::own();
        clock.hear(900 * SECOND, 30 * SECOND, 10 * SECOND);
        assert_eq!(clock.read(own(5)), Some(own(5)));
    }

    /// A question to a clock that is ahead by `ahead`, with two ways.
    fn sample(asked_ns: u64, there: u64, back: u64, ahead: i64, wall: i64) -> Sample {
        let read = (asked_ns + there).saturating_add_signed(ahead);
        let answered_ns = asked_ns + there + back;
        Sample {
            asked_ns,
            other: Reading {
                monotonic_ns: read,
                wall_ns: 1_000_000_000_000 + asked_ns + there,
            },
            answered: Reading {
                monotonic_ns: answered_ns,
                wall_ns: (1_000_000_000_000 + answered_ns).saturating_add_signed(wall),
            },
        }
    }

    proptest! {
        #[test]
        fn the_error_is_within_the_bound_whatever_the_ways(
            ahead in -1_000_000_000_000_i64..1_000_000_000_000,
            wall in -400_000_000_000_i64..400_000_000_000,
            ways in prop::collection::vec((0_u64..50_000_000, 0_u64..50_000_000), 1..20),
        ) {
            let origin = 2_000_000_000_000;
            let samples: Vec<_> = ways
                .iter()
                .enumerate()
                .map(|(at, (there, back))| {
                    sample(origin + at as u64 * 1_000_000_000, *there, *back, ahead, wall)
                })
                .collect();
            let found = ClockOffset::of(&samples).unwrap();
            prop_assert!(found.monotonic_ns.abs_diff(ahead) <= found.bound_ns);
            prop_assert!(found.wall_ns.abs_diff(wall) <= found.bound_ns + 1);
            let shortest = ways.iter().map(|(there, back)| there + back).min().unwrap();
            prop_assert_eq!(found.bound_ns, shortest.div_ceil(2));
            let other = (origin + 5).saturating_add_signed(ahead);
            prop_assert!(found.own_ns(other).abs_diff(origin + 5) <= found.bound_ns);
            prop_assert_eq!(found.other_ns(found.own_ns(other)), other);
        }
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        assert_eq!(ClockOffset::of(&[]), None);
    }
}
