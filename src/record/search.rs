//! What does a search for the highest rate leave behind?
//!
//! Every rate that was tried, what was decided about it and on how much
//! evidence. Searching is not done here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Calibration, Packed};

/// A search for the highest rate that meets an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRecord {
    /// What was wanted of the endpoint, as scenarios write it.
    pub objective: String,
    /// How thoroughly was searched: where it began and ended, when rates were
    /// looked at, and for how long the answer was soaked.
    pub settings: serde_json::Value,
    /// The seed of arrivals.
    pub seed: u64,
    /// What this machine does against a target that does nothing.
    pub calibration: Calibration,
    /// What was found.
    pub answer: Answer,
}

/// The capacity of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The highest rate that was confirmed, per second; none if the lowest
    /// rate that was tried is not sustained.
    pub sustains_per_s: Option<f64>,
    /// The lowest rate that was refused, per second; none if the generator or
    /// the limit came first.
    pub refuses_per_s: Option<f64>,
    /// How sure the answer is.
    pub confidence: Confidence,
    /// Everything that was tried, in order.
    pub rungs: Vec<Rung>,
}

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Neither end rests on a forced rung.
    Confirmed,
    /// One does, or the search was quick.
    Estimated,
    /// The generator, or the limit of the search, came first.
    BoundedBelow,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// The rate, per second.
    pub per_s: f64,
    /// Which part of the search asked.
    pub stage: Stage,
    /// What was decided.
    pub decision: Decision,
    /// Was it decided by the estimate alone?
    pub is_forced: bool,
    /// Time at the rate, in nanoseconds.
    pub tried_ns: u64,
    /// Requests that were due.
    pub requests: u64,
    /// The share over the limit, failed ones included.
    pub share_over: f64,
    /// The share that failed.
    pub share_failed: f64,
    /// The slices that the decision rests on, in order.
    pub slices: Vec<Counts>,
    /// Slices that were left out, since the generator was late in them.
    pub spoiled: usize,
    /// Was it the generator that could not keep up?
    pub is_generator_limited: bool,
    /// Response times of the answered requests.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub response: Packed,
}

/// A part of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Doubling until a rate fails.
    Bracket,
    /// Halving the distance.
    Narrow,
    /// Confirming the promise.
    Soak,
}

/// What evidence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The objective is met.
    Pass,
    /// It is not met.
    Fail,
    /// More evidence is needed.
    Undecided,
}

/// Counts of one slice, as far as an objective asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Requests that were due.
    pub requests: u64,
    /// Those that took too long, failed or had not ended.
    pub over: u64,
    /// Those that failed.
    pub failed: u64,
}
