//! How many requests a second were due, sent and answered just now?
//!
//! Counters only grow; a rate is the difference of two readings that lie about
//! a second apart. What was due and is not sent waits; what was sent and has
//! not ended is in flight.

use std::collections::VecDeque;
use std::time::Duration;

use crate::load::Progress;

/// The time over which a rate is taken: long enough for a steady figure, short
/// enough to be called now.
const OVER: Duration = Duration::from_secs(1);

/// The shortest time over which a rate means anything.
const LEAST: Duration = Duration::from_millis(200);

/// Requests per second, over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Those that were due: the rate that is asked for.
    pub offered_per_s: f64,
    /// Those that were sent.
    pub achieved_per_s: f64,
    /// Those that got a token.
    pub goodput_per_s: f64,
    /// Those that did not.
    pub failed_per_s: f64,
}

/// What counters that are read often say of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Rates over the last second, if there was one.
    pub rates: Option<Rates>,
    /// Requests that were sent and have not ended.
    pub in_flight: u64,
    /// Requests that are due and not sent.
    pub waiting: u64,
}

/// The latest readings of the counters.
#[derive(Clone, Debug, Default)]
pub struct Readings(VecDeque<Progress>);

impl Readings {
    /// Adds a reading, and says whether it is of another moment than the last.
    /// One that counts less than the one before begins anew: another step has
    /// begun.
    pub fn add(&mut self, progress: Progress) -> bool {
        let has_begun_anew = self
            .0
            .back()
            .is_some_and(|last| progress.elapsed < last.elapsed || progress.due < last.due);
        if has_begun_anew {
            self.0.clear();
        }
        // The same moment, read again, says no more.
        let repeated = self.0.pop_back_if(|last| last.elapsed == progress.elapsed);
        self.0.push_back(progress);
        while self.0.len() > 2 && progress.elapsed.saturating_sub(self.0[1].elapsed) >= OVER {
            self.0.pop_front();
        }
        repeated.is_none()
    }

    /// Returns what they say of this moment.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted {
            rates: self.rates(),
            in_flight: self.in_flight(),
            waiting: self.waiting(),
        }
    }

    /// Returns the rates between the first and the last reading, if these lie
    /// far enough apart.
    #[must_use]
    pub fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let time = last.elapsed.saturating_sub(first.elapsed);
        if time < LEAST {
            return None;
        }
        let rate = |of: fn(&Progress) -> u64| {
            of(last).saturating_sub(of(first)) as f64 / time.as_secs_f64()
        };
        Some(Rates {
            offered_per_s: rate(|reading| reading.due),
            achieved_per_s: rate(|reading| reading.sent),
            goodput_per_s: rate(|reading| reading.answered),
            failed_per_s: rate(|reading| reading.failed),
        })
    }

    /// Returns how many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.0.back().map_or(0, |last| {
            last.sent.saturating_sub(last.answered + last.failed)
        })
    }

    /// Returns how many requests are due and not sent.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0
            .back()
            .map_or(0, |last| last.due.saturating_sub(last.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ms: u64, due: u64, sent: u64, answered: u64, failed: u64) -> Progress {
        Progress {
            elapsed: Duration::from_millis(ms),
            planned: Duration::from_secs(10),
            warm_up: Duration::ZERO,
            due,
            sent,
            answered,
            failed,
        }
    }

    #[test]
    fn rates_are_those_of_the_last_second_alone() {
        let mut readings = Readings::default();
        assert_eq!(readings.rates(), None);
        // A second at 1,000/s, then one at 2,000/s of which a tenth fails.
        for tick in 0..=20_u64 {
            readings.add(reading(tick * 50, tick * 50, tick * 50, tick * 50, 0));
        }
        for tick in 1..=20_u64 {
            let more = tick * 100;
            let (good, bad) = (more * 9 / 10, more / 10);
            readings.add(reading(
                1_000 + tick * 50,
                1_000 + more,
                1_000 + more,
                1_000 + good,
                bad,
            ));
        }
        assert_eq!(
            readings.rates(),
            Some(Rates {
                offered_per_s: 2_000.0,
                achieved_per_s: 2_000.0,
                goodput_per_s: 1_800.0,
                failed_per_s: 200.0,
            })
        );
    }

    #[test]
    fn what_is_due_waits_until_it_is_sent_and_is_in_flight_until_it_ends() {
        let mut readings = Readings::default();
        readings.add(reading(50, 100, 70, 50, 5));
        assert_eq!(readings.waiting(), 30);
        assert_eq!(readings.in_flight(), 15);
    }

    #[test]
    fn another_step_begins_anew() {
        let mut readings = Readings::default();
        readings.add(reading(0, 0, 0, 0, 0));
        readings.add(reading(5_000, 900, 900, 900, 0));
        readings.add(reading(0, 0, 0, 0, 0));
        assert_eq!(readings.rates(), None);
        readings.add(reading(500, 50, 50, 50, 0));
        assert!((readings.rates().unwrap().goodput_per_s - 100.0).abs() < 1e-9);
    }
}
