//! How is a load at a given rate begun, watched and ended?
//!
//! Threads send what is due ([`super::lane`]); this module starts them, hands
//! them their assertions, gathers their slices and ends the run on time.
//! Requests that are due during *warm-up* are sent and not counted; those of
//! *measure* are, however long they take; *drain* waits for them. What has not
//! ended then is counted as unfinished, so that every request is accounted for.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::thread::gettid;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::Progress;
use super::arrival::{Arrival, Starts};
use super::assertions::{Mint, MintError, Mode, Source, Writer, premint};
use super::collect::Collector;
use super::health::{HealthWatch, ran};
use super::lane::{Lane, Queue, Work};
use super::pacer::{Pacer, now_ns};
use super::population::Population;
use super::recorder::{Live, as_ns};
use super::tally::{Journey, SliceTally, Sums, Tally};
use super::transport::hyper::{Hyper, SharedH2};
use super::transport::lean::Lean;
use super::transport::reqwest::Reqwest;
use super::transport::{
    AnyTransport, Connector, ConnectorError, Endpoint, Kind, Limits, Reading, Tls,
};
use crate::clock::process_cpu;
use crate::oauth::profile::Delivery;
use crate::record::{
    Accounts, Blame, CpuTime, GeneratorHealth, Histogram, Latencies, OpenSlice, OutcomeStages,
    Packed, Phases, SigningFacts,
};
use crate::token::{Exchange, ExchangeError};

/// How often progress is told and the stop flag looked at.
const TICK: Duration = Duration::from_millis(50);

/// The time between the last preparation and the first start.
const RUN_UP: Duration = Duration::from_millis(20);

/// The longest wait for the last requests of a run that somebody stopped.
const STOPPED_DRAIN: Duration = Duration::from_secs(2);

/// How much work a ring of signed assertions holds, in time. Less, and a
/// signing thread that is taken off its processor leaves requests without.
const RING: Duration = Duration::from_millis(50);

/// When requests start.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// On a schedule, whatever happens.
    Open(Arrival),
    /// When a connection is free, after a pause.
    Closed {
        /// The pause between an answer and the next request.
        think: Duration,
    },
}

/// When a failed request is repeated. A load test counts failures; repeating
/// them is part of what is simulated, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause; a server that asks for more ends the request.
    pub longest_pause: Duration,
    /// Is the server's `Retry-After` honoured?
    pub honours_retry_after: bool,
}

/// A load.
#[derive(Clone, Debug)]
pub struct OpenPlan {
    /// When requests start.
    pub model: Model,
    /// Threads that send.
    pub threads: usize,
    /// Connections, over all threads.
    pub connections: usize,
    /// Requests at once on a connection; more than one only with HTTP/2.
    pub streams: usize,
    /// Does a connection serve more than one request?
    pub is_kept: bool,
    /// The transport.
    pub transport: Kind,
    /// How TLS is spoken.
    pub tls: Tls,
    /// Is the host's address looked up for each connection?
    pub resolves_each_time: bool,
    /// A Unix socket in place of the URL's host.
    pub socket: Option<std::path::PathBuf>,
    /// The time-outs of the parts of a request.
    pub limits: Limits,
    /// The member of an answer that holds the token.
    pub token_field: String,
    /// Time before requests are counted.
    pub warm_up: Duration,
    /// Time during which requests that are due are counted.
    pub measure: Duration,
    /// The longest wait for the last requests.
    pub drain: Duration,
    /// The length of a slice.
    pub slice: Duration,
    /// Ends the load after so many counted requests.
    pub count: Option<u64>,
    /// Gives requests up that have been due for so long and are not sent.
    pub drop_after: Option<Duration>,
    /// Where assertions come from.
    pub signing: Mode,
    /// Threads that sign ahead.
    pub signing_threads: usize,
    /// When a failed request is repeated.
    pub retries: Option<Retries>,
}

