//! The latency of reads while their token expires.
//!
//! One reader reads one subject's token on a schedule of 50,000 reads a
//! second. Three caches take turns in windows of a fifth of a second: one
//! whose token outlives the bench, one whose token is replaced ahead of its
//! end once or twice a window, and one whose token is replaced at its end.
//! Signatures and requests are real. They have a runtime and a processor of
//! their own, the reader has another.
//!
//! A read is timed twice: from when it was due, which is what a caller sees,
//! and alone. On a machine with other work the first is full of moments in
//! which the reader was not running; windows in which it lost its processor
//! are therefore left out of the first, and counted. A window in which the
//! machine took longer for a fetch than a token lives is left out of both. `chrt --fifo 1` in front
//! of the bench keeps the processor: a window is short enough for that not to
//! starve the rest of the machine.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

use mintmark::record::Histogram;
use mintmark::stats::{Random, order};
use mintmark::token::{Cache, Policy, Purpose, Refresh};
use serde_json::{Value, json};

use crate::stage::{Living, Stage, pin, pin_to};
use crate::{Found, Goals};

/// The time between two reads: 50,000 a second.
const INTERVAL: Duration = Duration::from_micros(20);

/// The reads of a window, of which ten are beyond the quantile.
const READS: u32 = 10_000;

/// The life of the tokens that expire: with a refresh at four fifths, each
/// window sees one or two.
const BRIEF: Duration = Duration::from_millis(150);

/// What the rest of the machine gets between two windows.
const PAUSE: Duration = Duration::from_millis(30);

/// The smallest difference in p99.9 that is called measurable, in
/// nanoseconds: below it, the clock and a missed cache line explain it.
const SMALLEST: f64 = 200.0;

struct Arm {
    name: &'static str,
    cache: Cache<Living>,
    purpose: Purpose,
    response: Histogram,
    call: Histogram,
    /// The p99.9 of each window that was not disturbed, from when it was due.
    response_p999: Vec<f64>,
    /// The p99.9 of each window, of the call alone.
    call_p999: Vec<f64>,
    windows: u32,
    /// Reads that had to wait within a window.
    waited: u64,
    /// Windows that a read ended without a token; they are left out.
    spoilt: u32,
}

/// What one window saw.
struct Window {
    response: Histogram,
    call: Histogram,
    waited: u64,
    /// Reads without a token: the machine took longer for the fetch than the
    /// token lives.
    failed: u64,
}

pub fn ask(is_quick: bool) -> Found {
    let rounds = if is_quick { 30 } else { 150 };
    let stage = Stage::new(1);
    for thread in stage.broker.worker_threads() {
        pin(rustix::thread::Pid::from_raw(*thread), 1);
    }
    let fetching = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(|| pin_to(1))
        .enable_all()
        .build()
        .expect("a runtime starts");
    let arm = |name, life, refresh| {
        let client = stage.client();
        let purpose = client.purpose().clone();
        Arm {
            name,
            cache: Cache::builder(Living(client, life))
                .policy(Policy {
                    refresh,
                    ..Policy::default()
                })
                .runtime(fetching.handle().clone())
                .build(),
            purpose,
            response: Histogram::default(),
            call: Histogram::default(),
            response_p999: Vec::new(),
            call_p999: Vec::new(),
            windows: 0,
            waited: 0,
            spoilt: 0,
        }
    };
    let ahead = Refresh::Ahead { at: 0.8 };
    let mut arms = [
        arm("no expiry", Duration::from_secs(36_000), ahead),
        arm("refreshed ahead", BRIEF, ahead),
        arm("refreshed at its end", BRIEF, Refresh::AtEnd),
    ];
    pin_to(0);
    let reading = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    let mut random = Random::new(3);
    for round in 0..=rounds {
        let mut turn: Vec<usize> = (0..arms.len()).collect();
        random.shuffle(&mut turn);
        for index in turn {
            let arm = &mut arms[index];
            thread::sleep(PAUSE);
            let switches = lost_processor();
            let seen = reading.block_on(window(arm, &stage));
            if round == 0 {
                continue;
            }
            if seen.failed > 0 {
                arm.spoilt += 1;
                continue;
            }
            let p999 = |histogram: &Histogram| {
                let found = histogram.quantile(0.999).unwrap_or_default();
                found.as_secs_f64() * 1e9
            };
            arm.windows += 1;
            arm.waited += seen.waited;
            arm.call_p999.push(p999(&seen.call));
            arm.call.add(&seen.call);
            if lost_processor() == switches {
                arm.response_p999.push(p999(&seen.response));
                arm.response.add(&seen.response);
            }
        }
    }
    report(&arms)
}

