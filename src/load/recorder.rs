//! How does a worker keep what it measured without asking anyone?
//!
//! Each worker owns a recorder: no lock, no shared histogram. What other
//! threads may look at during the run are two counters. Recorders are merged
//! once, at the end; histograms add up exactly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::{Call, Progress};
use crate::record::{Latencies, Outcome, Slice};

/// Counts that others may read while a thread works. Only that thread writes
/// them, and no other writes to their cache line.
#[derive(Debug, Default)]
pub(super) struct Live(CachePadded<Counts>);

#[derive(Debug, Default)]
struct Counts {
    due: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What one worker measured.
pub(super) struct Recorder {
    slice_length: Duration,
    pub outcomes: BTreeMap<String, u64>,
    pub assertions_signed: u64,
    pub requests_sent: u64,
    pub latencies: Latencies,
    pub slices: Vec<Slice>,
    /// The processor time of calls, where it is read apart.
    pub calls_cpu: Duration,
}

impl Recorder {
    pub fn new(slice_length: Duration) -> Self {
        Self {
            slice_length,
            outcomes: BTreeMap::new(),
            assertions_signed: 0,
            requests_sent: 0,
            latencies: Latencies::default(),
            slices: Vec::new(),
            calls_cpu: Duration::ZERO,
        }
    }

    /// Counts a call that began `begun` after the start of the measured phase
    /// and took `response`.
    pub fn record(&mut self, begun: Duration, response: Duration, call: &Call) {
        let name = call.outcome.name();
        let slice = self.slice_at(begun);
        count(&mut slice.outcomes, &name);
        if call.outcome.is_answered() {
            slice.response.record(response);
            self.latencies.response.record(response);
        } else {
            self.latencies.failed.record(response);
        }
        count(&mut self.outcomes, &name);
        if let Some(signing) = call.signing {
            self.assertions_signed += 1;
            self.latencies.signing.record(signing);
        }
        if let Some(exchange) = call.exchange {
            self.requests_sent += 1;
            self.latencies.exchange.record(exchange);
        }
    }

    /// Adds what another worker measured.
    pub fn merge(&mut self, other: &Self) {
        for (name, number) in &other.outcomes {
            *self.outcomes.entry(name.clone()).or_default() += number;
        }
        self.assertions_signed += other.assertions_signed;
        self.requests_sent += other.requests_sent;
        self.latencies.add(&other.latencies);
        self.calls_cpu += other.calls_cpu;
        for slice in &other.slices {
            let ours = self.slice_at(Duration::from_nanos(slice.start_ns));
            for (name, number) in &slice.outcomes {
                *ours.outcomes.entry(name.clone()).or_default() += number;
            }
            ours.response.add(&slice.response);
        }
    }

    fn slice_at(&mut self, begun: Duration) -> &mut Slice {
        let length = as_ns(self.slice_length).max(1);
        let index = usize::try_from(as_ns(begun) / length).unwrap_or(usize::MAX);
        while self.slices.len() <= index {
            self.slices.push(Slice {
                start_ns: self.slices.len() as u64 * length,
                length_ns: length,
                ..Slice::default()
            });
        }
        &mut self.slices[index]
    }
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

/// Counts without allocating once the name is there.
fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(number) => *number += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

pub(super) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outcome: Outcome) -> Call {
        Call {
            outcome,
            signing: Some(Duration::from_micros(230)),
            exchange: Some(Duration::from_micros(90)),
        }
    }

    #[test]
    fn recorders_of_workers_add_up_to_one() {
        let slice = Duration::from_millis(100);
        let mut whole = Recorder::new(slice);
        let mut workers: Vec<_> = (0..3).map(|_| Recorder::new(slice)).collect();
        for i in 0..300_u64 {
            let outcome = if i % 7 == 0 {
                Outcome::TimedOut
            } else {
                Outcome::Answered
            };
            let (begun, response) = (Duration::from_millis(i), Duration::from_micros(i + 1));
            whole.record(begun, response, &call(outcome.clone()));
            workers[usize::try_from(i % 3).unwrap()].record(begun, response, &call(outcome));
        }
        let mut merged = Recorder::new(slice);
        for worker in &workers {
            merged.merge(worker);
        }
        assert_eq!(merged.outcomes, whole.outcomes);
        assert_eq!(merged.latencies, whole.latencies);
        assert_eq!(merged.slices, whole.slices);
        assert_eq!(merged.slices.len(), 3);
        assert_eq!(merged.assertions_signed, 300);
    }
}
