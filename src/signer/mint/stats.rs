//! What has a mint done, and how long did its callers wait to be gathered?

use std::time::Duration;

use crate::record::Histogram;

/// What a mint has done so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MintStats {
    /// Batches that were signed, by the number of requests in them; the
    /// index is the number.
    pub batches: Vec<u64>,
    /// Requests that were signed by their own callers.
    pub lent: u64,
    /// Requests that were not signed: caller gone or deadline passed.
    pub skipped: u64,
    /// The times from a request to the beginning of its signature, of all
    /// requests that a thread signed.
    pub gathering: Histogram,
}

impl MintStats {
    /// Returns how many requests threads have signed.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.batches
            .iter()
            .enumerate()
            .map(|(width, count)| width as u64 * count)
            .sum()
    }

    /// Returns the mean number of requests in a batch.
    #[must_use]
    pub fn mean_width(&self) -> Option<f64> {
        let batches: u64 = self.batches.iter().sum();
        (batches > 0).then(|| self.signed() as f64 / batches as f64)
    }

    /// Returns the mean time from a request to the beginning of its signature.
    #[must_use]
    pub fn mean_gathering(&self) -> Option<Duration> {
        self.gathering.mean()
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.batches.len() < other.batches.len() {
            self.batches.resize(other.batches.len(), 0);
        }
        for (own, count) in self.batches.iter_mut().zip(&other.batches) {
            *own += count;
        }
        self.lent += other.lent;
        self.skipped += other.skipped;
        self.gathering.add(&other.gathering);
    }
}
