//! How does an agent carry its share, and those that it takes over?
//!
//! A share is a load on threads of its own, told by a [`Reporter`] under a
//! slot of its own. The agent begins with one; when another agent is lost and
//! its starts are given to others, a further load joins the schedule for each
//! part. All of them heed the same changes, and end on their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::FleetError;
use super::bus::Bus;
use super::handover::{connections_of, heir_name};
use super::message::{Begin, Dealing, Handover, Sender, Slice, Spec, Totals};
use super::preparing::Ready;
use super::reporter::{FromLoad, Reins, Reporter};
use super::schedule::{Schedule, share_of};
use crate::error::Chain;
use crate::load::observe::Told;
use crate::load::open::{OpenMeasured, OpenPlan, run_open};
use crate::load::pace::Pace;
use crate::load::verdict::judge;
use crate::record::Calibration;

/// How soon a signal to this process reaches its loads.
const RELAY: Duration = Duration::from_millis(50);

/// What an agent carries: its own share, and whatever it takes over.
pub(super) struct Carrier<'a> {
    pub bus: &'a Bus,
    pub spec: &'a Spec,
    pub ready: Ready,
    pub begin: Begin,
    /// When the schedule begins, on this machine's monotonic clock.
    pub begins_ns: u64,
    /// The agent under its own slot.
    pub of: Sender,
    /// How long what was measured is kept after the end.
    pub keep_for: Duration,
    /// Is set when this process has to end.
    pub stop: &'a AtomicBool,
}

type Part<'a> = Pin<Box<dyn Future<Output = Result<(), FleetError>> + 'a>>;

/// Ends a load when whoever started it is gone.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Carrier<'_> {
    /// Carries everything to its end; returns once the coordinator has a
    /// result.
    ///
    /// # Errors
    ///
    /// There was no result in time, or the fleet is at another run.
    pub async fn carry(&self) -> Result<(), FleetError> {
        let pace = Arc::new(Pace::default());
        let (hear, mut heard) = watch::channel(Vec::new());
        let reins = || Reins {
            stop: Arc::default(),
            pace: Arc::clone(&pace),
            begins_ns: self.begins_ns,
            handovers: hear.clone(),
        };
        let mut parts: FuturesUnordered<Part<'_>> = FuturesUnordered::new();
        parts.push(Box::pin(self.part(self.of.clone(), Vec::new(), reins())));
        let mut known = 0;
        loop {
            tokio::select! {
                ended = parts.next() => match ended {
                    Some(ended) => ended?,
                    None => return Ok(()),
                },
                _ = heard.changed() => {
                    let all: Vec<Handover> = heard.borrow_and_update().clone();
                    for upto in known..all.len() {
                        if let Some(slot) = all[upto].heir_of(self.of.slot) {
                            let of = Sender {
                                slot,
                                incarnation: heir_name(&self.of.incarnation, slot),
                                ..self.of.clone()
                            };
                            parts.push(Box::pin(self.part(of, all[..=upto].to_vec(), reins())));
                        }
                    }
                    known = all.len();
                }
            }
        }
    }

    /// Carries the share of one slot: the agent's own, or the last one that
    /// was handed over.
    async fn part(
        &self,
        of: Sender,
        handovers: Vec<Handover>,
        reins: Reins,
    ) -> Result<(), FleetError> {
        let (to_reporter, from_load) = unbounded_channel();
        let _stop_on_drop = StopOnDrop(Arc::clone(&reins.stop));
        let load = self.load_thread(of.slot, &handovers, reins.clone(), to_reporter)?;
        let reporter = Reporter::start(self.bus, of, reins.clone(), self.keep_for).await?;
        let told = tokio::select! {
            told = reporter.report(from_load) => told,
            () = self.relay(&reins.stop) => Ok(()),
        };
        reins.stop.store(true, Ordering::Relaxed);
        load.join().map_err(|_| FleetError::Panic)?;
        told
    }

    /// Tells a load for ever when this process has to end.
    async fn relay(&self, stop: &AtomicBool) {
        loop {
            tokio::time::sleep(RELAY).await;
            if self.stop.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Starts the thread of a load.
    fn load_thread(
        &self,
        slot: usize,
        handovers: &[Handover],
        reins: Reins,
        tell: UnboundedSender<FromLoad>,
    ) -> Result<thread::JoinHandle<()>, FleetError> {
        let engine = &self.ready.prepared.engine;
        let population = Arc::clone(&self.ready.prepared.population);
        let schedule = Schedule {
            population: Some(Arc::clone(&population)),
            ..Schedule::of(&self.ready.plan)?
        };
        let connections = connections_of(engine.connections, self.spec.agents, handovers, slot);
        let plan = OpenPlan {
            share: share_of(
                &self.begin,
                slot,
                handovers,
                schedule.seed,
                schedule.population.as_ref(),
            )
            .expect("the population is there"),
            begins_ns: Some(self.begins_ns),
            joins_ns: handovers
                .last()
                .map(|handover| self.begins_ns + handover.from_ns),
            pace: Some(Arc::clone(&reins.pace)),
            threads: engine.threads.min(connections),
            connections,
            ..engine.clone()
        };
        let begin = self.begin.clone();
        let url = self.ready.prepared.url().to_owned();
        let calibration = self.ready.calibration;
        let is_heir = !handovers.is_empty();
        thread::Builder::new()
            .name("agent-load".into())
            .spawn(move || {
                let measured = run_open(&plan, &url, &population, &[], &reins.stop, |told| {
                    // Without its reporter the agent has ended.
                    let _ = tell.send(match told {
                        Told::Progress(progress) => FromLoad::Progress(progress),
                        Told::Slice(passed) => FromLoad::Slice(Slice::of(&passed)),
                    });
                });
                let ended = match measured {
                    Ok(measured) => {
                        let mut totals = Totals {
                            planned: (begin.dealt == Dealing::BySubject)
                                .then(|| schedule.planned(&begin, &reins.pace.changes(), &[]))
                                .flatten(),
                            heard_late_ns: reins.pace.late_ns(),
                            changes_heard: reins.pace.changes().len(),
                            ..totals(measured, calibration)
                        };
                        if is_heir {
                            totals.leave_the_process_out();
                        }
                        Ok(totals)
                    }
                    Err(error) => Err(Chain(&error).to_string()),
                };
                let _ = tell.send(FromLoad::Ended(Box::new(ended)));
            })
            .map_err(FleetError::Thread)
    }
}

impl Totals {
    /// Leaves out what the agent says of its process under its own slot.
    fn leave_the_process_out(&mut self) {
        self.cpu.process_ns = 0;
        self.health.throttled = 0;
    }
}

/// Writes down what a load measured in the whole.
fn totals(measured: OpenMeasured, calibration: Option<Calibration>) -> Totals {
    Totals {
        soundness: judge(&measured, calibration.as_ref()),
        calibration,
        phases: measured.phases,
        scheduled: measured.accounts.scheduled,
        outcomes: measured.outcomes.iter().map(Into::into).collect(),
        blame: measured.blame,
        blamed_ns: measured.blamed_ns,
        sent_per_s: measured.sent_per_s,
        opened: measured.opened,
        signing: measured.signing,
        retries: measured.retries,
        cache: measured.cache,
        health: measured.health,
        cpu: measured.cpu,
        began_late_ns: measured.began_late_ns,
        was_stopped: measured.was_stopped,
        heard_late_ns: 0,
        changes_heard: 0,
        planned: None,
    }
}
