//! How do workers call in a closed loop, and when do they stop?
//!
//! A run has three phases. Calls that begin during *warm-up* are not counted;
//! calls that begin during *measure* are, also if they end later; *drain*
//! waits for those. A run ends by itself: what has not ended when the drain
//! is over is given up and counted as abandoned.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::gettid;
use tokio::sync::watch;

use super::Caller;
use super::counters::Live;
use super::failures::logged;
use super::observe::Told;
use super::recorder::{Gathered, Recorder, as_ns};
use crate::clock::{process_cpu, thread_cpu};
use crate::record::host::threads_cpu;
use crate::record::{CpuTime, Latencies, Phases, Slice};

/// How often progress is told and the stop flag looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long a worker stays away from an endpoint that it cannot reach.
///
/// Without a pause, a closed loop against a dead endpoint measures how fast
/// connections are refused; much longer, and it would not notice its return.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(20);

/// The longest wait for the last calls of a run that somebody stopped: they
/// are sitting in front of it.
const STOPPED_DRAIN: Duration = Duration::from_secs(2);

/// A closed loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedPlan {
    /// Workers, each on a thread of its own.
    pub workers: usize,
    /// Time before calls are counted.
    pub warm_up: Duration,
    /// Time during which calls that begin are counted.
    pub measure: Duration,
    /// The longest wait for the last calls.
    pub drain: Duration,
    /// The length of a slice.
    pub slice: Duration,
    /// The pause of a worker between a call and the next. With one, the
    /// processor time of calls is read apart.
    pub think: Duration,
}

/// What a closed loop measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How the time was spent.
    pub phases: Phases,
    /// Calls that began within the measured phase, by outcome.
    pub outcomes: std::collections::BTreeMap<String, u64>,
    /// Assertions signed for them.
    pub assertions_signed: u64,
    /// Requests sent for them.
    pub requests_sent: u64,
    /// Calls that were given up when the drain ended.
    pub abandoned: u64,
    /// Their latencies.
    pub latencies: Latencies,
    /// Processor time during the measured phase.
    pub cpu: CpuTime,
    /// The measured phase in slices.
    pub slices: Vec<Slice>,
    /// Was the run stopped before its time?
    pub was_stopped: bool,
}

/// How far a loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Time since the beginning, warm-up included.
    pub elapsed: Duration,
    /// Warm-up and measure together.
    pub planned: Duration,
    /// Warm-up alone.
    pub warm_up: Duration,
    /// Requests that were due so far, warm-up included. In a closed loop a
    /// call is due when it is sent.
    pub due: u64,
    /// Those that were sent, or looked for a kept token.
    pub sent: u64,
    /// Those that got a token.
    pub answered: u64,
    /// Those that did not, or were given up unsent.
    pub failed: u64,
}