impl OpenPlan {
    /// Makes a plan of a model with the defaults of everything else: one
    /// thread, 64 connections that are kept, the lean transport, a second of
    /// warm-up and ten of measuring.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self {
            model,
            threads: 1,
            connections: 64,
            streams: 1,
            is_kept: true,
            transport: Kind::Lean,
            tls: Tls::default(),
            resolves_each_time: false,
            socket: None,
            limits: Limits::each(Duration::from_secs(10)),
            token_field: "access_token".to_owned(),
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            slice: Duration::from_secs(1),
            count: None,
            drop_after: None,
            signing: Mode::Mint,
            signing_threads: 1,
            retries: None,
        }
    }
}

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
    /// How assertions came to be.
    pub signing: SigningFacts,
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

/// What all threads of a load share.
struct Shared<'a> {
    plan: &'a OpenPlan,
    population: &'a Arc<Population>,
    url: &'a str,
    signals: watch::Receiver<Signal>,
    report: mpsc::Sender<Result<i32, OpenError>>,
}

/// Runs a load to its end, or until `stop` is set.
///
/// `broker_tids` are threads of this process whose processor time is
/// accounted for apart. `tell` hears of progress.
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
    mut tell: impl FnMut(Progress),
) -> Result<OpenMeasured, OpenError> {
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let lanes = lanes_of(plan, threads);
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
        let mut tids = Vec::new();
        for told in reports.iter().take(threads) {
            tids.push(told?);
        }
        if tids.len() < threads {
            return Err(OpenError::Panic);
        }
        let origin_ns = ready.origin_ns.max(now_ns() + as_ns(RUN_UP));
        let _ = signals.send(Signal::Start(origin_ns));
        let mut collector = Collector::new(threads, as_ns(plan.slice));
        let gather = |collector: &mut Collector| {
            for (number, slice) in shipped.try_iter() {
                collector.take(slice, &back[number]);
            }
        };
        let mint_tids: Vec<i32> = ready.mint.iter().flat_map(Mint::tids).copied().collect();
        let mut watched = Watch {
            plan,
            origin_ns,
            live: &live,
            tids: &tids,
            mint_tids: &mint_tids,
            broker_tids,
            stop,
        }
        .pass(&mut tell, || gather(&mut collector));
        let ended_ns = now_ns();
        if watched.was_stopped {
            let _ = signals.send(Signal::Finish(ended_ns));
        }
        let drain = if watched.was_stopped {
            plan.drain.min(STOPPED_DRAIN)
        } else {
            plan.drain
        };
        while running.iter().any(|lane| !lane.is_finished()) && now_ns() - ended_ns < as_ns(drain) {
            gather(&mut collector);
            thread::sleep(Duration::from_millis(1));
        }
        let _ = signals.send(Signal::GiveUp);
        let mut total = LaneResult::default();
        for lane in running {
            total.add(&lane.join().map_err(|_| OpenError::Panic)??);
            gather(&mut collector);
        }
        gather(&mut collector);
        watched.phases.drain_ns = now_ns() - ended_ns;
        drop(ready.mint);
        Ok(measured(plan, collector, &total, watched))
    })
}

/// Deals the starts out to the threads.
fn lanes_of(plan: &OpenPlan, threads: usize) -> Vec<Starts> {
    let arrival = match &plan.model {
        Model::Open(arrival) => arrival.clone(),
        // Nobody asks it for the time; its numbers date assertions.
        Model::Closed { .. } => Arrival::endless(),
    };
    (0..threads)
        .map(|lane| {
            let starts = arrival.starts(lane, threads);
            match plan.count {
                Some(count) => starts.limited(plan.warm_up, count),
                None => starts,
            }
        })
        .collect()
}

/// Assertions, or those who will make them.
struct Prepared {
    sources: Vec<Source>,
    mint: Option<Mint>,
    origin_ns: u64,
}

