//! How do the workers of a step keep their tokens, and how large is the herd
//! when one expires?
//!
//! A step begins with an empty cache. What a habit leaves out, others have:
//! without single flight each worker fetches for itself; with it, one fetches
//! on its own connection and the rest wait; with refresh ahead, a thread apart
//! fetches for all. Failures are not remembered: a load test is there to count
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::thread::gettid;
use tokio::runtime::Runtime;

use super::caller::{CallerError, Shared, Writer};
use crate::assertion::Subject;
use crate::record::{Habits, Herds, KeyHabit, Outcome, TokenHabit};
use crate::token::{
    Cache, CacheError, Exchange, Fault, Metrics, Policy, Purpose, Refresh, Source, Token, Wanted,
};

/// How early a cached token is replaced: a minute, as careful clients do, and
/// a tenth of a short life.
const MARGIN: Duration = Duration::from_secs(60);

/// The share of a token's life after which it is refreshed ahead.
const AHEAD: f64 = 0.8;

/// The tokens of a step, where they are kept.
pub struct Kept {
    pub(super) cache: Cache<Apart>,
    pub(super) herds: Arc<Meets>,
    apart: Arc<Counts>,
    threads: Vec<i32>,
    /// Dropped last: fetches under way are let go with it.
    _runtime: Option<Runtime>,
}

impl Kept {
    /// Makes an empty cache for workers with these habits.
    ///
    /// # Errors
    ///
    /// The endpoint cannot be called, or there is no thread.
    pub fn new(shared: &Arc<Shared>, habits: Habits) -> Result<Self, CallerError> {
        let (runtime, threads) = match habits.token {
            TokenHabit::CacheRefreshAhead => {
                let (runtime, thread) = thread_apart().map_err(CallerError::Thread)?;
                (Some(runtime), vec![thread])
            }
            _ => (None, Vec::new()),
        };
        let herds = Arc::new(Meets::of(&shared.subjects));
        let apart = Arc::new(Counts::default());
        let source = Apart {
            shared: Arc::clone(shared),
            key: habits.key,
            exchange: Exchange::new(&shared.url, shared.app.form().clone(), shared.timeout)?,
            writer: Mutex::new(Writer::new(shared)?),
            herds: Arc::clone(&herds),
            counts: Arc::clone(&apart),
        };
        let mut cache = Cache::builder(source)
            .clock(Arc::clone(&shared.clock))
            .policy(Policy {
                margin: MARGIN,
                refresh: match habits.token {
                    TokenHabit::CacheRefreshAhead => Refresh::Ahead { at: AHEAD },
                    _ => Refresh::AtEnd,
                },
                first_pause: Duration::ZERO,
                longest_pause: Duration::ZERO,
                ..Policy::default()
            });
        if let Some(runtime) = &runtime {
            cache = cache.runtime(runtime.handle().clone());
        }
        Ok(Self {
            cache: cache.build(),
            herds,
            apart,
            threads,
            _runtime: runtime,
        })
    }

    /// Returns the kernel's IDs of the threads that fetch for the workers.
    #[must_use]
    pub fn threads(&self) -> &[i32] {
        &self.threads
    }

    /// Returns how many assertions were signed and requests sent apart from
    /// the workers so far.
    #[must_use]
    pub fn apart(&self) -> (u64, u64) {
        (
            self.apart.signed.load(Ordering::Relaxed),
            self.apart.sent.load(Ordering::Relaxed),
        )
    }

    /// Returns what the cache has counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.cache.metrics()
    }

    /// Returns how many calls waited for the fetch of another so far.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.cache.metrics().waits
    }

    /// Returns how tokens were fetched so far.
    #[must_use]
    pub fn herds(&self) -> Herds {
        let metrics = self.cache.metrics();
        Herds {
            waits: metrics.waits,
            refreshes: metrics.refreshes,
            ..self.herds.read()
        }
    }
}

/// Makes a runtime of one thread, and tells its number.
fn thread_apart() -> std::io::Result<(Runtime, i32)> {
    let (tell, told) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("load-refresh")
        .on_thread_start(move || {
            let _ = tell.send(gettid().as_raw_nonzero().get());
        })
        .enable_all()
        .build()?;
    let thread = told.recv().map_err(std::io::Error::other)?;
    Ok((runtime, thread))
}

/// Fetches tokens apart from the workers.
pub(super) struct Apart {
    shared: Arc<Shared>,
    key: KeyHabit,
    exchange: Exchange,
    writer: Mutex<Writer>,
    herds: Arc<Meets>,
    counts: Arc<Counts>,
}

