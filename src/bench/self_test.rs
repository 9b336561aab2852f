//! Does the comparison find what is there, and nothing else?
//!
//! Real signatures are slowed down by real work of a known size, or not at
//! all, and compared many times over. The figures belong to the machine and
//! the hour in which they were taken; that is why anybody can take them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_lc_rs::signature::RsaKeyPair;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::BenchError;
use super::arm::{Arm, Block, SignerArm};
use super::injected::{Around, Bare, Repeated, Worked, calibrate};
use super::message::{USUAL_CLAIMS_BYTES, signing_inputs};
use super::quads::{Pair, Schedule, TimedBy, compare};
use super::quality::{Counters, QualityFacts};
use super::sequential::sequential;
use super::session::ALPHA;
use crate::clock::Clock;
use crate::record::Host;
use crate::signer::{Algorithm, PrivateKey, Registry, Signer};
use crate::stats::order::{quantile_of, sort};
use crate::stats::paired::CHANNELS;
use crate::stats::share::share_bounds;
use crate::stats::{Looks, Random, Tolerance, Verdict};

/// The looks of each trial, in seconds.
const LOOKS_S: [u64; 4] = [2, 4, 8, 16];

/// The time within which an effect must be found, and a uniform one of
/// [`CLEAR`] or more.
const IN_TIME: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(4)];

/// The share from which on a uniform effect must be found in half of the time
/// and in 99 of 100 trials.
const CLEAR: f64 = 0.05;

/// The backend of [`Experiment::OwnCost`]: the fastest, whose signatures show
/// a fixed cost the most.
pub const BARE_BACKEND: &str = "aws-lc-rs";

/// The most that timing may add to a signature, as a share of its time.
pub const MOST_OWN_COST: f64 = 0.005;

/// What is done to the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    /// Nothing: the same backend and key, loaded a second time.
    Nothing,
    /// Nothing, and the usual rule of micro-benchmarks is asked as well: one
    /// side timed after the other.
    Beside,
    /// Every signature takes this share longer: it is followed by hashing.
    Uniform(f64),
    /// This share of the signatures takes this many times as long: the
    /// signature is made that often.
    Rare(f64, u32),
    /// Nothing; the baseline calls [`BARE_BACKEND`] with nothing of Mintmark
    /// around it, and the time around whole blocks decides.
    OwnCost,
}

impl Experiment {
    /// Returns the change of the mean time that it makes.
    ///
    /// [`Self::OwnCost`] asks for it and does not know it.
    #[must_use]
    pub fn expected_change(self) -> Option<f64> {
        match self {
            Self::Nothing | Self::Beside => Some(0.0),
            Self::Uniform(share) => Some(share),
            Self::Rare(share, factor) => Some(share * (f64::from(factor) - 1.0)),
            Self::OwnCost => None,
        }
    }

    /// Returns the time within which the effect must be found.
    #[must_use]
    pub fn in_time(self) -> Duration {
        IN_TIME[usize::from(self.is_clear())]
    }

    fn is_clear(self) -> bool {
        matches!(self, Self::Uniform(share) if share >= CLEAR)
    }
}

/// What a series of trials found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTestRecord {
    /// What was done to the candidate.
    pub experiment: Experiment,
    /// The backend that signed on both sides.
    pub backend: String,
    /// Its version.
    pub backend_version: String,
    /// The size of the key, in bits.
    pub key_bits: usize,
    /// The seed of the first trial.
    pub seed: u64,
    /// The change of [`Experiment::Uniform`] as single timings have it, before
    /// the first trial: lowest tenths of plain and slowed signatures.
    pub calibrated_change: Option<f64>,
    /// Was it stopped early?
    pub is_stopped: bool,
    /// Every trial, in order.
    pub trials: Vec<Trial>,
    /// The machine.
    pub host: Host,
    /// How disturbed it was.
    pub quality: QualityFacts,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The verdict.
    pub verdict: Verdict,
    /// The time that the comparison took, in ns.
    pub spent_ns: u64,
    /// The estimated change of the floor, relative.
    pub floor_change: Option<f64>,
    /// The estimated change of the mean, relative.
    pub mean_change: Option<f64>,
    /// What the usual rule of micro-benchmarks said, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Verdict>,
}

