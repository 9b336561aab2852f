//! How is a time-out kept without a timer for each request?
//!
//! A connection has one timer, which is set again only when it fires before
//! the deadline of the request that is under way: a request that ends in time
//! costs no timer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The deadline of the request that is under way.
pub(super) struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    at: Instant,
}

impl Deadline {
    pub fn new() -> Self {
        Self {
            timer: None,
            at: Instant::now(),
        }
    }

    /// Sets the deadline to `limit` from now.
    pub fn set(&mut self, limit: Duration) {
        self.at = Instant::now() + limit;
    }

    /// Has the deadline passed? If not, the task is woken when it has.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(self.at)));
        if self.at < timer.deadline() {
            timer.as_mut().reset(self.at);
        }
        loop {
            match timer.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(()) if Instant::now() >= self.at => return true,
                Poll::Ready(()) => timer.as_mut().reset(self.at),
            }
        }
    }
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
        deadline.set(SHORT);
        assert!(!has_passed(&mut deadline).await);
        let begun = Instant::now();
        deadline.set(LONG);
        passes(&mut deadline).await;
        assert!(begun.elapsed() >= LONG);
        deadline.set(Duration::from_secs(1_000));
        assert!(!has_passed(&mut deadline).await);
        deadline.set(SHORT);
        let begun = Instant::now();
        passes(&mut deadline).await;
        assert!(begun.elapsed() < Duration::from_secs(500));
    }

    async fn has_passed(deadline: &mut Deadline) -> bool {
        poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await
    }

    async fn passes(deadline: &mut Deadline) {
        poll_fn(|cx| {
            if deadline.poll_passed(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
