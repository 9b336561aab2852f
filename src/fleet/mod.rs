//! How do many machines make one load, whose result is as exact as one's?
//!
//! A *coordinator* lays a run down in a NATS JetStream server; *agents* join,
//! each with a share of the schedule, begin at one instant and tell what they
//! measure, slice by slice. Starts are dealt out by their numbers
//! ([`crate::load::share`]), so that the union over agents is exactly the
//! schedule of the scenario. Messages are kept until there is a result and
//! merged exactly once, whatever is killed or cut meanwhile; what is missing
//! then is counted and named.
//!
//! | module | answers |
//! |---|---|
//! | [`message`], `key` | what is said, and under which name it is found |
//! | [`clock_offset`] | how far apart clocks are, and which one is the run's |
//! | [`spool`], [`ledger`], [`timeline`] | what an agent keeps, and what the coordinator counts |
//! | [`bus`], `access`, `frames` | how it travels over NATS, how servers are reached and streams read |
//! | [`identity`], `handing` | who gets credentials that are sent, and how |
//! | `sharing`, [`schedule`] | what can be shared out, and whose each start is |
//! | [`agent`], `preparing`, `carrying`, [`reporter`], `lookout` | what an agent does, tells and hears |
//! | [`handover`], `replacing` | who makes the starts of an agent that was lost, and from when on |
//! | [`coordinator`], `lead`, `assembling`, `gathering`, [`event`], `looking`, [`roster`] | what the coordinator does and sees, and who takes part |
//! | [`control`] | how a run is paused, changed in rate or stopped |
//! | [`coverage`], `whole`, `finding` | what is missing, and what that makes of the result |
//!
//! [`local`] starts all of it on one machine; otherwise processes are started by
//! others: Kubernetes, systemd, Slurm, a shell.

mod access;
pub mod agent;
mod assembling;
pub mod bus;
mod carrying;
pub mod clock_offset;
pub mod control;
pub mod coordinator;
pub mod coverage;
pub mod event;
mod finding;
mod frames;
mod gathering;
mod handing;
pub mod handover;
pub mod identity;
mod key;
mod lead;
pub mod ledger;
pub mod local;
mod looking;
mod lookout;
pub mod message;
mod preparing;
mod replacing;
pub mod reporter;
pub mod roster;
pub mod schedule;
mod sharing;
pub mod spool;
pub mod timeline;
mod whole;

use std::time::Duration;

use self::bus::BusError;
pub use self::finding::MOST_WALL_OFFSET;
use self::identity::IdentityError;
use crate::credential::PackingError;
use crate::record::histogram::EncodingError;
use crate::scenario::runner::hex_of;
use crate::scenario::{RunError, ScenarioError};

