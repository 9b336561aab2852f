//! What did the fleet measure as one load, what is missing, and what does that
//! make of the result?
//!
//! How many starts each agent had to make follows from the schedule alone; how
//! many it told of is in the ledger. The difference is lost, and named. Rules
//! turn what is missing or in doubt into findings, beside those that the
//! figures themselves give rise to. Nothing is ever estimated for what is
//! missing.

use super::as_ns;
use super::finding::findings;
use super::handover::shares_of;
use super::ledger::Ledger;
use super::message::{Begin, Control, Dealing, Handover, PROTOCOL, Totals};
use super::roster::Roster;
use super::schedule::Schedule;
use super::whole::whole;
use crate::load::open::OpenMeasured;
use crate::load::verdict::judge;
use crate::record::fleet::{AgentEnd, AgentRecord, Coverage, DeltaFacts};
use crate::record::{Calibration, Culprit, FleetRecord, RateChange, Soundness, Validity};

/// What a fleet came to.
pub struct Outcome {
    /// What it measured.
    pub measured: OpenMeasured,
    /// The verdict on it.
    pub soundness: Soundness,
    /// What all machines together can do, if each of them was asked.
    pub calibration: Option<Calibration>,
    /// Who took part, and what is missing.
    pub fleet: FleetRecord,
}

/// What is known of a run at its end.
pub struct Ended<'a> {
    /// What was to be done.
    pub schedule: &'a Schedule,
    /// How starts were dealt out.
    pub begin: &'a Begin,
    /// What agents had to heed meanwhile.
    pub control: &'a Control,
    /// Who took part.
    pub roster: &'a Roster,
    /// How often a coordinator took the run over.
    pub takeovers: u32,
    /// Agents that were turned away.
    pub refused: Vec<String>,
}

/// Makes the result of what the agents told.
#[must_use]
pub fn settle(ledger: Ledger, ended: &Ended<'_>) -> Outcome {
    let Control {
        changes, handovers, ..
    } = ended.control;
    // Whoever was replaced says nothing of the whole: it may have made starts
    // that were others'.
    let totals: Vec<Option<Totals>> = ledger
        .slots()
        .iter()
        .map(|slot| {
            let end = slot.end.as_ref().filter(|_| slot.given_away_ns.is_none());
            end?.totals.as_deref().cloned()
        })
        .collect();
    let slots = ledger.slots().len();
    // Where agents alone can count, who heard of everything has counted right.
    let told = || {
        let mut all = totals.iter().flatten();
        let heard = |one: &&Totals| one.changes_heard >= changes.len();
        let planned = all.find(heard)?.planned.clone();
        planned.filter(|planned| planned.len() == slots)
    };
    let planned = ended
        .schedule
        .planned(ended.begin, changes, handovers)
        .or_else(told);
    let mut fleet = record(&ledger, ended, planned.as_deref());
    fleet.deltas = DeltaFacts {
        resent: ledger
            .slots()
            .iter()
            .filter_map(|slot| slot.end.as_ref())
            .map(|end| end.resent)
            .sum(),
        ..ledger.facts
    };
    let rejections = ledger.rejections.clone();
    let measured = whole(ledger, &totals, ended.schedule);
    let agents = ended.begin.weights.len();
    let calibration = calibration(&totals[..agents.min(totals.len())]);
    let mut soundness = judge(&measured, calibration.as_ref());
    let mut findings = findings(&fleet, ended.roster, &rejections);
    findings.append(&mut soundness.findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.validity));
    if findings
        .first()
        .is_some_and(|worst| worst.culprit == Culprit::Fleet)
    {
        soundness.culprit = Culprit::Fleet;
    }
    soundness.validity = findings
        .first()
        .map_or(Validity::Valid, |worst| worst.validity);
    soundness.findings = findings;
    Outcome {
        measured,
        soundness,
        calibration,
        fleet,
    }
}

