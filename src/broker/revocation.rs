//! Which tokens were taken back before they expired?
//!
//! Tokens prove themselves and are not stored; only what was revoked is, by
//! the random ID that is in every token, until it would have expired anyway.
//! A token that was narrowed from a revoked one is revoked with it.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::token::{Grant, TokenId};

/// How many entries there are before expired ones are looked for.
const SWEEP_FROM: usize = 1024;

/// The tokens that were revoked and have not expired.
#[derive(Default)]
pub struct Revoked {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    expiry: HashMap<TokenId, u64>,
    sweep_at: usize,
}

impl Revoked {
    /// Revokes a token; `now` is in seconds since the Unix epoch.
    pub fn revoke(&self, grant: &Grant, now: u64) {
        let mut table = self.table.write();
        table.expiry.insert(grant.id, grant.expires_at);
        if table.expiry.len() >= table.sweep_at.max(SWEEP_FROM) {
            table.expiry.retain(|_, expires_at| *expires_at > now);
            // Sweeping after every doubling costs a constant per entry.
            table.sweep_at = 2 * table.expiry.len();
        }
    }

    /// Was the token, or the one that it was narrowed from, revoked?
    #[must_use]
    pub fn holds(&self, grant: &Grant) -> bool {
        let table = self.table.read();
        if table.expiry.is_empty() {
            return false;
        }
        table.expiry.contains_key(&grant.id) || table.expiry.contains_key(&grant.root)
    }

    /// Counts the entries, those included that have expired since.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().expiry.len()
    }

    /// Is there no entry?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::terms::Scopes;
    use crate::broker::token::Subject;

    fn grant(id: u64, root: u64, expires_at: u64) -> Grant {
        let bytes = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            id
        };
        Grant {
            app: 0,
            subject: Subject::User("1".into()),
            scopes: Scopes::ALL,
            as_user: false,
            resource: None,
            actor: None,
            id: bytes(id),
            root: bytes(root),
            expires_at,
        }
    }

    #[test]
    fn a_token_is_revoked_with_the_one_that_it_came_from() {
        let revoked = Revoked::default();
        revoked.revoke(&grant(1, 1, 100), 0);
        assert!(revoked.holds(&grant(1, 1, 100)));
        assert!(revoked.holds(&grant(2, 1, 90)));
        assert!(!revoked.holds(&grant(3, 3, 100)));
        revoked.revoke(&grant(5, 3, 90), 0);
        assert!(!revoked.holds(&grant(3, 3, 100)), "not the other way round");
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let revoked = Revoked::default();
        for id in 0..100_000 {
            revoked.revoke(&grant(id, id, id + 10), id);
            assert!(revoked.len() <= SWEEP_FROM);
        }
        assert!(revoked.holds(&grant(99_999, 0, 0)));
    }
}
