//! Which flags make the broker slow, full or broken?

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::broker::orders::{self, Orders, ServiceTime, Stall};
use crate::units::Span;

/// Behaviour on order.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour on order")]
pub(super) struct OrderFlags {
    /// Add service time: constant:5ms, uniform:1ms-9ms or exponential:5ms.
    #[arg(long, value_name = "DISTRIBUTION")]
    service_time: Option<ServiceTime>,

    /// Let requests queue for one virtual server of that service time.
    #[arg(long, requires = "service_time")]
    queue: bool,

    /// Answer 503 to more token requests than this at once.
    #[arg(long, value_name = "N")]
    concurrency: Option<NonZeroUsize>,

    /// Stall once in each such span.
    #[arg(long, value_name = "SPAN", requires = "stall_for")]
    stall_every: Option<Span>,

    /// How long a stall lasts.
    #[arg(long, value_name = "SPAN", requires = "stall_every")]
    stall_for: Option<Span>,

    /// The share of token requests that fail, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    error_share: f64,

    /// The status of those failures.
    #[arg(long, value_enum, value_name = "STATUS", default_value = "503")]
    error_status: Status,

    /// The share of token requests on which the connection is reset.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    reset_share: f64,

    /// How many seconds the broker's clock is ahead; negative for behind.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    skew: i64,

    /// What all of this is drawn from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    order_seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    #[value(name = "500")]
    Internal,
    #[value(name = "502")]
    BadGateway,
    #[value(name = "503")]
    Unavailable,
}

impl OrderFlags {
    /// Reads the flags.
    pub(super) fn orders(&self) -> Result<Orders, Failure> {
        for (flag, share) in [
            ("--error-share", self.error_share),
            ("--reset-share", self.reset_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                let message = format!("{flag} {share} is no share, expected 0 to 1");
                return Err(Failure::usage(message));
            }
        }
        let stall = match (self.stall_every, self.stall_for) {
            (Some(Span(every)), Some(Span(lasts))) if lasts < every => Some(Stall { every, lasts }),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--stall-for has to be below --stall-every"));
            }
            _ => None,
        };
        Ok(Orders {
            seed: self.order_seed,
            service_time: self.service_time,
            has_queue: self.queue,
            concurrency: self.concurrency,
            stall,
            error_share: self.error_share,
            error: match self.error_status {
                Status::Internal => orders::Failure::Internal,
                Status::BadGateway => orders::Failure::BadGateway,
                Status::Unavailable => orders::Failure::Unavailable,
            },
            reset_share: self.reset_share,
            skew_s: self.skew,
        })
    }
}
