//! The price of a hit.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mintmark::assertion::Subject;
use mintmark::clock::thread_cpu;
use mintmark::stats::{Random, order};
use mintmark::token::{Cache, Purpose};
use serde_json::{Value, json};

use crate::stage::{AtOnce, pin_to, token};
use crate::{Found, Goals, counting};

/// How long a window is, in processor time of a thread: long enough for two
/// threads to meet on a busy machine.
const WINDOW: Duration = Duration::from_millis(15);

/// The share of a window in which two threads have to run at the same time
/// for it to say anything of both.
const TOGETHER: f64 = 0.5;

/// The goals, in nanoseconds of processor time per hit.
const GOAL_HANDLE_NS: f64 = 15.0;
const GOAL_KEY_NS: f64 = 45.0;

/// How much dearer a hit may be with two threads, by the median of the
/// ratios of adjacent windows: beyond it, they hinder each other.
const GOAL_TWO_THREADS: f64 = 1.05;

/// What one thread does in one window: so many hits.
type Work<'a> = Box<dyn Fn(u64) + Sync + 'a>;

struct Arm<'a> {
    name: &'static str,
    threads: usize,
    goal_ns: Option<f64>,
    work: Work<'a>,
    /// Hits of one thread in one window.
    hits: u64,
    ns: Vec<f64>,
    /// For each window of `ns`, the share in which all threads ran.
    together: Vec<f64>,
    allocations: u64,
}

pub fn ask(is_quick: bool) -> Found {
    let rounds = if is_quick { 20 } else { 100 };
    let purpose = Purpose::of_app("k3yu8h9w1nabcdefghijklmnopqrstuv")
        .with_audience("https://api.box.com/oauth2/token");
    let subjects: Vec<Subject> = (0..1_000)
        .map(|i| Subject::user((10_000_000_000_u64 + i).to_string()))
        .collect();
    let cache = Cache::new(AtOnce);
    for (number, subject) in (0..).zip(&subjects) {
        let token = token(number, Duration::from_secs(36_000));
        cache.put(&purpose, subject, token, Duration::ZERO);
    }
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    Random::new(1).shuffle(&mut order);
    let slot = ArcSwap::from_pointee(7_u64);

    let floor = |hits: u64| {
        for _ in 0..hits {
            black_box(**slot.load());
        }
    };
    let by_handle = |hits: u64| {
        let mut handle = cache.handle(&purpose, &subjects[0]);
        for _ in 0..hits {
            black_box(handle.peek().is_some());
        }
    };
    let by_handle_async = |hits: u64| {
        let mut handle = cache.handle(&purpose, &subjects[0]);
        pollster(async move {
            for _ in 0..hits {
                black_box(handle.get().await.is_ok());
            }
        });
    };
    let by_key = |hits: u64| {
        for _ in 0..hits {
            black_box(cache.peek(black_box(&purpose), black_box(&subjects[0])));
        }
    };
    let by_keys = |hits: u64| {
        for hit in (0..order.len()).cycle().take(as_usize(hits)) {
            black_box(cache.peek(&purpose, &subjects[order[hit]]));
        }
    };
    let by_keys_async = |hits: u64| {
        pollster(async {
            for hit in (0..order.len()).cycle().take(as_usize(hits)) {
                black_box(cache.get(&purpose, &subjects[order[hit]]).await.is_ok());
            }
        });
    };
    let arm = |name, threads, goal_ns, work| Arm {
        name,
        threads,
        goal_ns,
        work,
        hits: 0,
        ns: Vec::new(),
        together: Vec::new(),
        allocations: 0,
    };
    let handle = Some(GOAL_HANDLE_NS);
    let key = Some(GOAL_KEY_NS);
    let mut arms = [
        arm(
            "a pointer that is swapped, alone",
            1,
            None,
            Box::new(floor) as Work<'_>,
        ),
        arm("by handle, 1 thread", 1, handle, Box::new(by_handle)),
        arm(
            "by handle, 2 threads, one key",
            2,
            handle,
            Box::new(by_handle),
        ),
        arm(
            "by handle, awaited, 1 thread",
            1,
            handle,
            Box::new(by_handle_async),
        ),
        arm("by key, 1 thread, one key", 1, key, Box::new(by_key)),
        arm("by key, 2 threads, one key", 2, key, Box::new(by_key)),
        arm("by key among 1,000, 1 thread", 1, key, Box::new(by_keys)),
        arm("by key among 1,000, 2 threads", 2, key, Box::new(by_keys)),
        arm(
            "by key among 1,000, awaited",
            1,
            key,
            Box::new(by_keys_async),
        ),
    ];
    take_turns(&mut arms, rounds);
    report(&arms)
}

