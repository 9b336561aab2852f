//! How does a thread keep what it measured, in memory that does not grow?
//!
//! Each thread has a tally of its own: no lock, no shared histogram. A request
//! counts in the slice in which it was *due*, so a slice stays open until all
//! of its requests have ended; then its histograms are handed to the collector
//! and emptied ones come back. Memory depends on how many slices are open at
//! once, not on how long a run takes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::crew::Numbered;
use super::sets::{Journey, Sets, Sums};
use super::transport::Opened;
use crate::record::{Outcome, RetryFacts};

/// The parts of one request's time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub response: u64,
    pub service: u64,
    pub generator_lag: u64,
    pub connection_wait: u64,
    pub receive_lag: Option<u64>,
    pub signing: Option<u64>,
    pub signing_wait: Option<u64>,
    /// Was the wait that for an empty ring?
    pub is_under_run: bool,
    pub write: Option<u64>,
    pub first_byte: Option<u64>,
    pub body: Option<u64>,
    pub opened: Option<Opened>,
    /// How often it was sent.
    pub attempts: u32,
    /// Where the token came from, if the load keeps tokens.
    pub way: Option<Way>,
}

/// Where the token of a call came from that looked for a kept one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It was there.
    Found,
    /// Another call was fetching it, or had failed to a moment ago.
    Joined,
    /// The call fetched it.
    Fetched,
}

/// What one thread measured in one slice.
#[derive(Clone, Debug, Default)]
pub(super) struct SliceTally {
    /// The number of the slice, from 0.
    pub index: u64,
    /// Requests that were due within it.
    pub scheduled: u64,
    /// Requests that have ended.
    pub ended: u64,
    /// The histograms by outcome; those of answered requests come back empty.
    pub outcomes: BTreeMap<String, Sets>,
}

/// What one thread measured.
pub(super) struct Tally {
    warm_up_ns: u64,
    slice_ns: u64,
    open: VecDeque<Box<SliceTally>>,
    next_index: u64,
    full: Numbered,
    spare: Receiver<Box<SliceTally>>,
    pub sums: Sums,
    pub journey: Journey,
    pub signed: u64,
    pub under_runs: u64,
    pub retries: RetryFacts,
    /// Calls by where their token came from, in the order of [`Way`].
    pub ways: [u64; 3],
    /// What a request takes that was sent in time, smoothed.
    typical_service_ns: f64,
    /// The time by which the queue is longer than it would be, had nothing
    /// been noticed late.
    debt_ns: u64,
}

impl Tally {
    pub fn new(
        warm_up: Duration,
        slice: Duration,
        full: Numbered,
        spare: Receiver<Box<SliceTally>>,
    ) -> Self {
        Self {
            warm_up_ns: as_ns(warm_up),
            slice_ns: as_ns(slice).max(1),
            open: VecDeque::new(),
            next_index: 0,
            full,
            spare,
            sums: Sums::default(),
            journey: Journey::default(),
            signed: 0,
            under_runs: 0,
            retries: RetryFacts::default(),
            ways: [0; 3],
            typical_service_ns: 0.0,
            debt_ns: 0,
        }
    }

    /// Is a request that is due `due_ns` after the beginning counted?
    pub fn counts(&self, due_ns: u64) -> bool {
        due_ns >= self.warm_up_ns
    }

    /// Notes that a request is due. Requests come in the order of their due
    /// times; earlier slices without open requests are closed.
    pub fn schedule(&mut self, due_ns: u64) {
        if !self.counts(due_ns) {
            return;
        }
        let index = (due_ns - self.warm_up_ns) / self.slice_ns;
        while self.next_index <= index {
            let mut slice = self.spare.try_recv().unwrap_or_default();
            slice.index = self.next_index;
            self.next_index += 1;
            self.open.push_back(slice);
        }
        self.close_before(index);
        if let Some(slice) = self.slice_of(due_ns) {
            slice.scheduled += 1;
        }
    }

    /// Counts a request that has ended.
    pub fn record(&mut self, due_ns: u64, outcome: &Outcome, parts: &Parts) {
        if !self.counts(due_ns) {
            return;
        }
        self.blame(parts);
        if parts.signing.is_some() {
            self.signed += u64::from(parts.attempts.max(1));
        }
        if parts.attempts > 1 {
            self.retries.requests += 1;
            self.retries.attempts += u64::from(parts.attempts - 1);
            self.retries.recovered += u64::from(outcome.is_answered());
        }
        if let Some(way) = parts.way {
            self.ways[way as usize] += 1;
        }
        self.under_runs += u64::from(parts.is_under_run);
        if let Some(opened) = parts.opened {
            self.journey.count(opened);
        }
        if outcome.is_answered() {
            self.journey.record(parts);
        }
        if let Some(slice) = self.slice_of(due_ns) {
            slice.ended += 1;
            let name = outcome.name();
            match slice.outcomes.get_mut(name.as_ref()) {
                Some(sets) => sets.record(parts),
                None => slice
                    .outcomes
                    .entry(name.into_owned())
                    .or_default()
                    .record(parts),
            }
        }
    }

    /// Hands over all slices, ended or not.
    pub fn finish(&mut self) {
        while let Some(slice) = self.open.pop_front() {
            self.full.send(slice);
        }
    }

    fn slice_of(&mut self, due_ns: u64) -> Option<&mut SliceTally> {
        let index = due_ns.checked_sub(self.warm_up_ns)? / self.slice_ns;
        let first = self.open.front()?.index;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.open.get_mut(at).map(|slice| &mut **slice)
    }

