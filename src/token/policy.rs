//! How long is a token used, when is it replaced, and how long is a failure
//! remembered?
//!
//! Arithmetic alone: durations and dice in, instants out. Instants are
//! nanoseconds on a monotonic clock. A token's life counts from the moment it
//! was asked for, which errs towards replacing it early.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::slot::Kept;
use super::sync::{AtomicU64, Ordering};

/// The share of a token's life that the margin takes at most, so that tokens
/// of a few seconds are of use as well.
const LARGEST_MARGIN: f64 = 0.1;

/// How many mean distances before its end an early replacement may begin.
/// Beyond it, one reader in 10¹⁷ would have begun; until then a hit is spared
/// the dice.
const EARLY_HORIZON: f64 = 40.0;

/// The longest `Retry-After` that is obeyed. A server that asks for more is
/// more likely mistaken than down.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// A token that is refused younger than this was never good; fetching the
/// next at once would sign and fetch without end.
pub(super) const QUICK_REFUSAL: Duration = Duration::from_secs(5);

/// How a cache treats its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How long before its expiry a token is not handed out any more, since
    /// the request that it goes with has to arrive; a tenth of the token's
    /// life at most.
    pub margin: Duration,
    /// When a token is replaced that is still good.
    pub refresh: Refresh,
    /// The random part, as a share: refreshes are moved by it to both sides,
    /// pauses are prolonged by it. Without it, tokens that were fetched
    /// together are replaced together for ever.
    pub jitter: f64,
    /// How long after its expiry a token is handed out at most while no other
    /// can be had. With zero, it is handed out into its margin.
    pub max_stale: Duration,
    /// The first pause after a failure, and the shortest; each further one is
    /// twice as long unless the endpoint says otherwise.
    pub first_pause: Duration,
    /// The longest pause of the cache's own; `Retry-After` goes beyond it.
    pub longest_pause: Duration,
    /// How many subjects are kept. Those that a handle holds, or that are
    /// being fetched, stay beyond it.
    pub capacity: usize,
}

/// When a token is replaced that is still good, by the first who reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refresh {
    /// Not before its end: the first who finds it too old fetches another,
    /// and all others wait for that.
    AtEnd,
    /// In the background after this share of its life.
    Ahead {
        /// The share, between 0 and 1.
        at: f64,
    },
    /// In the background with a probability that rises towards the end
    /// (XFetch; Vattani, Chierichetti, Lowenstein 2015): each reader begins
    /// if now + `beta` · fetch time · −ln(random) has reached the end. With
    /// several caches of the same tokens, one begins before the others.
    Early {
        /// 1 suits; more begins earlier.
        beta: f64,
    },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            margin: Duration::from_secs(30),
            refresh: Refresh::Ahead { at: 0.8 },
            jitter: 0.1,
            max_stale: Duration::ZERO,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(60),
            capacity: 100_000,
        }
    }
}

impl Policy {
    /// Says how long `token` is good for that was asked for at `asked`, was
    /// there at `answered` and lives for `life`; `None` if it is over already.
    pub(super) fn keep<T>(
        &self,
        token: Arc<T>,
        (asked, answered): (u64, u64),
        life: Duration,
        dice: &Dice,
    ) -> Option<Kept<T>> {
        let life_ns = as_ns(life);
        let expires = asked.saturating_add(life_ns);
        if answered >= expires {
            return None;
        }
        let margin = as_ns(self.margin).min(share_of(life_ns, LARGEST_MARGIN));
        let fresh_until = expires - margin;
        let mut early_scale = 0.0;
        let due = match self.refresh {
            Refresh::AtEnd => fresh_until,
            Refresh::Ahead { at } => {
                let moved = 1.0 + self.jitter * (2.0 * dice.roll() - 1.0);
                asked.saturating_add(share_of(life_ns, at * moved))
            }
            Refresh::Early { beta } => {
                early_scale = beta * (answered.saturating_sub(asked)) as f64;
                fresh_until.saturating_sub(rounded(early_scale * EARLY_HORIZON))
            }
        };
        Some(Kept {
            token,
            since: asked,
            due: due.clamp(asked, fresh_until),
            fresh_until,
            stale_until: expires.saturating_add(as_ns(self.max_stale)),
            early_scale,
        })
    }

    /// Says how long to leave an endpoint alone that failed `in_row` times
    /// before and asks for `retry_after`.
    pub(super) fn pause(&self, in_row: u32, retry_after: Option<Duration>, dice: &Dice) -> u64 {
        let own = self
            .first_pause
            .saturating_mul(2_u32.saturating_pow(in_row))
            .min(self.longest_pause);
        let pause = retry_after.map_or(own, |asked| {
            asked.min(LONGEST_RETRY_AFTER).max(self.first_pause)
        });
        // Only ever later: a client that is early is refused again.
        let pause = as_ns(pause);
        pause.saturating_add(share_of(pause, self.jitter * dice.roll()))
    }
}

impl<T> Kept<T> {
    /// Does this reader replace the token, which is due, at `now`?
    pub(super) fn is_wanted_early(&self, now: u64, dice: &Dice) -> bool {
        if self.early_scale <= 0.0 {
            return true;
        }
        // The roll is never 0, and its logarithm never infinite.
        let ahead = rounded(self.early_scale * -dice.roll().ln());
        now.saturating_add(ahead) >= self.fresh_until
    }
}

