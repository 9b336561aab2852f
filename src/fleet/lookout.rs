//! What does an agent hear of its coordinator while it is busy otherwise?
//!
//! A task of its own shows twice a second that the agent is alive, looks up
//! what the coordinator has laid down, and listens to what it says at once. A
//! server that does not answer keeps this task waiting and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::FleetError;
use super::bus::Bus;
use super::key;
use super::message::{Beat, Control, Done, Handover, Hint, Leader, Sender, State, Want, of_json};
use crate::load::pace::Pace;
use crate::load::pacer::now_ns;

/// How often an agent shows that it is alive, and looks up what has changed.
const BEAT: Duration = Duration::from_millis(500);

/// By what a load is held while it runs.
#[derive(Clone)]
pub struct Reins {
    /// Is set when the coordinator wants an end.
    pub stop: Arc<AtomicBool>,
    /// The changes of the rate.
    pub pace: Arc<Pace>,
    /// When the schedule begins, on this machine's monotonic clock.
    pub begins_ns: u64,
    /// Where it is told which shares were given to others.
    pub handovers: watch::Sender<Vec<Handover>>,
}

/// What was heard so far, and what is said of oneself.
pub(super) struct Heard {
    /// What the next beat says.
    pub beat: Mutex<Beat>,
    /// What the coordinator misses.
    pub wanted: Mutex<Vec<Want>>,
    is_done: AtomicBool,
    other_run: Mutex<Option<String>>,
    reins: Reins,
    of: Sender,
}

/// The tasks; they end when this is dropped.
pub(super) struct Lookout {
    pub heard: Arc<Heard>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lookout {
    /// Starts to listen and to show that the agent is alive.
    pub async fn start(bus: &Bus, of: Sender, reins: Reins) -> Result<Self, FleetError> {
        let hints = bus.listen("hint", &of.run).await?;
        let beat = Beat::first(&of, State::Running);
        let heard = Arc::new(Heard {
            beat: Mutex::new(beat),
            wanted: Mutex::default(),
            is_done: AtomicBool::new(false),
            other_run: Mutex::default(),
            reins,
            of,
        });
        let tasks = vec![
            tokio::spawn(beat_on(bus.clone(), Arc::clone(&heard))),
            tokio::spawn(look_up(bus.clone(), Arc::clone(&heard))),
            tokio::spawn(listen(hints, Arc::clone(&heard))),
        ];
        Ok(Self { heard, tasks })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Heard {
    /// Does the coordinator have a result?
    pub fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// Refuses to go on if the fleet is at another run.
    pub fn check_run(&self) -> Result<(), FleetError> {
        match &*self.other_run.lock() {
            Some(other) => Err(FleetError::AnotherRun {
                own: self.of.run.clone(),
                other: other.clone(),
            }),
            None => Ok(()),
        }
    }

    fn stop(&self) {
        self.reins.stop.store(true, Ordering::Relaxed);
    }

    fn heed(&self, control: &Control) {
        let since = now_ns().saturating_sub(self.reins.begins_ns);
        self.reins.pace.hear(&control.changes, since);
        self.reins.handovers.send_if_modified(|known| {
            let new = control.handovers.get(known.len()..).unwrap_or_default();
            known.extend_from_slice(new);
            !new.is_empty()
        });
        // Whoever was taken for lost leaves its starts to others.
        if control.stops || control.handed_over(self.of.slot).is_some() {
            self.stop();
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn beat_on(bus: Bus, heard: Arc<Heard>) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        let beat = heard.beat.lock().clone();
        bus.tell("beat", &heard.of.run, &beat).await;
    }
}

/// Reads the keys that concern this agent. What cannot be read now is read the
/// next time.
async fn look_up(bus: Bus, heard: Arc<Heard>) {
    let run = &heard.of.run;
    let mut ticks = ticks();
    let mut answered = 0;
    loop {
        ticks.tick().await;
        if let Ok(Some((control, _))) = bus.get::<Control>(&key::control(run)).await {
            heard.heed(&control);
        }
        if let Ok(Some((leader, _))) = bus.get::<Leader>(key::LEADER).await
            && leader.run != *run
        {
            heard.stop();
            *heard.other_run.lock() = Some(leader.run);
        }
        if heard.beat.lock().state != State::Told {
            continue;
        }
        if let Ok(Some(_)) = bus.get::<Done>(&key::done(run)).await {
            heard.is_done.store(true, Ordering::Relaxed);
        }
        if let Ok(Some((want, revision))) = bus.get::<Want>(&key::want(run, heard.of.slot)).await
            && revision > answered
        {
            answered = revision;
            heard.wanted.lock().push(want);
        }
    }
}

/// Heeds what the coordinator says at once.
async fn listen(mut hints: Subscriber, heard: Arc<Heard>) {
    while let Some(hint) = hints.next().await {
        let Ok(hint) = of_json::<Hint>(&hint.payload) else {
            continue;
        };
        if let Some(control) = &hint.control {
            heard.heed(control);
        }
        if hint.is_done {
            heard.is_done.store(true, Ordering::Relaxed);
        }
        let own = hint
            .wants
            .into_iter()
            .filter(|(slot, _)| *slot == heard.of.slot);
        heard.wanted.lock().extend(own.map(|(_, want)| want));
    }
}
