//! Did the candidate become slower than the baseline, measured in pairs?
//!
//! Two channels are judged. The *floor* channel compares the lower quartiles
//! of short blocks and sees a change of every operation, down to a fraction
//! of a percent, through the noise of a shared machine. It is blind to a
//! slowdown of few operations; the *mean* channel sees those, with wider
//! bounds. All effects are logarithms of candidate over baseline times, so
//! that swapping the arms only changes the sign.

use serde::{Deserialize, Serialize};

use super::mean::LogRatio;
use super::order;

/// The statistics that [`Comparison`] judges.
pub const CHANNELS: usize = 2;

/// A logarithm of a ratio of times, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// ln(candidate time / baseline time).
    pub log_ratio: f64,
    /// The lower bound of `log_ratio`.
    pub lower: f64,
    /// The upper bound of `log_ratio`.
    pub upper: f64,
}

impl Estimate {
    /// Returns the relative change of time: 0.03 is 3 % slower.
    #[must_use]
    pub fn change(&self) -> f64 {
        self.log_ratio.exp_m1()
    }

    /// Returns half of the width of the interval, as a relative change.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        ((self.upper - self.lower) / 2.0).exp_m1()
    }

    /// Returns the estimate for the arms swapped.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Self {
            log_ratio: -self.log_ratio,
            lower: -self.upper,
            upper: -self.lower,
        }
    }
}

/// The smallest changes worth a verdict, as relative changes of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Of the floor channel.
    pub floor: f64,
    /// Of the mean channel.
    pub mean: f64,
}

impl Default for Tolerance {
    /// One percent in both channels.
    ///
    /// Smaller than what layout and compiler luck do to unchanged code, a
    /// third of what must be found in eight seconds. Twice as much in the
    /// mean channel saves time and misses one rare slowdown in four.
    fn default() -> Self {
        Self {
            floor: 0.01,
            mean: 0.01,
        }
    }
}

/// What a comparison found about the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Slower than the baseline by more than the tolerance.
    Regressed,
    /// Faster than the baseline by more than the tolerance.
    Improved,
    /// Within the tolerance on both sides.
    Unchanged,
    /// The bounds are too wide to say.
    Inconclusive,
}

impl Verdict {
    /// Returns the verdict for the arms swapped.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Regressed => Self::Improved,
            Self::Improved => Self::Regressed,
            other => other,
        }
    }
}

/// The paired figures of two arms, one entry for each quad of blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// ln(candidate floor / baseline floor) of each quad.
    floor_log_ratio: Vec<f64>,
    /// Mean times of the baseline and the candidate in each quad, in ns.
    mean_ns: Vec<(f64, f64)>,
}

/// The four blocks of a quad, two of each arm, as times per operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quad {
    /// The lower quartiles of the two blocks of baseline and candidate.
    pub floor_ns: [[f64; 2]; 2],
    /// The means of the two blocks of baseline and candidate.
    pub mean_ns: [[f64; 2]; 2],
}

impl Comparison {
    /// Adds a quad.
    pub fn add(&mut self, quad: &Quad) {
        let [baseline, candidate] = quad.floor_ns.map(|two| two[0].ln() + two[1].ln());
        self.floor_log_ratio.push((candidate - baseline) / 2.0);
        let [baseline, candidate] = quad.mean_ns.map(|two| f64::midpoint(two[0], two[1]));
        self.mean_ns.push((baseline, candidate));
    }

    /// Returns the number of quads.
    #[must_use]
    pub fn len(&self) -> usize {
        self.floor_log_ratio.len()
    }