impl SelfTestRecord {
    /// Counts the trials with a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let is_it = |trial: &&Trial| trial.verdict == verdict;
        self.trials.iter().filter(is_it).count()
    }

    /// Counts the trials in which the usual rule called equal sides different.
    #[must_use]
    pub fn sequential_alarms(&self) -> usize {
        let is_alarm = |verdict| matches!(verdict, Verdict::Regressed | Verdict::Improved);
        let trials = self.trials.iter();
        trials
            .filter(|trial| trial.sequential.is_some_and(is_alarm))
            .count()
    }

    /// Counts the trials that were found to be slower within
    /// [`Experiment::in_time`].
    #[must_use]
    pub fn found_in_time(&self) -> usize {
        // A look is taken after the quad that reaches it.
        let limit = self.experiment.in_time().as_nanos() + 250_000_000;
        self.trials
            .iter()
            .filter(|trial| {
                trial.verdict == Verdict::Regressed && u128::from(trial.spent_ns) <= limit
            })
            .count()
    }

    /// Bounds a share of the trials at 95 % on each side.
    #[must_use]
    pub fn bounds(&self, count: usize) -> (f64, f64) {
        share_bounds(count as u64, self.trials.len() as u64, 0.05)
    }

    /// Returns the lowest, median and highest estimate of one channel.
    #[must_use]
    pub fn estimates(&self, of: fn(&Trial) -> Option<f64>) -> Option<(f64, f64, f64)> {
        let mut sorted: Vec<f64> = self.trials.iter().filter_map(of).collect();
        sort(&mut sorted);
        let median = quantile_of(&mut sorted, 0.5)?;
        Some((*sorted.first()?, median, *sorted.last()?))
    }

    /// Did the trials find what they had to, and nothing else?
    ///
    /// Without an effect: no difference in any trial. With one: found in time
    /// in 95 of 100 trials if uniform, in 99 if that is 5 % or more, in 90 if
    /// rare. The own cost: below
    /// [`MOST_OWN_COST`] in both channels' medians.
    #[must_use]
    pub fn meets_goal(&self) -> bool {
        let found = self.found_in_time() as f64 / (self.trials.len() as f64).max(1.0);
        match self.experiment {
            Experiment::Nothing | Experiment::Beside => {
                self.count(Verdict::Regressed) + self.count(Verdict::Improved) == 0
            }
            Experiment::Uniform(_) if self.experiment.is_clear() => found >= 0.99,
            Experiment::Uniform(_) => found >= 0.95,
            Experiment::Rare(..) => found >= 0.9,
            Experiment::OwnCost => [
                self.estimates(|trial| trial.floor_change),
                self.estimates(|trial| trial.mean_change),
            ]
            .into_iter()
            .all(|of| of.is_some_and(|(_, median, _)| median < MOST_OWN_COST)),
        }
    }

    /// Returns the mean time of a comparison.
    #[must_use]
    pub fn mean_spent(&self) -> Duration {
        let sum: u64 = self.trials.iter().map(|trial| trial.spent_ns).sum();
        Duration::from_nanos(sum / (self.trials.len() as u64).max(1))
    }
}

/// Runs `trials` comparisons of a backend with itself under an experiment.
///
/// `tell` is given each trial when it is done. A stop keeps what there is.
///
/// # Errors
///
/// The backend cannot use the key, or a signature failed.
#[allow(clippy::too_many_arguments)] // Each is one thing that a caller chooses.
pub fn run(
    experiment: Experiment,
    backend: &str,
    key: &PrivateKey,
    trials: usize,
    seed: u64,
    clock: &dyn Clock,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Trial),
) -> Result<SelfTestRecord, BenchError> {
    let registry = Registry::compiled();
    let load = || {
        let (mut loaded, refused) = registry.agreeing(&[backend.to_owned()], key, Algorithm::Rs256);
        loaded
            .pop()
            .map(|loaded| loaded.signer)
            .ok_or_else(|| BenchError::NothingToMeasure {
                reasons: refused
                    .iter()
                    .map(|refused| format!("{}: {}", refused.name, refused.reason))
                    .collect::<Vec<_>>()
                    .join("; "),
            })
    };
    let before = Counters::now();
    let started = clock.monotonic();
    let mut record = SelfTestRecord {
        experiment,
        backend: backend.to_owned(),
        backend_version: registry
            .get(backend)
            .map(|backend| backend.facts().version)
            .unwrap_or_default(),
        key_bits: key.bits(),
        seed,
        calibrated_change: None,
        is_stopped: false,
        trials: Vec::with_capacity(trials),
        host: Host::detect(),
        quality: QualityFacts::default(),
    };
    let mut rounds = 0;
    if let Experiment::Uniform(share) = experiment {
        let message = &signing_inputs(Algorithm::Rs256, USUAL_CLAIMS_BYTES)[0];
        let (found, change) = calibrate(&*load()?, message, share);
        rounds = found;
        record.calibrated_change = Some(change);
    }
    for trial in 0..trials as u64 {
        let mut arms = arms(experiment, rounds, &load, key, seed + trial)?;
        let schedule = Schedule {
            looks: Looks::new(
                LOOKS_S.map(Duration::from_secs).to_vec(),
                ALPHA,
                CHANNELS,
                1,
            ),
            limit: Duration::from_secs(2 * LOOKS_S[LOOKS_S.len() - 1]),
            tolerance: Tolerance::default(),
            precision: None,
            seed: seed + trial,
        };
        let pair = Pair {
            baseline: 0,
            candidate: 1,
            // Nothing here waits, and the blocks of the own cost are single
            // operations, from which that could not be told.
            by: Some(TimedBy::ThreadCpu),
        };
        let failed = |(_, source)| BenchError::Sign {
            case: backend.to_owned(),
            source,
        };
        let outcome =
            compare(&mut arms, &[pair], &schedule, clock, stop, &mut |_| {}).map_err(failed)?;
        if outcome.is_stopped {
            record.is_stopped = true;
            break;
        }
        let sequential = match experiment {
            Experiment::Beside => Some(sequential(&mut arms, seed + trial, clock).map_err(failed)?),
            _ => None,
        };
        let pair = &outcome.pairs[0];
        let trial = Trial {
            verdict: pair.verdict,
            spent_ns: u64::try_from(pair.spent.as_nanos()).unwrap_or(u64::MAX),
            floor_change: pair.floor.map(|floor| floor.change()),
            mean_change: pair.mean.map(|mean| mean.change()),
            sequential,
        };
        tell(&trial);
        record.trials.push(trial);
        record.quality.preempted_share += (outcome.tallies[0].preempted_share()
            - record.quality.preempted_share)
            / record.trials.len() as f64;
    }
    let preempted_share = record.quality.preempted_share;
    record.quality = Counters::now().since(&before, clock.monotonic() - started);
    record.quality.preempted_share = preempted_share;
    Ok(record)
}

