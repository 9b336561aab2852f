//! What happens to a token endpoint when workers call it?
//!
//! The closed model: each worker begins its next call when the previous one
//! has ended, for a given time. A worker has a thread of its own, as the
//! programs have that it stands for, so that signing in one does not delay
//! the answer to another. What a call does is behind [`Caller`]; this module
//! counts, times and ends. A failing call is data.

pub mod arrival;
pub mod caller;
mod closed;
pub mod pacer;
mod recorder;
pub mod transport;

use std::future::Future;
use std::time::Duration;

pub use self::closed::{ClosedPlan, LoadError, Measured, Progress, run_closed};
use crate::record::Outcome;

/// Makes one call after another, from one worker.
pub trait Caller {
    /// Makes one call, whatever becomes of it.
    fn call(&mut self) -> impl Future<Output = Call>;
}

/// What one call was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How it ended.
    pub outcome: Outcome,
    /// The time for opening the key and signing, if it did that.
    pub signing: Option<Duration>,
    /// The time from the request to the whole answer, if it sent one.
    pub exchange: Option<Duration>,
}
