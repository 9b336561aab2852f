//! What is the broker told to do besides its work?
//!
//! A capacity planner needs an endpoint that is slow, full or broken in a
//! known way. Orders add service time, with or without a queue, limit how
//! many requests are under way, stall, fail and reset connections; they can
//! be given before the start and changed while the broker runs. The clock's
//! skew belongs to them as well and is applied where the clock is read.
//!
//! Every request of the token endpoint draws from a generator of its own,
//! made of the seed and the request's number, so that equal seeds and equal
//! orders of arrival give equal fates, on however many threads.
//!
//! Waits have the timer's resolution of 1 ms: a request that is to leave at
//! an instant leaves at the first tick after it, while the queue goes by the
//! instant itself.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
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

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// When its answer leaves, from the start of the broker.
    pub(super) leaves_at: Option<Duration>,
    pub(super) fails: Option<Failure>,
    pub(super) is_reset: bool,
}

/// Carries out the orders.
pub(super) struct Foreman {
    orders: ArcSwap<Orders>,
    started: Instant,
    /// How many requests have come.
    arrivals: AtomicU64,
    /// When the virtual server is free again, in nanoseconds from the start.
    free_at: AtomicU64,
    under_way: AtomicUsize,
}

/// A place among the requests under way, given back on drop.
pub(super) struct Place<'a>(&'a Foreman);

impl Foreman {
    pub(super) fn new(orders: Orders) -> Self {
        Self {
            orders: ArcSwap::from_pointee(orders),
            started: Instant::now(),
            arrivals: AtomicU64::new(0),
            free_at: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
        }
    }

    /// Replaces the orders; requests under way keep their fate.
    pub(super) fn order(&self, orders: Orders) {
        self.orders.store(orders.into());
        self.free_at.store(0, Ordering::Relaxed);
    }

    /// Returns the orders as they are.
    pub(super) fn orders(&self) -> Orders {
        Orders::clone(&self.orders.load())
    }

    /// Gives a request a place, unless too many are under way.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let place = Place(self);
        let limit = self.orders.load().concurrency;
        limit
            .is_none_or(|limit| before < limit.get())
            .then_some(place)
    }

    /// Decides what becomes of the next request, which comes now.
    pub(super) fn next(&self) -> Fate {
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let orders = self.orders.load();
        if **orders == Orders::default() {
            return Fate::default();
        }
        self.decide(&orders, number, self.started.elapsed())
    }

    fn decide(&self, orders: &Orders, number: u64, arrives: Duration) -> Fate {
        // Odd multipliers keep neighbouring numbers apart.
        let mut random = Random::new(orders.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (resets, fails) = (random.unit(), random.unit());
        let service = orders
            .service_time
            .map_or(Duration::ZERO, |time| time.draw(&mut random));
        let mut leaves = if orders.has_queue {
            self.queue(arrives, service)
        } else {
            arrives + service
        };
        if let Some(stall) = orders.stall {
            leaves = stall.put_off(leaves);
        }
        Fate {
            leaves_at: (leaves > arrives).then_some(leaves),
            fails: (fails < orders.error_share).then_some(orders.error),
            is_reset: resets < orders.reset_share,
        }
    }

    /// Lets a request queue for the virtual server; returns when it leaves.
    fn queue(&self, arrives: Duration, service: Duration) -> Duration {
        let (arrives, service) = (as_ns(arrives), as_ns(service));
        let mut leaves = 0;
        let next = |free_at: u64| {
            leaves = free_at.max(arrives).saturating_add(service);
            Some(leaves)
        };
        // The closure always gives a value, so this cannot fail.
        let _ = self
            .free_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Duration::from_nanos(leaves)
    }

    /// Waits until a fate's answer leaves.
    pub(super) async fn wait(&self, fate: Fate) {
        if let Some(leaves_at) = fate.leaves_at {
            tokio::time::sleep_until((self.started + leaves_at).into()).await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
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

    fn draw(self, random: &mut Random) -> Duration {
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
    fn put_off(self, at: Duration) -> Duration {
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

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fates(orders: &Orders, count: u64) -> Vec<Fate> {
        let foreman = Foreman::new(orders.clone());
        (0..count)
            .map(|number| foreman.decide(orders, number, MS * u32::try_from(number).unwrap()))
            .collect()
    }

    #[test]
    fn equal_seeds_give_equal_fates() {
        let orders = |seed| Orders {
            seed,
            service_time: Some(ServiceTime::Exponential(MS)),
            error_share: 0.3,
            reset_share: 0.3,
            ..Orders::default()
        };
        assert_eq!(fates(&orders(1), 100), fates(&orders(1), 100));
        assert_ne!(fates(&orders(1), 100), fates(&orders(2), 100));
    }

    #[test]
    fn shares_are_kept() {
        let orders = Orders {
            error_share: 0.25,
            reset_share: 0.5,
            ..Orders::default()
        };
        let fates = fates(&orders, 10_000);
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        // Five deviations of a binomial count.
        assert!(count(|fate| fate.fails.is_some()).abs_diff(2_500) < 217);
        assert!(count(|fate| fate.is_reset).abs_diff(5_000) < 250);
        assert!(fates.iter().all(|fate| fate.leaves_at.is_none()));
    }

    #[test]
    fn a_queue_serves_one_after_the_other() {
        let orders = Orders {
            service_time: Some(ServiceTime::Constant(3 * MS)),
            has_queue: true,
            ..Orders::default()
        };
        let leaves: Vec<_> = fates(&orders, 4)
            .iter()
            .map(|fate| fate.leaves_at.unwrap())
            .collect();
        assert_eq!(leaves, [3 * MS, 6 * MS, 9 * MS, 12 * MS]);
        let alone = Orders {
            has_queue: false,
            ..orders
        };
        let leaves: Vec<_> = fates(&alone, 3)
            .iter()
            .map(|fate| fate.leaves_at.unwrap())
            .collect();
        assert_eq!(leaves, [3 * MS, 4 * MS, 5 * MS]);
    }

    #[test]
    fn a_queue_of_random_arrivals_waits_as_theory_says() {
        // M/M/1 at a load of 0.5: the mean time in the system is twice that
        // of the service.
        let orders = Orders {
            seed: 7,
            service_time: Some(ServiceTime::Exponential(MS)),
            has_queue: true,
            ..Orders::default()
        };
        let foreman = Foreman::new(orders.clone());
        let mut arrivals = Random::new(8);
        let (mut at, mut total) = (Duration::ZERO, Duration::ZERO);
        let count = 200_000;
        for number in 0..count {
            at += ServiceTime::Exponential(2 * MS).draw(&mut arrivals);
            let fate = foreman.decide(&orders, number, at);
            total += fate.leaves_at.unwrap() - at;
        }
        let mean_ms = total.as_secs_f64() * 1e3 / count as f64;
        assert!((1.95..2.05).contains(&mean_ms), "{mean_ms}");
    }

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

    #[test]
    fn no_more_are_under_way_than_ordered() {
        let foreman = Foreman::new(Orders {
            concurrency: NonZeroUsize::new(2),
            ..Orders::default()
        });
        let first = foreman.enter();
        let second = foreman.enter();
        assert!(first.is_some() && second.is_some());
        assert!(foreman.enter().is_none());
        drop(first);
        assert!(foreman.enter().is_some());
    }
}
