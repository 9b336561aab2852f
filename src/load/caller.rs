//! What does a worker do in one call, given its habits?
//!
//! The habits are those of programs in the field: whether the key's container
//! is decrypted for every assertion, parsed for every assertion, or kept; and
//! whether a token is fetched for every call or cached. A caller never tries
//! again: a failure is what a load test is there to count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeping::{Failed, Kept, outcome_of};
use super::{Call, Caller};
use crate::assertion::{AssertionError, Builder, Subject};
use crate::clock::Clock;
use crate::credential::SealedKey;
use crate::record::{Habits, KeyHabit, Outcome, TokenHabit};
use crate::signer::{Algorithm, Backend, PrivateKey, Signer};
use crate::token::{App, Exchange, ExchangeError, SigningKey, Token};

/// What the workers of a step share.
pub struct Shared {
    /// The app whose tokens are asked for.
    pub app: App,
    /// Its key, as the user holds it.
    pub sealed: SealedKey,
    /// Its key, opened.
    pub key: Arc<PrivateKey>,
    /// The backend that a worker hands its key to for every assertion.
    pub backend: Arc<dyn Backend>,
    /// The key that workers keep, with the mint that gathers for it, if one
    /// does.
    pub kept_key: SigningKey,
    /// The token endpoint.
    pub url: String,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whom tokens are asked for; workers take turns through them.
    pub subjects: Vec<Subject>,
    /// The clock that claims are dated with.
    pub clock: Arc<dyn Clock>,
}

/// One worker of a step.
pub struct Habitual<'a> {
    shared: &'a Shared,
    kept: &'a Kept,
    habits: Habits,
    exchange: Exchange,
    writer: Writer,
    next_subject: usize,
}

impl<'a> Habitual<'a> {
    /// Makes the worker number `index`, with a connection of its own.
    ///
    /// # Errors
    ///
    /// The endpoint's URL cannot be used, or an assertion cannot be laid out.
    pub fn new(
        shared: &'a Shared,
        kept: &'a Kept,
        habits: Habits,
        index: usize,
    ) -> Result<Self, CallerError> {
        Ok(Self {
            shared,
            kept,
            habits,
            exchange: Exchange::new(&shared.url, shared.app.form().clone(), shared.timeout)?,
            writer: Writer::new(shared)?,
            next_subject: index,
        })
    }
}

impl Caller for Habitual<'_> {
    async fn call(&mut self) -> Call {
        let shared = self.shared;
        let subject = &shared.subjects[self.next_subject % shared.subjects.len()];
        self.next_subject += 1;
        let mut spent = Spent::default();
        let kept = self.kept;
        let (cache, purpose) = (&kept.cache, shared.app.purpose());
        let outcome = match self.habits.token {
            TokenHabit::FetchPerCall => match self.fetch(subject, &mut spent).await {
                Ok(_) => Outcome::Answered,
                Err(outcome) => outcome,
            },
            TokenHabit::CacheNoSingleFlight => match cache.peek(purpose, subject) {
                Some(_) => Outcome::Answered,
                None => self.fetch_and_keep(subject, &mut spent).await,
            },
            TokenHabit::Cache => {
                let fetch = async || self.fetch(subject, &mut spent).await.map_err(Failed);
                match cache.get_with(purpose, subject, fetch).await {
                    Ok(_) => Outcome::Answered,
                    Err(error) => outcome_of(&error),
                }
            }
            TokenHabit::CacheRefreshAhead => match cache.get(purpose, subject).await {
                Ok(_) => Outcome::Answered,
                Err(error) => outcome_of(&error),
            },
        };
        Call {
            outcome,
            signing: spent.signing,
            exchange: spent.exchange,
        }
    }
}

impl Habitual<'_> {
    /// Fetches a token whether or not others do so as well.
    async fn fetch_and_keep(&mut self, subject: &Subject, spent: &mut Spent) -> Outcome {
        let begun = Instant::now();
        match self.fetch(subject, spent).await {
            Ok(token) => {
                let purpose = self.shared.app.purpose();
                self.kept
                    .cache
                    .put(purpose, subject, token, begun.elapsed());
                Outcome::Answered
            }
            Err(outcome) => outcome,
        }
    }

    async fn fetch(&mut self, subject: &Subject, spent: &mut Spent) -> Result<Arc<Token>, Outcome> {
        let _member = self.kept.herds.join(subject);
        let begun = Instant::now();
        let signed = self.writer.sign(self.shared, self.habits.key, subject);
        spent.signing = Some(begun.elapsed());
        let Some(assertion) = signed else {
            return Err(Outcome::Client);
        };
        let begun = Instant::now();
        let answer = self.exchange.send(assertion).await;
        spent.exchange = Some(begun.elapsed());
        answer.token.ok_or(answer.outcome)
    }
}

/// Writes assertions, one after the other, into the same buffer.
pub(super) struct Writer {
    builder: Builder,
    assertion: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: &Shared) -> Result<Self, CallerError> {
        Ok(Self {
            builder: shared.app.builder()?,
            assertion: Vec::new(),
        })
    }

    /// Writes what is to be signed with the key that is kept.
    pub(super) fn signing_input(&mut self, shared: &Shared, subject: &Subject) -> Vec<u8> {
        let mut input = Vec::new();
        self.builder
            .write_signing_input(shared.clock.unix(), subject, &mut input);
        input
    }

    /// Writes a signed assertion, if the key can be had as the habit wants it.
    ///
    /// It blocks, also where a mint signs: a worker has its thread to itself.
    pub(super) fn sign(
        &mut self,
        shared: &Shared,
        habit: KeyHabit,
        subject: &Subject,
    ) -> Option<&[u8]> {
        let algorithm = shared.app.algorithm();
        let loaded;
        let signer = match habit {
            KeyHabit::Reuse => shared.kept_key.signer(),
            KeyHabit::ParsePerCall => {
                loaded = load(&shared.key, &*shared.backend, algorithm)?;
                &*loaded
            }
            KeyHabit::DecryptPerCall => {
                let key = shared.sealed.open().ok()?;
                loaded = load(&key, &*shared.backend, algorithm)?;
                &*loaded
            }
        };
        self.assertion.clear();
        let now = shared.clock.unix();
        self.builder
            .write(now, subject, signer, &mut self.assertion)
            .ok()?;
        Some(&self.assertion)
    }
}

fn load(key: &PrivateKey, backend: &dyn Backend, algorithm: Algorithm) -> Option<Arc<dyn Signer>> {
    backend.load(key, algorithm).ok()
}

#[derive(Default)]
struct Spent {
    signing: Option<Duration>,
    exchange: Option<Duration>,
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The endpoint cannot be called.
    #[error("the endpoint cannot be called")]
    Exchange(#[from] ExchangeError),
    /// The assertion cannot be laid out.
    #[error("the assertion cannot be laid out")]
    Assertion(#[from] AssertionError),
    /// The thread that fetches ahead cannot be started.
    #[error("cannot start the thread that fetches ahead")]
    Thread(#[source] std::io::Error),
}