    /// Is there no quad yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floor_log_ratio.is_empty()
    }

    /// Returns the floor channel's logarithms, in the order of measurement.
    #[must_use]
    pub fn floor_log_ratios(&self) -> &[f64] {
        &self.floor_log_ratio
    }

    /// Returns the mean channel's logarithms, in the order of measurement.
    #[must_use]
    pub fn mean_log_ratios(&self) -> Vec<f64> {
        self.mean_ns.iter().map(|(a, b)| (b / a).ln()).collect()
    }

    /// Estimates the floor channel: the median quad, bounded by order
    /// statistics; `None` of too few quads for bounds that sure.
    #[must_use]
    pub fn floor(&self, tail: f64) -> Option<Estimate> {
        let mut sorted = self.floor_log_ratio.clone();
        order::sort(&mut sorted);
        let (lower, upper) = order::median_bounds(&sorted, tail)?;
        Some(Estimate {
            log_ratio: order::quantile(&sorted, 0.5)?,
            lower,
            upper,
        })
    }

    /// Estimates the mean channel: the ratio of the means, bounded by t;
    /// `None` of fewer than two quads.
    #[must_use]
    pub fn mean(&self, tail: f64) -> Option<Estimate> {
        let ratio = LogRatio::of(&self.mean_ns)?;
        let (lower, upper) = ratio.bounds(tail);
        Some(Estimate {
            log_ratio: ratio.value,
            lower,
            upper,
        })
    }

    /// Judges both channels, each side of each with a chance of `tail` of
    /// being wrong.
    #[must_use]
    pub fn verdict(&self, tolerance: Tolerance, tail: f64) -> Verdict {
        match (self.floor(tail), self.mean(tail)) {
            (Some(floor), Some(mean)) => judge(&floor, &mean, tolerance),
            _ => Verdict::Inconclusive,
        }
    }

    /// Returns the chances of data this extreme if the candidate were at most
    /// the tolerance slower, and if it were at most the tolerance faster.
    ///
    /// Both channels are used and paid for.
    #[must_use]
    pub fn p_values(&self, tolerance: Tolerance) -> (f64, f64) {
        let Some(mean) = LogRatio::of(&self.mean_ns) else {
            return (1.0, 1.0);
        };
        let faster = LogRatio {
            value: -mean.value,
            ..mean
        };
        let mirrored: Vec<f64> = self.floor_log_ratio.iter().map(|d| -d).collect();
        let shared = |a: f64, b: f64| (CHANNELS as f64 * a.min(b)).min(1.0);
        let (floor_limit, mean_limit) = tolerance.log();
        (
            shared(
                order::median_exceeds(&self.floor_log_ratio, floor_limit),
                mean.exceeds(mean_limit),
            ),
            shared(
                order::median_exceeds(&mirrored, floor_limit),
                faster.exceeds(mean_limit),
            ),
        )
    }
}

impl Tolerance {
    /// Returns the limits as logarithms of ratios.
    fn log(self) -> (f64, f64) {
        (self.floor.ln_1p(), self.mean.ln_1p())
    }
}

