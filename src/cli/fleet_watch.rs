//! Who looks on while a fleet runs, and what do their keys do?
//!
//! The screen, lines and metrics are those of every load. Keys that change the
//! rate wait for the server on a thread of their own: neither the screen nor
//! the counting of messages stands still for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::Failure;
use super::log::LogFlags;
use super::watch::{Watch, WatchFlags};
use crate::error::Chain;
use crate::fleet::control::{Steering, Wish};
use crate::fleet::coordinator::Coordinator;
use crate::fleet::event::Event;
use crate::live::fleet::FleetModel;
use crate::units::Shown;

/// A fleet's run that is watched.
pub(super) struct Looker {
    watch: Watch<FleetModel>,
    /// Ends with the screen.
    steering: Option<JoinHandle<()>>,
    log: LogFlags,
}

impl Looker {
    /// Begins to watch what a coordinator leads.
    pub(super) fn start(
        flags: &WatchFlags,
        log: LogFlags,
        coordinator: &Coordinator,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let model = Arc::new(Mutex::new(FleetModel::new("fleet")));
        let (wish, wishes) = mpsc::channel();
        let keys = Keys {
            model: Arc::clone(&model),
            wish,
            stop: Arc::clone(stop),
            log,
        };
        let steering = Steered {
            model: Arc::clone(&model),
            steering: coordinator.steering(),
            log,
        };
        let steering = thread::Builder::new()
            .name("steering".into())
            .spawn(move || wishes.iter().for_each(|wish| steering.lay_down(wish)))
            .map_err(Failure::failed)?;
        Ok(Self {
            watch: Watch::start(flags, log, &model, stop, move |key| keys.press(key))?,
            steering: Some(steering),
            log,
        })
    }

    /// Takes an event in.
    pub(super) fn hear(&self, event: &Event<'_>) {
        self.watch.hear_fleet(event);
        if let Some(words) = words_of(event) {
            self.log.say(&words);
        }
    }

    /// Ends the showing. What is scraped stays.
    pub(super) fn end_show(&mut self) {
        self.watch.end_show();
        if let Some(steering) = self.steering.take() {
            // A panic was reported by its own hook.
            let _ = steering.join();
        }
    }

    /// Serves metrics for as long as the flags ask for, or until `stop`.
    pub(super) fn linger(self, stop: &AtomicBool) {
        self.watch.linger(stop);
    }
}

/// What becomes of keys, on the thread that draws.
struct Keys {
    model: Arc<Mutex<FleetModel>>,
    wish: mpsc::Sender<Wish>,
    stop: Arc<AtomicBool>,
    log: LogFlags,
}

impl Keys {
    fn press(&self, key: char) {
        if key == 's' {
            self.stop.store(true, Ordering::Relaxed);
            return;
        }
        let wish = self.model.lock().press(key);
        match wish {
            Ok(Some(wish)) => {
                // Whoever takes it does so for as long as there is a screen.
                let _ = self.wish.send(wish);
            }
            Ok(None) => {}
            Err(why) => self.log.say(why),
        }
    }
}

/// What becomes of wishes, on a thread that waits for the server.
struct Steered {
    model: Arc<Mutex<FleetModel>>,
    steering: Steering,
    log: LogFlags,
}

impl Steered {
    fn lay_down(&self, wish: Wish) {
        if let Err(error) = self.steering.steer(wish) {
            self.model.lock().refused();
            self.log.say(&Chain(&error).to_string());
        }
    }
}

/// Puts what happens in the fleet into words, if it is no figure.
fn words_of(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Joined { slot, host, joined } => {
            format!("agent {slot} joined from {host}, {joined} so far")
        }
        Event::Refused(why) => format!("an agent stays away, on {why}"),
        Event::Begins { within, .. } if within.is_zero() => "has begun".to_owned(),
        Event::Begins { within, .. } => format!("begins in {}", Shown(*within)),
        Event::Changed(change) => format!("the load {change}"),
        Event::Lost(slot) => format!("agent {slot} is silent, and lost unless it returns"),
        Event::HandedOver(handover) => {
            let by: Vec<String> = handover.by.iter().map(ToString::to_string).collect();
            format!(
                "what agent {} would start from {} on is started by {}",
                handover.lost,
                Shown(Duration::from_nanos(handover.from_ns)),
                by.join(", ")
            )
        }
        Event::Returned(slot) => format!("agent {slot} is back"),
        Event::Ended(slot) => format!("agent {slot} has told all"),
        Event::Trouble(what) => format!("{what}; agents keep what they measure"),
        Event::Leads { .. } | Event::Progress(_) | Event::Slice(_) => return None,
    })
}
