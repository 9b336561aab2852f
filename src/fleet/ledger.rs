//! What have the agents told, each of it counted once?
//!
//! A message is known by the agent's slot, its incarnation and its number;
//! whatever comes a second time is counted and left out. A message is checked
//! whole before any of it is added. The sum over messages of an agent is held
//! against its own totals by numbers that add up as histograms do
//! ([`weight`]), so that nobody has to keep a histogram for each agent.
//! Nothing here waits or speaks to a server: whatever order, copies and holes
//! a test invents, the sums are those of what got through.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Delta, End, Part, Sender, Slice, Told};
use super::timeline::Timeline;
use crate::load::observe::Sets;
use crate::record::encoded::{scan, weight};
use crate::record::fleet::DeltaFacts;
use crate::record::histogram::EncodingError;
use crate::record::stages::PARTS;

/// The most outcomes of one slice: there are some dozens of names, and a
/// server's imagination has none of its own.
const MOST_OUTCOMES: usize = 128;

/// What the agents of one run told.
pub struct Ledger {
    run: String,
    slice_ns: u64,
    measure_ns: u64,
    slots: Vec<Slot>,
    timeline: Timeline,
    totals: BTreeMap<String, Sets>,
    /// What became of messages.
    pub facts: DeltaFacts,
    /// Why messages were rejected, the first few.
    pub rejections: Vec<String>,
}

/// What one agent told.
#[derive(Default)]
pub struct Slot {
    incarnation: Option<String>,
    seen: Seen,
    /// Starts of the slices that it told of.
    pub scheduled: u64,
    /// The end of the last of them, in nanoseconds.
    pub covered_until_ns: u64,
    /// Slices of the planned length that it told of.
    pub slices: BTreeSet<u64>,
    /// Slices that were added up by the agent.
    pub coalesced: u64,
    /// From which slice on the share is others', in nanoseconds from the
    /// beginning of the measured phase.
    pub given_away_ns: Option<u64>,
    /// Starts of later slices, which the agent made although they were others'.
    pub surplus: u64,
    marks: BTreeMap<String, Marks>,
    /// Its end, if it told that.
    pub end: Option<End>,
}

/// Numbers of messages, mostly without gaps.
#[derive(Default)]
struct Seen {
    /// All up to this one were seen.
    upto: u64,
    beyond: BTreeSet<u64>,
}

/// How many requests ended in one way, and numbers for their histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    count: u64,
    weights: [u64; PARTS],
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was added.
    Merged,
    /// It had been added before.
    Duplicate,
    /// It is not of this run or of its agents.
    Stale,
    /// It is not what it has to be.
    Rejected(String),
}

/// A part of a slice that was read and not yet added.
struct ReadPart<'a> {
    part: &'a Part,
    counts: Vec<Vec<(u64, u64)>>,
    marks: Marks,
}

impl Ledger {
    /// Makes an empty ledger for `agents` agents.
    #[must_use]
    pub fn new(run: &str, agents: usize, slice_ns: u64, measure_ns: u64) -> Self {
        Self {
            run: run.to_owned(),
            slice_ns: slice_ns.max(1),
            measure_ns,
            slots: (0..agents).map(|_| Slot::default()).collect(),
            timeline: Timeline::default(),
            totals: BTreeMap::new(),
            facts: DeltaFacts::default(),
            rejections: Vec::new(),
        }
    }

    /// Takes messages of this incarnation from a slot from now on; slots beyond
    /// those so far are made.
    pub fn expect(&mut self, slot: usize, incarnation: &str) {
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        self.slots[slot].incarnation = Some(incarnation.to_owned());
    }

