//! What does a monitoring system get of a fleet, beside the load as a whole?
//!
//! The figures of the whole are replaced with each look by the sums over all
//! messages that were merged, whenever they came: at the end they are those of
//! the record. Gauges of agents are of their beats.

use std::collections::BTreeMap;

use super::instrument::{Instrument, Value};
use super::totals::Totals;
use crate::fleet::event::{Event, Live, Standing};
use crate::live::fleet::agents::word;
use crate::record::fleet::DeltaFacts;

/// Who takes part, and what became of messages.
#[derive(Debug, Default)]
pub(super) struct FleetCounts {
    agents: BTreeMap<Standing, u64>,
    deltas: DeltaFacts,
    unsent: u64,
    factor_ppm: Option<u64>,
}

impl FleetCounts {
    /// Takes an event in; `totals` are those of the load as a whole.
    pub fn hear(&mut self, event: &Event<'_>, totals: &mut Totals) {
        match event {
            Event::Leads { agents, .. } => {
                self.agents = BTreeMap::from([(Standing::Absent, *agents as u64)]);
            }
            Event::Joined { joined, .. } => {
                let all: u64 = self.agents.values().sum();
                let joined = *joined as u64;
                self.agents.insert(Standing::Joined, joined);
                let absent = all.saturating_sub(joined);
                self.agents.insert(Standing::Absent, absent);
            }
            Event::Progress(live) => self.look(live, totals),
            Event::Changed(change) => self.factor_ppm = Some(change.factor_ppm),
            _ => {}
        }
    }

    fn look(&mut self, live: &Live<'_>, totals: &mut Totals) {
        totals.replace(live.scheduled, live.outcomes);
        (totals.in_flight, totals.waiting) = (0, 0);
        // A state that nobody is in any more is told as such.
        self.agents.values_mut().for_each(|count| *count = 0);
        for agent in &live.agents {
            *self.agents.entry(agent.standing).or_default() += 1;
            if let (Standing::Running, Some(beat)) = (agent.standing, agent.beat) {
                let ended = beat.answered + beat.failed;
                totals.in_flight += beat.sent.saturating_sub(ended);
                totals.waiting += beat.due.saturating_sub(beat.sent);
            }
        }
        self.deltas = live.deltas;
        self.unsent = live.progress.waiting;
    }

    /// Returns the instruments.
    pub fn instruments(&self) -> Vec<Instrument> {
        let states = self.agents.iter().map(|(standing, count)| {
            let label = word(*standing).replace(' ', "_");
            (vec![("state", label)], Value::Gauge(*count as f64))
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
                "Agents, by where they stand.",
                states.collect(),
            ),
            Instrument::counters(
                "mintmark_fleet_messages",
                "Messages of agents, by what became of them.",
                "result",
                deltas.into_iter(),
            ),
            Instrument::single(
                "mintmark_fleet_messages_unsent",
                "Messages that agents hold and the server has not acknowledged.",
                Value::Gauge(self.unsent as f64),
            ),
            Instrument::single(
                "mintmark_fleet_rate_factor",
                "The last factor of the scenario's rate that was laid down.",
                Value::Gauge(self.factor_ppm.map_or(1.0, |ppm| ppm as f64 / 1e6)),
            ),
        ]
    }
}
