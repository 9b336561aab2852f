//! Where is a mean, and a ratio of means, of the population?

use super::distribution::{student_quantile, student_upper};

/// The count, mean and spread of some numbers, gathered in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds a number (Welford 1962: no loss by cancellation).
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    /// Returns how many numbers were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean, or 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the standard deviation of the population, estimated with
    /// `count - 1`; 0 of fewer than two numbers.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        (self.squares / (self.count - 1) as f64).sqrt()
    }

    /// Returns the standard error of the mean of independent numbers.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        self.deviation() / (self.count as f64).sqrt()
    }

    /// Bounds the mean of the population, each side with a chance of `tail`
    /// of being wrong; `None` of fewer than two numbers.
    ///
    /// Student's bounds: exact for normal numbers, and good for others when
    /// there are a hundred of them.
    #[must_use]
    pub fn bounds(&self, tail: f64) -> Option<(f64, f64)> {
        if self.count < 2 {
            return None;
        }
        let half = student_quantile(tail, (self.count - 1) as f64) * self.standard_error();
        Some((self.mean - half, self.mean + half))
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        for value in values {
            moments.add(value);
        }
        moments
    }
}

/// The logarithm of a ratio of two means that were measured in pairs.
///
/// The ratio is that of the sums, so that a rare expensive operation counts
/// in full; the mean of logarithms would hide half a point of a slowdown that
/// triples one operation in fifty. Its error is that of the residuals
/// (Cochran, *Sampling Techniques*, section 6.4), which pairing makes small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogRatio {
    /// ln(sum of the second numbers / sum of the first numbers).
    pub value: f64,
    /// The standard error of `value`.
    pub standard_error: f64,
    /// Degrees of freedom: pairs minus one.
    pub df: f64,
}

impl LogRatio {
    /// Estimates from pairs of positive numbers; `None` of fewer than two.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let n = pairs.len() as f64;
        if pairs.len() < 2 {
            return None;
        }
        let (first, second) = pairs
            .iter()
            .fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        if first <= 0.0 || second <= 0.0 {
            return None;
        }
        let ratio = second / first;
        let squares: f64 = pairs
            .iter()
            .map(|(a, b)| (b - ratio * a).powi(2))
            .sum::<f64>();
        let error = (squares / (n * (n - 1.0))).sqrt() / (second / n);
        Some(Self {
            value: ratio.ln(),
            standard_error: error,
            df: n - 1.0,
        })
    }

    /// Bounds the logarithm, each side with a chance of `tail` of being wrong.
    #[must_use]
    pub fn bounds(&self, tail: f64) -> (f64, f64) {
        let half = student_quantile(tail, self.df) * self.standard_error;
        (self.value - half, self.value + half)
    }

    /// Returns the chance of an estimate this high if the true logarithm were
    /// at most `limit` (one-sided t test).
    #[must_use]
    pub fn exceeds(&self, limit: f64) -> f64 {
        if self.standard_error > 0.0 {
            student_upper((self.value - limit) / self.standard_error, self.df)
        } else if self.value > limit {
            0.0
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Random;

    #[test]
    fn moments_are_those_of_the_definition() {
        let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
            .into_iter()
            .collect();
        assert!((moments.mean() - 5.0).abs() < 1e-12);
        assert!((moments.deviation() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        let (low, high) = moments.bounds(0.025).unwrap();
        // t(0.975, 7) = 2.364624; the error is 2.13809 / sqrt(8).
        assert!((high - low - 2.0 * 2.364_624 * 0.755_929).abs() < 1e-5);
    }

    #[test]
    fn t_bounds_contain_the_mean_as_often_as_they_say() {
        let mut random = Random::new(11);
        let trials = 4_000;
        let missed = (0..trials)
            .filter(|_| {
                let moments: Moments = (0..12).map(|_| random.normal()).collect();
                let (low, high) = moments.bounds(0.025).unwrap();
                low > 0.0 || high < 0.0
            })
            .count();
        // 5 % are expected; four standard errors are 1.4 points.
        assert!((144..=256).contains(&missed), "{missed} of {trials}");
    }

    #[test]
    fn a_ratio_of_sums_counts_a_rare_slow_operation_in_full() {
        let mut pairs = vec![(1.0, 1.0); 98];
        pairs.extend([(1.0, 3.0); 2]);
        let ratio = LogRatio::of(&pairs).unwrap();
        assert!((ratio.value.exp() - 1.04).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn swapping_the_arms_mirrors_the_ratio(pairs in prop::collection::vec((0.5_f64..2.0, 0.5_f64..2.0), 5..80)) {
            let swapped: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let (there, back) = (LogRatio::of(&pairs).unwrap(), LogRatio::of(&swapped).unwrap());
            prop_assert!((there.value + back.value).abs() < 1e-12);
            prop_assert!((there.standard_error - back.standard_error).abs() < 1e-12);
        }

        #[test]
        fn the_unit_does_not_matter(pairs in prop::collection::vec((0.5_f64..2.0, 0.5_f64..2.0), 5..80), unit in 1e-6_f64..1e6) {
            let scaled: Vec<_> = pairs.iter().map(|(a, b)| (a * unit, b * unit)).collect();
            let (plain, scaled) = (LogRatio::of(&pairs).unwrap(), LogRatio::of(&scaled).unwrap());
            prop_assert!((plain.value - scaled.value).abs() < 1e-9);
            prop_assert!((plain.standard_error - scaled.standard_error).abs() < 1e-9);
        }
    }
}
