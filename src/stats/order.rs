//! Where is a quantile of the population, whatever its distribution?
//!
//! The bounds are order statistics of the sample: the number of observations
//! below the true quantile is binomial, and nothing else is assumed but that
//! observations are independent (David and Nagaraja, *Order Statistics*,
//! section 7.1).

use super::distribution::binomial_cdf;

/// Sorts numbers in place, smallest first.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// Returns the `q`-quantile of sorted values by linear interpolation, or
/// `None` of none (type 7 of Hyndman and Fan 1996).
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let share = position - below as f64;
    Some(sorted[below] + share * (sorted[above] - sorted[below]))
}

/// Returns the quantile of values in any order; the slice is sorted.
#[must_use]
pub fn quantile_of(values: &mut [f64], q: f64) -> Option<f64> {
    sort(values);
    quantile(values, q)
}

/// Bounds the median of the population: it lies below the first and above the
/// second value each with a chance of at most `tail`.
///
/// `None` if there are too few values for bounds that sure.
#[must_use]
pub fn median_bounds(sorted: &[f64], tail: f64) -> Option<(f64, f64)> {
    quantile_bounds(sorted, 0.5, tail)
}

/// Bounds the `q`-quantile of the population, each side with a chance of at
/// most `tail` of being wrong.
///
/// `None` if there are too few values for bounds that sure.
#[must_use]
pub fn quantile_bounds(sorted: &[f64], q: f64, tail: f64) -> Option<(f64, f64)> {
    let n = sorted.len() as u64;
    // The lower bound x_(k) is wrong if fewer than k values lie below the
    // quantile, the upper one x_(j) if at least j do.
    let lower = last_where(n, |k| binomial_cdf(k - 1, n, q) <= tail)?;
    let upper = n + 1 - last_where(n, |k| binomial_cdf(k - 1, n, 1.0 - q) <= tail)?;
    let at = |rank: u64| usize::try_from(rank - 1).ok().map(|i| sorted[i]);
    Some((at(lower)?, at(upper)?))
}

/// Returns the chance of seeing so few of `values` at or below `limit` if the
/// median of the population were at most `limit` (sign test, one-sided).
#[must_use]
pub fn median_exceeds(values: &[f64], limit: f64) -> f64 {
    let below = values.iter().filter(|value| **value <= limit).count();
    binomial_cdf(below as u64, values.len() as u64, 0.5)
}

/// Returns the largest `k` in `1..=n` for which a property holds that holds
/// for no larger number once it fails.
fn last_where(n: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if n == 0 || !holds(1) {
        return None;
    }
    let (mut good, mut bad) = (1, n + 1);
    while bad - good > 1 {
        let middle = u64::midpoint(good, bad);
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Random;

    #[test]
    fn quantiles_interpolate() {
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.25), Some(1.75));
        assert_eq!(quantile(&values, 0.5), Some(3.0));
        assert_eq!(quantile(&values, 1.0), Some(8.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn median_bounds_are_the_tabulated_ranks() {
        // Tables of the sign test: n = 20 has ranks 6 and 15 at 95 %, and
        // n = 10 has ranks 2 and 9.
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(median_bounds(&values, 0.025), Some((6.0, 15.0)));
        assert_eq!(median_bounds(&values[..10], 0.025), Some((2.0, 9.0)));
        // Five values cannot be 97.5 % sure on a side: 2^-5 is 3.1 %.
        assert_eq!(median_bounds(&values[..5], 0.025), None);
        assert_eq!(median_bounds(&values[..6], 0.025), Some((1.0, 6.0)));
    }

    #[test]
    fn bounds_contain_the_quantile_as_often_as_they_say() {
        let mut random = Random::new(7);
        let (mut low, mut high) = (0, 0);
        let trials = 4_000;
        for _ in 0..trials {
            let mut values: Vec<f64> = (0..60).map(|_| random.unit()).collect();
            sort(&mut values);
            let (lower, upper) = quantile_bounds(&values, 0.9, 0.05).unwrap();
            low += u32::from(lower > 0.9);
            high += u32::from(upper < 0.9);
        }
        // Each side may err in 5 %; four standard errors are 1.4 points.
        assert!(low <= trials * 64 / 1000, "{low} of {trials}");
        assert!(high <= trials * 64 / 1000, "{high} of {trials}");
        assert!(low + high > 0, "bounds that never err are too wide");
    }

    proptest! {
        #[test]
        fn mirrored_values_have_mirrored_bounds(mut values in prop::collection::vec(-1e3_f64..1e3, 30..200)) {
            sort(&mut values);
            let mut mirror: Vec<f64> = values.iter().map(|v| -v).collect();
            sort(&mut mirror);
            let (low, high) = median_bounds(&values, 0.01).unwrap();
            prop_assert_eq!(median_bounds(&mirror, 0.01), Some((-high, -low)));
            prop_assert!(low <= quantile(&values, 0.5).unwrap());
            prop_assert!(high >= quantile(&values, 0.5).unwrap());
        }

        #[test]
        fn the_sign_test_agrees_with_the_bounds(mut values in prop::collection::vec(-1e3_f64..1e3, 30..200), limit in -1e3_f64..1e3) {
            sort(&mut values);
            let (low, _) = median_bounds(&values, 0.01).unwrap();
            prop_assert_eq!(median_exceeds(&values, limit) <= 0.01, low > limit);
        }
    }
}
