//! What is the highest rate that an endpoint sustains within its objective?
//!
//! A search asks a [`Trial`] for evidence at one rate after the other and
//! decides with sequential tests on slices: requests of one moment share a
//! queue and are no independent witnesses, slices nearly are. The answer is a
//! pair of rates, "sustains L, does not sustain U", with the evidence, and a
//! word for how sure it is.
//!
//! Nothing here sends a request; the load engine does, or a simulated queue.

mod evidence;
mod search;
#[cfg(test)]
mod simulated;
mod trial;

pub use self::evidence::Evidence;
pub use self::search::{CapacityError, Search, find};
pub use self::trial::LoadTrial;

use std::time::Duration;

use crate::load::objective::Counts;
use crate::record::Packed;
pub use crate::record::search::{Answer, Confidence, Decision, Rung, Stage};

/// Gives evidence at one rate.
pub trait Trial {
    /// Offers `per_s` for `length`, after whatever warm-up it takes.
    ///
    /// # Errors
    ///
    /// The trial could not be made at all; failing requests are evidence.
    fn offer(&mut self, per_s: f64, length: Duration) -> Result<Offered, CapacityError>;
}

/// What was seen at one rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offered {
    /// The slices that say something about the endpoint, in order.
    pub slices: Vec<Counts>,
    /// Slices in which the generator itself was late, which say nothing.
    pub spoiled: usize,
    /// The share of offered requests that were sent in time.
    pub sent_share: f64,
    /// Was the queue still growing at the end?
    pub backlog_grows: bool,
    /// Was it the generator that could not keep up?
    pub is_generator_limited: bool,
    /// Response times of the answered requests, if the trial knows them.
    pub response: Packed,
    /// Was the trial stopped by the user?
    pub was_stopped: bool,
}
