//! How do many workers share one token?
//!
//! A cache keeps a token per subject until shortly before it expires. Of the
//! callers that miss together, one fetches and the others wait for the token
//! that it brings; they look again once it is their turn. A hit takes a read
//! lock on the map and none on the slot.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::RwLock;

use super::exchange::Token;
use crate::assertion::Subject;
use crate::clock::Clock;

/// Tokens by subject.
pub struct Cache {
    clock: Arc<dyn Clock>,
    margin: Duration,
    slots: RwLock<HashMap<Subject, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    kept: ArcSwapOption<Kept>,
    flight: tokio::sync::Mutex<()>,
}

struct Kept {
    token: Arc<Token>,
    /// When the token is not handed out any more, on the monotonic clock.
    until: Duration,
}

impl Cache {
    /// Makes an empty cache that fetches anew `margin` before a token expires.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, margin: Duration) -> Self {
        Self {
            clock,
            margin,
            slots: RwLock::default(),
        }
    }

    /// Returns the token of `subject`, fetched by `fetch` if there is none.
    ///
    /// # Errors
    ///
    /// What `fetch` returns; it is then not kept, and the next caller tries.
    pub async fn get<F, E>(
        &self,
        subject: &Subject,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<Token>, E>
    where
        F: Future<Output = Result<Arc<Token>, E>>,
    {
        let slot = self.slot(subject);
        if let Some(token) = self.fresh(&slot) {
            return Ok(token);
        }
        let _turn = slot.flight.lock().await;
        if let Some(token) = self.fresh(&slot) {
            return Ok(token);
        }
        // The lifetime counts from the answer; counting from the request
        // errs towards fetching early.
        let asked = self.clock.monotonic();
        let token = fetch().await?;
        slot.kept.store(Some(Arc::new(Kept {
            until: asked + token.lifetime().saturating_sub(self.margin),
            token: Arc::clone(&token),
        })));
        Ok(token)
    }

    fn slot(&self, subject: &Subject) -> Arc<Slot> {
        if let Some(slot) = self.slots.read().get(subject) {
            return Arc::clone(slot);
        }
        Arc::clone(self.slots.write().entry(subject.clone()).or_default())
    }

    fn fresh(&self, slot: &Slot) -> Option<Arc<Token>> {
        let kept = slot.kept.load();
        let kept = kept.as_ref()?;
        (self.clock.monotonic() < kept.until).then(|| Arc::clone(&kept.token))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::ManualClock;

    async fn fetched(count: &AtomicU32) -> Result<Arc<Token>, Infallible> {
        let number = count.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(Arc::new(Token::new(
            format!("token {number}"),
            "bearer".into(),
            Duration::from_secs(3_600),
        )))
    }

    #[tokio::test]
    async fn of_a_hundred_callers_that_miss_together_one_fetches() {
        let cache = Arc::new(Cache::new(
            Arc::new(ManualClock::default()),
            Duration::from_secs(60),
        ));
        let count = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (cache, count) = (Arc::clone(&cache), Arc::clone(&count));
                tokio::spawn(async move {
                    let subject = Subject::user("1");
                    cache.get(&subject, || fetched(&count)).await.unwrap()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().expose(), "token 0");
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_token_is_fetched_anew_before_it_expires_and_not_earlier() {
        let clock = Arc::new(ManualClock::default());
        let cache = Cache::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Duration::from_secs(60),
        );
        let count = AtomicU32::new(0);
        let subject = Subject::user("1");
        for (seconds, fetches) in [(0, 1), (3_539, 1), (1, 2), (10, 2)] {
            clock.advance(Duration::from_secs(seconds));
            cache.get(&subject, || fetched(&count)).await.unwrap();
            assert_eq!(count.load(Ordering::SeqCst), fetches);
        }
    }

    #[tokio::test]
    async fn subjects_have_tokens_of_their_own() {
        let cache = Cache::new(Arc::new(ManualClock::default()), Duration::ZERO);
        let count = AtomicU32::new(0);
        for subject in [
            Subject::user("1"),
            Subject::enterprise("1"),
            Subject::user("2"),
        ] {
            cache.get(&subject, || fetched(&count)).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = Cache::new(Arc::new(ManualClock::default()), Duration::ZERO);
        let subject = Subject::user("1");
        let failed = cache
            .get(&subject, || async { Err::<Arc<Token>, _>("no") })
            .await;
        assert_eq!(failed.unwrap_err(), "no");
        let count = AtomicU32::new(0);
        let token = cache.get(&subject, || fetched(&count)).await.unwrap();
        assert_eq!(token.expose(), "token 0");
    }
}
