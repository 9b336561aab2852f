//! A source whose answers the test gives by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::token::{Fault, Purpose, Source, Token, Wanted};
use tokio::sync::oneshot;

/// What a fetch failed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no token: {reason}")]
pub struct No {
    pub reason: &'static str,
    pub is_transient: bool,
    pub retry_after: Option<Duration>,
}

impl No {
    /// The endpoint is down.
    pub fn down() -> Self {
        Self {
            reason: "down",
            is_transient: true,
            retry_after: None,
        }
    }

    /// The endpoint refuses for good.
    pub fn never() -> Self {
        Self {
            reason: "never",
            is_transient: false,
            retry_after: None,
        }
    }
}

impl Fault for No {
    fn is_transient(&self) -> bool {
        self.is_transient
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A fetch that waits for its answer.
pub struct Order {
    pub subject: Subject,
    pub other_than: Option<String>,
    answer: oneshot::Sender<Result<Arc<Token>, No>>,
}

impl Order {
    /// Answers with a token; false if nobody waits for it any more.
    pub fn grant(self, text: &str, life: Duration) -> bool {
        self.answer.send(Ok(token(text, life))).is_ok()
    }

    /// Does somebody wait for the answer?
    pub fn stands(&self) -> bool {
        !self.answer.is_closed()
    }

    pub fn deny(self, no: No) -> bool {
        self.answer.send(Err(no)).is_ok()
    }
}

/// The source. A clone is the same desk.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    orders: Vec<Order>,
    /// Fetches under way, by subject.
    under_way: HashMap<Subject, u32>,
    most_at_once: u32,
    fetches: u32,
    revoked: Vec<String>,
}

impl Desk {
    /// Takes the orders that came in and still stand.
    pub fn orders(&self) -> Vec<Order> {
        let mut inner = self.0.lock().unwrap();
        inner.orders.retain(|order| !order.answer.is_closed());
        std::mem::take(&mut inner.orders)
    }

    /// Takes the only order.
    #[track_caller]
    pub fn order(&self) -> Order {
        let mut orders = self.orders();
        assert_eq!(orders.len(), 1, "orders");
        orders.pop().unwrap()
    }

    /// Returns how many fetches began.
    pub fn fetches(&self) -> u32 {
        self.0.lock().unwrap().fetches
    }

    /// Returns the most fetches that ever were under way for one subject.
    pub fn most_at_once(&self) -> u32 {
        self.0.lock().unwrap().most_at_once
    }

    pub fn revoked(&self) -> Vec<String> {
        self.0.lock().unwrap().revoked.clone()
    }
}

/// Counts a fetch as under way for as long as it lives.
struct UnderWay(Desk, Subject);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap().under_way.get_mut(&self.1).unwrap() -= 1;
    }
}

impl Source for Desk {
    type Error = No;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, No> {
        let (answer, answered) = oneshot::channel();
        let _under_way = {
            let mut inner = self.0.lock().unwrap();
            inner.fetches += 1;
            let now = inner.under_way.entry(wanted.subject.clone()).or_default();
            *now += 1;
            let now = *now;
            inner.most_at_once = inner.most_at_once.max(now);
            inner.orders.push(Order {
                subject: wanted.subject.clone(),
                other_than: wanted.other_than.map(|token| token.expose().to_owned()),
                answer,
            });
            UnderWay(self.clone(), wanted.subject.clone())
        };
        answered.await.unwrap_or(Err(No::down()))
    }

    async fn revoke(&self, _: &Purpose, token: &Token) -> Result<(), No> {
        let text = token.expose().to_owned();
        self.0.lock().unwrap().revoked.push(text);
        Ok(())
    }
}

pub fn token(text: &str, life: Duration) -> Arc<Token> {
    Arc::new(Token::new(text.to_owned(), "bearer".to_owned(), life))
}
