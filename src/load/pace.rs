//! When is a start due whose rate was changed while the load went on?
//!
//! The sequence of starts never changes, only the times at which they are due:
//! from a given moment on the schedule passes at so many times its own speed,
//! and not at all during a pause. Changes are appended and never taken back,
//! and none moves a start that was due before it. Whoever knows the same changes
//! computes the same times to the nanosecond, in whole numbers: an agent of a
//! fleet, and the coordinator that counts what was due.
//!
//! It does not say how changes are heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::record::RateChange;

/// The due time of a start that a pause holds back.
pub(super) const NEVER: u64 = u64::MAX;

/// A factor of one, in millionths.
const ONE: u64 = 1_000_000;

/// The changes of a load's rate so far, for all of its threads.
#[derive(Debug, Default)]
pub struct Pace {
    changes: RwLock<Vec<RateChange>>,
    /// How many there are: what a thread looks at before each start.
    known: AtomicUsize,
    late_ns: AtomicU64,
}

impl Pace {
    /// Makes a pace of changes that are all known.
    #[must_use]
    pub fn of(changes: Vec<RateChange>) -> Self {
        Self {
            known: changes.len().into(),
            changes: changes.into(),
            late_ns: AtomicU64::new(0),
        }
    }

    /// Takes what `all` has beyond the known changes, `now_ns` after the
    /// beginning of the schedule.
    pub fn hear(&self, all: &[RateChange], now_ns: u64) {
        let mut changes = self.changes.write();
        let Some(new) = all.get(changes.len()..).filter(|new| !new.is_empty()) else {
            return;
        };
        for change in new {
            let late_ns = now_ns.saturating_sub(change.from_ns);
            self.late_ns.fetch_max(late_ns, Ordering::Relaxed);
        }
        changes.extend_from_slice(new);
        self.known.store(changes.len(), Ordering::Release);
    }

    /// Returns the changes in order.
    #[must_use]
    pub fn changes(&self) -> Vec<RateChange> {
        self.changes.read().clone()
    }

    /// Returns how long after it should have taken effect a change was heard
    /// of, at most, in nanoseconds; 0 if each was in time.
    #[must_use]
    pub fn late_ns(&self) -> u64 {
        self.late_ns.load(Ordering::Relaxed)
    }
}

/// One thread's view of a pace.
#[derive(Clone)]
pub struct Warp {
    pace: Option<Arc<Pace>>,
    known: usize,
    stretches: Vec<Stretch>,
}

/// A stretch of the schedule that passes at one speed.
#[derive(Clone, Copy)]
struct Stretch {
    from_ns: u64,
    /// How much of the schedule has passed by then.
    planned_ns: u64,
    factor_ppm: u64,
}

impl Stretch {
    /// Returns how much of the schedule has passed by a moment of the stretch.
    fn passed_ns(self, at_ns: u64) -> u64 {
        let inside = u128::from(at_ns.saturating_sub(self.from_ns));
        let passed = inside * u128::from(self.factor_ppm) / u128::from(ONE);
        self.planned_ns
            .saturating_add(u64::try_from(passed).unwrap_or(NEVER))
    }
}

impl Warp {
    /// Makes a view of a pace; without one the schedule passes as planned.
    #[must_use]
    pub fn of(pace: Option<Arc<Pace>>) -> Self {
        Self {
            pace,
            known: 0,
            stretches: vec![Stretch {
                from_ns: 0,
                planned_ns: 0,
                factor_ppm: ONE,
            }],
        }
    }

    /// Can the rate be changed?
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.pace.is_some()
    }

    /// Returns when a start is due that the schedule has at `planned_ns`, in
    /// nanoseconds from the beginning; the highest number if a pause holds it
    /// back.
    pub fn due_ns(&mut self, planned_ns: u64) -> u64 {
        if let Some(pace) = &self.pace
            && pace.known.load(Ordering::Acquire) != self.known
        {
            self.learn();
        }
        // The last stretch that begins before it: what is due at the very
        // moment of a change is not moved by it.
        let after = self
            .stretches
            .partition_point(|stretch| stretch.planned_ns < planned_ns);
        let stretch = self.stretches[after.saturating_sub(1)];
        let inside = u128::from(planned_ns - stretch.planned_ns) * u128::from(ONE);
        match stretch.factor_ppm {
            _ if inside == 0 => stretch.from_ns,
            0 => NEVER,
            factor_ppm => u64::try_from(inside.div_ceil(factor_ppm.into()))
                .map_or(NEVER, |inside| stretch.from_ns.saturating_add(inside)),
        }
    }

    /// Returns how much of the schedule has passed so long after the beginning:
    /// the inverse of [`Self::due_ns`], rounded down.
    pub fn passed(&mut self, after: Duration) -> Duration {
        self.learn();
        let at_ns = u64::try_from(after.as_nanos()).unwrap_or(NEVER);
        let next = self
            .stretches
            .partition_point(|stretch| stretch.from_ns <= at_ns);
        let stretch = self.stretches[next.saturating_sub(1)];
        Duration::from_nanos(stretch.passed_ns(at_ns))
    }

    /// Returns the earliest time of the schedule as planned that is due
    /// `from_ns` after the beginning or later, by the changes known so far.
    /// Changes from `from_ns` on move no start over this border.
    pub fn planned_from(&mut self, from_ns: u64) -> u64 {
        // Due times never go back, so that halving finds the border.
        let (mut below, mut above) = (0, u64::MAX);
        while below < above {
            let middle = below.midpoint(above);
            if self.due_ns(middle) >= from_ns {
                above = middle;
            } else {
                below = middle + 1;
            }
        }
        above
    }

    fn learn(&mut self) {
        let Some(pace) = &self.pace else { return };
        let changes = pace.changes.read();
        for change in &changes[self.known..] {
            let last = self.stretches[self.stretches.len() - 1];
            let from_ns = change.from_ns.max(last.from_ns);
            self.stretches.push(Stretch {
                from_ns,
                planned_ns: last.passed_ns(from_ns),
                factor_ppm: change.factor_ppm,
            });
        }
        self.known = changes.len();
    }
}

#[cfg(test)]
mod tests;
