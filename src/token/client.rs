//! How does a client get a token from an endpoint that is not always willing?
//!
//! Every attempt is a new assertion with a new `jti`, since an endpoint
//! remembers an identifier even when it answers 429 or 5xx. A complaint about
//! `exp`, `iat` or `nbf` is answered by learning the server's time from its
//! `Date` header. `Retry-After` is honoured up to a bound; without it the
//! pause doubles. Every pause is prolonged a little, at random.
//!
//! No lock is taken on the way to a signature: the key is read from its ring,
//! and each thread writes assertions with a builder of its own. The signature
//! is made on the calling thread, or awaited from a mint where the key has one
//! ([`SigningKey::of_mint`]).

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use thread_local::ThreadLocal;

use super::app::App;
use super::exchange::{Answer, Exchange, Token};
use super::keys::KeyRing;
use super::policy::Dice;
use super::purpose::Purpose;
use super::signing_key::SigningKey;
use super::source::{Fault, Source, Wanted};
use crate::assertion::{AssertionError, Builder, Subject};
use crate::clock::Clock;
use crate::record::Outcome;
use crate::signer::{SignError, Signer};

/// When to try again, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; 1 never repeats. Official clients make five or six.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause, also of those that the server asks for. With zero,
    /// nothing is repeated that an endpoint was too busy for.
    pub longest_pause: Duration,
}

/// The part of a pause by which it is prolonged at most, at random: clients
/// that failed together do not come back together.
const SPREAD: f64 = 0.1;

impl Retry {
    /// One attempt, as a load test makes: a failure is a result.
    pub const NEVER: Self = Self {
        attempts: 1,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
    };

    /// A second attempt where a new assertion mends what was wrong with the
    /// first, its dates or its `jti`, and none that would have to wait. It
    /// suits a client behind a cache, which has pauses of its own.
    pub const AT_ONCE: Self = Self {
        attempts: 2,
        ..Self::NEVER
    };
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Fetches tokens for the subjects of one app.
pub struct Client {
    app: App,
    exchange: Exchange,
    keys: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    retry: Retry,
    pen: ArcSwap<Pen>,
    revocation_url: Option<String>,
    dice: Dice,
    /// The server's time less ours, in milliseconds.
    offset_ms: AtomicI64,
}

/// Builders whose header names one key, one for each thread.
struct Pen {
    /// The key that the header names. Weak: a replaced key must not wait for
    /// the next signature to be let go.
    key: Weak<SigningKey>,
    builders: ThreadLocal<RefCell<Builder>>,
}

impl Client {
    /// Makes a client that signs with one key, which the app's credential
    /// names.
    #[must_use]
    pub fn new(
        app: App,
        exchange: Exchange,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        retry: Retry,
    ) -> Self {
        let key = SigningKey::of_signer(signer, app.key_id(), app.algorithm());
        Self::with_keys(app, exchange, Arc::new(KeyRing::new(key)), clock, retry)
    }

    /// Makes a client that signs with the current key of a ring.
    #[must_use]
    pub fn with_keys(
        app: App,
        exchange: Exchange,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        retry: Retry,
    ) -> Self {
        Self {
            app,
            exchange,
            keys,
            clock,
            retry,
            pen: ArcSwap::from_pointee(Pen {
                key: Weak::new(),
                builders: ThreadLocal::new(),
            }),
            revocation_url: None,
            dice: Dice::new(),
            offset_ms: AtomicI64::new(0),
        }
    }

    /// Says where tokens are revoked.
    #[must_use]
    pub fn with_revocation(mut self, url: impl Into<String>) -> Self {
        self.revocation_url = Some(url.into());
        self
    }

    /// Returns the URL of the token endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.exchange.url()
    }

    /// Returns what this client's tokens are good for.
    #[must_use]
    pub fn purpose(&self) -> &Purpose {
        self.app.purpose()
    }

