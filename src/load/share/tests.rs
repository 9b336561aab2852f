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
                    prop_assert_eq!(share.owner(start.index, start.due_ns), own);
                    union.push((start.index, start.due_ns));
                }
            }
        }
        union.sort_unstable();
        prop_assert_eq!(union, whole);
    }
}

/// Machines that are lost one after the other, each of them once, with their
/// starts in equal parts for those of the first four that are left.
fn losses() -> impl Strategy<Value = Vec<Handover>> {
    (
        Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        prop::collection::vec(0_u64..2_000_000_000, 1..4),
        any::<bool>(),
    )
        .prop_map(|(order, mut times, takes_heirs)| {
            times.sort_unstable();
            let mut handovers: Vec<Handover> = Vec::new();
            let mut next = 4;
            let mut heirs_of = std::collections::BTreeMap::<usize, Vec<usize>>::new();
            for (at, from_ns) in times.into_iter().enumerate() {
                let left = &order[at + 1..];
                // Whoever is lost is lost with what it took over.
                let parts = heirs_of.remove(&order[at]).unwrap_or_default();
                let parts = parts.into_iter().filter(|_| takes_heirs);
                for lost in std::iter::once(order[at]).chain(parts) {
                    let heirs = next..next + left.len();
                    next = heirs.end;
                    for (machine, heir) in left.iter().zip(heirs.clone()) {
                        heirs_of.entry(*machine).or_default().push(heir);
                    }
                    handovers.push(Handover {
                        lost,
                        from_ns,
                        heirs,
                    });
                }
            }
            handovers
        })
}

proptest! {
    #[test]
    fn what_lost_machines_leave_is_made_by_others_and_nothing_else_moves(
        arrival in arrivals(),
        dealt in dealt(),
        handovers in losses(),
        is_equal: bool,
        threads in 1_usize..3,
    ) {
        let weights = if is_equal { [1.0; 4] } else { [1.0, 0.5, 2.0, 1.5] };
        let machines = handovers.last().map_or(4, |last| last.heirs.end);
        let handovers: Arc<[Handover]> = handovers.into();
        let whole: Vec<_> = arrival.starts(0, 1).map(|start| (start.index, start.due_ns)).collect();
        let before = Share::new(0, &weights, dealt.clone());
        let mut union = Vec::new();
        for own in 0..machines {
            let share = before.clone().after(Arc::clone(&handovers), own);
            for start in of_machine(&arrival, &share, threads) {
                let first = before.owner(start.index, start.due_ns);
                if let Some(lost) = handovers.iter().find(|one| one.lost == own) {
                    prop_assert!(start.due_ns < lost.from_ns);
                }
                if own < 4 {
                    prop_assert_eq!(first, own, "nobody else's starts move");
                }
                union.push((start.index, start.due_ns));
            }
        }
        union.sort_unstable();
        prop_assert_eq!(union, whole);
    }
}

#[test]
fn heirs_share_alike_and_stay_poisson_or_even() {
    let length = Duration::from_secs(20);
    let lost = |heirs: Range<usize>, lost| Handover {
        lost,
        from_ns: 0,
        heirs,
    };
    // Machine 2 is lost to 0, 1 and 3; then 3 with what it took, to 0 and 1.
    let handovers: Arc<[Handover]> = [lost(4..7, 2), lost(7..9, 3), lost(9..11, 6)].into();
    let counts = |spacing, dealt: Dealt| -> Vec<Vec<Start>> {
        let arrival = drawn(Rate::constant(6_000.0, length), spacing);
        (0..11)
            .map(|own| {
                let share = Share::new(0, &[1.0; 4], dealt.clone());
                of_machine(&arrival, &share.after(Arc::clone(&handovers), own), 1)
            })
            .collect()
    };
    let even = counts(Spacing::Even, Dealt::InTurns);
    for (heirs, expected) in [(4..6, 10_000.0), (7..9, 15_000.0), (9..11, 5_000.0)] {
        for heir in heirs {
            let starts = &even[heir];
            assert!(
                (starts.len() as f64 - expected).abs() < 4.0,
                "{heir}: {}",
                starts.len()
            );
            let mut gaps: Vec<u64> = starts
                .windows(2)
                .map(|pair| pair[1].index - pair[0].index)
                .collect();
            gaps.sort_unstable();
            gaps.dedup();
            assert!(
                gaps.len() <= 3,
                "gaps of a turn are of three lengths: {gaps:?}"
            );
        }
    }
    for lost in [2, 3, 6] {
        assert!(even[lost].is_empty());
    }
    for (own, starts) in counts(Spacing::Poisson, Dealt::ByLot(3)).iter().enumerate() {
        if starts.is_empty() {
            continue;
        }
        let gaps: Moments = starts
            .windows(2)
            .map(|pair| (pair[1].due_ns - pair[0].due_ns) as f64)
            .collect();
        // The deviation of exponential gaps is their mean.
        let ratio = gaps.deviation() / gaps.mean();
        assert!(
            (ratio - 1.0).abs() < 5.0 / (starts.len() as f64).sqrt(),
            "{own}: {ratio}"
        );
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
        let owner = shares[0].owner(index, 0);
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
