//! By how much do two loads differ that were cut into slices?
//!
//! Requests of one moment share a queue, so that a thousand of them say little
//! more than one; what may be drawn again is a slice of time, never a request.
//! Slices of both sides that met the same arrivals are drawn together, so that
//! what the arrivals did cancels. Whatever dependence neighbouring slices have
//! left widens the bounds.

use serde::{Deserialize, Serialize};

use super::Random;
use super::distribution::student_quantile;
use super::mean::{LogRatio, Moments};
use super::paired::Estimate;
use super::serial::lag1;

/// How often the slices are drawn again. The error of a bound from that is
/// 1 / √(2 · 400), less than 4 % of its distance; four times as many would
/// halve it.
const RESAMPLES: usize = 400;

/// The relative width of a bin: quantiles are interpolated within.
const BIN: f64 = 0.005;

/// How many requests must lie beyond a quantile for it to be told at all.
const LEAST_BEYOND: f64 = 100.0;

/// What happened to the requests of one slice on one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Requests that were due.
    pub due: u64,
    /// Times of those that ended well, with how many took each.
    pub times: Vec<(u64, u64)>,
}

impl Slice {
    /// Adds what happened in another slice.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.times.extend_from_slice(&other.times);
    }

    fn good(&self) -> u64 {
        self.times.iter().map(|(_, count)| count).sum()
    }
}

/// Slices of two sides, baseline first, that belong together one by one.
#[derive(Clone, Debug)]
pub struct Sliced {
    len: usize,
    first_bin: i64,
    bins: usize,
    /// For each side, how many took at most so long: by bin, then by slice, so
    /// that a search reads neighbours.
    at_most: [Vec<u32>; 2],
    due: Vec<(f64, f64)>,
    good: Vec<(f64, f64)>,
}

#[allow(clippy::cast_possible_truncation)] // Times have at most 64 bits.
fn bin_of(time: u64) -> i64 {
    ((time.max(1) as f64).ln() / BIN).floor() as i64
}

impl Sliced {
    /// Gathers pairs of slices.
    #[must_use]
    pub fn new(pairs: &[[Slice; 2]]) -> Self {
        let times = || pairs.iter().flatten().flat_map(|slice| &slice.times);
        let first_bin = times().map(|(time, _)| bin_of(*time)).min().unwrap_or(0);
        let last_bin = times().map(|(time, _)| bin_of(*time)).max().unwrap_or(0);
        let bins = usize::try_from(last_bin - first_bin + 1).unwrap_or(1);
        let len = pairs.len();
        let at_most = [0, 1].map(|side| {
            let mut counts = vec![0_u32; bins * len];
            for (unit, pair) in pairs.iter().enumerate() {
                for (time, count) in &pair[side].times {
                    let bin = usize::try_from(bin_of(*time) - first_bin).unwrap_or(0);
                    counts[bin * len + unit] += u32::try_from(*count).unwrap_or(u32::MAX);
                }
            }
            for at in len..counts.len() {
                counts[at] += counts[at - len];
            }
            counts
        });
        let both = |of: fn(&Slice) -> u64| {
            pairs
                .iter()
                .map(|[a, b]| (of(a) as f64, of(b) as f64))
                .collect()
        };
        Self {
            len,
            first_bin,
            bins,
            at_most,
            due: both(|slice| slice.due),
            good: both(Slice::good),
        }
    }

    /// Returns the number of pairs of slices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there no slice?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the time below which a share `q` of what ended well on a side
    /// lies, in the unit of the times; `None` if fewer than a hundred lie
    /// beyond.
    #[must_use]
    pub fn quantile(&self, side: usize, q: f64) -> Option<f64> {
        let ones = vec![1.0; self.len];
        let total = self.total(side, &ones);
        (total * (1.0 - q).min(q) >= LEAST_BEYOND).then(|| self.log_quantile(side, q, &ones).exp())
    }

    /// Returns the share of what was due on a side that did not end well.
    #[must_use]
    pub fn failed_share(&self, side: usize) -> f64 {
        let sum = |of: &[(f64, f64)]| -> f64 { of.iter().map(|both| pick(both, side)).sum() };
        1.0 - sum(&self.good) / sum(&self.due).max(1.0)
    }

