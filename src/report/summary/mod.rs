//! What does a report say of a run, in any format?
//!
//! A summary is computed from the document alone and holds every figure that
//! a format may show; formats differ by their form, never by a number. Times
//! are nanoseconds, shares are 0 to 1, what cannot be told is absent.

mod facts;
mod fleet;
mod side_by_side;
pub(super) mod slices;
mod steps;
mod verdicts;

use serde::Serialize;

pub use self::facts::Fact;
pub use self::fleet::{AGENT_HEADINGS, agent_rows, fleet_facts};
pub use self::side_by_side::{SideBySide, side_by_side};
pub use self::steps::{Part, Share, StepSummary};
pub(super) use self::steps::{response_of, service_of};
pub(super) use self::verdicts::share;
pub use self::verdicts::{Finding, Standing};
use crate::record::search::SearchRecord;
use crate::record::{FleetRecord, Histogram, RunDocument, StepRecord, Warning};

/// The version of the shape of [`Summary`] as JSON.
pub const SUMMARY_VERSION: u32 = 1;

/// What a report says of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`SUMMARY_VERSION`].
    pub summary_version: u32,
    /// The run's own name.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario answers.
    pub description: String,
    /// When the run began, RFC 3339 in UTC.
    pub started_at: String,
    /// How long it took.
    pub elapsed_ns: u64,
    /// What was decided, the worst first.
    pub verdicts: Vec<Finding>,
    /// What was run, against what, with which key.
    pub conditions: Vec<Fact>,
    /// The machine and how quiet it was.
    pub host: Vec<Fact>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// The steps of the load.
    pub steps: Vec<StepSummary>,
    /// The backends that were compared, the fastest first.
    pub backends: Vec<BackendLine>,
    /// The rates of a search, ascending.
    pub rates: Vec<RateLine>,
    /// What the search found, in a sentence.
    pub capacity: Option<String>,
    /// Who made the load and what is missing of it, if several machines did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetRecord>,
}

/// One case of a comparison of backends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendLine {
    /// The backend, and what else tells it from other cases.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its rank; those that cannot be told apart share one.
    pub rank: usize,
    /// Signatures per second of CPU time.
    pub per_core_per_s: f64,
    /// Speed over the reference's; absent for the reference itself.
    pub speed: Option<f64>,
    /// The lower bound of that.
    pub lower: Option<f64>,
    /// The upper bound of that.
    pub upper: Option<f64>,
}

/// What was seen at one rate of a search, all trials together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLine {
    /// The rate, per second.
    pub per_s: f64,
    /// Was the objective met, by the last decision?
    pub is_met: bool,
    /// The share of requests over the limit in the last trial.
    pub share_over: f64,
    /// The share that failed in the last trial.
    pub share_failed: f64,
    /// Response times, if the search kept them.
    pub response: Option<Percentiles>,
}

/// Percentiles of durations, in nanoseconds.
///
/// A percentile is absent unless ten durations lie beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Durations counted.
    pub count: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Half were as short.
    pub p50_ns: Option<u64>,
    /// Nine in ten were as short.
    pub p90_ns: Option<u64>,
    /// 99 in 100 were as short.
    pub p99_ns: Option<u64>,
    /// 999 in 1000 were as short.
    pub p999_ns: Option<u64>,
    /// The longest.
    pub max_ns: u64,
}

/// Durations beyond a percentile that make it worth showing.
const BEYOND: f64 = 10.0;

impl Percentiles {
    /// Computes them; none of an empty histogram.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let count = histogram.count();
        let at = |q: f64| {
            histogram
                .quantile(q)
                .filter(|_| (1.0 - q) * count as f64 >= BEYOND)
                .map(ns)
        };
        Some(Self {
            count,
            mean_ns: ns(histogram.mean()?),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: ns(histogram.max()?),
        })
    }
}

impl Summary {
    /// Computes the summary of a document.
    #[must_use]
    pub fn of(document: &RunDocument) -> Self {
        let text = |name: &str| {
            document.scenario[name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            summary_version: SUMMARY_VERSION,
            run: document.run.clone(),
            scenario: document.scenario_name().to_owned(),
            description: text("description"),
            started_at: document.started_at.clone(),
            elapsed_ns: document.elapsed_ns,
            verdicts: verdicts::verdicts(document),
            conditions: facts::conditions(document),
            host: facts::host(document),
            warnings: document.warnings.clone(),
            steps: document.steps.iter().map(StepSummary::of).collect(),
            backends: backends(document),
            rates: document.capacity.iter().flat_map(rates).collect(),
            capacity: document.capacity.as_ref().map(|search| {
                super::capacity_text::capacity_sentence(&search.answer, &search.calibration)
            }),
            fleet: document.fleet.clone(),
        }
    }

    /// The worst standing among the verdicts.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.verdicts
            .iter()
            .map(|verdict| verdict.standing)
            .max()
            .unwrap_or(Standing::Good)
    }
}

