//! How does a worker of a closed loop keep what it measured without asking
//! anyone?
//!
//! Each worker owns a recorder: no lock, no shared histogram. A call counts in
//! the slice in which it began, and a worker's calls follow each other, so that
//! a slice is over for a worker when it begins a call in a later one. It hands
//! the slice over then; whoever watches adds up what all have handed over.
//! Histograms add up exactly, and each call is in one of them alone: a record
//! is the sum of its slices.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Call;
use super::observe::{PassedSlice, Told};
use super::sets::Sets;
use crate::record::{Latencies, Outcome, Slice};

/// What one worker measured in one slice.
pub(super) struct Part {
    worker: usize,
    /// The number of the slice, from 0.
    index: u64,
    /// The slice that the worker is in now: it has left all before.
    left_before: u64,
    outcomes: BTreeMap<String, Sets>,
}

/// Records the calls of one worker.
pub(super) struct Recorder {
    slice_ns: u64,
    part: Part,
    full: Sender<Part>,
    /// The processor time of calls, where it is read apart.
    pub calls_cpu: Duration,
}

impl Recorder {
    pub fn new(worker: usize, slice: Duration, full: Sender<Part>) -> Self {
        Self {
            slice_ns: as_ns(slice).max(1),
            part: Part {
                worker,
                index: 0,
                left_before: 0,
                outcomes: BTreeMap::new(),
            },
            full,
            calls_cpu: Duration::ZERO,
        }
    }

    /// Counts a call that began `begun` after the start of the measured phase
    /// and took `response`.
    pub fn record(&mut self, begun: Duration, response: Duration, call: &Call) {
        let index = as_ns(begun) / self.slice_ns;
        if index > self.part.index {
            self.hand_over(index);
        }
        let name = call.outcome.name();
        let sets = match self.part.outcomes.get_mut(&*name) {
            Some(sets) => sets,
            None => self.part.outcomes.entry(name.into_owned()).or_default(),
        };
        sets.response.record(response);
        if let Some(signing) = call.signing {
            sets.signing.record(signing);
        }
        if let Some(exchange) = call.exchange {
            sets.service.record(exchange);
        }
    }

    /// Hands over what there is, and begins slice `index`.
    fn hand_over(&mut self, index: u64) {
        self.part.left_before = index;
        let next = Part {
            worker: self.part.worker,
            index,
            left_before: index,
            outcomes: BTreeMap::new(),
        };
        // A watcher that is gone has ended the run.
        let _ = self.full.send(std::mem::replace(&mut self.part, next));
    }

    /// Hands over the last slice; returns the processor time of calls.
    pub fn finish(mut self) -> Duration {
        self.hand_over(u64::MAX);
        self.calls_cpu
    }
}

/// What all workers have handed over.
pub(super) struct Gathered {
    slice_ns: u64,
    /// The slice that each worker is in, at least.
    reached: Vec<u64>,
    /// Slices that some worker may still be in.
    pending: BTreeMap<u64, BTreeMap<String, Sets>>,
    told: u64,
    /// The number of slices up to the last in which there was a call.
    used: u64,
    pub outcomes: BTreeMap<String, u64>,
    pub latencies: Latencies,
    pub slices: Vec<Slice>,
}

impl Gathered {
    pub fn new(workers: usize, slice: Duration) -> Self {
        Self {
            slice_ns: as_ns(slice).max(1),
            reached: vec![0; workers],
            pending: BTreeMap::new(),
            told: 0,
            used: 0,
            outcomes: BTreeMap::new(),
            latencies: Latencies::default(),
            slices: Vec::new(),
        }
    }

