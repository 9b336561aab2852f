//! How does an agent tell what its load measures, while it measures?
//!
//! One loop: slices come in, messages go out until each is acknowledged, beats
//! are sent, and what the coordinator has laid down is looked up. The load is
//! on threads of its own and hears of none of it but a stop. After its end an
//! agent keeps everything until the coordinator says that it has a result, and
//! publishes again what is missing there.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use super::FleetError;
use super::bus::Bus;
use super::key;
use super::message::{Beat, Control, Done, End, Leader, Sender, Slice, State, Told, Totals, Want};
use super::spool::{Message, Spool};
use crate::load::Progress;

/// How often an agent shows that it is alive, and looks up what has changed.
const BEAT: Duration = Duration::from_millis(500);

/// The pause before a message is published again that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(250);

/// Slices that gather while nothing can be sent: ten minutes of seconds.
const MOST_GATHERED: usize = 600;

/// What a load says to its reporter.
#[derive(Debug)]
pub enum FromLoad {
    /// How far it has come.
    Progress(Progress),
    /// A slice has passed.
    Slice(Slice),
    /// It is over, for a reason if it failed.
    Ended(Box<Result<Totals, String>>),
}

/// Tells what one agent measures.
pub struct Reporter<'a> {
    bus: &'a Bus,
    of: Sender,
    spool: Spool,
    stop: &'a AtomicBool,
    keep_for: Duration,
    beat: Beat,
}

type Publishing<'a> = Pin<Box<dyn Future<Output = (u64, u64)> + 'a>>;

impl<'a> Reporter<'a> {
    /// Makes a reporter. The load's `stop` is set when the coordinator wants
    /// it; what was measured is kept for `keep_for` after the end.
    pub fn new(bus: &'a Bus, of: Sender, stop: &'a AtomicBool, keep_for: Duration) -> Self {
        Self {
            bus,
            spool: Spool::new(of.clone(), MOST_GATHERED),
            stop,
            keep_for,
            beat: Beat {
                run: of.run.clone(),
                slot: of.slot,
                incarnation: of.incarnation.clone(),
                state: State::Running,
                elapsed_ns: 0,
                answered: 0,
                failed: 0,
                waiting: 0,
            },
            of,
        }
    }

    /// Tells all that comes from the load, and returns once the coordinator
    /// has a result.
    ///
    /// # Errors
    ///
    /// The coordinator did not come to a result in time, or leads another run.
    pub async fn report(mut self, mut from: UnboundedReceiver<FromLoad>) -> Result<(), FleetError> {
        let bus = self.bus;
        let mut publishing: FuturesUnordered<Publishing<'a>> = FuturesUnordered::new();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hints = bus.listen("hint", &self.of.run).await?;
        let mut ended: Option<Box<Result<Totals, String>>> = None;
        let mut is_load_gone = false;
        while !(ended.is_some() && self.spool.is_told()) {
            while let Some(message) = self.spool.next() {
                publishing.push(self.publishing(message));
            }
            tokio::select! {
                told = from.recv(), if !is_load_gone => match told {
                    Some(FromLoad::Slice(slice)) => self.spool.keep(slice)?,
                    Some(FromLoad::Progress(progress)) => self.note(progress),
                    Some(FromLoad::Ended(totals)) => ended = Some(totals),
                    None => {
                        is_load_gone = true;
                        ended.get_or_insert_with(|| {
                            Box::new(Err("its load ended without a word".to_owned()))
                        });
                    }
                },
                Some((seq, tries)) = publishing.next() => {
                    self.spool.acknowledged(seq);
                    for _ in 1..tries {
                        self.spool.tried_again();
                    }
                },
                _ = ticks.tick() => self.look().await?,
                Some(_) = hints.next() => self.look().await?,
            }
        }
        drop(publishing);
        let end = self.end(ended.map_or_else(|| Err(String::new()), |ended| *ended));
        self.stay(end).await
    }

    fn note(&mut self, progress: Progress) {
        self.beat.elapsed_ns = u64::try_from(progress.elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.beat.answered = progress.answered;
        self.beat.failed = progress.failed;
    }

    /// Publishes a message until it is acknowledged; yields its number and how
    /// often that was tried.
    fn publishing(&self, message: Message) -> Publishing<'a> {
        let (bus, of) = (self.bus, self.of.clone());
        Box::pin(async move {
            let id = format!("{}.{}.{}", of.run, of.incarnation, message.seq);
            let mut tries = 1;
            while !publish(bus, &of, &id, &message.frame).await {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            (message.seq, tries)
        })
    }

    /// Shows that the agent is alive, and looks up what it is to do.
    async fn look(&mut self) -> Result<(), FleetError> {
        self.beat.waiting = self.spool.waiting();
        self.bus.tell("beat", &self.of.run, &self.beat).await;
        // What cannot be looked up now is looked up with the next beat.
        if let Ok(Some((control, _))) = self.bus.get::<Control>(&key::control(&self.of.run)).await
            && control.stops
        {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.refuse_another_run().await
    }

    async fn refuse_another_run(&self) -> Result<(), FleetError> {
        match self.bus.get::<Leader>(key::LEADER).await {
            Ok(Some((leader, _))) if leader.run != self.of.run => {
                self.stop.store(true, Ordering::Relaxed);
                Err(FleetError::AnotherRun {
                    own: self.of.run.clone(),
                    other: leader.run,
                })
            }
            _ => Ok(()),
        }
    }

    fn end(&self, ended: Result<Totals, String>) -> Told {
        let (totals, failed) = match ended {
            Ok(totals) => (Some(Box::new(totals)), None),
            Err(why) => (None, Some(why)),
        };
        Told::End(End {
            of: self.of.clone(),
            last_seq: self.spool.last_seq(),
            resent: self.spool.resent(),
            failed,
            totals,
        })
    }

    /// Tells the end, and what is asked for again, until there is a result.
    async fn stay(mut self, end: Told) -> Result<(), FleetError> {
        let give_up = Instant::now() + self.keep_for;
        let frame = end.to_frame();
        let id = format!("{}.{}.end", self.of.run, self.of.incarnation);
        let mut is_told = false;
        let mut answered = 0;
        self.beat.state = State::Told;
        while Instant::now() < give_up {
            is_told = is_told || publish(self.bus, &self.of, &id, &frame).await;
            self.look().await?;
            if let Ok(Some((Done { .. }, _))) = self.bus.get(&key::done(&self.of.run)).await {
                return Ok(());
            }
            let want = self
                .bus
                .get::<Want>(&key::want(&self.of.run, self.of.slot))
                .await;
            if let Ok(Some((want, revision))) = want
                && revision > answered
            {
                answered = revision;
                for message in self.spool.again(&want.seqs) {
                    // Another ID: the server may remember the first and have
                    // lost the message.
                    let id = format!(
                        "{}.{}.{}.{revision}",
                        self.of.run, self.of.incarnation, message.seq
                    );
                    while !publish(self.bus, &self.of, &id, &message.frame).await
                        && Instant::now() < give_up
                    {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                is_told = !want.end;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(FleetError::NoResult {
            run: self.of.run,
            kept: self.keep_for,
        })
    }
}

async fn publish(bus: &Bus, of: &Sender, id: &str, frame: &[u8]) -> bool {
    let frame = frame.to_vec().into();
    bus.publish(&of.run, of.slot, id, frame).await.is_ok()
}
