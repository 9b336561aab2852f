//! What does a caller go through that finds no good token at once?
//!
//! A [`Visit`] enters the slot again and again until there is a token or a
//! failure: it leads, waits, or hands its lead to a task. This is the only
//! place that asks the source for tokens.
//!
//! A visit ends: a flight that was abandoned, by a runtime that shut down for
//! instance, is repeated within the caller's own future, and then its end is
//! the caller's.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle as Runtime;

use super::cache::CacheError;
use super::exchange::Token;
use super::metrics::{Event, Meter};
use super::policy::{Dice, Policy, as_ns};
use super::purpose::Purpose;
use super::slot::{Entry, Kept, Lead, Outcome, Wait};
use super::source::{Fault, Source, Wanted};
use super::table::{Key, Place, Table};
use crate::assertion::Subject;
use crate::clock::Clock;

/// What clones of a cache, its handles and its fetches share.
pub(super) struct Inner<S: Source> {
    pub source: S,
    pub policy: Policy,
    pub clock: Arc<dyn Clock>,
    pub runtime: Option<Runtime>,
    pub table: Table<S::Error>,
    pub meter: Meter,
    pub dice: Dice,
}

impl<S: Source> Inner<S> {
    /// Returns the time for decisions that a hit makes.
    pub fn coarse(&self) -> u64 {
        as_ns(self.clock.coarse())
    }

    /// Returns the time for all others.
    pub fn now(&self) -> u64 {
        as_ns(self.clock.monotonic())
    }

    /// Is this token handed out as it is?
    pub fn is_hit(&self, place: &Place<S::Error>, kept: &Kept<Token>, now: u64) -> bool {
        now < kept.due || self.is_hit_though_due(place, kept, now)
    }

    #[cold]
    fn is_hit_though_due(&self, place: &Place<S::Error>, kept: &Kept<Token>, now: u64) -> bool {
        now < kept.fresh_until && (place.is_held_off(now) || !kept.is_wanted_early(now, &self.dice))
    }

    pub fn find(&self, purpose: &Purpose, subject: &Subject) -> Option<Place<S::Error>> {
        self.table.look(purpose, subject, Place::clone)
    }

    pub fn find_or_add(&self, purpose: &Purpose, subject: &Subject) -> Place<S::Error> {
        let (place, evicted) = self.table.find_or_add(purpose, subject);
        for _ in 0..evicted {
            self.meter.count(Event::Evicted);
        }
        place
    }

    fn runtime(&self) -> Option<Runtime> {
        self.runtime.clone().or_else(|| Runtime::try_current().ok())
    }

    /// Carries a lead through with the cache's source.
    async fn carry(&self, lead: Lead<Key, Token, CacheError<S::Error>>) {
        let subject = lead.slot().key().subject();
        self.meter.count(Event::Fetch);
        let flown = Flown::new(self, lead);
        let lead = flown.lead();
        let wanted = Wanted {
            purpose: &lead.slot().key().purpose,
            subject: &subject,
            other_than: lead.other_than(),
        };
        let fetched = self.source.fetch(wanted).await;
        flown.land(fetched);
    }

    /// Says until when `kept` may be handed out to those who waited for it.
    fn expiry(&self, kept: &Kept<Token>) -> u64 {
        kept.stale_until
            .saturating_sub(as_ns(self.policy.max_stale))
    }
}

/// A lead under way; counts it if it is dropped.
struct Flown<'a, S: Source> {
    inner: &'a Inner<S>,
    asked: u64,
    lead: Option<Lead<Key, Token, CacheError<S::Error>>>,
}

impl<'a, S: Source> Flown<'a, S> {
    fn new(inner: &'a Inner<S>, lead: Lead<Key, Token, CacheError<S::Error>>) -> Self {
        Self {
            inner,
            asked: inner.now(),
            lead: Some(lead),
        }
    }

    fn lead(&self) -> &Lead<Key, Token, CacheError<S::Error>> {
        let lead = self.lead.as_ref();
        lead.expect("a lead is there until it has landed")
    }

    fn land(mut self, fetched: Result<Arc<Token>, S::Error>) {
        let Some(lead) = self.lead.take() else {
            return;
        };
        let Inner {
            policy,
            dice,
            meter,
            ..
        } = self.inner;
        let answered = self.inner.now();
        let token = match fetched {
            Ok(token) => token,
            Err(error) => {
                meter.count(Event::Failure);
                let (is_transient, after) = (error.is_transient(), error.retry_after());
                let reason = CacheError::Fetch(Arc::new(error));
                return lead.fail(reason, is_transient, |in_row| {
                    answered.saturating_add(policy.pause(in_row, after, dice))
                });
            }
        };
        let life = token.lifetime();
        if let Some(kept) = policy.keep(token, (self.asked, answered), life, dice) {
            if !lead.land(kept) {
                meter.count(Event::Superseded);
            }
        } else {
            meter.count(Event::Failure);
            let took = Duration::from_nanos(answered.saturating_sub(self.asked));
            lead.fail(CacheError::Late { life, took }, true, |in_row| {
                answered.saturating_add(policy.pause(in_row, None, dice))
            });
        }
    }
}

impl<S: Source> Drop for Flown<'_, S> {
    fn drop(&mut self) {
        if self.lead.is_some() {
            self.inner.meter.count(Event::Abandoned);
        }
    }
}

/// A caller on its way to a token.
pub(super) struct Visit<S: Source> {
    inner: Arc<Inner<S>>,
    place: Place<S::Error>,
    /// What the caller is counted as, once; a hit until it is something else.
    role: Option<Event>,
    /// Was a flight abandoned, so that nobody else is to be trusted with it?
    is_on_own: bool,
}