    /// Fetches a new token for `subject`.
    ///
    /// # Errors
    ///
    /// Nothing could be signed, the endpoint refused for good, or it was
    /// unwilling or out of reach at every attempt.
    pub async fn fetch(&self, subject: &Subject) -> Result<Arc<Token>, FetchError> {
        let mut pause = self.retry.first_pause;
        let mut has_learnt_time = false;
        let mut attempt = 1;
        loop {
            // The key is held until the answer is there: until then, the
            // endpoint needs its public half.
            let key = self.keys.current();
            let assertion = self.assertion(&key, subject).await?;
            let answer = self.exchange.send(&assertion).await;
            drop(key);
            if let Some(token) = answer.token {
                return Ok(token);
            }
            let next = match reaction(&answer) {
                Reaction::LearnTime if !has_learnt_time && self.learn_time(&answer) => {
                    has_learnt_time = true;
                    Some(Duration::ZERO)
                }
                Reaction::LearnTime | Reaction::GiveUp => None,
                Reaction::SignAnew => Some(Duration::ZERO),
                Reaction::Wait if self.retry.longest_pause.is_zero() => None,
                Reaction::Wait => Some(answer.retry_after.unwrap_or(pause)),
            };
            match next {
                Some(wait) if attempt < self.retry.attempts => {
                    // Coming back before the server asks for it would burn a
                    // try, so that a pause is never shortened.
                    if wait > self.retry.longest_pause {
                        return Err(FetchError::refused(&answer, attempt));
                    }
                    let spread = wait.mul_f64(SPREAD * self.dice.roll());
                    tokio::time::sleep(wait.saturating_add(spread)).await;
                    pause = (pause * 2).min(self.retry.longest_pause);
                    attempt += 1;
                }
                _ => return Err(FetchError::refused(&answer, attempt)),
            }
        }
    }

    /// Returns the server's time less ours, as far as it has been learnt.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Has the endpoint take `token` back (RFC 7009).
    ///
    /// # Errors
    ///
    /// No address was given for it ([`Self::with_revocation`]), or the
    /// endpoint did not confirm it.
    pub async fn revoke(&self, token: &Token) -> Result<(), FetchError> {
        let url = self
            .revocation_url
            .as_deref()
            .ok_or(FetchError::NoRevocation)?;
        let answer = self
            .exchange
            .revoke(
                url,
                self.app.client_id(),
                self.app.client_secret(),
                token.expose(),
            )
            .await;
        if answer.outcome.is_answered() {
            Ok(())
        } else {
            Err(FetchError::NotRevoked {
                outcome: answer.outcome,
                description: answer.description,
            })
        }
    }

    async fn assertion(
        &self,
        key: &Arc<SigningKey>,
        subject: &Subject,
    ) -> Result<Vec<u8>, FetchError> {
        let input = self.signing_input(key, subject)?;
        Ok(key.complete(input).await?)
    }

    fn signing_input(
        &self,
        key: &Arc<SigningKey>,
        subject: &Subject,
    ) -> Result<Vec<u8>, FetchError> {
        let pen = self.pen_of(key);
        let builder = pen.builders.get_or_try(|| {
            self.app
                .builder_for(key.kid(), key.algorithm())
                .map(RefCell::new)
        })?;
        let mut out = Vec::with_capacity(1024);
        // Nothing in between awaits or calls back, so the builder is free.
        builder
            .borrow_mut()
            .write_signing_input(self.server_time(), subject, &mut out);
        Ok(out)
    }

    /// Returns the pen for `key`, a new one after each rotation.
    fn pen_of(&self, key: &Arc<SigningKey>) -> Arc<Pen> {
        let pen = self.pen.load();
        // A weak reference keeps the address from being used again.
        if std::ptr::eq(pen.key.as_ptr(), Arc::as_ptr(key)) {
            return Arc::clone(&pen);
        }
        let pen = Arc::new(Pen {
            key: Arc::downgrade(key),
            builders: ThreadLocal::new(),
        });
        self.pen.store(Arc::clone(&pen));
        pen
    }

