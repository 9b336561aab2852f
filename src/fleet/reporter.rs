//! How does an agent tell what its load measures, while it measures?
//!
//! Slices come in, and messages go out until each is acknowledged. The load is
//! on threads of its own and waits for none of it. After its end an agent
//! keeps everything until the coordinator says that it has a result, and
//! publishes again what is missing there.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::interval;

use super::bus::Bus;
pub use super::lookout::Reins;
use super::lookout::{Heard, Lookout};
use super::message::{End, Sender, Slice, State, Told, Totals};
use super::spool::{Message, Spool};
use super::{FleetError, draw_name};
use crate::load::Progress;

/// How often is looked whether something has to be given up.
const LOOK: Duration = Duration::from_millis(250);

/// How long after its end an agent waits for acknowledgements before it tells
/// the coordinator without the server's store: that may be full.
const STUCK: Duration = Duration::from_secs(3);

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
pub struct Reporter {
    bus: Bus,
    of: Sender,
    spool: Spool,
    lookout: Lookout,
    keep_for: Duration,
}

type Publishing = Pin<Box<dyn Future<Output = (u64, u64)> + Send>>;

impl Reporter {
    /// Makes a reporter. The load is held by `reins` as the coordinator wants
    /// it; what was measured is kept for `keep_for` after the end.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn start(
        bus: &Bus,
        of: Sender,
        reins: Reins,
        keep_for: Duration,
    ) -> Result<Self, FleetError> {
        Ok(Self {
            bus: bus.clone(),
            spool: Spool::new(of.clone(), MOST_GATHERED),
            lookout: Lookout::start(bus, of.clone(), reins).await?,
            keep_for,
            of,
        })
    }

    /// Tells all that comes from the load, and returns once the coordinator
    /// has a result.
    ///
    /// # Errors
    ///
    /// The coordinator did not come to a result in time, or leads another run.
    pub async fn report(mut self, mut from: UnboundedReceiver<FromLoad>) -> Result<(), FleetError> {
        let mut publishing: FuturesUnordered<Publishing> = FuturesUnordered::new();
        let mut ticks = interval(LOOK);
        let ended = loop {
            while let Some(message) = self.spool.next_message() {
                publishing.push(self.publishing(message));
            }
            self.heard().beat.lock().waiting = self.spool.waiting();
            tokio::select! {
                told = from.recv() => match told {
                    Some(FromLoad::Slice(slice)) => self.spool.keep(slice)?,
                    Some(FromLoad::Progress(progress)) => self.note(progress),
                    Some(FromLoad::Ended(totals)) => break *totals,
                    None => break Err("its load ended without a word".to_owned()),
                },
                Some(acknowledged) = publishing.next() => self.acknowledge(acknowledged),
                _ = ticks.tick() => self.heard().check_run()?,
            }
        };
        let stuck = Instant::now() + STUCK;
        while !self.spool.is_told() && Instant::now() < stuck {
            while let Some(message) = self.spool.next_message() {
                publishing.push(self.publishing(message));
            }
            tokio::select! {
                Some(acknowledged) = publishing.next() => self.acknowledge(acknowledged),
                _ = ticks.tick() => self.heard().check_run()?,
            }
        }
        drop(publishing);
        self.stay(ended).await
    }

    fn heard(&self) -> &Heard {
        &self.lookout.heard
    }

    fn note(&self, progress: Progress) {
        let mut beat = self.heard().beat.lock();
        beat.elapsed_ns = u64::try_from(progress.elapsed.as_nanos()).unwrap_or(u64::MAX);
        beat.due = progress.due;
        beat.sent = progress.sent;
        beat.answered = progress.answered;
        beat.failed = progress.failed;
    }

    fn acknowledge(&mut self, (seq, tries): (u64, u64)) {
        self.spool.acknowledged(seq);
        for _ in 1..tries {
            self.spool.tried_again();
        }
    }

    /// Publishes a message until it is acknowledged; yields its number and how
    /// often that was tried.
    fn publishing(&self, message: Message) -> Publishing {
        let (bus, of) = (self.bus.clone(), self.of.clone());
        Box::pin(async move {
            let mut tries = 1;
            while !publish(&bus, &of, &message, "").await {
                tries += 1;
                tokio::time::sleep(LOOK).await;
            }
            (message.seq, tries)
        })
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

    /// Tells the end, and what is missing, until there is a result.
    ///
    /// What the server's store does not take is told to the coordinator
    /// directly, which counts it once whichever way it comes.
    async fn stay(mut self, ended: Result<Totals, String>) -> Result<(), FleetError> {
        let give_up = Instant::now() + self.keep_for;
        let left = self.spool.unacknowledged();
        let end = Message {
            seq: 0,
            frame: self.end(ended).to_frame().into(),
        };
        let mut untold: Vec<Message> = left.into_iter().chain([end.clone()]).collect();
        self.heard().beat.lock().state = State::Told;
        while Instant::now() < give_up {
            // In order, so that a server that takes nothing is asked once.
            while let Some(message) = untold.first() {
                if !publish(&self.bus, &self.of, message, "").await {
                    break;
                }
                self.spool.acknowledged(message.seq);
                untold.remove(0);
            }
            for message in &untold {
                self.bus.send("direct", &self.of.run, &message.frame).await;
            }
            self.heard().check_run()?;
            if self.heard().is_done() {
                return Ok(());
            }
            let wanted = std::mem::take(&mut *self.heard().wanted.lock());
            for want in wanted {
                let mut again = self.spool.again(&want.seqs);
                again.extend(want.end.then(|| end.clone()));
                for message in again {
                    // Another ID: the server may remember the first and have
                    // lost the message.
                    let suffix = format!(".{}", draw_name());
                    if !publish(&self.bus, &self.of, &message, &suffix).await {
                        self.bus.send("direct", &self.of.run, &message.frame).await;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(FleetError::NoResult {
            run: self.of.run.clone(),
            kept: self.keep_for,
        })
    }
}

/// Publishes a message under its name, so that a server stores it once.
async fn publish(bus: &Bus, of: &Sender, message: &Message, suffix: &str) -> bool {
    let id = format!("{}.{}.{}{suffix}", of.run, of.incarnation, message.seq);
    let frame = message.frame.to_vec().into();
    bus.publish(&of.run, of.slot, &id, frame).await.is_ok()
}
