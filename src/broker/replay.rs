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

/// What one entry costs in resident memory, in bytes: 24 and a control byte
/// in the table, 8 in the wheel, and as much again for the room that both
/// have to grow and for what the allocator keeps of smaller ones. Measured
/// with six million entries: `cargo bench --bench broker -- replay`.
pub const ENTRY_BYTES: usize = 90;

/// The default capacity: 100 000 assertions a second with a life of 60 s and
/// half as many again, in about 800 MB. Twice as much remembers twice the
/// rate; an endpoint at a lower rate never gets there.
pub const DEFAULT_CAPACITY: usize = 9_000_000;

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

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn cache(capacity: usize) -> ReplayCache {
        ReplayCache::new(capacity).unwrap()
    }

    #[test]
    fn a_pair_is_new_once_and_free_again_after_its_expiry() {
        let cache = cache(100_000);
        assert_eq!(cache.present("a", "j", NOW + 30, NOW), Presentation::New);
        assert_eq!(
            cache.present("a", "j", NOW + 30, NOW + 29),
            Presentation::Replayed
        );
        assert_eq!(
            cache.present("a", "j", NOW + 60, NOW + 29),
            Presentation::Replayed,
            "another exp makes no difference"
        );
        assert_eq!(
            cache.present("a", "j", NOW + 30, NOW + 30),
            Presentation::Outlived
        );
        assert_eq!(
            cache.present("a", "j", NOW + 60, NOW + 30),
            Presentation::New
        );
        assert_eq!(
            cache.present("a", "j", NOW + 60, NOW + 31),
            Presentation::Replayed
        );
    }

    #[test]
    fn issuers_do_not_share_their_pairs() {
        let cache = cache(100_000);
        assert_eq!(cache.present("a", "bj", NOW + 30, NOW), Presentation::New);
        assert_eq!(cache.present("ab", "j", NOW + 30, NOW), Presentation::New);
        assert_eq!(cache.present("", "abj", NOW + 30, NOW), Presentation::New);
    }

    #[test]
    fn a_full_cache_refuses_and_forgets_nothing() {
        let cache = cache(SHARDS * 4);
        let mut remembered = Vec::new();
        let mut full = 0;
        for i in 0..SHARDS * 64 {
            let jti = i.to_string();
            match cache.present("a", &jti, NOW + 30, NOW) {
                Presentation::New => remembered.push(jti),
                other => {
                    assert_eq!(other, Presentation::Full);
                    full += 1;
                }
            }
        }
        assert!(full > 0);
        assert_eq!(remembered.len(), SHARDS * 4);
        for jti in &remembered {
            assert_eq!(
                cache.present("a", jti, NOW + 30, NOW + 29),
                Presentation::Replayed
            );
        }
        // All of them expire in the same second, and all places are free.
        for i in 0..SHARDS * 64 {
            cache.present("b", &i.to_string(), NOW + 90, NOW + 31);
        }
        assert_eq!(cache.len(), SHARDS * 4);
    }

    #[test]
    fn a_steady_rate_takes_no_more_memory_than_a_life_of_it() {
        let cache = cache(100_000);
        for second in 0..300 {
            for i in 0..100 {
                let jti = format!("{second}-{i}");
                let now = NOW + second;
                assert_eq!(cache.present("a", &jti, now + 10, now), Presentation::New);
            }
        }
        assert!(!cache.is_empty());
        assert!(cache.len() <= 12 * 100, "{} entries", cache.len());
    }

    #[test]
    fn what_was_forgotten_before_the_clock_was_stepped_back_stays_burnt() {
        let cache = cache(100_000);
        assert_eq!(cache.present("a", "j", NOW + 30, NOW), Presentation::New);
        // Enough presentations for a sweep of every shard.
        for i in 0..10_000 {
            cache.present("a", &i.to_string(), NOW + 160, NOW + 100);
        }
        assert_eq!(
            cache.present("a", "j", NOW + 30, NOW + 5),
            Presentation::Outlived
        );
        assert_eq!(
            cache.present("a", "k", NOW + 65, NOW + 5),
            Presentation::New
        );
    }

    #[test]
    fn of_many_who_present_the_same_pair_one_wins() {
        const THREADS: usize = 80;
        const ROUNDS: usize = 50;
        let cache = cache(100_000);
        let start = Barrier::new(THREADS);
        let wins: usize = thread::scope(|scope| {
            let racers: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        (0..ROUNDS)
                            .filter(|round| {
                                let jti = round.to_string();
                                start.wait();
                                cache.present("a", &jti, NOW + 30, NOW) == Presentation::New
                            })
                            .count()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(wins, ROUNDS);
        assert_eq!(cache.len(), ROUNDS);
    }

    /// What happens to a cache, in small numbers that meet often.
    #[derive(Clone, Debug)]
    enum Event {
        Present { issuer: u8, jti: u8, life: u64 },
        Wait(u64),
        StepBack(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let present = || {
            (0..2_u8, 0..40_u8, 0..70_u64).prop_map(|(issuer, jti, life)| Event::Present {
                issuer,
                jti,
                life,
            })
        };
        prop_oneof![
            present(),
            present(),
            present(),
            present(),
            (0..4_u64).prop_map(Event::Wait),
            (0..200_u64).prop_map(Event::Wait),
            (0..200_u64).prop_map(Event::StepBack),
        ]
    }

    proptest! {
        /// While time goes forward the cache is the naive map; after a step
        /// back it may refuse more, but never what nobody had presented with
        /// a later expiry than everything before, and it accepts no
        /// assertion twice.
        #[test]
        fn it_behaves_as_a_naive_map(events in proptest::collection::vec(event(), 0..400)) {
            let cache = cache(100_000);
            let mut now = NOW;
            let mut latest_now = now;
            let mut latest_exp = 0;
            let mut live: HashMap<(u8, u8), u64> = HashMap::new();
            let mut accepted = HashSet::new();
            for event in events {
                let (issuer, jti, life) = match event {
                    Event::Wait(seconds) => {
                        now += seconds;
                        latest_now = latest_now.max(now);
                        continue;
                    }
                    Event::StepBack(seconds) => {
                        now -= seconds;
                        continue;
                    }
                    Event::Present { issuer, jti, life } => (issuer, jti, life),
                };
                let exp = now + life;
                let found = cache.present(&issuer.to_string(), &jti.to_string(), exp, now);
                let is_live = live.get(&(issuer, jti)).is_some_and(|until| *until > now);
                let expected = if exp <= now {
                    Presentation::Outlived
                } else if is_live {
                    Presentation::Replayed
                } else {
                    Presentation::New
                };
                if now == latest_now || (exp > latest_exp && !is_live) {
                    prop_assert_eq!(found, expected);
                }
                if found == Presentation::New {
                    prop_assert!(accepted.insert((issuer, jti, exp)), "accepted twice");
                    live.insert((issuer, jti), exp);
                    latest_exp = latest_exp.max(exp);
                }
            }
        }
    }
}
