//! Does a closed loop count what it should, and end when it should?

use std::convert::Infallible;

use super::*;
use crate::load::Call;
use crate::record::Outcome;

fn plan(workers: usize, measure_ms: u64) -> ClosedPlan {
    ClosedPlan {
        workers,
        warm_up: Duration::from_millis(20),
        measure: Duration::from_millis(measure_ms),
        drain: Duration::from_millis(200),
        slice: Duration::from_millis(50),
        think: Duration::ZERO,
    }
}

fn answered() -> Call {
    Call {
        outcome: Outcome::Answered,
        signing: None,
        exchange: Some(Duration::from_micros(1)),
    }
}

/// Answers after a pause.
struct Slow(Duration);

impl Caller for Slow {
    async fn call(&mut self) -> Call {
        tokio::time::sleep(self.0).await;
        answered()
    }
}

/// Never answers.
struct Dead;

impl Caller for Dead {
    async fn call(&mut self) -> Call {
        std::future::pending().await
    }
}

#[test]
fn every_call_is_counted_once_and_in_its_slice() {
    let make = |_| Ok::<_, Infallible>(Slow(Duration::from_millis(5)));
    let stop = AtomicBool::new(false);
    let mut last = None;
    let measured = run_closed(
        &plan(3, 150),
        make,
        OtherThreads::default(),
        &stop,
        |told| {
            if let Told::Progress(progress) = told {
                last = Some(progress);
            }
        },
    )
    .unwrap();
    let calls = measured.outcomes["answered"];
    assert!(calls > 0);
    assert_eq!(measured.latencies.response.count(), calls);
    assert_eq!(measured.requests_sent, calls);
    let in_slices: u64 = measured
        .slices
        .iter()
        .map(|slice| slice.outcomes["answered"])
        .sum();
    assert_eq!(in_slices, calls);
    // Warm-up calls show in the progress and are not counted.
    assert!(last.unwrap().answered > calls - 3);
    assert!(measured.latencies.response.quantile(0.0).unwrap() >= Duration::from_millis(5));
    assert_eq!(measured.abandoned, 0);
    assert!(!measured.was_stopped);
}

#[test]
fn pauses_between_calls_are_neither_latency_nor_processor_time() {
    let make = |_| Ok::<_, Infallible>(Slow(Duration::ZERO));
    let stop = AtomicBool::new(false);
    let mut plan = plan(2, 200);
    plan.think = Duration::from_millis(20);
    let measured = run_closed(&plan, make, OtherThreads::default(), &stop, |_| ()).unwrap();
    // Ten calls of each worker fit in, or fewer on a busy machine.
    assert!((1..=22).contains(&measured.outcomes["answered"]));
    let calls = measured.cpu.calls_ns.unwrap();
    assert!(calls > 0);
    assert!(calls <= measured.cpu.client_ns, "{calls}");
}

#[test]
fn calls_that_never_end_are_given_up_and_counted() {
    let make = |_| Ok::<_, Infallible>(Dead);
    let stop = AtomicBool::new(false);
    let mut plan = plan(4, 50);
    plan.warm_up = Duration::ZERO;
    let measured = run_closed(&plan, make, OtherThreads::default(), &stop, |_| ()).unwrap();
    assert_eq!(measured.abandoned, 4);
    assert!(measured.outcomes.is_empty());
}

#[test]
fn a_stop_ends_the_run_with_what_there_is() {
    let make = |_| Ok::<_, Infallible>(Slow(Duration::from_millis(1)));
    let stop = AtomicBool::new(false);
    let measured = run_closed(
        &plan(2, 60_000),
        make,
        OtherThreads::default(),
        &stop,
        |told| {
            if matches!(told, Told::Progress(progress) if progress.answered > 50) {
                stop.store(true, Ordering::Relaxed);
            }
        },
    )
    .unwrap();
    assert!(measured.was_stopped);
    assert!(measured.outcomes["answered"] > 0);
    assert!(measured.phases.measured_ns < 30_000_000_000);
}

#[test]
fn a_run_that_is_stopped_before_it_began_ends() {
    let make = |_| Ok::<_, Infallible>(Slow(Duration::from_millis(1)));
    let stop = AtomicBool::new(true);
    for _ in 0..50 {
        let measured = run_closed(
            &plan(4, 60_000),
            make,
            OtherThreads::default(),
            &stop,
            |_| (),
        )
        .unwrap();
        assert!(measured.was_stopped);
    }
}

#[test]
fn a_caller_that_cannot_be_made_is_an_error_before_the_first_call() {
    let make = |index| {
        if index == 1 {
            Err(io::Error::other("no key"))
        } else {
            Ok(Slow(Duration::from_millis(1)))
        }
    };
    let stop = AtomicBool::new(false);
    let error = run_closed(
        &plan(3, 1_000),
        make,
        OtherThreads::default(),
        &stop,
        |_| (),
    )
    .unwrap_err();
    assert!(matches!(error, LoadError::Caller(_)), "{error}");
}
