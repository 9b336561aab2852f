//! What stands in the document of a run?
//!
//! Field names carry their unit. A reader accepts documents of its own version
//! and of older ones, and refuses newer ones with a sentence
//! ([`super::store`]).

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{
    BenchRecord, FleetRecord, Histogram, Host, OpenRecord, Outcome, Quality, SearchRecord, Warning,
};
use crate::signer::Facts;

/// The version of the document's schema that this program writes.
///
/// Version 2 added `capacity` and the response times of a search, version 3
/// `fleet`. What is
/// added later raises it as well: an older program then says that it is too
/// old, in place of stumbling over a field.
pub const SCHEMA_VERSION: u32 = 3;

/// Everything that a run leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDocument {
    /// The version of this schema.
    pub schema_version: u32,
    /// The run's own name: when it began and which scenario it was.
    pub run: String,
    /// The program that measured.
    pub tool: Tool,
    /// When the run began, RFC 3339 in UTC.
    pub started_at: String,
    /// How long the run took, in nanoseconds.
    pub elapsed_ns: u64,
    /// Why the run ended before its time, if it did.
    pub partial: Option<String>,
    /// The scenario with its defaults resolved; it holds no secret.
    pub scenario: serde_json::Value,
    /// The machine.
    pub host: Host,
    /// What disturbed the measurement.
    pub quality: Quality,
    /// The backends that took part.
    pub backends: Vec<Facts>,
    /// The backends that did not, and why.
    pub refused: Vec<Refusal>,
    /// The backend that signed the load's assertions.
    pub signed_by: String,
    /// The backend that signed where the key was opened for every assertion,
    /// if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_singly_by: Option<String>,
    /// How requests of the workers were gathered into batches, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathered: Option<Gathered>,
    /// The key by which assertions were signed.
    pub key: KeyFacts,
    /// The comparison of the backends for that key.
    pub signing: Option<BenchRecord>,
    /// The steps of the load, in order.
    pub steps: Vec<StepRecord>,
    /// The search for the highest rate, if the run was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<SearchRecord>,
    /// Who made the load and what is missing of it, if several machines did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetRecord>,
    /// What the embedded broker counted, by answer.
    pub broker: Option<BTreeMap<String, u64>>,
    /// Remarks about the conditions.
    pub warnings: Vec<Warning>,
}

impl RunDocument {
    /// Returns the JSON Schema of documents of [`SCHEMA_VERSION`].
    #[must_use]
    pub fn schema() -> Schema {
        schema_for!(Self)
    }

    /// Returns the name of the scenario.
    #[must_use]
    pub fn scenario_name(&self) -> &str {
        self.scenario["name"].as_str().unwrap_or(&self.run)
    }
}

/// The program that measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `mintmark`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The cargo features that were compiled in.
    pub features: Vec<String>,
}

impl Tool {
    /// Describes this program.
    #[must_use]
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: Vec::new(),
        }
    }
}

/// How single requests for signatures were gathered into batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gathered {
    /// Threads that signed.
    pub threads: usize,
    /// Batches signed, by the number of requests in them.
    pub batches: Vec<u64>,
    /// Requests that were signed by their own callers.
    pub lent: u64,
    /// The mean time from a request to the beginning of its signature.
    pub mean_gathering_ns: Option<u64>,
}

/// What may be told about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// The size of the modulus or the field, in bits.
    pub bits: usize,
    /// The algorithm that signed with it.
    pub algorithm: String,
    /// How the key was kept: container, key derivation and cipher.
    pub container: String,
    /// The SHA-256 of the `SubjectPublicKeyInfo`, in hexadecimal.
    pub spki_sha256: String,
}

/// A backend that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The backend's name.
    pub backend: String,
    /// Why.
    pub reason: String,
}

/// What a worker does with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHabit {
    /// Opens the container, decrypting it, for every assertion.
    DecryptPerCall,
    /// Keeps the decrypted container and has the backend parse it for every assertion.
    ParsePerCall,
    /// Keeps the backend's key object.
    Reuse,
}

/// What a worker does with its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenHabit {
    /// Fetches a token for every call.
    FetchPerCall,
    /// Keeps a token until shortly before it expires; then every worker that
    /// finds it too old fetches another.
    CacheNoSingleFlight,
    /// Keeps a token until shortly before it expires; then one worker fetches
    /// another, and the rest wait for it.
    Cache,
    /// Keeps a token and has it replaced in the background before it expires.
    CacheRefreshAhead,
}

