//! The schedule, tried with arms that invent durations.

use std::sync::Arc;

use super::*;
use crate::bench::fake::{InventedArm, Machine};
use crate::bench::warm_up::{MOST_OPERATIONS, WARM_UP_BLOCKS};

fn schedule(seed: u64) -> Schedule {
    Schedule {
        looks: Looks::new(
            [2, 4, 8, 16].map(Duration::from_secs).to_vec(),
            0.01,
            crate::stats::paired::CHANNELS,
            1,
        ),
        limit: Duration::from_secs(20),
        tolerance: Tolerance::default(),
        precision: None,
        seed,
    }
}

const FIRST: Pair = Pair {
    baseline: 0,
    candidate: 1,
    by: None,
};

fn run(
    machine: &Arc<Machine>,
    arms: Vec<InventedArm>,
    pairs: &[Pair],
    schedule: &Schedule,
) -> Outcome {
    let mut arms: Vec<Box<dyn Arm>> = arms
        .into_iter()
        .map(|arm| Box::new(arm) as Box<dyn Arm>)
        .collect();
    compare(
        &mut arms,
        pairs,
        schedule,
        &machine.clock,
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap()
}

fn two(seed: u64, candidate: impl Fn(InventedArm) -> InventedArm, base_ns: f64) -> PairOutcome {
    let machine = Machine::new(seed);
    let arms = vec![
        InventedArm::new(&machine, 0, 555_000.0),
        candidate(InventedArm::new(&machine, 1, base_ns)),
    ];
    run(&machine, arms, &[FIRST], &schedule(seed))
        .pairs
        .remove(0)
}

#[test]
fn identical_arms_are_unchanged_three_hundred_times() {
    for seed in 0..300 {
        let outcome = two(seed, |arm| arm, 555_000.0);
        assert_eq!(outcome.verdict, Verdict::Unchanged, "seed {seed}");
    }
}

#[test]
fn a_three_percent_slowdown_is_found_within_eight_seconds() {
    for seed in 0..100 {
        let outcome = two(seed, |arm| arm, 1.03 * 555_000.0);
        assert_eq!(outcome.verdict, Verdict::Regressed, "seed {seed}");
        assert!(outcome.spent < Duration::from_millis(8_200));
        let floor = outcome.floor.unwrap();
        assert!((floor.change() - 0.03).abs() < 0.003, "{floor:?}");
    }
}

#[test]
fn a_rare_slowdown_is_found_within_eight_seconds() {
    let found = (0..100)
        .filter(|seed| {
            let outcome = two(*seed, |arm| arm.rarely_slow(0.02, 3.0), 555_000.0);
            outcome.verdict == Verdict::Regressed && outcome.spent < Duration::from_millis(8_200)
        })
        .count();
    assert!(found >= 95, "{found} of 100");
}

#[test]
fn quads_are_abba_or_baab_and_both_occur() {
    let machine = Machine::new(1);
    let arms = vec![
        InventedArm::new(&machine, 0, 555_000.0),
        InventedArm::new(&machine, 1, 555_000.0),
    ];
    let outcome = run(&machine, arms, &[FIRST], &schedule(1));
    let journal = machine.journal.lock();
    // Both arms are warmed up first.
    let quads: Vec<_> = journal[2 * (1 + 3 * WARM_UP_BLOCKS)..]
        .chunks(4)
        .map(<[usize]>::to_vec)
        .collect();
    assert_eq!(quads.len(), outcome.pairs[0].comparison.len());
    let abba = quads.iter().filter(|quad| **quad == [0, 1, 1, 0]).count();
    let baab = quads.iter().filter(|quad| **quad == [1, 0, 0, 1]).count();
    assert_eq!(abba + baab, quads.len());
    assert!(abba > quads.len() / 3 && baab > quads.len() / 3);
}

#[test]
fn the_same_seed_gives_the_same_order() {
    let order = |seed| {
        let machine = Machine::new(4);
        let arms = vec![
            InventedArm::new(&machine, 0, 555_000.0),
            InventedArm::new(&machine, 1, 555_000.0),
        ];
        run(&machine, arms, &[FIRST], &schedule(seed));
        let journal = machine.journal.lock();
        journal.clone()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn pairs_share_the_time_evenly_whatever_their_speed() {
    let machine = Machine::new(1);
    let arms = vec![
        InventedArm::new(&machine, 0, 555_000.0),
        InventedArm::new(&machine, 1, 231_000.0),
        InventedArm::new(&machine, 2, 2_200_000.0),
    ];
    let pairs = [
        FIRST,
        Pair {
            candidate: 2,
            ..FIRST
        },
    ];
    let mut schedule = schedule(1);
    schedule.precision = Some(Tolerance {
        floor: 0.0,
        mean: 0.0,
    });
    schedule.limit = Duration::from_secs(4);
    let outcome = run(&machine, arms, &pairs, &schedule);
    let spent: Vec<_> = outcome.pairs.iter().map(|pair| pair.spent).collect();
    assert!(
        spent[0].abs_diff(spent[1]) < Duration::from_millis(150),
        "{spent:?}"
    );
    let fast = outcome.pairs[0].floor.unwrap();
    assert!((fast.log_ratio - (231.0_f64 / 555.0).ln()).abs() < 0.005);
    let slow = outcome.pairs[1].floor.unwrap();
    assert!((slow.log_ratio - (2_200.0_f64 / 555.0).ln()).abs() < 0.005);
}

#[test]
fn a_settled_pair_leaves_its_time_to_the_others() {
    let machine = Machine::new(1);
    let arms = vec![
        InventedArm::new(&machine, 0, 555_000.0),
        InventedArm::new(&machine, 1, 231_000.0),
        InventedArm::new(&machine, 2, 1.01 * 555_000.0),
    ];
    let pairs = [
        FIRST,
        Pair {
            candidate: 2,
            ..FIRST
        },
    ];
    let mut schedule = schedule(1);
    schedule.limit = Duration::from_secs(12);
    let outcome = run(&machine, arms, &pairs, &schedule);
    assert_eq!(outcome.pairs[0].verdict, Verdict::Improved);
    assert!(outcome.pairs[0].spent < Duration::from_millis(2_200));
    // One percent is the tolerance itself: no amount of data decides.
    assert_eq!(outcome.pairs[1].verdict, Verdict::Inconclusive);
    assert!(outcome.pairs[1].spent > Duration::from_secs(9));
}

#[test]
fn fast_signatures_are_timed_several_at_once() {
    let machine = Machine::new(1);
    let arms = vec![
        InventedArm::new(&machine, 0, 10_000.0),
        InventedArm::new(&machine, 1, 20_000.0),
    ];
    let mut schedule = schedule(1);
    schedule.limit = Duration::from_secs(1);
    let outcome = run(&machine, arms, &[FIRST], &schedule);
    let tally = &outcome.tallies[0];
    assert!(tally.signatures() >= 40 * tally.operations());
    assert_eq!(outcome.operations, MOST_OPERATIONS);
}

#[test]
fn a_stop_ends_it_at_the_next_quad() {
    let machine = Machine::new(1);
    let mut arms: Vec<Box<dyn Arm>> = vec![
        Box::new(InventedArm::new(&machine, 0, 555_000.0)),
        Box::new(InventedArm::new(&machine, 1, 555_000.0)),
    ];
    let stop = AtomicBool::new(false);
    let mut quads = 0;
    let outcome = compare(
        &mut arms,
        &[FIRST],
        &schedule(1),
        &machine.clock,
        &stop,
        &mut |_| {
            quads += 1;
            stop.store(quads > 10, Ordering::Relaxed);
        },
    )
    .unwrap();
    assert!(outcome.is_stopped);
    assert_eq!(outcome.pairs[0].comparison.len(), 10);
}