fn arms(
    experiment: Experiment,
    rounds: u32,
    load: &dyn Fn() -> Result<Arc<dyn Signer>, BenchError>,
    key: &PrivateKey,
    seed: u64,
) -> Result<Vec<Box<dyn Arm>>, BenchError> {
    let messages = signing_inputs(Algorithm::Rs256, USUAL_CLAIMS_BYTES);
    let (baseline, candidate) = (load()?, load()?);
    let arm = |signer: Arc<dyn Signer>| SignerArm::new(signer, Arc::clone(&messages));
    if experiment == Experiment::OwnCost {
        let refused = |error: aws_lc_rs::error::KeyRejected| BenchError::NothingToMeasure {
            reasons: error.to_string(),
        };
        return Ok(vec![
            Box::new(Bare {
                signature: vec![0; baseline.signature_len()],
                pair: RsaKeyPair::from_pkcs8(key.pkcs8_der()).map_err(refused)?,
                messages: Arc::clone(&messages),
                per_operation: 1,
            }),
            Box::new(Around(arm(candidate), Block::default())),
        ]);
    }
    let slowed: Arc<dyn Signer> = match experiment {
        Experiment::Nothing | Experiment::Beside | Experiment::OwnCost => candidate,
        Experiment::Uniform(_) => Arc::new(Worked {
            signer: candidate,
            rounds,
        }),
        Experiment::Rare(share, factor) => Arc::new(Repeated {
            signer: candidate,
            share,
            factor,
            random: Mutex::new(Random::new(seed ^ 0x5eed)),
        }),
    };
    Ok(vec![Box::new(arm(baseline)), Box::new(arm(slowed))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(trials: Vec<Trial>) -> SelfTestRecord {
        SelfTestRecord {
            experiment: Experiment::Uniform(0.03),
            backend: "ring".into(),
            backend_version: "1".into(),
            key_bits: 2048,
            seed: 1,
            calibrated_change: None,
            is_stopped: false,
            trials,
            host: Host::detect(),
            quality: QualityFacts::default(),
        }
    }

    #[test]
    fn a_late_finding_is_not_one_in_time() {
        let trial = |verdict, seconds: u64| Trial {
            verdict,
            spent_ns: seconds * 1_000_000_000,
            floor_change: Some(0.03),
            mean_change: None,
            sequential: None,
        };
        let record = record(vec![
            trial(Verdict::Regressed, 2),
            trial(Verdict::Regressed, 8),
            trial(Verdict::Regressed, 16),
            trial(Verdict::Unchanged, 2),
        ]);
        assert_eq!(record.found_in_time(), 2);
        assert_eq!(record.count(Verdict::Regressed), 3);
        assert_eq!(record.mean_spent(), Duration::from_secs(7));
        assert_eq!(
            record.estimates(|trial| trial.floor_change),
            Some((0.03, 0.03, 0.03))
        );
        assert_eq!(record.estimates(|trial| trial.mean_change), None);
        let clear = SelfTestRecord {
            experiment: Experiment::Uniform(0.05),
            ..record
        };
        assert_eq!(clear.found_in_time(), 1);
    }

    #[test]
    fn effects_are_those_of_the_mean() {
        let close = |experiment: Experiment, expected: f64| {
            (experiment.expected_change().unwrap() - expected).abs() < 1e-12
        };
        assert!(close(Experiment::Nothing, 0.0));
        assert!(close(Experiment::Uniform(0.03), 0.03));
        assert!(close(Experiment::Rare(0.02, 3), 0.04));
        assert_eq!(Experiment::OwnCost.expected_change(), None);
    }
}