/// How the workers of a step behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Habits {
    /// What they do with the key.
    pub key: KeyHabit,
    /// What they do with tokens.
    pub token: TokenHabit,
}

/// What one step of the load measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// How its workers behaved.
    pub habits: Habits,
    /// Workers that called in a closed loop.
    pub workers: usize,
    /// Threads that carried them.
    pub threads: usize,
    /// How the step's time was spent.
    pub phases: Phases,
    /// Calls that began within the measured phase, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Assertions signed for them.
    pub assertions_signed: u64,
    /// Token requests sent for them.
    pub requests_sent: u64,
    /// Calls that began and were given up when the drain ended.
    pub abandoned: u64,
    /// Latencies of the measured phase.
    pub latencies: Latencies,
    /// Processor time of the measured phase.
    pub cpu: CpuTime,
    /// The measured phase in fixed intervals, the unit of resampling. Those of
    /// the open model are in `open`.
    pub slices: Vec<Slice>,
    /// How often cached tokens were fetched, and by how many at once, if the
    /// workers kept any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub herds: Option<Herds>,
    /// What the open model measured besides, if the step was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Box<OpenRecord>>,
}

impl StepRecord {
    /// Returns the number of calls, however they ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Returns the number of calls that got a token.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.outcomes
            .iter()
            .filter(|(name, _)| Outcome::is_name_of_token(name))
            .map(|(_, count)| count)
            .sum()
    }

    /// Returns the number of calls that got none.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.calls() - self.answered()
    }

    /// Returns the rate of answered calls, per second of the measured phase.
    #[must_use]
    pub fn goodput_per_s(&self) -> f64 {
        self.answered() as f64 / (self.phases.measured_ns.max(1) as f64 / 1e9)
    }

    /// Returns the generator's processor time for one call; without the
    /// pauses between calls, if there were any.
    #[must_use]
    pub fn client_cpu_per_call(&self) -> Option<Duration> {
        let cpu_ns = self.cpu.calls_ns.unwrap_or(self.cpu.client_ns);
        (self.calls() > 0)
            .then(|| Duration::from_secs_f64(cpu_ns as f64 / 1e9 / self.calls() as f64))
    }
}

/// How cached tokens were fetched, from the beginning of a step.
///
/// A herd is the fetches of one subject's token of which each began before
/// the one before it had ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Herds {
    /// The largest herd of the first fetches, when there was no token yet.
    pub first_largest: u64,
    /// Herds after a token had expired, or was about to.
    pub later: u64,
    /// The fetches in them.
    pub later_fetches: u64,
    /// The largest of them.
    pub later_largest: u64,
    /// Calls that waited for a fetch that another call had caused, from the
    /// end of warm-up on.
    pub waits: u64,
    /// Fetches in the background, while the old token was in use.
    pub refreshes: u64,
}

impl Herds {
    /// Returns the mean size of the herds at an expiry; none without one.
    #[must_use]
    pub fn later_mean(&self) -> Option<f64> {
        (self.later > 0).then(|| self.later_fetches as f64 / self.later as f64)
    }
}

/// How the time of a step was spent, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Warm-up; its calls are not counted.
    pub warm_up_ns: u64,
    /// The measured phase.
    pub measured_ns: u64,
    /// Waiting for the last calls after the end.
    pub drain_ns: u64,
}

/// Latencies of answered calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// From the intended start of a call to its token.
    pub response: Histogram,
    /// Opening the key and signing, where a call did so.
    pub signing: Histogram,
    /// From the request to the whole answer, where a call sent one.
    pub exchange: Histogram,
    /// From the intended start of a call that failed to its end.
    pub failed: Histogram,
}

impl Latencies {
    /// Adds the counts of another set.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.signing.add(&other.signing);
        self.exchange.add(&other.exchange);
        self.failed.add(&other.failed);
    }
}

/// Processor time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuTime {
    /// The threads that carried the workers.
    pub client_ns: u64,
    /// What of it went into calls, and into threads that help with them, if
    /// there were pauses between calls. The reading of the clock is in it,
    /// about a third of a microsecond for each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_ns: Option<u64>,
    /// The threads of the embedded broker.
    pub broker_ns: Option<u64>,
    /// The whole process.
    pub process_ns: u64,
}

/// One fixed interval of the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// When the slice began, from the start of the measured phase.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Calls that began within it, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Response times of the answered ones among them.
    pub response: Histogram,
}
