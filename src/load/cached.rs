//! What does an endpoint see of clients that keep their tokens?
//!
//! Every call goes through a token cache. A given share of calls is to find
//! its token there; for the others the kept one is forgotten first, so that
//! they ask the endpoint. What really was found is counted: a call also misses
//! when a token has grown too old, and it may find that another call is
//! fetching the same token, for which it waits.
//!
//! Transports keep no token, so that what lies in the cache is its life alone.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::population::Population;
use super::retry::is_worth_another;
use super::tally::Way;
use crate::assertion::Subject;
use crate::record::Outcome;
use crate::stats::Random;
use crate::token::{Cache, CacheError, Fault, Policy, Purpose, Refresh, Source, Token, Wanted};

/// How a load keeps tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CachePlan {
    /// The share of calls that are to find their token, 0 to 1.
    pub hits: f64,
    /// How long a token lives.
    pub token_life: Duration,
    /// How old the tokens are when the load begins.
    pub ages: Ages,
    /// The seed of the choice.
    pub seed: u64,
}

/// How old tokens are when the load begins. There is one for every subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ages {
    /// Anything up to their whole life, as after a long time.
    #[default]
    Spread,
    /// All are new, as after a start of everything at once: they will end
    /// together.
    Equal,
}

impl CachePlan {
    /// Is the token of call number `index` forgotten first?
    #[must_use]
    pub fn forgets(&self, index: u64) -> bool {
        let mut random = Random::new(self.seed ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.unit() >= self.hits
    }
}

/// The tokens that a load keeps, shared by its threads.
pub(super) struct Caching {
    plan: CachePlan,
    cache: Cache<Elsewhere>,
}

impl Caching {
    /// Makes a cache that holds a token for every subject.
    pub fn new(plan: CachePlan, population: &Population) -> Self {
        let subjects = population
            .members()
            .iter()
            .map(|member| member.subjects.len())
            .sum::<usize>();
        let cache = Cache::builder(Elsewhere)
            .policy(Policy {
                refresh: Refresh::AtEnd,
                jitter: 0.0,
                // Nobody is pushed out by others; the share is what it is.
                capacity: subjects.saturating_mul(2).max(1_024),
                ..Policy::default()
            })
            .seed(plan.seed)
            .build();
        let mut random = Random::new(plan.seed);
        let caching = Self { plan, cache };
        for member in population.members() {
            for subject in &*member.subjects {
                let age = match plan.ages {
                    Ages::Spread => plan.token_life.mul_f64(random.unit()),
                    Ages::Equal => Duration::ZERO,
                };
                // One whose life is over is not kept, and is fetched.
                let _ = caching
                    .cache
                    .put(member.app.purpose(), subject, caching.token(), age);
            }
        }
        caching
    }

    /// Is the token of call number `index` forgotten first?
    pub fn forgets(&self, index: u64) -> bool {
        self.plan.forgets(index)
    }

    /// Begins call number `index`; says whether an assertion was signed for
    /// it ahead, since it was known to ask the endpoint.
    pub fn begin(&self, index: u64, purpose: &Purpose, subject: &Subject) -> bool {
        let forgets = self.forgets(index);
        if forgets {
            self.cache.forget(purpose, subject);
        }
        forgets
    }

    /// Makes a call; `fetch` asks the endpoint. Returns where the token came
    /// from and how the call ended.
    pub async fn call(
        &self,
        purpose: &Purpose,
        subject: &Subject,
        mut fetch: impl AsyncFnMut() -> (Outcome, Option<Duration>),
    ) -> (Way, Outcome) {
        if self.cache.peek(purpose, subject).is_some() {
            return (Way::Found, Outcome::Cached);
        }
        let mut has_fetched = false;
        let held = self
            .cache
            .get_with(purpose, subject, async || {
                has_fetched = true;
                match fetch().await {
                    (Outcome::Answered, _) => Ok(self.token()),
                    (outcome, retry_after) => Err(Missed {
                        outcome,
                        retry_after,
                    }),
                }
            })
            .await;
        let way = if has_fetched {
            Way::Fetched
        } else {
            Way::Joined
        };
        match held {
            Ok(_) if has_fetched => (way, Outcome::Answered),
            Ok(_) => (way, Outcome::Joined),
            Err(CacheError::Fetch(missed)) => (way, missed.outcome.clone()),
            Err(_) => (way, Outcome::Client),
        }
    }

