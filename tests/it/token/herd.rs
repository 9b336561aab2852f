//! Many callers at once: one fetches, the others take part in its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::token::{Cache, CacheError, Purpose, Source, Token, Wanted};

use super::desk::{Desk, No, token};

/// Fetches at once, after letting others run, and counts.
#[derive(Default)]
struct Quick {
    fetches: AtomicU64,
    fails: bool,
}

impl Source for Quick {
    type Error = No;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, No> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.fails {
            return Err(No::never());
        }
        Ok(token(&wanted.subject.id, Duration::from_secs(3_600)))
    }

    async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), No> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_workers_on_a_hundred_subjects_cause_a_hundred_fetches() {
    let cache = Cache::new(Quick::default());
    let purpose = Purpose::of_app("app");
    let workers: Vec<_> = (0..10_000)
        .map(|i| {
            let (cache, purpose) = (cache.clone(), purpose.clone());
            tokio::spawn(async move {
                let subject = Subject::user((i % 100).to_string());
                let by_key = cache.get(&purpose, &subject).await.unwrap();
                assert_eq!(by_key.expose(), subject.id);
                let mut handle = cache.handle(&purpose, &subject);
                assert_eq!(handle.get().await.unwrap().expose(), subject.id);
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(cache.source().fetches.load(Ordering::SeqCst), 100);
    let metrics = cache.metrics();
    assert_eq!((metrics.misses, metrics.fetches), (100, 100));
    // Each worker asked twice; the second time it hit.
    assert_eq!(metrics.hits + metrics.waits, 20_000 - 100);
    assert_eq!(metrics.abandoned, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_wait_get_the_failure_of_the_one_fetch() {
    let cache = Cache::new(Quick {
        fails: true,
        ..Quick::default()
    });
    let workers: Vec<_> = (0..1_000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let purpose = Purpose::of_app("app");
                cache.get(&purpose, &Subject::user("1")).await.unwrap_err()
            })
        })
        .collect();
    for worker in workers {
        let error = worker.await.unwrap();
        assert!(matches!(error, CacheError::Fetch(no) if *no == No::never()));
    }
    assert_eq!(cache.source().fetches.load(Ordering::SeqCst), 1);
}

#[test]
fn workers_on_runtimes_of_their_own_share_one_fetch() {
    let desk = Desk::default();
    let cache = Cache::new(desk.clone());
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(async move {
                        let purpose = Purpose::of_app("app");
                        let held = cache.get(&purpose, &Subject::user("1")).await.unwrap();
                        held.expose().to_owned()
                    })
            })
        })
        .collect();
    // Until all wait, or one has led and seven wait.
    while cache.metrics().misses + cache.metrics().waits < 8 {
        std::thread::yield_now();
    }
    desk.order().grant("shared", Duration::from_secs(60));
    for worker in workers {
        assert_eq!(worker.join().unwrap(), "shared");
    }
    assert_eq!(desk.fetches(), 1);
}
