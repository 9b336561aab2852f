//! Was this `jti` presented before?
//!
//! An exact cache of the assertions that have not expired yet (RFC 7523 §3):
//! it holds a keyed 128-bit digest of issuer and `jti` until `exp`, and never
//! evicts an entry before. When it is full it says so, and the endpoint
//! answers 503; forgetting an entry would let a replay through.
//!
//! Invariants: check and insertion are one critical section, so that of any
//! number of concurrent presentations one is new. An assertion, which is
//! issuer, `jti` and `exp`, is new at most once in the life of the cache,
//! even if the wall clock is stepped back: what may have been forgotten is
//! refused as outlived.

use std::collections::VecDeque;
use std::hash::Hasher;

use aws_lc_rs::rand;
use hashbrown::HashTable;
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};

/// How many shards there are. With two dozen threads, two of them meet in
/// one shard in a few of a hundred operations, for less than a microsecond.
const SHARDS: usize = 64;

/// How many expired entries one insertion removes at most.
///
/// More than one, so that the cache shrinks when the rate falls; few, so
/// that no single request pays for a whole second's worth of them.
const SWEEP: usize = 8;

/// What one entry costs in memory, in bytes: 24 in the table at two thirds
/// of its capacity and one control byte, 8 in the wheel with room to grow.
pub const ENTRY_BYTES: usize = 56;

/// The default capacity: what 512 MiB hold, or 100 000 assertions a second
/// with a life of 60 s and half as many again.
pub const DEFAULT_CAPACITY: usize = 512 * 1024 * 1024 / ENTRY_BYTES;

/// An exact set of the assertions that were presented and have not expired.
pub struct ReplayCache {
    key: [u8; 16],
    per_shard: usize,
    shards: Box<[Mutex<Shard>]>,
}

/// What the cache says about a presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// The pair was not presented before; now it is remembered.
    New,
    /// The pair is remembered.
    Replayed,
    /// `exp` has passed, or it is so old that the pair may have been
    /// forgotten before the clock was stepped back.
    Outlived,
    /// There is no room; nothing was remembered.
    Full,
}

#[derive(Default)]
struct Shard {
    table: HashTable<Entry>,
    /// Digest halves by the second of their expiry, earliest first.
    wheel: VecDeque<Slot>,
    /// The latest expiry among the entries that were removed.
    forgotten_through: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    digest: [u64; 2],
    exp: u64,
}

struct Slot {
    exp: u64,
    digests: Vec<u64>,
}

impl ReplayCache {
    /// Makes an empty cache for up to `capacity` entries, which costs about
    /// [`ENTRY_BYTES`] each.
    ///
    /// # Errors
    ///
    /// The system has no random bytes for the digest's key.
    pub fn new(capacity: usize) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = [0; 16];
        rand::fill(&mut key)?;
        let per_shard = capacity.div_ceil(SHARDS);
        Ok(Self {
            key,
            per_shard,
            shards: (0..SHARDS)
                .map(|_| {
                    Mutex::new(Shard {
                        // Room for 4 000 assertions a second; growing costs
                        // one request of that shard the rehash.
                        table: HashTable::with_capacity(per_shard.min(4096)),
                        ..Shard::default()
                    })
                })
                .collect(),
        })
    }

    /// Checks a presentation and remembers it until `exp`.
    ///
    /// `exp` and `now` are whole seconds since the Unix epoch. The same `jti`
    /// of another issuer is another pair; another `exp` makes no difference.
    pub fn present(&self, iss: &str, jti: &str, exp: u64, now: u64) -> Presentation {
        if exp <= now {
            return Presentation::Outlived;
        }
        let digest = self.digest(iss, jti);
        let index = usize::try_from(digest[1] % SHARDS as u64).unwrap_or_default();
        self.shards[index]
            .lock()
            .present(Entry { digest, exp }, now, self.per_shard)
    }

    /// Counts the entries, those included that have expired and were not
    /// removed yet. Locks one shard after the other.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().table.len())
            .sum()
    }

    /// Is there no entry?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn digest(&self, iss: &str, jti: &str) -> [u64; 2] {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(iss.as_bytes());
        // No UTF-8 text holds this byte, so the border cannot be moved.
        hasher.write(&[0xff]);
        hasher.write(jti.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}

impl Shard {
    fn present(&mut self, entry: Entry, now: u64, capacity: usize) -> Presentation {
        let hash = entry.digest[0];
        let seen = self
            .table
            .find_mut(hash, |seen| seen.digest == entry.digest);
        if let Some(seen) = seen {
            if seen.exp > now {
                return Presentation::Replayed;
            }
            // It would be gone, had the sweep come by: the pair is free again.
            // Its old place in the wheel finds nothing and does no harm.
            seen.exp = entry.exp;
            self.schedule(entry.exp, hash);
            return Presentation::New;
        }
        if entry.exp <= self.forgotten_through {
            return Presentation::Outlived;
        }
        self.sweep(now, SWEEP);
        if self.table.len() >= capacity {
            self.sweep(now, usize::MAX);
            if self.table.len() >= capacity {
                return Presentation::Full;
            }
        }
        self.table.insert_unique(hash, entry, |seen| seen.digest[0]);
        self.schedule(entry.exp, hash);
        Presentation::New
    }

    /// Removes up to `limit` entries that have expired.
    fn sweep(&mut self, now: u64, mut limit: usize) {
        while let Some(slot) = self.wheel.front_mut() {
            if slot.exp > now {
                return;
            }
            while let Some(hash) = slot.digests.pop() {
                if limit == 0 {
                    slot.digests.push(hash);
                    return;
                }
                limit -= 1;
                let exp = slot.exp;
                if let Ok(entry) = self
                    .table
                    .find_entry(hash, |seen| seen.digest[0] == hash && seen.exp == exp)
                {
                    entry.remove();
                }
                self.forgotten_through = self.forgotten_through.max(exp);
            }
            self.wheel.pop_front();
        }
    }

    fn schedule(&mut self, exp: u64, hash: u64) {
        // Lives differ by a minute at most, so this looks at few slots, from
        // the end at which most assertions belong.
        let mut at = self.wheel.len();
        while at > 0 && self.wheel[at - 1].exp > exp {
            at -= 1;
        }
        if at > 0 && self.wheel[at - 1].exp == exp {
            self.wheel[at - 1].digests.push(hash);
        } else {
            self.wheel.insert(
                at,
                Slot {
                    exp,
                    digests: vec![hash],
                },
            );
        }
    }
}
