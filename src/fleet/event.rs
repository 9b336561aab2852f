//! What does whoever leads a fleet hear of it while it runs?
//!
//! Nothing here is kept: the record is made of what agents told.

use std::time::Duration;

use super::message::Handover;
use super::roster::Progress;
use crate::record::RateChange;

/// What happens in a fleet.
#[derive(Clone, Debug)]
pub enum Event {
    /// An agent has taken a place.
    Joined {
        /// Its place.
        slot: usize,
        /// Its machine.
        host: String,
        /// How many have.
        joined: usize,
    },
    /// An agent stays away.
    Refused(String),
    /// The beginning was agreed on.
    Begins(Duration),
    /// The run goes on.
    Progress(Live),
    /// The rate was changed.
    Changed(RateChange),
    /// An agent has fallen silent.
    Lost(usize),
    /// An agent that had fallen silent is back.
    Returned(usize),
    /// The starts of a lost agent are made by others.
    HandedOver(Handover),
    /// An agent has told its end.
    Ended(usize),
    /// What the server does not do, as far as it is new.
    Trouble(String),
}

/// A look at a fleet that runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live {
    /// What agents say.
    pub progress: Progress,
    /// Answered requests per second since the last look.
    pub answered_per_s: f64,
    /// The median response time so far.
    pub p50: Option<Duration>,
    /// The 99th percentile of response times so far.
    pub p99: Option<Duration>,
    /// Messages that were merged so far.
    pub merged: u64,
}