    /// Returns the mean number that ended well in a slice of a side.
    #[must_use]
    pub fn good_per_slice(&self, side: usize) -> f64 {
        let sum: f64 = self.good.iter().map(|both| pick(both, side)).sum();
        sum / self.len.max(1) as f64
    }

    /// Estimates the change of a quantile, with a chance of `tail` of being
    /// wrong on either side; `None` of fewer than three slices, or if fewer
    /// than a hundred lie beyond the quantile on a side.
    #[must_use]
    pub fn change(&self, q: f64, tail: f64, seed: u64) -> Option<Estimate> {
        let a = self.quantile(0, q)?.ln();
        let b = self.quantile(1, q)?.ln();
        if self.len < 3 {
            return None;
        }
        let mut random = Random::new(seed);
        let mut drawn = Moments::default();
        let mut weights = vec![0.0; self.len];
        for _ in 0..RESAMPLES {
            weights.fill(0.0);
            for _ in 0..self.len {
                weights[random.below(self.len)] += 1.0;
            }
            let ratio = self.log_quantile(1, q, &weights) - self.log_quantile(0, q, &weights);
            drawn.add(ratio);
        }
        let half = student_quantile(tail, (self.len - 1) as f64)
            * drawn.deviation()
            * self.widening(q, a, b);
        let log_ratio = b - a;
        Some(Estimate {
            log_ratio,
            lower: log_ratio - half,
            upper: log_ratio + half,
        })
    }

    /// Estimates the change of the number that ended well, by the ratio of
    /// the sums; `None` of fewer than two slices, or if nothing ended well on
    /// either side. A side on which nothing did counts as half a request.
    #[must_use]
    pub fn goodput_change(&self, tail: f64) -> Option<Estimate> {
        if let Some(ratio) = LogRatio::of(&self.good) {
            let (lower, upper) = ratio.bounds(tail);
            return Some(Estimate {
                log_ratio: ratio.value,
                lower,
                upper,
            });
        }
        let sum = |side| self.good_per_slice(side) * self.len as f64;
        let (a, b) = (sum(0), sum(1));
        (self.len > 1 && a + b > 0.0).then(|| {
            let log_ratio = (b.max(0.5) / a.max(0.5)).ln();
            Estimate {
                log_ratio,
                lower: log_ratio,
                upper: log_ratio,
            }
        })
    }

    /// How much wider bounds are for the dependence of neighbouring slices: by
    /// what each adds to the difference of the shares beyond the quantiles.
    fn widening(&self, q: f64, a: f64, b: f64) -> f64 {
        let beyond: Vec<f64> = (0..self.len)
            .map(|unit| {
                let of = |side: usize, at: f64| {
                    let good = pick(&self.good[unit], side);
                    let below = self.at_most_of(side, self.bin(at), unit);
                    (good - below) - (1.0 - q) * good
                };
                of(1, b) - of(0, a)
            })
            .collect();
        let r = lag1(&beyond).clamp(0.0, 0.9);
        ((1.0 + r) / (1.0 - r)).sqrt()
    }

    #[allow(clippy::cast_possible_truncation)] // A logarithm of 64 bits is small.
    fn bin(&self, log_time: f64) -> usize {
        let bin = (log_time / BIN).floor() as i64 - self.first_bin;
        usize::try_from(bin).unwrap_or(0).min(self.bins - 1)
    }

    fn at_most_of(&self, side: usize, bin: usize, unit: usize) -> f64 {
        f64::from(self.at_most[side][bin * self.len + unit])
    }

    fn sum_at_most(&self, side: usize, bin: usize, weights: &[f64]) -> f64 {
        let row = &self.at_most[side][bin * self.len..(bin + 1) * self.len];
        row.iter()
            .zip(weights)
            .map(|(count, weight)| f64::from(*count) * weight)
            .sum()
    }

    fn total(&self, side: usize, weights: &[f64]) -> f64 {
        self.good
            .iter()
            .zip(weights)
            .map(|(both, weight)| pick(both, side) * weight)
            .sum()
    }

