//! How many starts a second does the schedule ask for at this moment?
//!
//! The scenario's rate, in closed form, at the speed at which the schedule
//! passes since the last change: nobody has to be asked, and an agent that is
//! lost does not lower it. Starts that are drawn at random scatter around it.

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::schedule::Schedule;
use crate::load::arrival::Arrival;
use crate::load::pace::{Pace, Warp};
use crate::record::RateChange;

/// The time over which a rate is taken, as that of agents.
const OVER: Duration = Duration::from_secs(1);

/// What a schedule asks for, with the changes of its rate.
pub struct Offer {
    arrival: Arrival,
    /// When warm-up ends, and when the whole does.
    phases: (Duration, Duration),
    /// All starts that there are to be, if they are counted.
    most: f64,
    pace: Arc<Pace>,
    warp: Warp,
}

impl Offer {
    /// Begins with a schedule that was not changed.
    #[must_use]
    pub fn of(schedule: &Schedule) -> Self {
        let pace = Arc::new(Pace::default());
        let before = schedule
            .arrival
            .starts_between(Duration::ZERO, schedule.warm_up);
        Self {
            arrival: schedule.arrival.clone(),
            phases: (schedule.warm_up, schedule.warm_up + schedule.measure),
            most: schedule
                .count
                .map_or(f64::INFINITY, |count| before + count as f64),
            warp: Warp::of(Some(Arc::clone(&pace))),
            pace,
        }
    }

    /// Returns when warm-up ends, and when no more starts are due.
    #[must_use]
    pub fn phases(&self) -> (Duration, Duration) {
        self.phases
    }

    /// Takes all changes so far.
    pub fn change(&mut self, changes: &[RateChange]) {
        self.pace.hear(changes, 0);
    }

    /// Returns the starts a second over the second up to `elapsed`.
    pub fn per_s(&mut self, elapsed: Duration) -> Option<f64> {
        let from = elapsed.saturating_sub(OVER);
        let mut until = |at: Duration| {
            let passed = self.warp.passed(at.min(self.phases.1));
            let starts = self.arrival.starts_between(Duration::ZERO, passed);
            starts.min(self.most)
        };
        let length = elapsed - from;
        (!length.is_zero()).then(|| (until(elapsed) - until(from)) / length.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::arrival::{Rate, Spacing};

    fn offer(count: Option<u64>) -> Offer {
        Offer::of(&Schedule {
            arrival: Arrival::Drawn {
                rate: Rate::constant(200.0, Duration::from_secs(11)),
                spacing: Spacing::Poisson,
                seed: 1,
            },
            count,
            seed: 1,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            slice: Duration::from_secs(1),
            population: None,
        })
    }

    #[test]
    fn what_is_asked_for_follows_changes_and_ends_with_the_schedule() {
        let mut offer = offer(None);
        let change = |from_s: u64, factor_ppm| RateChange {
            from_ns: from_s * 1_000_000_000,
            factor_ppm,
        };
        offer.change(&[change(4, 0), change(6, 1_500_000)]);
        for (at_ms, per_s) in [
            (500, 200.0),
            (4_000, 200.0),
            (4_500, 100.0),
            (5_500, 0.0),
            (7_500, 300.0),
            (12_100, 0.0),
        ] {
            let found = offer.per_s(Duration::from_millis(at_ms)).unwrap();
            assert!((found - per_s).abs() < 1e-6, "{at_ms} ms: {found}");
        }
        assert_eq!(offer.per_s(Duration::ZERO), None);
    }

    #[test]
    fn a_count_of_starts_ends_it_sooner() {
        let mut offer = offer(Some(500));
        let per_s = |offer: &mut Offer, s| offer.per_s(Duration::from_millis(s)).unwrap();
        assert!((per_s(&mut offer, 3_000) - 200.0).abs() < 1e-6);
        assert!((per_s(&mut offer, 4_000) - 100.0).abs() < 1e-6);
        assert!(per_s(&mut offer, 5_000).abs() < 1e-6);
    }
}
