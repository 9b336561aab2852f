//! Do starts lie where rate, spacing and seed say?

use proptest::prelude::*;

use super::*;
use crate::stats::mean::Moments;

fn drawn(rate: Rate, spacing: Spacing) -> Arrival {
    Arrival::Drawn {
        rate,
        spacing,
        seed: 7,
    }
}

fn dues(arrival: &Arrival) -> Vec<u64> {
    arrival.starts(0, 1).map(|start| start.due_ns).collect()
}

#[test]
fn even_starts_beat_like_a_metronome() {
    let dues = dues(&drawn(
        Rate::constant(1_000.0, Duration::from_secs(2)),
        Spacing::Even,
    ));
    assert_eq!(dues.len(), 2_000);
    assert_eq!(dues[0], 0);
    assert!(dues.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
}

#[test]
fn a_ramp_has_as_many_starts_as_its_area_and_grows_denser() {
    let rate = Rate::ramp(0.0, 2_000.0, Duration::from_secs(10));
    let dues = dues(&drawn(rate, Spacing::Even));
    assert_eq!(dues.len(), 10_000);
    // Half of the area of a triangle lies within 1 / sqrt(2) of its base.
    let half = dues[5_000] as f64 / 1e9;
    assert!((half - 10.0 / 2.0_f64.sqrt()).abs() < 1e-6, "{half}");
}

#[test]
fn a_spike_and_steps_change_the_rate_where_they_say() {
    let spike = Rate::spike(
        100.0,
        1_000.0,
        Duration::from_secs(2),
        Duration::from_secs(1),
        Duration::from_secs(5),
    );
    let starts = dues(&drawn(spike, Spacing::Even));
    let within = |from: u64, to: u64| {
        starts
            .iter()
            .filter(|due| (from * 1_000_000_000..to * 1_000_000_000).contains(*due))
            .count()
    };
    assert_eq!(
        (within(0, 2), within(2, 3), within(3, 5)),
        (200, 1_000, 200)
    );
    let steps = Rate::steps(&[10.0, 20.0, 40.0], Duration::from_secs(3));
    assert_eq!(dues(&drawn(steps, Spacing::Even)).len(), 70);
}

#[test]
fn poisson_gaps_are_exponential_and_repeat_with_the_seed() {
    let arrival = drawn(
        Rate::constant(1_000.0, Duration::from_secs(50)),
        Spacing::Poisson,
    );
    let starts = dues(&arrival);
    assert_eq!(starts, dues(&arrival));
    let gaps: Moments = starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1e6)
        .collect();
    // Mean and deviation of an exponential gap are equal; the errors of
    // 50,000 of them are below half a percent.
    assert!((gaps.mean() - 1.0).abs() < 0.02, "{gaps:?}");
    assert!((gaps.deviation() - 1.0).abs() < 0.02, "{gaps:?}");
    // The number per 100 ms has a variance equal to its mean of 100.
    let mut counts = vec![0.0; 500];
    for due in &starts {
        counts[usize::try_from(due / 100_000_000).unwrap()] += 1.0;
    }
    let counts: Moments = counts.into_iter().collect();
    let dispersion = counts.deviation().powi(2) / counts.mean();
    assert!((0.75..1.25).contains(&dispersion), "{dispersion}");
}

#[test]
fn a_trace_is_replayed_as_it_was_recorded() {
    let arrival = Arrival::Trace(Arc::from([0, 5, 5, 90]));
    let own: Vec<_> = arrival.starts(1, 2).collect();
    assert_eq!(
        own,
        [
            Start {
                index: 1,
                nth: 0,
                due_ns: 5
            },
            Start {
                index: 3,
                nth: 1,
                due_ns: 90
            }
        ]
    );
}

#[test]
fn warm_up_runs_at_the_first_rate() {
    let rate =
        Rate::ramp(100.0, 300.0, Duration::from_secs(1)).after_warm_up(Duration::from_secs(2));
    assert!((rate.starts_between(Duration::ZERO, Duration::from_secs(2)) - 200.0).abs() < 1e-9);
    assert!((rate.starts_between(Duration::from_secs(2), rate.length()) - 200.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn threads_share_the_sequence_without_gap_or_overlap(
        from in 0.0_f64..500.0, to in 1.0_f64..500.0, threads in 1_usize..5, even: bool,
    ) {
        let spacing = if even { Spacing::Even } else { Spacing::Poisson };
        let arrival = drawn(Rate::ramp(from, to, Duration::from_secs(2)), spacing);
        let plain = |start: Start| Start { nth: 0, ..start };
        let whole: Vec<_> = arrival.starts(0, 1).map(plain).collect();
        let mut merged: Vec<_> = (0..threads)
            .flat_map(|own| arrival.starts(own, threads).map(plain))
            .collect();
        merged.sort_by_key(|start| start.index);
        prop_assert_eq!(&whole, &merged);
        prop_assert!(whole.windows(2).all(|pair| pair[0].due_ns <= pair[1].due_ns));
        prop_assert!(whole.iter().all(|start| start.due_ns <= 2_000_000_000));
    }
}
