//! What can figures of another time say?
//!
//! Little: the same build differs from itself by several percent in its means
//! from one quarter of an hour to the next. What repeats is how fast a
//! signature is when nothing disturbs it. So the first percentile of single
//! wall times is kept, the lowest of several visits that lie apart, and only
//! on a machine of the same fingerprint is anything compared. The answer is
//! advice unless the user trusts it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backends::{Keys, ready};
use super::{Fingerprint, GateError, GateVerdict, SavedResult};
use crate::bench::Case;
use crate::bench::arm::{Arm, Block};
use crate::clock::Clock;
use crate::signer::Registry;
use crate::stats::order::quantile_of;

/// The visits to each case.
pub const VISITS: usize = 3;

/// How long a visit lasts.
pub const VISIT: Duration = Duration::from_secs(2);

/// The change that is told. The first percentile of three visits moved by
/// less than 0.6 % over an hour of a busy machine.
pub const TOLERANCE: f64 = 0.03;

/// The version of the file's schema.
pub const SCHEMA_VERSION: u32 = 1;

/// Saved figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The version of this schema.
    pub schema_version: u32,
    /// When they were taken, RFC 3339 in UTC.
    pub taken_at: String,
    /// Where.
    pub fingerprint: Fingerprint,
    /// What was found.
    pub cases: Vec<SavedCase>,
}

/// What was found about one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedCase {
    /// The case.
    pub case: Case,
    /// The version of its backend.
    pub backend_version: String,
    /// The lowest first percentile of the visits, in ns a signature.
    pub floor_ns: f64,
    /// That of each visit.
    pub visits_ns: Vec<f64>,
}

/// Measures cases for later.
///
/// # Errors
///
/// A case cannot be measured.
pub fn measure_saved(
    registry: &Registry,
    keys: &Keys,
    cases: &[Case],
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Saved, GateError> {
    let failed = |case: &Case, reason: String| GateError::Case {
        case: case.to_string(),
        reason,
    };
    let mut arms = Vec::new();
    for case in cases {
        let key = keys.get(case).ok_or(GateError::NoCase)?;
        let ready = ready(registry, key, case).map_err(|reason| failed(case, reason))?;
        let arm = ready
            .arm()
            .map_err(|error| failed(case, error.to_string()))?;
        arms.push((case, arm, Vec::new()));
    }
    let all = VISITS * arms.len();
    // Round by round, so that the visits to a case lie apart.
    for visit in 0..VISITS {
        let cases = arms.len();
        for (at, (case, arm, visits)) in arms.iter_mut().enumerate() {
            watch(visit * cases + at, all);
            if stop.load(Ordering::Relaxed) {
                return Err(failed(case, "it was stopped".into()));
            }
            let floor = visit_once(arm.as_mut(), clock).map_err(|reason| failed(case, reason))?;
            visits.push(floor);
        }
    }
    Ok(Saved {
        schema_version: SCHEMA_VERSION,
        taken_at: jiff::Timestamp::now().to_string(),
        fingerprint: Fingerprint::here(),
        cases: arms
            .into_iter()
            .map(|(case, _, visits)| SavedCase {
                case: case.clone(),
                backend_version: version_of(registry, case),
                floor_ns: visits.iter().copied().fold(f64::INFINITY, f64::min),
                visits_ns: visits,
            })
            .collect(),
    })
}

fn version_of(registry: &Registry, case: &Case) -> String {
    registry
        .get(&case.backend)
        .map(|backend| backend.facts().version)
        .unwrap_or_default()
}

/// Signs for [`VISIT`] and returns the first percentile of a signature, in ns.
fn visit_once(arm: &mut dyn Arm, clock: &dyn Clock) -> Result<f64, String> {
    arm.set_signatures_per_operation(arm.least_signatures());
    let mut block = Block::default();
    let begun = clock.monotonic();
    while clock.monotonic() - begun < VISIT {
        arm.run(4, &mut block).map_err(|error| error.to_string())?;
    }
    quantile_of(&mut block.wall_ns, 0.01).ok_or_else(|| "nothing was signed".into())
}

/// Compares saved figures with those of now, case by case.
///
/// Returns one result for each saved case. Nothing is judged where the
/// fingerprints differ.
#[must_use]
pub fn compare_saved(then: &Saved, now: &Saved) -> Vec<SavedResult> {
    let differences = now.fingerprint.differences(&then.fingerprint);
    then.cases
        .iter()
        .map(|saved| {
            let found = now.cases.iter().find(|now| now.case == saved.case);
            let (verdict, reason) = if differences.is_empty() {
                judge(saved, found)
            } else {
                let reason = format!("measured elsewhere: {}", differences.join("; "));
                (GateVerdict::NotComparable, Some(reason))
            };
            SavedResult {
                name: saved.case.to_string(),
                verdict,
                reason,
                baseline_floor_ns: saved.floor_ns,
                candidate_floor_ns: found.map(|now| now.floor_ns),
                tolerance: TOLERANCE,
            }
        })
        .collect()
}

fn judge(then: &SavedCase, now: Option<&SavedCase>) -> (GateVerdict, Option<String>) {
    let Some(now) = now else {
        let reason = "it was not measured this time".to_owned();
        return (GateVerdict::NotComparable, Some(reason));
    };
    let change = now.floor_ns / then.floor_ns;
    let verdict = if change > 1.0 + TOLERANCE {
        GateVerdict::Regressed
    } else if change < 1.0 / (1.0 + TOLERANCE) {
        GateVerdict::Improved
    } else {
        GateVerdict::Unchanged
    };
    let note = (then.backend_version != now.backend_version).then(|| {
        format!(
            "{} is {}, was {}",
            now.case.backend, now.backend_version, then.backend_version
        )
    });
    (verdict, note)
}
