//! Did a change make signing or an endpoint slower, and can a build server
//! believe it?
//!
//! A gate compares a baseline with a candidate: two backends in one process,
//! two builds of this program in worker processes, or two endpoints under the
//! same load ([`targets`]). Both sides of a signing case run in alternating
//! short blocks of the same session, on the same processor, and
//! their processor time decides. A regression is measured once more with
//! fresh arms before it is one, and each session compares the baseline with
//! itself: if that is not unchanged, the session decides nothing.
//!
//! A side that cannot run, or saved figures of another machine, are not
//! comparable; they are never a pass. Nothing here prints.

mod backends;
mod builds;
mod case;
pub mod config;
mod fingerprint;
mod record;
mod saved;
mod session;
pub mod targets;
pub mod worker;

#[cfg(test)]
mod tests;

pub use self::backends::{Backends, Keys};
pub use self::builds::Builds;
pub use self::case::{Cells, GateCase};
pub use self::fingerprint::Fingerprint;
pub use self::record::{
    Attempt, CaseResult, GateRecord, GateVerdict, OnInconclusive, SCHEMA_VERSION, SavedResult,
};
pub use self::saved::{
    SCHEMA_VERSION as SAVED_SCHEMA_VERSION, Saved, SavedCase, compare_saved, measure_saved,
};
pub use self::session::{Contest, Plan, Watched, run};

/// Why a gate could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// There is no case to compare.
    #[error("the gate has no case, expected at least one algorithm and key size")]
    NoCase,
    /// A key was not generated.
    #[error("cannot make a key to sign with")]
    Key(#[from] crate::bench::keys::KeyGenerationError),
    /// No look at the data fits into the time.
    #[error(
        "{} is too short for two quads of this load, expected at least {}",
        crate::units::Shown(*most),
        crate::units::Shown(*least)
    )]
    TooShort {
        /// The time that was allowed.
        most: std::time::Duration,
        /// The least that is needed.
        least: std::time::Duration,
    },
    /// The case of saved figures cannot be measured.
    #[error("cannot measure {case}: {reason}")]
    Case {
        /// The case.
        case: String,
        /// Why.
        reason: String,
    },
}
