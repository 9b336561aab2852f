//! What does a load from several machines leave behind besides its figures?
//!
//! Who took part, what each covered, and what is missing: every start of the
//! schedule that nobody is known to have made is counted here, with the agent
//! whose it was. Plain data; the collecting and judging is the fleet engine's.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Validity;

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

/// What of the schedule is covered by what agents told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Starts of the measured phase, over all agents.
    pub planned: u64,
    /// Those that an agent told of.
    pub covered: u64,
    /// Those that nobody told of: not made, or made by an agent that was lost
    /// before it could tell.
    pub lost: u64,
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
}

impl fmt::Display for AgentEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Lost => "lost",
        })
    }
}
