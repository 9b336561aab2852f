//! What does a worker do in one call, given its habits?
//!
//! The habits are those of programs in the field: whether the key's container
//! is decrypted for every assertion, parsed for every assertion, or kept; and
//! whether a token is fetched for every call or cached. A caller never tries
//! again: a failure is what a load test is there to count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Call, Caller};
use crate::assertion::{AssertionError, Builder, Subject};
use crate::clock::Clock;
use crate::credential::SealedKey;
use crate::record::{Habits, KeyHabit, Outcome, TokenHabit};
use crate::signer::{Algorithm, Backend, PrivateKey, Signer};
use crate::token::{App, Cache, Exchange, ExchangeError, Token};

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
    /// The key object that workers keep, or the mint that gathers for it.
    pub signer: Arc<dyn Signer>,
    /// The token endpoint.
    pub url: String,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whom tokens are asked for; workers take turns through them.
    pub subjects: Vec<Subject>,
    /// The clock that claims are dated with.
    pub clock: Arc<dyn Clock>,
    /// The tokens, where they are kept.
    pub cache: Cache,
}

/// One worker of a step.
pub struct Habitual<'a> {
    shared: &'a Shared,
    habits: Habits,
    exchange: Exchange,
    builder: Builder,
    assertion: Vec<u8>,
    next_subject: usize,
}

impl<'a> Habitual<'a> {
    /// Makes the worker number `index`, with a connection of its own.
    ///
    /// # Errors
    ///
    /// The endpoint's URL cannot be used, or an assertion cannot be laid out.
    pub fn new(shared: &'a Shared, habits: Habits, index: usize) -> Result<Self, CallerError> {
        Ok(Self {
            shared,
            habits,
            exchange: Exchange::new(&shared.url, shared.app.form().clone(), shared.timeout)?,
            builder: shared.app.builder()?,
            assertion: Vec::new(),
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
        let outcome = match self.habits.token {
            TokenHabit::FetchPerCall => match self.fetch(subject, &mut spent).await {
                Ok(_) => Outcome::Answered,
                Err(outcome) => outcome,
            },
            TokenHabit::Cache => {
                let kept = shared
                    .cache
                    .get(subject, || self.fetch(subject, &mut spent))
                    .await;
                match kept {
                    Ok(_) => Outcome::Answered,
                    Err(outcome) => outcome,
                }
            }
        };
        Call {
            outcome,
            signing: spent.signing,
            exchange: spent.exchange,
        }
    }
}

impl Habitual<'_> {
    async fn fetch(&mut self, subject: &Subject, spent: &mut Spent) -> Result<Arc<Token>, Outcome> {
        let begun = Instant::now();
        let signed = self.sign(subject);
        spent.signing = Some(begun.elapsed());
        if !signed {
            return Err(Outcome::Client);
        }
        let begun = Instant::now();
        let answer = self.exchange.send(&self.assertion).await;
        spent.exchange = Some(begun.elapsed());
        answer.token.ok_or(answer.outcome)
    }

    /// Writes a signed assertion; says whether there is one.
    fn sign(&mut self, subject: &Subject) -> bool {
        let algorithm = self.shared.app.algorithm();
        let signer = match self.habits.key {
            KeyHabit::Reuse => Some(Arc::clone(&self.shared.signer)),
            KeyHabit::ParsePerCall => load(&self.shared.key, &*self.shared.backend, algorithm),
            KeyHabit::DecryptPerCall => self
                .shared
                .sealed
                .open()
                .ok()
                .and_then(|key| load(&key, &*self.shared.backend, algorithm)),
        };
        let Some(signer) = signer else {
            return false;
        };
        self.assertion.clear();
        let now = self.shared.clock.unix();
        self.builder
            .write(now, subject, &*signer, &mut self.assertion)
            .is_ok()
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
}
