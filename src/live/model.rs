//! What holds now, of a run that goes on?
//!
//! Events in, a picture out: phase, rates of the last second, latencies of the
//! last slices, failures by class, warnings that hold at this moment, and a
//! short past to draw. A pure fold: the same events make the same picture, and
//! no clock is read here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::rates::{Counted, Rates, Readings};
use super::recent::{Gathering, Recent};
use crate::load::Progress;
use crate::load::observe::PassedSlice;
use crate::record::{Validity, Warning};
use crate::scenario::Event;
use crate::units::Grouped;

/// How many seconds of the past are kept: as many as a wide terminal has
/// columns.
const PAST: usize = 240;

/// The share of failed requests from which on it is a warning of its own.
const MANY_FAILURES: f64 = 0.01;

/// How much longer than usual a slice may stay open before it is remarked.
const OVERDUE: Duration = Duration::from_secs(3);

/// What a run is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something before the load.
    Preparing(String),
    /// Requests are sent and not counted.
    WarmUp,
    /// Requests that are due are counted.
    Measure,
    /// No further requests are due; the last are waited for.
    Drain,
    /// The step is over.
    Over,
}

impl Phase {
    /// Returns the word for it.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Preparing(what) => what,
            Self::WarmUp => "warm-up",
            Self::Measure => "measure",
            Self::Drain => "drain",
            Self::Over => "over",
        }
    }
}

/// A second of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Past {
    /// The rates of that second, if they are known.
    pub rates: Option<Rates>,
    /// The p99 of response times as it was known then.
    pub p99: Option<Duration>,
}

/// Turns events into what holds now.
#[derive(Debug)]
pub struct Model {
    /// What holds now.
    pub picture: Picture,
    readings: Readings,
    gathering: Gathering,
}

/// What holds now.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What is run.
    pub title: String,
    /// The step, or the rate that a search tries.
    pub step: String,
    /// What the run is doing.
    pub phase: Phase,
    /// Time since the step began.
    pub elapsed: Duration,
    /// Warm-up and measured phase of the step.
    pub planned: Duration,
    /// The latest counts, warm-up included.
    pub progress: Option<Progress>,
    /// What the counters say of this moment.
    pub counted: Counted,
    /// The latest slices that are over.
    pub recent: Option<Recent>,
    /// Failed requests of the step's measured phase, by class.
    pub failures: BTreeMap<String, u64>,
    /// Seconds of the step, the oldest first.
    pub past: VecDeque<Past>,
    /// Was the run asked to stop?
    pub is_stopping: bool,
    /// The end of the last slice that is over, from the beginning of the
    /// measured phase.
    pub slices_end: Duration,
    slice_length: Duration,
}

impl Model {
    /// Begins with the picture of a run that has not begun.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            picture: Picture::new(title),
            readings: Readings::default(),
            gathering: Gathering::default(),
        }
    }

    /// Takes an event in.
    pub fn hear(&mut self, event: &Event<'_>) {
        let picture = &mut self.picture;
        match event {
            Event::Generating { bits } => {
                picture.prepare(&format!("making a key of {bits} bits"));
            }
            Event::BrokerStarted { .. } => picture.prepare("the broker listens"),
            Event::Calibrating => picture.prepare("calibrating this machine"),
            Event::Comparing { elapsed, budget } => {
                picture.prepare("comparing backends");
                (picture.elapsed, picture.planned) = (*elapsed, *budget);
            }
            Event::Compared => picture.prepare("backends compared"),
            Event::StepBegan { name } => {
                self.gathering.clear();
                self.readings = Readings::default();
                picture.begin(name);
            }
            Event::Step(progress) => {
                self.readings.add(*progress);
                picture.progress(*progress, self.readings.counted());
            }
            Event::Slice(slice) => {
                let recent = self.gathering.add(slice);
                for (name, count) in recent.iter().flat_map(|recent| &recent.failed) {
                    *picture.failures.entry(name.clone()).or_default() += count;
                }
                picture.slice(slice, recent);
            }
            Event::Cache(_) => {}
            Event::StepEnded(_) => picture.phase = Phase::Over,
        }
    }
}

