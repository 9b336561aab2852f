//! Where does a fleet stand at this moment, for whoever looks on?
//!
//! Two sources: beats say how far each agent is, half a second ago; the ledger
//! has what agents told of slices that are over, which is exact and later by
//! the longest request. Nothing here waits or changes what is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{AgentNow, Event, Live, Standing};
use super::ledger::{Ledger, Slot};
use super::message::State;
use super::roster::{Place, Roster};
use crate::load::observe::PassedSlice;

/// What is remembered from one look to the next.
#[derive(Default)]
pub(super) struct Looking {
    told_until_ns: u64,
}

/// Says where the fleet stands, `elapsed` after its beginning.
pub(super) fn look<'a>(
    roster: &'a Roster,
    ledger: &'a Ledger,
    elapsed: Duration,
    is_answering: bool,
) -> Live<'a> {
    let numbered = roster.places().iter().zip(ledger.slots()).enumerate();
    Live {
        elapsed,
        progress: roster.progress(),
        agents: numbered
            .map(|(slot, (place, of))| agent(place.as_ref(), of, roster.is_lost(slot)))
            .collect(),
        scheduled: ledger.slots().iter().map(|slot| slot.scheduled).sum(),
        outcomes: ledger.totals(),
        deltas: ledger.facts,
        is_answering,
    }
}

impl Looking {
    /// Tells the slices of which everybody has told since the last time: all
    /// agents but those that have ended or are lost.
    pub fn pass(
        &mut self,
        (roster, ledger): (&Roster, &Ledger),
        ended: &BTreeSet<usize>,
        lost: &BTreeSet<usize>,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        let slots = ledger.slots();
        let is_waited_for = |number: usize, slot: &Slot| {
            slot.given_away_ns.is_none() && !ended.contains(&number) && !lost.contains(&number)
        };
        let told = slots
            .iter()
            .enumerate()
            .filter(|(number, slot)| is_waited_for(*number, slot))
            .map(|(number, slot)| {
                if slot.has_gap() {
                    return self.told_until_ns;
                }
                // Who took a share over has nothing to tell of earlier slices.
                let place = roster.places().get(number).and_then(Option::as_ref);
                let taken = place.and_then(|place| slots.get(place.in_place_of?)?.given_away_ns);
                slot.covered_until_ns.max(taken.unwrap_or_default())
            });
        let until_ns = told
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

fn agent<'a>(place: Option<&'a Place>, of: &Slot, is_lost: bool) -> AgentNow<'a> {
    let Some(place) = place else {
        return AgentNow {
            host: "",
            in_place_of: None,
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
        _ if is_lost => Standing::Lost,
        None => Standing::Joined,
        Some(State::Ready) => Standing::Ready,
        Some(State::Running) => Standing::Running,
        Some(State::Told) => Standing::Told,
    };
    AgentNow {
        host: &place.card.host,
        in_place_of: place.in_place_of,
        standing,
        beat,
        silence: place.silence,
        wall_offset_ns: place.card.wall_offset_ns,
    }
}
