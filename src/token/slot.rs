//! Who may fetch a key's token, and who waits for it?
//!
//! A slot is the place of one key's token. Whoever misses enters it and
//! learns what to do: take the token that is there, fetch one, wait for the
//! one who does, or take the failure of a moment ago. A slot fetches nothing,
//! sleeps never and reads no clock: instants come in as nanoseconds on a
//! clock that never goes back.
//!
//! Invariants: at most one [`Lead`] of a slot exists at a time. Every flight
//! ends in exactly one [`Outcome`], also if its lead is dropped half-way, and
//! all who wait for it are told. After [`Slot::retire`] has succeeded nobody
//! leads any more.

use std::pin::pin;
use std::sync::Arc;

use arc_swap::Guard;

use super::sync::{ArcSwapOption, AtomicBool, AtomicU64, Mutex, Notify, OnceLock, Ordering};

/// The place of the token `T` of one key `K`; fetching it fails with `E`.
pub(super) struct Slot<K, T, E> {
    key: K,
    kept: ArcSwapOption<Kept<T>>,
    /// No attempt is due before this instant; the end of time while one is
    /// under way. A hint that spares hits the lock; the truth is in `state`.
    next_attempt: AtomicU64,
    /// Was the slot looked at since somebody last asked?
    was_used: AtomicBool,
    state: Mutex<State<T, E>>,
}

/// A token, and how long it is good for.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// The token.
    pub token: Arc<T>,
    /// When it was asked for.
    pub since: u64,
    /// From when on it should be replaced, at `fresh_until` at the latest.
    pub due: u64,
    /// Until when it is handed out without further ado.
    pub fresh_until: u64,
    /// Until when it is handed out if no other can be had.
    pub stale_until: u64,
    /// The mean distance from the end at which a reader takes it upon itself
    /// to replace the token early; none if zero. In nanoseconds.
    pub early_scale: f64,
}

struct State<T, E> {
    flight: Option<Arc<Flight<T, E>>>,
    failure: Option<Box<Failure<T, E>>>,
    /// Is what the flight brings already unwanted?
    is_doomed: bool,
    is_retired: bool,
    /// How many hold the slot and must not lose it.
    pins: u32,
    /// Tokens in a row that were refused soon after their issue.
    strikes: u32,
}

struct Failure<T, E> {
    reason: E,
    /// No attempt is made before this instant.
    until: u64,
    in_row: u32,
    /// May an old token be handed out meanwhile?
    allows_stale: bool,
    /// The token that was refused by those it was shown to.
    refused: Option<Arc<T>>,
}

struct Flight<T, E> {
    outcome: OnceLock<Outcome<T, E>>,
    ended: Notify,
}

/// How a flight ended.
#[derive(Debug)]
pub(super) enum Outcome<T, E> {
    /// It brought a token.
    Landed(Arc<Kept<T>>),
    /// It brought a failure.
    Failed {
        /// Why.
        reason: E,
        /// May an old token be handed out instead?
        allows_stale: bool,
    },
    /// It brought a token that was unwanted by then.
    Superseded(Arc<Kept<T>>),
    /// Its lead was dropped.
    Abandoned,
}

/// What one who enters has to do.
pub(super) enum Entry<K, T, E> {
    /// Take this token.
    Fresh(Arc<Kept<T>>),
    /// Take this token, for want of a better one.
    Stale(Arc<Kept<T>>),
    /// Take this token, and have another fetched in the background.
    Refresh(Arc<Kept<T>>, Lead<K, T, E>),
    /// Fetch a token.
    Lead(Lead<K, T, E>),
    /// Wait for one who does.
    Wait(Wait<T, E>),
    /// Give up: it failed a moment ago.
    Failed(E),
    /// Look the key up again: this slot has left the cache.
    Retired,
}

/// The right and the duty to fetch the token of a slot.
///
/// Dropping it abandons the flight and tells those who wait.
pub(super) struct Lead<K, T, E> {
    slot: Arc<Slot<K, T, E>>,
    flight: Arc<Flight<T, E>>,
    other_than: Option<Arc<T>>,
    has_ended: bool,
}

/// What a slot held when it was told to forget.
pub(super) struct Forgotten<T, E> {
    /// The token, fresh or not.
    pub kept: Option<Arc<Kept<T>>>,
    /// The flight that was under way.
    pub flight: Option<Wait<T, E>>,
}

/// The wait for the outcome of a flight.
pub(super) struct Wait<T, E>(Arc<Flight<T, E>>);

impl<K, T, E> Slot<K, T, E> {
    /// Returns whose slot this is.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K, T, E: Clone> Slot<K, T, E> {
    /// Makes an empty slot.
    pub fn new(key: K) -> Self {
        Self {
            key,
            kept: ArcSwapOption::empty(),
            next_attempt: AtomicU64::new(0),
            was_used: AtomicBool::new(false),
            state: Mutex::new(State {
                flight: None,
                failure: None,
                is_doomed: false,
                is_retired: false,
                pins: 0,
                strikes: 0,
            }),
        }
    }

