//! Does this request fit under the rate limit, and if not, when will one?
//!
//! The generic cell rate algorithm on one atomic word: a limit costs a
//! request one compare-and-swap, and no limit costs nothing. It limits the
//! broker as a whole; who sent the request makes no difference.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rate limit, after which the broker answers 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The requests that are let through in a second, in the long run.
    pub per_s: NonZeroU32,
    /// How many requests may come at once after a pause.
    pub burst: NonZeroU32,
}

/// Enforces a [`RateLimit`]; all of its times are in nanoseconds.
pub struct Throttle {
    limit: RateLimit,
    /// Between two requests that come evenly.
    interval: u64,
    /// How much a request may come before it is due.
    tolerance: u64,
    /// The monotonic time at which the next request is due.
    due: AtomicU64,
}

impl Throttle {
    /// Makes a throttle that has been idle so far.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        let interval = 1_000_000_000 / u64::from(limit.per_s.get());
        Self {
            limit,
            interval,
            tolerance: interval * u64::from(limit.burst.get() - 1),
            due: AtomicU64::new(0),
        }
    }

    /// Returns the limit that it enforces.
    #[must_use]
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Lets a request through, or says how long to wait for the next place.
    ///
    /// # Errors
    ///
    /// The time from `now`, which is monotonic, until a request fits.
    pub fn admit(&self, now: Duration) -> Result<(), Duration> {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let next = |due: u64| {
            let due = due.max(now_ns);
            (due - now_ns <= self.tolerance).then(|| due.saturating_add(self.interval))
        };
        self.due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map(|_| ())
            .map_err(|due| {
                Duration::from_nanos(due.saturating_sub(now_ns.saturating_add(self.tolerance)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(per_s: u32, burst: u32) -> Throttle {
        Throttle::new(RateLimit {
            per_s: NonZeroU32::new(per_s).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_turn() {
        let throttle = throttle(10, 3);
        let now = Duration::from_secs(5);
        for _ in 0..3 {
            assert_eq!(throttle.admit(now), Ok(()));
        }
        assert_eq!(throttle.admit(now), Err(Duration::from_millis(100)));
        let later = now + Duration::from_millis(100);
        assert_eq!(throttle.admit(later), Ok(()));
        assert_eq!(throttle.admit(later), Err(Duration::from_millis(100)));
    }

    #[test]
    fn the_rate_holds_in_the_long_run() {
        let throttle = throttle(10, 3);
        let passed = (0..10_000)
            .filter(|tick| throttle.admit(Duration::from_millis(*tick)).is_ok())
            .count();
        assert_eq!(passed, 100 + 2);
    }
}
