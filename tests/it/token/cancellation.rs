//! Callers that are dropped at any point leave no one waiting.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::token::{Cache, Purpose, Source, Token, Wanted};

use super::desk::{Desk, No, token};

/// Awaits so many times before it answers.
struct Steps {
    awaits: u32,
    fetches: AtomicU32,
}

impl Source for Steps {
    type Error = No;

    async fn fetch(&self, _: Wanted<'_>) -> Result<Arc<Token>, No> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        for _ in 0..self.awaits {
            let mut has_waited = false;
            poll_fn(|context| {
                if has_waited {
                    return Poll::Ready(());
                }
                has_waited = true;
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        Ok(token("token", Duration::from_secs(3_600)))
    }

    async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), No> {
        Ok(())
    }
}

fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Runs three callers; the first is dropped after `cut` polls, the second
/// after one poll more than the first.
fn cut_after(cut: u32, with: bool) {
    const AWAITS: u32 = 4;
    let cache = Cache::new(Steps {
        awaits: AWAITS,
        fetches: AtomicU32::new(0),
    });
    let purpose = Purpose::of_app("app");
    let subject = Subject::user("1");
    let wanted = Wanted {
        purpose: &purpose,
        subject: &subject,
        other_than: None,
    };
    let get = || {
        Box::pin(async {
            let held = if with {
                let fetch = async || cache.source().fetch(wanted).await;
                cache.get_with(&purpose, &subject, fetch).await
            } else {
                cache.get(&purpose, &subject).await
            };
            held.map(|held| held.expose().to_owned())
        })
    };
    let (mut first, mut second, mut third) = (Some(get()), Some(get()), get());
    let mut outcome = None;
    for round in 0..100 {
        if round == cut {
            first = None;
        }
        if round == cut + 1 {
            second = None;
        }
        for future in [&mut first, &mut second] {
            if let Some(running) = future
                && poll(running).is_some()
            {
                *future = None;
            }
        }
        if let Some(value) = poll(&mut third) {
            outcome = Some(value);
            break;
        }
    }
    let value = outcome.unwrap_or_else(|| panic!("the third waits for ever, cut {cut}"));
    assert_eq!(value.unwrap(), "token", "cut {cut}");
    // Somebody has to begin anew for each leader that was lost.
    let fetches = cache.source().fetches.load(Ordering::SeqCst);
    assert!((1..=3).contains(&fetches), "cut {cut}: {fetches}");
    let metrics = cache.metrics();
    assert_eq!(metrics.fetches, u64::from(fetches));
    assert_eq!(metrics.abandoned, u64::from(fetches) - 1);
}

#[test]
fn a_leader_that_is_dropped_at_any_await_is_followed_by_the_next() {
    for cut in 0..12 {
        cut_after(cut, false);
        cut_after(cut, true);
    }
}

#[tokio::test]
async fn within_a_runtime_a_fetch_outlives_the_caller_that_caused_it() {
    let desk = Desk::default();
    let cache = Cache::new(desk.clone());
    let purpose = Purpose::of_app("app");
    let subject = Subject::user("1");
    {
        let mut getting = Box::pin(cache.get(&purpose, &subject));
        assert!(poll(&mut getting).is_none());
    }
    tokio::task::yield_now().await;
    desk.order().grant("kept", Duration::from_secs(60));
    tokio::task::yield_now().await;
    assert_eq!(cache.peek(&purpose, &subject).unwrap().expose(), "kept");
    assert_eq!(cache.metrics().abandoned, 0);
}

#[test]
fn a_runtime_that_ends_takes_no_waiter_with_it() {
    let desk = Desk::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let cache = Cache::builder(desk.clone())
        .runtime(runtime.handle().clone())
        .build();
    let purpose = Purpose::of_app("app");
    let subject = Subject::user("1");
    let mut getting = Box::pin(cache.get(&purpose, &subject));
    assert!(poll(&mut getting).is_none());
    while desk.fetches() < 1 {
        std::thread::yield_now();
    }
    drop(runtime);
    // The waiter fetches by itself now, since the runtime takes no tasks.
    assert!(poll(&mut getting).is_none());
    assert_eq!(desk.fetches(), 2);
    desk.order().grant("own", Duration::from_secs(60));
    let held = poll(&mut getting).unwrap().unwrap();
    assert_eq!(held.expose(), "own");
    assert_eq!(desk.most_at_once(), 1);
}

#[tokio::test]
async fn a_source_that_panics_reaches_each_caller_and_blocks_none() {
    struct Panics;
    impl Source for Panics {
        type Error = No;
        async fn fetch(&self, _: Wanted<'_>) -> Result<Arc<Token>, No> {
            panic!("for tests alone")
        }
        async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), No> {
            Ok(())
        }
    }
    let cache = Cache::new(Panics);
    for _ in 0..3 {
        let cache = cache.clone();
        let caller = tokio::spawn(async move {
            let purpose = Purpose::of_app("app");
            let _ = cache.get(&purpose, &Subject::user("1")).await;
        });
        assert!(caller.await.unwrap_err().is_panic());
    }
}
