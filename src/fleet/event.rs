//! What does whoever leads a fleet hear of it while it runs?
//!
//! Nothing here is kept: the record is made of what agents told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{Beat, Handover};
use super::roster::Progress;
use super::schedule::Schedule;
use crate::load::observe::{PassedSlice, Sets};
use crate::record::RateChange;
use crate::record::fleet::DeltaFacts;

/// What happens in a fleet.
#[derive(Clone)]
pub enum Event<'a> {
    /// A run is led.
    Leads {
        /// The scenario's name.
        name: &'a str,
        /// How many agents there are to be.
        agents: usize,
    },
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
    Begins {
        /// How far ahead it lies; nothing if it has passed.
        within: Duration,
        /// When starts are due, from the beginning on.
        schedule: &'a Schedule,
    },
    /// The run goes on.
    Progress(Live<'a>),
    /// All agents that are not lost have told of this slice. What a lost one
    /// tells of it later is in the totals alone.
    Slice(PassedSlice<'a>),
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
#[derive(Clone)]
pub struct Live<'a> {
    /// Time since the beginning.
    pub elapsed: Duration,
    /// What agents say, added up.
    pub progress: Progress,
    /// Each place, by slot, and then each part of a share that was taken over.
    pub agents: Vec<AgentNow<'a>>,
    /// Starts of the measured phase that agents have told of.
    pub scheduled: u64,
    /// All requests that agents have told of, by outcome.
    pub outcomes: &'a BTreeMap<String, Sets>,
    /// What became of messages so far.
    pub deltas: DeltaFacts,
    /// Does the server answer?
    pub is_answering: bool,
}

/// A place of a fleet, and what is known of who has it.
#[derive(Clone, Copy, Debug)]
pub struct AgentNow<'a> {
    /// Its machine; empty if the place is free.
    pub host: &'a str,
    /// The slot of the lost agent of whose share this is a part, if it is.
    pub in_place_of: Option<usize>,
    /// Where it stands.
    pub standing: Standing,
    /// What it said last.
    pub beat: Option<&'a Beat>,
    /// Connected time since it was heard of.
    pub silence: Duration,
    /// Its wall clock less the coordinator's, in nanoseconds.
    pub wall_offset_ns: i64,
}

/// Where an agent stands, as its coordinator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It could not go on.
    Failed,
    /// It has been silent for too long.
    Lost,
    /// Nobody has taken the place.
    Absent,
    /// It has taken the place.
    Joined,
    /// It waits for the beginning.
    Ready,
    /// It sends.
    Running,
    /// It says that it has told all.
    Told,
    /// All that it told is there.
    Ended,
}
