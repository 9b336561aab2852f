//! The cache against a simple model, under sequences of whatever can happen.
//!
//! The model predicts, on a clock that the test turns, what each caller gets
//! at once or has to wait for, and when a fetch begins. What it must never
//! see is checked besides: two fetches at once for one subject, a token after
//! its expiry and the allowed staleness, and a caller left without an answer.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::clock::{Clock, ManualClock};
use mintmark::token::{Cache, CacheError, Policy, Purpose, Refresh};
use proptest::prelude::*;

use super::desk::{Desk, No, Order};

const MARGIN_MS: u64 = 800;
const PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 2_000;
const QUICK_MS: u64 = 5_000;

#[derive(Clone, Debug)]
enum Op {
    /// A caller asks for a subject's token.
    Get(u8),
    /// A caller that waits is dropped.
    Drop(prop::sample::Index),
    /// The oldest fetch of a subject brings a token that lives so long.
    Grant(u8, u64),
    /// The oldest fetch of a subject fails, for now or for good.
    Deny(u8, bool),
    /// Time passes.
    Advance(u64),
    /// A server answers the subject's last token with 401.
    Refuse(u8),
    /// The subject's token is forgotten.
    Forget(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let subject = 0..3_u8;
    prop_oneof![
        8 => subject.clone().prop_map(Op::Get),
        2 => any::<prop::sample::Index>().prop_map(Op::Drop),
        5 => (subject.clone(), 1..20_000_u64).prop_map(|(s, life)| Op::Grant(s, life)),
        2 => (subject.clone(), any::<bool>()).prop_map(|(s, passes)| Op::Deny(s, passes)),
        6 => prop_oneof![0..300_u64, 0..12_000_u64].prop_map(Op::Advance),
        1 => subject.clone().prop_map(Op::Refuse),
        1 => subject.prop_map(Op::Forget),
    ]
}

/// What is known of a token that was issued.
#[derive(Clone, Debug)]
struct Issued {
    text: String,
    asked: u64,
    life: u64,
}

impl Issued {
    fn fresh_until(&self) -> u64 {
        // The margin, or a tenth of a short life, in nanoseconds as there.
        let margin = (MARGIN_MS * 1_000_000).min(self.life * 1_000_000 / 10);
        (self.asked + self.life) * 1_000_000 - margin
    }

    fn is_fresh(&self, now: u64) -> bool {
        now * 1_000_000 < self.fresh_until()
    }

    fn is_due(&self, now: u64) -> bool {
        let due = self.asked * 1_000_000 + self.life * 800_000;
        now * 1_000_000 >= due.min(self.fresh_until())
    }
}

/// What the model believes of one subject.
#[derive(Clone, Debug, Default)]
struct Believed {
    kept: Option<Issued>,
    failure: Option<Failure>,
    /// When the fetch under way was asked for, and whether it is unwanted.
    flight: Option<(u64, bool)>,
    strikes: u32,
}

#[derive(Clone, Debug)]
struct Failure {
    until: u64,
    in_row: u32,
    allows_stale: bool,
}

/// What the model expects of a caller.
#[derive(Debug, PartialEq)]
enum Expected {
    Token(String),
    Error,
    Wait,
}

impl Believed {
    fn stale(&self, now: u64, max_stale: u64) -> Option<&Issued> {
        let allows = self.failure.as_ref().is_some_and(|f| f.allows_stale);
        self.kept
            .as_ref()
            .filter(|kept| allows && now < kept.asked + kept.life + max_stale)
    }

    /// Predicts a call; a fetch may begin with it.
    fn get(&mut self, now: u64, max_stale: u64) -> Expected {
        let is_pending = self.failure.as_ref().is_some_and(|f| now < f.until);
        if let Some(kept) = self.kept.clone().filter(|kept| kept.is_fresh(now)) {
            if kept.is_due(now) && self.flight.is_none() && !is_pending {
                self.flight = Some((now, false));
            }
            return Expected::Token(kept.text);
        }
        let stale = self.stale(now, max_stale).cloned();
        if self.flight.is_none() {
            if is_pending && stale.is_none() {
                return Expected::Error;
            }
            if !is_pending {
                self.flight = Some((now, false));
            }
        }
        stale.map_or(Expected::Wait, |stale| Expected::Token(stale.text))
    }