    fn token(&self) -> Arc<Token> {
        Arc::new(Token::new(
            String::new(),
            "bearer".to_owned(),
            self.plan.token_life,
        ))
    }
}

/// Tokens are fetched by the calls themselves.
struct Elsewhere;

impl Source for Elsewhere {
    type Error = Missed;

    async fn fetch(&self, _wanted: Wanted<'_>) -> Result<Arc<Token>, Missed> {
        Err(Missed::of_client())
    }

    async fn revoke(&self, _purpose: &Purpose, _token: &Token) -> Result<(), Missed> {
        Err(Missed::of_client())
    }
}

/// Why there was no token.
#[derive(Debug)]
struct Missed {
    outcome: Outcome,
    retry_after: Option<Duration>,
}

impl Missed {
    fn of_client() -> Self {
        Self {
            outcome: Outcome::Client,
            retry_after: None,
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call ended as {}", self.outcome)
    }
}

impl Error for Missed {}

impl Fault for Missed {
    fn is_transient(&self) -> bool {
        is_worth_another(&self.outcome)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::population::fake;

    fn plan(hits: f64) -> CachePlan {
        CachePlan {
            hits,
            token_life: Duration::from_secs(3_600),
            ages: Ages::Equal,
            seed: 3,
        }
    }

    #[test]
    fn the_share_that_forgets_is_the_one_that_was_asked_for() {
        for hits in [0.0, 0.5, 0.95, 1.0] {
            let plan = plan(hits);
            let forgotten = (0..100_000).filter(|index| plan.forgets(*index)).count();
            // Five deviations of a binomial count.
            let expected = (1.0 - hits) * 1e5;
            let bound = 5.0 * (expected * hits).sqrt();
            assert!((forgotten as f64 - expected).abs() <= bound, "{forgotten}");
        }
    }

    #[tokio::test]
    async fn a_call_finds_its_token_unless_it_was_forgotten() {
        let population = Population::new(vec![fake::member(5, 1.0)], None, 1);
        let caching = Caching::new(plan(0.5), &population);
        let purpose = population.members()[0].app.purpose();
        let mut ways = [0; 3];
        for index in 0..1_000 {
            let (_, subject) = population.pick(index);
            let forgets = caching.begin(index, purpose, subject);
            let (way, outcome) = caching
                .call(purpose, subject, async || (Outcome::Answered, None))
                .await;
            assert_eq!(way == Way::Fetched, forgets);
            assert!(outcome.is_answered());
            ways[way as usize] += 1;
        }
        assert_eq!(ways[Way::Joined as usize], 0);
        assert!((400..=600).contains(&ways[Way::Found as usize]), "{ways:?}");
    }

    #[tokio::test]
    async fn of_calls_that_miss_together_one_fetches() {
        let population = Population::new(vec![fake::member(1, 1.0)], None, 1);
        let caching = Caching::new(plan(0.0), &population);
        let purpose = population.members()[0].app.purpose();
        let (_, subject) = population.pick(0);
        caching.begin(0, purpose, subject);
        let fetches = std::cell::Cell::new(0);
        let call = || {
            caching.call(purpose, subject, async || {
                fetches.set(fetches.get() + 1);
                tokio::task::yield_now().await;
                (Outcome::Answered, None)
            })
        };
        let (first, second) = tokio::join!(call(), call());
        assert_eq!(fetches.get(), 1);
        assert_eq!(first, (Way::Fetched, Outcome::Answered));
        assert_eq!(second, (Way::Joined, Outcome::Joined));
    }
}