/// Returns a step's response times, and its service times if it sent requests.
#[must_use]
pub fn step_times(step: &StepRecord) -> (Histogram, Option<Histogram>) {
    (response_of(step), service_of(step))
}

fn backends(document: &RunDocument) -> Vec<BackendLine> {
    let Some(record) = &document.signing else {
        return Vec::new();
    };
    let Some(first) = record.cases.first() else {
        return Vec::new();
    };
    let mut lines: Vec<_> = record
        .cases
        .iter()
        .map(|one| {
            let case = &one.case;
            let mut name = case.backend.clone();
            let mut differ = |differs: bool, what: String| {
                if differs {
                    name.push_str(", ");
                    name.push_str(&what);
                }
            };
            let other = &first.case;
            differ(
                case.algorithm != other.algorithm,
                case.algorithm.to_string(),
            );
            differ(
                case.key_bits != other.key_bits,
                format!("{} bits", case.key_bits),
            );
            differ(
                case.threads != other.threads,
                format!("{} threads", case.threads),
            );
            differ(
                case.key_policy != other.key_policy,
                format!("key {}", case.key_policy),
            );
            differ(
                case.claims_bytes != other.claims_bytes,
                format!("{} B of claims", case.claims_bytes),
            );
            let floor = one.speed.map(|speed| speed.floor);
            let cell = record
                .cases
                .iter()
                .position(|other| other.case.is_same_cell(case));
            let line = BackendLine {
                name,
                version: record
                    .backends
                    .iter()
                    .find(|facts| facts.name == case.backend)
                    .map(|facts| facts.version.clone())
                    .unwrap_or_default(),
                rank: one.rank,
                per_core_per_s: one.per_core_per_s,
                speed: floor.map(|bounded| bounded.ratio),
                lower: floor.map(|bounded| bounded.lower),
                upper: floor.map(|bounded| bounded.upper),
            };
            (cell, line)
        })
        .collect();
    // Ranks are those within a cell, so that its backends stay together.
    lines.sort_by(|(cell, a), (other, b)| {
        cell.cmp(other)
            .then(b.per_core_per_s.total_cmp(&a.per_core_per_s))
    });
    lines.into_iter().map(|(_, line)| line).collect()
}

fn rates(search: &SearchRecord) -> Vec<RateLine> {
    use crate::record::search::Decision;
    let mut rungs: Vec<_> = search.answer.rungs.iter().collect();
    // Stable: trials at one rate stay in the order in which they were made.
    rungs.sort_by(|a, b| a.per_s.total_cmp(&b.per_s));
    rungs
        .chunk_by(|a, b| (a.per_s - b.per_s).abs() < 1e-9)
        .filter_map(|same| {
            let last = same.last()?;
            let mut response = Histogram::new();
            for rung in same {
                response.add(&rung.response.open());
            }
            Some(RateLine {
                per_s: last.per_s,
                is_met: last.decision == Decision::Pass,
                share_over: last.share_over,
                share_failed: last.share_failed,
                response: Percentiles::of(&response),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn a_percentile_needs_ten_durations_beyond_it() {
        let some = Percentiles::of(&sample::around(1, 999)).unwrap();
        assert!(some.p90_ns.is_some());
        assert_eq!(some.p99_ns, None);
        assert!(
            Percentiles::of(&sample::around(1, 1_000))
                .unwrap()
                .p99_ns
                .is_some()
        );
        assert_eq!(Percentiles::of(&Histogram::new()), None);
    }

    #[test]
    fn trials_at_one_rate_are_one_line_with_the_last_decision() {
        let mut document = sample::document();
        let search = document.capacity.as_mut().unwrap();
        search.answer.rungs[4].decision = crate::record::search::Decision::Fail;
        let rates = Summary::of(&document).rates;
        let seen: Vec<_> = rates.iter().map(|line| (line.per_s, line.is_met)).collect();
        assert_eq!(
            seen,
            [
                (500.0, true),
                (1_000.0, false),
                (1_030.0, false),
                (2_000.0, false)
            ]
        );
        assert_eq!(rates[1].response.unwrap().count, 2_000);
    }

    #[test]
    fn a_summary_of_a_comparison_has_the_fastest_first() {
        let mut document = sample::document();
        document.signing = Some(crate::bench::sample::sample());
        let backends = Summary::of(&document).backends;
        assert!(backends.len() > 1);
        assert!(backends[0].per_core_per_s >= backends[1].per_core_per_s);
        assert_eq!(
            backends.iter().filter(|line| line.speed.is_none()).count(),
            1
        );
    }
}
