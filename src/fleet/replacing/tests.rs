//! Is it settled who makes which start, whoever is lost and when?

use proptest::prelude::*;

use super::*;
use crate::fleet::handover::{connections_of, shares_of};
use crate::fleet::message::{Begin, Dealing, PROTOCOL};
use crate::load::arrival::{Arrival, Rate, Spacing};
use crate::record::RateChange;

const SECOND: u64 = 1_000_000_000;

fn schedule(spacing: Spacing) -> Schedule {
    Schedule {
        arrival: Arrival::Drawn {
            rate: Rate::ramp(100.0, 300.0, Duration::from_secs(20)),
            spacing,
            seed: 5,
        },
        count: None,
        seed: 5,
        warm_up: Duration::from_millis(1_500),
        measure: Duration::from_secs(10),
        slice: Duration::from_secs(1),
        population: None,
    }
}

fn begin(dealt: Dealing) -> Begin {
    Begin {
        at_ns: 0,
        weights: vec![1.0; 4],
        dealt,
    }
}

fn control(changes: &[(u64, u64)]) -> Control {
    Control {
        protocol: PROTOCOL,
        stops: false,
        changes: changes
            .iter()
            .map(|(from_ns, factor_ppm)| RateChange {
                from_ns: *from_ns,
                factor_ppm: *factor_ppm,
            })
            .collect(),
        handovers: Vec::new(),
    }
}

#[test]
fn a_handover_lies_between_two_slices_and_behind_all_that_is_settled() {
    let schedule = schedule(Spacing::Even);
    let mut control = control(&[(6 * SECOND, 2_000_000)]);
    let elapsed = Duration::from_secs(3);
    assert!(control.hand_over(2, &[0, 1, 3], 4, elapsed, &schedule));
    // After the change at 6 s comes the border at 1.5 + 5 s.
    assert_eq!(
        control.handovers,
        [Handover {
            lost: 2,
            from_ns: 6_500_000_000,
            // Half a second at twice the speed.
            planned_ns: 7 * SECOND - 1,
            by: vec![0, 1, 3],
            first: 4,
        }]
    );
    assert!(control.hand_over(2, &[0, 1, 3], 4, elapsed, &schedule));
    assert_eq!(control.handovers.len(), 1, "it is given away once");
    assert!(control.hand_over(5, &[0, 3], 4, elapsed, &schedule));
    let second = &control.handovers[1];
    assert_eq!((second.first, second.from_ns), (7, 6_500_000_000));
    assert_eq!(second.heirs(), 7..9);
    assert_eq!(second.heir_of(3), Some(8));
    assert_eq!(second.heir_of(1), None);
    let agents: Vec<usize> = (0..9).map(|slot| control.agent_of(slot)).collect();
    assert_eq!(agents, [0, 1, 2, 3, 0, 1, 3, 0, 3]);
    // Warm-up has no slices, and behind the last border is nothing to give.
    assert!(control.hand_over(0, &[3], 4, Duration::from_secs(7), &schedule));
    assert_eq!(control.handovers[2].from_ns, 9_500_000_000);
    let late = Duration::from_millis(9_600);
    assert!(!control.hand_over(3, &[1], 4, late, &schedule));
    assert_eq!(control.handovers.len(), 3);
    assert_eq!(schedule.border_ns(700), 700);
}

#[test]
fn connections_and_shares_are_divided_as_the_starts_are() {
    let schedule = schedule(Spacing::Even);
    let mut control = control(&[]);
    assert!(control.hand_over(2, &[0, 1, 3], 4, Duration::ZERO, &schedule));
    assert!(control.hand_over(3, &[0, 1], 4, Duration::ZERO, &schedule));
    assert!(control.hand_over(6, &[0, 1], 4, Duration::ZERO, &schedule));
    let connections: Vec<usize> = (0..slots_of(4, &control.handovers))
        .map(|slot| connections_of(48, 4, &control.handovers, slot))
        .collect();
    assert_eq!(connections, [12, 12, 12, 12, 4, 4, 4, 6, 6, 2, 2]);
    let shares = shares_of(&[1.0, 1.0, 2.0, 4.0], &control.handovers);
    let expected = [
        1.0,
        1.0,
        2.0,
        4.0,
        2.0 / 3.0,
        2.0 / 3.0,
        2.0 / 3.0,
        2.0,
        2.0,
        1.0 / 3.0,
        1.0 / 3.0,
    ];
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share * 8.0 - expected).abs() < 1e-12, "{shares:?}");
    }
}

proptest! {
    #[test]
    fn no_start_is_planned_twice_or_left_out_and_none_on_the_wrong_side(
        is_even: bool,
        first_ns in 0..9 * SECOND,
        second_ns in 0..9 * SECOND,
        factor in prop_oneof![Just(0_u64), 1_u64..4_000_000],
        later in prop_oneof![Just(0_u64), 1_u64..4_000_000],
    ) {
        let (spacing, dealt) = if is_even {
            (Spacing::Even, Dealing::InTurns)
        } else {
            (Spacing::Poisson, Dealing::ByLot)
        };
        let (schedule, begin) = (schedule(spacing), begin(dealt));
        let mut control = control(&[(SECOND, 1_500_000)]);
        let elapsed = Duration::from_nanos(first_ns.min(second_ns));
        let is_given = control.hand_over(1, &[0, 2, 3], 4, elapsed, &schedule);
        // Whatever is told later takes effect later.
        control.changes.push(RateChange {
            from_ns: control.settled_ns().max(elapsed.as_nanos().try_into().unwrap()),
            factor_ppm: factor,
        });
        control.hand_over(2, &[0, 3], 4, Duration::from_nanos(first_ns.max(second_ns)), &schedule);
        control.changes.push(RateChange { from_ns: control.settled_ns(), factor_ppm: later });
        let planned = schedule.planned(&begin, &control.changes, &control.handovers).unwrap();
        let before = schedule.planned(&begin, &control.changes, &[]).unwrap();
        prop_assert_eq!(planned.iter().sum::<u64>(), before.iter().sum::<u64>());
        prop_assert_eq!(planned.len(), slots_of(4, &control.handovers));
        prop_assert_eq!((planned[0], planned[3]), (before[0], before[3]));
        if is_given {
            // What the lost one is left with is what was due before.
            let handover = &control.handovers[0];
            let mut warp = Warp::of(Some(Arc::new(Pace::of(control.changes.clone()))));
            for start in schedule.arrival.starts(0, 1) {
                let is_after = start.due_ns >= handover.planned_ns;
                prop_assert_eq!(is_after, warp.due_ns(start.due_ns) >= handover.from_ns);
            }
        }
    }
}
