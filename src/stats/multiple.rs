//! What does it cost to ask several questions, or to ask one several times?
//!
//! Every channel, every look at growing data and every case is one more
//! chance to be fooled. [`Looks`] shares a total error over all of them
//! before anything is measured; [`holm`] sharpens the outcome afterwards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Verdict;

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

/// Decides what the bounds of a family left open, where Holm's procedure can:
/// findings among the other cases need no share of the error any more.
///
/// `p_values` has, for each case, the chances that it is not slower and that
/// it is not faster, both channels paid for and looks not; `looks` is how
/// often each case was to be judged.
#[must_use]
pub fn step_down(
    verdicts: &[Verdict],
    p_values: &[(f64, f64)],
    looks: usize,
    alpha: f64,
) -> Vec<Verdict> {
    let smaller: Vec<f64> = p_values
        .iter()
        .map(|(slower, faster)| (2.0 * looks as f64 * slower.min(*faster)).min(1.0))
        .collect();
    let decide = |((verdict, (slower, faster)), adjusted): ((&Verdict, &(f64, f64)), f64)| {
        if *verdict != Verdict::Inconclusive || adjusted > alpha {
            *verdict
        } else if slower < faster {
            Verdict::Regressed
        } else {
            Verdict::Improved
        }
    };
    verdicts
        .iter()
        .zip(p_values)
        .zip(holm(&smaller))
        .map(decide)
        .collect()
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

    #[test]
    fn what_was_open_is_decided_once_the_others_are() {
        use Verdict::{Improved, Inconclusive, Regressed, Unchanged};
        let p = [
            (0.9, 1e-9),
            (1e-9, 0.9),
            (0.001, 0.9),
            (0.4, 0.5),
            (0.0, 0.0),
        ];
        let verdicts = [
            Inconclusive,
            Inconclusive,
            Inconclusive,
            Inconclusive,
            Unchanged,
        ];
        let decided = step_down(&verdicts, &p, 1, 0.01);
        assert_eq!(
            decided,
            [Improved, Regressed, Regressed, Inconclusive, Unchanged]
        );
        // Four looks make the third too uncertain.
        assert_eq!(step_down(&verdicts, &p, 4, 0.01)[2], Inconclusive);
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
