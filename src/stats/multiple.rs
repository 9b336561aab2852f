//! What does it cost to ask several questions, or to ask one several times?
//!
//! Every channel, every look at growing data and every case is one more
//! chance to be fooled. [`Looks`] shares a total error over all of them
//! before anything is measured; [`holm`] sharpens the outcome afterwards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The moments at which growing data are judged, and the error they share.
///
/// Bonferroni's sharing: it holds whatever the dependence between looks,
/// channels and cases, and for any rule of stopping between planned looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looks {
    /// The time spent on one case at each look, ascending.
    at: Vec<Duration>,
    /// The chance of any false finding over the whole family, both sides.
    alpha: f64,
    /// The statistics that are each judged.
    channels: usize,
    /// The cases of the family.
    cases: usize,
}

impl Looks {
    /// Plans looks at `at` for a family of `cases`, each judged by `channels`
    /// statistics, with a total error of `alpha`.
    #[must_use]
    pub fn new(mut at: Vec<Duration>, alpha: f64, channels: usize, cases: usize) -> Self {
        at.sort_unstable();
        Self {
            at,
            alpha,
            channels: channels.max(1),
            cases: cases.max(1),
        }
    }

    /// Returns the planned moments.
    #[must_use]
    pub fn at(&self) -> &[Duration] {
        &self.at
    }

    /// Returns the error of one side of one interval at one look.
    #[must_use]
    pub fn tail(&self) -> f64 {
        self.tail_of_one() / self.cases as f64
    }

    /// Returns the error of one side at one look if the case were alone.
    #[must_use]
    pub fn tail_of_one(&self) -> f64 {
        self.alpha / (2 * self.channels * self.at.len().max(1)) as f64
    }
}

/// Adjusts p-values for being a family: each result is to be compared with
/// the family's whole error (Holm 1979).
///
/// Holds whatever the dependence, and never rejects less than Bonferroni.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        highest = highest.max((p_values[index] * left).min(1.0));
        adjusted[index] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holm_steps_down() {
        // The classic example: 0.01 x 4, 0.02 x 3, then never falling.
        let adjusted = holm(&[0.03, 0.01, 0.04, 0.02]);
        for (found, expected) in adjusted.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn the_error_is_shared_over_everything() {
        let seconds = |s| Duration::from_secs(s);
        let looks = Looks::new(vec![seconds(4), seconds(2), seconds(8)], 0.01, 2, 5);
        assert_eq!(looks.at(), [seconds(2), seconds(4), seconds(8)]);
        let everything = looks.tail() * f64::from(2 * 3 * 2 * 5);
        assert!((everything - 0.01).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn holm_lies_between_nothing_and_bonferroni(p in prop::collection::vec(0.0_f64..1.0, 1..12)) {
            let n = p.len() as f64;
            for (raw, adjusted) in p.iter().zip(holm(&p)) {
                prop_assert!(adjusted >= *raw && adjusted <= (raw * n).min(1.0) + 1e-12);
            }
        }
    }
}
