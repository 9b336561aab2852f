//! Which rules turn what is missing of a fleet's run into findings?
//!
//! Each rule has a code of its own, which `docs/fleet.md` lists. A finding
//! names the agent and what can be done; it never changes a figure.

use std::time::Duration;

use super::roster::Roster;
use crate::record::fleet::{AgentEnd, AgentRecord};
use crate::record::{Culprit, Finding, FleetRecord, Validity, Warning};
use crate::units::{Grouped, Shown};

/// The share of starts whose loss leaves a result in doubt; beyond, it is
/// none. One in a hundred moves the 99th percentile if all were slow.
const MOST_LOST: f64 = 0.01;

/// A wall clock that is off by more dates assertions so that endpoints may
/// refuse them; some allow no more than a minute.
pub const MOST_WALL_OFFSET: Duration = Duration::from_secs(1);

/// A skew of beginnings beyond which the first slices are not of one load.
const MOST_SKEW: Duration = Duration::from_millis(50);

/// Says what of a fleet's run is missing or in doubt.
pub(super) fn findings(
    fleet: &FleetRecord,
    roster: &Roster,
    rejections: &[String],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(lost(fleet));
    findings.extend(surplus(fleet));
    for agent in &fleet.agents {
        let who = format!("agent {} on {}", agent.slot, agent.host);
        findings.extend(of_agent(agent, &who, roster.was_lost(agent.slot)));
    }
    findings.extend(of_messages(fleet, rejections));
    findings
}

fn finding(validity: Validity, code: &str, message: String, hint: &str) -> Finding {
    Finding {
        validity,
        culprit: Culprit::Fleet,
        warning: Warning::new(code, message, hint),
    }
}

/// Are starts missing, and whose?
fn lost(fleet: &FleetRecord) -> Option<Finding> {
    let coverage = &fleet.coverage;
    if coverage.lost == 0 {
        return None;
    }
    let share = coverage.lost as f64 / coverage.planned.max(1) as f64;
    let losers: Vec<String> = fleet
        .agents
        .iter()
        .filter(|agent| agent.covered < agent.planned)
        .map(|agent| {
            format!(
                "agent {} on {} {} after {}",
                agent.slot,
                agent.host,
                agent.end,
                Shown(Duration::from_nanos(agent.covered_until_ns))
            )
        })
        .collect();
    // A run that somebody stopped is partial, and says so.
    let was_stopped = fleet
        .agents
        .iter()
        .any(|agent| agent.end == AgentEnd::Stopped);
    Some(finding(
        if share > MOST_LOST && !was_stopped {
            Validity::Invalid
        } else {
            Validity::Suspect
        },
        "fleet-lost",
        format!(
            "{} of {} starts ({:.2} %) were lost: {}",
            Grouped(coverage.lost as f64),
            Grouped(coverage.planned as f64),
            share * 100.0,
            losers.join(", ")
        ),
        "the figures are those of the starts that were told of; see why the agents ended",
    ))
}

/// Was more offered than planned, since an agent was replaced that lived?
fn surplus(fleet: &FleetRecord) -> Option<Finding> {
    let coverage = &fleet.coverage;
    if coverage.surplus == 0 {
        return None;
    }
    let share = coverage.surplus as f64 / coverage.planned.max(1) as f64;
    Some(finding(
        if share > MOST_LOST {
            Validity::Invalid
        } else {
            Validity::Suspect
        },
        "fleet-surplus",
        format!(
            "{} starts ({:.2} % of those planned) were made twice, by an agent that was taken for lost and by others",
            Grouped(coverage.surplus as f64),
            share * 100.0
        ),
        "the target had more load than planned for a time; see whether --lost-after is too short for the network",
    ))
}

/// What is in doubt about one agent?
fn of_agent(agent: &AgentRecord, who: &str, was_lost: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if agent.is_exact == Some(false) {
        findings.push(finding(
            Validity::Invalid,
            "fleet-totals",
            format!("what {who} told does not add up to what it measured"),
            "please report it with the scenario: no message may be lost or counted twice",
        ));
    }
    if agent.end == AgentEnd::Finished && agent.covered != agent.planned {
        findings.push(finding(
            Validity::Invalid,
            "fleet-schedule",
            format!(
                "{who} made {} starts, expected {}",
                Grouped(agent.covered as f64),
                Grouped(agent.planned as f64)
            ),
            "please report it with the scenario: agents disagree about the schedule",
        ));
    }
    let offset = Duration::from_nanos(agent.clock_offset_ns.unsigned_abs());
    if offset > MOST_WALL_OFFSET {
        findings.push(finding(
            Validity::Suspect,
            "fleet-clock",
            format!("the wall clock of {who} is off by {}", Shown(offset)),
            "set it; times are measured by other clocks, but its assertions may have been refused",
        ));
    }
    if let Some(given_away_ns) = agent.given_away_ns {
        findings.push(finding(
            Validity::Suspect,
            "fleet-reassigned",
            format!(
                "{who} was lost or stopped, and others made its starts from {} on",
                Shown(Duration::from_nanos(given_away_ns))
            ),
            "each of the others carried more from then on; see the timeline, and why the agent ended",
        ));
    }
    if was_lost {
        findings.push(finding(
            Validity::Suspect,
            "fleet-stalled",
            format!("{who} was silent for a time and came back"),
            "it may have stood still, and what was due meanwhile was sent late; see its lags",
        ));
    }
    if agent.heard_late_ns > 0 {
        findings.push(finding(
            Validity::Suspect,
            "fleet-control",
            format!(
                "{who} heard of a change of rate {} too late",
                Shown(Duration::from_nanos(agent.heard_late_ns))
            ),
            "until then it sent at the former rate; see whether its network was cut",
        ));
    }
    // Of a share without a start there is nothing to say.
    if agent.validity == Some(Validity::Invalid) && agent.covered > 0 {
        findings.push(finding(
            Validity::Suspect,
            "fleet-agent",
            format!("{who} calls its own share INVALID"),
            "it measured itself more than the target; lower the rate or add agents",
        ));
    }
    if let Some(why) = &agent.why {
        let is_replaced = agent.given_away_ns.is_some();
        findings.push(finding(
            if is_replaced {
                Validity::Suspect
            } else {
                Validity::Invalid
            },
            "fleet-failed",
            format!("{who} could not go on: {why}"),
            if is_replaced {
                "others made the rest of its share"
            } else {
                "its share of the starts was not made"
            },
        ));
    }
    findings
}

/// What is in doubt about messages and the beginning?
fn of_messages(fleet: &FleetRecord, rejections: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let coalesced = fleet.coverage.slices_coalesced;
    if coalesced > 0 {
        findings.push(finding(
            Validity::Suspect,
            "fleet-coalesced",
            format!(
                "{} slices of agents were added up with neighbours while the server was away",
                Grouped(coalesced as f64)
            ),
            "no count is missing; time is coarser there",
        ));
    }
    if !rejections.is_empty() {
        findings.push(finding(
            Validity::Suspect,
            "fleet-rejected",
            format!(
                "{} messages were not what they have to be: {}",
                fleet.deltas.rejected,
                rejections.join("; ")
            ),
            "see who else may publish to the fleet's subjects",
        ));
    }
    let skew = Duration::from_nanos(fleet.start_skew_ns + fleet.clock_bound_ns);
    if skew > MOST_SKEW {
        findings.push(finding(
            Validity::Suspect,
            "fleet-skew",
            format!("agents began up to {} apart", Shown(skew)),
            "the network to the server is slow, or machines were busy; the first slices are not of one load",
        ));
    }
    findings
}
