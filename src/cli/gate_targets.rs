//! `mintmark gate` of two endpoints under the load of a scenario.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::Failure;
use super::gate::{ALPHA, watch};
use crate::bench::quality::Counters;
use crate::clock::SystemClock;
use crate::gate::GateRecord;
use crate::gate::config::Config;
use crate::gate::targets::{Endpoints, LoadGate, Segments, compare as compare_targets};
use crate::scenario::Scenario;
use crate::units::Span;

/// The longest that an attempt takes: eight quads of segments of 20 s.
const MOST: Duration = Duration::from_secs(12 * 60);

/// Loads both endpoints and compares.
///
/// # Errors
///
/// The scenario cannot be used, or no look at the data fits into the time.
pub(super) fn compare(
    urls: [&str; 2],
    config: &Config,
    most: Option<Span>,
    seed: u64,
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> Result<GateRecord, Failure> {
    let path = config.scenario.as_deref().ok_or_else(|| {
        Failure::usage("two endpoints need a load, expected --scenario, or scenario = \"…\" in the configuration")
    })?;
    let scenario = Scenario::read(path).map_err(Failure::usage)?;
    let gate = LoadGate {
        scenario: scenario.name.clone(),
        tolerance: config.tolerance.unwrap_or_default(),
        objective: config.objective.or(scenario.objective),
        most: most.or(config.most).map_or(MOST, |span| span.0),
        alpha: ALPHA,
        seed,
    };
    let mut endpoints =
        Endpoints::set(&scenario, urls, stop, &mut |_| bar.tick()).map_err(Failure::usage)?;
    let (started, before) = (Instant::now(), Counters::now());
    let clock = SystemClock::new();
    let load = compare_targets(&mut endpoints, &gate, &clock, stop, &mut |watched| {
        watch(bar, watched);
    })
    .map_err(Failure::usage)?;
    let took = started.elapsed();
    Ok(GateRecord::of_load(
        [endpoints.baseline(), endpoints.candidate()],
        &gate,
        load,
        took,
        Counters::now().since(&before, took),
        stop.load(Ordering::Relaxed),
    ))
}
