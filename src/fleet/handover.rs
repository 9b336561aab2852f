//! Who makes the starts of an agent that was lost?
//!
//! If the scenario says so, those that are left: from a moment a little ahead
//! on, each takes an equal part of the lost share. A part is carried and told
//! under a slot of its own, as if one more agent had joined, so that counting
//! needs no other rules. The moment is settled (`replacing`): which
//! starts lie before it is the same, whoever asks and whatever is told later.
//! What the lost agent tells of later slices, should it be alive after all, is
//! counted apart.
//!
//! Nothing here speaks to a server.

use std::ops::Range;
use std::sync::Arc;

use super::message::{Card, Control, Handover};
use crate::load::share::{Handover as GivenAway, part_of};

impl Handover {
    /// Returns the slots under which the parts are told.
    #[must_use]
    pub fn heirs(&self) -> Range<usize> {
        self.first..self.first + self.by.len()
    }

    /// Returns the slot under which the agent in slot `by` tells its part, if
    /// it takes one.
    #[must_use]
    pub fn heir_of(&self, by: usize) -> Option<usize> {
        let at = self.by.iter().position(|taker| *taker == by)?;
        Some(self.first + at)
    }
}

impl Card {
    /// Returns what an agent is under the slot of a part that it took over.
    #[must_use]
    pub fn heir(&self, slot: usize) -> Self {
        Self {
            incarnation: heir_name(&self.incarnation, slot),
            ..self.clone()
        }
    }
}

/// Names an agent under the slot of a part that it took over: its messages
/// are numbered anew, and told apart by this.
pub(super) fn heir_name(incarnation: &str, slot: usize) -> String {
    format!("{incarnation}-{slot}")
}

impl Control {
    /// Was a slot's share given to others?
    #[must_use]
    pub fn handed_over(&self, slot: usize) -> Option<&Handover> {
        self.handovers.iter().find(|handover| handover.lost == slot)
    }

    /// Returns the agent's own slot under which it lives that tells in `slot`.
    #[must_use]
    pub fn agent_of(&self, slot: usize) -> usize {
        let taken = self
            .handovers
            .iter()
            .find(|handover| handover.heirs().contains(&slot));
        taken.map_or(slot, |handover| handover.by[slot - handover.first])
    }

    /// Returns the earliest moment, from the beginning, to which a further
    /// change or handover may be laid, in nanoseconds.
    #[must_use]
    pub fn settled_ns(&self) -> u64 {
        let changes = self.changes.iter().map(|change| change.from_ns);
        let handovers = self.handovers.iter().map(|handover| handover.from_ns);
        changes.chain(handovers).max().unwrap_or_default()
    }
}

/// Counts the slots of a run of `agents` agents, those of heirs included.
pub(super) fn slots_of(agents: usize, handovers: &[Handover]) -> usize {
    handovers.last().map_or(agents, |last| last.heirs().end)
}

/// Says what handovers make of the shares.
pub(super) fn given_away(handovers: &[Handover]) -> Arc<[GivenAway]> {
    handovers
        .iter()
        .map(|handover| GivenAway {
            lost: handover.lost,
            from_ns: handover.planned_ns,
            heirs: handover.heirs(),
        })
        .collect()
}

/// Returns how many of `whole` connections a slot opens.
pub(super) fn connections_of(
    whole: usize,
    agents: usize,
    handovers: &[Handover],
    slot: usize,
) -> usize {
    let taken = handovers
        .iter()
        .find(|handover| handover.heirs().contains(&slot));
    match taken {
        None => part_of(whole, slot, agents),
        Some(handover) => part_of(
            connections_of(whole, agents, handovers, handover.lost),
            slot - handover.first,
            handover.by.len(),
        ),
    }
}

/// Returns the share of the starts that each slot makes, 0 to 1; that of a
/// lost one is what it made before.
pub(super) fn shares_of(weights: &[f64], handovers: &[Handover]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    let mut shares: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    for handover in handovers {
        let part = shares[handover.lost] / handover.by.len() as f64;
        shares.resize(handover.heirs().end, part);
    }
    shares
}