    fn close_before(&mut self, index: u64) {
        while let Some(slice) = self.open.front()
            && slice.index < index
            && slice.ended >= slice.scheduled
        {
            if let Some(slice) = self.open.pop_front() {
                self.full.send(slice);
            }
        }
    }

    /// Says whose fault the parts of a request's time were.
    ///
    /// A request that was noticed late arrives together with others that were
    /// late as well. The queue that they make, for a connection or at the
    /// target, would not be there had they been sent in time: as far as it is
    /// shorter than the lateness before it, it is the generator's. That holds
    /// for those behind them too, until the queue has been worked off: nobody
    /// owes more than the one before still had to wait.
    fn blame(&mut self, parts: &Parts) {
        let received_late = parts.receive_lag.unwrap_or_default().min(parts.service);
        let service = parts.service - received_late;
        let lag = parts.generator_lag;
        let mut generator = lag + received_late;
        let mut connections = parts.connection_wait;
        let mut target = service;
        let before = lag.max(self.debt_ns);
        self.debt_ns = lag.max(self.debt_ns.min(lag + connections));
        // Requests end in another order than they were sent in, by a little.
        if before.saturating_mul(2) > connections {
            generator += connections;
            connections = 0;
        }
        if before > service {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let typical = (self.typical_service_ns as u64).min(service);
            generator += service - typical;
            target = typical;
        } else {
            // A hundred requests forget the past.
            self.typical_service_ns += (service as f64 - self.typical_service_ns) / 100.0;
        }
        // Signing ahead delays nobody; waiting for it does.
        let signing = parts.signing_wait.unwrap_or_default();
        self.sums.generator += u128::from(generator);
        self.sums.connections += u128::from(connections);
        self.sums.target += u128::from(target);
        self.sums.signing += u128::from(signing);
    }
}

impl SliceTally {
    /// Empties the slice; the histograms of answered requests, which every
    /// slice needs, keep their memory.
    pub fn reset(&mut self) {
        self.scheduled = 0;
        self.ended = 0;
        self.outcomes
            .retain(|name, _| Outcome::is_name_of_token(name));
        for sets in self.outcomes.values_mut() {
            sets.clear();
        }
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const MS: u64 = 1_000_000;

    #[allow(clippy::type_complexity)] // The tally and both ends of its ways.
    fn tally() -> (
        Tally,
        Receiver<(usize, Box<SliceTally>)>,
        Sender<Box<SliceTally>>,
    ) {
        let (full, shipped) = channel();
        let (give_back, spare) = channel();
        let tally = Tally::new(
            Duration::from_millis(100),
            Duration::from_millis(10),
            Numbered::new(0, &full),
            spare,
        );
        (tally, shipped, give_back)
    }

    fn parts(lag: u64, wait: u64, service: u64) -> Parts {
        Parts {
            response: lag + wait + service,
            service,
            generator_lag: lag,
            connection_wait: wait,
            ..Parts::default()
        }
    }

    #[test]
    fn a_slice_is_handed_over_once_all_that_was_due_in_it_has_ended() {
        let (mut tally, shipped, give_back) = tally();
        tally.schedule(99 * MS);
        tally.record(99 * MS, &Outcome::Answered, &parts(0, 0, 1));
        for due in [100, 109, 111, 125] {
            tally.schedule(due * MS);
        }
        assert!(shipped.try_recv().is_err(), "two of the first are open");
        tally.record(109 * MS, &Outcome::Answered, &parts(0, 0, 1));
        tally.record(111 * MS, &Outcome::Answered, &parts(0, 0, 1));
        tally.schedule(131 * MS);
        assert!(shipped.try_recv().is_err(), "the first is still open");
        tally.record(100 * MS, &Outcome::TimedOut, &parts(0, 0, 40));
        tally.schedule(132 * MS);
        let (_, first) = shipped.try_recv().unwrap();
        assert_eq!((first.index, first.scheduled, first.ended), (0, 2, 2));
        assert_eq!(first.outcomes["timed_out"].response.count(), 1);
        assert_eq!(shipped.try_recv().unwrap().1.index, 1);
        assert!(shipped.try_recv().is_err(), "the third has an open request");
        let mut emptied = first;
        emptied.reset();
        assert_eq!(emptied.outcomes.len(), 1);
        give_back.send(emptied).unwrap();
        tally.schedule(145 * MS);
        tally.finish();
        let rest: Vec<_> = shipped
            .try_iter()
            .map(|(_, slice)| (slice.index, slice.scheduled))
            .collect();
        assert_eq!(rest, [(2, 1), (3, 2), (4, 1)]);
    }

    #[test]
    fn the_queue_behind_a_late_request_is_blamed_on_the_lateness() {
        let (mut tally, _shipped, _give_back) = tally();
        for _ in 0..2_000 {
            tally.blame(&parts(0, 0, 100));
        }
        tally.sums = Sums::default();
        tally.blame(&parts(10_000, 3_000, 900));
        assert_eq!(tally.sums.target, 99);
        assert_eq!(tally.sums.connections, 0);
        assert_eq!(tally.sums.generator, 13_801);
        tally.sums = Sums::default();
        // Who is in time and stands behind the late one waits for the same.
        tally.blame(&parts(0, 2_900, 99));
        assert_eq!(tally.sums.connections, 0);
        assert_eq!(tally.sums.generator, 2_900);
        tally.blame(&parts(0, 0, 100));
        tally.sums = Sums::default();
        // The queue is gone: who is in time and waits for a connection waits
        // for the target.
        tally.blame(&parts(5, 3_000, 900));
        assert_eq!(tally.sums.generator, 5);
        assert_eq!(tally.sums.connections, 3_000);
        assert_eq!(tally.sums.target, 900);
    }
}
