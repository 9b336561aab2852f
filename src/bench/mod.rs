//! Which backend signs fastest, with this key, on this machine, and how sure
//! is that?
//!
//! Backends are compared in randomised quads of short blocks, so that all of
//! them meet the same moments of a machine whose speed wanders; CPU time of
//! the signing threads decides, since others cannot take it away. Every order
//! and verdict of a record has its bounds, and the error of all of them
//! together is stated. The method is described in `docs/methodology.md`.
//!
//! Nothing here prints, and nothing here knows how a signature is made.

pub mod arm;
pub mod case;
mod injected;
pub mod keys;
mod message;
mod prepare;
pub mod probes;
pub mod quads;
pub mod quality;
mod rank;
mod results;
pub mod scaling;
pub mod self_test;
mod sequential;
mod session;
mod tally;
mod warm_up;
mod warning;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use self::case::{Case, KeyPolicy, Question};
pub use self::message::{USUAL_CLAIMS_BYTES, signing_inputs};
pub use self::prepare::{Ready, prepare};
pub use self::quads::{Progress, TimedBy};
pub use self::quality::QualityFacts;
pub use self::session::{ALPHA, Request, run};
use crate::clock::SystemClock;
use crate::credential::SealedKey;
pub use crate::record::signing as record;
pub use crate::record::signing::{BenchRecord, Bounded, CaseRecord, ComparisonRecord};
use crate::signer::{Algorithm, PrivateKey, Registry, SignError};

/// The backend that others are compared with if nothing else is said: the one
/// that most Rust programs sign with.
pub const REFERENCE: &str = "ring";

/// A key to sign with, and what it is kept in.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The key, opened.
    pub key: Arc<PrivateKey>,
    /// Its container; needed for [`KeyPolicy::DecryptedPerCall`] alone.
    pub sealed: Option<SealedKey>,
}

impl From<Arc<PrivateKey>> for SigningKey {
    fn from(key: Arc<PrivateKey>) -> Self {
        Self { key, sealed: None }
    }
}

/// Compares backends for one key and algorithm on one thread.
///
/// The record has a case for each backend that could be used, with its
/// signatures a second of CPU time and its speed relative to [`REFERENCE`], or
/// to the first of `names` where that is not among them;
/// [`BenchRecord::fastest`] names the best. All of it takes about `budget`.
///
/// # Errors
///
/// No backend of `names` can use the key, or a signature failed.
pub fn quick(
    key: &Arc<PrivateKey>,
    algorithm: Algorithm,
    names: &[String],
    budget: Duration,
    stop: &AtomicBool,
) -> Result<BenchRecord, BenchError> {
    let request = Request {
        registry: &Registry::compiled(),
        keys: &[Arc::clone(key).into()],
        backends: names,
        algorithms: &[algorithm],
        threads: &[1],
        key_policies: &[KeyPolicy::Reused],
        claims_bytes: &[USUAL_CLAIMS_BYTES],
        reference: REFERENCE,
        budget,
        seed: 1,
        has_null_control: false,
    };
    run(&request, &SystemClock::new(), stop, &mut |_| {})
}

/// Why backends could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Every case was refused.
    #[error(
        "no backend can be measured ({reasons}), expected a key and an algorithm that one takes"
    )]
    NothingToMeasure {
        /// The reasons, by backend.
        reasons: String,
    },
    /// A signature failed while it was timed.
    #[error("{case} failed while it was timed")]
    Sign {
        /// The case.
        case: String,
        /// What the backend said.
        source: SignError,
    },
    /// The system starts no more threads.
    #[error("cannot start the signing threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}
