//! What does it cost to remember every `jti` until it expires?

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::broker::replay::{DEFAULT_CAPACITY, ENTRY_BYTES, Presentation, ReplayCache};
use mintmark::clock::thread_cpu;

/// Assertions a second.
const RATE: u64 = 100_000;

/// How long each lives, in seconds.
const LIFE_S: u64 = 60;

/// What the wall clock shows at the beginning.
const NOW_S: u64 = 1_800_000_000;

/// The size of a page of memory on the machines that this runs on, in bytes.
const PAGE: u64 = 4096;

/// Every so many assertions one that was presented before is again.
const AGAIN: u64 = 10;

/// Says what a check costs and whether the cache stays exact and bounded.
pub fn measure(is_quick: bool) -> bool {
    let seconds = if is_quick { 70 } else { 130 };
    let mut is_good = true;
    for threads in [1, 2] {
        is_good &= run(seconds, threads);
    }
    is_good
}

/// Plays `seconds` of the rate, as fast as the threads go.
fn run(seconds: u64, threads: u64) -> bool {
    let before = resident_bytes();
    let cache = ReplayCache::new(DEFAULT_CAPACITY).expect("the system has random bytes");
    let (wrong, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let second = Barrier::new(usize::try_from(threads).unwrap_or(1));
    let begun = Instant::now();
    let cpu: Duration = thread::scope(|scope| {
        let players: Vec<_> = (0..threads)
            .map(|player| {
                let (cache, second, wrong, most) = (&cache, &second, &wrong, &most);
                scope.spawn(move || {
                    let players = (player, threads);
                    play(cache, seconds, players, second, (wrong, most))
                })
            })
            .collect();
        players
            .into_iter()
            .map(|player| player.join().expect("it does not panic"))
            .sum()
    });
    let wall = begun.elapsed();
    let checks = seconds * RATE + seconds * RATE / AGAIN;
    let (live, bytes) = (cache.len(), resident_bytes().saturating_sub(before));
    let per_entry = bytes as f64 / live as f64;
    let cpu_ns = cpu.as_nanos() as f64 / checks as f64;
    let wrong = wrong.into_inner();
    println!(
        "\nreplay cache, {threads} thread(s): {seconds} s of {RATE} assertions/s, life {LIFE_S} s"
    );
    println!("  {cpu_ns:.0} ns of processor time a check, the making of its jti included");
    println!(
        "  {:.2} million checks/s in all",
        checks as f64 / wall.as_secs_f64() / 1e6
    );
    println!("  longest single check {} us", most.into_inner() / 1000);
    println!("  {live} entries, {per_entry:.1} bytes of resident memory each");
    println!("  {wrong} wrong answers");
    // Sweeping lags by what one insertion removes at most.
    let bound = RATE * (LIFE_S + 2);
    let is_bounded = live as u64 <= bound && per_entry < 2.0 * ENTRY_BYTES as f64;
    println!("goal: no wrong answer, at most {bound} entries");
    wrong == 0 && is_bounded
}

fn play(
    cache: &ReplayCache,
    seconds: u64,
    (player, players): (u64, u64),
    new_second: &Barrier,
    (wrong, most): (&AtomicU64, &AtomicU64),
) -> Duration {
    let begun = thread_cpu();
    let mut longest = 0;
    for number in (player..seconds * RATE).step_by(usize::try_from(players).unwrap_or(1)) {
        let second = number / RATE;
        if number % RATE < players {
            // Nobody's clock runs ahead by more than a second.
            new_second.wait();
        }
        let (now, exp) = (NOW_S + second, NOW_S + second + LIFE_S);
        let jti = written(number);
        let jti = str::from_utf8(&jti).expect("letters are ASCII");
        let checked = Instant::now();
        let found = cache.present("client0a", jti, exp, now);
        longest = longest.max(checked.elapsed().as_nanos());
        if found != Presentation::New {
            wrong.fetch_add(1, Ordering::Relaxed);
        }
        if number % AGAIN == 0 {
            // One of the last minute, by the same player.
            let back = (number / AGAIN * 7919) % (RATE * (LIFE_S - 1));
            let back = back / players * players;
            let earlier = written(number.saturating_sub(back).max(player));
            let earlier = str::from_utf8(&earlier).expect("letters are ASCII");
            if cache.present("client0a", earlier, exp, now) != Presentation::Replayed {
                wrong.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    most.fetch_max(
        u64::try_from(longest).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    thread_cpu() - begun
}

/// Writes a number in sixteen letters.
fn written(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b'a' + u8::try_from(number >> (4 * at) & 15).unwrap_or(0))
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * PAGE
}
