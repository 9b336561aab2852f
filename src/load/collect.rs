//! How do the slices of all threads become one record?
//!
//! Histograms of equal bounds add up exactly, so the sum over threads is what
//! one thread would have measured. A slice is packed as soon as every thread
//! has handed in its own; when there are many, neighbours are joined, so that
//! an hour takes no more memory than some minutes.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use super::observe::{PassedSlice, Told};
use super::sets::Sets;
use super::tally::SliceTally;
use crate::record::{OpenSlice, OutcomeStages};

/// The most slices that are kept apart. Estimates ask for thirty at least, and
/// half of these are left after neighbours were joined. A packed slice takes
/// about 3 KiB: until a run has this many, its memory grows by so much with
/// each, and not beyond.
const MAX_SLICES: usize = 120;

/// How many emptied sets of histograms are kept, of 2 MiB each.
const MOST_SPARE: usize = 4;

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
    /// The slice that is being joined, with its beginning.
    last: Option<(u64, Pending)>,
    /// Emptied histograms.
    spare: Vec<Sets>,
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
            last: None,
            spare: Vec::new(),
            totals: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Takes a slice of one thread and gives its memory back; tells of the
    /// slice if that was the last part of it.
    pub fn take(
        &mut self,
        mut slice: Box<SliceTally>,
        give_back: &Sender<Box<SliceTally>>,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        let index = slice.index;
        let mut pending = self.pending.remove(&index).unwrap_or_default();
        pending.threads += 1;
        pending.scheduled += slice.scheduled;
        self.scheduled += slice.scheduled;
        for (name, sets) in &slice.outcomes {
            if sets.response.count() == 0 {
                continue;
            }
            add(&mut pending.outcomes, &mut self.spare, name, sets);
            add(&mut self.totals, &mut self.spare, name, sets);
        }
        slice.reset();
        // The thread may have ended.
        let _ = give_back.send(slice);
        if pending.threads == self.threads {
            self.keep(index, pending, tell);
        } else {
            self.pending.insert(index, pending);
        }
    }

    /// Takes the slices for whole that some thread never reached: no thread
    /// hands anything over any more.
    pub fn settle(&mut self, tell: &mut impl FnMut(Told<'_>)) {
        for (index, pending) in std::mem::take(&mut self.pending) {
            self.keep(index, pending, tell);
        }
    }

    /// Returns all slices; to be settled before.
    pub fn finish(mut self) -> (Vec<OpenSlice>, BTreeMap<String, Sets>, u64) {
        self.pack_last();
        self.kept.sort_by_key(|slice| slice.start_ns);
        (self.kept, self.totals, self.scheduled)
    }

    /// Tells of a slice and adds it to the one that is being joined, if it
    /// belongs to it.
    fn keep(&mut self, index: u64, slice: Pending, tell: &mut impl FnMut(Told<'_>)) {
        tell(Told::Slice(PassedSlice::new(
            index * self.slice_ns,
            self.slice_ns,
            slice.scheduled,
            &slice.outcomes,
        )));
        let mut start_ns = self.start_of(index);
        if self.last.as_ref().is_some_and(|last| last.0 != start_ns) {
            self.pack_last();
            // Slices may have become longer.
            start_ns = self.start_of(index);
        }
        // A straggler belongs to one that was packed already.
        if let Some(kept) = self.kept.iter_mut().rev().find(|s| s.start_ns == start_ns) {
            kept.scheduled += slice.scheduled;
            for (name, sets) in &slice.outcomes {
                join(&mut kept.outcomes, name, sets);
            }
            self.recycle(slice);
            return;
        }
        match &mut self.last {
            Some((_, last)) => {
                last.scheduled += slice.scheduled;
                for (name, sets) in &slice.outcomes {
                    add(&mut last.outcomes, &mut self.spare, name, sets);
                }
                self.recycle(slice);
            }
            None => self.last = Some((start_ns, slice)),
        }
    }

    /// Returns where the joined slice begins that holds slice `index`.
    fn start_of(&self, index: u64) -> u64 {
        index / self.joined * self.joined * self.slice_ns
    }

    /// Packs the slice that was being joined.
    fn pack_last(&mut self) {
        let Some((start_ns, slice)) = self.last.take() else {
            return;
        };
        self.kept.push(OpenSlice {
            start_ns,
            length_ns: self.slice_ns * self.joined,
            scheduled: slice.scheduled,
            outcomes: slice
                .outcomes
                .iter()
                .map(|(name, sets)| packed(name, sets))
                .collect(),
        });
        self.recycle(slice);
        if self.kept.len() > self.most_slices {
            self.join_neighbours();
        }
    }

    /// Keeps the memory of histograms that have served. Asking the system for
    /// it anew with each slice would tear holes between the packed ones, and
    /// memory would creep.
    fn recycle(&mut self, slice: Pending) {
        for (_, mut sets) in slice.outcomes {
            if self.spare.len() < MOST_SPARE {
                sets.clear();
                self.spare.push(sets);
            }
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

fn add(sums: &mut BTreeMap<String, Sets>, spare: &mut Vec<Sets>, name: &str, sets: &Sets) {
    if let Some(sum) = sums.get_mut(name) {
        sum.add(sets);
    } else {
        let mut own = spare.pop().unwrap_or_default();
        own.add(sets);
        sums.insert(name.to_owned(), own);
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
        let mut told = Sets::default();
        let mut told_scheduled = 0;
        let mut listen = |told_of: Told<'_>| {
            let Told::Slice(slice) = told_of else {
                panic!("a collector knows of slices alone");
            };
            told_scheduled += slice.scheduled;
            for (_, sets) in slice.outcomes() {
                told.add(sets);
            }
        };
        // Threads are not in step.
        for shipped in lanes {
            for (_, slice) in shipped {
                collector.take(slice, &back, &mut listen);
            }
        }
        collector.settle(&mut listen);
        assert_eq!(told_scheduled, expected_scheduled);
        assert_eq!(told.response, one.response);
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
