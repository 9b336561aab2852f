//! What does a clock show that was set wrong on purpose?
//!
//! The wall clock of the broker, ahead or behind by whole seconds that can be
//! changed at any time. Monotonic time is never touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// A clock that shows another time than it is told.
pub(super) struct SkewedClock {
    clock: Arc<dyn Clock>,
    skew_s: AtomicI64,
}

impl SkewedClock {
    pub(super) fn new(clock: Arc<dyn Clock>, skew_s: i64) -> Self {
        Self {
            clock,
            skew_s: AtomicI64::new(skew_s),
        }
    }

    /// Sets the clock so many seconds ahead of the true time.
    pub(super) fn set(&self, skew_s: i64) {
        self.skew_s.store(skew_s, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn unix(&self) -> Duration {
        let skew_s = self.skew_s.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew_s.unsigned_abs());
        let now = self.clock.unix();
        if skew_s < 0 {
            now.saturating_sub(by)
        } else {
            now.saturating_add(by)
        }
    }
}