impl Picture {
    /// Begins with a run that has not begun.
    pub(super) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            step: String::new(),
            phase: Phase::Preparing("starting".to_owned()),
            elapsed: Duration::ZERO,
            planned: Duration::ZERO,
            progress: None,
            counted: Counted::default(),
            recent: None,
            failures: BTreeMap::new(),
            past: VecDeque::new(),
            is_stopping: false,
            slices_end: Duration::ZERO,
            slice_length: Duration::ZERO,
        }
    }

    /// Notes what is done before the load.
    pub(super) fn prepare(&mut self, what: &str) {
        self.phase = Phase::Preparing(what.to_owned());
        self.elapsed = Duration::ZERO;
        self.planned = Duration::ZERO;
    }

    /// Forgets the step before.
    pub(super) fn begin(&mut self, name: &str) {
        name.clone_into(&mut self.step);
        self.phase = Phase::WarmUp;
        self.elapsed = Duration::ZERO;
        self.progress = None;
        self.counted = Counted::default();
        self.recent = None;
        self.failures.clear();
        self.past.clear();
        self.slices_end = Duration::ZERO;
        self.slice_length = Duration::ZERO;
    }

    /// Notes how far the step has come.
    pub(super) fn progress(&mut self, progress: Progress, counted: Counted) {
        let seconds = self.elapsed.as_secs()..progress.elapsed.as_secs();
        self.elapsed = progress.elapsed;
        self.planned = progress.planned;
        self.phase = match progress.elapsed {
            elapsed if elapsed >= progress.planned => Phase::Drain,
            elapsed if elapsed >= progress.warm_up => Phase::Measure,
            _ => Phase::WarmUp,
        };
        self.progress = Some(progress);
        self.counted = counted;
        if counted.rates.is_none() {
            return;
        }
        let first = seconds.end.saturating_sub(PAST as u64);
        for second in seconds.start.max(first)..seconds.end {
            let p99 = self.recent.as_ref().and_then(|recent| recent.response.p99);
            // Of seconds that nobody told of the last alone is known.
            let is_known = second + 1 == seconds.end;
            self.past.push_back(Past {
                rates: counted.rates.filter(|_| is_known),
                p99: p99.filter(|_| is_known),
            });
            while self.past.len() > PAST {
                self.past.pop_front();
            }
        }
    }

    /// Notes a slice that is over, and what the last of them came to.
    pub(super) fn slice(&mut self, slice: &PassedSlice<'_>, recent: Option<Recent>) {
        let end = Duration::from_nanos(slice.start_ns + slice.length_ns);
        self.slices_end = self.slices_end.max(end);
        self.slice_length = Duration::from_nanos(slice.length_ns);
        if recent.is_some() {
            self.recent = recent;
        }
    }

    /// Returns the share of the planned time that has passed, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.planned.is_zero() {
            return 0.0;
        }
        (self.elapsed.as_secs_f64() / self.planned.as_secs_f64()).min(1.0)
    }

    /// Returns what has to be remarked at this moment. A run's own verdict
    /// looks at the whole; what is said here may pass.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let Some(finding) = self.recent.as_ref().and_then(|now| now.lateness.as_ref()) {
            let word = match finding.validity {
                Validity::Invalid => "INVALID",
                _ => "SUSPECT",
            };
            let mut warning = finding.warning.clone();
            warning.message = format!("{word} while it lasts: {}", warning.message);
            warnings.push(warning);
        }
        if matches!(self.phase, Phase::WarmUp | Phase::Measure) {
            warnings.extend(self.behind());
            warnings.extend(self.overdue());
        }
        warnings.extend(self.failing());
        warnings
    }

    /// Does more wait than is in flight?
    fn behind(&self) -> Option<Warning> {
        let (waiting, in_flight) = (self.counted.waiting, self.counted.in_flight);
        (waiting > 1 && waiting > in_flight).then(|| {
            Warning::new(
                "backlog",
                format!(
                    "{} requests are due and wait, {} are in flight",
                    Grouped(waiting as f64),
                    Grouped(in_flight as f64)
                ),
                "the endpoint is beyond its capacity, or more connections are needed",
            )
        })
    }

    /// Has no slice become whole for long?
    fn overdue(&self) -> Option<Warning> {
        let progress = self.progress?;
        let measured = progress.elapsed.checked_sub(progress.warm_up)?;
        let open = measured.checked_sub(self.slices_end)?;
        (open > self.slice_length * 2 + OVERDUE).then(|| {
            Warning::new(
                "open-slices",
                format!(
                    "requests that were due {} s ago have not ended",
                    open.as_secs()
                ),
                "latencies below are of earlier requests; slow ones count when they end",
            )
        })
    }

    /// Do many requests fail?
    fn failing(&self) -> Option<Warning> {
        let recent = self.recent.as_ref()?;
        let failed: u64 = recent.failed.values().sum();
        let all = failed + recent.answered;
        (failed as f64 > MANY_FAILURES * all as f64).then(|| {
            Warning::new(
                "errors",
                format!(
                    "{} of the last {} requests failed",
                    Grouped(failed as f64),
                    Grouped(all as f64)
                ),
                "see the failures by class",
            )
        })
    }
}

