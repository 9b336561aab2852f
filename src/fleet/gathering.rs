//! How does a coordinator count what agents tell until the last has ended?
//!
//! One loop: frames are fetched and merged, beats are heard, the lead is
//! renewed. An agent has ended when it said so and every message of it is
//! there; what is missing is asked for again. The loop ends when each agent
//! has ended or is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use super::agent::read_clocks;
use super::bus::{Bus, Frames};
use super::control::{amend, hint};
use super::event::Event;
use super::key;
use super::lead::{Lead, renew};
use super::ledger::Ledger;
use super::looking::{Looking, look};
use super::message::{Beat, Control, Hint, PROTOCOL, State, Want, of_json};
use super::roster::Roster;
use super::schedule::Schedule;
use super::{FleetError, as_ns};
use crate::error::Chain;
use crate::load::pacer::now_ns;
use crate::scenario::LostShare;

/// How often frames are fetched.
const TICK: Duration = Duration::from_millis(200);

/// How often whoever looks on is told where things stand. Agents say so as
/// often.
const GLANCE: Duration = Duration::from_millis(500);

/// How often the lead is renewed.
const SECOND: Duration = Duration::from_secs(1);

/// How often agents are asked for what is missing of them.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The most time that counts as silence at once: whoever was held up longer
/// heard nobody meanwhile.
const MOST_AT_ONCE: Duration = Duration::from_millis(500);

/// How long the last agents may take after the end of everything, before they
/// are taken for lost although they live.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// How long agents may take to end when they are told to stop.
const STOPPING: Duration = Duration::from_secs(20);

/// A run that is counted.
pub(super) struct Watching<'a> {
    pub bus: &'a Bus,
    pub lead: &'a mut Lead,
    pub roster: &'a mut Roster,
    pub ledger: &'a mut Ledger,
    pub schedule: &'a Schedule,
    /// The length of the schedule and its drain.
    pub planned: Duration,
}

/// What has been seen and said so far.
struct Seen {
    frames: Frames,
    lost: BTreeSet<usize>,
    ended: BTreeSet<usize>,
    asked: Instant,
    renewed: Instant,
    glanced: Instant,
    looking: Looking,
    is_answering: bool,
    trouble: Option<String>,
    control: Control,
}

