//! Which starts does a run have, and whose are they?
//!
//! Agents and the coordinator work both out from the same scenario, for as much
//! as they know of changes and handovers: nothing here asks anybody.

use std::sync::Arc;
use std::time::Duration;

use super::handover::{given_away, slots_of};
use super::message::{Begin, Dealing, Handover};
use super::{FleetError, as_ns};
use crate::load::arrival::{Arrival, Start};
use crate::load::open::Model;
use crate::load::pace::{Pace, Warp};
use crate::load::population::Population;
use crate::load::share::{Dealt, Share};
use crate::record::RateChange;
use crate::scenario::{Plan, RunError};

/// A schedule as the coordinator knows it.
pub struct Schedule {
    /// All starts, warm-up included.
    pub arrival: Arrival,
    /// The end of the whole sequence after so many counted starts.
    pub count: Option<u64>,
    /// The seed by which starts are drawn by lot.
    pub seed: u64,
    /// When counting begins.
    pub warm_up: Duration,
    /// For how long starts count.
    pub measure: Duration,
    /// The length of a slice.
    pub slice: Duration,
    /// Who asks, where starts are dealt out by subject.
    pub population: Option<Arc<Population>>,
}

impl Schedule {
    /// Returns the schedule of a plan.
    ///
    /// # Errors
    ///
    /// It has none, or a recorded one cannot be read.
    pub fn of(plan: &Plan) -> Result<Self, FleetError> {
        let open = plan.load.open.as_ref();
        let engine = open.ok_or(RunError::Closed)?.engine(&plan.load)?;
        let Model::Open(arrival) = engine.model else {
            return Err(RunError::Closed.into());
        };
        Ok(Self {
            arrival,
            count: engine.count,
            seed: open.map_or(1, |open| open.seed),
            warm_up: engine.warm_up,
            measure: engine.measure,
            slice: engine.slice,
            population: None,
        })
    }

    /// Counts the starts that are due in the measured phase and each slot's,
    /// when the rate was changed and shares handed over as given; `None` if
    /// that takes a population that is not here.
    #[must_use]
    pub fn planned(
        &self,
        begin: &Begin,
        changes: &[RateChange],
        handovers: &[Handover],
    ) -> Option<Vec<u64>> {
        let mut planned = vec![0; slots_of(begin.weights.len(), handovers)];
        let share = share_of(begin, 0, handovers, self.seed, self.population.as_ref())?;
        for start in self.measured(changes) {
            planned[share.owner(start.index, start.due_ns)] += 1;
        }
        Some(planned)
    }

    /// Iterates over the starts, as planned, that are due in the measured
    /// phase.
    pub(super) fn measured(&self, changes: &[RateChange]) -> impl Iterator<Item = Start> {
        let warm_up_ns = as_ns(self.warm_up);
        let end_ns = warm_up_ns + as_ns(self.measure);
        let mut starts = self.arrival.starts(0, 1);
        if let Some(count) = self.count {
            starts = starts.limited(self.warm_up, count);
        }
        let pace = (!changes.is_empty()).then(|| Arc::new(Pace::of(changes.to_vec())));
        let mut warp = Warp::of(pace);
        starts
            .map(move |start| (start, warp.due_ns(start.due_ns)))
            .take_while(move |(_, due_ns)| *due_ns < end_ns)
            .filter(move |(_, due_ns)| *due_ns >= warm_up_ns)
            .map(|(start, _)| start)
    }

    /// Counts the starts that changes of the rate left out of the measured
    /// phase.
    pub(super) fn not_due(&self, changes: &[RateChange]) -> u64 {
        if changes.is_empty() {
            return 0;
        }
        let whole = self.measured(&[]).count() as u64;
        whole.saturating_sub(self.measured(changes).count() as u64)
    }
}

/// Makes the share of a slot after handovers; one by subject takes the
/// population.
#[must_use]
pub fn share_of(
    begin: &Begin,
    slot: usize,
    handovers: &[Handover],
    seed: u64,
    population: Option<&Arc<Population>>,
) -> Option<Share> {
    let dealt = match begin.dealt {
        Dealing::InTurns => Dealt::InTurns,
        Dealing::ByLot => Dealt::ByLot(seed),
        Dealing::BySubject => Dealt::BySubject(Arc::clone(population?)),
    };
    Some(Share::new(0, &begin.weights, dealt).after(given_away(handovers), slot))
}
