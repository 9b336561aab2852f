//! Under which names is what was laid down for a run?
//!
//! The keys of the fleet's bucket. An agent writes its own card, an operator
//! what agents are to heed; everything else is the coordinator's. A server's
//! permissions can hold them to that.

/// Which run the fleet is at.
pub const LEADER: &str = "leader";

/// What is to be run.
#[must_use]
pub fn spec(run: &str) -> String {
    format!("{run}.spec")
}

/// The credentials for an agent, by its public key.
#[must_use]
pub fn sealed(run: &str, recipient: &str) -> String {
    format!("{run}.sealed.{recipient}")
}

/// All credentials that were sealed, of whatever run.
pub const ALL_SEALED: &str = "*.sealed.>";

/// What an agent is.
#[must_use]
pub fn card(run: &str, slot: usize) -> String {
    format!("{run}.agent.{slot}")
}

/// When the run begins.
#[must_use]
pub fn begin(run: &str) -> String {
    format!("{run}.begin")
}

/// What agents are told after that.
#[must_use]
pub fn control(run: &str) -> String {
    format!("{run}.control")
}

/// What the coordinator misses of an agent.
#[must_use]
pub fn want(run: &str, slot: usize) -> String {
    format!("{run}.want.{slot}")
}

/// There is a result.
#[must_use]
pub fn done(run: &str) -> String {
    format!("{run}.done")
}