impl Prepared {
    fn new(
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
        let soon = now_ns() + as_ns(RUN_UP);
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
                let origin_ns = now_ns() + as_ns(RING + RUN_UP);
                let (mint, sources) =
                    Mint::start(population, lanes, origin_ns, plan.signing_threads, depth)?;
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
                let origin_ns = now_ns() + premint_ns(population, lanes);
                Ok(Self {
                    sources: premint(population, lanes, origin_ns)?,
                    mint: None,
                    origin_ns,
                })
            }
        }
    }
}

/// Estimates how long pre-minting takes, from a few signatures.
fn premint_ns(population: &Population, lanes: &[Starts]) -> u64 {
    const SAMPLE: u64 = 8;
    let count: u64 = lanes.iter().map(|lane| lane.clone().count() as u64).sum();
    let Ok(mut writer) = Writer::new(population) else {
        return 0;
    };
    let spent: u64 = lanes[0]
        .clone()
        .take(usize::try_from(SAMPLE).unwrap_or_default())
        .map(|start| writer.write(&start, 0, population).signing_ns)
        .sum();
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    // Half as much again, since other threads may be busy.
    count * (spent / SAMPLE) * 3 / 2 / processors + as_ns(RUN_UP)
}

/// What a thread of a load is made of.
struct LaneParts {
    number: usize,
    threads: usize,
    starts: Starts,
    source: Source,
    live: Arc<Live>,
    tally: Tally,
}

/// What a thread hands over at its end, besides its slices.
#[derive(Clone, Default)]
struct LaneResult {
    sums: Sums,
    journey: Journey,
    signed: u64,
    under_runs: u64,
}

impl LaneResult {
    fn add(&mut self, other: &Self) {
        self.sums.add(other.sums);
        self.journey.add(&other.journey);
        self.signed += other.signed;
        self.under_runs += other.under_runs;
    }
}