fn record(ledger: &Ledger, ended: &Ended<'_>, planned: Option<&[u64]>) -> FleetRecord {
    let slices = ended
        .schedule
        .measure
        .as_nanos()
        .div_ceil(ended.schedule.slice.as_nanos().max(1));
    let slices = u64::try_from(slices).unwrap_or(u64::MAX);
    let Control {
        changes, handovers, ..
    } = ended.control;
    let shares = shares_of(&ended.begin.weights, handovers);
    let mut coverage = Coverage {
        not_due: ended.schedule.not_due(changes),
        ..Coverage::default()
    };
    let mut agents = Vec::new();
    for (number, slot) in ledger.slots().iter().enumerate() {
        let planned = planned.map_or(slot.scheduled, |planned| planned[number]);
        coverage.planned += planned;
        coverage.covered += slot.scheduled;
        coverage.lost += planned.saturating_sub(slot.scheduled);
        coverage.surplus += slot.surplus;
        if number >= ended.begin.weights.len() {
            coverage.reassigned += planned;
        }
        let slices = slices_of(number, slices, ended);
        // Who has told all left out slices in which nothing was due.
        let told = if slot.is_whole() {
            slices
        } else {
            slot.slices.len() as u64
        };
        coverage.slices_planned += slices;
        coverage.slices_coalesced += slot.coalesced;
        coverage.slices_covered += told.saturating_sub(slot.coalesced);
        let totals = slot.end.as_ref().and_then(|end| end.totals.as_deref());
        let place = ended.roster.places().get(number).and_then(Option::as_ref);
        let Some(place) = place else {
            continue;
        };
        let end = match (&slot.end, totals) {
            (Some(_), Some(_)) if slot.given_away_ns.is_some() => AgentEnd::Replaced,
            (Some(_), Some(totals)) if totals.was_stopped => AgentEnd::Stopped,
            (Some(_), Some(_)) if slot.is_whole() => AgentEnd::Finished,
            (Some(end), _) if end.failed.is_some() => AgentEnd::Failed,
            _ => AgentEnd::Lost,
        };
        agents.push(AgentRecord {
            slot: number,
            in_place_of: place.in_place_of,
            host: place.card.host.clone(),
            cpus: place.card.cpus,
            signs_per_s: place.card.signs_per_s,
            share: shares[number],
            clock_offset_ns: place.card.wall_offset_ns,
            clock_bound_ns: place.card.clock_bound_ns,
            began_late_ns: totals.map(|totals| totals.began_late_ns),
            heard_late_ns: totals.map_or(0, |totals| heard_late(totals, changes)),
            end,
            why: slot.end.as_ref().and_then(|end| end.failed.clone()),
            planned,
            covered: slot.scheduled,
            covered_until_ns: slot.covered_until_ns,
            given_away_ns: slot.given_away_ns,
            surplus: slot.surplus,
            is_exact: slot.is_exact().filter(|_| slot.is_whole()),
            validity: totals.map(|totals| totals.soundness.validity),
        });
    }
    if planned.is_none() {
        // Whose the others were only agents know, and none of them said.
        coverage.planned = ended.schedule.measured(changes).count() as u64;
        coverage.lost = coverage.planned.saturating_sub(coverage.covered);
    }
    let own = || agents.iter().filter(|agent| agent.in_place_of.is_none());
    let late = own().filter_map(|agent| agent.began_late_ns);
    let skew = late.clone().max().unwrap_or(0) - late.min().unwrap_or(0);
    FleetRecord {
        protocol: PROTOCOL,
        planned: ended.begin.weights.len(),
        joined: own().count(),
        finished: own()
            .filter(|agent| agent.end == AgentEnd::Finished)
            .count(),
        dealt: match ended.begin.dealt {
            Dealing::InTurns => "in-turns",
            Dealing::ByLot => "by-lot",
            Dealing::BySubject => "by-subject",
        }
        .to_owned(),
        coverage,
        changes: changes.clone(),
        start_skew_ns: skew,
        clock_bound_ns: agents
            .iter()
            .map(|agent| agent.clock_bound_ns)
            .max()
            .unwrap_or_default(),
        deltas: DeltaFacts::default(),
        takeovers: ended.takeovers,
        agents,
        refused: ended.refused.clone(),
    }
}

/// Counts the slices, of `all` of the measured phase, in which a slot makes
/// starts.
fn slices_of(number: usize, all: u64, ended: &Ended<'_>) -> u64 {
    let before = |handover: &Handover| {
        let from_ns = handover
            .from_ns
            .saturating_sub(as_ns(ended.schedule.warm_up));
        (from_ns / as_ns(ended.schedule.slice).max(1)).min(all)
    };
    let handovers = &ended.control.handovers;
    let mut taken = handovers
        .iter()
        .filter(|handover| handover.heirs().contains(&number));
    let begins = taken.next().map_or(0, before);
    let ends = ended.control.handed_over(number).map_or(all, before);
    ends.saturating_sub(begins)
}

/// Returns how late an agent heard of a change, at most; one that it did not
/// hear of counts until the agent's end.
fn heard_late(totals: &Totals, changes: &[RateChange]) -> u64 {
    let ended_ns = totals.phases.warm_up_ns + totals.phases.measured_ns;
    let unheard = changes
        .get(totals.changes_heard)
        .map_or(0, |change| ended_ns.saturating_sub(change.from_ns));
    totals.heard_late_ns.max(unheard)
}

/// What all machines together can do: the weakest's ceiling times their
/// number, since shares are equal or nearly; the slowest floor.
fn calibration(totals: &[Option<Totals>]) -> Option<Calibration> {
    let each: Option<Vec<Calibration>> = totals
        .iter()
        .map(|totals| totals.as_ref()?.calibration)
        .collect();
    let each = each?;
    let least = each.iter().map(|one| one.ceiling_per_s).reduce(f64::min)?;
    Some(Calibration {
        ceiling_per_s: least * each.len() as f64,
        floor_p50_ns: each.iter().map(|one| one.floor_p50_ns).max()?,
        floor_p99_ns: each.iter().map(|one| one.floor_p99_ns).max()?,
    })
}
