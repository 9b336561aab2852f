//! Who looks on while a run goes on?
//!
//! The flags that `run`, `load`, `capacity` and `fleet` share, and what they ask for: a
//! screen or lines, figures for a monitoring system, or both.

use std::io::{IsTerminal, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use parking_lot::Mutex;

use super::Failure;
use super::log::{LogFlags, notes};
#[cfg(feature = "fleet")]
use crate::fleet;
#[cfg(feature = "fleet")]
use crate::live::fleet::FleetModel;
#[cfg(feature = "otlp")]
use crate::live::metrics::otlp::Pushed;
use crate::live::metrics::{Scraped, Target};
use crate::live::{Look, Metrics, Model, Show, Subject};
use crate::scenario::Event;
use crate::units::Span;

/// How often a lingering process looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// Who looks on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Looking on")]
pub(super) struct WatchFlags {
    /// Show progress in a line a second, not on a screen. That is so anyway
    /// where standard error is no terminal.
    #[arg(long)]
    no_tui: bool,

    /// Serve metrics for Prometheus at http://ADDRESS/metrics while it runs; a
    /// port alone is one of the loopback interface.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<Target>,

    /// Go on serving metrics for so long after the run, for a last scrape.
    #[arg(long, value_name = "SPAN", requires = "metrics")]
    metrics_linger: Option<Span>,

    /// Push metrics to an OpenTelemetry collector by OTLP over HTTP, once a
    /// second and at the end.
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

impl WatchFlags {
    #[cfg(feature = "otlp")]
    fn wants_metrics(&self) -> bool {
        self.metrics.is_some() || self.otlp.is_some()
    }

    #[cfg(not(feature = "otlp"))]
    fn wants_metrics(&self) -> bool {
        self.metrics.is_some()
    }
}

/// A run that is watched.
pub(super) struct Watch<S = Model> {
    model: Arc<Mutex<S>>,
    show: Option<Show>,
    metrics: Option<Metrics>,
    /// Pushes once more at the end of the run.
    #[cfg(feature = "otlp")]
    pushed: Option<Pushed>,
    /// Serves until the process ends.
    scraped: Option<Scraped>,
    linger: Option<Span>,
    /// Lines for standard output that a screen has held up.
    held: Vec<String>,
}

impl Watch {
    /// Takes an event in.
    pub(super) fn hear(&self, event: &Event<'_>) {
        self.model.lock().hear(event);
        if let Some(metrics) = &self.metrics {
            metrics.hear(event);
        }
    }
}

#[cfg(feature = "fleet")]
impl Watch<FleetModel> {
    /// Takes an event of a fleet in.
    pub(super) fn hear_fleet(&self, event: &fleet::event::Event<'_>) {
        let now = Instant::now();
        self.model.lock().hear(event, now);
        if let Some(metrics) = &self.metrics {
            metrics.hear_fleet(event, now);
        }
    }
}

impl<S: Subject> Watch<S> {
    /// Begins to watch what `model` holds; `press` hears of keys.
    pub(super) fn start(
        flags: &WatchFlags,
        log: LogFlags,
        model: &Arc<Mutex<S>>,
        stop: &Arc<AtomicBool>,
        press: impl Fn(char) + Send + 'static,
    ) -> Result<Self, Failure> {
        let metrics = flags.wants_metrics().then(Metrics::default);
        let scraped = match (flags.metrics, &metrics) {
            (Some(target), Some(metrics)) => {
                let metrics = metrics.clone();
                let read = move || metrics.instruments();
                let scraped = Scraped::start(target, read).map_err(Failure::usage)?;
                log.say(&format!("metrics are at {}", scraped.url()));
                Some(scraped)
            }
            _ => None,
        };
        #[cfg(feature = "otlp")]
        let pushed = match (&flags.otlp, &metrics) {
            (Some(url), Some(metrics)) => {
                Some(Pushed::start(url, metrics.clone()).map_err(Failure::usage)?)
            }
            _ => None,
        };
        let look = match (log.is_json(), flags.no_tui) {
            (true, _) => Look::Json,
            (false, true) => Look::Text,
            (false, false) => Look::Screen,
        };
        let show = Show::start(model, look, notes(), stop, press).map_err(Failure::failed)?;
        Ok(Self {
            model: Arc::clone(model),
            show: Some(show),
            metrics,
            #[cfg(feature = "otlp")]
            pushed,
            scraped,
            linger: flags.metrics_linger,
            held: Vec::new(),
        })
    }

    /// Prints a line to standard output; where that would tear a screen, once
    /// the screen is gone.
    pub(super) fn print(&mut self, line: String) {
        if self.show.as_ref().is_some_and(Show::is_screen) && stdout().is_terminal() {
            self.held.push(line);
        } else {
            println!("{line}");
        }
    }

    /// Ends the showing, and prints what it has held up. What is scraped stays.
    pub(super) fn end_show(&mut self) {
        #[cfg(feature = "otlp")]
        {
            self.pushed = None;
        }
        self.show = None;
        for line in self.held.drain(..) {
            println!("{line}");
        }
    }

    /// Serves metrics for as long as the flags ask for, or until `stop`.
    pub(super) fn linger(self, stop: &AtomicBool) {
        let (Some(Span(longest)), Some(_scraped)) = (self.linger, &self.scraped) else {
            return;
        };
        let begun = Instant::now();
        while begun.elapsed() < longest && !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK.min(longest));
        }
    }
}
