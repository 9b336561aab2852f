//! What follows from the blocks of a session?
//!
//! Tallies and outcomes become the figures, bounds, ranks and verdicts of the
//! record. It is arithmetic on what was measured and measures nothing.

use std::time::Duration;

use super::SigningKey;
use super::case::{Case, Question, cell_of, reference_of};
use super::prepare::Ready;
use super::probes;
use super::quads::{Outcome, PairOutcome, Schedule};
use super::quality::QualityFacts;
use super::rank::{Standing, ranks};
use super::record::{Bounded, CaseRecord, ComparisonRecord, KeyFacts, Latency, SpeedRatio};
use super::session::ALPHA;
use super::tally::Tally;
use crate::stats::Verdict;
use crate::stats::multiple::step_down;
use crate::stats::order::quantile_of;
use crate::stats::serial::lag1;

pub(super) fn case_records(
    ready: &[Ready],
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    reference: &str,
) -> Vec<CaseRecord> {
    let against_reference = |case: usize| -> Option<&PairOutcome> {
        asked
            .iter()
            .position(|(_, candidate, question)| {
                *candidate == case && *question == Question::Backend
            })
            .map(|at| &outcome.pairs[at])
    };
    let cases: Vec<Case> = ready.iter().map(|ready| ready.case.clone()).collect();
    (0..cases.len())
        .map(|at| {
            let cell = cell_of(&cases, at);
            let is_reference = reference_of(&cases, at, reference) == at;
            let standings: Vec<Standing> = cell
                .iter()
                .map(|case| match against_reference(*case) {
                    Some(pair) => Standing::from_channels(pair.floor, pair.mean),
                    None => Standing::baseline(),
                })
                .collect();
            let place = cell.iter().position(|case| *case == at).unwrap_or(0);
            let speed = against_reference(at).and_then(|pair| {
                Some(SpeedRatio {
                    floor: pair.floor?.into(),
                    mean: pair.mean?.into(),
                })
            });
            let rank = ranks(&standings)[place];
            CaseRecord {
                is_reference,
                rank,
                speed,
                ..case_record(&ready[at], &outcome.tallies[at])
            }
        })
        .collect()
}

/// Fills in what a case shows of itself; its standing is added later.
fn case_record(ready: &Ready, tally: &Tally) -> CaseRecord {
    let process_per_thread_cpu = tally.mean_process_cpu_ns() / tally.mean_cpu_ns().max(1e-9);
    let per_s = |ns: f64| if ns > 0.0 { 1e9 / ns } else { 0.0 };
    let spread = tally.cpu_floor_spread_ns().unwrap_or_default();
    let allocations = probes::allocations(&*ready.signer, &ready.messages);
    let ns = |time: Option<Duration>| time.map(whole_ns);
    CaseRecord {
        case: ready.case.clone(),
        is_reference: false,
        rank: 1,
        signatures: tally.signatures(),
        blocks: tally.blocks() as u64,
        per_core_per_s: per_s(tally.cpu_floor_ns().unwrap_or(0.0)),
        per_core_spread_per_s: (per_s(spread.1), per_s(spread.0)),
        mean_per_core_per_s: per_s(tally.mean_cpu_ns()),
        total_per_s: tally.threads() as f64 * per_s(tally.wall_floor_ns().unwrap_or(0.0)),
        achieved_per_s: tally.achieved_per_s(),
        utilisation: tally.utilisation(),
        process_per_thread_cpu,
        speed: None,
        latency: latency(tally),
        latency_histogram: tally.latency().clone(),
        rust_allocations: allocations.map(|(count, _)| count),
        rust_allocated_bytes: allocations.map(|(_, bytes)| bytes),
        cycles: probes::cycles(&*ready.signer, &ready.messages).ok(),
        load_ns: ns(ready.load_times.load),
        decrypt_and_load_ns: ns(ready.load_times.decrypt_and_load),
    }
}

pub(super) fn comparison_records(
    cases: &[Case],
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    schedule: &Schedule,
) -> Vec<ComparisonRecord> {
    let verdicts = stepped_down(outcome, asked, schedule);
    asked
        .iter()
        .zip(&outcome.pairs)
        .zip(verdicts)
        .map(|(((baseline, candidate, question), pair), verdict)| {
            ComparisonRecord {
                question: *question,
                baseline: *baseline,
                // The second arm of the null control is the same case.
                candidate: if *candidate < cases.len() {
                    *candidate
                } else {
                    *baseline
                },
                timed_by: pair.by,
                verdict,
                floor: pair.floor,
                mean: pair.mean,
                // Wall time of a signature on its thread, not of the pool: its
                // ratio is the efficiency of a thread.
                efficiency: (*question == Question::Threads)
                    .then(|| pair.floor.map(Bounded::from))
                    .flatten(),
                looks: pair.looks,
                spent_ns: whole_ns(pair.spent),
                lag1: lag1(pair.comparison.floor_log_ratios()),
                floor_log_ratios: pair.comparison.floor_log_ratios().to_vec(),
                mean_log_ratios: pair.comparison.mean_log_ratios(),
            }
        })
        .collect()
}

