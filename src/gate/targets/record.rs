//! What does a comparison of two endpoints leave behind?
//!
//! Every slice of every segment is kept, so that a verdict can be checked by
//! somebody else.

use serde::{Deserialize, Serialize};

use super::{Effects, LoadTolerance};
use crate::gate::GateVerdict;
use crate::load::objective::{Counts, Objective};
use crate::record::search::Decision;
use crate::record::{Histogram, Packed, Validity};
use crate::stats::Verdict;
use crate::stats::sliced::Slice;

/// What was found about two endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadResult {
    /// The scenario's name.
    pub scenario: String,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Why it is not what the first attempt said, or why there is none.
    pub reason: Option<String>,
    /// The smallest changes that are told.
    pub tolerance: LoadTolerance,
    /// The first attempt.
    pub attempt: Option<LoadAttempt>,
    /// The second attempt, of a candidate that the first called regressed.
    pub confirmation: Option<LoadAttempt>,
}

impl LoadResult {
    /// Returns the last attempt.
    #[must_use]
    pub fn last(&self) -> Option<&LoadAttempt> {
        self.confirmation.as_ref().or(self.attempt.as_ref())
    }

    /// Returns what is known of the objective after the last attempt.
    #[must_use]
    pub fn objective(&self) -> Option<ObjectiveResult> {
        self.last()?.objective
    }
}

/// One measurement: all its segments, and what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadAttempt {
    /// The verdict of this attempt alone.
    pub verdict: Verdict,
    /// The candidate against the baseline.
    pub effects: Effects,
    /// The baseline's segments against each other.
    pub control: Verdict,
    /// What they differ by.
    pub control_effects: Effects,
    /// Baseline and candidate.
    pub figures: [Figures; 2],
    /// What the candidate was to achieve, and whether it did.
    pub objective: Option<ObjectiveResult>,
    /// How often the data were judged.
    pub looks: usize,
    /// The pairs of slices that the bounds rest on.
    pub slices: usize,
    /// Quads that were set aside, since the generator was at fault.
    pub spoiled: usize,
    /// The time that the attempt took, in ns.
    pub spent_ns: u64,
    /// The segments that counted, in the order of measurement.
    pub segments: Vec<SegmentRecord>,
}

/// What one side did, over all its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// The median response time of answered requests, in ns.
    pub p50_ns: Option<f64>,
    /// The 99th percentile of it, in ns.
    pub p99_ns: Option<f64>,
    /// Requests answered in a second.
    pub goodput_per_s: f64,
    /// The share of requests that were not answered.
    pub failed_share: f64,
}

/// A load on one side, as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// 0 is the baseline, 1 the candidate.
    pub side: usize,
    /// The seed of its arrivals.
    pub seed: u64,
    /// May its figures be believed, by its own measure?
    pub validity: Validity,
    /// Why they may not.
    pub finding: Option<String>,
    /// The share of the offered requests that were sent in time.
    pub sent_share: f64,
    /// The length of a slice, in ns.
    pub slice_ns: u64,
    /// Response times of each slice, in ns.
    pub slices: Vec<Slice>,
}

/// A load on one side, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// 0 is the baseline, 1 the candidate.
    pub side: usize,
    /// The seed of its arrivals; four segments in a row share one.
    pub seed: u64,
    /// May its figures be believed, by its own measure?
    pub validity: Validity,
    /// The share of the offered requests that were sent in time.
    pub sent_share: f64,
    /// The length of a slice, in ns.
    pub slice_ns: u64,
    /// Its slices.
    pub slices: Vec<SliceRecord>,
}

/// One slice of a segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceRecord {
    /// Requests that were due.
    pub due: u64,
    /// Response times of those that were answered.
    pub response: Packed,
}

impl From<&Segment> for SegmentRecord {
    fn from(segment: &Segment) -> Self {
        Self {
            side: segment.side,
            seed: segment.seed,
            validity: segment.validity,
            sent_share: segment.sent_share,
            slice_ns: segment.slice_ns,
            slices: segment.slices.iter().map(SliceRecord::from).collect(),
        }
    }
}

impl From<&Slice> for SliceRecord {
    fn from(slice: &Slice) -> Self {
        let mut response = Histogram::new();
        for (ns, count) in &slice.times {
            response.record_several_ns(*ns, *count);
        }
        Self {
            due: slice.due,
            response: Packed::of(&response),
        }
    }
}

/// Counts a slice for an objective: what was not answered took too long.
#[must_use]
pub(super) fn counts(slice: &Slice, objective: &Objective) -> Counts {
    let limit = u64::try_from(objective.limit.as_nanos()).unwrap_or(u64::MAX);
    let sum = |is: &dyn Fn(u64) -> bool| -> u64 {
        let times = slice.times.iter().filter(|(ns, _)| is(*ns));
        times.map(|(_, count)| count).sum()
    };
    let failed = slice.due.saturating_sub(sum(&|_| true));
    Counts {
        requests: slice.due,
        over: failed + sum(&|ns| ns > limit),
        failed,
    }
}

/// Did the candidate achieve what it was to achieve?
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveResult {
    /// What was wanted.
    pub objective: Objective,
    /// Pass is met, fail is missed.
    pub decision: Decision,
    /// The share of requests that took too long, failed ones included.
    pub share_over: f64,
    /// The share that failed.
    pub share_failed: f64,
    /// The slices that the decision rests on.
    pub slices: usize,
}
