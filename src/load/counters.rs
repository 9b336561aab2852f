//! How far has a thread come, for others to read while it works?
//!
//! Four counts, which only that thread writes: a progress line and a rate are
//! made of them, and no figure of a record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::Progress;
use crate::record::Outcome;

/// Counts that others may read while a thread works. No other thread writes to
/// their cache line.
#[derive(Debug, Default)]
pub(super) struct Live(CachePadded<Counts>);

#[derive(Debug, Default)]
struct Counts {
    due: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    is_done: AtomicBool,
}

impl Live {
    /// Counts a request that is due.
    pub fn is_due(&self) {
        add(&self.0.due);
    }

    /// Counts a request that has a connection and is sent for the first time.
    pub fn is_sent(&self) {
        add(&self.0.sent);
    }

    /// Counts a request that has ended.
    pub fn has_ended(&self, outcome: &Outcome) {
        add(if outcome.is_answered() {
            &self.0.answered
        } else {
            &self.0.failed
        });
    }

    /// Notes that the thread has nothing left to do.
    pub fn set_done(&self) {
        self.0.is_done.store(true, Ordering::Release);
    }

    /// Has the thread nothing left to do?
    pub fn is_done(&self) -> bool {
        self.0.is_done.load(Ordering::Acquire)
    }

    /// Adds the counts of all threads up.
    pub fn sum<'a>(
        threads: &(impl Iterator<Item = &'a Self> + Clone),
        elapsed: Duration,
        (warm_up, measure): (Duration, Duration),
    ) -> Progress {
        let sum = |counter: fn(&Counts) -> &AtomicU64| -> u64 {
            let read = |live: &Self| counter(&live.0).load(Ordering::Relaxed);
            threads.clone().map(read).sum()
        };
        // What ends later is read first, so that no count exceeds what has to
        // come before it.
        let (answered, failed) = (sum(|live| &live.answered), sum(|live| &live.failed));
        let sent = sum(|live| &live.sent);
        Progress {
            elapsed,
            planned: warm_up + measure,
            warm_up,
            due: sum(|live| &live.due),
            sent,
            answered,
            failed,
        }
    }
}

/// Adds one to a counter that only this thread writes: a plain load and store,
/// without a locked instruction, cannot lose a count then.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