    /// Returns what is kept, fresh or not, without a lock.
    pub fn kept(&self) -> Guard<Option<Arc<Kept<T>>>> {
        self.kept.load()
    }

    /// Returns the place itself, for those who cache its content.
    pub fn place(&self) -> &ArcSwapOption<Kept<T>> {
        &self.kept
    }

    /// Is it too early for another attempt, or is one under way?
    pub fn is_held_off(&self, now: u64) -> bool {
        now < self.next_attempt.load(Ordering::Relaxed)
    }

    /// Notes that the slot is in use. Writes only if that is news, so that
    /// readers on several processors share the line.
    pub fn touch(&self) {
        if !self.was_used.load(Ordering::Relaxed) {
            self.was_used.store(true, Ordering::Relaxed);
        }
    }

    /// Was the slot in use since this was last asked?
    pub fn take_use(&self) -> bool {
        self.was_used.swap(false, Ordering::Relaxed)
    }

    /// Decides what the caller has to do at `now`.
    ///
    /// With `may_refresh`, a token that is due or stale is handed out at once
    /// together with the lead; without, it counts as fresh to its end, and
    /// the lead goes to one who then has to wait for it.
    pub fn enter(self: &Arc<Self>, now: u64, may_refresh: bool) -> Entry<K, T, E> {
        let mut state = self.state.lock();
        if state.is_retired {
            return Entry::Retired;
        }
        let kept = self.kept.load_full();
        let pending = state.failure.as_ref().filter(|failure| now < failure.until);
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.fresh_until) {
            let is_wanted = may_refresh && now >= kept.due;
            return if is_wanted && state.flight.is_none() && pending.is_none() {
                Entry::Refresh(Arc::clone(kept), self.take_off(&mut state))
            } else {
                Entry::Fresh(Arc::clone(kept))
            };
        }
        let stale = kept.filter(|kept| {
            now < kept.stale_until
                && state
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.allows_stale)
        });
        match (&state.flight, pending, stale) {
            // The endpoint was out of reach; whether it still is need not
            // keep anyone waiting.
            (Some(_), _, Some(stale)) | (None, Some(_), Some(stale)) => Entry::Stale(stale),
            (Some(flight), _, None) => Entry::Wait(Wait(Arc::clone(flight))),
            (None, Some(failure), None) => Entry::Failed(failure.reason.clone()),
            (None, None, Some(stale)) if may_refresh => {
                Entry::Refresh(stale, self.take_off(&mut state))
            }
            (None, None, _) => Entry::Lead(self.take_off(&mut state)),
        }
    }

    /// Keeps a token that was fetched elsewhere.
    pub fn put(&self, kept: Kept<T>) -> Arc<Kept<T>> {
        let kept = Arc::new(kept);
        let mut state = self.state.lock();
        if !state.is_retired {
            state.failure = None;
            self.kept.store(Some(Arc::clone(&kept)));
            if state.flight.is_none() {
                self.next_attempt.store(0, Ordering::Relaxed);
            }
        }
        kept
    }

    /// Drops the token if it is the one that `is_refused` means, at `now`.
    ///
    /// A token that is refused younger than `quick` is a strike, after which
    /// no attempt is made before `pause` of the strikes has passed. Returns
    /// whether a token was dropped.
    pub fn refuse(
        &self,
        now: u64,
        quick: u64,
        reason: E,
        is_refused: impl FnOnce(&T) -> bool,
        pause: impl FnOnce(u32) -> u64,
    ) -> bool {
        let mut state = self.state.lock();
        let Some(kept) = self.kept.load_full().filter(|kept| is_refused(&kept.token)) else {
            return false;
        };
        let is_quick = now.saturating_sub(kept.since) < quick;
        let until = if is_quick {
            state.strikes += 1;
            now.saturating_add(pause(state.strikes - 1))
        } else {
            state.strikes = 0;
            now
        };
        state.failure = Some(Box::new(Failure {
            reason,
            until,
            in_row: 0,
            allows_stale: false,
            refused: Some(Arc::clone(&kept.token)),
        }));
        self.kept.store(None);
        if state.flight.is_none() {
            self.next_attempt.store(until, Ordering::Relaxed);
        }
        true
    }

    /// Drops the token and dooms the one that is being fetched.
    pub fn forget(&self) -> Forgotten<T, E> {
        let mut state = self.state.lock();
        state.is_doomed = state.flight.is_some();
        state.failure = None;
        if !state.is_doomed {
            self.next_attempt.store(0, Ordering::Relaxed);
        }
        Forgotten {
            kept: self.kept.swap(None),
            flight: state.flight.clone().map(Wait),
        }
    }

    /// Holds the slot in the cache; says whether it still is in there.
    pub fn pin(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_retired {
            return false;
        }
        state.pins += 1;
        true
    }

    /// Ends one [`Self::pin`] that succeeded.
    pub fn unpin(&self) {
        self.state.lock().pins -= 1;
    }

    /// Takes the slot out of use, unless somebody holds or leads it.
    pub fn retire(&self) -> bool {
        let mut state = self.state.lock();
        if state.pins > 0 || state.flight.is_some() || state.is_retired {
            return false;
        }
        state.is_retired = true;
        state.failure = None;
        self.kept.store(None);
        true
    }

    fn take_off(self: &Arc<Self>, state: &mut State<T, E>) -> Lead<K, T, E> {
        let flight = Arc::new(Flight {
            outcome: OnceLock::new(),
            ended: Notify::new(),
        });
        state.flight = Some(Arc::clone(&flight));
        self.next_attempt.store(u64::MAX, Ordering::Relaxed);
        Lead {
            slot: Arc::clone(self),
            flight,
            other_than: self
                .kept
                .load()
                .as_ref()
                .map(|kept| Arc::clone(&kept.token))
                .or_else(|| state.failure.as_ref()?.refused.clone()),
            has_ended: false,
        }
    }
}

