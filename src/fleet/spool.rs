//! How does an agent keep what it measured until it is safe elsewhere?
//!
//! A slice is sealed into a message with a number when there is room on the
//! way, and from then on neither changes; the message is kept until the
//! coordinator has written its result, since a server's acknowledgement is not
//! yet a disk's. While nothing can be sent, slices gather; when there are too
//! many, neighbours are added up: time becomes coarser there, counts stay
//! exact. The load never waits for any of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::message::{Delta, Part, Sender, Slice, Told};
use crate::load::observe::Sets;
use crate::record::Stages;
use crate::record::histogram::EncodingError;

/// Messages on their way at once. One a second leaves; more are needed only
/// to catch up.
const MOST_ON_THE_WAY: usize = 4;

/// Slices in one message, and its bytes, well below the limit of a server.
const MOST_IN_ONE: usize = 8;
const MOST_BYTES: usize = 400_000;

/// Messages of one agent, sealed and not yet sealed.
pub struct Spool {
    of: Sender,
    /// The most slices that gather before neighbours are added up.
    most: usize,
    fresh: VecDeque<Slice>,
    sealed: BTreeMap<u64, Sealed>,
    on_the_way: usize,
    resent: u64,
}

struct Sealed {
    frame: Arc<[u8]>,
    is_acknowledged: bool,
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub seq: u64,
    /// Its contents.
    pub frame: Arc<[u8]>,
}

impl Spool {
    /// Makes an empty spool that lets `most` slices gather.
    #[must_use]
    pub fn new(of: Sender, most: usize) -> Self {
        Self {
            of,
            most: most.max(2),
            fresh: VecDeque::new(),
            sealed: BTreeMap::new(),
            on_the_way: 0,
            resent: 0,
        }
    }

    /// Keeps a slice.
    ///
    /// # Errors
    ///
    /// A histogram of this program cannot be read, which is a defect of it.
    pub fn keep(&mut self, slice: Slice) -> Result<(), EncodingError> {
        self.fresh.push_back(slice);
        if self.fresh.len() > self.most {
            // A long pause ends with all of its slices at once, empty ones: they
            // tell nothing that the end does not.
            self.fresh.retain(|slice| slice.scheduled > 0);
        }
        if self.fresh.len() > self.most {
            let pairs = std::mem::take(&mut self.fresh);
            let mut pairs = pairs.into_iter();
            while let Some(mut first) = pairs.next() {
                if let Some(second) = pairs.next() {
                    first = together(&first, &second)?;
                }
                self.fresh.push_back(first);
            }
        }
        Ok(())
    }

    /// Returns the next message to publish, if there is one and room for it.
    pub fn next_message(&mut self) -> Option<Message> {
        (self.on_the_way < MOST_ON_THE_WAY).then(|| self.seal())?
    }

    /// Seals the slices that gather, as many as one message takes.
    fn seal(&mut self) -> Option<Message> {
        if self.fresh.is_empty() {
            return None;
        }
        let mut slices = Vec::new();
        let mut bytes = 0;
        while let Some(slice) = self.fresh.front() {
            bytes += slice
                .outcomes
                .iter()
                .flat_map(|part| &part.parts)
                .map(String::len)
                .sum::<usize>();
            if slices.len() == MOST_IN_ONE || (bytes > MOST_BYTES && !slices.is_empty()) {
                break;
            }
            slices.extend(self.fresh.pop_front());
        }
        let seq = self.last_seq() + 1;
        let delta = Told::Delta(Delta {
            of: self.of.clone(),
            seq,
            slices,
        });
        let frame: Arc<[u8]> = delta.to_frame().into();
        self.sealed.insert(
            seq,
            Sealed {
                frame: Arc::clone(&frame),
                is_acknowledged: false,
            },
        );
        self.on_the_way += 1;
        Some(Message { seq, frame })
    }

    /// Notes that the server has a message.
    pub fn acknowledged(&mut self, seq: u64) {
        if let Some(sealed) = self.sealed.get_mut(&seq)
            && !std::mem::replace(&mut sealed.is_acknowledged, true)
        {
            self.on_the_way -= 1;
        }
    }

    /// Notes that a message is published once more.
    pub fn tried_again(&mut self) {
        self.resent += 1;
    }

    /// Returns messages that the coordinator misses, as far as they exist.
    pub fn again(&mut self, wanted: &[u64]) -> Vec<Message> {
        let found: Vec<_> = wanted
            .iter()
            .filter_map(|seq| {
                let frame = Arc::clone(&self.sealed.get(seq)?.frame);
                Some(Message { seq: *seq, frame })
            })
            .collect();
        self.resent += found.len() as u64;
        found
    }

    /// Seals all that is left, and returns every message that no server has
    /// acknowledged.
    pub fn unacknowledged(&mut self) -> Vec<Message> {
        while self.seal().is_some() {}
        self.sealed
            .iter()
            .filter(|(_, sealed)| !sealed.is_acknowledged)
            .map(|(seq, sealed)| Message {
                seq: *seq,
                frame: Arc::clone(&sealed.frame),
            })
            .collect()
    }

    /// Are all slices sealed and acknowledged?
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.fresh.is_empty() && self.on_the_way == 0
    }

    /// Returns how many slices and messages wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        (self.fresh.len() + self.on_the_way) as u64
    }

    /// Returns the number of the last message, 0 if there is none.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.sealed.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Returns how many messages were published more than once.
    #[must_use]
    pub fn resent(&self) -> u64 {
        self.resent
    }
}

/// Adds two slices up; nothing is lost but where the one ended.
fn together(first: &Slice, second: &Slice) -> Result<Slice, EncodingError> {
    let mut sums: BTreeMap<&str, (u64, Sets)> = BTreeMap::new();
    for part in first.outcomes.iter().chain(&second.outcomes) {
        let sets = Sets::unpack(&Stages::try_from(part)?);
        let sum = sums.entry(&part.outcome).or_default();
        sum.0 += part.count;
        sum.1.add(&sets);
    }
    let start_ns = first.start_ns.min(second.start_ns);
    Ok(Slice {
        start_ns,
        length_ns: first.end_ns().max(second.end_ns()) - start_ns,
        scheduled: first.scheduled + second.scheduled,
        outcomes: sums
            .into_iter()
            .map(|(outcome, (count, sets))| Part::of(outcome, count, &sets.pack()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(number: u64, scheduled: u64) -> Slice {
        Slice {
            start_ns: number * 10,
            length_ns: 10,
            scheduled,
            outcomes: Vec::new(),
        }
    }

    #[test]
    fn the_empty_slices_of_a_long_pause_make_no_others_coarser() {
        let of = Sender {
            run: "r".into(),
            slot: 0,
            incarnation: "a".into(),
        };
        let mut spool = Spool::new(of, 6);
        for number in 0..50 {
            let is_before = number < 3;
            spool
                .keep(slice(number, u64::from(is_before || number == 49)))
                .unwrap();
        }
        let due: Vec<_> = spool
            .fresh
            .iter()
            .filter(|slice| slice.scheduled > 0)
            .collect();
        assert_eq!(
            due,
            [&slice(0, 1), &slice(1, 1), &slice(2, 1), &slice(49, 1)]
        );
        // Without a pause they are added up.
        for number in 50..60 {
            spool.keep(slice(number, 1)).unwrap();
        }
        assert!(spool.fresh.iter().any(|slice| slice.length_ns > 10));
        let scheduled: u64 = spool.fresh.iter().map(|slice| slice.scheduled).sum();
        assert_eq!(scheduled, 14);
    }
}
