//! What does a gate leave behind?
//!
//! Every quad of every attempt is kept, so that a verdict can be checked by
//! somebody else. Field names carry their unit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::session::whole_ns;
use super::targets::{LoadGate, LoadResult};
use super::{Fingerprint, GateCase, Saved};
use crate::bench::{QualityFacts, TimedBy};
use crate::error::Exit;
use crate::record::Host;
use crate::record::search::Decision;
use crate::stats::{Estimate, Verdict};

/// The version of [`GateRecord`]'s schema that this program writes.
pub const SCHEMA_VERSION: u32 = 1;

/// What a gate says about a case, or about all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// Slower than the baseline by more than the tolerance, twice.
    Regressed,
    /// One side could not be measured, or not under the same conditions.
    NotComparable,
    /// The bounds are too wide, or two attempts disagree.
    Inconclusive,
    /// Within the tolerance on both sides.
    Unchanged,
    /// Faster than the baseline by more than the tolerance.
    Improved,
}

impl GateVerdict {
    /// Returns the word for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::NotComparable => "not comparable",
            Self::Inconclusive => "inconclusive",
            Self::Unchanged => "unchanged",
            Self::Improved => "improved",
        }
    }
}

impl fmt::Display for GateVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Verdict> for GateVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Regressed => Self::Regressed,
            Verdict::Improved => Self::Improved,
            Verdict::Unchanged => Self::Unchanged,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

/// What an undecided gate does to a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInconclusive {
    /// It ends with an exit code of its own, 4.
    #[default]
    Report,
    /// It passes.
    Pass,
    /// It fails as a regression does.
    Fail,
}

/// One measurement of a case: all its quads, and what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The verdict of this attempt alone.
    pub verdict: Verdict,
    /// The clock that decided.
    pub timed_by: TimedBy,
    /// The floor channel.
    pub floor: Option<Estimate>,
    /// The mean channel.
    pub mean: Option<Estimate>,
    /// How often the data were judged.
    pub looks: usize,
    /// The time that the quads took, in ns.
    pub spent_ns: u64,
    /// The lag-1 autocorrelation of the floor channel.
    pub lag1: f64,
    /// The share of timed operations that lost their processor.
    pub preempted_share: f64,
    /// Pairs of fresh workers that took part; 1 within one process.
    pub pairs: usize,
    /// ln(candidate / baseline) of the floors of each quad.
    pub floor_log_ratios: Vec<f64>,
    /// ln(candidate / baseline) of the means of each quad.
    pub mean_log_ratios: Vec<f64>,
}

/// What was found about one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseResult {
    /// The name, unique within the gate.
    pub name: String,
    /// The case.
    pub case: GateCase,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Why it is not what the first attempt said, or why there is none.
    pub reason: Option<String>,
    /// The first attempt.
    pub attempt: Option<Attempt>,
    /// The second attempt, of a case that the first called regressed.
    pub confirmation: Option<Attempt>,
}

/// What was found about a case by figures of another time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedResult {
    /// The name of the case.
    pub name: String,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Why there is none.
    pub reason: Option<String>,
    /// The saved floor, in ns a signature.
    pub baseline_floor_ns: f64,
    /// The floor of now, in ns a signature.
    pub candidate_floor_ns: Option<f64>,
    /// The change that is told, as a share.
    pub tolerance: f64,
}

/// Everything that a gate leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRecord {
    /// The version of this schema.
    pub schema_version: u32,
    /// The version of the program.
    pub tool_version: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// How long it took, in ns.
    pub took_ns: u64,
    /// The baseline, in words.
    pub baseline: String,
    /// The candidate, in words.
    pub candidate: String,
    /// The error that all verdicts share.
    pub alpha: f64,
    /// The moments at which a case was judged, in ns of its own time.
    pub looks_ns: Vec<u64>,
    /// The seed of the order of blocks.
    pub seed: u64,
    /// The verdict on all cases.
    pub verdict: GateVerdict,
    /// The baseline against itself.
    pub control: Option<CaseResult>,
    /// Each case.
    pub cases: Vec<CaseResult>,
    /// Comparisons with saved figures.
    pub saved: Vec<SavedResult>,
    /// The comparison of two endpoints, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadResult>,
    /// Do saved figures decide the exit code?
    pub trusts_saved: bool,
    /// Was it stopped before its time?
    pub is_stopped: bool,
    /// The machine.
    pub host: Host,
    /// What makes its figures comparable with those of another time.
    pub fingerprint: Fingerprint,
    /// How disturbed it was.
    pub quality: QualityFacts,
}

