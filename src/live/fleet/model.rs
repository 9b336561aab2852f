//! What holds now, of a fleet's run that goes on?
//!
//! Events in, a picture out, as for one machine. The time at which an event is
//! heard is given with it, so that a picture can say how old its figures are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ratatui::Frame;

use super::agents::{AgentRow, Agents};
use super::offer::Offer;
use super::{lines, screen};
use crate::fleet::control::Wish;
use crate::fleet::event::{Event, Live};
use crate::fleet::roster;
use crate::live::model::{Phase, Picture};
use crate::live::recent::{Gathering, Quantiles};
use crate::live::screen::Palette;
use crate::live::show::{Pictured, Subject};
use crate::load::Progress;
use crate::load::observe::Sets;
use crate::record::fleet::DeltaFacts;
use crate::record::{Histogram, Outcome, RateChange};
use crate::units::Shown;

/// The scenario's own rate, in millionths of it.
const WHOLE: u64 = 1_000_000;

/// What a key changes the rate by, in millionths of the scenario's own.
const TENTH: u64 = WHOLE / 10;

/// The highest rate, as `fleet rate` has it: a thousand times the scenario's.
const MOST: u64 = 1_000 * WHOLE;

/// Turns events of a fleet into what holds now.
pub struct FleetModel {
    picture: FleetPicture,
    agents: Agents,
    gathering: Gathering,
    offer: Option<Offer>,
    looked: Option<Instant>,
    begins: Option<Instant>,
    merged: Histogram,
}

/// What holds now, of a fleet.
#[derive(Clone, Debug)]
pub struct FleetPicture {
    /// The load as a whole.
    pub run: Picture,
    /// The agents, by slot.
    pub agents: Vec<AgentRow>,
    /// What agents say, added up; none before the first look.
    pub progress: Option<roster::Progress>,
    /// Response times of answered requests since the measured phase began.
    pub so_far: Quantiles,
    /// Starts of the measured phase that agents have told of.
    pub covered: u64,
    /// What became of messages.
    pub deltas: DeltaFacts,
    /// All changes of the rate, in order.
    pub changes: Vec<RateChange>,
    /// A factor that was asked for and not yet laid down, in millionths.
    pub asked_ppm: Option<u64>,
    /// What the server does not do.
    pub trouble: Option<String>,
    /// How old the oldest beat is that rates are of.
    pub beats_age: Option<Duration>,
    /// How long ago the last slice ended that latencies are of.
    pub slices_age: Option<Duration>,
}