    fn fail(&mut self, now: u64, allows_stale: bool) {
        let in_row = self.failure.as_ref().map_or(0, |f| f.in_row);
        self.failure = Some(Failure {
            until: now + pause(in_row),
            in_row: in_row + 1,
            allows_stale,
        });
        self.flight = None;
    }

    fn refuse(&mut self, now: u64) {
        let Some(kept) = self.kept.take() else {
            return;
        };
        let until = if now - kept.asked < QUICK_MS {
            self.strikes += 1;
            now + pause(self.strikes - 1)
        } else {
            self.strikes = 0;
            now
        };
        self.failure = Some(Failure {
            until,
            in_row: 0,
            allows_stale: false,
        });
    }
}

fn pause(in_row: u32) -> u64 {
    (PAUSE_MS << in_row.min(10)).min(LONGEST_PAUSE_MS)
}

type Getting = Pin<Box<dyn Future<Output = Result<String, CacheError<No>>>>>;

struct Waiting {
    subject: u8,
    future: Getting,
}

/// Everything that one sequence plays on.
struct Stage {
    runtime: Option<tokio::runtime::Runtime>,
    cache: Cache<Desk>,
    desk: Desk,
    clock: Arc<ManualClock>,
    orders: Vec<Order>,
    waiting: Vec<Waiting>,
    issued: HashMap<String, (u8, Issued)>,
    max_stale: u64,
    last_token: u32,
}

impl Stage {
    fn new(refresh: Refresh, max_stale: u64, is_detached: bool) -> Self {
        let desk = Desk::default();
        let clock = Arc::new(ManualClock::default());
        Self {
            runtime: is_detached.then(|| {
                tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap()
            }),
            cache: Cache::builder(desk.clone())
                .clock(Arc::clone(&clock) as _)
                .policy(Policy {
                    margin: Duration::from_millis(MARGIN_MS),
                    refresh,
                    jitter: 0.0,
                    max_stale: Duration::from_millis(max_stale),
                    first_pause: Duration::from_millis(PAUSE_MS),
                    longest_pause: Duration::from_millis(LONGEST_PAUSE_MS),
                    capacity: 100,
                })
                .build(),
            desk,
            clock,
            orders: Vec::new(),
            waiting: Vec::new(),
            issued: HashMap::new(),
            max_stale,
            last_token: 0,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap()
    }

    /// Polls once, within the runtime if there is one.
    fn poll(&self, getting: &mut Getting) -> Option<Result<String, CacheError<No>>> {
        let _inside = self.runtime.as_ref().map(tokio::runtime::Runtime::enter);
        let mut context = Context::from_waker(Waker::noop());
        match getting.as_mut().poll(&mut context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Lets tasks run and takes in the orders of fetches that began.
    fn settle(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                for _ in 0..6 {
                    tokio::task::yield_now().await;
                }
            });
        }
        let orders = self.desk.orders();
        self.orders.extend(orders);
        self.orders.retain(Order::stands);
    }

    fn begin(&mut self, number: u8) -> Option<Result<String, CacheError<No>>> {
        let cache = self.cache.clone();
        let mut future: Getting = Box::pin(async move {
            let purpose = Purpose::of_app("app");
            let held = cache.get(&purpose, &subject(number)).await?;
            Ok(held.expose().to_owned())
        });
        let result = self.poll(&mut future);
        if result.is_none() {
            self.waiting.push(Waiting {
                subject: number,
                future,
            });
        }
        self.settle();
        result
    }

    fn take_order(&mut self, number: u8) -> Option<Order> {
        let at = self
            .orders
            .iter()
            .position(|order| order.subject == subject(number))?;
        Some(self.orders.remove(at))
    }

