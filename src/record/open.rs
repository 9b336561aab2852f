//! What does a load at a given rate leave behind?
//!
//! Every request that was due is accounted for, and every part of its time is
//! kept in a histogram of its own, per slice and outcome. A run judges itself:
//! [`Soundness`] says whether the figures are those of the target or of the
//! generator, and whose fault lateness was. Plain data; the judging is the
//! load engine's.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Warning;
use super::stages::Stages;

/// What the open model measured in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRecord {
    /// The transport that carried the requests.
    pub transport: String,
    /// Requests that could be under way at once.
    pub connections: usize,
    /// What became of every request that was due in the measured phase.
    pub accounts: Accounts,
    /// The rate that was asked for, in requests per second.
    pub offered_per_s: f64,
    /// The rate at which requests were sent, in requests per second.
    pub sent_per_s: f64,
    /// The parts of the time of requests, by outcome.
    pub outcomes: Vec<OutcomeStages>,
    /// The measured phase in slices; a long run has longer ones.
    pub slices: Vec<OpenSlice>,
    /// Whose fault the time was.
    pub blame: Blame,
    /// What was opened on the way, by the requests of the measured phase.
    #[serde(default)]
    pub opened: ConnectionFacts,
    /// How assertions came to be.
    pub signing: SigningFacts,
    /// What repeating failed requests came to, if they were to be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryFacts>,
    /// What was found in the cache, if the load kept tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFacts>,
    /// How keys were replaced, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationFacts>,
    /// What the generator's threads went through.
    pub health: GeneratorHealth,
    /// What this machine does against a target that does nothing.
    pub calibration: Option<Calibration>,
    /// The run's verdict on itself.
    pub soundness: Soundness,
}

/// What became of requests: scheduled = answered + failed + dropped +
/// unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Requests that were due.
    pub scheduled: u64,
    /// Those that got a token.
    pub answered: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were given up unsent, as the scenario asked for.
    pub dropped: u64,
    /// Those that had not ended when the drain ended, sent or not.
    pub unfinished: u64,
}

/// The parts of the time of requests that ended in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeStages {
    /// The outcome's name.
    pub outcome: String,
    /// How many there were.
    pub count: u64,
    /// The parts of their time.
    pub stages: Stages,
}

/// One fixed interval of the measured phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSlice {
    /// When it began, from the start of the measured phase.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Requests that were due within it.
    pub scheduled: u64,
    /// What became of them; what is missing had not ended.
    pub outcomes: Vec<OutcomeStages>,
}

/// Shares of the summed response time of all requests, 0 to 1; together 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blame {
    /// The target and the way to it.
    pub target: f64,
    /// Waiting for a free connection.
    pub connections: f64,
    /// Signing and waiting for signatures.
    pub signing: f64,
    /// The generator: noticing late, reading late, and the queues that its
    /// lateness made.
    pub generator: f64,
}

/// What was opened on the way to the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionFacts {
    /// Connections.
    pub connections: u64,
    /// TLS sessions by a whole handshake.
    pub tls_full: u64,
    /// TLS sessions that were resumed.
    pub tls_resumed: u64,
}

/// How assertions came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningFacts {
    /// Inline, by the mint, pre-minted or repeated.
    pub mode: String,
    /// Threads that did nothing but sign.
    pub threads: usize,
    /// Assertions that were signed for the measured phase.
    pub signed: u64,
    /// Requests that had to wait for their signature.
    pub under_runs: u64,
}

/// What repeating failed requests came to. A request counts once, whatever the
/// number of its attempts; each attempt is signed anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFacts {
    /// Requests that were sent more than once.
    pub requests: u64,
    /// How often they were sent beyond the first time.
    pub attempts: u64,
    /// Those of them that got a token in the end.
    pub recovered: u64,
}

impl RetryFacts {
    /// Adds what another thread counted.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.recovered += other.recovered;
    }
}

