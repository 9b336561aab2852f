//! How is a load at a given rate begun, watched and ended?
//!
//! Threads send what is due (`super::lane`); this module starts them, hands
//! them their assertions, gathers their slices and ends the run on time.
//! Requests that are due during *warm-up* are sent and not counted; those of
//! *measure* are, however long they take; *drain* waits for them. What has not
//! ended then is counted as unfinished, so that every request is accounted for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::assertions::MintError;
use super::cached::Caching;
use super::collect::Collector;
use super::counters::Live;
use super::crew::{LaneParts, LaneResult, Numbered, Shared, Signal};
use super::failures::logged;
use super::measured::measured;
pub use super::measured::{account, merged};
use super::mint::Mint;
use super::observe::Told;
pub use super::open_plan::{Model, OpenPlan};
use super::pacer::now_ns;
use super::population::Population;
use super::prepare::{Prepared, RUN_UP, lanes_of, origin};
use super::recorder::as_ns;
pub use super::retry::Retries;
use super::supervise::Watch;
use super::tally::Tally;
use super::transport::ConnectorError;
use crate::record::{
    Accounts, Blame, CacheFacts, ConnectionFacts, CpuTime, GeneratorHealth, Latencies, OpenSlice,
    OutcomeStages, Phases, RetryFacts, SigningFacts,
};

/// The longest wait for the last requests of a run that somebody stopped.
const STOPPED_DRAIN: Duration = Duration::from_secs(2);

/// What a load measured.
#[derive(Clone, Debug)]
pub struct OpenMeasured {
    /// How the time was spent.
    pub phases: Phases,
    /// What became of every request.
    pub accounts: Accounts,
    /// The parts of the time of requests, by outcome.
    pub outcomes: Vec<OutcomeStages>,
    /// The measured phase in slices.
    pub slices: Vec<OpenSlice>,
    /// Whose fault the time was.
    pub blame: Blame,
    /// The time of which these are the shares, in nanoseconds.
    pub blamed_ns: u64,
    /// How much later than the plan wanted the schedule began and was noticed
    /// to have begun, in nanoseconds.
    pub began_late_ns: u64,
    /// What was opened on the way.
    pub opened: ConnectionFacts,
    /// How assertions came to be.
    pub signing: SigningFacts,
    /// What repeating failed requests came to, if they were to be repeated.
    pub retries: Option<RetryFacts>,
    /// What was found in the cache, if the load kept tokens.
    pub cache: Option<CacheFacts>,
    /// What the threads went through.
    pub health: GeneratorHealth,
    /// Latencies as every step has them.
    pub latencies: Latencies,
    /// Processor time during the measured phase.
    pub cpu: CpuTime,
    /// The rate that was asked for in the measured phase, per second.
    pub offered_per_s: f64,
    /// The rate at which requests were sent.
    pub sent_per_s: f64,
    /// Was the run stopped before its time?
    pub was_stopped: bool,
}

