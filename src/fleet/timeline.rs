//! How do the slices of many agents become those of one load?
//!
//! Slices of one beginning are added up. Agents are nearly in step, so that a
//! few slices are open at a time; others are packed, and opened again for a
//! straggler. A slice that an agent had to add up with its neighbours makes
//! one slice of all that it overlaps, since nobody knows where in it a request
//! was.

use std::collections::BTreeMap;

use super::message::Slice;
use crate::load::observe::{PassedSlice, Sets};
use crate::record::{OpenSlice, OutcomeStages};

/// Slices that are kept open; an open outcome takes 2 MB.
const MOST_OPEN: usize = 6;

/// The most slices of a record, as a load on one machine keeps.
const MOST_KEPT: usize = 120;

/// The slices of all agents.
#[derive(Default)]
pub struct Timeline {
    /// By beginning and length.
    slices: BTreeMap<(u64, u64), Entry>,
    clock: u64,
}

struct Entry {
    scheduled: u64,
    state: Contents,
}

enum Contents {
    Open(OpenSums),
    Packed(Vec<OutcomeStages>),
}

/// The sums of one slice.
#[derive(Default)]
pub struct OpenSums {
    outcomes: BTreeMap<String, Sets>,
    touched: u64,
}

impl OpenSums {
    /// Returns the sums of the requests that ended in one way.
    pub fn outcome(&mut self, name: &str) -> &mut Sets {
        self.outcomes.entry(name.to_owned()).or_default()
    }

    fn pack(&self) -> Vec<OutcomeStages> {
        self.outcomes
            .iter()
            .map(|(name, sets)| OutcomeStages {
                outcome: name.clone(),
                count: sets.response.count(),
                stages: sets.pack(),
            })
            .collect()
    }

    fn add(&mut self, outcomes: &[OutcomeStages]) {
        for of in outcomes {
            self.outcome(&of.outcome).add(&Sets::unpack(&of.stages));
        }
    }
}

impl Timeline {
    /// Counts the starts of a slice and returns its sums.
    pub fn open(&mut self, slice: &Slice) -> &mut OpenSums {
        let key = (slice.start_ns, slice.length_ns);
        self.clock += 1;
        if !self
            .slices
            .get(&key)
            .is_some_and(|entry| matches!(entry.state, Contents::Open(_)))
        {
            self.make_room();
        }
        let entry = self.slices.entry(key).or_insert_with(|| Entry {
            scheduled: 0,
            state: Contents::Open(OpenSums::default()),
        });
        entry.scheduled += slice.scheduled;
        if let Contents::Packed(outcomes) = &entry.state {
            let mut sums = OpenSums::default();
            sums.add(outcomes);
            entry.state = Contents::Open(sums);
        }
        let Contents::Open(sums) = &mut entry.state else {
            unreachable!("it was opened above");
        };
        sums.touched = self.clock;
        sums
    }

    /// Packs the slice that was left alone for longest, if too many are open.
    fn make_room(&mut self) {
        let open = || {
            self.slices
                .iter()
                .filter_map(|(key, entry)| match &entry.state {
                    Contents::Open(sums) => Some((sums.touched, *key)),
                    Contents::Packed(_) => None,
                })
        };
        if open().count() < MOST_OPEN {
            return;
        }
        let oldest = open().min().map(|(_, key)| key);
        if let Some(entry) = oldest.and_then(|key| self.slices.get_mut(&key))
            && let Contents::Open(sums) = &entry.state
        {
            entry.state = Contents::Packed(sums.pack());
        }
    }

    /// Shows the slices that begin between two moments, in order.
    pub fn show(&self, from_ns: u64, until_ns: u64, show: &mut dyn FnMut(PassedSlice<'_>)) {
        for ((start_ns, length_ns), entry) in self.slices.range((from_ns, 0)..(until_ns, 0)) {
            let mut show = |sums: &OpenSums| {
                let outcomes = &sums.outcomes;
                show(PassedSlice::new(
                    *start_ns,
                    *length_ns,
                    entry.scheduled,
                    outcomes,
                ));
            };
            match &entry.state {
                Contents::Open(sums) => show(sums),
                Contents::Packed(outcomes) => {
                    let mut sums = OpenSums::default();
                    sums.add(outcomes);
                    show(&sums);
                }
            }
        }
    }

    /// Returns the slices in order, none overlapping another.
    #[must_use]
    pub fn finish(self) -> Vec<OpenSlice> {
        let mut slices: Vec<OpenSlice> = Vec::new();
        for ((start_ns, length_ns), entry) in self.slices {
            let slice = OpenSlice {
                start_ns,
                length_ns,
                scheduled: entry.scheduled,
                outcomes: match entry.state {
                    Contents::Open(sums) => sums.pack(),
                    Contents::Packed(outcomes) => outcomes,
                },
            };
            match slices.last_mut() {
                Some(last) if slice.start_ns < last.start_ns + last.length_ns => join(last, &slice),
                _ => slices.push(slice),
            }
        }
        let unit = slices.iter().map(|slice| slice.length_ns).min();
        let mut length_ns = unit.unwrap_or_default();
        while slices.len() > MOST_KEPT {
            length_ns *= 2;
            slices = coarser(slices, length_ns);
        }
        slices
    }
}

/// Joins slices that begin within the same multiple of `length_ns`.
fn coarser(slices: Vec<OpenSlice>, length_ns: u64) -> Vec<OpenSlice> {
    let mut joined: Vec<OpenSlice> = Vec::new();
    for slice in slices {
        match joined.last_mut() {
            Some(last) if last.start_ns / length_ns == slice.start_ns / length_ns => {
                join(last, &slice);
            }
            _ => joined.push(slice),
        }
    }
    joined
}

fn join(into: &mut OpenSlice, slice: &OpenSlice) {
    let end_ns = (into.start_ns + into.length_ns).max(slice.start_ns + slice.length_ns);
    into.length_ns = end_ns - into.start_ns;
    into.scheduled += slice.scheduled;
    let mut sums = OpenSums::default();
    sums.add(&into.outcomes);
    sums.add(&slice.outcomes);
    into.outcomes = sums.pack();
}