impl LaneParts {
    fn run(self, shared: Shared<'_>) -> Result<LaneResult, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let begun = runtime.map_err(OpenError::Runtime).and_then(|runtime| {
            let _inside = runtime.enter();
            let pacer = Pacer::new().map_err(OpenError::Runtime)?;
            let transports = self.transports(&shared)?;
            let again = Writer::new(shared.population).map_err(MintError::from)?;
            drop(_inside);
            Ok((runtime, pacer, transports, again))
        });
        let (runtime, pacer, transports, again) = match begun {
            Ok(all) => all,
            Err(error) => {
                let _ = shared.report.send(Err(error));
                return Ok(LaneResult::default());
            }
        };
        let _ = shared.report.send(Ok(gettid().as_raw_nonzero().get()));
        drop(shared.report);
        let mut signals = shared.signals;
        let plan = shared.plan;
        let population = Arc::clone(shared.population);
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let Some(origin_ns) = start_of(&mut signals).await else {
                return Ok(LaneResult::default());
            };
            let ends_ns = as_ns(plan.warm_up + plan.measure);
            let (work, think) = match &plan.model {
                Model::Open(_) => (
                    Work::Scheduled(Box::new(self.starts.peekable())),
                    Duration::ZERO,
                ),
                Model::Closed { think } => (
                    Work::Closed {
                        next: self.number as u64,
                        step: self.threads as u64,
                    },
                    *think,
                ),
            };
            let lane = Rc::new(Lane {
                origin_ns,
                population,
                drop_after: plan.drop_after,
                think,
                retries: plan.retries,
                queue: Queue::new(work, ends_ns).into(),
                source: self.source.into(),
                again: again.into(),
                tally: self.tally.into(),
                live: self.live,
            });
            // A closed loop begins with the schedule as well.
            pacer
                .wait_until(origin_ns)
                .await
                .map_err(OpenError::Runtime)?;
            let mut slots = JoinSet::new();
            for transport in transports {
                let lane = Rc::clone(&lane);
                slots.spawn_local(async move { lane.serve(transport).await });
            }
            let pacing = Rc::clone(&lane);
            slots.spawn_local(async move {
                // Without its timer a lane sends when connections ask, late;
                // the lag shows.
                let _ = pacing.pace(&pacer).await;
            });
            let given_up = loop {
                tokio::select! {
                    biased;
                    ended = slots.join_next() => {
                        match ended {
                            None => break false,
                            Some(Err(error)) if error.is_panic() => return Err(OpenError::Panic),
                            Some(_) => {}
                        }
                    }
                    changed = signals.changed() => {
                        let signal = *signals.borrow_and_update();
                        match (changed, signal) {
                            (Ok(()), Signal::Finish(at_ns)) => lane.finish(at_ns),
                            (Ok(()), Signal::Wait | Signal::Start(_)) => {}
                            (Err(_), _) | (_, Signal::GiveUp) => break true,
                        }
                    }
                }
            };
            if given_up {
                slots.abort_all();
                while slots.join_next().await.is_some() {}
                // What was due and never noticed is accounted for as well.
                lane.release(now_ns());
            }
            let mut tally = lane.tally.borrow_mut();
            tally.finish();
            Ok(LaneResult {
                sums: tally.sums,
                journey: tally.journey.clone(),
                signed: tally.signed,
                under_runs: tally.under_runs,
            })
        })
    }

    /// Makes the transports of this thread: one for each request that may be
    /// under way.
    fn transports(&self, shared: &Shared<'_>) -> Result<Vec<AnyTransport>, OpenError> {
        let plan = shared.plan;
        let connections = (self.number..plan.connections.max(1))
            .step_by(self.threads)
            .count();
        let mut endpoint = Endpoint::of(shared.url)?;
        endpoint.socket.clone_from(&plan.socket);
        let protocols: &[&[u8]] = match plan.transport {
            Kind::HyperH2 => &[b"h2"],
            _ => &[b"http/1.1"],
        };
        let connector = Rc::new(Connector::new(
            endpoint,
            &plan.tls,
            protocols,
            plan.limits,
            plan.resolves_each_time,
        )?);
        let reading = Rc::new(Reading::of(&plan.token_field));
        let kept = plan.is_kept;
        let mut transports = Vec::new();
        let exchange = match plan.transport {
            Kind::Reqwest => {
                let [only] = shared.population.members() else {
                    return Err(OpenError::ReqwestApps);
                };
                if only.app.form().delivery() == Delivery::Bearer {
                    return Err(OpenError::ReqwestBearer);
                }
                let whole = plan.limits.first_byte + plan.limits.body;
                Some(Exchange::new(shared.url, only.app.form().clone(), whole)?)
            }
            _ => None,
        };
        for _ in 0..connections {
            let (connector, reading) = (Rc::clone(&connector), Rc::clone(&reading));
            match (plan.transport, &exchange) {
                (Kind::Hyper, _) => transports.push(AnyTransport::Hyper(Box::new(Hyper::h1(
                    connector, reading, kept,
                )))),
                (Kind::HyperH2, _) => {
                    let shared = SharedH2::default();
                    transports.extend((0..plan.streams.max(1)).map(|_| {
                        AnyTransport::Hyper(Box::new(Hyper::h2(
                            Rc::clone(&connector),
                            Rc::clone(&reading),
                            Rc::clone(&shared),
                        )))
                    }));
                }
                (Kind::Reqwest, Some(exchange)) => transports.push(AnyTransport::Reqwest(
                    Box::new(Reqwest::new(exchange.clone())),
                )),
                _ => transports.push(AnyTransport::Lean(Box::new(Lean::new(
                    connector, reading, kept,
                )))),
            }
        }
        Ok(transports)
    }
}

/// What the threads are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Not all are ready.
    Wait,
    /// The schedule begins at this time of the clock.
    Start(u64),
    /// Begin nothing more that is due then or later.
    Finish(u64),
    /// Leave what has not ended.
    GiveUp,
}

async fn start_of(signals: &mut watch::Receiver<Signal>) -> Option<u64> {
    loop {
        if let Signal::Start(origin_ns) = *signals.borrow_and_update() {
            return Some(origin_ns);
        }
        signals.changed().await.ok()?;
    }
}

