//! How do the slices of all threads become one record?
//!
//! Histograms of equal bounds add up exactly, so the sum over threads is what
//! one thread would have measured. A slice is packed as soon as every thread
//! has handed in its own; when there are many, neighbours are joined, so that
//! an hour takes no more memory than some minutes.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use super::sets::Sets;
use super::tally::SliceTally;
use crate::record::{OpenSlice, OutcomeStages};

/// The most slices that are kept apart. Estimates ask for thirty at least;
/// twice as many would double the size of a long run's document.
const MAX_SLICES: usize = 600;

/// Gathers the slices of all threads.
pub(super) struct Collector {
    threads: usize,
    slice_ns: u64,
    most_slices: usize,
    /// How many neighbours one kept slice joins.
    joined: u64,
    /// Slices that some thread has not handed in yet.
    pending: BTreeMap<u64, Pending>,
    kept: Vec<OpenSlice>,
    pub totals: BTreeMap<String, Sets>,
    pub scheduled: u64,
}

#[derive(Default)]
struct Pending {
    threads: usize,
    scheduled: u64,
    outcomes: BTreeMap<String, Sets>,
}

impl Collector {
    pub fn new(threads: usize, slice_ns: u64) -> Self {
        Self {
            threads,
            slice_ns: slice_ns.max(1),
            most_slices: MAX_SLICES,
            joined: 1,
            pending: BTreeMap::new(),
            kept: Vec::new(),
            totals: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Takes a slice of one thread and gives its memory back.
    pub fn take(&mut self, mut slice: Box<SliceTally>, give_back: &Sender<Box<SliceTally>>) {
        let pending = self.pending.entry(slice.index).or_default();
        pending.threads += 1;
        pending.scheduled += slice.scheduled;
        self.scheduled += slice.scheduled;
        for (name, sets) in &slice.outcomes {
            if sets.response.count() == 0 {
                continue;
            }
            add(&mut pending.outcomes, name, sets);
            add(&mut self.totals, name, sets);
        }
        let is_whole = pending.threads == self.threads;
        let index = slice.index;
        slice.reset();
        // The thread may have ended.
        let _ = give_back.send(slice);
        if is_whole && let Some(whole) = self.pending.remove(&index) {
            self.keep(index, &whole);
        }
    }

    /// Returns all slices, those included that some thread never reached.
    pub fn finish(mut self) -> (Vec<OpenSlice>, BTreeMap<String, Sets>, u64) {
        for (index, pending) in std::mem::take(&mut self.pending) {
            self.keep(index, &pending);
        }
        self.kept.sort_by_key(|slice| slice.start_ns);
        (self.kept, self.totals, self.scheduled)
    }

    fn keep(&mut self, index: u64, slice: &Pending) {
        let length_ns = self.slice_ns * self.joined;
        let start_ns = index / self.joined * length_ns;
        match self
            .kept
            .iter_mut()
            .rev()
            .find(|kept| kept.start_ns == start_ns)
        {
            Some(kept) => {
                kept.scheduled += slice.scheduled;
                for (name, sets) in &slice.outcomes {
                    join(&mut kept.outcomes, name, sets);
                }
            }
            None => self.kept.push(OpenSlice {
                start_ns,
                length_ns,
                scheduled: slice.scheduled,
                outcomes: slice
                    .outcomes
                    .iter()
                    .map(|(name, sets)| packed(name, sets))
                    .collect(),
            }),
        }
        if self.kept.len() > self.most_slices {
            self.join_neighbours();
        }
    }

    fn join_neighbours(&mut self) {
        self.joined *= 2;
        let length_ns = self.slice_ns * self.joined;
        let mut joined: BTreeMap<u64, OpenSlice> = BTreeMap::new();
        for mut slice in std::mem::take(&mut self.kept) {
            let start_ns = slice.start_ns / length_ns * length_ns;
            if let Some(whole) = joined.get_mut(&start_ns) {
                whole.scheduled += slice.scheduled;
                for of in &slice.outcomes {
                    join(&mut whole.outcomes, &of.outcome, &Sets::unpack(&of.stages));
                }
            } else {
                slice.start_ns = start_ns;
                slice.length_ns = length_ns;
                joined.insert(start_ns, slice);
            }
        }
        self.kept = joined.into_values().collect();
    }
}

fn add(sums: &mut BTreeMap<String, Sets>, name: &str, sets: &Sets) {
    match sums.get_mut(name) {
        Some(sum) => sum.add(sets),
        None => {
            sums.insert(name.to_owned(), sets.clone());
        }
    }
}

fn packed(name: &str, sets: &Sets) -> OutcomeStages {
    OutcomeStages {
        outcome: name.to_owned(),
        count: sets.response.count(),
        stages: sets.pack(),
    }
}

fn join(outcomes: &mut Vec<OutcomeStages>, name: &str, sets: &Sets) {
    match outcomes.iter_mut().find(|of| of.outcome == name) {
        Some(of) => {
            let mut sum = Sets::unpack(&of.stages);
            sum.add(sets);
            *of = packed(name, &sum);
        }
        None => outcomes.push(packed(name, sets)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::load::crew::Numbered;
    use crate::load::tally::{Parts, Tally};
    use crate::record::Outcome;

    #[test]
    fn the_sum_over_threads_and_joined_slices_is_bit_equal_to_one_histogram() {
        const THREADS: usize = 3;
        const SLICES: u64 = 50;
        let (back, _spare) = channel();
        let mut collector = Collector::new(THREADS, 1_000);
        collector.most_slices = 20;
        let mut one = Sets::default();
        let mut expected_scheduled = 0;
        let lanes: Vec<_> = (0..THREADS)
            .map(|lane| {
                let (full, shipped) = channel();
                let (_, spare) = channel();
                let full = Numbered::new(lane, &full);
                let mut tally =
                    Tally::new(Duration::ZERO, Duration::from_nanos(1_000), full, spare);
                for slice in 0..SLICES {
                    let due = slice * 1_000 + lane as u64;
                    tally.schedule(due);
                    let parts = Parts {
                        response: slice * 7_919 % 100_003 * (lane as u64 + 1),
                        service: slice,
                        ..Parts::default()
                    };
                    tally.record(due, &Outcome::Answered, &parts);
                    one.response.record(Duration::from_nanos(parts.response));
                    expected_scheduled += 1;
                }
                tally.finish();
                drop(tally);
                shipped
            })
            .collect();
        // Threads are not in step.
        for shipped in lanes {
            for (_, slice) in shipped {
                collector.take(slice, &back);
            }
        }
        let (slices, totals, scheduled) = collector.finish();
        assert_eq!(scheduled, expected_scheduled);
        assert_eq!(totals["answered"].response, one.response);
        assert_eq!(
            totals["answered"].response.encode().unwrap(),
            one.response.encode().unwrap()
        );
        assert!((10..=20).contains(&slices.len()), "{}", slices.len());
        assert!(
            slices
                .windows(2)
                .all(|pair| { pair[0].start_ns + pair[0].length_ns == pair[1].start_ns })
        );
        let mut joined = Sets::default();
        for slice in &slices {
            for of in &slice.outcomes {
                joined.add(&Sets::unpack(&of.stages));
            }
        }
        assert_eq!(joined.response, one.response);
    }
}
