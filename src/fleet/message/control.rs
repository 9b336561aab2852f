//! What is laid down for a run, and what agents say of themselves?

use serde::{Deserialize, Serialize};

use super::Sender;
use crate::record::{KeyFacts, RateChange};
use crate::scenario::Scenario;

/// What is to be run, as the coordinator lays it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The run's own name.
    pub run: String,
    /// The version of the program; agents of another one stay away.
    pub version: String,
    /// How many agents there are to be.
    pub agents: usize,
    /// The scenario. Keys are named by files and variables of the agents'
    /// machines.
    pub scenario: Scenario,
    /// Files that the scenario names and that have to be the same everywhere,
    /// by the SHA-256 of their contents.
    pub files: Vec<FileDigest>,
    /// The public keys of agents that get the credentials sealed, in base64url;
    /// empty if each reads its own.
    pub recipients: Vec<String>,
}

/// Credentials that one agent alone can open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The encapsulated key and what is sealed with it, in base64url.
    pub sealed: String,
}

/// A file that has to be the same on all machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Its path.
    pub path: String,
    /// The SHA-256 of its contents, in hexadecimal.
    pub sha256: String,
}

/// What an agent is, when it says that it is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who it is, among all agents ever: 16 hexadecimal digits.
    pub incarnation: String,
    /// Its machine's name.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Its processors.
    pub cpus: usize,
    /// Signatures per second on one processor.
    pub signs_per_s: f64,
    /// Its wall clock less the coordinator's, in nanoseconds.
    pub wall_offset_ns: i64,
    /// How far its monotonic clock may be off, in nanoseconds.
    pub clock_bound_ns: u64,
    /// What every `jti` of it begins with, in base64url.
    pub jti_space: String,
    /// The key that it signs with first.
    pub key: KeyFacts,
    /// The backend that signs.
    pub signed_by: String,
}

/// Which run a fleet is at, and who leads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The run.
    pub run: String,
    /// Who leads it: 16 hexadecimal digits.
    pub coordinator: String,
    /// The machine's name.
    pub host: String,
    /// Rises once a second as long as the coordinator lives.
    pub beat: u64,
    /// How often a coordinator took the run over from another.
    pub takeovers: u32,
    /// Is the run over?
    pub is_over: bool,
}

/// What the agents of a run are told after its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// End now, and tell what was measured.
    pub stops: bool,
    /// Changes of the rate since the beginning, in order. They are appended
    /// and never taken back.
    pub changes: Vec<RateChange>,
    /// Shares of lost agents that others take over, in order; appended as
    /// well.
    pub handovers: Vec<Handover>,
}

/// From a moment on, the starts of a lost agent are made by others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The slot of the agent that was lost.
    pub lost: usize,
    /// From when on, in nanoseconds from the beginning. No change of rate that
    /// is told later takes effect before.
    pub from_ns: u64,
    /// The same moment of the schedule as planned.
    pub planned_ns: u64,
    /// The agents that take equal parts, by slot.
    pub by: Vec<usize>,
    /// The slot under which the first of them tells what it does in the lost
    /// one's place; the others' follow.
    pub first: usize,
}

/// What the coordinator misses of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Numbers of deltas.
    pub seqs: Vec<u64>,
    /// Is the end missing as well?
    pub end: bool,
}

/// What a coordinator says at once, beside writing it into a key: a server
/// whose disk is full takes no keys any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// What is missing, by slot.
    pub wants: Vec<(usize, Want)>,
    /// Is there a result?
    pub is_done: bool,
    /// What agents are to heed, if it is new.
    pub control: Option<Control>,
}

/// There is a result: nothing has to be kept any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
}

/// Why an agent stays away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The agent's machine.
    pub host: String,
    /// Why.
    pub why: String,
}

/// When and how the run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The instant on the coordinator's monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// The weights of the agents, by slot.
    pub weights: Vec<f64>,
    /// How starts are dealt out.
    pub dealt: Dealing,
}

/// How starts are dealt out to agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dealing {
    /// In turns.
    InTurns,
    /// By lot.
    ByLot,
    /// By the subject.
    BySubject,
}

/// What an agent says of itself twice a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The run.
    pub run: String,
    /// Its slot.
    pub slot: usize,
    /// Who it is.
    pub incarnation: String,
    /// Where it stands.
    pub state: State,
    /// Time since the beginning of the schedule, in nanoseconds.
    pub elapsed_ns: u64,
    /// Requests that were due so far, warm-up included.
    pub due: u64,
    /// Requests that were sent so far.
    pub sent: u64,
    /// Requests that got a token so far.
    pub answered: u64,
    /// Requests that failed so far.
    pub failed: u64,
    /// Messages that wait to be acknowledged.
    pub waiting: u64,
}

impl Beat {
    /// Makes the beat of an agent that has sent nothing yet.
    #[must_use]
    pub fn first(of: &Sender, state: State) -> Self {
        Self {
            run: of.run.clone(),
            slot: of.slot,
            incarnation: of.incarnation.clone(),
            state,
            elapsed_ns: 0,
            due: 0,
            sent: 0,
            answered: 0,
            failed: 0,
            waiting: 0,
        }
    }
}

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for the beginning.
    Ready,
    /// It sends.
    Running,
    /// It has told all, and keeps it until it hears that it was merged.
    Told,
}
