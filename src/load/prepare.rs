//! What has to be there before the first request of a load is due?
//!
//! The starts are dealt out to the threads, and each thread gets a source of
//! assertions. Pre-minting takes time, so that the beginning of the load is
//! set only here.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::arrival::{Arrival, Starts};
use super::assertions::{MintError, Mode, Source};
use super::mint::{Mint, premint};
use super::open::OpenError;
use super::open_plan::{Model, OpenPlan};
use super::pace::Warp;
use super::pacer::now_ns;
use super::population::Population;
use super::recorder::as_ns;
use super::writer::Writer;

/// The time between the last preparation and the first start.
pub(super) const RUN_UP: Duration = Duration::from_millis(20);

/// How much work a ring of signed assertions holds, in time. Less, and a
/// signing thread that is taken off its processor leaves requests without.
const RING: Duration = Duration::from_millis(50);

/// Deals the starts out to the threads.
pub(super) fn lanes_of(plan: &OpenPlan, threads: usize) -> Vec<Starts> {
    let arrival = match &plan.model {
        Model::Open(arrival) => arrival.clone(),
        // Nobody asks it for the time; its numbers date assertions.
        Model::Closed { .. } => Arrival::endless(),
    };
    (0..threads)
        .map(|lane| {
            let starts = arrival.starts(lane, threads).of_share(plan.share.clone());
            match plan.count {
                Some(count) => starts.limited(plan.warm_up, count),
                None => starts,
            }
        })
        .collect()
}

/// Assertions, or those who will make them.
pub(super) struct Prepared {
    pub sources: Vec<Source>,
    pub mint: Option<Mint>,
    pub origin_ns: u64,
}

impl Prepared {
    /// Prepares the sources of all threads.
    ///
    /// # Errors
    ///
    /// Nothing can be signed, or there is no schedule to sign for.
    pub fn new(
        plan: &OpenPlan,
        population: &Arc<Population>,
        lanes: &[Starts],
    ) -> Result<Self, OpenError> {
        let per_lane = |make: fn(Writer, usize) -> Source| {
            lanes
                .iter()
                .map(|_| Ok(make(Writer::new(population)?, population.members().len())))
                .collect::<Result<Vec<_>, MintError>>()
        };
        if plan.cache.is_some() && !matches!(plan.signing, Mode::Inline | Mode::Mint) {
            return Err(OpenError::CacheNeedsFresh);
        }
        let soon = origin(plan, RUN_UP);
        match plan.signing {
            Mode::Inline => Ok(Self {
                sources: per_lane(|writer, _| Source::Inline(writer))?,
                mint: None,
                origin_ns: soon,
            }),
            Mode::Repeat => Ok(Self {
                sources: per_lane(|writer, members| Source::Repeat {
                    writer,
                    last: vec![None; members],
                })?,
                mint: None,
                origin_ns: soon,
            }),
            Mode::Mint => {
                let peak = match &plan.model {
                    Model::Open(arrival) => arrival.peak_per_s(),
                    Model::Closed { .. } => 10_000.0,
                };
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let depth =
                    (peak / lanes.len() as f64 * RING.as_secs_f64()).clamp(64.0, 8_192.0) as usize;
                // The rings fill while the connections are made ready.
                let origin_ns = origin(plan, RING + RUN_UP);
                let (mint, sources) = Mint::start(
                    population,
                    lanes,
                    origin_ns,
                    plan.signing_threads,
                    depth,
                    plan.cache,
                    &Warp::of(plan.pace.clone()),
                )?;
                Ok(Self {
                    sources,
                    mint: Some(mint),
                    origin_ns,
                })
            }
            Mode::Preminted => {
                if matches!(plan.model, Model::Closed { .. }) {
                    return Err(OpenError::PremintedClosed);
                }
                let origin_ns = origin(plan, premint_time(population, lanes));
                Ok(Self {
                    sources: premint(population, lanes, origin_ns)?,
                    mint: None,
                    origin_ns,
                })
            }
        }
    }
}

/// Returns when a schedule begins that cannot do so before `run_up` has passed;
/// one that has begun elsewhere keeps its beginning.
pub(super) fn origin(plan: &OpenPlan, run_up: Duration) -> u64 {
    let wanted = plan.begins_ns.unwrap_or_default();
    if plan.joins_ns.is_some() {
        return wanted;
    }
    wanted.max(now_ns() + as_ns(run_up))
}

/// Estimates how long pre-minting takes, from a few signatures.
fn premint_time(population: &Population, lanes: &[Starts]) -> Duration {
    const SAMPLE: u64 = 8;
    let count: u64 = lanes.iter().map(|lane| lane.clone().count() as u64).sum();
    let Ok(mut writer) = Writer::new(population) else {
        return Duration::ZERO;
    };
    let spent: u64 = lanes[0]
        .clone()
        .take(usize::try_from(SAMPLE).unwrap_or_default())
        .map(|start| writer.write(&start, 0, population).signing_ns)
        .sum();
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    // Half as much again, since other threads may be busy.
    Duration::from_nanos(count * (spent / SAMPLE) * 3 / 2 / processors) + RUN_UP
}