impl<K, T, E> Lead<K, T, E> {
    /// Returns the slot.
    pub fn slot(&self) -> &Arc<Slot<K, T, E>> {
        &self.slot
    }

    /// Returns the token that is to be replaced: the same again is no help.
    pub fn other_than(&self) -> Option<&T> {
        self.other_than.as_deref()
    }

    /// Returns a wait for this flight's outcome.
    pub fn wait(&self) -> Wait<T, E> {
        Wait(Arc::clone(&self.flight))
    }

    /// Keeps what was fetched; says whether it was still wanted.
    pub fn land(mut self, kept: Kept<T>) -> bool {
        let kept = Arc::new(kept);
        let mut state = self.slot.state.lock();
        let is_wanted = !state.is_doomed;
        if is_wanted {
            self.slot.kept.store(Some(Arc::clone(&kept)));
            state.failure = None;
        }
        end_flight(&self.slot, &mut state, 0);
        drop(state);
        self.end(if is_wanted {
            Outcome::Landed(kept)
        } else {
            Outcome::Superseded(kept)
        });
        is_wanted
    }

    /// Gives up, for `reason`; nobody tries before `until`, which is told how
    /// many failures in a row came before this one.
    pub fn fail(mut self, reason: E, allows_stale: bool, until: impl FnOnce(u32) -> u64)
    where
        E: Clone,
    {
        let mut state = self.slot.state.lock();
        let before = state.failure.take();
        let in_row = before.as_ref().map_or(0, |failure| failure.in_row);
        let until = until(in_row);
        state.failure = Some(Box::new(Failure {
            reason: reason.clone(),
            until,
            in_row: in_row.saturating_add(1),
            allows_stale,
            refused: before.and_then(|failure| failure.refused),
        }));
        end_flight(&self.slot, &mut state, until);
        drop(state);
        self.end(Outcome::Failed {
            reason,
            allows_stale,
        });
    }

    /// Tells those who wait.
    fn end(&mut self, outcome: Outcome<T, E>) {
        self.has_ended = true;
        let is_first = self.flight.outcome.set(outcome).is_ok();
        debug_assert!(is_first, "a flight ends once");
        self.flight.ended.notify_waiters();
    }
}

impl<T, E: Clone> Clone for Outcome<T, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Landed(kept) => Self::Landed(Arc::clone(kept)),
            Self::Failed {
                reason,
                allows_stale,
            } => Self::Failed {
                reason: reason.clone(),
                allows_stale: *allows_stale,
            },
            Self::Superseded(kept) => Self::Superseded(Arc::clone(kept)),
            Self::Abandoned => Self::Abandoned,
        }
    }
}

impl<K, T, E> Drop for Lead<K, T, E> {
    fn drop(&mut self) {
        if !self.has_ended {
            end_flight(&self.slot, &mut self.slot.state.lock(), 0);
            self.end(Outcome::Abandoned);
        }
    }
}

impl<T, E: Clone> Wait<T, E> {
    /// Waits for the end of the flight. Dropping the future is harmless.
    pub async fn outcome(self) -> Outcome<T, E> {
        // The notice is asked for before the look: what ends in between wakes
        // it, also if it was not polled yet.
        let ended = pin!(self.0.ended.notified());
        if let Some(outcome) = self.0.outcome.get() {
            return outcome.clone();
        }
        ended.await;
        self.0
            .outcome
            .get()
            .cloned()
            .expect("a flight has its outcome before it tells of its end")
    }
}

fn end_flight<K, T, E>(slot: &Slot<K, T, E>, state: &mut State<T, E>, next_attempt: u64) {
    state.flight = None;
    state.is_doomed = false;
    slot.next_attempt.store(next_attempt, Ordering::Relaxed);
}