impl GateRecord {
    /// Makes the record of a comparison with saved figures.
    #[must_use]
    pub fn of_saved(
        file: &str,
        then: &Saved,
        saved: Vec<SavedResult>,
        took: Duration,
        seed: u64,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: jiff::Timestamp::now().to_string(),
            took_ns: whole_ns(took),
            baseline: format!("{file}, taken {}", then.taken_at),
            candidate: "this build".to_owned(),
            alpha: 0.0,
            looks_ns: Vec::new(),
            seed,
            verdict: Self::joined(saved.iter().map(|case| case.verdict)),
            control: None,
            cases: Vec::new(),
            saved,
            load: None,
            trusts_saved: false,
            is_stopped: false,
            host: Host::detect(),
            fingerprint: Fingerprint::here(),
            quality: QualityFacts::default(),
        }
    }

    /// Makes the record of a comparison of two endpoints.
    #[must_use]
    pub fn of_load(
        sides: [String; 2],
        gate: &LoadGate,
        load: LoadResult,
        took: Duration,
        quality: QualityFacts,
        is_stopped: bool,
    ) -> Self {
        let [baseline, candidate] = sides;
        let undecided = load
            .objective()
            .filter(|found| found.decision == Decision::Undecided)
            .map(|_| GateVerdict::Inconclusive);
        Self {
            schema_version: SCHEMA_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: jiff::Timestamp::now().to_string(),
            took_ns: whole_ns(took),
            baseline,
            candidate,
            alpha: gate.alpha,
            looks_ns: Vec::new(),
            seed: gate.seed,
            verdict: Self::joined([load.verdict].into_iter().chain(undecided)),
            control: None,
            cases: Vec::new(),
            saved: Vec::new(),
            load: Some(load),
            trusts_saved: false,
            is_stopped,
            host: Host::detect(),
            fingerprint: Fingerprint::here(),
            quality,
        }
    }

    /// Did an endpoint miss its objective?
    #[must_use]
    pub fn misses_objective(&self) -> bool {
        self.load
            .as_ref()
            .and_then(LoadResult::objective)
            .is_some_and(|objective| objective.is_missed())
    }

    /// Joins the verdicts of the cases: the worst one that there is.
    #[must_use]
    pub fn joined(verdicts: impl IntoIterator<Item = GateVerdict>) -> GateVerdict {
        let rank = |verdict: &GateVerdict| match verdict {
            GateVerdict::Regressed => 0,
            GateVerdict::NotComparable => 1,
            GateVerdict::Inconclusive => 2,
            GateVerdict::Unchanged => 3,
            GateVerdict::Improved => 4,
        };
        verdicts
            .into_iter()
            .min_by_key(rank)
            .unwrap_or(GateVerdict::NotComparable)
    }

    /// Returns the exit code: 0 pass, 1 regressed or an objective missed, 3
    /// stopped, 4 inconclusive, 5 not comparable.
    #[must_use]
    pub fn exit(&self, on_inconclusive: OnInconclusive) -> Exit {
        match self.verdict {
            GateVerdict::Regressed => Exit::Missed,
            _ if self.misses_objective() => Exit::Missed,
            _ if self.is_stopped => Exit::Failed,
            GateVerdict::NotComparable => Exit::NotComparable,
            GateVerdict::Inconclusive => match on_inconclusive {
                OnInconclusive::Report => Exit::Inconclusive,
                OnInconclusive::Pass => Exit::Success,
                OnInconclusive::Fail => Exit::Missed,
            },
            GateVerdict::Unchanged | GateVerdict::Improved => Exit::Success,
        }
    }
}
