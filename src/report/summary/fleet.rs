//! What does a report say of the machines that made a load together?
//!
//! Coverage first: how much of the schedule is behind the figures, and what
//! became of each agent. All formats show these texts.

use std::time::Duration;

use super::Fact;
use super::facts::fact;
use super::verdicts::share;
use crate::record::FleetRecord;
use crate::units::{Grouped, Shown};

/// The headings of the table of agents.
pub const AGENT_HEADINGS: [&str; 9] = [
    "agent", "machine", "end", "starts", "told of", "until", "exact", "clock", "verdict",
];

/// Says what is covered.
#[must_use]
pub fn fleet_facts(fleet: &FleetRecord) -> Vec<Fact> {
    let coverage = &fleet.coverage;
    let count = |count: u64| Grouped(count as f64).to_string();
    let time = |ns| Shown(Duration::from_nanos(ns)).to_string();
    let deltas = &fleet.deltas;
    let mut facts = vec![
        fact(
            "agents",
            format!(
                "{} of {} joined, {} finished; starts were dealt out {}",
                fleet.joined,
                fleet.planned,
                fleet.finished,
                fleet.dealt.replace('-', " ")
            ),
        ),
        fact(
            "starts",
            format!(
                "{} of {} covered ({}), {} lost",
                count(coverage.covered),
                count(coverage.planned),
                share(coverage.covered as f64 / coverage.planned.max(1) as f64),
                count(coverage.lost)
            ),
        ),
        fact(
            "slices of agents",
            format!(
                "{} of {} covered, {} more added up with neighbours",
                count(coverage.slices_covered),
                count(coverage.slices_planned),
                count(coverage.slices_coalesced)
            ),
        ),
        fact(
            "beginnings",
            format!(
                "within {} of each other, clocks within {}",
                time(fleet.start_skew_ns),
                time(fleet.clock_bound_ns)
            ),
        ),
        fact(
            "messages",
            format!(
                "{} merged, {} sent again, {} duplicate, {} stale, {} rejected",
                count(deltas.merged),
                count(deltas.resent),
                count(deltas.duplicate),
                count(deltas.stale),
                count(deltas.rejected)
            ),
        ),
    ];
    if coverage.reassigned > 0 || coverage.surplus > 0 {
        facts.push(fact(
            "reassigned",
            match coverage.surplus {
                0 => format!(
                    "{} starts, of agents that were lost",
                    count(coverage.reassigned)
                ),
                surplus => format!(
                    "{} starts, of agents that were lost; {} made twice and left out",
                    count(coverage.reassigned),
                    count(surplus)
                ),
            },
        ));
    }
    if !fleet.changes.is_empty() {
        let changes: Vec<String> = fleet.changes.iter().map(ToString::to_string).collect();
        facts.push(fact("rate", changes.join(", ")));
        facts.push(fact(
            "not due",
            format!(
                "{} starts, as the rate was changed",
                count(coverage.not_due)
            ),
        ));
    }
    if fleet.takeovers > 0 {
        let word = if fleet.takeovers == 1 {
            "time"
        } else {
            "times"
        };
        let value = format!("taken over {} {word}", fleet.takeovers);
        facts.push(fact("coordinator", value));
    }
    if !fleet.refused.is_empty() {
        facts.push(fact("stayed away", fleet.refused.join("; ")));
    }
    facts
}

/// Returns a row for each agent and each part that it took over, under
/// [`AGENT_HEADINGS`].
#[must_use]
pub fn agent_rows(fleet: &FleetRecord) -> Vec<[String; AGENT_HEADINGS.len()]> {
    fleet
        .agents
        .iter()
        .map(|agent| {
            let sign = if agent.clock_offset_ns < 0 {
                "−"
            } else {
                "+"
            };
            let offset = Duration::from_nanos(agent.clock_offset_ns.unsigned_abs());
            [
                agent.in_place_of.map_or_else(
                    || agent.slot.to_string(),
                    |lost| format!("{} for {lost}", agent.slot),
                ),
                agent.host.clone(),
                agent.end.to_string(),
                Grouped(agent.planned as f64).to_string(),
                Grouped(agent.covered as f64).to_string(),
                Shown(Duration::from_nanos(agent.covered_until_ns)).to_string(),
                match agent.is_exact {
                    Some(true) => "yes",
                    Some(false) => "NO",
                    None => "unknown",
                }
                .to_owned(),
                format!("{sign}{}", Shown(offset)),
                agent
                    .validity
                    .map_or_else(|| "–".to_owned(), |validity| validity.to_string()),
            ]
        })
        .collect()
}
