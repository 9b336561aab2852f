//! How many durations lie below each of a few bounds?
//!
//! The shape in which monitoring systems take histograms ("classic" ones): a
//! handful of cumulative counts. The bounds are the same everywhere in this
//! crate, so that counts of machines and processes add up. Two ways to get
//! there: from a histogram with three digits ([`Buckets::add`]), exactly as
//! far as that tells durations apart, and one by one from many threads
//! ([`SharedBuckets`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Histogram;

/// The number of bounds.
pub const BOUNDS: usize = 47;

/// The upper bounds in nanoseconds, each of them inclusive: from a microsecond,
/// what a kept token takes, to a minute, beyond which nobody waits. Neighbours
/// differ by two thirds at most, but for the last two, so that a quantile read off
/// them is at most so far off.
pub const BOUNDS_NS: [u64; BOUNDS] = bounds();

const fn bounds() -> [u64; BOUNDS] {
    // Tenths of a power of ten; the last decade ends with a minute.
    let mantissas = [10, 15, 20, 30, 50, 70];
    let mut bounds = [60_000_000_000; BOUNDS];
    let mut power = 100;
    let mut at = 0;
    while at < BOUNDS - 1 {
        bounds[at] = mantissas[at % mantissas.len()] * power;
        at += 1;
        if at.is_multiple_of(mantissas.len()) {
            power *= 10;
        }
    }
    bounds
}

/// Counts of durations by the bound that they do not exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// How many durations lie above the bound before and not above this one;
    /// the last are above all bounds.
    counts: [u64; BOUNDS + 1],
    sum_ns: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            counts: [0; BOUNDS + 1],
            sum_ns: 0,
        }
    }
}

impl Buckets {
    /// Adds what a histogram counted.
    ///
    /// A histogram keeps durations within 0.1 % of each other as one; those
    /// that it cannot tell from a bound count as below it. That is what
    /// [`Histogram::count_above`] does too, so that a bucket and an objective
    /// never disagree about a request. The sum is right to 0.05 %.
    pub fn add(&mut self, histogram: &Histogram) {
        if histogram.count() == 0 {
            return;
        }
        let inner = histogram.inner();
        let mut sum = 0;
        for step in inner.iter_recorded() {
            let value = step.value_iterated_to();
            let at = place_of(inner.lowest_equivalent(value));
            self.counts[at] += step.count_at_value();
            let middle = inner.median_equivalent(value);
            sum += u128::from(middle) * u128::from(step.count_at_value());
        }
        self.sum_ns = self
            .sum_ns
            .saturating_add(u64::try_from(sum).unwrap_or(u64::MAX));
    }

    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Returns the upper bounds, ascending, and how many durations lie between
    /// each and the one before. The last has no bound.
    pub fn parts(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS_NS
            .iter()
            .map(|ns| Some(Duration::from_nanos(*ns)))
            .chain([None]);
        bounds.zip(self.counts)
    }
}

/// Counts that any thread adds to without a lock.
#[derive(Debug)]
pub struct SharedBuckets {
    counts: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl Default for SharedBuckets {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BOUNDS + 1],
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl SharedBuckets {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[place_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Reads the counts. A reading is not one instant's, but each count only
    /// grows.
    #[must_use]
    pub fn read(&self) -> Buckets {
        Buckets {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

/// Finds the first bound that is not below `ns`.
fn place_of(ns: u64) -> usize {
    BOUNDS_NS.partition_point(|bound| *bound < ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_by_two_thirds_at_most_up_to_a_minute() {
        assert_eq!(BOUNDS_NS[0], 1_000);
        assert_eq!(BOUNDS_NS[BOUNDS - 1], 60_000_000_000);
        assert!(BOUNDS_NS.contains(&50_000_000), "50 ms, a usual objective");
        for pair in BOUNDS_NS[..BOUNDS - 1].windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
            assert!(pair[1] as f64 / pair[0] as f64 <= 1.67, "{pair:?}");
        }
    }

    #[test]
    fn each_bucket_of_a_histogram_agrees_with_what_an_objective_counts() {
        let mut histogram = Histogram::new();
        let mut ns: u64 = 1;
        for _ in 0..50_000 {
            ns = ns
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // From nanoseconds to two minutes, evenly in the logarithm.
            let exponent = (ns >> 32) as f64 / f64::from(u32::MAX) * 11.1;
            histogram.record(Duration::from_secs_f64(10_f64.powf(exponent) / 1e9));
        }
        for bound in BOUNDS_NS {
            histogram.record_ns(bound);
        }
        let mut buckets = Buckets::default();
        buckets.add(&histogram);
        assert_eq!(buckets.count(), histogram.count());
        let mut below = 0;
        for (bound, count) in buckets.parts() {
            below += count;
            if let Some(bound) = bound {
                let above = histogram.count_above(bound);
                assert_eq!(below, histogram.count() - above, "{bound:?}");
            }
        }
        let mean = histogram.mean().unwrap().as_secs_f64();
        let sum = buckets.sum().as_secs_f64();
        assert!((sum / (mean * buckets.count() as f64) - 1.0).abs() < 0.001);
    }

    #[test]
    fn counting_one_by_one_fills_the_bucket_whose_bound_is_not_exceeded() {
        let shared = SharedBuckets::default();
        for ns in [1, 1_000, 1_001, 50_000_000, 50_000_001, 61_000_000_000] {
            shared.observe(Duration::from_nanos(ns));
        }
        let buckets = shared.read();
        let filled: Vec<_> = buckets.parts().filter(|(_, count)| *count > 0).collect();
        let ns = |ns| Some(Duration::from_nanos(ns));
        assert_eq!(
            filled,
            [
                (ns(1_000), 2),
                (ns(1_500), 1),
                (ns(50_000_000), 1),
                (ns(70_000_000), 1),
                (None, 1)
            ]
        );
        assert_eq!(buckets.count(), 6);
        assert_eq!(buckets.sum(), Duration::from_nanos(61_100_002_003));
    }
}
