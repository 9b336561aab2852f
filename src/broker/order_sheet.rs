//! How are orders written down, in a scenario file or a request?
//!
//! One sheet holds all that a broker can be told about its behaviour: the
//! [`Orders`], the rate limit, and whether a refused `jti` stays burnt. It is
//! plain data, the same in TOML and in JSON, and complete: what a sheet does
//! not mention is not done. [`OrderSheet::check`] says what is wrong with one.

use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::orders::{Failure, Orders, ServiceTime, Stall};
use super::throttle::RateLimit;
use crate::units::Span;

/// The longest that one request is held back, so that a slip of the pen is
/// told from a wish.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a broker is told to do, as a person writes it down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrderSheet {
    /// The time that a token request takes besides the work itself:
    /// `constant:5ms`, `uniform:1ms-9ms` or `exponential:5ms`.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_time: Option<ServiceTime>,
    /// Do requests queue for one virtual server of that service time?
    pub queue: bool,
    /// Answer 503 to more token requests than this at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroUsize>,
    /// A pause that comes again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallSheet>,
    /// The rate above which requests are answered 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// May a `jti` that met a 429 or 5xx be used again, as it may not at the
    /// provider?
    pub spare_refused_jti: bool,
    /// The share of token requests that fail, from 0 to 1.
    pub error_share: f64,
    /// The status of those failures: 500, 502 or 503.
    #[schemars(with = "Option<u16>")]
    pub error_status: Failure,
    /// The share of token requests on which the connection is reset, from 0
    /// to 1.
    pub reset_share: f64,
    /// How many seconds the broker's clock is ahead; negative for behind.
    pub skew_s: i64,
    /// What all of it is drawn from.
    pub seed: u64,
}

/// A pause that comes again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StallSheet {
    /// From the beginning of one to the beginning of the next.
    #[schemars(with = "String")]
    pub every: Span,
    /// How long it lasts; at the end of each period.
    #[schemars(with = "String")]
    pub lasts: Span,
}

/// Why a sheet cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub struct OrderError {
    /// The field.
    pub field: &'static str,
    /// What it is.
    pub found: String,
    /// What would be accepted.
    pub expected: &'static str,
}

impl OrderSheet {
    /// Finds what is wrong with the sheet.
    ///
    /// # Errors
    ///
    /// A share is none, a stall lasts as long as its period, a time is longer
    /// than an hour, or a queue is for nothing.
    pub fn check(&self) -> Result<(), OrderError> {
        let wrong = |field, found: String, expected| {
            Err(OrderError {
                field,
                found,
                expected,
            })
        };
        for (field, share) in [
            ("error_share", self.error_share),
            ("reset_share", self.reset_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(field, share.to_string(), "a share from 0 to 1");
            }
        }
        if let Some(stall) = self.stall
            && (stall.lasts.0 >= stall.every.0 || stall.every.0 > LONGEST)
        {
            let found = format!("{} of every {}", stall.lasts, stall.every);
            return wrong("stall", found, "less than the period, and that at most 1h");
        }
        match self.service_time {
            Some(time) if time.longest() > LONGEST => {
                wrong("service_time", time.to_string(), "at most 1h")
            }
            None if self.queue => wrong("queue", "true".into(), "a service_time beside it"),
            _ => Ok(()),
        }
    }

    /// Returns what is done to single requests, and the skew.
    #[must_use]
    pub fn orders(&self) -> Orders {
        Orders {
            seed: self.seed,
            service_time: self.service_time,
            has_queue: self.queue,
            concurrency: self.concurrency,
            stall: self.stall.map(|stall| Stall {
                every: stall.every.0,
                lasts: stall.lasts.0,
            }),
            error_share: self.error_share,
            error: self.error_status,
            reset_share: self.reset_share,
            skew_s: self.skew_s,
        }
    }

    /// Writes down what a broker is told.
    #[must_use]
    pub fn of(orders: &Orders, rate_limit: Option<RateLimit>, spare_refused_jti: bool) -> Self {
        Self {
            service_time: orders.service_time,
            queue: orders.has_queue,
            concurrency: orders.concurrency,
            stall: orders.stall.map(|stall| StallSheet {
                every: Span(stall.every),
                lasts: Span(stall.lasts),
            }),
            rate_limit,
            spare_refused_jti,
            error_share: orders.error_share,
            error_status: orders.error,
            reset_share: orders.reset_share,
            skew_s: orders.skew_s,
            seed: orders.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{
        "service_time": "uniform:1ms-9ms",
        "queue": true,
        "concurrency": 64,
        "stall": {"every": "10s", "lasts": "1s"},
        "rate_limit": {"per_s": 100, "burst": 10},
        "spare_refused_jti": true,
        "error_share": 0.25,
        "error_status": 502,
        "reset_share": 0.5,
        "skew_s": -90,
        "seed": 7
    }"#;

    fn sheet(text: &str) -> OrderSheet {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_sheet_is_written_as_it_is_read() {
        let full = sheet(FULL);
        assert_eq!(full.check(), Ok(()));
        let again = serde_json::to_value(&full).unwrap();
        assert_eq!(
            again,
            serde_json::from_str::<serde_json::Value>(FULL).unwrap()
        );
        let orders = full.orders();
        assert_eq!(orders.error, Failure::BadGateway);
        assert_eq!(OrderSheet::of(&orders, full.rate_limit, true), full);
    }

    #[test]
    fn an_empty_sheet_orders_nothing() {
        assert_eq!(sheet("{}"), OrderSheet::default());
        assert_eq!(sheet("{}").orders(), Orders::default());
    }

    #[test]
    fn what_cannot_be_done_is_told_by_its_field() {
        for (text, field) in [
            (r#"{"error_share": 1.5}"#, "error_share"),
            (r#"{"reset_share": -0.1}"#, "reset_share"),
            (r#"{"stall": {"every": "1s", "lasts": "1s"}}"#, "stall"),
            (r#"{"stall": {"every": "2h", "lasts": "1s"}}"#, "stall"),
            (r#"{"service_time": "constant:2h"}"#, "service_time"),
            (r#"{"queue": true}"#, "queue"),
        ] {
            assert_eq!(sheet(text).check().unwrap_err().field, field, "{text}");
        }
        for text in [
            r#"{"error_status": 404}"#,
            r#"{"service_time": "5ms"}"#,
            r#"{"concurrency": 0}"#,
            r#"{"rate_limit": {"per_s": 0, "burst": 1}}"#,
            r#"{"sevice_time": "constant:1ms"}"#,
        ] {
            assert!(serde_json::from_str::<OrderSheet>(text).is_err(), "{text}");
        }
    }
}