    /// Finds a quantile of weighted slices as a logarithm.
    fn log_quantile(&self, side: usize, q: f64, weights: &[f64]) -> f64 {
        let wanted = q * self.total(side, weights);
        let (mut low, mut high) = (0, self.bins - 1);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.sum_at_most(side, middle, weights) >= wanted {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let upto = self.sum_at_most(side, low, weights);
        let before = match low {
            0 => 0.0,
            _ => self.sum_at_most(side, low - 1, weights),
        };
        let within = if upto > before {
            ((wanted - before) / (upto - before)).clamp(0.0, 1.0)
        } else {
            1.0
        };
        (self.first_bin as f64 + low as f64 + within) * BIN
    }
}

fn pick(both: &(f64, f64), side: usize) -> f64 {
    if side == 0 { both.0 } else { both.1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slice of exponential times with a mean of `mean_ns`.
    fn slice(random: &mut Random, mean_ns: f64, count: usize) -> Slice {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let mut times: Vec<u64> = (0..count)
            .map(|_| (-(1.0 - random.unit()).ln() * mean_ns) as u64)
            .collect();
        times.sort_unstable();
        Slice {
            due: count as u64,
            times: times.into_iter().map(|time| (time, 1)).collect(),
        }
    }

    fn pairs(seed: u64, factor: f64, count: usize) -> Vec<[Slice; 2]> {
        let mut random = Random::new(seed);
        (0..count)
            .map(|_| {
                [
                    slice(&mut random, 1e6, 1_000),
                    slice(&mut random, factor * 1e6, 1_000),
                ]
            })
            .collect()
    }

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let sliced = Sliced::new(&pairs(1, 2.0, 200));
        for (side, mean) in [(0, 1e6), (1, 2e6)] {
            for (q, expected) in [(0.5, 2.0_f64.ln()), (0.99, 100.0_f64.ln())] {
                let found = sliced.quantile(side, q).unwrap() / mean;
                assert!((found / expected - 1.0).abs() < 0.02, "{side} {q}: {found}");
            }
        }
        // A thousand requests have ten beyond the 99th percentile.
        assert!(Sliced::new(&pairs(1, 1.0, 1)).quantile(0, 0.99).is_none());
    }

    #[test]
    fn bounds_miss_the_truth_about_as_often_as_they_say() {
        let tail = 0.05;
        let mut missed = 0;
        for seed in 0..400 {
            let sliced = Sliced::new(&pairs(seed, 1.2, 30));
            let found = sliced.change(0.5, tail, seed).unwrap();
            let truth = 1.2_f64.ln();
            missed += usize::from(found.lower > truth || found.upper < truth);
        }
        // 10 % on both sides together; four standard errors are 6 points.
        assert!((16..=64).contains(&missed), "{missed} of 400");
    }

    #[test]
    fn swapping_the_sides_mirrors_the_estimate() {
        let forth = pairs(3, 1.1, 40);
        let back: Vec<_> = forth.iter().cloned().map(|[a, b]| [b, a]).collect();
        let (forth, back) = (Sliced::new(&forth), Sliced::new(&back));
        let one = forth.change(0.9, 0.01, 7).unwrap().mirrored();
        let other = back.change(0.9, 0.01, 7).unwrap();
        assert!((one.log_ratio - other.log_ratio).abs() < 1e-9);
        assert!((one.lower - other.lower).abs() < 1e-9);
    }

    #[test]
    fn slices_that_depend_on_each_other_widen_the_bounds() {
        let independent = pairs(4, 1.0, 60);
        let mut depending = Vec::new();
        for pair in independent.chunks(2) {
            depending.extend([pair[0].clone(), pair[0].clone()]);
        }
        let width = |pairs: &[[Slice; 2]]| {
            let found = Sliced::new(pairs).change(0.5, 0.01, 1).unwrap();
            found.upper - found.lower
        };
        assert!(width(&depending) > 1.2 * width(&independent));
    }

    #[test]
    fn requests_that_failed_lower_the_goodput() {
        let mut pairs = pairs(5, 1.0, 40);
        for pair in &mut pairs {
            pair[1].times.truncate(950);
        }
        let sliced = Sliced::new(&pairs);
        let found = sliced.goodput_change(0.001).unwrap();
        assert!((found.change() + 0.05).abs() < 1e-9, "{found:?}");
        assert!((sliced.failed_share(1) - 0.05).abs() < 1e-9);
        assert!(sliced.failed_share(0).abs() < 1e-9);
        for pair in &mut pairs {
            pair[1].times.clear();
        }
        let nothing = Sliced::new(&pairs).goodput_change(0.001).unwrap();
        assert!(nothing.upper < -10.0, "{nothing:?}");
    }
}