    fn server_time(&self) -> Duration {
        let offset = self.clock_offset_ms();
        let by = Duration::from_millis(offset.unsigned_abs());
        let now = self.clock.unix();
        if offset < 0 {
            now.saturating_sub(by)
        } else {
            now + by
        }
    }

    /// Sets the offset by the server's `Date`; says whether it moved by more
    /// than that header's own resolution of a second.
    fn learn_time(&self, answer: &Answer) -> bool {
        let Some(theirs) = answer.server_time else {
            return false;
        };
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let offset = ms(theirs) - ms(self.clock.unix());
        let before = self.offset_ms.swap(offset, Ordering::Relaxed);
        (offset - before).abs() > 1_000
    }
}

enum Reaction {
    LearnTime,
    SignAnew,
    Wait,
    GiveUp,
}

/// Decides by what the endpoint said.
///
/// The claims are named in single quotes in every description that is known,
/// and the fragment about a unique `jti` is part of the contract.
fn reaction(answer: &Answer) -> Reaction {
    let description = answer.description.as_deref().unwrap_or_default();
    match &answer.outcome {
        outcome if is_unwilling(outcome) => Reaction::Wait,
        Outcome::OAuth { error, .. } if error == "invalid_grant" => {
            if ["'exp'", "'iat'", "'nbf'"]
                .iter()
                .any(|claim| description.contains(claim))
            {
                Reaction::LearnTime
            } else if description.contains("unique 'jti'") {
                Reaction::SignAnew
            } else {
                Reaction::GiveUp
            }
        }
        _ => Reaction::GiveUp,
    }
}

/// Is the endpoint busy, down or out of reach, which may pass?
fn is_unwilling(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::OAuth {
            status: 429 | 500..=599,
            ..
        } | Outcome::Status(429 | 500..=599)
            | Outcome::Connect
            | Outcome::ConnectRefused
            | Outcome::Reset
            | Outcome::TimedOut
    )
}

impl Source for Client {
    type Error = FetchError;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, FetchError> {
        if wanted.purpose != self.purpose() {
            return Err(FetchError::Purpose(wanted.purpose.app().to_owned()));
        }
        Self::fetch(self, wanted.subject).await
    }

    async fn revoke(&self, _: &Purpose, token: &Token) -> Result<(), FetchError> {
        Self::revoke(self, token).await
    }
}

impl Fault for FetchError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Refused { outcome, .. } | Self::NotRevoked { outcome, .. } => {
                is_unwilling(outcome)
            }
            Self::Assertion(_) | Self::Sign(_) | Self::Purpose(_) | Self::NoRevocation => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The assertion could not be laid out.
    #[error("the assertion cannot be written")]
    Assertion(#[from] AssertionError),
    /// The assertion could not be signed.
    #[error("the assertion cannot be signed")]
    Sign(#[from] SignError),
    /// The endpoint gave no token.
    #[error("no token after {attempts} attempts: {outcome}{}", described(description.as_deref()))]
    Refused {
        /// How the last attempt ended.
        outcome: Outcome,
        /// What the endpoint or the network said of it.
        description: Option<String>,
        /// Attempts made.
        attempts: u32,
        /// How long the endpoint asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// No client serves the purpose.
    #[error("no client asks for tokens of the app {0:?} with these scopes and this audience")]
    Purpose(String),
    /// Nobody said where tokens are revoked.
    #[error("there is no address to revoke tokens at")]
    NoRevocation,
    /// The endpoint did not confirm a revocation.
    #[error("the token was not revoked: {outcome}{}", described(description.as_deref()))]
    NotRevoked {
        /// How the request ended.
        outcome: Outcome,
        /// What the endpoint or the network said of it.
        description: Option<String>,
    },
}

impl FetchError {
    fn refused(answer: &Answer, attempts: u32) -> Self {
        Self::Refused {
            outcome: answer.outcome.clone(),
            description: answer.description.clone(),
            attempts,
            retry_after: answer.retry_after,
        }
    }
}

fn described(description: Option<&str>) -> String {
    match description {
        Some(text) if !text.is_empty() => format!(" ({text})"),
        _ => String::new(),
    }
}
