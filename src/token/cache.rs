//! How do many workers share their tokens?
//!
//! A cache keeps a token for each purpose and subject. A hit takes no lock
//! and allocates nothing. Of the callers that miss together one causes a
//! fetch, and the others wait for what it brings, a failure included. A token
//! that nears its end is replaced in the background while it is still handed
//! out ([`Policy`] says when, and how long a failure is remembered).
//!
//! The fetch runs as a task of its own, on the runtime of the first caller or
//! on the one that the builder names: a caller that is dropped takes no fetch
//! with it. Outside of a runtime, and with [`Cache::get_with`], the first
//! caller itself fetches; if it is dropped, the next takes over.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use tokio::runtime::Handle as Runtime;

use super::exchange::Token;
use super::flight::{Inner, Visit};
use super::handle::Handle;
use super::metrics::{Event, Meter, Metrics};
use super::policy::{Dice, Policy, QUICK_REFUSAL, as_ns};
use super::purpose::Purpose;
use super::slot::{Kept, Outcome};
use super::source::Source;
use super::table::Table;
use crate::assertion::Subject;
use crate::clock::{Clock, SystemClock};

/// Tokens by purpose and subject. A clone is the same cache.
pub struct Cache<S: Source> {
    inner: Arc<Inner<S>>,
}

/// A cache in the making.
pub struct CacheBuilder<S> {
    source: S,
    policy: Policy,
    clock: Arc<dyn Clock>,
    runtime: Option<Runtime>,
    dice: Dice,
}

impl<S: Source> CacheBuilder<S> {
    /// Says how tokens are treated.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Says which clock measures the lives of tokens.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says where fetches run. A signature takes a good part of a
    /// millisecond, in which a runtime's thread does nothing else.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Makes jitter fall the same way each time, as tests want it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Dice::seeded(seed);
        self
    }

    /// Makes the cache.
    #[must_use]
    pub fn build(self) -> Cache<S> {
        Cache {
            inner: Arc::new(Inner {
                table: Table::new(self.policy.capacity),
                source: self.source,
                policy: self.policy,
                clock: self.clock,
                runtime: self.runtime,
                meter: Meter::default(),
                dice: self.dice,
            }),
        }
    }
}