/// Runs a closed loop to its end, or until `stop` is set.
///
/// `make` makes the caller of a worker, on the worker's own thread, before
/// the loop begins. `helpers` are threads that work for the workers, such as
/// those of a mint, whose processor time is the client's; that of `broker`'s
/// threads is accounted for apart. `tell` hears of progress and of
/// whole slices.
///
/// # Errors
///
/// A thread, a runtime or a caller could not be made; no worker has called
/// then. A failing call is no error.
pub fn run_closed<C, E>(
    plan: &ClosedPlan,
    make: impl Fn(usize) -> Result<C, E> + Sync,
    OtherThreads { helpers, broker }: OtherThreads<'_>,
    stop: &AtomicBool,
    tell: impl FnMut(Told<'_>),
) -> Result<Measured, LoadError>
where
    C: Caller,
    E: std::error::Error + Send + Sync + 'static,
{
    let live: Vec<Live> = (0..plan.workers).map(|_| Live::default()).collect();
    let (signals, listening) = watch::channel(Signal::Wait);
    let (report, reports) = mpsc::channel();
    let (full, parts) = mpsc::channel();
    let mut tell = logged(tell);
    thread::scope(|scope| {
        // Owned in here: an early return drops it, at which every worker ends.
        let signals = signals;
        let mut workers = Vec::new();
        for (index, live) in live.iter().enumerate() {
            let (listening, report) = (listening.clone(), report.clone());
            let recorder = Recorder::new(index, plan.slice, full.clone());
            let make = &make;
            let worker = thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn_scoped(scope, move || {
                    work(plan, (live, recorder), || make(index), listening, &report)
                })
                .map_err(|source| LoadError::Thread {
                    workers: plan.workers,
                    source,
                })?;
            workers.push(worker);
        }
        // From here on the only senders are the workers' own: if one dies
        // before it reports, the loop below ends instead of waiting.
        drop((report, full));
        let mut tids = helpers.to_vec();
        let all = plan.workers + helpers.len();
        for ready in &reports {
            tids.push(ready?);
            if tids.len() == all {
                break;
            }
        }
        if tids.len() < all {
            return Err(LoadError::Panic);
        }
        let origin = Instant::now();
        let _ = signals.send(Signal::Start(origin));
        let threads = Threads {
            clients: &tids,
            helpers,
            broker,
        };
        let mut total = Gathered::new(plan.workers, plan.slice);
        let mut gather = |tell: &mut _| {
            for part in parts.try_iter() {
                total.take(part, tell);
            }
        };
        let watched = watch_over(plan, (&live, origin), threads, stop, &mut tell, &mut gather);
        let ended = Instant::now();
        let _ = signals.send(Signal::Finish);
        let drain = if watched.was_stopped {
            plan.drain.min(STOPPED_DRAIN)
        } else {
            plan.drain
        };
        while workers.iter().any(|worker| !worker.is_finished()) && ended.elapsed() < drain {
            gather(&mut tell);
            thread::sleep(Duration::from_millis(1));
        }
        let _ = signals.send(Signal::GiveUp);
        let mut abandoned = 0;
        let mut calls_cpu = Duration::ZERO;
        for worker in workers {
            let (calls, was_calling) = worker.join().map_err(|_| LoadError::Panic)?;
            calls_cpu += calls;
            abandoned += u64::from(was_calling);
        }
        gather(&mut tell);
        total.settle(&mut tell);
        let mut cpu = watched.cpu;
        if let Some(helpers_ns) = &mut cpu.calls_ns {
            *helpers_ns += as_ns(calls_cpu);
        }
        Ok(Measured {
            phases: Phases {
                warm_up_ns: as_ns(watched.warm_up),
                measured_ns: as_ns(watched.measured),
                drain_ns: as_ns(ended.elapsed()),
            },
            outcomes: total.outcomes,
            assertions_signed: total.latencies.signing.count(),
            requests_sent: total.latencies.exchange.count(),
            abandoned,
            latencies: total.latencies,
            cpu,
            slices: total.slices,
            was_stopped: watched.was_stopped,
        })
    })
}

/// Threads of this process besides the workers', by the kernel's numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtherThreads<'a> {
    /// Threads that work for the workers.
    pub helpers: &'a [i32],
    /// Threads of an embedded broker.
    pub broker: &'a [i32],
}

/// What the workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Not all are ready.
    Wait,
    /// Call from now on; this is the beginning of warm-up.
    Start(Instant),
    /// Begin no further call.
    Finish,
    /// Leave the call that has not ended.
    GiveUp,
}

/// Runs one worker on the calling thread.
///
/// Returns the processor time of calls, where that is read apart, and whether
/// a counted call was given up.
fn work<C, E>(
    plan: &ClosedPlan,
    (live, mut recorder): (&Live, Recorder),
    make: impl FnOnce() -> Result<C, E>,
    mut listening: watch::Receiver<Signal>,
    report: &mpsc::Sender<Result<i32, LoadError>>,
) -> (Duration, bool)
where
    C: Caller,
    E: std::error::Error + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LoadError::Runtime);
    let begun = runtime.and_then(|runtime| {
        // A client may want to be made within its runtime.
        let caller = {
            let _inside = runtime.enter();
            make().map_err(|error| LoadError::Caller(Box::new(error)))?
        };
        Ok((runtime, caller))
    });
    let (runtime, mut caller) = match begun {
        Ok(both) => both,
        Err(error) => {
            let _ = report.send(Err(error));
            return (Duration::ZERO, false);
        }
    };
    let _ = report.send(Ok(gettid().as_raw_nonzero().get()));
    let mut was_calling = false;
    runtime.block_on(async {
        let Some(origin) = start_of(&mut listening).await else {
            return;
        };
        let measured_from = origin + plan.warm_up;
        let mut given_up = listening.clone();
        while matches!(*listening.borrow(), Signal::Start(_)) {
            let cpu = (!plan.think.is_zero()).then(thread_cpu);
            live.is_due();
            live.is_sent();
            let begun = Instant::now();
            let Some(call) = unless_given_up(caller.call(), &mut given_up).await else {
                was_calling = begun >= measured_from;
                return;
            };
            let response = begun.elapsed();
            live.has_ended(&call.outcome);
            if let Some(since) = begun.checked_duration_since(measured_from)
                && since < plan.measure
            {
                recorder.record(since, response, &call);
                if let Some(before) = cpu {
                    recorder.calls_cpu += thread_cpu().saturating_sub(before);
                }
            }
            if !plan.think.is_zero() {
                tokio::time::sleep(plan.think).await;
            }
            if call.outcome.is_unreachable() {
                tokio::time::sleep(UNREACHABLE_PAUSE).await;
            }
        }
    });
    (recorder.finish(), was_calling)
}