impl Watching<'_> {
    /// Counts until each agent has ended or is lost; returns what they had to
    /// heed meanwhile.
    pub async fn count(
        mut self,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Control, FleetError> {
        let run = self.lead.spec.run.clone();
        let mut beats = self.bus.listen("beat", &run).await?;
        let mut direct = self.bus.listen("direct", &run).await?;
        let mut hints = self.bus.listen("hint", &run).await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen {
            frames: self.bus.frames(&run),
            lost: BTreeSet::new(),
            ended: BTreeSet::new(),
            asked: Instant::now(),
            renewed: Instant::now(),
            glanced: Instant::now(),
            looking: Looking::default(),
            is_answering: true,
            trouble: None,
            control: nothing_to_heed(),
        };
        // Whoever takes over a run has to know whose messages to take.
        self.heed(&mut seen, tell).await;
        let mut give_up = Instant::now() + self.planned + LAST_WORDS;
        let mut is_stopping = false;
        let mut ticked = Instant::now();
        loop {
            tokio::select! {
                Some(beat) = beats.next() => {
                    if let Ok(beat) = of_json::<Beat>(&beat.payload) {
                        self.hear_the_time(&beat);
                        self.roster.heard(beat);
                    }
                    continue;
                }
                Some(frame) = direct.next() => {
                    self.ledger.take(&frame.payload);
                    continue;
                }
                Some(hint) = hints.next() => {
                    let hint = of_json::<Hint>(&hint.payload);
                    if hint.is_ok_and(|hint| hint.control.is_some()) {
                        // What is laid down is what counts.
                        self.heed(&mut seen, tell).await;
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            if seen.is_answering && self.bus.is_connected() {
                self.roster.pass(ticked.elapsed().min(MOST_AT_ONCE));
            }
            ticked = Instant::now();
            self.fetch(&mut seen, tell).await;
            self.compare(&mut seen, tell);
            if !is_stopping {
                self.replace_lost(&mut seen, tell).await;
            }
            let is_wanted = stop.load(Ordering::Relaxed) || seen.control.stops;
            if is_wanted && !is_stopping {
                seen.control.stops = true;
                is_stopping = self.stop_agents(&run, &seen.control).await;
                give_up = give_up.min(Instant::now() + STOPPING);
            }
            if seen.glanced.elapsed() >= GLANCE {
                seen.glanced = Instant::now();
                self.glance(&seen, tell);
            }
            if seen.renewed.elapsed() >= SECOND {
                self.lead_on(&mut seen, tell).await?;
                // A server that hardly answers leaves time for what agents say.
                seen.renewed = Instant::now();
            }
            let mut all = 0..self.roster.places().len();
            if all.all(|slot| seen.ended.contains(&slot) || self.roster.is_lost(slot)) {
                break;
            }
            if Instant::now() >= give_up {
                break;
            }
        }
        self.heed(&mut seen, tell).await;
        self.glance(&seen, tell);
        Ok(seen.control)
    }

    /// Tells where things stand.
    fn glance(&self, seen: &Seen, tell: &mut dyn FnMut(Event<'_>)) {
        let now = self.lead.clock.read(read_clocks());
        let begin = self.lead.begin.as_ref();
        let elapsed = match (now, begin) {
            (Some(now), Some(begin)) => {
                Duration::from_nanos(now.monotonic_ns.saturating_sub(begin.at_ns))
            }
            _ => self.roster.elapsed(),
        };
        let live = look(self.roster, self.ledger, elapsed, seen.is_answering);
        tell(Event::Progress(live));
    }

    /// Compares the clock of the beginning with what an agent says.
    fn hear_the_time(&self, beat: &Beat) {
        if let Some(begin) = &self.lead.begin
            && beat.run == self.lead.spec.run
            && beat.state == State::Running
        {
            let clock = &self.lead.clock;
            clock.hear(begin.at_ns, beat.elapsed_ns, now_ns());
        }
    }

    /// Takes the frames that have come.
    async fn fetch(&mut self, seen: &mut Seen, tell: &mut dyn FnMut(Event<'_>)) {
        match self.bus.fetch(&mut seen.frames).await {
            Ok(frames) => {
                seen.is_answering = true;
                seen.trouble = None;
                for frame in frames {
                    self.ledger.take(&frame);
                }
            }
            Err(error) => {
                seen.is_answering = false;
                let trouble = Chain(&error).to_string();
                if seen.trouble.as_ref() != Some(&trouble) {
                    tell(Event::Trouble(trouble.clone()));
                    seen.trouble = Some(trouble);
                }
            }
        }
    }

    /// Notices who has ended, fallen silent or come back.
    fn compare(&mut self, seen: &mut Seen, tell: &mut dyn FnMut(Event<'_>)) {
        for (slot, of) in self.ledger.slots().iter().enumerate() {
            if of.is_whole() && seen.ended.insert(slot) {
                tell(Event::Ended(slot));
            }
            let is_lost = self.roster.is_lost(slot) && !seen.ended.contains(&slot);
            if is_lost && seen.lost.insert(slot) {
                tell(Event::Lost(slot));
            } else if !is_lost && seen.lost.remove(&slot) {
                tell(Event::Returned(slot));
            }
        }
        let heard = (&*self.roster, &*self.ledger);
        seen.looking.pass(heard, &seen.ended, &seen.lost, tell);
    }

    async fn stop_agents(&self, run: &str, known: &Control) -> bool {
        let written = amend(self.bus, run, |control| {
            control.stops = true;
            Ok(())
        })
        .await;
        let is_written = written.is_ok();
        let control = written.unwrap_or_else(|_| known.clone());
        hint(self.bus, run, control).await;
        is_written
    }

    /// Reads what others have laid down for the agents to heed.
    async fn heed(&mut self, seen: &mut Seen, tell: &mut dyn FnMut(Event<'_>)) {
        let key = key::control(&self.lead.spec.run);
        let Ok(Some((control, _))) = self.bus.get::<Control>(&key).await else {
            return;
        };
        self.adopt(&control, seen, tell);
    }

    /// Takes what is new of what agents have to heed.
    fn adopt(&mut self, control: &Control, seen: &mut Seen, tell: &mut dyn FnMut(Event<'_>)) {
        // A store that was lost knows less.
        let changes = control.changes.get(seen.control.changes.len()..);
        let handovers = control.handovers.get(seen.control.handovers.len()..);
        let (changes, handovers) = (changes.unwrap_or_default(), handovers.unwrap_or_default());
        for change in changes {
            tell(Event::Changed(*change));
        }
        let warm_up_ns = as_ns(self.schedule.warm_up);
        for handover in handovers {
            let from_ns = handover.from_ns.saturating_sub(warm_up_ns);
            self.ledger.give_away(handover.lost, from_ns);
            for (slot, by) in handover.heirs().zip(&handover.by) {
                self.roster.admit_heir(slot, *by, handover.lost);
                if let Some(place) = &self.roster.places()[slot] {
                    self.ledger.expect(slot, &place.card.incarnation);
                }
            }
            tell(Event::HandedOver(handover.clone()));
        }
        // What is known stays as it is: agents have gone by it.
        seen.control.stops |= control.stops;
        seen.control.changes.extend_from_slice(changes);
        seen.control.handovers.extend_from_slice(handovers);
    }

    /// Gives the starts of agents that are lost to those that are not, if the
    /// scenario wants that and enough of it is left.
    async fn replace_lost(&mut self, seen: &mut Seen, tell: &mut dyn FnMut(Event<'_>)) {
        let spec = &self.lead.spec;
        if spec.scenario.fleet.lost_share != LostShare::Reassign {
            return;
        }
        // An agent lives or not, whatever the slots under which it tells.
        let is_gone = |slot: &usize| match &self.ledger.slots()[*slot].end {
            // Nobody has stopped the run: its machine has.
            Some(end) => end.is_early(),
            None => self.roster.is_lost(seen.control.agent_of(*slot)),
        };
        let is_left = |slot: &usize| seen.control.handed_over(*slot).is_none();
        let slots = 0..self.ledger.slots().len();
        let lost: Vec<usize> = slots
            .filter(|slot| is_gone(slot) && is_left(slot))
            .collect();
        let by: Vec<usize> = (0..spec.agents)
            .filter(|slot| !is_gone(slot) && is_left(slot))
            .collect();
        let elapsed = self.roster.elapsed();
        let hand_over = |control: &mut Control| {
            lost.iter()
                .all(|lost| control.hand_over(*lost, &by, spec.agents, elapsed, self.schedule))
        };
        if lost.is_empty() || by.is_empty() || !hand_over(&mut seen.control.clone()) {
            return;
        }
        let written = amend(self.bus, &spec.run, |control| {
            if !control.stops {
                hand_over(control);
            }
            Ok(())
        })
        .await;
        match written {
            Ok(control) => {
                hint(self.bus, &spec.run, control.clone()).await;
                self.adopt(&control, seen, tell);
            }
            Err(error) => tell(Event::Trouble(Chain(&error).to_string())),
        }
    }

    /// Renews the lead, and asks for what is missing.
    async fn lead_on(
        &mut self,
        seen: &mut Seen,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), FleetError> {
        renew(self.bus, self.lead).await?;
        if self.lead.revision == 0 {
            self.lay_down_again(&seen.control).await;
        }
        self.heed(seen, tell).await;
        if seen.asked.elapsed() >= ASK_AGAIN {
            seen.asked = Instant::now();
            self.ask_again().await;
        }
        Ok(())
    }

    /// Asks agents that have ended for what did not arrive, and those that
    /// have told all, as they say, for their end.
    async fn ask_again(&self) {
        let run = &self.lead.spec.run;
        let mut hint = Hint::default();
        for (slot, of) in self.ledger.slots().iter().enumerate() {
            let says_told = self.roster.has_told(slot);
            let want = match of.missing() {
                Some(seqs) if seqs.is_empty() => continue,
                Some(seqs) => Want {
                    protocol: PROTOCOL,
                    seqs,
                    end: false,
                },
                None if says_told => Want {
                    protocol: PROTOCOL,
                    seqs: Vec::new(),
                    end: true,
                },
                None => continue,
            };
            // If it cannot be written now, it is the next time.
            let _ = self.bus.put(&key::want(run, slot), &want).await;
            hint.wants.push((slot, want));
        }
        if !hint.wants.is_empty() {
            self.bus.tell("hint", run, &hint).await;
        }
    }

    /// Lays everything down again at a server that has lost its store: the lead
    /// last, so that nobody steers before all that was steered is there.
    async fn lay_down_again(&self, control: &Control) {
        let run = &self.lead.spec.run;
        if self.bus.prepare_again().await.is_err()
            || self
                .bus
                .put(&key::spec(run), &self.lead.spec)
                .await
                .is_err()
        {
            return;
        }
        if *control != nothing_to_heed()
            && self.bus.create(&key::control(run), control).await.is_err()
        {
            return;
        }
        if let Some(begin) = &self.lead.begin
            && self.bus.put(&key::begin(run), begin).await.is_err()
        {
            return;
        }
        for (slot, place) in self.roster.places().iter().enumerate() {
            if let Some(place) = place {
                let _ = self.bus.create(&key::card(run, slot), &place.card).await;
            }
        }
        // The next beat finds whose it is.
        let _ = self.bus.create(key::LEADER, &self.lead.leader).await;
    }
}

/// What agents have to heed before anybody has said anything.
fn nothing_to_heed() -> Control {
    Control {
        protocol: PROTOCOL,
        ..Control::default()
    }
}
