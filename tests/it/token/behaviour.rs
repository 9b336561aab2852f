//! One worker's view of the cache, on a clock that the test turns.

use std::sync::Arc;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::clock::ManualClock;
use mintmark::token::{Cache, CacheError, Held, Policy, Purpose, Refresh};
use tokio::task::{JoinHandle, yield_now};

use super::desk::{Desk, No, token};

const HOUR: Duration = Duration::from_secs(3_600);

/// Everything that a test of the cache needs.
struct Stage {
    cache: Cache<Desk>,
    desk: Desk,
    clock: Arc<ManualClock>,
    purpose: Purpose,
    subject: Subject,
}

impl Stage {
    fn new(policy: Policy) -> Self {
        let desk = Desk::default();
        let clock = Arc::new(ManualClock::default());
        Self {
            cache: Cache::builder(desk.clone())
                .policy(policy)
                .clock(Arc::clone(&clock) as _)
                .seed(1)
                .build(),
            desk,
            clock,
            purpose: Purpose::of_app("app"),
            subject: Subject::user("1"),
        }
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Begins to get the token; runs until that waits or is over.
    async fn begin(&self) -> JoinHandle<Result<Held, CacheError<No>>> {
        let (cache, purpose, subject) = (
            self.cache.clone(),
            self.purpose.clone(),
            self.subject.clone(),
        );
        let getting = tokio::spawn(async move { cache.get(&purpose, &subject).await });
        settle().await;
        getting
    }

    /// Gets the token, which has to be there.
    #[track_caller]
    fn now(&self) -> String {
        let got = futures_now(self.cache.get(&self.purpose, &self.subject));
        got.expect("it had to wait").unwrap().expose().to_owned()
    }

    /// Gets the failure, which has to be there.
    #[track_caller]
    fn failure(&self) -> CacheError<No> {
        let got = futures_now(self.cache.get(&self.purpose, &self.subject));
        got.expect("it had to wait").unwrap_err()
    }

    async fn fetched(&self, text: &str, life: Duration) {
        let getting = self.begin().await;
        assert!(self.desk.order().grant(text, life));
        assert_eq!(getting.await.unwrap().unwrap().expose(), text);
    }
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// Polls once.
fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

fn exact() -> Policy {
    Policy {
        jitter: 0.0,
        ..Policy::default()
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_then_handed_out() {
    let stage = Stage::new(exact());
    stage.fetched("one", HOUR).await;
    for _ in 0..5 {
        stage.advance(60);
        assert_eq!(stage.now(), "one");
    }
    let metrics = stage.cache.metrics();
    assert_eq!((metrics.misses, metrics.hits, metrics.fetches), (1, 5, 1));
    assert_eq!(metrics.age_below(1.0), Some(Duration::from_nanos(1 << 39)));
}

#[tokio::test]
async fn purposes_and_subjects_have_tokens_of_their_own() {
    let stage = Stage::new(exact());
    let base = Purpose::of_app("app");
    let mut expected = 0;
    for purpose in [
        base.clone(),
        Purpose::of_app("other"),
        base.clone().with_scopes(["read"]),
        base.clone().with_audience("https://api"),
    ] {
        for subject in [
            Subject::user("1"),
            Subject::user("2"),
            Subject::enterprise("1"),
        ] {
            let text = format!("{purpose:?} {subject:?}");
            let (cache, key) = (stage.cache.clone(), (purpose.clone(), subject.clone()));
            let getting = tokio::spawn(async move { cache.get(&key.0, &key.1).await });
            settle().await;
            stage.desk.order().grant(&text, HOUR);
            assert_eq!(getting.await.unwrap().unwrap().expose(), text);
            let again = stage.cache.peek(&purpose, &subject).unwrap();
            assert_eq!(again.expose(), text);
            expected += 1;
        }
    }
    assert_eq!(stage.desk.fetches(), expected);
    assert_eq!(stage.cache.len(), 12);
}

#[tokio::test]
async fn the_old_token_serves_until_the_one_fetched_ahead_is_there() {
    let stage = Stage::new(exact());
    stage.fetched("old", HOUR).await;
    stage.advance(2_879);
    assert_eq!(stage.now(), "old");
    settle().await;
    assert_eq!(stage.desk.fetches(), 1);
    stage.advance(1);
    // Due at four fifths of its life: this reader causes the refresh.
    assert_eq!(stage.now(), "old");
    settle().await;
    let order = stage.desk.order();
    assert_eq!(order.other_than.as_deref(), Some("old"));
    for _ in 0..100 {
        assert_eq!(stage.now(), "old");
    }
    settle().await;
    order.grant("new", HOUR);
    settle().await;
    assert_eq!(stage.now(), "new");
    assert_eq!(stage.desk.fetches(), 2);
    let metrics = stage.cache.metrics();
    assert_eq!((metrics.refreshes, metrics.misses), (1, 1));
    assert_eq!(metrics.waits, 0);
}

#[tokio::test]
async fn a_failed_refresh_is_repeated_after_a_pause_and_nobody_notices() {
    let stage = Stage::new(exact());
    stage.fetched("old", HOUR).await;
    stage.advance(2_880);
    stage.now();
    settle().await;
    stage.desk.order().deny(No::down());
    settle().await;
    // The first pause is a quarter of a second.
    for (step_ms, fetches) in [(0, 2), (249, 2), (1, 3)] {
        stage.clock.advance(Duration::from_millis(step_ms));
        assert_eq!(stage.now(), "old");
        settle().await;
        assert_eq!(stage.desk.fetches(), fetches, "{step_ms}");
    }
}

#[tokio::test]
async fn without_refresh_the_token_serves_to_its_margin_and_then_all_wait() {
    let stage = Stage::new(Policy {
        refresh: Refresh::AtEnd,
        ..exact()
    });
    stage.fetched("old", HOUR).await;
    stage.advance(3_569);
    assert_eq!(stage.now(), "old");
    stage.advance(1);
    let waiting = [stage.begin().await, stage.begin().await];
    assert!(stage.desk.order().grant("new", HOUR));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().expose(), "new");
    }
    assert_eq!(stage.desk.fetches(), 2);
}

#[tokio::test]
async fn early_refresh_becomes_likely_as_the_end_comes_near() {
    let stage = Stage::new(Policy {
        refresh: Refresh::Early { beta: 1.0 },
        ..exact()
    });
    // The fetch takes a second, which is the mean distance from the end.
    let getting = stage.begin().await;
    stage.advance(1);
    stage.desk.order().grant("old", HOUR);
    getting.await.unwrap().unwrap();
    // Fresh until 3,570 seconds after it was asked for.
    stage.advance(3_569 - 30);
    for _ in 0..200 {
        assert_eq!(stage.now(), "old");
    }
    settle().await;
    // 200 readers at e⁻³⁰ each.
    assert_eq!(stage.desk.fetches(), 1);
    stage.advance(29);
    for _ in 0..50 {
        assert_eq!(stage.now(), "old");
    }
    settle().await;
    // 50 readers at e⁻¹ each; one of them began, and the rest held back.
    assert_eq!(stage.desk.fetches(), 2);
    assert_eq!(stage.cache.metrics().refreshes, 1);
}

#[tokio::test]
async fn an_old_token_serves_within_its_bound_while_the_endpoint_is_down() {
    let stage = Stage::new(Policy {
        refresh: Refresh::AtEnd,
        max_stale: Duration::from_secs(120),
        ..exact()
    });
    stage.fetched("old", HOUR).await;
    stage.advance(3_590);
    let getting = stage.begin().await;
    stage.desk.order().deny(No::down());
    // Who waited gets the old one instead of the failure.
    assert_eq!(getting.await.unwrap().unwrap().expose(), "old");
    stage.advance(129);
    assert_eq!(stage.now(), "old");
    settle().await;
    let orders = stage.desk.orders();
    assert_eq!(orders.len(), 1, "one tries again in the background");
    stage.advance(1);
    // The bound is reached: two minutes after the expiry.
    let getting = stage.begin().await;
    assert!(!getting.is_finished());
    for order in orders {
        order.deny(No::down());
    }
    assert!(getting.await.unwrap().is_err());
    assert!(matches!(stage.failure(), CacheError::Fetch(_)));
    let metrics = stage.cache.metrics();
    assert_eq!((metrics.stale, metrics.failures), (1, 2));
}

#[tokio::test]
async fn an_endpoint_that_refuses_for_good_ends_the_use_of_an_old_token() {
    let stage = Stage::new(Policy {
        refresh: Refresh::AtEnd,
        max_stale: HOUR,
        ..exact()
    });
    stage.fetched("old", HOUR).await;
    stage.advance(3_700);
    let getting = stage.begin().await;
    stage.desk.order().deny(No::never());
    let error = getting.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::Fetch(no) if *no == No::never()));
}

