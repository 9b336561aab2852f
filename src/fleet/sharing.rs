//! Can a scenario be shared out to machines, and how?
//!
//! Only a schedule can: what one machine does with another's answer is not
//! known in advance. Starts are dealt out so that each machine's are of the
//! kind of the whole.

use super::FleetError;
use super::message::Dealing;
use crate::load::arrival::Spacing;
use crate::load::assertions::Mode;
use crate::scenario::open::RatePlan;
use crate::scenario::{LostShare, Plan, TargetPlan};

/// Can a plan be shared out?
pub(super) fn check(plan: &Plan) -> Result<(), FleetError> {
    let wrong = |field, found: &str, expected| {
        Err(FleetError::Scenario {
            field,
            found: found.to_owned(),
            expected,
        })
    };
    let Some(open) = plan.load.open.as_ref().filter(|_| plan.steps.is_empty()) else {
        return wrong(
            "load.closed",
            "given",
            "load.open: a schedule is what is shared out",
        );
    };
    if matches!(open.rate, RatePlan::Closed { .. }) {
        return wrong(
            "load.closed",
            "given",
            "load.open: a schedule is what is shared out",
        );
    }
    if open.signing == Mode::Preminted {
        return wrong(
            "signing.mode",
            "preminted",
            "mint or inline: nobody knows how long other machines take for it",
        );
    }
    if plan.fleet.lost_share == LostShare::Reassign && open.cache.is_some() {
        return wrong(
            "fleet.lost_share",
            "reassign with load.cache",
            "report: the tokens that an agent keeps are lost with it, and others would begin without",
        );
    }
    if matches!(plan.target, TargetPlan::Broker { .. }) {
        return wrong(
            "target.broker",
            "given",
            "target.url; `mintmark fleet local` starts a broker for agents on one machine",
        );
    }
    Ok(())
}

/// Says how starts are dealt out: so that each agent's are what the whole is.
pub(super) fn dealing_of(plan: &Plan) -> Dealing {
    match &plan.load.open {
        // A token is kept by one machine.
        Some(open) if open.cache.is_some() => Dealing::BySubject,
        Some(open) if open.arrival == Spacing::Poisson && is_drawn(&open.rate) => Dealing::ByLot,
        _ => Dealing::InTurns,
    }
}

fn is_drawn(rate: &RatePlan) -> bool {
    matches!(rate, RatePlan::Pieces(_))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Scenario;

    fn checked(load: &str, rules: &str) -> Result<(), FleetError> {
        let scenario = format!(
            "name = \"shared\"\ntarget = {{ url = \"http://127.0.0.1:1/oauth2/token\" }}\n\
             credentials = {{ config = \"app.json\" }}\nload = {{ {load}, measure = \"5s\" }}\n{rules}\n"
        );
        let scenario = Scenario::from_toml(&scenario, Path::new("shared.toml")).unwrap();
        check(&scenario.plan().unwrap())
    }

    #[test]
    fn what_cannot_be_shared_out_is_refused_by_its_field() {
        let open = "open = { per_s = 100.0 }";
        let reassign = "fleet = { lost_share = \"reassign\" }";
        assert!(checked(open, "").is_ok());
        assert!(checked(open, reassign).is_ok());
        let cached = format!("{open}, cache = {{ hits = 0.5 }}");
        assert!(checked(&cached, "").is_ok());
        for (load, rules, expected) in [
            (cached.as_str(), reassign, "fleet.lost_share"),
            ("closed = { workers = 2 }", "", "load.closed"),
            (open, "signing = { mode = \"preminted\" }", "signing.mode"),
        ] {
            match checked(load, rules) {
                Err(FleetError::Scenario { field, .. }) => assert_eq!(field, expected),
                other => panic!("{load} {rules}: {other:?}"),
            }
        }
    }
}
