//! What may be known of a load while it still runs?
//!
//! The counts so far, twenty times a second, and each slice once all that was
//! due in it has ended and every thread has handed its part over. What a load
//! measures in the end is the sum of the slices that it told: each request
//! that was due in the measured phase is in exactly one of them.
//!
//! It is told on the thread that watches, never on one that sends: whoever
//! listens may take a millisecond, and no request is later for it.

use std::collections::BTreeMap;

use super::closed::Progress;
pub use super::sets::Sets;

/// What a load tells while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// How far it has come.
    Progress(Progress),
    /// A slice is whole.
    Slice(PassedSlice<'a>),
}

/// A slice of which every thread has handed its part over.
///
/// A thread that was given up hands its part over at the end; a slice may
/// therefore come in several parts, with the same beginning, that add up.
#[derive(Clone, Copy, Debug)]
pub struct PassedSlice<'a> {
    /// Its beginning, in nanoseconds from that of the measured phase.
    pub start_ns: u64,
    /// Its length in nanoseconds.
    pub length_ns: u64,
    /// Requests that were due within it.
    pub scheduled: u64,
    outcomes: &'a BTreeMap<String, Sets>,
}

impl<'a> PassedSlice<'a> {
    /// Makes a slice of its outcomes by name.
    #[must_use]
    pub fn new(
        start_ns: u64,
        length_ns: u64,
        scheduled: u64,
        outcomes: &'a BTreeMap<String, Sets>,
    ) -> Self {
        Self {
            start_ns,
            length_ns,
            scheduled,
            outcomes,
        }
    }

    /// Iterates over the outcomes of its requests by name, each with its
    /// histograms.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'a str, &'a Sets)> + use<'a> {
        self.outcomes
            .iter()
            .filter(|(_, sets)| sets.response.count() > 0)
            .map(|(name, sets)| (name.as_str(), sets))
    }
}