/// A way for slices that tells from which thread they come.
pub(super) struct Numbered {
    number: usize,
    full: mpsc::Sender<(usize, Box<SliceTally>)>,
}

impl Numbered {
    pub fn new(number: usize, full: &mpsc::Sender<(usize, Box<SliceTally>)>) -> Self {
        Self {
            number,
            full: full.clone(),
        }
    }

    pub fn send(&self, slice: Box<SliceTally>) {
        // A collector that is gone has ended the run.
        let _ = self.full.send((self.number, slice));
    }
}

/// What is watched while the threads work.
struct Watch<'a> {
    plan: &'a OpenPlan,
    origin_ns: u64,
    live: &'a [Arc<Live>],
    tids: &'a [i32],
    mint_tids: &'a [i32],
    broker_tids: &'a [i32],
    stop: &'a AtomicBool,
}

/// What was seen meanwhile.
struct Watched {
    phases: Phases,
    cpu: CpuTime,
    health: GeneratorHealth,
    was_stopped: bool,
}

impl Watch<'_> {
    /// Lets warm-up and measuring pass.
    fn pass(self, tell: &mut impl FnMut(Progress), mut gather: impl FnMut()) -> Watched {
        let warm_up = self.plan.warm_up;
        let planned = warm_up + self.plan.measure;
        let mut pass_until = |end: Duration, mut health: Option<&mut HealthWatch>| loop {
            let elapsed = Duration::from_nanos(now_ns().saturating_sub(self.origin_ns));
            let sum = |counter: fn(&Live) -> u64| self.live.iter().map(|live| counter(live)).sum();
            let answered = sum(|live| live.answered.load(Ordering::Relaxed));
            let failed = sum(|live| live.failed.load(Ordering::Relaxed));
            tell(Progress {
                elapsed,
                planned,
                answered,
                failed,
            });
            gather();
            if let Some(health) = &mut health {
                health.look();
            }
            let is_counted_out = self
                .plan
                .count
                .is_some_and(|count| answered + failed >= count && health.is_some())
                && warm_up.is_zero();
            if elapsed >= end || self.stop.load(Ordering::Relaxed) || is_counted_out {
                return elapsed;
            }
            thread::sleep(TICK.min(end - elapsed));
        };
        let client: Vec<i32> = self.tids.iter().chain(self.mint_tids).copied().collect();
        let read = || {
            let broker = (!self.broker_tids.is_empty()).then(|| as_ns(ran(self.broker_tids)));
            (as_ns(ran(&client)), broker, as_ns(process_cpu()))
        };
        let warmed = pass_until(warm_up, None).min(warm_up);
        let before = read();
        let mut health = HealthWatch::start(self.tids);
        let elapsed = pass_until(planned, Some(&mut health));
        let after = read();
        Watched {
            phases: Phases {
                warm_up_ns: as_ns(warmed),
                measured_ns: as_ns(elapsed.saturating_sub(warmed).min(self.plan.measure)),
                drain_ns: 0,
            },
            cpu: CpuTime {
                client_ns: after.0.saturating_sub(before.0),
                broker_ns: after
                    .1
                    .zip(before.1)
                    .map(|(after, before)| after.saturating_sub(before)),
                process_ns: after.2.saturating_sub(before.2),
            },
            health: health.finish(),
            was_stopped: self.stop.load(Ordering::Relaxed),
        }
    }
}

