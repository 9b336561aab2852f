//! What remains of a comparison of backends?
//!
//! Plain data, from which every report is computed, years later as well.
//! Units stand in the names of the fields; a fact that could not be measured
//! is null, never zero.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::case::{Case, Question, TimedBy};
use super::{Histogram, Host, Quality, Refusal, RunDocument, Tool, Warning};
use crate::signer::{Facts, KeyKind};
use crate::stats::{Estimate, Tolerance, Verdict};

/// The version of [`BenchRecord`]; it grows when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// A comparison of signing backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchRecord {
    /// [`SCHEMA_VERSION`] of the program that wrote the record.
    pub schema_version: u32,
    /// The seed of the order of blocks.
    pub seed: u64,
    /// The time that was allowed, in ns.
    pub budget_ns: u64,
    /// The time that was used, in ns.
    pub took_ns: u64,
    /// Was the comparison stopped early?
    pub is_stopped: bool,
    /// The chance of any wrong verdict or order in the whole record.
    pub alpha: f64,
    /// The smallest changes worth a verdict, relative.
    pub tolerance: Tolerance,
    /// The keys that signed, without their secrets.
    pub keys: Vec<KeyFacts>,
    /// The backends that took part.
    pub backends: Vec<Facts>,
    /// What was measured of each case.
    pub cases: Vec<CaseRecord>,
    /// What was found about pairs of cases.
    pub comparisons: Vec<ComparisonRecord>,
    /// What more threads yield, where several numbers were asked for.
    pub scaling: Vec<Scaling>,
    /// What was asked for and left out.
    pub refused: Vec<RefusedCase>,
    /// Why cycles could not be counted, if they could not.
    pub cycles_unavailable: Option<String>,
    /// The machine.
    pub host: Host,
    /// How disturbed the machine was.
    pub quality: QualityFacts,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

impl BenchRecord {
    /// Makes the document of a comparison that stands by itself.
    #[must_use]
    pub fn into_document(self, run: String, started_at: String, quality: Quality) -> RunDocument {
        let key = self.keys.first();
        let case = self.cases.first().map(|record| &record.case);
        RunDocument {
            schema_version: super::document::SCHEMA_VERSION,
            run,
            tool: Tool::this(),
            started_at,
            elapsed_ns: quality.measured_ns,
            partial: self.is_stopped.then(|| "it was stopped".to_owned()),
            scenario: serde_json::json!({
                "name": "bench",
                "description": "Signing backends compared",
                "seed": self.seed,
                "budget_ns": self.budget_ns,
            }),
            host: self.host.clone(),
            quality,
            backends: self.backends.clone(),
            refused: self
                .refused
                .iter()
                .map(|refused| Refusal {
                    backend: refused.case.backend.clone(),
                    reason: refused.reason.clone(),
                })
                .collect(),
            signed_by: self
                .fastest()
                .first()
                .copied()
                .unwrap_or_default()
                .to_owned(),
            signed_singly_by: None,
            gathered: None,
            key: super::KeyFacts {
                bits: key.map_or(0, |key| key.bits),
                algorithm: case
                    .map(|case| case.algorithm.to_string())
                    .unwrap_or_default(),
                container: key
                    .and_then(|key| key.container.clone())
                    .unwrap_or_else(|| "a bare key".to_owned()),
                spki_sha256: key
                    .and_then(|key| key.spki_sha256.clone())
                    .unwrap_or_default(),
            },
            warnings: self.warnings.clone(),
            signing: Some(self),
            steps: Vec::new(),
            capacity: None,
            fleet: None,
            broker: None,
        }
    }

    /// Returns the case of a backend, the first if it has several.
    #[must_use]
    pub fn case_of(&self, backend: &str) -> Option<&CaseRecord> {
        self.cases.iter().find(|case| case.case.backend == backend)
    }

    /// Returns the names of the backends that share the first rank in the
    /// first cell: nobody is surely faster than they are.
    ///
    /// The one with the lowest floor comes first.
    #[must_use]
    pub fn fastest(&self) -> Vec<&str> {
        let Some(first) = self.cases.first() else {
            return Vec::new();
        };
        let mut best: Vec<_> = self
            .cases
            .iter()
            .filter(|case| case.rank == 1 && case.case.is_same_cell(&first.case))
            .collect();
        best.sort_by(|a, b| b.per_core_per_s.total_cmp(&a.per_core_per_s));
        best.iter().map(|case| case.case.backend.as_str()).collect()
    }
}