    /// Counts what a slot tells of slices from `from_ns` on apart: its share is
    /// others' by then. The time is from the beginning of the measured phase.
    pub fn give_away(&mut self, slot: usize, from_ns: u64) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.given_away_ns = Some(from_ns);
        }
    }

    /// Takes a message.
    pub fn take(&mut self, frame: &[u8]) -> Taken {
        let taken = match Told::of_frame(frame) {
            Err(error) => Taken::Rejected(crate::error::Chain(&error).to_string()),
            Ok(told) if !self.is_expected(told.sender()) => Taken::Stale,
            Ok(Told::Delta(delta)) => self.take_delta(&delta),
            Ok(Told::End(end)) => self.take_end(end),
        };
        match &taken {
            Taken::Merged => self.facts.merged += 1,
            Taken::Duplicate => self.facts.duplicate += 1,
            Taken::Stale => self.facts.stale += 1,
            Taken::Rejected(why) => {
                self.facts.rejected += 1;
                if self.rejections.len() < 10 {
                    self.rejections.push(why.clone());
                }
            }
        }
        taken
    }

    /// Returns what the agents told, by slot.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the sums so far, by outcome.
    #[must_use]
    pub fn totals(&self) -> &BTreeMap<String, Sets> {
        &self.totals
    }

    /// Returns the slices so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Returns the slices so far, and the sums by outcome.
    #[must_use]
    pub fn finish(self) -> (Timeline, BTreeMap<String, Sets>) {
        (self.timeline, self.totals)
    }

    fn is_expected(&self, of: &Sender) -> bool {
        of.run == self.run
            && self
                .slots
                .get(of.slot)
                .is_some_and(|slot| slot.incarnation.as_ref() == Some(&of.incarnation))
    }

    fn take_delta(&mut self, delta: &Delta) -> Taken {
        let slot = &self.slots[delta.of.slot];
        if delta.seq == 0 {
            return Taken::Rejected("a delta is number 0, expected 1 or more".to_owned());
        }
        if slot.seen.contains(delta.seq) {
            return Taken::Duplicate;
        }
        let read: Result<Vec<_>, _> = delta.slices.iter().map(|slice| self.read(slice)).collect();
        let read = match read {
            Ok(read) => read,
            Err(why) => return Taken::Rejected(why),
        };
        let slot = &mut self.slots[delta.of.slot];
        slot.seen.insert(delta.seq);
        for (slice, parts) in delta.slices.iter().zip(read) {
            for read in &parts {
                let marks = slot.marks.entry(read.part.outcome.clone());
                marks.or_default().add(&read.marks);
            }
            if slot
                .given_away_ns
                .is_some_and(|from_ns| slice.end_ns() > from_ns)
            {
                slot.surplus += slice.scheduled;
                continue;
            }
            slot.scheduled += slice.scheduled;
            slot.covered_until_ns = slot.covered_until_ns.max(slice.end_ns());
            let index = slice.start_ns / self.slice_ns;
            if slice.length_ns == self.slice_ns {
                slot.slices.insert(index);
            } else {
                let covered = slice.length_ns / self.slice_ns;
                slot.slices.extend(index..index + covered);
                slot.coalesced += covered;
            }
            let sums = self.timeline.open(slice);
            for read in &parts {
                let name = &read.part.outcome;
                let total = self.totals.entry(name.clone()).or_default();
                read.add_to(total);
                read.add_to(sums.outcome(name));
            }
        }
        Taken::Merged
    }

    fn take_end(&mut self, end: End) -> Taken {
        let slot = &mut self.slots[end.of.slot];
        if slot.end.is_some() {
            return Taken::Duplicate;
        }
        if let Some(totals) = &end.totals
            && let Err(error) = totals
                .outcomes
                .iter()
                .try_for_each(|part| ReadPart::of(part).map(drop))
        {
            return Taken::Rejected(error);
        }
        slot.end = Some(end);
        Taken::Merged
    }

    /// Checks a slice and reads its histograms.
    fn read<'a>(&self, slice: &'a Slice) -> Result<Vec<ReadPart<'a>>, String> {
        let end_ns = self.measure_ns.div_ceil(self.slice_ns) * self.slice_ns;
        if !slice.start_ns.is_multiple_of(self.slice_ns)
            || slice.length_ns == 0
            || !slice.length_ns.is_multiple_of(self.slice_ns)
            || slice.end_ns() > end_ns
        {
            return Err(format!(
                "a slice of {} ns begins at {} ns, expected multiples of {} ns within {end_ns} ns",
                slice.length_ns, slice.start_ns, self.slice_ns
            ));
        }
        if slice.outcomes.len() > MOST_OUTCOMES {
            return Err(format!(
                "a slice has {} outcomes, expected at most {MOST_OUTCOMES}",
                slice.outcomes.len()
            ));
        }
        let parts: Vec<_> = slice
            .outcomes
            .iter()
            .map(ReadPart::of)
            .collect::<Result<_, _>>()?;
        let ended: u128 = parts.iter().map(|read| u128::from(read.part.count)).sum();
        if ended > u128::from(slice.scheduled) {
            return Err(format!(
                "a slice has {ended} requests of {} starts",
                slice.scheduled
            ));
        }
        Ok(parts)
    }
}