/// Measures all arms in windows that take turns.
fn take_turns(arms: &mut [Arm<'_>], rounds: u32) {
    for arm in &mut *arms {
        let probe = measure(arm.threads, 100_000, &arm.work);
        arm.hits = as_hits(WINDOW.as_secs_f64() * 1e9 / probe.ns_per_hit);
    }
    let mut random = Random::new(2);
    for _ in 0..rounds {
        let mut turn: Vec<usize> = (0..arms.len()).collect();
        random.shuffle(&mut turn);
        for index in turn {
            let arm = &mut arms[index];
            // The rest of the machine gets its turn as well.
            thread::sleep(Duration::from_millis(5));
            let window = measure(arm.threads, arm.hits, &arm.work);
            arm.ns.push(window.ns_per_hit);
            arm.together.push(window.together);
            arm.allocations += window.allocations;
        }
    }
}

struct Window {
    ns_per_hit: f64,
    allocations: u64,
    /// The share of the time in which all threads ran.
    together: f64,
}

fn measure(threads: usize, hits: u64, work: &Work<'_>) -> Window {
    let barrier = Barrier::new(threads);
    let barrier = &barrier;
    let results: Vec<(Duration, Duration, u64)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    pin_to(number);
                    // What a thread allocates once comes before.
                    work(1_000);
                    barrier.wait();
                    let calls = counting::calls();
                    let (wall, cpu) = (Instant::now(), thread_cpu());
                    work(hits);
                    let cpu = thread_cpu() - cpu;
                    (cpu, wall.elapsed(), counting::calls() - calls)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a window does not panic"))
            .collect()
    });
    let cpu: f64 = results.iter().map(|(cpu, ..)| cpu.as_secs_f64()).sum();
    let wall = results.iter().map(|(_, wall, _)| wall.as_secs_f64());
    let longest = wall.fold(0.0, f64::max);
    Window {
        ns_per_hit: cpu * 1e9 / (hits * threads as u64) as f64,
        allocations: results.iter().map(|(.., calls)| calls).sum(),
        // What they used beyond the time of one was at the same time.
        together: ((cpu / longest - 1.0) / (threads as f64 - 1.0).max(1.0)).clamp(0.0, 1.0),
    }
}

fn report(arms: &[Arm<'_>]) -> Found {
    let mut goals = Goals::Met;
    let mut shown = Vec::new();
    println!(
        "  {:36} {:>8} {:>18} {:>6} {:>7}",
        "ns of processor time a hit", "median", "95 % bounds", "goal", "allocs"
    );
    for arm in arms {
        let mut sorted = arm.ns.clone();
        order::sort(&mut sorted);
        let median = order::quantile(&sorted, 0.5).unwrap_or(f64::NAN);
        let (low, high) = order::median_bounds(&sorted, 0.025).unwrap_or((f64::NAN, f64::NAN));
        let is_met = arm.goal_ns.is_none_or(|goal| median <= goal) && arm.allocations == 0;
        goals = goals.and(Goals::met_if(is_met));
        let goal = arm
            .goal_ns
            .map_or(String::new(), |goal| format!("≤ {goal}"));
        println!(
            "  {:36} {median:8.1} {:>18} {goal:>6} {:>7}",
            arm.name,
            format!("{low:.1} … {high:.1}"),
            arm.allocations
        );
        shown.push(json!({
            "arm": arm.name,
            "threads": arm.threads,
            "median_ns": median,
            "lower_ns": low,
            "upper_ns": high,
            "fastest_ns": sorted.first(),
            "goal_ns": arm.goal_ns,
            "allocations": arm.allocations,
            "windows": sorted.len(),
        }));
    }
    let mut pairs = Vec::new();
    for (one, two) in [(1, 2), (4, 5), (6, 7)] {
        let (pair, pair_goals) = compare(&arms[one], &arms[two]);
        goals = goals.and(pair_goals);
        pairs.push(pair);
    }
    Found {
        figures: json!({ "arms": shown, "two_threads": pairs }),
        goals,
    }
}

/// Compares a hit of two threads with one of one thread, by the windows of
/// the same round in which the two ran at the same time.
fn compare(one: &Arm<'_>, two: &Arm<'_>) -> (Value, Goals) {
    let mut ratios: Vec<f64> = two
        .ns
        .iter()
        .zip(&one.ns)
        .zip(&two.together)
        .filter(|(_, together)| **together >= TOGETHER)
        .map(|((two, one), _)| two / one)
        .collect();
    order::sort(&mut ratios);
    let median = order::quantile(&ratios, 0.5);
    let bounds = order::median_bounds(&ratios, 0.025);
    let windows = format!(
        "by {} of {} windows in which both ran",
        ratios.len(),
        two.ns.len()
    );
    match median.zip(bounds) {
        Some((median, (low, high))) => println!(
            "  {} costs {median:.3} × that of one ({low:.3} … {high:.3}), {windows}",
            two.name
        ),
        None => println!(
            "  {} beside that of one: too little to say, {windows}",
            two.name
        ),
    }
    let value = json!({
        "arm": two.name,
        "median_ratio": median,
        "lower_ratio": bounds.map(|bounds| bounds.0),
        "upper_ratio": bounds.map(|bounds| bounds.1),
        "windows": ratios.len(),
    });
    // Missed only if it is sure.
    let goals = bounds.map_or(Goals::Unjudged, |(low, _)| {
        Goals::met_if(low <= GOAL_TWO_THREADS)
    });
    (value, goals)
}

/// Polls a future that is always ready.
fn pollster(future: impl Future<Output = ()>) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::pin!(future).poll(&mut context).is_ready());
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of hits is positive and small"
)]
fn as_hits(number: f64) -> u64 {
    number as u64
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
