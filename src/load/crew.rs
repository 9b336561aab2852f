//! What does one thread of an open load do from its birth to its end?
//!
//! It makes its runtime, its timer and its transports, says that it is ready,
//! sends from the common beginning on, and hands over what it measured.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::gettid;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::arrival::Starts;
use super::assertions::{MintError, Source};
use super::cached::Caching;
use super::counters::Live;
use super::lane::{Lane, Queue, Work};
use super::open::OpenError;
use super::open_plan::{Model, OpenPlan};
use super::pace::Warp;
use super::pacer::{Pacer, now_ns};
use super::population::Population;
use super::recorder::as_ns;
use super::sets::{Journey, Sums};
use super::tally::{SliceTally, Tally};
use super::transport::hyper::{Hyper, SharedH2};
use super::transport::lean::Lean;
use super::transport::reqwest::Reqwest;
use super::transport::{AnyTransport, Connector, Endpoint, Kind, Reading};
use super::turn::Turn;
use super::writer::Writer;
use crate::record::RetryFacts;

/// What all threads of a load share.
pub(super) struct Shared<'a> {
    pub plan: &'a OpenPlan,
    pub population: &'a Arc<Population>,
    pub url: &'a str,
    pub signals: watch::Receiver<Signal>,
    pub report: mpsc::Sender<Result<i32, OpenError>>,
}

/// What a thread of a load is made of.
pub(super) struct LaneParts {
    pub number: usize,
    pub threads: usize,
    pub starts: Starts,
    pub source: Source,
    pub live: Arc<Live>,
    pub tally: Tally,
    pub caching: Option<Arc<Caching>>,
}

/// What a thread hands over at its end, besides its slices.
#[derive(Clone, Default)]
pub(super) struct LaneResult {
    pub sums: Sums,
    pub journey: Journey,
    pub signed: u64,
    pub under_runs: u64,
    pub retries: RetryFacts,
    pub ways: [u64; 3],
    /// How late the thread noticed that the schedule had begun.
    pub woke_late_ns: u64,
}

impl LaneResult {
    pub fn add(&mut self, other: &Self) {
        self.sums.add(other.sums);
        self.journey.add(&other.journey);
        self.signed += other.signed;
        self.under_runs += other.under_runs;
        self.retries.add(other.retries);
        for (own, other) in self.ways.iter_mut().zip(other.ways) {
            *own += other;
        }
        self.woke_late_ns = self.woke_late_ns.max(other.woke_late_ns);
    }
}

impl LaneParts {
    /// Runs the thread to its end.
    #[allow(clippy::too_many_lines)] // A life from birth to hand-over, in order.
    pub fn run(self, shared: Shared<'_>) -> Result<LaneResult, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let begun = runtime.map_err(OpenError::Runtime).and_then(|runtime| {
            // Timers and transports want to be made within their runtime.
            let inside = runtime.enter();
            let pacer = Pacer::new().map_err(OpenError::Runtime)?;
            let transports = self.transports(&shared)?;
            let again = Writer::new(shared.population).map_err(MintError::from)?;
            drop(inside);
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
        runtime.block_on(async move {
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
                        begun: 0,
                        left: plan.count.map_or(u64::MAX, |count| {
                            share_of(count, self.number as u64, self.threads as u64)
                        }),
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
                queue: Queue::new(work, ends_ns, Warp::of(plan.pace.clone())).into(),
                source: Turn::new(self.source),
                again: again.into(),
                tally: self.tally.into(),
                live: self.live,
                caching: self.caching,
            });
            // A closed loop begins with the schedule as well.
            let first_ns = origin_ns.max(plan.joins_ns.unwrap_or_default());
            pacer
                .wait_until(first_ns)
                .await
                .map_err(OpenError::Runtime)?;
            let woke_late_ns = now_ns().saturating_sub(first_ns);
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
            let result = {
                let mut tally = lane.tally.borrow_mut();
                tally.finish();
                LaneResult {
                    sums: tally.sums,
                    journey: tally.journey.clone(),
                    signed: tally.signed,
                    under_runs: tally.under_runs,
                    retries: tally.retries,
                    ways: tally.ways,
                    woke_late_ns,
                }
            };
            // Whoever watches reads what the kernel knows of this thread, which
            // it forgets when the thread ends.
            lane.live.set_done();
            let is_over = |signal: &Signal| matches!(signal, Signal::Finish(_) | Signal::GiveUp);
            let _ = signals.wait_for(is_over).await;
            Ok(result)
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
        endpoint.proxy.clone_from(&plan.proxy);
        let reading = Reading::of(&plan.token_field);
        let kept = plan.is_kept;
        if plan.transport == Kind::Reqwest {
            let client = Reqwest::new(
                &endpoint,
                &plan.tls,
                plan.limits,
                plan.resolves_each_time,
                kept,
                reading,
            )?;
            let one = || AnyTransport::Reqwest(Box::new(client.clone()));
            return Ok((0..connections).map(|_| one()).collect());
        }
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
        let mut transports = Vec::new();
        for _ in 0..connections {
            let (connector, reading) = (Rc::clone(&connector), reading.clone());
            match plan.transport {
                Kind::Hyper => transports.push(AnyTransport::Hyper(Box::new(Hyper::h1(
                    connector, reading, kept,
                )))),
                Kind::HyperH2 => {
                    let shared = SharedH2::default();
                    transports.extend((0..plan.streams.max(1)).map(|_| {
                        AnyTransport::Hyper(Box::new(Hyper::h2(
                            Rc::clone(&connector),
                            reading.clone(),
                            shared.clone(),
                        )))
                    }));
                }
                Kind::Lean | Kind::Reqwest => transports.push(AnyTransport::Lean(Box::new(
                    Lean::new(connector, reading, kept),
                ))),
            }
        }
        Ok(transports)
    }
}

/// What the threads are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Not all are ready.
    Wait,
    /// The schedule begins at this time of the clock.
    Start(u64),
    /// Begin nothing more that is due then or later.
    Finish(u64),
    /// Leave what has not ended.
    GiveUp,
}

/// Deals `count` out to `threads` in turn; returns what thread `number` gets.
fn share_of(count: u64, number: u64, threads: u64) -> u64 {
    count / threads + u64::from(number < count % threads)
}

/// Returns when the schedule begins; `None` if it was over before.
async fn start_of(signals: &mut watch::Receiver<Signal>) -> Option<u64> {
    loop {
        match *signals.borrow_and_update() {
            Signal::Start(origin_ns) => return Some(origin_ns),
            // Whoever is slow to look sees the last signal alone.
            Signal::Finish(_) | Signal::GiveUp => return None,
            Signal::Wait => {}
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
