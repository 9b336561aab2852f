//! How many requests came, and what became of them?
//!
//! Plain counters that any thread adds to and anyone reads; a reading is not
//! one instant's, but every counter only grows, except for the connections
//! that are open.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::oauth::Refusal;

/// The counters of a running broker.
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    pub(super) handshake_errors: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) granted: AtomicU64,
    pub(super) others: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// A reading of a broker's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are open.
    pub open_connections: u64,
    /// Failures to accept a connection, for want of file descriptors mostly.
    pub accept_errors: u64,
    /// Connections on which no TLS was agreed, or not in time.
    pub handshake_errors: u64,
    /// Requests whose head arrived.
    pub requests: u64,
    /// Tokens that were issued.
    pub granted: u64,
    /// Requests to other addresses than the token endpoint.
    pub others: u64,
    /// Token requests that were refused, by reason; those that occurred.
    /// Written as a map.
    #[serde(serialize_with = "as_map")]
    pub refused: Vec<(Refusal, u64)>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            handshake_errors: AtomicU64::new(0),
            open: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            others: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
        }
    }
}

impl Counters {
    pub(super) fn refuse(&self, refusal: Refusal) {
        add(&self.refused[refusal.index()]);
    }

    pub(super) fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: get(&self.accepted),
            open_connections: get(&self.open),
            accept_errors: get(&self.accept_errors),
            handshake_errors: get(&self.handshake_errors),
            requests: get(&self.requests),
            granted: get(&self.granted),
            others: get(&self.others),
            refused: Refusal::ALL
                .into_iter()
                .map(|refusal| (refusal, get(&self.refused[refusal.index()])))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

impl Stats {
    /// Returns how often a token request was refused for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused
            .iter()
            .find(|(one, _)| *one == refusal)
            .map_or(0, |(_, count)| *count)
    }

    /// Returns how many token requests were refused in all.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }
}

/// Counts one more.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn as_map<S: Serializer>(refused: &[(Refusal, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(refused.iter().map(|(refusal, count)| (refusal, count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_occurred_is_in_a_reading() {
        let counters = Counters::default();
        add(&counters.granted);
        counters.refuse(Refusal::ReplayedJti);
        counters.refuse(Refusal::ReplayedJti);
        counters.refuse(Refusal::RateLimited);
        let stats = counters.read();
        assert_eq!(stats.granted, 1);
        assert_eq!(stats.refused(Refusal::ReplayedJti), 2);
        assert_eq!(stats.refused(Refusal::Expired), 0);
        assert_eq!(stats.refused_total(), 3);
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(
            json["refused"],
            serde_json::json!({"replayed_jti": 2, "rate_limited": 1})
        );
    }
}