    /// Takes a part, and tells of the slices that are whole with it.
    pub fn take(&mut self, part: Part, tell: &mut impl FnMut(Told<'_>)) {
        self.reached[part.worker] = part.left_before;
        if !part.outcomes.is_empty() {
            self.used = self.used.max(part.index + 1);
            let slice = self.pending.entry(part.index).or_default();
            for (name, sets) in part.outcomes {
                match slice.get_mut(&name) {
                    Some(sum) => sum.add(&sets),
                    None => {
                        slice.insert(name, sets);
                    }
                }
            }
        }
        let whole = self.reached.iter().copied().min().unwrap_or_default();
        self.keep_before(whole.min(self.used), tell);
    }

    /// Takes all slices for whole: no worker hands anything over any more.
    pub fn settle(&mut self, tell: &mut impl FnMut(Told<'_>)) {
        self.keep_before(self.used, tell);
    }

    /// Adds up and tells of the slices before number `end`, empty ones too.
    fn keep_before(&mut self, end: u64, tell: &mut impl FnMut(Told<'_>)) {
        for index in self.told..end {
            let outcomes = self.pending.remove(&index).unwrap_or_default();
            let scheduled = outcomes.values().map(|sets| sets.response.count()).sum();
            let start_ns = index * self.slice_ns;
            tell(Told::Slice(PassedSlice::new(
                start_ns,
                self.slice_ns,
                scheduled,
                &outcomes,
            )));
            let mut slice = Slice {
                start_ns,
                length_ns: self.slice_ns,
                ..Slice::default()
            };
            for (name, sets) in outcomes {
                self.latencies.signing.add(&sets.signing);
                self.latencies.exchange.add(&sets.service);
                if Outcome::is_name_of_token(&name) {
                    self.latencies.response.add(&sets.response);
                    slice.response.add(&sets.response);
                } else {
                    self.latencies.failed.add(&sets.response);
                }
                let count = sets.response.count();
                *self.outcomes.entry(name.clone()).or_default() += count;
                slice.outcomes.insert(name, count);
            }
            self.slices.push(slice);
        }
        self.told = self.told.max(end);
    }
}

pub(super) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::record::Histogram;

    fn call(outcome: Outcome) -> Call {
        Call {
            outcome,
            signing: Some(Duration::from_micros(230)),
            exchange: Some(Duration::from_micros(90)),
        }
    }

    #[test]
    fn parts_of_workers_add_up_to_one_histogram_bit_for_bit() {
        let slice = Duration::from_millis(100);
        let (full, parts) = channel();
        let mut workers: Vec<_> = (0..3)
            .map(|worker| Recorder::new(worker, slice, full.clone()))
            .collect();
        let (mut response, mut failed) = (Histogram::new(), Histogram::new());
        for i in 0..300_u64 {
            let outcome = if i % 7 == 0 {
                Outcome::TimedOut
            } else {
                Outcome::Answered
            };
            let (begun, took) = (Duration::from_millis(i), Duration::from_micros(i + 1));
            match outcome {
                Outcome::Answered => response.record(took),
                _ => failed.record(took),
            }
            workers[usize::try_from(i % 3).unwrap()].record(begun, took, &call(outcome));
        }
        for worker in workers {
            worker.finish();
        }
        drop(full);
        let mut gathered = Gathered::new(3, slice);
        let mut told = Vec::new();
        let mut tell = |heard: Told<'_>| {
            if let Told::Slice(slice) = heard {
                told.push((slice.start_ns, slice.scheduled));
            }
        };
        for part in parts {
            gathered.take(part, &mut tell);
        }
        gathered.settle(&mut tell);
        let ms = 1_000_000;
        assert_eq!(told, [(0, 100), (100 * ms, 100), (200 * ms, 100)]);
        assert_eq!(gathered.latencies.response, response);
        assert_eq!(gathered.latencies.failed, failed);
        assert_eq!(gathered.latencies.signing.count(), 300);
        assert_eq!(gathered.latencies.exchange.count(), 300);
        assert_eq!(gathered.outcomes["timed_out"], failed.count());
        let mut sum = Histogram::new();
        for slice in &gathered.slices {
            sum.add(&slice.response);
        }
        assert_eq!(sum, response);
        assert_eq!(gathered.slices.len(), 3);
    }

    #[test]
    fn a_slice_is_whole_once_every_worker_has_left_it() {
        let slice = Duration::from_millis(100);
        let (full, parts) = channel();
        let mut workers: Vec<_> = (0..2)
            .map(|worker| Recorder::new(worker, slice, full.clone()))
            .collect();
        let mut gathered = Gathered::new(2, slice);
        let mut record = |worker: usize, ms: u64| {
            let (begun, took) = (Duration::from_millis(ms), Duration::from_millis(1));
            workers[worker].record(begun, took, &call(Outcome::Answered));
            let mut told = Vec::new();
            for part in parts.try_iter() {
                gathered.take(part, &mut |heard: Told<'_>| {
                    if let Told::Slice(slice) = heard {
                        told.push(slice.start_ns / 100_000_000);
                    }
                });
            }
            told
        };
        assert!(record(0, 10).is_empty());
        assert!(record(0, 110).is_empty(), "the other may still be in it");
        // The other's first call began in the third slice.
        assert_eq!(record(1, 210), [0]);
        assert!(record(1, 310).is_empty());
        assert_eq!(record(0, 320), [1, 2]);
    }
}
