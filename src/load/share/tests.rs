//! Do the shares of all machines make up the whole, and each the right part?

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::load::arrival::{Arrival, Rate, Spacing, Start};
use crate::load::population::fake;
use crate::stats::mean::Moments;

const LENGTH: Duration = Duration::from_secs(2);

fn drawn(rate: Rate, spacing: Spacing) -> Arrival {
    Arrival::Drawn {
        rate,
        spacing,
        seed: 11,
    }
}

fn arrivals() -> impl Strategy<Value = Arrival> {
    let rate = prop_oneof![
        (1.0_f64..900.0).prop_map(|per_s| Rate::constant(per_s, LENGTH)),
        (0.0_f64..500.0, 1.0_f64..500.0).prop_map(|(from, to)| Rate::ramp(from, to, LENGTH)),
        prop::collection::vec(0.0_f64..400.0, 1..5).prop_map(|per_s| Rate::steps(&per_s, LENGTH)),
        (0.0_f64..200.0, 1.0_f64..900.0).prop_map(|(base, peak)| {
            let (at, width) = (Duration::from_millis(700), Duration::from_millis(300));
            Rate::spike(base, peak, at, width, LENGTH)
        }),
    ];
    prop_oneof![
        (rate, any::<bool>()).prop_map(|(rate, is_even)| {
            drawn(
                rate,
                if is_even {
                    Spacing::Even
                } else {
                    Spacing::Poisson
                },
            )
        }),
        prop::collection::vec(0_u64..2_000_000_000, 0..600).prop_map(|mut times| {
            times.sort_unstable();
            Arrival::Trace(times.into())
        }),
    ]
}

fn dealt() -> impl Strategy<Value = Dealt> {
    prop_oneof![
        Just(Dealt::InTurns),
        any::<u64>().prop_map(Dealt::ByLot),
        (1_usize..30).prop_map(|subjects| {
            let members = vec![fake::member(subjects, 2.0), fake::member(3, 1.0)];
            Dealt::BySubject(Arc::new(Population::new(members, None, 5)))
        }),
    ]
}

fn of_machine(arrival: &Arrival, share: &Share, threads: usize) -> Vec<Start> {
    (0..threads)
        .flat_map(|thread| arrival.starts(thread, threads).of_share(share.clone()))
        .collect()
}

proptest! {
    #[test]
    fn the_union_over_machines_and_threads_is_the_whole_sequence(
        arrival in arrivals(),
        dealt in dealt(),
        weights in prop::collection::vec(0.1_f64..4.0, 1..9),
        is_equal: bool,
        threads in 1_usize..4,
        count in prop::option::of(0_u64..300),
    ) {
        let weights = if is_equal { vec![1.0; weights.len()] } else { weights };
        let limited = |starts: crate::load::arrival::Starts| match count {
            Some(count) => starts.limited(Duration::from_millis(300), count),
            None => starts,
        };
        let whole: Vec<_> = limited(arrival.starts(0, 1))
            .map(|start| (start.index, start.due_ns))
            .collect();
        let mut union = Vec::new();
        for own in 0..weights.len() {
            let share = Share::new(own, &weights, dealt.clone());
            for thread in 0..threads {
                let starts = limited(arrival.starts(thread, threads).of_share(share.clone()));
                for (at, start) in starts.enumerate() {
                    prop_assert_eq!(start.nth, at as u64);
                    prop_assert_eq!(share.owner(start.index), own);
                    union.push((start.index, start.due_ns));
                }
            }
        }
        union.sort_unstable();
        prop_assert_eq!(union, whole);
    }
}

#[test]
fn each_thinned_share_is_a_poisson_process_of_its_own_rate() {
    let arrival = drawn(
        Rate::constant(8_000.0, Duration::from_secs(5)),
        Spacing::Poisson,
    );
    let weights = [1.0, 1.0, 2.0];
    for (own, weight) in weights.into_iter().enumerate() {
        let share = Share::new(own, &weights, Dealt::ByLot(3));
        let starts = of_machine(&arrival, &share, 1);
        let gaps: Vec<f64> = starts
            .windows(2)
            .map(|pair| (pair[1].due_ns - pair[0].due_ns) as f64 / 1e9)
            .collect();
        let expected = 4.0 / (8_000.0 * weight);
        let moments: Moments = gaps.iter().copied().collect();
        assert!((moments.mean() / expected - 1.0).abs() < 0.03, "{own}");
        // Kolmogorov and Smirnov against the exponential distribution; 1.95
        // over the root of the number is exceeded by chance once in a thousand.
        let mut sorted = gaps;
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let distance = sorted
            .iter()
            .enumerate()
            .map(|(at, gap)| {
                let below = 1.0 - (-gap / expected).exp();
                (below - at as f64 / count)
                    .abs()
                    .max(((at + 1) as f64 / count - below).abs())
            })
            .fold(0.0, f64::max);
        assert!(distance < 1.95 / count.sqrt(), "{own}: {distance}");
        // Gaps that follow each other know nothing of each other.
        let later: Moments = starts
            .windows(3)
            .map(|three| {
                let gap = |pair: &[Start]| (pair[1].due_ns - pair[0].due_ns) as f64 / 1e9;
                (gap(&three[..2]) / expected - 1.0) * (gap(&three[1..]) / expected - 1.0)
            })
            .collect();
        assert!(later.mean().abs() < 4.0 / count.sqrt(), "{}", later.mean());
    }
}

#[test]
fn even_shares_beat_like_metronomes_and_weighted_ones_nearly() {
    let arrival = drawn(Rate::constant(1_000.0, LENGTH), Spacing::Even);
    let gaps = |share: &Share| {
        let starts = of_machine(&arrival, share, 1);
        let gaps = starts.windows(2).map(|pair| pair[1].index - pair[0].index);
        let mut distinct: Vec<_> = gaps.collect();
        let count = starts.len();
        distinct.sort_unstable();
        distinct.dedup();
        (count, distinct)
    };
    for own in 0..4 {
        let share = Share::new(own, &[1.0; 4], Dealt::InTurns);
        assert_eq!(gaps(&share), (500, vec![4]));
    }
    let (count, distinct) = gaps(&Share::new(1, &[1.0, 3.0], Dealt::InTurns));
    assert!(count.abs_diff(1_500) <= 3, "{count}");
    assert!(
        distinct.len() <= 3 && distinct.iter().all(|gap| *gap <= 3),
        "{distinct:?}"
    );
}

#[test]
fn no_two_machines_ask_for_the_same_subject() {
    let members = vec![fake::member(40, 1.0), fake::member(9, 2.0)];
    let population = Arc::new(Population::new(members, Some(1.0), 4));
    let shares: Vec<_> = (0..3)
        .map(|own| Share::new(own, &[1.0; 3], Dealt::BySubject(Arc::clone(&population))))
        .collect();
    let mut owners = std::collections::BTreeMap::new();
    for index in 0..5_000 {
        let (member, subject) = population.pick(index);
        let owner = shares[0].owner(index);
        let first = owners.entry((member, subject.id.clone())).or_insert(owner);
        assert_eq!(*first, owner);
    }
    assert!(owners.len() > 40);
}

#[test]
fn parts_add_up_and_nobody_is_left_without() {
    let parts: Vec<_> = (0..3).map(|own| part_of(64, own, 3)).collect();
    assert_eq!(parts, [22, 21, 21]);
    assert_eq!(part_of(1, 2, 3), 1);
}
