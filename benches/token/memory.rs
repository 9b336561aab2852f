//! The memory of a million subjects.

use std::time::{Duration, Instant};

use mintmark::assertion::Subject;
use mintmark::token::{Cache, Policy, Purpose};
use serde_json::json;

use crate::stage::{AtOnce, token};
use crate::{Found, Goals, counting};

const SUBJECTS: u64 = 1_000_000;
const GOAL_BYTES: u64 = 300;

pub fn ask() -> Found {
    let purpose = Purpose::of_app("app");
    let cache = Cache::builder(AtOnce)
        .policy(Policy {
            capacity: 2_000_000,
            ..Policy::default()
        })
        .build();
    let before = counting::in_use();
    let tokens: Vec<_> = (0..SUBJECTS)
        .map(|number| token(number, Duration::from_secs(36_000)))
        .collect();
    let tokens_bytes = counting::in_use() - before - SUBJECTS * 8;
    let (before, resident) = (counting::in_use(), resident_bytes());
    let begun = Instant::now();
    for (number, token) in (0..).zip(&tokens) {
        let subject = Subject::user((10_000_000_000_u64 + number).to_string());
        cache.put(&purpose, &subject, token.clone(), Duration::ZERO);
    }
    let elapsed = begun.elapsed();
    let bytes = (counting::in_use() - before) / SUBJECTS;
    let resident = resident_bytes().saturating_sub(resident) / SUBJECTS;
    let found = (0..SUBJECTS)
        .step_by(997)
        .filter(|number| {
            let subject = Subject::user((10_000_000_000 + number).to_string());
            cache.peek(&purpose, &subject).is_some()
        })
        .count();
    println!(
        "  {} subjects: {bytes} bytes each beside the token, {resident} resident; goal ≤ {GOAL_BYTES}",
        cache.len()
    );
    println!(
        "  a token of 32 characters takes {} bytes; {:.0} ns to add a subject",
        tokens_bytes / SUBJECTS,
        elapsed.as_secs_f64() * 1e9 / SUBJECTS as f64
    );
    Found {
        figures: json!({
            "subjects": cache.len(),
            "bytes_each": bytes,
            "resident_bytes_each": resident,
            "token_bytes": tokens_bytes / SUBJECTS,
            "add_ns": elapsed.as_secs_f64() * 1e9 / SUBJECTS as f64,
        }),
        goals: Goals::met_if(
            bytes <= GOAL_BYTES && resident <= GOAL_BYTES && found as u64 == SUBJECTS.div_ceil(997),
        ),
    }
}

/// Returns the memory of the process that is in use, as the kernel counts it.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default()
        * 1024
}