/// What comes next on a visit.
enum Turn<S: Source> {
    Done(Result<Arc<Kept<Token>>, CacheError<S::Error>>),
    Refresh(Arc<Kept<Token>>, Lead<Key, Token, CacheError<S::Error>>),
    Lead(Lead<Key, Token, CacheError<S::Error>>),
    Wait(Wait<Token, CacheError<S::Error>>),
}

impl<S: Source> Visit<S> {
    pub fn new(inner: Arc<Inner<S>>, place: Place<S::Error>) -> Self {
        Self {
            inner,
            place,
            role: None,
            is_on_own: false,
        }
    }

    /// Gets a token, fetched by the cache's source if need be.
    pub async fn get(mut self) -> Result<Arc<Kept<Token>>, CacheError<S::Error>> {
        loop {
            let runtime = self.inner.runtime().filter(|_| !self.is_on_own);
            let wait = match (self.enter(runtime.is_some()), runtime) {
                (Turn::Done(result), _) => return result,
                (Turn::Refresh(kept, lead), Some(runtime)) => {
                    self.inner.meter.count(Event::Refresh);
                    let inner = Arc::clone(&self.inner);
                    runtime.spawn(async move { inner.carry(lead).await });
                    return Ok(kept);
                }
                (Turn::Lead(lead), Some(runtime)) => {
                    let wait = lead.wait();
                    let inner = Arc::clone(&self.inner);
                    runtime.spawn(async move { inner.carry(lead).await });
                    wait
                }
                (Turn::Lead(lead) | Turn::Refresh(_, lead), None) => {
                    let wait = lead.wait();
                    self.inner.carry(lead).await;
                    wait
                }
                (Turn::Wait(wait), _) => wait,
            };
            if let Some(kept) = self.conclude(wait.outcome().await)? {
                return Ok(kept);
            }
        }
    }

    /// Gets a token, fetched by `fetch` within this future if need be.
    pub async fn get_with(
        mut self,
        mut fetch: impl AsyncFnMut() -> Result<Arc<Token>, S::Error>,
    ) -> Result<Arc<Kept<Token>>, CacheError<S::Error>> {
        loop {
            let wait = match self.enter(false) {
                Turn::Done(result) => return result,
                Turn::Lead(lead) | Turn::Refresh(_, lead) => {
                    let wait = lead.wait();
                    self.inner.meter.count(Event::Fetch);
                    let flown = Flown::new(&self.inner, lead);
                    let fetched = fetch().await;
                    flown.land(fetched);
                    wait
                }
                Turn::Wait(wait) => wait,
            };
            if let Some(kept) = self.conclude(wait.outcome().await)? {
                return Ok(kept);
            }
        }
    }

    fn enter(&mut self, may_refresh: bool) -> Turn<S> {
        loop {
            // What a hit took for too late by the coarse clock must be too
            // late here, or it would come here for the rest of the tick.
            let now = self.inner.now().max(self.inner.coarse());
            return match self.place.enter(now, may_refresh) {
                Entry::Fresh(kept) => {
                    self.hit(&kept, now);
                    Turn::Done(Ok(kept))
                }
                Entry::Refresh(kept, lead) => {
                    if now < kept.fresh_until {
                        self.hit(&kept, now);
                    } else {
                        self.play(Event::Stale);
                    }
                    Turn::Refresh(kept, lead)
                }
                Entry::Stale(kept) => {
                    self.play(Event::Stale);
                    Turn::Done(Ok(kept))
                }
                Entry::Failed(error) => {
                    self.play(Event::FailedFast);
                    Turn::Done(Err(error))
                }
                Entry::Lead(lead) => {
                    self.play(Event::Miss);
                    Turn::Lead(lead)
                }
                Entry::Wait(wait) => {
                    self.play(Event::Wait);
                    Turn::Wait(wait)
                }
                Entry::Retired => {
                    // The one that retired it may not have come to this yet.
                    self.inner.table.remove(&self.place);
                    let key = self.place.key();
                    self.place = self.inner.find_or_add(&key.purpose, &key.subject());
                    continue;
                }
            };
        }
    }

    /// Says what the outcome of a flight means for one who waited for it;
    /// without a token and a failure, that is to enter again.
    fn conclude(
        &mut self,
        outcome: Outcome<Token, CacheError<S::Error>>,
    ) -> Result<Option<Arc<Kept<Token>>>, CacheError<S::Error>> {
        let now = self.inner.now();
        match outcome {
            // One who was not scheduled for long may have waited it out.
            Outcome::Landed(kept) => Ok(Some(kept).filter(|kept| now < self.inner.expiry(kept))),
            Outcome::Failed {
                reason,
                allows_stale,
            } => {
                let stale = self.place.kept().clone();
                let stale = stale.filter(|kept| allows_stale && now < kept.stale_until);
                stale.ok_or(reason).map(Some)
            }
            Outcome::Superseded(_) => Ok(None),
            Outcome::Abandoned => {
                self.is_on_own = true;
                Ok(None)
            }
        }
    }

    fn hit(&mut self, kept: &Kept<Token>, now: u64) {
        if self.role.is_none() {
            self.place.touch();
            self.inner.meter.hit(now.saturating_sub(kept.since));
        }
    }

    /// Counts the caller, unless it was counted before.
    fn play(&mut self, role: Event) {
        if self.role.is_none() {
            self.place.touch();
            self.inner.meter.count(role);
            self.role = Some(role);
        }
    }
}
