//! Is the schedule of a changed rate one sequence, whoever computes it?

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::load::arrival::{Arrival, Rate, Spacing, Start};
use crate::load::share::{Dealt, Share};

const SECOND: u64 = 1_000_000_000;

fn change(from_ns: u64, factor_ppm: u64) -> RateChange {
    RateChange {
        from_ns,
        factor_ppm,
    }
}

fn warp(changes: Vec<RateChange>) -> Warp {
    Warp::of(Some(Arc::new(Pace::of(changes))))
}

/// Changes at ascending moments of ten seconds, pauses among them.
fn changes() -> impl Strategy<Value = Vec<RateChange>> {
    let factor = prop_oneof![1 => Just(0_u64), 4 => 1_u64..4_000_000];
    prop::collection::vec((0..10 * SECOND, factor), 0..6).prop_map(|mut changes| {
        changes.sort_unstable();
        changes
            .into_iter()
            .map(|(from_ns, factor_ppm)| change(from_ns, factor_ppm))
            .collect()
    })
}

fn schedule(spacing: Spacing) -> Arrival {
    Arrival::Drawn {
        rate: Rate::ramp(20.0, 80.0, Duration::from_secs(10)),
        spacing,
        seed: 11,
    }
}

/// Moves starts and keeps those that are due within ten seconds.
fn moved(starts: impl Iterator<Item = Start>, changes: &[RateChange]) -> Vec<(u64, u64)> {
    let mut warp = warp(changes.to_vec());
    starts
        .map(|start| (start.index, warp.due_ns(start.due_ns)))
        .filter(|(_, due_ns)| *due_ns < 10 * SECOND)
        .collect()
}

proptest! {
    #[test]
    fn the_moved_starts_of_all_agents_are_the_moved_whole(
        changes in changes(),
        agents in 1_usize..5,
        is_even: bool,
    ) {
        let (spacing, dealt) = if is_even {
            (Spacing::Even, Dealt::InTurns)
        } else {
            (Spacing::Poisson, Dealt::ByLot(11))
        };
        let arrival = schedule(spacing);
        let whole = moved(arrival.starts(0, 1), &changes);
        // A prefix of the same sequence, in the same order.
        let numbers: Vec<u64> = whole.iter().map(|(index, _)| *index).collect();
        prop_assert_eq!(numbers, (0..whole.len() as u64).collect::<Vec<_>>());
        prop_assert!(whole.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        let weights = vec![1.0; agents];
        let mut union: Vec<_> = (0..agents)
            .flat_map(|own| {
                let share = Share::new(own, &weights, dealt.clone());
                (0..2).flat_map(|lane| {
                    moved(arrival.starts(lane, 2).of_share(share.clone()), &changes)
                }).collect::<Vec<_>>()
            })
            .collect();
        union.sort_unstable();
        prop_assert_eq!(union, whole);
    }

    #[test]
    fn a_border_of_the_schedule_stays_where_it_is_whatever_changes_after_it(
        changes in changes(),
        later in 0_u64..3_000_000,
        after in 0..3 * SECOND,
    ) {
        let from_ns = changes.last().map_or(0, |last| last.from_ns) + after;
        let border = warp(changes.clone()).planned_from(from_ns);
        let mut known = warp(changes.clone());
        prop_assert!(known.due_ns(border) >= from_ns);
        prop_assert!(border == 0 || known.due_ns(border - 1) < from_ns);
        let mut all = changes;
        all.push(change(from_ns, later));
        let mut changed = warp(all);
        for start in schedule(Spacing::Poisson).starts(0, 1) {
            prop_assert_eq!(start.due_ns >= border, known.due_ns(start.due_ns) >= from_ns);
            prop_assert_eq!(start.due_ns >= border, changed.due_ns(start.due_ns) >= from_ns);
        }
    }

    #[test]
    fn a_change_moves_nothing_that_was_due_before_it(changes in changes(), later in 0_u64..3_000_000) {
        let planned: Vec<u64> = schedule(Spacing::Even).starts(0, 1).map(|start| start.due_ns).collect();
        let Some(last) = changes.last().copied() else { return Ok(()) };
        let pace = Arc::new(Pace::of(changes.clone()));
        let mut seen = Warp::of(Some(Arc::clone(&pace)));
        let before: Vec<u64> = planned.iter().map(|due| seen.due_ns(*due)).collect();
        let mut all = changes;
        let from_ns = last.from_ns + SECOND;
        all.push(change(from_ns, later));
        pace.hear(&all, from_ns + 5);
        prop_assert_eq!(pace.late_ns(), 5);
        pace.hear(&all, from_ns + 9);
        prop_assert_eq!(pace.late_ns(), 5, "it was heard of already");
        let mut fresh = warp(all);
        for (planned, before) in planned.iter().zip(before) {
            let due = seen.due_ns(*planned);
            prop_assert_eq!(due, fresh.due_ns(*planned), "who hears of it in the middle agrees");
            if before <= from_ns {
                prop_assert_eq!(due, before);
            } else {
                prop_assert!(due >= from_ns);
            }
        }
    }
}

#[test]
fn half_the_rate_makes_half_as_many_starts_and_a_pause_none() {
    let arrival = Arrival::Drawn {
        rate: Rate::constant(1_000.0, Duration::from_secs(10)),
        spacing: Spacing::Even,
        seed: 1,
    };
    let changes = [
        change(2 * SECOND, 500_000),
        change(4 * SECOND, 0),
        change(5 * SECOND, 2_000_000),
        change(6 * SECOND, 1_000_000),
    ];
    let starts = moved(arrival.starts(0, 1), &changes);
    let between = |from: u64, to: u64| {
        let within = |due: &u64| (from * SECOND + 1..=to * SECOND).contains(due);
        starts.iter().filter(|(_, due)| within(due)).count()
    };
    assert_eq!(between(0, 2), 2_000);
    assert_eq!(between(2, 4), 1_000);
    assert_eq!(between(4, 5), 0);
    assert_eq!(between(5, 6), 2_000);
    assert_eq!(between(6, 8), 2_000);
}

#[test]
fn without_changes_nothing_is_moved() {
    let mut fixed = Warp::of(None);
    let mut open = warp(Vec::new());
    assert!(!fixed.may_change() && open.may_change());
    for due in [0, 1, SECOND, u64::MAX] {
        assert_eq!(fixed.due_ns(due), due);
        assert_eq!(open.due_ns(due), due);
    }
    assert_eq!(warp(vec![change(5, 0)]).due_ns(6), NEVER);
}

#[test]
fn what_has_passed_of_the_schedule_is_the_inverse_of_when_it_is_due() {
    let mut warp = warp(vec![
        change(2 * SECOND, 500_000),
        change(4 * SECOND, 0),
        change(5 * SECOND, 2_000_000),
    ]);
    for (at, passed) in [(0, 0), (2, 2), (4, 3), (5, 3), (6, 5), (7, 7)] {
        let after = Duration::from_secs(at);
        assert_eq!(warp.passed(after), Duration::from_secs(passed), "{at}");
    }
    for planned_ns in [1, SECOND, 5 * SECOND / 2, 4 * SECOND] {
        let due = Duration::from_nanos(warp.due_ns(planned_ns));
        assert_eq!(warp.passed(due), Duration::from_nanos(planned_ns));
    }
}
