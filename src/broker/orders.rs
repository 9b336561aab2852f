//! What may the broker be told to do besides its work?
//!
//! A capacity planner needs an endpoint that is slow, full or broken in a
//! known way. Orders add service time, with or without a queue, limit how
//! many requests are under way, stall, fail and reset connections; they can
//! be given before the start and changed while the broker runs. The clock's
//! skew belongs to them as well and is applied where the clock is read. How
//! they are carried out is `super::foreman`'s affair.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::oauth::Refusal;
use crate::stats::random::Random;
use crate::units::Span;

/// What the broker is told to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders {
    /// What the fates of requests are drawn from.
    pub seed: u64,
    /// The time that a token request takes besides the work itself.
    pub service_time: Option<ServiceTime>,
    /// Do requests queue for one virtual server, first come first served?
    /// Otherwise each has a server of its own.
    pub has_queue: bool,
    /// The most token requests under way; further ones are answered 503.
    pub concurrency: Option<NonZeroUsize>,
    /// Times at which nothing is answered.
    pub stall: Option<Stall>,
    /// The share of token requests that fail, from 0 to 1.
    pub error_share: f64,
    /// The status of those failures.
    pub error: Failure,
    /// The share of token requests on which the connection is reset, from 0
    /// to 1.
    pub reset_share: f64,
    /// How far the broker's clock is ahead of the true time, in seconds;
    /// negative if it is behind.
    pub skew_s: i64,
}

/// How long the service of a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ServiceTime {
    /// Always as long.
    Constant(Duration),
    /// Anything between, as likely.
    Uniform(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Duration),
}

/// Why a text is no distribution of service times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no distribution, expected constant:5ms, uniform:1ms-9ms or exponential:5ms")]
pub struct ServiceTimeError(String);

/// A pause that comes again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// From the beginning of one to the beginning of the next.
    pub every: Duration,
    /// How long it lasts; at the end of each period.
    pub lasts: Duration,
}

/// A status with which requests fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Failure {
    /// 500
    Internal,
    /// 502
    BadGateway,
    /// 503, with `Retry-After`
    #[default]
    Unavailable,
}

impl Failure {
    /// Returns the answer.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Internal => Refusal::ServerError,
            Self::BadGateway => Refusal::BadGateway,
            Self::Unavailable => Refusal::Overloaded,
        }
    }
}

/// Why a number is no status of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no status of a failure, expected 500, 502 or 503")]
pub struct FailureError(u16);

impl TryFrom<u16> for Failure {
    type Error = FailureError;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            500 => Ok(Self::Internal),
            502 => Ok(Self::BadGateway),
            503 => Ok(Self::Unavailable),
            other => Err(FailureError(other)),
        }
    }
}

impl From<Failure> for u16 {
    fn from(failure: Failure) -> Self {
        failure.refusal().status().as_u16()
    }
}

impl TryFrom<String> for ServiceTime {
    type Error = ServiceTimeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServiceTime> for String {
    fn from(time: ServiceTime) -> Self {
        time.to_string()
    }
}

impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Constant(time) => write!(f, "constant:{}", Span(time)),
            Self::Uniform(shortest, longest) => {
                write!(f, "uniform:{}-{}", Span(shortest), Span(longest))
            }
            Self::Exponential(mean) => write!(f, "exponential:{}", Span(mean)),
        }
    }
}

impl ServiceTime {
    /// Returns the longest time, or the mean where there is none.
    #[must_use]
    pub fn longest(self) -> Duration {
        match self {
            Self::Constant(time) | Self::Uniform(_, time) | Self::Exponential(time) => time,
        }
    }

    pub(super) fn draw(self, random: &mut Random) -> Duration {
        match self {
            Self::Constant(time) => time,
            Self::Uniform(shortest, longest) => {
                shortest + longest.saturating_sub(shortest).mul_f64(random.unit())
            }
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - random.unit()).ln()),
        }
    }
}

impl FromStr for ServiceTime {
    type Err = ServiceTimeError;

    /// Reads `constant:5ms`, `uniform:1ms-9ms` or `exponential:5ms`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ServiceTimeError(text.to_owned());
        let span = |text: &str| text.parse::<Span>().map(|span| span.0).map_err(|_| wrong());
        match text.split_once(':').ok_or_else(wrong)? {
            ("constant", time) => Ok(Self::Constant(span(time)?)),
            ("exponential", mean) => Ok(Self::Exponential(span(mean)?)),
            ("uniform", bounds) => {
                let (shortest, longest) = bounds.split_once('-').ok_or_else(wrong)?;
                let (shortest, longest) = (span(shortest)?, span(longest)?);
                if shortest > longest {
                    return Err(wrong());
                }
                Ok(Self::Uniform(shortest, longest))
            }
            _ => Err(wrong()),
        }
    }
}

impl Stall {
    /// Moves an instant out of the pauses.
    pub(super) fn put_off(self, at: Duration) -> Duration {
        let (every, lasts) = (as_ns(self.every), as_ns(self.lasts));
        if every == 0 {
            return at;
        }
        let into = as_ns(at) % every;
        if into < every.saturating_sub(lasts) {
            at
        } else {
            at + Duration::from_nanos(every - into)
        }
    }
}

pub(super) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_leaves_during_a_stall() {
        let stall = Stall {
            every: 10 * MS,
            lasts: 4 * MS,
        };
        for (at, leaves) in [(0, 0), (5, 5), (6, 10), (9, 10), (10, 10), (17, 20)] {
            assert_eq!(stall.put_off(at * MS), leaves * MS, "{at}");
        }
    }

    #[test]
    fn distributions_are_read() {
        for (text, time) in [
            ("constant:5ms", ServiceTime::Constant(5 * MS)),
            ("uniform:1ms-9ms", ServiceTime::Uniform(MS, 9 * MS)),
            ("exponential:1s", ServiceTime::Exponential(1000 * MS)),
        ] {
            assert_eq!(text.parse(), Ok(time));
            assert_eq!(time.to_string(), text);
        }
        for text in [
            "5ms",
            "normal:5ms",
            "uniform:9ms-1ms",
            "uniform:1ms",
            "constant:",
        ] {
            assert!(text.parse::<ServiceTime>().is_err(), "{text}");
        }
    }
}