/// Reads on schedule for a window; what a read waits for delays the next ones,
/// and that counts.
async fn window(arm: &Arm, stage: &Stage) -> Window {
    let subject = &stage.subjects[0];
    // The token of the window before may be over.
    let _ = arm.cache.get(&arm.purpose, subject).await;
    let (mut response, mut call) = (Histogram::default(), Histogram::default());
    let waited = || {
        let metrics = arm.cache.metrics();
        metrics.misses + metrics.waits
    };
    let before = waited();
    let mut failed = 0;
    let begun = Instant::now();
    for read in 0..READS {
        let due = begun + INTERVAL * read;
        while Instant::now() < due {
            spin_loop();
        }
        let sent = Instant::now();
        let got = arm.cache.get(&arm.purpose, subject).await.is_ok();
        let ended = Instant::now();
        failed += u64::from(!got);
        call.record(ended - sent);
        response.record(ended - due);
    }
    Window {
        waited: waited() - before,
        response,
        call,
        failed,
    }
}

/// Returns how often this thread was taken off its processor against its will.
fn lost_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_default()
}

fn report(arms: &[Arm]) -> Found {
    let mut shown = Vec::new();
    for (what, of) in [
        ("from when it was due, in undisturbed windows", true),
        ("the call alone, in all windows", false),
    ] {
        println!("  {what}");
        println!(
            "  {:22} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "windows", "reads", "p50", "p99", "p99.9", "p99.99"
        );
        for arm in arms {
            let (histogram, windows) = if of {
                (&arm.response, arm.response_p999.len())
            } else {
                (&arm.call, arm.call_p999.len())
            };
            let at = |q: f64| {
                let found = histogram.quantile(q).unwrap_or_default();
                found.as_secs_f64() * 1e9
            };
            println!(
                "  {:22} {windows:8} {:9} {:>9} {:>9} {:>9} {:>9}",
                arm.name,
                histogram.count(),
                micros(at(0.5)),
                micros(at(0.99)),
                micros(at(0.999)),
                micros(at(0.9999)),
            );
            shown.push(json!({
                "arm": arm.name,
                "timed": what,
                "windows": windows,
                "windows_in_all": arm.windows,
                "reads": histogram.count(),
                "p50_ns": at(0.5),
                "p99_ns": at(0.99),
                "p999_ns": at(0.999),
                "p9999_ns": at(0.9999),
            }));
        }
    }
    let mut waits = Vec::new();
    for arm in arms {
        let replaced = arm.cache.metrics().fetches - 1;
        println!(
            "  {}: {replaced} times replaced, {} reads waited within a window, {} windows spoilt",
            arm.name, arm.waited, arm.spoilt
        );
        waits.push(json!({
            "arm": arm.name,
            "replaced": replaced,
            "waited": arm.waited,
            "windows_spoilt": arm.spoilt,
        }));
    }
    let [steady, ahead, at_end] = arms else {
        unreachable!("three arms were made");
    };
    let (due, due_goals) = compare(
        "ahead, from when it was due",
        &ahead.response_p999,
        &steady.response_p999,
    );
    let (call, call_goals) = compare("ahead, alone", &ahead.call_p999, &steady.call_p999);
    let (end, _) = compare(
        "at its end, from when it was due",
        &at_end.response_p999,
        &steady.response_p999,
    );
    Found {
        figures: json!({
            "reads_per_s": 50_000,
            "token_life_ns": u64::try_from(BRIEF.as_nanos()).unwrap_or(u64::MAX),
            "latencies": shown,
            "replacements": waits,
            "ahead_adds_to_p999_from_due": due,
            "ahead_adds_to_p999_alone": call,
            "at_end_adds_to_p999_from_due": end,
        }),
        goals: due_goals.and(call_goals),
    }
}

/// Compares the p99.9 of windows by the bounds of both medians.
fn compare(what: &str, with: &[f64], without: &[f64]) -> (Value, Goals) {
    let bounds = |values: &[f64]| {
        let mut sorted = values.to_vec();
        order::sort(&mut sorted);
        let median = order::quantile(&sorted, 0.5)?;
        // Half of the chance to each of the two medians.
        let (low, high) = order::median_bounds(&sorted, 0.0125)?;
        Some((median, low, high))
    };
    let (Some(with), Some(without)) = (bounds(with), bounds(without)) else {
        println!("  p99.9 of a window, {what}: too few undisturbed windows to say");
        return (Value::Null, Goals::Unjudged);
    };
    let (added, low, high) = (with.0 - without.0, with.1 - without.2, with.2 - without.1);
    let is_measurable = low > SMALLEST;
    println!(
        "  p99.9 of a window, {what}: {} added ({} … {}), {}",
        micros(added),
        micros(low),
        micros(high),
        if is_measurable {
            "measurable"
        } else {
            "not measurable"
        }
    );
    let value = json!({
        "added_ns": added,
        "lower_ns": low,
        "upper_ns": high,
        "is_measurable": is_measurable,
    });
    (value, Goals::met_if(!is_measurable))
}

fn micros(ns: f64) -> String {
    format!("{:.2} µs", ns / 1e3)
}