impl FleetModel {
    /// Begins with the picture of a fleet that nobody has joined.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let mut run = Picture::new(title);
        run.prepare("looking for the fleet");
        Self {
            picture: FleetPicture {
                run,
                agents: Vec::new(),
                progress: None,
                so_far: Quantiles::default(),
                covered: 0,
                deltas: DeltaFacts::default(),
                changes: Vec::new(),
                asked_ppm: None,
                trouble: None,
                beats_age: None,
                slices_age: None,
            },
            agents: Agents::default(),
            gathering: Gathering::default(),
            offer: None,
            looked: None,
            begins: None,
            merged: Histogram::new(),
        }
    }

    /// Takes an event in that is heard `now`.
    pub fn hear(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Leads { name, agents } => {
                (*name).clone_into(&mut self.picture.run.title);
                self.agents = Agents::new(*agents);
                self.waiting(0);
            }
            Event::Joined { slot, host, joined } => {
                self.agents.join(*slot, host);
                self.waiting(*joined);
            }
            Event::Begins { within, schedule } => {
                self.picture.run.prepare("beginning");
                // A fleet's load has one step, of the open model.
                "open".clone_into(&mut self.picture.run.step);
                self.offer = Some(Offer::of(schedule));
                self.begins = Some(now + *within);
            }
            Event::Progress(live) => self.look(live, now),
            Event::Slice(slice) => {
                let recent = self.gathering.add(slice);
                self.picture.run.slice(slice, recent);
            }
            Event::Changed(change) => {
                self.picture.changes.push(*change);
                if let Some(offer) = &mut self.offer {
                    offer.change(&self.picture.changes);
                }
                if self.picture.asked_ppm == Some(change.factor_ppm) {
                    self.picture.asked_ppm = None;
                }
            }
            Event::Trouble(what) => self.picture.trouble = Some(what.clone()),
            // The next look has it.
            Event::Refused(_)
            | Event::HandedOver(_)
            | Event::Lost(_)
            | Event::Returned(_)
            | Event::Ended(_) => {}
        }
    }

    /// Returns what a key asks for, if it asks for anything.
    ///
    /// # Errors
    ///
    /// It asks for what cannot be; the text says what can.
    pub fn press(&mut self, key: char) -> Result<Option<Wish>, &'static str> {
        let changes = &self.picture.changes;
        let last = changes.last().map_or(WHOLE, |change| change.factor_ppm);
        let now_ppm = self.picture.asked_ppm.unwrap_or(last);
        let wanted = match key {
            'p' if now_ppm > 0 => 0,
            'p' | 'c' if now_ppm == 0 => {
                let before = changes.iter().rev().map(|change| change.factor_ppm);
                before.into_iter().find(|ppm| *ppm > 0).unwrap_or(WHOLE)
            }
            '+' | '=' | '-' if now_ppm == 0 => {
                return Err("the load pauses: c goes on, then + and - change the rate");
            }
            '+' | '=' if now_ppm + TENTH > MOST => {
                return Err(
                    "the rate is a thousand times the scenario's, the highest that there is",
                );
            }
            '+' | '=' => now_ppm + TENTH,
            '-' if now_ppm <= TENTH => {
                return Err("the rate is a tenth of the scenario's or less: p pauses");
            }
            '-' => now_ppm - TENTH,
            _ => return Ok(None),
        };
        self.picture.asked_ppm = Some(wanted);
        Ok(Some(Wish::Rate(wanted)))
    }

    /// Notes that what was asked for is not to be.
    pub fn refused(&mut self) {
        self.picture.asked_ppm = None;
    }

    fn waiting(&mut self, joined: usize) {
        let wanted = self.agents.rows.len();
        let what = format!("waiting for agents, {joined} of {wanted} joined");
        self.picture.run.prepare(&what);
    }

    fn look(&mut self, live: &Live<'_>, now: Instant) {
        self.looked = Some(now);
        self.agents.hear(&live.agents, now);
        let picture = &mut self.picture;
        picture.progress = Some(live.progress);
        picture.covered = live.scheduled;
        picture.deltas = live.deltas;
        if live.is_answering {
            picture.trouble = None;
        }
        picture.run.failures = failures(live.outcomes);
        picture.so_far = so_far(live.outcomes, &mut self.merged);
        let Some(offer) = &mut self.offer else { return };
        let (warm_up, planned) = offer.phases();
        if live.elapsed.is_zero() {
            return;
        }
        let mut counted = self.agents.counted();
        // What agents say to be due leaves out what lost ones should do.
        if let (Some(rates), Some(offered)) = (&mut counted.rates, offer.per_s(live.elapsed)) {
            rates.offered_per_s = offered;
        }
        let progress = Progress {
            elapsed: live.elapsed,
            planned,
            warm_up,
            due: live.progress.due,
            sent: live.progress.sent,
            answered: live.progress.answered,
            failed: live.progress.failed,
        };
        picture.run.progress(progress, counted);
    }
}

/// Counts the requests that got no token, by outcome.
fn failures(outcomes: &BTreeMap<String, Sets>) -> BTreeMap<String, u64> {
    outcomes
        .iter()
        .filter(|(name, _)| !Outcome::is_name_of_token(name))
        .map(|(name, sets)| (name.clone(), sets.response.count()))
        .collect()
}