/// Why a fleet could not run, or an agent not take part.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The servers did not do what was asked.
    #[error("the fleet's server cannot be used")]
    Bus(#[from] BusError),
    /// The scenario cannot be shared out.
    #[error("the scenario cannot be run by a fleet: {field} is {found}, expected {expected}")]
    Scenario {
        /// The field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The scenario cannot be used here.
    #[error("the scenario cannot be used")]
    Plan(#[from] ScenarioError),
    /// The load could not be prepared here.
    #[error("the load cannot be prepared")]
    Run(#[from] RunError),
    /// A file that has to be the same everywhere is another one here.
    #[error("{path} is not the file that the coordinator has; expected SHA-256 {expected}")]
    OtherFile {
        /// The file.
        path: String,
        /// The digest of the coordinator's.
        expected: String,
    },
    /// A file that the scenario names cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent is another version than the coordinator.
    #[error(
        "the run is of mintmark {theirs}, this is {own}; expected the same version on all machines"
    )]
    Version {
        /// The coordinator's.
        theirs: String,
        /// The own.
        own: String,
    },
    /// An agent that joined is another version.
    #[error(
        "agent {slot}, on {host}, is mintmark {theirs}, this is {own}; expected the same version \
         on all machines"
    )]
    OtherVersion {
        /// Its place.
        slot: usize,
        /// Its machine.
        host: String,
        /// Its version.
        theirs: String,
        /// The own.
        own: String,
    },
    /// An identity cannot be used, or what was sealed not be opened.
    #[error("credentials cannot be sent or received")]
    Identity(#[from] IdentityError),
    /// What was sealed is no credentials.
    #[error("the credentials that were received cannot be used")]
    Packed(#[from] PackingError),
    /// The run sends keys, and not to this agent.
    #[error(
        "the run sends its keys to {named} named agents, and this is none of them; expected \
         --identity with a file whose public key the coordinator's list has"
    )]
    NotNamed {
        /// How many are named.
        named: usize,
    },
    /// What was sealed is gone.
    #[error(
        "the keys that were sent were withdrawn; expected the agent before all places are taken"
    )]
    Withdrawn,
    /// The credentials are too large to send.
    #[error("the credentials have {bytes} bytes, expected at most {most} to send")]
    TooLarge {
        /// Their bytes.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// An agent signs with another key than the one that was sent.
    #[error("agent {slot}, on {host}, signs with another key than the one that was sent")]
    OtherKey {
        /// Its place.
        slot: usize,
        /// Its machine.
        host: String,
    },
    /// No run was there to join.
    #[error("no run of the fleet {fleet:?} waited for agents within {waited:?}")]
    NoRun {
        /// The fleet.
        fleet: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The run has all agents that it wants.
    #[error("all {agents} places of the run {run} are taken")]
    Full {
        /// The run.
        run: String,
        /// Its places.
        agents: usize,
    },
    /// The clocks could not be compared.
    #[error("the coordinator of the run {run} does not answer for its clock")]
    NoClock {
        /// The run.
        run: String,
    },
    /// The run did not begin.
    #[error("the run {run} did not begin within {waited:?}")]
    NoBeginning {
        /// The run.
        run: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The fleet has gone on to another run.
    #[error("the fleet went on from the run {own} to {other}")]
    AnotherRun {
        /// The run of this agent.
        own: String,
        /// The one that it is at.
        other: String,
    },
    /// The coordinator never said that it has a result.
    #[error("the coordinator of the run {run} came to no result within {kept:?} after its end")]
    NoResult {
        /// The run.
        run: String,
        /// How long everything was kept.
        kept: Duration,
    },
    /// Another coordinator leads the fleet.
    #[error(
        "the fleet {fleet:?} is led by another coordinator, on {host}, with the run {run}; \
         expected it to end first, or another --fleet"
    )]
    Led {
        /// The fleet.
        fleet: String,
        /// The other's machine.
        host: String,
        /// Its run.
        run: String,
    },
    /// Another coordinator has taken over.
    #[error("another coordinator, on {host}, has taken the run {run} over")]
    TakenOver {
        /// The other's machine.
        host: String,
        /// The run.
        run: String,
    },
    /// A run was left without a result.
    #[error(
        "the run {run} was left without a result; `mintmark fleet resume` ends it, \
         --discard forgets it"
    )]
    Unfinished {
        /// The run.
        run: String,
    },
    /// There is nothing to resume.
    #[error("the fleet {fleet:?} has no run without a result")]
    NothingToResume {
        /// The fleet.
        fleet: String,
    },
    /// There is no run to steer.
    #[error("the fleet {fleet:?} is at no run, expected one that has begun")]
    NothingRuns {
        /// The fleet.
        fleet: String,
    },
    /// The run to steer still waits for its agents.
    #[error("the run {run} has not begun, expected its agents to send first")]
    NotBegun {
        /// The run.
        run: String,
    },
    /// The run to steer is over before anything could change.
    #[error("the measured phase of the run {run} ends before its rate can be changed")]
    Ending {
        /// The run.
        run: String,
    },
    /// Others steer the run at the same time.
    #[error("others change the run {run} at the same time, expected one at a time")]
    Contended {
        /// The run.
        run: String,
    },
    /// Too few agents came.
    #[error(
        "{joined} of {wanted} agents joined within {waited:?}{}",
        listed(refused)
    )]
    TooFew {
        /// Those that did.
        joined: usize,
        /// Those that were wanted.
        wanted: usize,
        /// How long it was waited for.
        waited: Duration,
        /// Those that stayed away, and why.
        refused: Vec<String>,
    },
    /// Two agents cannot take part in one run.
    #[error("agents {first} and {second} {why}")]
    Unlike {
        /// The one.
        first: usize,
        /// The other.
        second: usize,
        /// What does not go together.
        why: &'static str,
    },
    /// It was stopped before it began.
    #[error("the run was stopped before it began")]
    Stopped,
    /// A histogram cannot be read.
    #[error("a slice cannot be added up")]
    Encoding(#[from] EncodingError),
    /// The system gave no thread or runtime.
    #[error("cannot start a thread or runtime")]
    Thread(#[source] std::io::Error),
    /// A thread died, which is a defect of this program.
    #[error("a thread of the agent panicked; please report it with the scenario")]
    Panic,
}

fn listed(refused: &[String]) -> String {
    if refused.is_empty() {
        String::new()
    } else {
        format!("; others stayed away: {}", refused.join("; "))
    }
}

/// Returns the name of this machine.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Draws a name that nobody else has: 16 hexadecimal digits.
fn draw_name() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .expect("the system's random source answers once it has been seeded");
    hex_of(&bytes)
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
