//! When does a share go to others that an agent left, and to whom?
//!
//! The moment is told a little ahead, lies between two slices, and behind all
//! that was told before.

use std::sync::Arc;
use std::time::Duration;

use super::as_ns;
use super::handover::slots_of;
use super::message::{Control, Handover};
use super::schedule::Schedule;
use crate::load::pace::{Pace, Warp};

/// How far ahead a handover is told: whoever takes a part opens connections and
/// signs ahead meanwhile, and the time from the beginning is known by beats.
const AHEAD: Duration = Duration::from_millis(2_000);

impl Control {
    /// Gives the share of `lost` to others, `elapsed` after the beginning or
    /// later, unless that was done; `false` if the measured phase ends before
    /// it can be.
    pub(super) fn hand_over(
        &mut self,
        lost: usize,
        by: &[usize],
        agents: usize,
        elapsed: Duration,
        schedule: &Schedule,
    ) -> bool {
        if self.handed_over(lost).is_some() {
            return true;
        }
        let at_ns = (as_ns(elapsed) + as_ns(AHEAD)).max(self.settled_ns());
        let from_ns = schedule.border_ns(at_ns);
        if from_ns >= as_ns(schedule.warm_up + schedule.measure) {
            return false;
        }
        let pace = Pace::of(self.changes.clone());
        self.handovers.push(Handover {
            lost,
            from_ns,
            planned_ns: Warp::of(Some(Arc::new(pace))).planned_from(from_ns),
            by: by.to_vec(),
            first: slots_of(agents, &self.handovers),
        });
        true
    }
}

impl Schedule {
    /// Returns the first moment from `at_ns` on that no slice contains, in
    /// nanoseconds from the beginning.
    fn border_ns(&self, at_ns: u64) -> u64 {
        let warm_up_ns = as_ns(self.warm_up);
        let Some(measured_ns) = at_ns.checked_sub(warm_up_ns) else {
            return at_ns;
        };
        warm_up_ns + measured_ns.next_multiple_of(as_ns(self.slice).max(1))
    }
}

#[cfg(test)]
mod tests;