/// Takes quantiles of all requests that got a token; `merged` is room for
/// their sum, if there are several kinds.
fn so_far(outcomes: &BTreeMap<String, Sets>, merged: &mut Histogram) -> Quantiles {
    let mut answered = outcomes
        .iter()
        .filter(|(name, _)| Outcome::is_name_of_token(name))
        .map(|(_, sets)| &sets.response);
    let Some(first) = answered.next() else {
        return Quantiles::default();
    };
    let mut others = answered.peekable();
    if others.peek().is_none() {
        return Quantiles::of(first);
    }
    merged.clear();
    merged.add(first);
    others.for_each(|other| merged.add(other));
    Quantiles::of(merged)
}

impl Subject for FleetModel {
    type Picture = FleetPicture;

    fn picture(&self, now: Instant, is_stopping: bool) -> FleetPicture {
        let mut picture = FleetPicture {
            agents: self.agents.rows.clone(),
            ..self.picture.clone()
        };
        picture.run.is_stopping = is_stopping;
        let Some(progress) = picture.run.progress else {
            if let Some(begins) = self.begins {
                let within = begins.saturating_duration_since(now);
                let what = format!("begins in {:.1} s", within.as_secs_f64());
                picture.run.prepare(&what);
            }
            return picture;
        };
        // Time goes on, whether or not somebody tells of it.
        let since = self
            .looked
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        picture.run.elapsed += since;
        for row in &mut picture.agents {
            row.age += since;
        }
        picture.beats_age = self.agents.oldest().map(|oldest| oldest + since);
        picture.slices_age = picture.run.recent.as_ref().and_then(|_| {
            let end = progress.warm_up + picture.run.slices_end;
            picture.run.elapsed.checked_sub(end)
        });
        picture
    }
}

impl Pictured for FleetPicture {
    fn draw(&self, frame: &mut Frame<'_>, notes: &[String], palette: Palette) {
        screen::draw(frame, self, notes, palette);
    }

    fn text(&self) -> Option<String> {
        lines::text(self)
    }

    fn json(&self) -> Option<String> {
        lines::json(self)
    }
}

impl FleetPicture {
    /// Is the load under way?
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.run.phase, Phase::Preparing(_))
    }

    /// Returns the factor that is in force, in millionths.
    #[must_use]
    pub fn factor_ppm(&self) -> u64 {
        let heard = self.changes.iter().rev();
        heard
            .clone()
            .find(|change| !self.is_ahead(change))
            .map_or(WHOLE, |change| change.factor_ppm)
    }

    /// Returns the last change that is ahead, with the time until then.
    #[must_use]
    pub fn pending(&self) -> Option<(u64, Duration)> {
        let last = self.changes.last().filter(|last| self.is_ahead(last))?;
        let within = Duration::from_nanos(last.from_ns).saturating_sub(self.run.elapsed);
        Some((last.factor_ppm, within))
    }

    fn is_ahead(&self, change: &RateChange) -> bool {
        Duration::from_nanos(change.from_ns) > self.run.elapsed
    }

    /// Says at which factor of its rate the schedule passes, and what is to
    /// come.
    #[must_use]
    pub fn pace(&self) -> String {
        let now = match self.factor_ppm() {
            WHOLE => "at its own rate".to_owned(),
            other => words(other),
        };
        match (self.pending(), self.asked_ppm) {
            (Some((factor_ppm, within)), _) => {
                format!("{now}, {} in {}", words(factor_ppm), Shown(within))
            }
            (None, Some(asked)) => format!("{now}, asked: {}", words(asked)),
            (None, None) => now,
        }
    }
}

/// Names a factor shortly.
fn words(factor_ppm: u64) -> String {
    match factor_ppm {
        0 => "paused".to_owned(),
        _ => format!("× {}", factor_ppm as f64 / 1e6),
    }
}

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