/// A key, by its public facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// The kind.
    pub kind: KeyKind,
    /// The size of the modulus, or of the field, in bits.
    pub bits: usize,
    /// The public exponent of an RSA key, if it has at most 64 bits.
    pub public_exponent: Option<u64>,
    /// Has it more than two primes?
    pub is_multi_prime: bool,
    /// What the key is kept in: container, key derivation and cipher.
    pub container: Option<String>,
    /// The SHA-256 of the public key (`SubjectPublicKeyInfo`), in hex.
    pub spki_sha256: Option<String>,
}

/// What was measured of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// The case.
    pub case: Case,
    /// Is it the one that the others of its cell are compared with?
    pub is_reference: bool,
    /// Its rank in the cell, from 1; cases that cannot be told apart share one.
    pub rank: usize,
    /// Signatures that were timed.
    pub signatures: u64,
    /// Blocks that they came in.
    pub blocks: u64,
    /// Signatures in a second of CPU time when nothing disturbs: from the
    /// median block's lower quartile.
    pub per_core_per_s: f64,
    /// The same for the slowest and fastest tenth of the blocks: how much the
    /// machine itself wandered.
    pub per_core_spread_per_s: (f64, f64),
    /// Signatures in a second of CPU time, all operations counted.
    pub mean_per_core_per_s: f64,
    /// Signatures in a second, all threads together, when nothing disturbs.
    pub total_per_s: f64,
    /// Signatures in a second, all threads together, as it went.
    pub achieved_per_s: f64,
    /// CPU time over wall time of the signing threads, as it went.
    pub utilisation: f64,
    /// CPU time of the process over that of the signing threads; above 1 where
    /// a library works on threads of its own.
    pub process_per_thread_cpu: f64,
    /// How fast compared with the cell's reference; null for the reference.
    pub speed: Option<SpeedRatio>,
    /// The time of single signatures as the caller waits for them.
    pub latency: Latency,
    /// All of those times, as an HDR histogram in its portable encoding.
    pub latency_histogram: Histogram,
    /// Allocations by Rust code for each signature; C libraries are not seen.
    pub rust_allocations: Option<f64>,
    /// Bytes in those allocations.
    pub rust_allocated_bytes: Option<f64>,
    /// Cycles of the processor for each signature, where a counter exists.
    pub cycles: Option<f64>,
    /// The time to make a signer of a parsed key, in ns; the fastest of some.
    pub load_ns: Option<u64>,
    /// The time to decrypt the container and make a signer of it, in ns.
    pub decrypt_and_load_ns: Option<u64>,
}

/// Speed relative to the reference of the cell: 2 is twice as fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpeedRatio {
    /// In the floor channel, with bounds.
    pub floor: Bounded,
    /// In the mean channel, with bounds.
    pub mean: Bounded,
}

/// A ratio and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounded {
    /// The estimate.
    pub ratio: f64,
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
}

impl fmt::Display for Bounded {
    /// Shows the ratio and how far the farther bound is: `2.40 ±0.02`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off = (self.upper - self.ratio).max(self.ratio - self.lower);
        // As many digits as the bounds are worth, and two for most eyes.
        let worth = if off > 0.0 { -off.log10() } else { 4.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let digits = worth
            .ceil()
            .clamp(if self.ratio < 10.0 { 2.0 } else { 0.0 }, 4.0) as usize;
        let text = format!("{:.digits$} ±{off:.digits$}", self.ratio);
        f.pad(&text)
    }
}

impl From<Estimate> for Bounded {
    /// Turns a logarithm of times into a ratio of speeds.
    fn from(times: Estimate) -> Self {
        let speeds = times.mirrored();
        Self {
            ratio: speeds.log_ratio.exp(),
            lower: speeds.lower.exp(),
            upper: speeds.upper.exp(),
        }
    }
}

/// Percentiles of the time of a signature on the wall clock, in ns.
///
/// A percentile is null unless twenty signatures lie beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The fastest.
    pub min_ns: u64,
    /// Half were as fast.
    pub p50_ns: Option<u64>,
    /// Nine in ten were as fast.
    pub p90_ns: Option<u64>,
    /// 99 in 100 were as fast.
    pub p99_ns: Option<u64>,
    /// 999 in 1000 were as fast.
    pub p999_ns: Option<u64>,
    /// The slowest.
    pub max_ns: u64,
}