/// Turns the bounds of both channels into a verdict.
///
/// A regression in either channel is one, even if the other improved: a floor
/// that fell does not make up for a mean that rose. Otherwise swapping the
/// arms mirrors the verdict.
#[must_use]
pub fn judge(floor: &Estimate, mean: &Estimate, tolerance: Tolerance) -> Verdict {
    let (floor_limit, mean_limit) = tolerance.log();
    if floor.lower > floor_limit || mean.lower > mean_limit {
        Verdict::Regressed
    } else if floor.upper < -floor_limit || mean.upper < -mean_limit {
        Verdict::Improved
    } else if floor.upper < floor_limit
        && floor.lower > -floor_limit
        && mean.upper < mean_limit
        && mean.lower > -mean_limit
    {
        Verdict::Unchanged
    } else {
        Verdict::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Random;

    /// Invents quads on a machine whose speed wanders: both arms share the
    /// level, each block has its own noise.
    fn invented(seed: u64, quads: usize, effect: impl Fn(&mut Random) -> f64) -> Comparison {
        let mut random = Random::new(seed);
        let mut level = 500_000.0;
        let mut comparison = Comparison::default();
        for _ in 0..quads {
            level *= (0.02 * random.normal()).exp();
            let mut block = |slower: bool| {
                let mut operations = [0.0; 4];
                for operation in &mut operations {
                    let factor = if slower { effect(&mut random) } else { 1.0 };
                    *operation = level * factor * (1.0 + 0.01 * random.unit());
                }
                let mean = operations.iter().sum::<f64>() / 4.0;
                (order::quantile_of(&mut operations, 0.25).unwrap(), mean)
            };
            let (a1, b1, b2, a2) = (block(false), block(true), block(true), block(false));
            comparison.add(&Quad {
                floor_ns: [[a1.0, a2.0], [b1.0, b2.0]],
                mean_ns: [[a1.1, a2.1], [b1.1, b2.1]],
            });
        }
        comparison
    }

    const TAIL: f64 = 0.01 / 12.0;

    #[test]
    fn equal_arms_are_unchanged() {
        let wrong = (0..300)
            .map(|seed| invented(seed, 200, |_| 1.0).verdict(Tolerance::default(), TAIL))
            .filter(|verdict| *verdict != Verdict::Unchanged)
            .count();
        assert_eq!(wrong, 0);
    }

    #[test]
    fn flags_a_three_percent_slowdown_and_its_mirror() {
        for seed in 0..100 {
            let slower = invented(seed, 200, |_| 1.03);
            assert_eq!(
                slower.verdict(Tolerance::default(), TAIL),
                Verdict::Regressed
            );
            let estimate = slower.floor(TAIL).unwrap();
            assert!((estimate.change() - 0.03).abs() < 0.003, "{estimate:?}");
            let faster = invented(seed, 200, |_| 1.0 / 1.03);
            assert_eq!(
                faster.verdict(Tolerance::default(), TAIL),
                Verdict::Improved
            );
        }
    }

    #[test]
    fn only_the_mean_channel_sees_a_rare_slowdown() {
        let rare = |random: &mut Random| if random.unit() < 0.02 { 3.0 } else { 1.0 };
        let found = (0..100)
            .map(|seed| invented(seed, 900, rare))
            .filter(|comparison| {
                let floor = comparison.floor(TAIL).unwrap();
                assert!(floor.upper < 0.01, "{floor:?}");
                comparison.verdict(Tolerance::default(), TAIL) == Verdict::Regressed
            })
            .count();
        assert!(found >= 90, "{found} of 100");
        let many = invented(1, 40_000, rare).mean(TAIL).unwrap();
        assert!((many.change() - 0.04).abs() < 0.003, "{many:?}");
    }

    #[test]
    fn few_quads_are_inconclusive() {
        let few = invented(1, 5, |_| 1.5);
        assert_eq!(
            few.verdict(Tolerance::default(), TAIL),
            Verdict::Inconclusive
        );
        assert_eq!(
            Comparison::default().verdict(Tolerance::default(), TAIL),
            Verdict::Inconclusive
        );
    }

    #[test]
    fn p_values_agree_with_the_verdict() {
        let (slower, faster) = invented(3, 200, |_| 1.03).p_values(Tolerance::default());
        assert!(slower < 1e-6 && faster > 0.9, "{slower} {faster}");
        let (slower, faster) = invented(3, 200, |_| 1.0).p_values(Tolerance::default());
        assert!(slower > 0.5 && faster > 0.5, "{slower} {faster}");
    }

    proptest! {
        #[test]
        fn swapping_the_arms_mirrors_the_verdict(
            floor in (-0.05_f64..0.05, 0.0_f64..0.02),
            mean in (-0.05_f64..0.05, 0.0_f64..0.02),
        ) {
            let estimate = |(value, half): (f64, f64)| Estimate {
                log_ratio: value,
                lower: value - half,
                upper: value + half,
            };
            let (floor, mean) = (estimate(floor), estimate(mean));
            let there = judge(&floor, &mean, Tolerance::default());
            let back = judge(&floor.mirrored(), &mean.mirrored(), Tolerance::default());
            // Channels that contradict each other are a regression both ways.
            let contradicts = there == Verdict::Regressed && back == Verdict::Regressed;
            prop_assert!(contradicts || back == there.mirrored());
        }
    }
}