/// Waits for the start; there is none if the run failed to begin, or was
/// over before this worker looked.
async fn start_of(listening: &mut watch::Receiver<Signal>) -> Option<Instant> {
    loop {
        match *listening.borrow_and_update() {
            Signal::Wait => {}
            Signal::Start(origin) => return Some(origin),
            Signal::Finish | Signal::GiveUp => return None,
        }
        listening.changed().await.ok()?;
    }
}

/// Awaits a call unless it is given up before it ends.
async fn unless_given_up<T>(
    call: impl Future<Output = T>,
    signals: &mut watch::Receiver<Signal>,
) -> Option<T> {
    tokio::select! {
        biased;
        ended = call => Some(ended),
        // A closed channel means the same as the signal.
        _ = signals.wait_for(|signal| *signal == Signal::GiveUp) => None,
    }
}

/// Threads whose processor time is read.
#[derive(Clone, Copy)]
struct Threads<'a> {
    /// The workers and their helpers.
    clients: &'a [i32],
    helpers: &'a [i32],
    broker: &'a [i32],
}

/// What the watching thread saw.
struct Watched {
    warm_up: Duration,
    measured: Duration,
    cpu: CpuTime,
    was_stopped: bool,
}

/// Lets the phases pass, tells progress and reads the processor clocks.
fn watch_over<T: FnMut(Told<'_>)>(
    plan: &ClosedPlan,
    (live, origin): (&[Live], Instant),
    threads: Threads<'_>,
    stop: &AtomicBool,
    tell: &mut T,
    gather: &mut impl FnMut(&mut T),
) -> Watched {
    let planned = plan.warm_up + plan.measure;
    let mut pass_until = |end: Duration| {
        loop {
            let elapsed = origin.elapsed();
            let phases = (plan.warm_up, plan.measure);
            tell(Told::Progress(Live::sum(&live.iter(), elapsed, phases)));
            gather(tell);
            if elapsed >= end || stop.load(Ordering::Relaxed) {
                return elapsed;
            }
            thread::sleep(TICK.min(end - elapsed));
        }
    };
    let read = || CpuTime {
        client_ns: as_ns(threads_cpu(threads.clients)),
        calls_ns: (!plan.think.is_zero()).then(|| as_ns(threads_cpu(threads.helpers))),
        broker_ns: (!threads.broker.is_empty()).then(|| as_ns(threads_cpu(threads.broker))),
        process_ns: as_ns(process_cpu()),
    };
    let warm_up = pass_until(plan.warm_up).min(plan.warm_up);
    let before = read();
    let elapsed = pass_until(planned);
    let after = read();
    let between = |after: Option<u64>, before: Option<u64>| {
        let (after, before) = after.zip(before)?;
        Some(after.saturating_sub(before))
    };
    Watched {
        warm_up,
        measured: elapsed.saturating_sub(warm_up).min(plan.measure),
        cpu: CpuTime {
            client_ns: after.client_ns.saturating_sub(before.client_ns),
            // Of the helpers alone; the workers know their own.
            calls_ns: between(after.calls_ns, before.calls_ns),
            broker_ns: between(after.broker_ns, before.broker_ns),
            process_ns: after.process_ns.saturating_sub(before.process_ns),
        },
        was_stopped: stop.load(Ordering::Relaxed),
    }
}

/// Why a load could not run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system gave no thread.
    #[error("cannot start {workers} workers, each on a thread of its own")]
    Thread {
        /// Workers that were asked for.
        workers: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A worker's runtime could not be made.
    #[error("cannot make the runtime of a worker")]
    Runtime(#[source] io::Error),
    /// A worker's caller could not be made.
    #[error("a worker cannot begin")]
    Caller(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A worker died, which is a defect of this program.
    #[error("a worker panicked; please report it with the scenario")]
    Panic,
}

#[cfg(test)]
mod tests;
