//! How does the broker carry its orders out?
//!
//! Every request of the token endpoint draws from a generator of its own,
//! made of the seed and the request's number, so that equal seeds and equal
//! orders of arrival give equal fates, on however many threads.
//!
//! Waits have the timer's resolution of 1 ms: a request that is to leave at
//! an instant leaves at the first tick after it, while the queue goes by the
//! instant itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::orders::{Failure, Orders, as_ns};
use crate::stats::random::Random;

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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::orders::ServiceTime;
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