impl<'a> ReadPart<'a> {
    fn of(part: &'a Part) -> Result<Self, String> {
        let is_name = (1..=64).contains(&part.outcome.len())
            && part.outcome.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            return Err("an outcome has no name of 1 to 64 characters".to_owned());
        }
        let mut marks = Marks {
            count: part.count,
            ..Marks::default()
        };
        let mut counts = Vec::new();
        for (text, mark) in part.parts.iter().zip(&mut marks.weights) {
            let mut of_part = Vec::new();
            if !text.is_empty() {
                scan(text, |value, count| {
                    *mark = mark.wrapping_add(weight(value, count));
                    of_part.push((value, count));
                })
                .map_err(|error: EncodingError| error.to_string())?;
            }
            counts.push(of_part);
        }
        let response: u128 = counts[0].iter().map(|(_, count)| u128::from(*count)).sum();
        if response != u128::from(part.count) {
            return Err(format!(
                "{} requests have {response} response times",
                part.count
            ));
        }
        Ok(Self {
            part,
            counts,
            marks,
        })
    }

    fn add_to(&self, sets: &mut Sets) {
        for (histogram, counts) in sets.parts_mut().into_iter().zip(&self.counts) {
            for (value, count) in counts {
                histogram.record_many(*value, *count);
            }
        }
    }
}

impl Slot {
    /// Returns the numbers of messages that did not arrive; `None` if the
    /// agent has not said how many there are.
    #[must_use]
    pub fn missing(&self) -> Option<Vec<u64>> {
        let last = self.end.as_ref()?.last_seq;
        // An absurd number must not be counted up to.
        let last = last.min(self.seen.most() + 100_000);
        Some(
            (self.seen.upto + 1..=last)
                .filter(|seq| !self.seen.contains(*seq))
                .collect(),
        )
    }

    /// Has a message arrived before an earlier one?
    #[must_use]
    pub fn has_gap(&self) -> bool {
        !self.seen.beyond.is_empty()
    }

    /// Has everything arrived?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing().is_some_and(|missing| missing.is_empty())
    }

    /// Is the sum of its messages what the agent says to have measured? `None`
    /// if it has not said.
    #[must_use]
    pub fn is_exact(&self) -> Option<bool> {
        let totals = self.end.as_ref()?.totals.as_ref()?;
        let mut own = BTreeMap::new();
        for part in &totals.outcomes {
            let Ok(mut read) = ReadPart::of(part) else {
                return Some(false);
            };
            // The rest of the parts is measured for the whole load alone.
            read.marks.weights[Sets::PARTS..].fill(0);
            own.insert(part.outcome.clone(), read.marks);
        }
        Some(totals.scheduled == self.scheduled + self.surplus && own == self.marks)
    }
}

impl Seen {
    fn contains(&self, seq: u64) -> bool {
        seq <= self.upto || self.beyond.contains(&seq)
    }

    fn insert(&mut self, seq: u64) {
        self.beyond.insert(seq);
        while self.beyond.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
    }

    fn most(&self) -> u64 {
        self.beyond.last().copied().unwrap_or(self.upto)
    }
}

impl Marks {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for (own, other) in self.weights.iter_mut().zip(other.weights) {
            *own = own.wrapping_add(other);
        }
    }
}

#[cfg(test)]
mod tests;