/// A source of random numbers that threads share; not for secrets.
pub(super) struct Dice(AtomicU64);

impl Dice {
    /// Makes dice that fall differently each time.
    pub fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }

    /// Makes dice that fall the same way each time.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns a number above 0 and below 1.
    pub fn roll(&self) -> f64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut x = self
            .0
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        ((x >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

pub(super) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn share_of(ns: u64, share: f64) -> u64 {
    rounded(ns as f64 * share)
}

/// Converts nanoseconds, saturating at both ends.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, as it should"
)]
fn rounded(ns: f64) -> u64 {
    ns as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn keep(policy: &Policy, life_s: u64) -> Kept<()> {
        policy
            .keep(
                Arc::new(()),
                (100 * S, 101 * S),
                Duration::from_secs(life_s),
                &Dice::seeded(1),
            )
            .unwrap()
    }

    #[test]
    fn a_long_life_loses_the_margin_and_a_short_one_a_tenth() {
        let policy = Policy::default();
        assert_eq!(keep(&policy, 3_600).fresh_until, (100 + 3_570) * S);
        assert_eq!(keep(&policy, 10).fresh_until, (100 + 9) * S);
        assert_eq!(keep(&policy, 3_600).stale_until, 3_700 * S);
    }

    #[test]
    fn a_token_that_was_over_when_it_arrived_is_not_kept() {
        let policy = Policy::default();
        let dice = Dice::seeded(1);
        for (life_s, is_kept) in [(0, false), (1, false), (2, true)] {
            let kept = policy.keep(Arc::new(()), (0, S), Duration::from_secs(life_s), &dice);
            assert_eq!(kept.is_some(), is_kept, "{life_s} s");
        }
    }

    #[test]
    fn refreshes_are_spread_around_their_share_of_the_life() {
        let policy = Policy::default();
        let dice = Dice::seeded(7);
        let due: Vec<u64> = (0..1_000)
            .map(|_| {
                let life = Duration::from_secs(1_000);
                policy.keep(Arc::new(()), (0, 1), life, &dice).unwrap().due / S
            })
            .collect();
        let (first, last) = (due.iter().min().unwrap(), due.iter().max().unwrap());
        assert!((720..730).contains(first), "{first}");
        assert!((870..=880).contains(last), "{last}");
    }

    #[test]
    fn a_refresh_is_due_within_the_fresh_time_whatever_the_policy_says() {
        for (at, due_s) in [(0.0, 100), (0.5, 150), (2.0, 190)] {
            let policy = Policy {
                refresh: Refresh::Ahead { at },
                jitter: 0.0,
                ..Policy::default()
            };
            assert_eq!(keep(&policy, 100).due, due_s * S, "{at}");
        }
        let policy = Policy {
            refresh: Refresh::AtEnd,
            ..Policy::default()
        };
        assert_eq!(keep(&policy, 100).due, 190 * S);
    }

    #[test]
    fn early_replacement_begins_at_the_mean_distance_that_was_asked_for() {
        let policy = Policy {
            refresh: Refresh::Early { beta: 2.0 },
            ..Policy::default()
        };
        // The fetch took a second, so the mean distance is two.
        let kept = keep(&policy, 1_000);
        assert_eq!(kept.due, kept.fresh_until - 80 * S);
        let dice = Dice::seeded(3);
        let share = |before_end_s: f64| {
            let now = kept.fresh_until - rounded(before_end_s * S as f64);
            let wanted = (0..20_000)
                .filter(|_| kept.is_wanted_early(now, &dice))
                .count();
            wanted as f64 / 20_000.0
        };
        // −ln(u) is exponential: it exceeds x with the probability e⁻ˣ.
        for before_end_s in [1.0, 2.0, 6.0] {
            let expected = f64::exp(-before_end_s / 2.0);
            assert!((share(before_end_s) - expected).abs() < 0.02);
        }
        assert!(kept.is_wanted_early(kept.fresh_until, &dice));
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_obey_the_server() {
        let policy = Policy {
            jitter: 0.0,
            ..Policy::default()
        };
        let dice = Dice::seeded(1);
        let pause = |in_row, after| policy.pause(in_row, after, &dice);
        assert_eq!(pause(0, None), S / 4);
        assert_eq!(pause(3, None), 2 * S);
        assert_eq!(pause(100, None), 60 * S);
        assert_eq!(pause(0, Some(Duration::from_secs(90))), 90 * S);
        assert_eq!(pause(9, Some(Duration::ZERO)), S / 4);
        assert_eq!(pause(0, Some(Duration::MAX)), 3_600 * S);
        let jittered = Policy::default();
        for _ in 0..100 {
            let pause = jittered.pause(0, Some(Duration::from_secs(10)), &dice);
            assert!((10 * S..=11 * S).contains(&pause));
        }
    }

    #[test]
    fn dice_fall_evenly_and_never_on_a_bound() {
        let dice = Dice::seeded(42);
        let rolls: Vec<f64> = (0..100_000).map(|_| dice.roll()).collect();
        assert!(rolls.iter().all(|roll| *roll > 0.0 && *roll < 1.0));
        let mean = rolls.iter().sum::<f64>() / rolls.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
