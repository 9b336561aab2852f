//! What happened in each interval of a step, whatever its model?

use crate::record::{Histogram, Outcome, StepRecord};

/// One interval of a step's measured phase.
pub(in crate::report) struct SliceView {
    /// When it began, from the start of the measured phase.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Requests that were due, in the open model.
    pub scheduled: Option<u64>,
    /// Calls that got a token.
    pub answered: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Response times of those; in the open model of those that asked the
    /// endpoint, as a token from a cache is another matter.
    pub response: Histogram,
}

/// Lists the intervals of a step.
pub(in crate::report) fn slices(step: &StepRecord) -> Vec<SliceView> {
    let closed = step.slices.iter().map(|slice| {
        let answered = slice
            .outcomes
            .iter()
            .filter(|(name, _)| Outcome::is_name_of_token(name))
            .map(|(_, count)| count)
            .sum();
        SliceView {
            start_ns: slice.start_ns,
            length_ns: slice.length_ns,
            scheduled: None,
            answered,
            failed: slice.outcomes.values().sum::<u64>() - answered,
            response: slice.response.clone(),
        }
    });
    let open = step.open.iter().flat_map(|open| &open.slices).map(|slice| {
        let tokens = slice
            .outcomes
            .iter()
            .filter(|of| Outcome::is_name_of_token(&of.outcome));
        let count = tokens.map(|of| of.count).sum();
        let asked = slice.outcomes.iter().find(|of| of.outcome == "answered");
        SliceView {
            start_ns: slice.start_ns,
            length_ns: slice.length_ns,
            scheduled: Some(slice.scheduled),
            answered: count,
            failed: slice.outcomes.iter().map(|of| of.count).sum::<u64>() - count,
            response: asked
                .map(|of| of.stages.response.open())
                .unwrap_or_default(),
        }
    });
    closed.chain(open).collect()
}

impl SliceView {
    /// Turns a count of the slice into a rate.
    pub fn per_s(&self, count: u64) -> f64 {
        count as f64 / (self.length_ns.max(1) as f64 / 1e9)
    }
}