impl<S: Source> Cache<S> {
    /// Makes a cache with the default policy, on the system's clock.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self::builder(source).build()
    }

    /// Begins to make a cache.
    #[must_use]
    pub fn builder(source: S) -> CacheBuilder<S> {
        CacheBuilder {
            source,
            policy: Policy::default(),
            clock: Arc::new(SystemClock::new()),
            runtime: None,
            dice: Dice::new(),
        }
    }

    /// Returns a token, at once if there is a good one.
    ///
    /// # Errors
    ///
    /// The fetch failed, now or a moment ago.
    pub async fn get(
        &self,
        purpose: &Purpose,
        subject: &Subject,
    ) -> Result<Held, CacheError<S::Error>> {
        match self.peek(purpose, subject) {
            Some(held) => Ok(held),
            // Apart and boxed: a hit does not pay for its size.
            None => Box::pin(self.visit(purpose, subject).get())
                .await
                .map(Held::new),
        }
    }

    /// Returns a token if there is one that is good and needs no attention.
    ///
    /// One that is due for replacement counts while that is under way; else
    /// it is left to [`Self::get`], which sees to it.
    #[must_use]
    pub fn peek(&self, purpose: &Purpose, subject: &Subject) -> Option<Held> {
        let now = self.inner.coarse();
        self.inner
            .table
            .look(purpose, subject, |place| {
                let guard = place.kept();
                let kept = guard.as_deref()?;
                if !self.inner.is_hit(place, kept, now) {
                    return None;
                }
                place.touch();
                self.inner.meter.hit(now.saturating_sub(kept.since));
                Some(Held(guard))
            })
            .flatten()
    }

    /// Returns a token as [`Self::get`] does, but fetches with `fetch`, and
    /// within the caller's own future. Nothing is refreshed ahead.
    ///
    /// # Errors
    ///
    /// The fetch failed, now or a moment ago.
    pub async fn get_with(
        &self,
        purpose: &Purpose,
        subject: &Subject,
        fetch: impl AsyncFnMut() -> Result<Arc<Token>, S::Error>,
    ) -> Result<Held, CacheError<S::Error>> {
        match self.peek(purpose, subject) {
            Some(held) => Ok(held),
            None => Box::pin(self.visit(purpose, subject).get_with(fetch))
                .await
                .map(Held::new),
        }
    }

    /// Keeps a token that was asked for a moment ago, `took` before now.
    ///
    /// Returns it as a later [`Self::get`] would; `None` if its life is over.
    pub fn put(
        &self,
        purpose: &Purpose,
        subject: &Subject,
        token: Arc<Token>,
        took: Duration,
    ) -> Option<Held> {
        let now = self.inner.now();
        let asked = now.saturating_sub(as_ns(took));
        let life = token.lifetime();
        let kept = self
            .inner
            .policy
            .keep(token, (asked, now), life, &self.inner.dice)?;
        let place = self.inner.find_or_add(purpose, subject);
        Some(Held::new(place.put(kept)))
    }

    /// Returns a handle for one subject, by which hits are cheapest. The
    /// subject stays in the cache while a handle is there.
    #[must_use]
    pub fn handle(&self, purpose: &Purpose, subject: &Subject) -> Handle<S> {
        loop {
            let place = self.inner.find_or_add(purpose, subject);
            if place.pin() {
                return Handle::new(Arc::clone(&self.inner), place);
            }
            self.inner.table.remove(&place);
        }
    }

    /// Drops `token`, which a server answered with 401, so that the next
    /// caller fetches another; says whether it was still the one in use.
    ///
    /// Of many workers that were refused with the same token, one causes a
    /// fetch. A token that is refused within seconds of its issue is followed
    /// by a pause, for the next will hardly fare better.
    pub fn refuse(&self, purpose: &Purpose, subject: &Subject, token: &Token) -> bool {
        let inner = &self.inner;
        let is_dropped = inner
            .table
            .look(purpose, subject, |place| {
                place.refuse(
                    inner.now(),
                    as_ns(QUICK_REFUSAL),
                    CacheError::Refused,
                    |kept| std::ptr::eq(kept, token),
                    |strikes| inner.policy.pause(strikes, None, &inner.dice),
                )
            })
            .unwrap_or(false);
        if is_dropped {
            inner.meter.count(Event::Refused);
        }
        is_dropped
    }

    /// Drops the subject's token, and the one that is being fetched as well:
    /// whoever asks from now on gets one that was asked for later.
    pub fn forget(&self, purpose: &Purpose, subject: &Subject) {
        if let Some(place) = self.inner.find(purpose, subject) {
            self.inner.meter.count(Event::Forgotten);
            place.forget();
        }
    }

    /// Forgets the subject's token and has the endpoint take it back, as well
    /// as the one that is being fetched, which it waits for.
    ///
    /// # Errors
    ///
    /// The endpoint did not confirm it. The token is forgotten all the same.
    pub async fn revoke(
        &self,
        purpose: &Purpose,
        subject: &Subject,
    ) -> Result<(), CacheError<S::Error>> {
        let Some(place) = self.inner.find(purpose, subject) else {
            return Ok(());
        };
        self.inner.meter.count(Event::Forgotten);
        let forgotten = place.forget();
        let mut tokens: Vec<_> = forgotten.kept.into_iter().collect();
        if let Some(flight) = forgotten.flight
            && let Outcome::Superseded(kept) = flight.outcome().await
        {
            tokens.push(kept);
        }
        let mut outcome = Ok(());
        for kept in tokens {
            let revoked = self.inner.source.revoke(purpose, &kept.token).await;
            outcome = outcome.and(revoked.map_err(|error| CacheError::Fetch(Arc::new(error))));
        }
        outcome
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.meter.read()
    }

    /// Returns the number of subjects that the cache has a place for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.table.len()
    }

    /// Is there no subject in the cache?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns where tokens come from.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.inner.source
    }

    fn visit(&self, purpose: &Purpose, subject: &Subject) -> Visit<S> {
        Visit::new(
            Arc::clone(&self.inner),
            self.inner.find_or_add(purpose, subject),
        )
    }
}

impl<S: Source> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S: Source> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("subjects", &self.len())
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

/// A token that a cache handed out. It keeps the token alive, and it is meant
/// to be short-lived: [`Self::token`] can be cloned for longer.
pub struct Held(Guard<Option<Arc<Kept<Token>>>>);

impl Held {
    pub(super) fn new(kept: Arc<Kept<Token>>) -> Self {
        Self(Guard::from_inner(Some(kept)))
    }

    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &Arc<Token> {
        let kept = self.0.as_ref();
        &kept.expect("only what holds a token is handed out").token
    }
}

impl Deref for Held {
    type Target = Token;

    fn deref(&self) -> &Token {
        self.token()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(self.token()).finish()
    }
}

/// Why a cache has no token.
#[derive(Debug, thiserror::Error)]
pub enum CacheError<E> {
    /// The fetch failed, now or a moment ago.
    #[error("no token could be fetched")]
    Fetch(#[source] Arc<E>),
    /// The token's life was over when it arrived.
    #[error("the token lives for {life:?} and took {took:?} to arrive")]
    Late {
        /// How long it lives, from when it was asked for.
        life: Duration,
        /// How long the fetch took.
        took: Duration,
    },
    /// The last token was refused by those it was shown to, soon after its
    /// issue.
    #[error("the last token was refused soon after its issue, and the next is not due yet")]
    Refused,
}

impl<E> Clone for CacheError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Fetch(error) => Self::Fetch(Arc::clone(error)),
            Self::Late { life, took } => Self::Late {
                life: *life,
                took: *took,
            },
            Self::Refused => Self::Refused,
        }
    }
}