    fn grant(&mut self, number: u8, asked: u64, life: u64) -> Option<Issued> {
        let order = self.take_order(number)?;
        self.last_token += 1;
        let issued = Issued {
            text: format!("token {}", self.last_token),
            asked,
            life,
        };
        self.issued
            .insert(issued.text.clone(), (number, issued.clone()));
        order.grant(&issued.text, Duration::from_millis(life));
        self.settle();
        Some(issued)
    }

    /// Polls all who wait and returns what those got who are answered.
    fn answered(&mut self) -> Vec<(u8, Result<String, CacheError<No>>)> {
        let mut answered = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for mut one in waiting {
            match self.poll(&mut one.future) {
                Some(result) => answered.push((one.subject, result)),
                None => self.waiting.push(one),
            }
        }
        self.settle();
        answered
    }

    /// Checks what holds for every token that is handed out.
    fn check(&self, number: u8, text: &str) {
        let (owner, issued) = &self.issued[text];
        assert_eq!(*owner, number, "another subject's token");
        let end = issued.asked + issued.life + self.max_stale;
        assert!(self.now() < end, "{text} at {}, after {end}", self.now());
    }
}

fn subject(number: u8) -> Subject {
    Subject::user(number.to_string())
}

fn refreshes() -> impl Strategy<Value = Refresh> {
    prop_oneof![Just(Refresh::AtEnd), Just(Refresh::Ahead { at: 0.8 })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn with_fetches_in_tasks_every_step_is_as_the_model_says(
        ops in prop::collection::vec(op(), 1..80),
        max_stale in prop_oneof![Just(0), 0..5_000_u64],
    ) {
        let mut stage = Stage::new(Refresh::Ahead { at: 0.8 }, max_stale, true);
        let mut believed: [Believed; 3] = Default::default();
        for op in ops {
            let now = stage.now();
            match op {
                Op::Get(number) => {
                    let expected = believed[usize::from(number)].get(now, max_stale);
                    let got = stage.begin(number);
                    if let Some(Ok(text)) = &got {
                        stage.check(number, text);
                    }
                    let got = match got {
                        Some(Ok(text)) => Expected::Token(text),
                        Some(Err(_)) => Expected::Error,
                        None => Expected::Wait,
                    };
                    prop_assert_eq!(got, expected);
                }
                Op::Drop(index) if !stage.waiting.is_empty() => {
                    let at = index.index(stage.waiting.len());
                    drop(stage.waiting.remove(at));
                    stage.settle();
                }
                Op::Drop(_) => {}
                Op::Grant(number, life) => {
                    let own = &mut believed[usize::from(number)];
                    let Some((asked, is_doomed)) = own.flight else { continue };
                    let issued = stage.grant(number, asked, life).expect("a fetch is under way");
                    let is_late = now >= asked + life;
                    if is_late {
                        own.fail(now, true);
                    } else if is_doomed {
                        own.flight = None;
                    } else {
                        own.flight = None;
                        own.failure = None;
                        own.kept = Some(issued.clone());
                    }
                    let waited = stage.waiting.iter().filter(|one| one.subject == number).count();
                    let answered = stage.answered();
                    if is_doomed && !is_late {
                        prop_assert!(answered.is_empty());
                        if waited > 0 {
                            own.flight = Some((now, false));
                        }
                    } else {
                        prop_assert_eq!(answered.len(), waited);
                    }
                    let stale = own.stale(now, max_stale).map(|kept| kept.text.clone());
                    for (_, got) in answered {
                        let expected = if is_late { stale.as_ref() } else { Some(&issued.text) };
                        prop_assert_eq!(got.as_ref().ok(), expected);
                    }
                }
                Op::Deny(number, passes) => {
                    let own = &mut believed[usize::from(number)];
                    let Some(order) = stage.take_order(number) else { continue };
                    order.deny(if passes { No::down() } else { No::never() });
                    stage.settle();
                    own.fail(now, passes);
                    let waited = stage.waiting.iter().filter(|one| one.subject == number).count();
                    let answered = stage.answered();
                    prop_assert_eq!(answered.len(), waited);
                    let stale = own.stale(now, max_stale).map(|kept| &kept.text);
                    for (_, got) in answered {
                        prop_assert_eq!(got.as_ref().ok(), stale);
                    }
                }
                Op::Advance(ms) => stage.clock.advance(Duration::from_millis(ms)),
                Op::Refuse(number) => {
                    let own = &mut believed[usize::from(number)];
                    let purpose = Purpose::of_app("app");
                    // Shown while it is fresh, as a worker would.
                    let held = stage.cache.peek(&purpose, &subject(number));
                    if let Some(held) = held {
                        prop_assert!(stage.cache.refuse(&purpose, &subject(number), &held));
                        own.refuse(now);
                    }
                }
                Op::Forget(number) => {
                    let own = &mut believed[usize::from(number)];
                    stage.cache.forget(&Purpose::of_app("app"), &subject(number));
                    own.kept = None;
                    // A subject that was never asked for has no place.
                    own.failure = None;
                    if let Some((_, is_doomed)) = &mut own.flight {
                        *is_doomed = true;
                    }
                }
            }
            prop_assert!(stage.desk.most_at_once() <= 1);
            for (number, own) in believed.iter().enumerate() {
                let orders = stage.orders.iter()
                    .filter(|order| usize::from(order.subject.id.parse::<u8>().unwrap()) == number)
                    .count();
                prop_assert_eq!(orders, usize::from(own.flight.is_some()));
            }
        }
    }

    #[test]
    fn whoever_fetches_nobody_is_left_waiting_or_served_too_late(
        ops in prop::collection::vec(op(), 1..80),
        max_stale in prop_oneof![Just(0), 0..5_000_u64],
        refresh in refreshes(),
        is_detached in any::<bool>(),
    ) {
        let mut stage = Stage::new(refresh, max_stale, is_detached);
        let mut asked: HashMap<String, u64> = HashMap::new();
        for op in ops {
            let now = stage.now();
            match op {
                Op::Get(number) => {
                    if let Some(Ok(text)) = stage.begin(number) {
                        stage.check(number, &text);
                    }
                }
                Op::Drop(index) if !stage.waiting.is_empty() => {
                    let at = index.index(stage.waiting.len());
                    drop(stage.waiting.remove(at));
                    stage.settle();
                }
                Op::Grant(number, life) => {
                    let since = asked.get(&subject(number).id).copied().unwrap_or(now);
                    stage.grant(number, since, life);
                }
                Op::Deny(number, passes) => {
                    if let Some(order) = stage.take_order(number) {
                        order.deny(if passes { No::down() } else { No::never() });
                        stage.settle();
                    }
                }
                Op::Advance(ms) => stage.clock.advance(Duration::from_millis(ms)),
                Op::Refuse(number) => {
                    let purpose = Purpose::of_app("app");
                    if let Some(held) = stage.cache.peek(&purpose, &subject(number)) {
                        stage.cache.refuse(&purpose, &subject(number), &held);
                        prop_assert!(stage.cache.peek(&purpose, &subject(number)).is_none());
                    }
                }
                Op::Forget(number) => {
                    stage.cache.forget(&Purpose::of_app("app"), &subject(number));
                    let purpose = Purpose::of_app("app");
                    prop_assert!(stage.cache.peek(&purpose, &subject(number)).is_none());
                }
                Op::Drop(_) => {}
            }
            for order in &stage.orders {
                // The instant at which a fetch was seen first is its own,
                // since every step looks.
                asked.entry(order.subject.id.clone()).or_insert(now);
            }
            asked.retain(|id, _| stage.orders.iter().any(|order| order.subject.id == *id));
            for (number, got) in stage.answered() {
                if let Ok(text) = got {
                    stage.check(number, &text);
                }
            }
            prop_assert!(stage.desk.most_at_once() <= 1);
        }
        // Whatever waits is answered once the endpoint is well again.
        for _ in 0..10 {
            for number in 0..3 {
                let now = stage.now();
                stage.grant(number, now, 3_600_000);
            }
            stage.answered();
        }
        prop_assert!(stage.waiting.is_empty(), "{} wait for ever", stage.waiting.len());
    }
}
