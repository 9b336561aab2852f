//! What does a load from several machines leave behind besides its figures?
//!
//! Who took part, what each covered, and what is missing: every start of the
//! schedule that nobody is known to have made is counted here, with the agent
//! whose it was. Plain data; the collecting and judging is the fleet engine's.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Validity;
use crate::units::Shown;

/// What is known of the agents of a load and of what they told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRecord {
    /// The version of the protocol between agents and coordinator.
    pub protocol: u32,
    /// Agents that the run was planned for.
    pub planned: usize,
    /// Agents that took part.
    pub joined: usize,
    /// Agents that came to their end and told all of it.
    pub finished: usize,
    /// How starts were dealt out: `in-turns`, `by-lot` or `by-subject`.
    pub dealt: String,
    /// What is covered and what is not.
    pub coverage: Coverage,
    /// Changes of the rate, in order.
    #[serde(default)]
    pub changes: Vec<RateChange>,
    /// The time between the earliest and the latest beginning of an agent, as
    /// far as their clocks tell, in nanoseconds.
    pub start_skew_ns: u64,
    /// The largest error of an agent's clock against the coordinator's, in
    /// nanoseconds.
    pub clock_bound_ns: u64,
    /// What became of the messages.
    pub deltas: DeltaFacts,
    /// How often a coordinator took the run over from another.
    pub takeovers: u32,
    /// Each agent, by slot.
    pub agents: Vec<AgentRecord>,
    /// Agents that were turned away, and why.
    pub refused: Vec<String>,
}

/// A change of a fleet's rate while its load went on. The sequence of starts
/// stays the same; the times at which they are due move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateChange {
    /// From when on, in nanoseconds from the beginning of the schedule,
    /// warm-up included.
    pub from_ns: u64,
    /// The rate in millionths of what the scenario has then; 0 is a pause.
    pub factor_ppm: u64,
}

impl RateChange {
    /// Says what a load does at so many millionths of its rate.
    #[must_use]
    pub fn words(factor_ppm: u64) -> String {
        match factor_ppm {
            0 => "pauses".to_owned(),
            1_000_000 => "goes on at the scenario's rate".to_owned(),
            factor_ppm => format!("goes on at {} times the rate", factor_ppm as f64 / 1e6),
        }
    }
}

impl fmt::Display for RateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = Shown(Duration::from_nanos(self.from_ns));
        write!(f, "{} after {from}", Self::words(self.factor_ppm))
    }
}

/// What of the schedule is covered by what agents told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Starts that were due in the measured phase, over all agents.
    pub planned: u64,
    /// Starts that the scenario has in the measured phase beyond these, and
    /// that were not due because the rate was changed.
    #[serde(default)]
    pub not_due: u64,
    /// Those that an agent told of.
    pub covered: u64,
    /// Those that nobody told of: not made, or made by an agent that was lost
    /// before it could tell.
    pub lost: u64,
    /// Starts planned for agents that were lost, and made by others in their
    /// place; they are among those planned.
    #[serde(default)]
    pub reassigned: u64,
    /// Starts that were made by an agent that had been taken for lost, and by
    /// others as well. They are in no figure.
    #[serde(default)]
    pub surplus: u64,
    /// Slices of agents that were planned.
    pub slices_planned: u64,
    /// Those that agents told of, each on its own.
    pub slices_covered: u64,
    /// Those that were told in one with a neighbour: nothing is missing, but
    /// time is coarser there.
    pub slices_coalesced: u64,
}

/// What became of the messages of all agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaFacts {
    /// Messages that were merged.
    pub merged: u64,
    /// Further copies of them, which were left out.
    pub duplicate: u64,
    /// Messages of another run, or of an agent that was not asked.
    pub stale: u64,
    /// Messages that were not what they have to be.
    pub rejected: u64,
    /// Messages that agents had to publish again.
    pub resent: u64,
}

/// One agent of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// Its number, from 0.
    pub slot: usize,
    /// The slot of the agent in whose place it made starts, if that one was
    /// lost: these figures are of the part that it took over.
    #[serde(default)]
    pub in_place_of: Option<usize>,
    /// Its machine's name.
    pub host: String,
    /// Its processors.
    pub cpus: usize,
    /// Signatures per second on one processor, measured when it joined.
    pub signs_per_s: f64,
    /// Its share of the starts, 0 to 1.
    pub share: f64,
    /// Its wall clock less the coordinator's, in nanoseconds.
    pub clock_offset_ns: i64,
    /// How far its monotonic clock may be off the coordinator's, in
    /// nanoseconds.
    pub clock_bound_ns: u64,
    /// How much later than agreed it began, by its own clock, in nanoseconds.
    pub began_late_ns: Option<u64>,
    /// How long after a change of rate should have taken effect it heard of it,
    /// at most, in nanoseconds; 0 if each was heard of in time.
    #[serde(default)]
    pub heard_late_ns: u64,
    /// How it ended.
    pub end: AgentEnd,
    /// What it said about that, if anything.
    pub why: Option<String>,
    /// Starts of the measured phase that were its own.
    pub planned: u64,
    /// Those that it told of.
    pub covered: u64,
    /// The end of the last slice that it told of, from the beginning of the
    /// measured phase, in nanoseconds.
    pub covered_until_ns: u64,
    /// From when on its starts were made by others, in nanoseconds from the
    /// beginning of the measured phase, if it was taken for lost.
    #[serde(default)]
    pub given_away_ns: Option<u64>,
    /// Starts that it made nevertheless, being alive. They are in no figure.
    #[serde(default)]
    pub surplus: u64,
    /// Is the sum of its messages what it says to have measured?
    pub is_exact: Option<bool>,
    /// Its verdict on itself.
    pub validity: Option<Validity>,
}

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentEnd {
    /// It came to the end of its schedule and told all of it.
    Finished,
    /// It was told to stop.
    Stopped,
    /// It said that it could not go on.
    Failed,
    /// It fell silent and was not heard of again.
    Lost,
    /// It fell silent or was stopped on its machine, others made its starts from
    /// then on, and it told its end.
    Replaced,
}

impl fmt::Display for AgentEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
        })
    }
}