fn measured(
    plan: &OpenPlan,
    collector: Collector,
    lanes: &LaneResult,
    watched: Watched,
) -> OpenMeasured {
    let (slices, totals, scheduled) = collector.finish();
    let mut accounts = Accounts {
        scheduled,
        ..Accounts::default()
    };
    let mut latencies = Latencies::default();
    let mut outcomes = Vec::new();
    for (name, sets) in &totals {
        let count = sets.response.count();
        let mut stages = sets.pack();
        latencies.signing.add(&sets.signing);
        match name.as_str() {
            "answered" => {
                accounts.answered += count;
                latencies.response.add(&sets.response);
                latencies.exchange.add(&sets.service);
                lanes.journey.pack_into(&mut stages);
            }
            "dropped" => accounts.dropped += count,
            _ => {
                accounts.failed += count;
                latencies.failed.add(&sets.response);
            }
        }
        outcomes.push(OutcomeStages {
            outcome: name.clone(),
            count,
            stages,
        });
    }
    let ended = accounts.answered + accounts.failed + accounts.dropped;
    accounts.unfinished = scheduled.saturating_sub(ended);
    let seconds = (watched.phases.measured_ns.max(1)) as f64 / 1e9;
    let offered_per_s = match &plan.model {
        Model::Open(_) => scheduled as f64 / seconds,
        Model::Closed { .. } => 0.0,
    };
    OpenMeasured {
        phases: watched.phases,
        accounts,
        outcomes,
        sent_per_s: sent_in_time(&slices, &totals, scheduled) / seconds,
        slices,
        blame: blame(lanes.sums),
        signing: SigningFacts {
            mode: match plan.signing {
                Mode::Inline => "inline",
                Mode::Mint => "mint",
                Mode::Preminted => "preminted",
                Mode::Repeat => "repeat",
            }
            .to_owned(),
            threads: if plan.signing == Mode::Mint {
                plan.signing_threads
            } else {
                0
            },
            signed: lanes.signed,
            under_runs: lanes.under_runs,
        },
        health: watched.health,
        latencies,
        cpu: watched.cpu,
        offered_per_s,
        was_stopped: watched.was_stopped,
    }
}

/// Counts the requests that were sent within the measured phase: all that
/// ended but those that had waited so long that they were sent after it.
///
/// The wait before sending is the response time less the service time; a
/// request of the last slice that waited for longer than half of it was,
/// on average, sent too late.
fn sent_in_time(
    slices: &[OpenSlice],
    totals: &std::collections::BTreeMap<String, super::tally::Sets>,
    scheduled: u64,
) -> f64 {
    let dropped = totals
        .get("dropped")
        .map_or(0, |sets| sets.response.count());
    let Some(last) = slices.last() else {
        return 0.0;
    };
    let late: u64 = last
        .outcomes
        .iter()
        .map(|of| {
            let waits = of.stages.connection_wait.open();
            waits.count_above(Duration::from_nanos(last.length_ns / 2))
        })
        .sum();
    (scheduled - dropped.min(scheduled)).saturating_sub(late) as f64
}

fn blame(sums: Sums) -> Blame {
    let whole = (sums.target + sums.connections + sums.signing + sums.generator).max(1) as f64;
    Blame {
        target: sums.target as f64 / whole,
        connections: sums.connections as f64 / whole,
        signing: sums.signing as f64 / whole,
        generator: sums.generator as f64 / whole,
    }
}

/// Merges packed histograms.
#[must_use]
pub fn merged<'a>(parts: impl Iterator<Item = &'a Packed>) -> Histogram {
    let mut sum = Histogram::new();
    for part in parts.filter(|part| !part.is_empty()) {
        sum.add(&part.open());
    }
    sum
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
    /// The endpoint cannot be called.
    #[error("the endpoint cannot be called")]
    Exchange(#[from] ExchangeError),
    /// Nothing can be signed.
    #[error("nothing can be signed")]
    Mint(#[from] MintError),
    /// Pre-minting needs to know how much.
    #[error("a closed loop has no schedule to mint for, expected the signing mode inline or mint")]
    PremintedClosed,
    /// One client serves one app.
    #[error("the transport reqwest serves one app, expected lean or hyper for several")]
    ReqwestApps,
    /// The token client sends forms.
    #[error("the transport reqwest sends forms, expected lean or hyper for a bearer")]
    ReqwestBearer,
    /// A thread died, which is a defect of this program.
    #[error("a thread of the load panicked; please report it with the scenario")]
    Panic,
}
