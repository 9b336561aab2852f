//! Where does a fleet stand at this moment, for whoever looks on?
//!
//! Two sources: beats say how far each agent is, half a second ago; the ledger
//! has what agents told of slices that are over, which is exact and later by
//! the longest request. Nothing here waits or changes what is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::as_ns;
use super::event::{AgentNow, Event, Live, Standing};
use super::ledger::{Ledger, Slot};
use super::message::State;
use super::roster::Roster;
use crate::load::observe::PassedSlice;
use crate::load::pacer::now_ns;

/// How far the own idea of the time may be from that of agents. A coordinator
/// that took over on another machine has another clock.
const ASTRAY: Duration = Duration::from_secs(2);

/// How old a beat may be that says what time it is.
const FRESH: Duration = Duration::from_secs(1);

/// What is remembered from one look to the next.
pub(super) struct Looking {
    /// The beginning, on this machine's monotonic clock.
    begun_ns: u64,
    told_until_ns: u64,
}

impl Looking {
    /// Begins to look at a run that begins at an instant of the monotonic
    /// clock.
    pub fn new(begun_ns: u64) -> Self {
        Self {
            begun_ns,
            told_until_ns: 0,
        }
    }

    /// Says where the fleet stands.
    pub fn look<'a>(
        &mut self,
        roster: &'a Roster,
        ledger: &'a Ledger,
        is_answering: bool,
    ) -> Live<'a> {
        let numbered = (0..).zip(ledger.slots());
        let agents: Vec<_> = numbered.map(|(slot, of)| agent(roster, slot, of)).collect();
        Live {
            elapsed: self.elapsed(&agents),
            progress: roster.progress(),
            agents,
            scheduled: ledger.slots().iter().map(|slot| slot.scheduled).sum(),
            outcomes: ledger.totals(),
            deltas: ledger.facts,
            is_answering,
        }
    }

    /// Returns the time since the beginning.
    fn elapsed(&mut self, agents: &[AgentNow<'_>]) -> Duration {
        let now_ns = now_ns();
        let said = agents
            .iter()
            .filter(|agent| agent.standing == Standing::Running && agent.silence < FRESH)
            .filter_map(|agent| Some(agent.beat?.elapsed_ns))
            .max();
        if let Some(said_ns) = said
            && now_ns.saturating_sub(self.begun_ns).abs_diff(said_ns) > as_ns(ASTRAY)
        {
            self.begun_ns = now_ns.saturating_sub(said_ns);
        }
        Duration::from_nanos(now_ns.saturating_sub(self.begun_ns))
    }

    /// Tells the slices of which everybody has told since the last time: all
    /// agents but those that have ended or are lost.
    pub fn pass(
        &mut self,
        ledger: &Ledger,
        ended: &BTreeSet<usize>,
        lost: &BTreeSet<usize>,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        let slots = ledger.slots();
        let told = |slot: &Slot| {
            if slot.has_gap() {
                self.told_until_ns
            } else {
                slot.covered_until_ns
            }
        };
        let waited_for = (0..)
            .zip(slots)
            .filter(|(number, _)| !ended.contains(number) && !lost.contains(number))
            .map(|(_, slot)| told(slot));
        let until_ns = waited_for
            .min()
            .or_else(|| slots.iter().map(|slot| slot.covered_until_ns).max())
            .unwrap_or_default();
        if until_ns > self.told_until_ns {
            let mut show = |slice: PassedSlice<'_>| tell(Event::Slice(slice));
            ledger
                .timeline()
                .show(self.told_until_ns, until_ns, &mut show);
            self.told_until_ns = until_ns;
        }
    }
}

fn agent<'a>(roster: &'a Roster, slot: usize, of: &Slot) -> AgentNow<'a> {
    let Some(place) = &roster.places()[slot] else {
        return AgentNow {
            host: "",
            standing: Standing::Absent,
            beat: None,
            silence: Duration::ZERO,
            wall_offset_ns: 0,
        };
    };
    let beat = place.beat.as_ref();
    let standing = match beat.map(|beat| beat.state) {
        _ if of.end.as_ref().is_some_and(|end| end.failed.is_some()) => Standing::Failed,
        _ if of.is_whole() => Standing::Ended,
        _ if roster.is_lost(slot) => Standing::Lost,
        None => Standing::Joined,
        Some(State::Ready) => Standing::Ready,
        Some(State::Running) => Standing::Running,
        Some(State::Told) => Standing::Told,
    };
    AgentNow {
        host: &place.card.host,
        standing,
        beat,
        silence: place.silence,
        wall_offset_ns: place.card.wall_offset_ns,
    }
}
