//! How does a client get a token from an endpoint that is not always willing?
//!
//! Every attempt is a new assertion with a new `jti`, since an endpoint
//! remembers an identifier even when it answers 429 or 5xx. A complaint about
//! `exp`, `iat` or `nbf` is answered by learning the server's time from its
//! `Date` header. `Retry-After` is honoured up to a bound; without it the
//! pause doubles.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::app::App;
use super::exchange::{Answer, Exchange, Token};
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
    /// The longest pause, also of those that the server asks for.
    pub longest_pause: Duration,
}

impl Retry {
    /// One attempt, as a load test makes: a failure is a result.
    pub const NEVER: Self = Self {
        attempts: 1,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
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
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    retry: Retry,
    /// Builders that are not in use; one for each caller that was ever there
    /// at the same time.
    builders: Mutex<Vec<Builder>>,
    /// The server's time less ours, in milliseconds.
    offset_ms: AtomicI64,
}

impl Client {
    /// Makes a client of its parts.
    #[must_use]
    pub fn new(
        app: App,
        exchange: Exchange,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        retry: Retry,
    ) -> Self {
        Self {
            app,
            exchange,
            signer,
            clock,
            retry,
            builders: Mutex::new(Vec::new()),
            offset_ms: AtomicI64::new(0),
        }
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
            let assertion = self.assertion(subject)?;
            let answer = self.exchange.send(&assertion).await;
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
                Reaction::Wait => Some(answer.retry_after.unwrap_or(pause)),
            };
            match next {
                Some(wait) if attempt < self.retry.attempts => {
                    // Only the client's own pauses are spread and bounded;
                    // coming back before the server's would burn a try.
                    if wait > self.retry.longest_pause {
                        return Err(FetchError::refused(&answer, attempt));
                    }
                    tokio::time::sleep(wait).await;
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

    fn assertion(&self, subject: &Subject) -> Result<Vec<u8>, FetchError> {
        // The lock is released before the signature is made.
        let spare = self.builders.lock().pop();
        let mut builder = match spare {
            Some(builder) => builder,
            None => self.app.builder()?,
        };
        let mut out = Vec::with_capacity(1024);
        let made = builder.write(self.server_time(), subject, &*self.signer, &mut out);
        self.builders.lock().push(builder);
        made?;
        Ok(out)
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
        Outcome::OAuth { status: 429, .. }
        | Outcome::OAuth {
            status: 500..=599, ..
        }
        | Outcome::Status(429 | 500..=599)
        | Outcome::Connect
        | Outcome::ConnectRefused
        | Outcome::Reset
        | Outcome::TimedOut => Reaction::Wait,
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
    },
}

impl FetchError {
    fn refused(answer: &Answer, attempts: u32) -> Self {
        Self::Refused {
            outcome: answer.outcome.clone(),
            description: answer.description.clone(),
            attempts,
        }
    }
}

fn described(description: Option<&str>) -> String {
    match description {
        Some(text) if !text.is_empty() => format!(" ({text})"),
        _ => String::new(),
    }
}
