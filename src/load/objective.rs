//! What does a user want of an endpoint, as something that can be tested?
//!
//! A limit on a quantile is a limit on a share: "p99 < 50 ms" means that at
//! most 1 % of requests take longer. Shares add up over slices and threads, and
//! a failed request counts as one that took too long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::record::search::Counts;
use crate::record::{OpenSlice, Outcome};
use crate::units::{Shown, Span};

/// What is wanted of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Objective {
    /// The quantile, 0 to 1.
    pub quantile: f64,
    /// The longest response time at that quantile.
    pub limit: Duration,
    /// The largest share of failed requests.
    pub errors: f64,
}

/// The share of failed requests that is accepted unless told otherwise.
const USUAL_ERRORS: f64 = 0.001;

impl Objective {
    /// Makes an objective of a quantile and its limit, with the usual errors.
    #[must_use]
    pub fn new(quantile: f64, limit: Duration) -> Self {
        Self {
            quantile,
            limit,
            errors: USUAL_ERRORS,
        }
    }

    /// Returns the share of requests that may take longer than the limit.
    #[must_use]
    pub fn share(&self) -> f64 {
        1.0 - self.quantile
    }

    /// Counts a slice.
    #[must_use]
    pub fn count(&self, slice: &OpenSlice) -> Counts {
        let mut counts = Counts {
            requests: slice.scheduled,
            ..Counts::default()
        };
        let mut ended = 0;
        for of in &slice.outcomes {
            ended += of.count;
            if Outcome::is_name_of_token(&of.outcome) {
                counts.over += of.stages.response.open().count_above(self.limit);
            } else {
                counts.over += of.count;
                counts.failed += of.count;
            }
        }
        let unfinished = slice.scheduled.saturating_sub(ended);
        counts.over += unfinished;
        counts.failed += unfinished;
        counts
    }

    /// Was the objective met over these counts, by their totals?
    #[must_use]
    pub fn is_met(&self, counts: &[Counts]) -> bool {
        let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>() as f64;
        let requests = sum(|slice| slice.requests).max(1.0);
        sum(|slice| slice.over) / requests <= self.share()
            && sum(|slice| slice.failed) / requests <= self.errors
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p{} < {}, errors < {} %",
            Digits(self.quantile * 100.0),
            Shown(self.limit),
            Digits(self.errors * 100.0)
        )
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> Self {
        format!(
            "p{}<{},errors<{}%",
            Digits(objective.quantile * 100.0),
            Span(objective.limit),
            Digits(objective.errors * 100.0)
        )
    }
}

/// Shows a number without the noise of its last bits.
struct Digits(f64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TryFrom<String> for Objective {
    type Error = ObjectiveError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ObjectiveError(text.to_owned());
        let mut latency = None;
        let mut errors = USUAL_ERRORS;
        for part in text.split(',') {
            let (name, limit) = part.split_once('<').ok_or_else(wrong)?;
            let (name, limit) = (name.trim(), limit.trim());
            if name == "errors" {
                let percent: f64 = limit
                    .strip_suffix('%')
                    .and_then(|number| number.trim().parse().ok())
                    .ok_or_else(wrong)?;
                if !(0.0..100.0).contains(&percent) {
                    return Err(wrong());
                }
                errors = percent / 100.0;
            } else {
                let percent: f64 = name
                    .strip_prefix('p')
                    .and_then(|number| number.parse().ok())
                    .ok_or_else(wrong)?;
                let limit: Span = limit.parse().map_err(|_| wrong())?;
                if !(0.0..100.0).contains(&percent) || limit.0.is_zero() || latency.is_some() {
                    return Err(wrong());
                }
                latency = Some((percent / 100.0, limit.0));
            }
        }
        let (quantile, limit) = latency.ok_or_else(wrong)?;
        Ok(Self {
            quantile,
            limit,
            errors,
        })
    }
}

/// The text is no objective.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an objective, expected a text such as \"p99<50ms,errors<0.1%\"")]
pub struct ObjectiveError(String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Histogram, OutcomeStages, Packed, Stages};

    #[test]
    fn an_objective_is_read_and_written_back() {
        let objective: Objective = "p99.9 < 50ms, errors<0.5%".parse().unwrap();
        assert!((objective.quantile - 0.999).abs() < 1e-12);
        assert_eq!(objective.limit, Duration::from_millis(50));
        assert!((objective.errors - 0.005).abs() < 1e-12);
        assert_eq!(String::from(objective), "p99.9<50ms,errors<0.5%");
        assert_eq!(objective.to_string(), "p99.9 < 50.0 ms, errors < 0.5 %");
        for wrong in [
            "",
            "p99",
            "p99<50",
            "p100<1ms",
            "errors<1%",
            "q9<1ms",
            "p9<1ms,p8<1ms",
        ] {
            let error = wrong.parse::<Objective>().unwrap_err().to_string();
            assert!(error.contains("p99<50ms"), "{error}");
        }
    }

    #[test]
    fn what_failed_or_never_ended_is_over() {
        let mut response = Histogram::new();
        for ms in [1, 9, 11, 500] {
            response.record(Duration::from_millis(ms));
        }
        let of = |outcome: &str, count, response: &Histogram| OutcomeStages {
            outcome: outcome.into(),
            count,
            stages: Stages {
                response: Packed::of(response),
                ..Stages::default()
            },
        };
        let slice = OpenSlice {
            start_ns: 0,
            length_ns: 1,
            scheduled: 10,
            outcomes: vec![of("answered", 4, &response), of("http_500", 3, &response)],
        };
        let objective = Objective::new(0.9, Duration::from_millis(10));
        let counts = objective.count(&slice);
        assert_eq!((counts.requests, counts.over, counts.failed), (10, 8, 6));
        assert!(!objective.is_met(&[counts]));
        let good = Counts {
            requests: 1_000,
            over: 90,
            failed: 0,
        };
        assert!(objective.is_met(&[good]));
        assert!(!objective.is_met(&[good, counts, counts]));
    }
}