impl Apart {
    /// Writes a signed assertion. Several are fetched on one thread, which a
    /// mint must not block.
    async fn assertion(&self, subject: &Subject) -> Option<Vec<u8>> {
        let shared = &self.shared;
        if self.key == KeyHabit::Reuse {
            let input = self.writer.lock().signing_input(shared, subject);
            return shared.kept_key.complete(input).await.ok();
        }
        let mut writer = self.writer.lock();
        Some(writer.sign(shared, self.key, subject)?.to_vec())
    }
}

#[derive(Default)]
struct Counts {
    signed: AtomicU64,
    sent: AtomicU64,
}

impl Source for Apart {
    type Error = Failed;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, Failed> {
        let _member = self.herds.join(wanted.subject);
        let assertion = self.assertion(wanted.subject).await;
        self.counts.signed.fetch_add(1, Ordering::Relaxed);
        let assertion = assertion.ok_or(Failed(Outcome::Client))?;
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        let answer = self.exchange.send(&assertion).await;
        answer.token.ok_or(Failed(answer.outcome))
    }

    async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), Failed> {
        // No worker does that.
        Err(Failed(Outcome::Client))
    }
}

/// A call that ended without a token, as a cache sees it.
#[derive(Debug, thiserror::Error)]
#[error("the call ended in {0}")]
pub(super) struct Failed(pub Outcome);

impl Fault for Failed {
    fn is_transient(&self) -> bool {
        self.0.is_unreachable()
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// Says how a call ended that got no token from a cache.
pub(super) fn outcome_of(error: &CacheError<Failed>) -> Outcome {
    match error {
        CacheError::Fetch(failed) => failed.0.clone(),
        CacheError::Late { .. } => Outcome::TimedOut,
        CacheError::Refused => Outcome::Client,
    }
}

/// The herds of each subject.
pub(super) struct Meets(HashMap<Subject, Mutex<Meet>>);

#[derive(Clone, Copy, Default)]
struct Meet {
    under_way: u64,
    size: u64,
    /// The size of the first herd, once it is over.
    first: Option<u64>,
    later: u64,
    later_fetches: u64,
    later_largest: u64,
}

impl Meets {
    fn of(subjects: &[Subject]) -> Self {
        let empty = || Mutex::new(Meet::default());
        Self(subjects.iter().map(|s| (s.clone(), empty())).collect())
    }

    /// Begins a fetch for a subject; it is over when the guard is dropped.
    pub(super) fn join<'a>(&'a self, subject: &Subject) -> Option<Member<'a>> {
        let meet = self.0.get(subject)?;
        let mut now = meet.lock();
        now.under_way += 1;
        now.size += 1;
        drop(now);
        Some(Member(meet))
    }

    fn read(&self) -> Herds {
        let mut herds = Herds::default();
        for meet in self.0.values() {
            let meet = meet.lock();
            herds.first_largest = herds.first_largest.max(meet.first.unwrap_or_default());
            herds.later += meet.later;
            herds.later_fetches += meet.later_fetches;
            herds.later_largest = herds.later_largest.max(meet.later_largest);
        }
        herds
    }
}

/// A fetch under way.
pub(super) struct Member<'a>(&'a Mutex<Meet>);

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let mut meet = self.0.lock();
        meet.under_way -= 1;
        if meet.under_way > 0 {
            return;
        }
        let size = std::mem::take(&mut meet.size);
        if meet.first.is_none() {
            meet.first = Some(size);
        } else {
            meet.later += 1;
            meet.later_fetches += size;
            meet.later_largest = meet.later_largest.max(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_herd_is_what_begins_before_the_rest_has_ended() {
        let subjects = [Subject::user("1"), Subject::user("2")];
        let meets = Meets::of(&subjects);
        let together = |number: usize, size: usize| {
            let members: Vec<_> = (0..size).map(|_| meets.join(&subjects[number])).collect();
            drop(members);
        };
        together(0, 5);
        together(1, 2);
        assert_eq!(meets.read().first_largest, 5);
        assert_eq!(meets.read().later_mean(), None);
        together(0, 3);
        together(1, 1);
        // One that joins late joins the same herd.
        let first = meets.join(&subjects[1]);
        let second = meets.join(&subjects[1]);
        drop(first);
        let third = meets.join(&subjects[1]);
        drop((second, third));
        let herds = meets.read();
        assert_eq!(
            (herds.later, herds.later_fetches, herds.later_largest),
            (3, 7, 3)
        );
        assert_eq!(herds.later_mean(), Some(7.0 / 3.0));
    }
}
