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

#[cfg(test)]
mod tests {
    use super::super::ledger::Taken;
    use super::super::message::{Delta, End, Part, Sender, Slice, Told};
    use super::super::roster::tests::{beat, card};
    use super::*;
    use crate::load::observe::Sets;

    const SLICE: u64 = 1_000_000_000;

    fn sender(slot: usize) -> Sender {
        Sender {
            run: "r".into(),
            slot,
            incarnation: format!("agent-{slot}"),
        }
    }

    /// A ledger and a roster of agents that send.
    fn fleet(agents: usize) -> (Roster, Ledger) {
        let mut roster = Roster::new(agents, Duration::from_secs(8));
        let mut ledger = Ledger::new("r", agents, SLICE, 20 * SLICE);
        for slot in 0..agents {
            let name = sender(slot).incarnation;
            roster.admit(slot, card(&name));
            roster.heard(beat(slot, &name));
            ledger.expect(slot, &name);
        }
        (roster, ledger)
    }

    /// An agent tells of slice `index` by its message number `seq`.
    fn tell(ledger: &mut Ledger, slot: usize, seq: u64, index: u64) {
        let mut sets = Sets::default();
        sets.response.record(Duration::from_millis(3));
        let slice = Slice {
            start_ns: index * SLICE,
            length_ns: SLICE,
            scheduled: 1,
            outcomes: vec![Part::of("answered", 1, &sets.pack())],
        };
        let delta = Told::Delta(Delta {
            of: sender(slot),
            seq,
            slices: vec![slice],
        });
        assert_eq!(ledger.take(&delta.to_frame()), Taken::Merged);
    }

    /// Returns the slices that are told now, with their starts.
    fn passed(
        looking: &mut Looking,
        fleet: (&Roster, &Ledger),
        ended: &[usize],
        lost: &[usize],
    ) -> Vec<(u64, u64)> {
        let set = |slots: &[usize]| slots.iter().copied().collect();
        let mut told = Vec::new();
        looking.pass(fleet, &set(ended), &set(lost), &mut |event| {
            if let Event::Slice(slice) = event {
                told.push((slice.start_ns / SLICE, slice.scheduled));
            }
        });
        told
    }

    #[test]
    fn a_slice_is_told_once_when_the_last_that_lives_has_told_of_it() {
        let (roster, mut ledger) = fleet(3);
        let mut looking = Looking::default();
        tell(&mut ledger, 0, 1, 0);
        tell(&mut ledger, 1, 1, 0);
        assert!(passed(&mut looking, (&roster, &ledger), &[], &[]).is_empty());
        tell(&mut ledger, 2, 1, 0);
        let now = passed(&mut looking, (&roster, &ledger), &[], &[]);
        assert_eq!(now, [(0, 3)]);
        assert!(passed(&mut looking, (&roster, &ledger), &[], &[]).is_empty());
        // One is lost meanwhile, and another has ended without a start in it.
        tell(&mut ledger, 0, 2, 1);
        let now = passed(&mut looking, (&roster, &ledger), &[2], &[1]);
        assert_eq!(now, [(1, 1)]);
    }

    #[test]
    fn a_message_that_overtakes_another_tells_of_no_slice_before_it() {
        let (roster, mut ledger) = fleet(1);
        let mut looking = Looking::default();
        tell(&mut ledger, 0, 2, 1);
        assert!(passed(&mut looking, (&roster, &ledger), &[], &[]).is_empty());
        tell(&mut ledger, 0, 1, 0);
        let now = passed(&mut looking, (&roster, &ledger), &[], &[]);
        assert_eq!(now, [(0, 1), (1, 1)]);
    }

    #[test]
    fn who_takes_a_share_over_is_not_waited_for_before_that() {
        let (mut roster, mut ledger) = fleet(2);
        ledger.give_away(1, 2 * SLICE);
        roster.admit_heir(2, 0, 1);
        ledger.expect(2, &sender(2).incarnation);
        let mut looking = Looking::default();
        for index in 0..3 {
            tell(&mut ledger, 0, index + 1, index);
        }
        let now = passed(&mut looking, (&roster, &ledger), &[], &[]);
        assert_eq!(now, [(0, 1), (1, 1)]);
        tell(&mut ledger, 2, 1, 2);
        let now = passed(&mut looking, (&roster, &ledger), &[], &[]);
        assert_eq!(now, [(2, 2)]);
    }

    #[test]
    fn an_agent_stands_where_it_was_last_seen() {
        let (mut roster, mut ledger) = fleet(4);
        let end = |failed: Option<&str>| End {
            of: sender(0),
            last_seq: 0,
            resent: 0,
            failed: failed.map(str::to_owned),
            totals: None,
        };
        ledger.take(&Told::End(end(Some("no key"))).to_frame());
        let of_one = End {
            of: sender(1),
            ..end(None)
        };
        ledger.take(&Told::End(of_one).to_frame());
        roster.pass(Duration::from_secs(9));
        roster.heard(beat(3, &sender(3).incarnation));
        let live = look(&roster, &ledger, Duration::ZERO, true);
        let standings: Vec<_> = live.agents.iter().map(|agent| agent.standing).collect();
        let seen = [
            Standing::Failed,
            Standing::Ended,
            Standing::Lost,
            Standing::Running,
        ];
        assert_eq!(standings, seen);
        assert_eq!((live.progress.due, live.progress.sent), (24, 20));
    }
}