#[tokio::test]
async fn a_failure_is_remembered_for_as_long_as_the_endpoint_asks() {
    let stage = Stage::new(exact());
    let getting = stage.begin().await;
    stage.desk.order().deny(No {
        retry_after: Some(Duration::from_secs(7)),
        ..No::down()
    });
    assert!(getting.await.unwrap().is_err());
    stage.advance(6);
    for _ in 0..100 {
        assert!(matches!(stage.failure(), CacheError::Fetch(_)));
    }
    assert_eq!(stage.desk.fetches(), 1);
    stage.advance(1);
    stage.fetched("late", HOUR).await;
    assert_eq!(stage.desk.fetches(), 2);
    assert_eq!(stage.cache.metrics().failed_fast, 100);
}

#[tokio::test]
async fn pauses_after_failures_double() {
    let stage = Stage::new(exact());
    for pause_ms in [250, 500, 1_000, 2_000] {
        let getting = stage.begin().await;
        stage.desk.order().deny(No::down());
        assert!(getting.await.unwrap().is_err());
        stage.clock.advance(Duration::from_millis(pause_ms - 1));
        stage.failure();
        stage.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(stage.desk.fetches(), 4);
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once() {
    let stage = Stage::new(exact());
    stage.fetched("revoked", HOUR).await;
    stage.advance(60);
    let refused = stage
        .cache
        .get(&stage.purpose, &stage.subject)
        .await
        .unwrap();
    let refused = Arc::clone(refused.token());
    let reports: Vec<bool> = (0..50)
        .map(|_| stage.cache.refuse(&stage.purpose, &stage.subject, &refused))
        .collect();
    assert_eq!(reports.iter().filter(|is_first| **is_first).count(), 1);
    let getting = stage.begin().await;
    let order = stage.desk.order();
    assert_eq!(order.other_than.as_deref(), Some("revoked"));
    order.grant("fresh", HOUR);
    assert_eq!(getting.await.unwrap().unwrap().expose(), "fresh");
    // A late report of the old one does not harm the new one.
    assert!(!stage.cache.refuse(&stage.purpose, &stage.subject, &refused));
    assert_eq!(stage.now(), "fresh");
    assert_eq!(stage.cache.metrics().refused, 1);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_not_answered_with_a_storm() {
    let stage = Stage::new(exact());
    for (strike, pause_ms) in [250, 500, 1_000].into_iter().enumerate() {
        let text = format!("token {strike}");
        stage.fetched(&text, HOUR).await;
        let held = stage
            .cache
            .get(&stage.purpose, &stage.subject)
            .await
            .unwrap();
        assert!(stage.cache.refuse(&stage.purpose, &stage.subject, &held));
        assert!(matches!(stage.failure(), CacheError::Refused));
        stage.clock.advance(Duration::from_millis(pause_ms - 1));
        assert!(matches!(stage.failure(), CacheError::Refused));
        stage.clock.advance(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn what_is_forgotten_does_not_come_back_with_a_fetch_under_way() {
    let stage = Stage::new(exact());
    stage.fetched("one", HOUR).await;
    stage.advance(2_880);
    stage.now();
    settle().await;
    let order = stage.desk.order();
    stage.cache.forget(&stage.purpose, &stage.subject);
    let getting = stage.begin().await;
    // The refresh has to end before another begins.
    assert_eq!(stage.desk.fetches(), 2);
    order.grant("asked for too early", HOUR);
    settle().await;
    stage.desk.order().grant("two", HOUR);
    assert_eq!(getting.await.unwrap().unwrap().expose(), "two");
    assert_eq!(stage.now(), "two");
    assert_eq!(stage.cache.metrics().superseded, 1);
    assert!(stage.desk.revoked().is_empty());
}

#[tokio::test]
async fn revocation_takes_back_the_token_in_use_and_the_one_under_way() {
    let stage = Stage::new(exact());
    stage.fetched("in use", HOUR).await;
    stage.advance(2_880);
    stage.now();
    settle().await;
    let order = stage.desk.order();
    let (cache, purpose, subject) = (
        stage.cache.clone(),
        stage.purpose.clone(),
        stage.subject.clone(),
    );
    let revoking = tokio::spawn(async move { cache.revoke(&purpose, &subject).await });
    settle().await;
    assert!(stage.cache.peek(&stage.purpose, &stage.subject).is_none());
    order.grant("under way", HOUR);
    revoking.await.unwrap().unwrap();
    assert_eq!(stage.desk.revoked(), ["in use", "under way"]);
    stage.fetched("later", HOUR).await;
}

#[tokio::test]
async fn a_token_that_arrives_too_late_is_a_failure() {
    let stage = Stage::new(exact());
    let getting = stage.begin().await;
    stage.advance(11);
    stage.desk.order().grant("dead", Duration::from_secs(10));
    let error = getting.await.unwrap().unwrap_err();
    assert!(matches!(error, CacheError::Late { .. }), "{error:?}");
    assert!(matches!(stage.failure(), CacheError::Late { .. }));
}

#[tokio::test]
async fn a_token_from_elsewhere_is_kept_with_what_is_left_of_its_life() {
    let stage = Stage::new(exact());
    stage.advance(1_000);
    let put = |life_s, took_s| {
        stage.cache.put(
            &stage.purpose,
            &stage.subject,
            token("given", Duration::from_secs(life_s)),
            Duration::from_secs(took_s),
        )
    };
    assert!(put(10, 10).is_none());
    assert_eq!(put(100, 50).unwrap().expose(), "given");
    stage.advance(39);
    assert_eq!(stage.now(), "given");
    stage.advance(1);
    // A tenth of its life is the margin.
    let getting = stage.begin().await;
    assert!(!getting.is_finished());
    stage.desk.order().grant("own", HOUR);
    assert_eq!(getting.await.unwrap().unwrap().expose(), "own");
}

#[tokio::test]
async fn a_handle_sees_what_happens_to_its_token() {
    let stage = Stage::new(exact());
    let mut handle = stage.cache.handle(&stage.purpose, &stage.subject);
    assert!(handle.peek().is_none());
    stage.fetched("one", HOUR).await;
    assert_eq!(handle.peek().unwrap().expose(), "one");
    assert_eq!(handle.get().await.unwrap().expose(), "one");
    stage.cache.forget(&stage.purpose, &stage.subject);
    assert!(handle.peek().is_none());
    let desk = stage.desk.clone();
    let granting = tokio::spawn(async move {
        settle().await;
        desk.order().grant("two", HOUR);
    });
    assert_eq!(handle.get().await.unwrap().expose(), "two");
    granting.await.unwrap();
    assert_eq!(stage.now(), "two");
    assert_eq!(handle.clone().subject(), stage.subject);
}

#[tokio::test]
async fn the_cache_stays_within_its_capacity_and_keeps_what_is_used() {
    let stage = Stage::new(Policy {
        capacity: 10,
        ..exact()
    });
    let subject = |i: u32| Subject::user(i.to_string());
    let put = |i: u32| {
        let token = token(&i.to_string(), HOUR);
        stage
            .cache
            .put(&stage.purpose, &subject(i), token, Duration::ZERO)
            .unwrap();
    };
    let mut held = stage.cache.handle(&stage.purpose, &subject(0));
    put(0);
    for i in 1..1_000 {
        put(i);
        // One subject is used all the time, by key.
        assert!(
            stage.cache.peek(&stage.purpose, &subject(1)).is_some(),
            "{i}"
        );
        assert!(stage.cache.len() <= 10);
    }
    assert_eq!(held.peek().unwrap().expose(), "0");
    assert!(stage.cache.peek(&stage.purpose, &subject(500)).is_none());
    assert_eq!(stage.cache.metrics().evicted, 990);
}

#[tokio::test]
async fn subjects_beyond_the_capacity_are_served_if_all_others_are_held() {
    let stage = Stage::new(Policy {
        capacity: 2,
        ..exact()
    });
    let subject = |i: u32| Subject::user(i.to_string());
    let handles: Vec<_> = (0..5)
        .map(|i| stage.cache.handle(&stage.purpose, &subject(i)))
        .collect();
    stage.fetched("one more", HOUR).await;
    assert_eq!(stage.cache.len(), 5);
    drop(handles);
    for i in 10..20 {
        let token = token("x", HOUR);
        stage
            .cache
            .put(&stage.purpose, &subject(i), token, Duration::ZERO);
    }
    assert_eq!(stage.cache.len(), 2);
}