#[cfg(test)]
pub(super) mod sample {
    use super::*;
    use crate::load::observe::Sets;

    /// Makes the reading of an even load of `per_s` after `ms`.
    pub fn reading(ms: u64, per_s: u64, failed: u64) -> Progress {
        let due = ms * per_s / 1_000;
        Progress {
            elapsed: Duration::from_millis(ms),
            planned: Duration::from_secs(31),
            warm_up: Duration::from_secs(1),
            due,
            sent: due.saturating_sub(2),
            answered: due.saturating_sub(5 + failed),
            failed,
        }
    }

    /// Makes the picture of a run after twelve seconds: 2,000 requests a
    /// second, a few of which failed.
    pub fn model() -> Model {
        let mut model = Model::new("steady");
        model.hear(&Event::StepBegan {
            name: "open".into(),
        });
        let mut answered = Sets::default();
        for number in 0..1_990_u64 {
            let us = 900 + number * number / 1_000;
            answered.response.record(Duration::from_micros(us + 40));
            answered.service.record(Duration::from_micros(us));
            answered.generator_lag.record(Duration::from_micros(12));
            answered.signing.record(Duration::from_micros(51));
        }
        let mut refused = Sets::default();
        for _ in 0..10 {
            refused.response.record(Duration::from_millis(2));
            refused.generator_lag.record(Duration::from_micros(12));
        }
        let outcomes = BTreeMap::from([
            ("answered".to_owned(), answered),
            ("http_503".to_owned(), refused),
        ]);
        for tick in 0..=250_u64 {
            let ms = tick * 50;
            model.hear(&Event::Step(reading(ms, 2_000, ms / 100)));
            if tick % 20 == 0 && ms >= 2_000 {
                let start = (ms / 1_000 - 2) * 1_000_000_000;
                model.hear(&Event::Slice(PassedSlice::new(
                    start,
                    1_000_000_000,
                    2_000,
                    &outcomes,
                )));
            }
        }
        model
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{model, reading};
    use super::*;

    #[test]
    fn phases_follow_the_time() {
        let mut model = Model::new("steady");
        assert_eq!(model.picture.phase.word(), "starting");
        model.hear(&Event::Calibrating);
        assert_eq!(model.picture.phase.word(), "calibrating this machine");
        model.hear(&Event::StepBegan {
            name: "open".into(),
        });
        for (ms, phase) in [
            (500, Phase::WarmUp),
            (1_000, Phase::Measure),
            (31_000, Phase::Drain),
        ] {
            model.hear(&Event::Step(reading(ms, 100, 0)));
            assert_eq!(model.picture.phase, phase, "{ms}");
        }
    }

    #[test]
    fn the_picture_is_that_of_the_last_second() {
        let model = model();
        let rates = model.picture.counted.rates.unwrap();
        assert!((rates.offered_per_s - 2_000.0).abs() < 1.0, "{rates:?}");
        assert!((rates.failed_per_s - 10.0).abs() < 1.0, "{rates:?}");
        let recent = model.picture.recent.as_ref().unwrap();
        assert_eq!((recent.scheduled, recent.answered), (2_000, 1_990));
        assert!(recent.response.p99 > recent.service.p99);
        assert_eq!(
            model.picture.failures,
            BTreeMap::from([("http_503".to_owned(), 110)])
        );
        assert_eq!(model.picture.past.len(), 12);
        assert!(
            model.picture.warnings().is_empty(),
            "{:?}",
            model.picture.warnings()
        );
    }

    #[test]
    fn what_waits_and_what_does_not_end_is_remarked_while_it_lasts() {
        let mut model = model();
        let mut stuck = reading(18_000, 2_000, 0);
        stuck.answered = 24_000;
        stuck.sent = 24_064;
        model.hear(&Event::Step(stuck));
        let codes = |model: &Model| -> Vec<String> {
            model
                .picture
                .warnings()
                .into_iter()
                .map(|one| one.code)
                .collect()
        };
        assert_eq!(codes(&model), ["backlog", "open-slices"]);
        model.hear(&Event::StepBegan {
            name: "next".into(),
        });
        model.hear(&Event::Step(reading(500, 2_000, 0)));
        assert!(codes(&model).is_empty());
        assert!(model.picture.failures.is_empty() && model.picture.past.is_empty());
    }
}
