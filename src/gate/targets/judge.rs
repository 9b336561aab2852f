//! What do the slices of two endpoints say?

use serde::{Deserialize, Serialize};

use crate::stats::sliced::Sliced;
use crate::stats::{Estimate, Verdict};

/// The statistics that are judged, each with its share of the error.
pub(super) const CHANNELS: usize = 3;

/// The fewest pairs of slices that anything is said of.
const LEAST_SLICES: usize = 30;

/// By how much the candidate differs. All are changes of candidate against
/// baseline; more of a time is worse, more answers are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effects {
    /// The median response time of answered requests.
    pub p50: Option<Estimate>,
    /// The 99th percentile of it.
    pub p99: Option<Estimate>,
    /// The number of answered requests.
    pub goodput: Option<Estimate>,
}

/// The smallest changes that are told, as shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadTolerance {
    /// Of the median response time.
    pub p50: f64,
    /// Of the 99th percentile.
    pub p99: f64,
    /// Of the number of answered requests.
    pub goodput: f64,
}

impl Default for LoadTolerance {
    /// A queue magnifies: at a load of 0.8, a service that takes 2 % longer
    /// has a p99 that is a tenth longer. So 10 % of the p99, half of it for
    /// the median, and one answer in a hundred.
    fn default() -> Self {
        Self {
            p50: 0.05,
            p99: 0.1,
            goodput: 0.01,
        }
    }
}

impl Effects {
    /// Estimates all of them, each bound with a chance of `tail` of being
    /// wrong.
    #[must_use]
    pub fn of(slices: &Sliced, tail: f64, seed: u64) -> Self {
        Self {
            p50: slices.change(0.5, tail, seed),
            p99: slices.change(0.99, tail, seed),
            goodput: slices.goodput_change(tail),
        }
    }

    /// Judges: one that is worse beyond doubt decides, then one that is better.
    #[must_use]
    pub fn verdict(&self, slices: usize, tolerance: &LoadTolerance) -> Verdict {
        let goodput = self.goodput.as_ref().map(Estimate::mirrored);
        let channels = [
            (self.p50, tolerance.p50),
            (self.p99, tolerance.p99),
            (goodput, tolerance.goodput),
        ];
        let any = |is: fn(&Estimate, f64) -> bool| {
            channels
                .iter()
                .any(|(found, most)| found.is_some_and(|found| is(&found, most.ln_1p())))
        };
        if slices < LEAST_SLICES {
            Verdict::Inconclusive
        } else if any(|found, most| found.lower > most) {
            Verdict::Regressed
        } else if any(|found, most| found.upper < -most) {
            Verdict::Improved
        } else if channels.iter().all(|(found, most)| {
            let most = most.ln_1p();
            found.is_some_and(|found| found.upper <= most && found.lower >= -most)
        }) {
            Verdict::Unchanged
        } else {
            Verdict::Inconclusive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(lower: f64, upper: f64) -> Estimate {
        Estimate {
            log_ratio: f64::midpoint(lower, upper),
            lower,
            upper,
        }
    }

    #[test]
    fn a_channel_that_is_worse_beyond_doubt_decides() {
        let equal = Effects {
            p50: Some(between(-0.01, 0.01)),
            p99: Some(between(-0.05, 0.05)),
            goodput: Some(between(0.0, 0.0)),
        };
        let verdict = |effects: Effects| effects.verdict(30, &LoadTolerance::default());
        assert_eq!(verdict(equal), Verdict::Unchanged);
        assert_eq!(
            equal.verdict(29, &LoadTolerance::default()),
            Verdict::Inconclusive
        );
        let slower = Effects {
            p50: Some(between(0.06, 0.1)),
            ..equal
        };
        assert_eq!(verdict(slower), Verdict::Regressed);
        let fewer = Effects {
            p50: Some(between(-0.2, -0.1)),
            goodput: Some(between(-0.05, -0.02)),
            ..equal
        };
        assert_eq!(verdict(fewer), Verdict::Regressed);
        let faster = Effects {
            p99: Some(between(-0.3, -0.2)),
            ..equal
        };
        assert_eq!(verdict(faster), Verdict::Improved);
        let wide = Effects {
            p99: Some(between(-0.2, 0.2)),
            ..equal
        };
        assert_eq!(verdict(wide), Verdict::Inconclusive);
        assert_eq!(
            verdict(Effects { p99: None, ..equal }),
            Verdict::Inconclusive
        );
    }
}