/// Decides what Bonferroni's bounds left open, where Holm's procedure can:
/// findings among the other pairs need no share of the error any more.
///
/// The null control is no member of the family; it is judged by its bounds.
fn stepped_down(
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    schedule: &Schedule,
) -> Vec<Verdict> {
    let members: Vec<usize> = (0..asked.len())
        .filter(|at| asked[*at].2 != Question::NullControl)
        .collect();
    let of_members = |at: &usize| &outcome.pairs[*at];
    let p_values: Vec<(f64, f64)> = members
        .iter()
        .map(|at| of_members(at).comparison.p_values(schedule.tolerance))
        .collect();
    let judged: Vec<Verdict> = members.iter().map(|at| of_members(at).verdict).collect();
    let decided = step_down(&judged, &p_values, schedule.looks.at().len(), ALPHA);
    let mut verdicts: Vec<Verdict> = outcome.pairs.iter().map(|pair| pair.verdict).collect();
    for (at, verdict) in members.into_iter().zip(decided) {
        verdicts[at] = verdict;
    }
    verdicts
}

fn latency(tally: &Tally) -> Latency {
    /// Signatures beyond a percentile that make it worth showing.
    const BEYOND: f64 = 20.0;
    let histogram = tally.latency();
    let ns = |time: Option<Duration>| time.map(whole_ns);
    let at = |quantile: f64| {
        let beyond = histogram.count() as f64 * (1.0 - quantile);
        ns(histogram.quantile(quantile).filter(|_| beyond >= BEYOND))
    };
    Latency {
        min_ns: ns(histogram.quantile(0.0)).unwrap_or(0),
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        max_ns: ns(histogram.max()).unwrap_or(0),
    }
}

/// Says why no case has a number of cycles, or `None` if they have.
pub(super) fn cycles_unavailable(ready: &Ready) -> Option<String> {
    probes::cycles(&*ready.signer, &ready.messages).err()
}

/// Adds what the tallies know to the facts about the machine's quiet.
pub(super) fn complete(quality: &mut QualityFacts, tallies: &[Tally], reference: usize) {
    let operations: u64 = tallies.iter().map(Tally::operations).sum();
    let weighted = |of: fn(&Tally) -> f64| {
        tallies
            .iter()
            .map(|tally| of(tally) * tally.operations() as f64)
            .sum::<f64>()
            / operations.max(1) as f64
    };
    quality.preempted_share = weighted(Tally::preempted_share);
    let utilisation = weighted(Tally::utilisation);
    quality.wall_per_cpu = if utilisation > 0.0 {
        1.0 / utilisation
    } else {
        0.0
    };
    quality.drift = tallies
        .get(reference)
        .and_then(|tally| drift(tally.cpu_floors_ns()));
}

/// Compares the last quarter of a series with the first.
fn drift(floors: &[f64]) -> Option<f64> {
    let quarter = floors.len() / 4;
    if quarter < 5 {
        return None;
    }
    let first = quantile_of(&mut floors[..quarter].to_vec(), 0.5)?;
    let last = quantile_of(&mut floors[floors.len() - quarter..].to_vec(), 0.5)?;
    Some(last / first)
}

/// Describes a key without its secrets.
pub(super) fn key_facts(key: &SigningKey) -> KeyFacts {
    use std::fmt::Write as _;
    let exponent = key.key.rsa_components().and_then(|parts| {
        let bytes = parts.public_exponent.as_bytes();
        let mut wide = [0; 8];
        let start = wide.len().checked_sub(bytes.len())?;
        wide[start..].copy_from_slice(bytes);
        Some(u64::from_be_bytes(wide))
    });
    KeyFacts {
        kind: key.key.kind(),
        bits: key.key.bits(),
        public_exponent: exponent,
        is_multi_prime: key.key.is_multi_prime(),
        container: key
            .sealed
            .as_ref()
            .map(|sealed| sealed.describe().to_string()),
        spki_sha256: key.key.public_key().map(|public| {
            public
                .fingerprint()
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
        }),
    }
}

pub(super) fn whole_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
