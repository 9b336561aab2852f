//! Does the evidence of some slices decide about an objective?
//!
//! The share of requests over the limit is a ratio of sums over slices; its
//! error is that of the residuals of slices (Cochran, *Sampling Techniques*,
//! section 6.4), with Student's bounds.

use super::Offered;
use crate::load::objective::{Counts, Objective};
use crate::record::search::Decision;
use crate::stats::distribution::student_quantile;

/// The share of the offered requests that have to be sent for a rate to be
/// sustained at all.
const LEAST_SENT: f64 = 0.99;

/// The share of slices that may have been left out before a rate that stays
/// undecided is one that the generator cannot try.
const MOST_SPOILED: f64 = 1.0 / 3.0;

/// Evidence at one rate, gathered over one or more trials.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    slices: Vec<Counts>,
    spoiled: usize,
    trials: u32,
    fell_behind: u32,
}

impl Evidence {
    /// Adds what a trial saw.
    pub fn add(&mut self, offered: &Offered) {
        self.slices.extend(&offered.slices);
        self.spoiled += offered.spoiled;
        self.trials += 1;
        self.fell_behind += u32::from(offered.sent_share < LEAST_SENT || offered.backlog_grows);
    }

    /// Returns the slices.
    #[must_use]
    pub fn slices(&self) -> &[Counts] {
        &self.slices
    }

    /// Was so much left out that what stays undecided is the generator's fault?
    #[must_use]
    pub fn is_spoiled(&self) -> bool {
        let whole = self.slices.len() + self.spoiled;
        self.spoiled as f64 > MOST_SPOILED * whole as f64
    }

    /// Returns the number of slices that were left out.
    #[must_use]
    pub fn spoiled(&self) -> usize {
        self.spoiled
    }

    /// Returns the share of requests over the limit.
    #[must_use]
    pub fn share_over(&self) -> f64 {
        ratio(&self.slices, |slice| slice.over)
    }

    /// Returns the share of failed requests.
    #[must_use]
    pub fn share_failed(&self) -> f64 {
        ratio(&self.slices, |slice| slice.failed)
    }

    /// Decides, with a chance of `tail` of being wrong on either side.
    #[must_use]
    pub fn decide(&self, objective: &Objective, tail: f64) -> Decision {
        if 2 * self.fell_behind > self.trials {
            return Decision::Fail;
        }
        let over = decide(&self.slices, |slice| slice.over, objective.share(), tail);
        let failed = decide(&self.slices, |slice| slice.failed, objective.errors, tail);
        match (over, failed) {
            (Decision::Fail, _) | (_, Decision::Fail) => Decision::Fail,
            (Decision::Pass, Decision::Pass) => Decision::Pass,
            _ => Decision::Undecided,
        }
    }

    /// Decides by the estimate alone.
    #[must_use]
    pub fn force(&self, objective: &Objective) -> Decision {
        if 2 * self.fell_behind <= self.trials && objective.is_met(&self.slices) {
            Decision::Pass
        } else {
            Decision::Fail
        }
    }
}

fn ratio(slices: &[Counts], of: impl Fn(&Counts) -> u64) -> f64 {
    let requests: u64 = slices.iter().map(|slice| slice.requests).sum();
    slices.iter().map(of).sum::<u64>() as f64 / requests.max(1) as f64
}

fn decide(slices: &[Counts], of: impl Fn(&Counts) -> u64, limit: f64, tail: f64) -> Decision {
    let n = slices.len() as f64;
    if slices.len() < 5 {
        return Decision::Undecided;
    }
    let share = ratio(slices, &of);
    let mean = slices.iter().map(|slice| slice.requests).sum::<u64>() as f64 / n;
    if mean <= 0.0 {
        return Decision::Undecided;
    }
    let squares: f64 = slices
        .iter()
        .map(|slice| (of(slice) as f64 - share * slice.requests as f64).powi(2))
        .sum();
    let error = (squares / (n * (n - 1.0))).sqrt() / mean;
    let half = student_quantile(tail, n - 1.0) * error;
    if share - half > limit {
        Decision::Fail
    } else if share + half < limit || (share <= 0.0 && limit >= 0.0 && half <= 0.0) {
        Decision::Pass
    } else {
        Decision::Undecided
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::Random;

    fn offered(shares: impl Iterator<Item = f64>) -> Offered {
        Offered {
            slices: shares
                .map(|share| {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    let over = (share * 1_000.0).round() as u64;
                    Counts {
                        requests: 1_000,
                        over,
                        failed: 0,
                    }
                })
                .collect(),
            sent_share: 1.0,
            ..Offered::default()
        }
    }

    fn objective() -> Objective {
        Objective::new(0.99, Duration::from_millis(10))
    }

    fn decided(offered: &Offered) -> Decision {
        let mut evidence = Evidence::default();
        evidence.add(offered);
        evidence.decide(&objective(), 0.0125)
    }

    #[test]
    fn clear_evidence_decides_and_scattered_evidence_does_not() {
        let steady =
            |share: f64| offered((0..20).map(move |i| share * (1.0 + f64::from(i % 2) * 0.2)));
        assert_eq!(decided(&steady(0.005)), Decision::Pass);
        assert_eq!(decided(&steady(0.020)), Decision::Fail);
        assert_eq!(decided(&steady(0.0)), Decision::Pass);
        // A tenth of the slices holds everything.
        let scattered = offered((0..20).map(|i| if i % 10 == 0 { 0.08 } else { 0.0 }));
        assert_eq!(decided(&scattered), Decision::Undecided);
        assert_eq!(decided(&offered([0.0; 3].into_iter())), Decision::Undecided);
    }

    #[test]
    fn evidence_of_which_too_much_was_left_out_is_spoiled() {
        let mut evidence = Evidence::default();
        let mut seen = offered((0..20).map(|_| 0.01));
        seen.spoiled = 10;
        evidence.add(&seen);
        assert!(!evidence.is_spoiled(), "a third may be left out");
        seen.spoiled = 11;
        evidence.add(&seen);
        assert!(evidence.is_spoiled());
    }

    #[test]
    fn a_rate_that_was_not_sent_or_piles_up_is_not_sustained() {
        let mut behind = offered((0..20).map(|_| 0.0));
        behind.sent_share = 0.97;
        assert_eq!(decided(&behind), Decision::Fail);
        let mut growing = offered((0..20).map(|_| 0.0));
        growing.backlog_grows = true;
        assert_eq!(decided(&growing), Decision::Fail);
    }

    #[test]
    fn bounds_are_wrong_about_as_often_as_they_say() {
        let mut random = Random::new(3);
        let trials = 2_000;
        let wrong = (0..trials)
            .filter(|_| {
                // The true share is the limit itself.
                let slices = offered((0..40).map(|_| (0.01 + 0.004 * random.normal()).max(0.0)));
                decided(&slices) != Decision::Undecided
            })
            .count();
        // 2.5 % on both sides together; four standard errors are 1.4 points.
        assert!((22..=90).contains(&wrong), "{wrong} of {trials}");
    }
}
