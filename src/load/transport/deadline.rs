//! How is a time-out kept without a timer for each request?
//!
//! A connection has one timer, which is set again only when it fires before
//! the deadline of the request that is under way: a request that ends in time
//! costs no timer, and no look at one.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::load::pacer::now_ns;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// The deadlines of the request that is under way, on the clock of
/// [`now_ns`].
pub(super) struct Deadline {
    /// The same moment on both clocks, as nearly as they can be read.
    both: (u64, Instant),
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires, and whom it wakes.
    armed_ns: u64,
    wakes: Option<Waker>,
    stage: Stage,
    at_ns: u64,
    whole_at_ns: u64,
}

impl Deadline {
    pub fn new() -> Self {
        // In this order the timer is late by the time in between, not early.
        let ns = now_ns();
        Self {
            both: (ns, Instant::now()),
            timer: None,
            armed_ns: 0,
            wakes: None,
            stage: Stage::Connect,
            at_ns: u64::MAX,
            whole_at_ns: u64::MAX,
        }
    }

    /// Begins a request at `now_ns` that may take `whole`; returns when its
    /// time is up.
    pub fn begin(&mut self, now_ns: u64, whole: Duration) {
        self.whole_at_ns = now_ns.saturating_add(as_ns(whole));
    }

    /// Begins a stage at `now_ns` that may take `limit`.
    pub fn set(&mut self, now_ns: u64, stage: Stage, limit: Duration) {
        self.stage = stage;
        self.at_ns = now_ns.saturating_add(as_ns(limit)).min(self.whole_at_ns);
    }

    /// Returns the stage that is under way.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns when the whole request's time is up.
    pub fn whole_at(&self) -> Instant {
        self.instant(self.whole_at_ns)
    }

    /// Returns what the request has come to if its time is up. If not, the
    /// task is woken when it is.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        let has_fired = match &self.timer {
            Some(timer) if self.armed_ns <= self.at_ns => timer.is_elapsed(),
            _ => true,
        };
        let wakes_us = || {
            self.wakes
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        };
        if !has_fired && wakes_us() {
            return None;
        }
        loop {
            if now_ns() >= self.at_ns {
                return Some(if self.at_ns == self.whole_at_ns {
                    Outcome::TimedOut
                } else {
                    Outcome::TimedOutWhile(self.stage)
                });
            }
            let at = self.instant(self.at_ns);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            self.armed_ns = self.at_ns;
            self.wakes = Some(cx.waker().clone());
            if timer.as_mut().poll(cx) == Poll::Pending {
                return None;
            }
        }
    }

    fn instant(&self, at_ns: u64) -> Instant {
        let (ns, instant) = self.both;
        // A limit of ages is no limit.
        let ahead = at_ns.saturating_sub(ns).min(FAR_AHEAD_NS);
        instant + Duration::from_nanos(ahead)
    }
}

/// A hundred years; clocks overflow at some hundred.
const FAR_AHEAD_NS: u64 = 100 * 365 * 86_400 * 1_000_000_000;

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_deadline_moves_in_both_directions() {
        const LONG: Duration = Duration::from_millis(60);
        const SHORT: Duration = Duration::from_millis(5);
        let mut deadline = Deadline::new();
        let set = |deadline: &mut Deadline, limit| {
            deadline.set(now_ns(), Stage::Body, limit);
        };
        set(&mut deadline, SHORT);
        assert_eq!(look(&mut deadline).await, None);
        let begun = Instant::now();
        set(&mut deadline, LONG);
        assert_eq!(
            passes(&mut deadline).await,
            Outcome::TimedOutWhile(Stage::Body)
        );
        assert!(begun.elapsed() >= LONG);
        set(&mut deadline, Duration::from_secs(1_000));
        assert_eq!(look(&mut deadline).await, None);
        set(&mut deadline, SHORT);
        let begun = Instant::now();
        passes(&mut deadline).await;
        assert!(begun.elapsed() < Duration::from_secs(500));
    }

    #[tokio::test]
    async fn the_whole_request_has_a_deadline_over_those_of_its_parts() {
        let mut deadline = Deadline::new();
        deadline.begin(now_ns(), Duration::from_millis(3));
        deadline.set(now_ns(), Stage::Body, Duration::from_secs(1_000));
        assert_eq!(passes(&mut deadline).await, Outcome::TimedOut);
        deadline.begin(now_ns(), Duration::MAX);
        deadline.set(now_ns(), Stage::Body, Duration::MAX);
        assert_eq!(look(&mut deadline).await, None);
        assert!(deadline.whole_at() > Instant::now());
    }

    async fn look(deadline: &mut Deadline) -> Option<Outcome> {
        poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await
    }

    async fn passes(deadline: &mut Deadline) -> Outcome {
        poll_fn(|cx| match deadline.poll_passed(cx) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        })
        .await
    }
}
