//! What came to which endpoint, how did it go, and how long did it take?
//!
//! For whoever monitors a broker. Counting costs one addition for each request;
//! times of token requests are taken only if somebody wants them, since
//! reading the clock costs more than that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::response::Response;

use super::routes::Reset;
use super::stats::{Stats, add};
use crate::record::{Buckets, SharedBuckets};

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// The token endpoint.
    Token,
    /// Another address.
    Other,
    /// Its head was refused before an address was looked at.
    Head,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Ending {
    /// With a token, or what else was asked for.
    Granted,
    /// With an error.
    Refused,
    /// With a connection that was reset on order.
    Reset,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Token, Self::Other, Self::Head];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Other => "other",
            Self::Head => "head",
        }
    }
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Granted, Self::Refused, Self::Reset];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Reset => "reset",
        }
    }

    fn of(response: &Response) -> Self {
        if response.extensions().get::<Reset>().is_some() {
            Self::Reset
        } else if response.status().as_u16() < 400 {
            Self::Granted
        } else {
            Self::Refused
        }
    }
}

/// The counters of a running broker.
#[derive(Default)]
pub(super) struct Traffic {
    counts: [[AtomicU64; Ending::ALL.len()]; Place::ALL.len()],
    times: Option<SharedBuckets>,
}

impl Traffic {
    pub(super) fn new(takes_times: bool) -> Self {
        Self {
            times: takes_times.then(SharedBuckets::default),
            ..Self::default()
        }
    }

    /// Reads the clock, if times are taken.
    pub(super) fn begin(&self) -> Option<Instant> {
        self.times.as_ref().map(|_| Instant::now())
    }

    /// Counts a request that was answered; of one for a token it knows when it
    /// began.
    pub(super) fn count(&self, place: Place, begun: Option<Instant>, response: &Response) {
        add(&self.counts[place as usize][Ending::of(response) as usize]);
        if let (Place::Token, Some(times), Some(begun)) = (place, &self.times, begun) {
            times.observe(begun.elapsed());
        }
    }

    fn read(&self) -> Vec<(Place, Ending, u64)> {
        let both = Place::ALL
            .into_iter()
            .flat_map(|place| Ending::ALL.map(|ending| (place, ending)));
        both.map(|(place, ending)| {
            let count = self.counts[place as usize][ending as usize].load(Ordering::Relaxed);
            (place, ending, count)
        })
        .collect()
    }
}

/// A reading of what monitoring wants to know of a broker. Every count only
/// grows, but for the connections that are open and the entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Requests whose head arrived and that were answered.
    pub requests: Vec<(Place, Ending, u64)>,
    /// From the head of a token request to its answer, delays on order
    /// included; if times are taken.
    pub token_times: Option<Buckets>,
    /// Assertions that the replay cache remembers, those included that have
    /// expired and were not removed yet.
    pub replay_entries: usize,
    /// The other counters.
    pub stats: Stats,
}

impl Reading {
    pub(super) fn of(traffic: &Traffic, replay_entries: usize, stats: Stats) -> Self {
        Self {
            requests: traffic.read(),
            token_times: traffic.times.as_ref().map(SharedBuckets::read),
            replay_entries,
            stats,
        }
    }
}