/// Where the tokens of calls came from that looked for a kept one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheFacts {
    /// The share of calls that was to find a token, 0 to 1.
    pub wanted_hit_ratio: f64,
    /// Calls that found one.
    pub found: u64,
    /// Calls that waited for what another fetched, or met its failure.
    pub joined: u64,
    /// Calls that asked the endpoint.
    pub fetched: u64,
}

impl CacheFacts {
    /// Returns the share of calls that found a token, 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        self.found as f64 / (self.found + self.joined + self.fetched).max(1) as f64
    }
}

/// How keys were replaced while a load went on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationFacts {
    /// When each new key was in use, from the start of the load.
    pub replaced_at_ns: Vec<u64>,
    /// The longest time from then until nobody used the old key any more.
    pub longest_drain_ns: u64,
    /// Did the endpoint drop an old key at once, without waiting for that?
    pub is_abrupt: bool,
}

/// What the generator's threads went through in the measured phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratorHealth {
    /// The share of time for which the threads could run and did not, 0 to 1.
    pub run_queue_share: f64,
    /// The share of time for which the busiest thread ran, 0 to 1.
    pub busy_share: f64,
    /// Processor time that the hypervisor took away, 0 to 1.
    pub steal_share: f64,
    /// How often the control group held the process back.
    pub throttled: u64,
    /// The largest difference between the steps of wall and monotonic time.
    pub wall_step_ns: u64,
}

/// What this machine does against a target that does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The most requests per second.
    pub ceiling_per_s: f64,
    /// The median response time at a tenth of it, in nanoseconds.
    pub floor_p50_ns: u64,
    /// The 99th percentile there, in nanoseconds.
    pub floor_p99_ns: u64,
}

/// A run's verdict on itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soundness {
    /// May the figures be believed?
    pub validity: Validity,
    /// What holds most of the response time beyond the machine's floor.
    pub culprit: Culprit,
    /// Why the figures may not be believed.
    pub findings: Vec<Finding>,
}

/// May the figures of a run be believed?
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Validity {
    /// They are the target's.
    Valid,
    /// Some of them are partly the generator's.
    Suspect,
    /// They are the generator's.
    Invalid,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Culprit {
    /// The endpoint under test.
    Target,
    /// Too few connections, or no descriptors or ports for them.
    Connections,
    /// Signatures that were not there in time.
    Signing,
    /// The generator had too little processor time.
    GeneratorCpu,
    /// The way to the endpoint.
    Network,
    /// Machines that were to take part in the load.
    Fleet,
}

/// One reason to doubt a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// How bad it is.
    pub validity: Validity,
    /// Whose fault it is.
    pub culprit: Culprit,
    /// What was seen, and what can be done.
    pub warning: Warning,
}

impl OpenRecord {
    /// Returns the parts of the time of answered requests.
    #[must_use]
    pub fn answered(&self) -> Option<&Stages> {
        self.outcomes
            .iter()
            .find(|of| of.outcome == "answered")
            .map(|of| &of.stages)
    }

    /// Returns how many requests reached a transport, retries included.
    #[must_use]
    pub fn requests_sent(&self) -> u64 {
        let calls = match &self.cache {
            Some(cache) => cache.fetched,
            None => self.accounts.answered + self.accounts.failed,
        };
        calls + self.retries.map_or(0, |retries| retries.attempts)
    }

    /// Counts requests by outcome, as a step does.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.outcomes
            .iter()
            .map(|of| (of.outcome.clone(), of.count))
            .collect()
    }
}

impl Accounts {
    /// Is every request accounted for?
    #[must_use]
    pub fn balance(&self) -> bool {
        self.scheduled == self.answered + self.failed + self.dropped + self.unfinished
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "VALID",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        })
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Target => "the target",
            Self::Connections => "connections",
            Self::Signing => "signing",
            Self::GeneratorCpu => "the generator's processor time",
            Self::Network => "the network",
            Self::Fleet => "the fleet",
        })
    }
}