/// What was found about two cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRecord {
    /// Why they were compared.
    pub question: Question,
    /// The place of the baseline in `cases`.
    pub baseline: usize,
    /// The place of the candidate in `cases`.
    pub candidate: usize,
    /// The clock that decided.
    pub timed_by: TimedBy,
    /// What was found about the candidate.
    pub verdict: Verdict,
    /// The change of the floor, with bounds that share `alpha`.
    pub floor: Option<Estimate>,
    /// The change of the mean, with bounds that share `alpha`.
    pub mean: Option<Estimate>,
    /// Efficiency of a thread, for [`Question::Threads`]: the candidate's
    /// rate over the baseline's, each divided by its threads; 1 is ideal.
    pub efficiency: Option<Bounded>,
    /// How often the data were judged.
    pub looks: usize,
    /// The time that it took, in ns.
    pub spent_ns: u64,
    /// The lag-1 autocorrelation of the floor's logarithms; bounds assume 0.
    pub lag1: f64,
    /// Every quad's ln(candidate / baseline) of the floors, in order.
    pub floor_log_ratios: Vec<f64>,
    /// Every quad's ln(candidate / baseline) of the means, in order.
    pub mean_log_ratios: Vec<f64>,
}

/// A case that was asked for and left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedCase {
    /// The case.
    pub case: Case,
    /// Why, in a sentence's fragment.
    pub reason: String,
}

/// What the system says about the time of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QualityFacts {
    /// Processors that this process may use.
    pub cpus: usize,
    /// Load average over one minute, at the end; the bench itself is 1 of it
    /// for each thread.
    pub load_1m: Option<f64>,
    /// The share of all processors' time that the hypervisor gave to others.
    pub steal_share: Option<f64>,
    /// The share of time in which some task waited for a processor
    /// (`/proc/pressure/cpu`), in this interval.
    pub cpu_pressure_share: Option<f64>,
    /// Times that a signing thread was put off its processor.
    pub involuntary_switches: Option<u64>,
    /// The share of timed operations that lost their processor.
    pub preempted_share: f64,
    /// Wall time over CPU time of the signing threads.
    pub wall_per_cpu: f64,
    /// The reference case's floor in the last quarter of the session over
    /// that in the first.
    pub drift: Option<f64>,
    /// What one reading of the thread CPU clock costs, in ns.
    pub clock_read_ns: f64,
}

/// How one backend does on more threads that share a key object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// The case with the fewest threads.
    pub case: Case,
    /// One entry for each number of threads, ascending.
    pub points: Vec<ScalingPoint>,
    /// The number of threads beyond which another adds less than
    /// half of a lone thread's rate; null if that was not reached.
    pub stops_at_threads: Option<usize>,
}

/// One number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingPoint {
    /// Threads that sign at once.
    pub threads: usize,
    /// Signatures in a second, all threads together, when nothing disturbs.
    pub total_per_s: f64,
    /// The rate of a thread over that of a thread of the first point, with
    /// bounds from blocks measured in turn; null for the first point.
    pub efficiency: Option<Bounded>,
    /// CPU time over wall time of the threads; below 1 they wait.
    pub utilisation: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_shows_the_digits_that_its_bounds_are_worth() {
        let shown = |ratio: f64, off: f64| {
            Bounded {
                ratio,
                lower: ratio - off,
                upper: ratio + off / 2.0,
            }
            .to_string()
        };
        assert_eq!(shown(2.398_34, 0.004), "2.398 ±0.004");
        assert_eq!(shown(2.398_34, 0.2), "2.40 ±0.20");
        assert_eq!(shown(153.2, 2.0), "153 ±2");
        assert_eq!(shown(0.012_34, 0.000_2), "0.0123 ±0.0002");
        assert_eq!(shown(1.0, 0.0), "1.0000 ±0.0000");
    }

    #[test]
    fn times_become_speeds() {
        let times = Estimate {
            log_ratio: -2.0_f64.ln(),
            lower: -4.0_f64.ln(),
            upper: 0.0,
        };
        let speeds = Bounded::from(times);
        assert!((speeds.ratio - 2.0).abs() < 1e-12);
        assert!((speeds.lower - 1.0).abs() < 1e-12);
        assert!((speeds.upper - 4.0).abs() < 1e-12);
    }
}