/// Runs a load to its end, or until `stop` is set.
///
/// `broker_tids` are threads of this process whose processor time is
/// accounted for apart. `tell` hears of progress and of whole slices.
///
/// # Errors
///
/// The load could not begin; no request was sent then. A failing request is
/// no error.
pub fn run_open(
    plan: &OpenPlan,
    url: &str,
    population: &Arc<Population>,
    broker_tids: &[i32],
    stop: &AtomicBool,
    tell: impl FnMut(Told<'_>),
) -> Result<OpenMeasured, OpenError> {
    let mut tell = logged(tell);
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let lanes = lanes_of(plan, threads);
    let caching = plan
        .cache
        .map(|cache| Arc::new(Caching::new(cache, population)));
    let ready = Prepared::new(plan, population, &lanes)?;
    let live: Vec<Arc<Live>> = (0..threads).map(|_| Arc::default()).collect();
    let (signals, listening) = watch::channel(Signal::Wait);
    let (report, reports) = mpsc::channel();
    let (full, shipped) = mpsc::channel();
    thread::scope(|scope| {
        // Owned in here: an early return drops it, at which every lane ends.
        let signals = signals;
        let mut running = Vec::new();
        let mut back = Vec::new();
        for (number, (source, starts)) in ready.sources.into_iter().zip(&lanes).enumerate() {
            let (give_back, spare) = mpsc::channel();
            back.push(give_back);
            let shared = Shared {
                plan,
                population,
                url,
                signals: listening.clone(),
                report: report.clone(),
            };
            let lane = LaneParts {
                number,
                threads,
                starts: starts.clone(),
                source,
                live: Arc::clone(&live[number]),
                caching: caching.clone(),
                tally: Tally::new(
                    plan.warm_up,
                    plan.slice,
                    Numbered::new(number, &full),
                    spare,
                ),
            };
            let thread = thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn_scoped(scope, move || lane.run(shared))
                .map_err(OpenError::Thread)?;
            running.push(thread);
        }
        drop((report, full, listening));
        let tids = all_ready(&reports, threads)?;
        let origin_ns = ready.origin_ns.max(origin(plan, RUN_UP));
        let _ = signals.send(Signal::Start(origin_ns));
        let mut collector = Collector::new(threads, as_ns(plan.slice));
        let mut gather = |tell: &mut _| {
            for (number, slice) in shipped.try_iter() {
                collector.take(slice, &back[number], tell);
            }
        };
        let mint_tids: Vec<i32> = ready.mint.iter().flat_map(Mint::tids).copied().collect();
        let watch = Watch {
            plan,
            origin_ns,
            live: &live,
            tids: &tids,
            mint_tids: &mint_tids,
            broker_tids,
            stop,
        };
        let is_finished = thread::ScopedJoinHandle::is_finished;
        // One that is done waits; one that panicked has ended.
        let lanes = || live.iter().zip(&running);
        let is_over = || lanes().all(|(live, lane)| live.is_done() || is_finished(lane));
        let mut watched = watch.pass(&mut tell, &mut gather, is_over);
        let ended_ns = now_ns();
        // Those that were done wait for it; nothing else is due by then.
        let _ = signals.send(Signal::Finish(ended_ns));
        let drain = if watched.was_stopped {
            plan.drain.min(STOPPED_DRAIN)
        } else {
            plan.drain
        };
        watch.drain(drain, &mut tell, &mut gather, || {
            running.iter().all(is_finished)
        });
        let _ = signals.send(Signal::GiveUp);
        let mut total = LaneResult::default();
        for lane in running {
            total.add(&lane.join().map_err(|_| OpenError::Panic)??);
            gather(&mut tell);
        }
        gather(&mut tell);
        collector.settle(&mut tell);
        watched.phases.drain_ns = now_ns() - ended_ns;
        drop(ready.mint);
        let put_off_ns = origin_ns - plan.begins_ns.unwrap_or(origin_ns);
        Ok(measured(plan, collector, &total, &watched, put_off_ns))
    })
}

/// Waits until every thread is ready, and returns their numbers.
fn all_ready(
    reports: &mpsc::Receiver<Result<i32, OpenError>>,
    threads: usize,
) -> Result<Vec<i32>, OpenError> {
    let tids = reports
        .iter()
        .take(threads)
        .collect::<Result<Vec<_>, _>>()?;
    if tids.len() < threads {
        return Err(OpenError::Panic);
    }
    Ok(tids)
}

/// Why a load could not run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system gave no thread.
    #[error("cannot start a thread of the load")]
    Thread(#[source] io::Error),
    /// A thread's runtime or timer could not be made.
    #[error("cannot make the runtime of a thread")]
    Runtime(#[source] io::Error),
    /// The endpoint cannot be connected to.
    #[error("the endpoint cannot be used")]
    Connector(#[from] ConnectorError),
    /// Nothing can be signed.
    #[error("nothing can be signed")]
    Mint(#[from] MintError),
    /// Pre-minting needs to know how much.
    #[error("a closed loop has no schedule to mint for, expected the signing mode inline or mint")]
    PremintedClosed,
    /// What was signed before the load outlives the key of its time.
    #[error("kept tokens go with the signing modes inline and mint only")]
    CacheNeedsFresh,
    /// A thread died, which is a defect of this program.
    #[error("a thread of the load panicked; please report it with the scenario")]
    Panic,
}
