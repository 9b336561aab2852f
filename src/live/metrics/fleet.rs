//! What does a monitoring system get of a fleet, beside the load as a whole?
//!
//! The figures of the whole are replaced with each look by the sums over all
//! messages that were merged, whenever they came: at the end they are those of
//! the record. Gauges of agents are of their beats.

use std::time::Instant;

use super::instrument::{Instrument, Value};
use super::totals::Totals;
use crate::fleet::event::Event;
use crate::live::fleet::agents::{Agents, State, census};
use crate::record::fleet::DeltaFacts;

/// Who takes part, and what became of messages.
#[derive(Default)]
pub(super) struct FleetCounts {
    agents: Agents,
    deltas: DeltaFacts,
    untold: u64,
    factor_ppm: Option<u64>,
}

impl FleetCounts {
    /// Takes an event in that is heard `now`; `totals` are those of the load as
    /// a whole.
    pub fn hear(&mut self, event: &Event<'_>, now: Instant, totals: &mut Totals) {
        match event {
            Event::Leads { agents, .. } => self.agents = Agents::new(*agents),
            Event::Joined { slot, host, .. } => self.agents.join(*slot, host),
            Event::Progress(live) => {
                totals.replace(live.scheduled, live.outcomes);
                self.agents.hear(&live.agents, now);
                let counted = self.agents.counted();
                (totals.in_flight, totals.waiting) = (counted.in_flight, counted.waiting);
                self.deltas = live.deltas;
                self.untold = live.progress.waiting;
            }
            Event::Changed(change) => self.factor_ppm = Some(change.factor_ppm),
            _ => {}
        }
    }

    /// Returns the instruments.
    pub fn instruments(&self) -> Vec<Instrument> {
        let counts = census(self.agents.rows.iter());
        // A state that nobody is in is told as such.
        let states = State::ALL.into_iter().map(|state| {
            let count = counts.get(&state).copied().unwrap_or_default();
            let labels = vec![("state", state.word().to_owned())];
            (labels, Value::Gauge(count as f64))
        });
        let deltas = [
            ("merged", self.deltas.merged),
            ("duplicate", self.deltas.duplicate),
            ("stale", self.deltas.stale),
            ("rejected", self.deltas.rejected),
        ];
        vec![
            Instrument::of(
                "mintmark_fleet_agents",
                "Agents, by what they do.",
                states.collect(),
            ),
            Instrument::counters(
                "mintmark_fleet_messages",
                "Messages of agents, by what became of them.",
                "result",
                deltas.into_iter(),
            ),
            Instrument::single(
                "mintmark_fleet_messages_untold",
                "Messages that agents hold and the server has not acknowledged.",
                Value::Gauge(self.untold as f64),
            ),
            Instrument::single(
                "mintmark_fleet_rate_factor",
                "The last factor of the scenario's rate that was laid down.",
                Value::Gauge(self.factor_ppm.map_or(1.0, |ppm| ppm as f64 / 1e6)),
            ),
        ]
    }
}
