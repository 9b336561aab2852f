//! How does a list of cases become a record?
//!
//! Signers are made and proven before anything is timed; then all questions
//! share one schedule of quads. A case that cannot be made is left out with
//! its reason, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::arm::{Arm, PooledArm, SignerArm};
use super::case::{Case, KeyPolicy, Question, cell_of, questions, reference_of};
use super::message::signing_inputs;
use super::quads::{Outcome, Pair, PairOutcome, Progress, Schedule, TimedBy, compare};
use super::quality::Counters;
use super::rank::{Standing, ranks};
use super::record::{
    BenchRecord, Bounded, CaseRecord, ComparisonRecord, KeyFacts, Latency, RefusedCase,
    SCHEMA_VERSION, SpeedRatio,
};
use super::tally::Tally;
use super::{BenchError, warning};
use crate::clock::Clock;
use crate::signer::{Algorithm, PrivateKey, Registry, SignError, Signer};
use crate::stats::multiple::holm;
use crate::stats::paired::CHANNELS;
use crate::stats::serial::lag1;
use crate::stats::{Looks, Tolerance, Verdict};

/// The chance of any wrong verdict or order in a record, both sides together.
///
/// One in a hundred runs; ten times less costs about a third more time.
pub const ALPHA: f64 = 0.01;

/// How narrow bounds must be before a decided pair leaves its time to others.
///
/// A quarter of a percent at the floor and one percent of the mean: beyond
/// that, the machine changes more from one hour to the next.
const PRECISION: Tolerance = Tolerance {
    floor: 0.0025,
    mean: 0.01,
};

/// What is to be compared, and for how long.
pub struct Request<'a> {
    /// The backends that there are.
    pub registry: &'a Registry,
    /// The keys to sign with; each serves the algorithms of its kind.
    pub keys: &'a [Arc<PrivateKey>],
    /// The names of the backends to compare.
    pub backends: &'a [String],
    /// The algorithms.
    pub algorithms: &'a [Algorithm],
    /// The numbers of threads.
    pub threads: &'a [usize],
    /// The key policies.
    pub key_policies: &'a [KeyPolicy],
    /// The sizes of the claims, in bytes.
    pub claims_bytes: &'a [usize],
    /// The backend that others are compared with.
    pub reference: &'a str,
    /// The time for everything that is timed.
    pub budget: Duration,
    /// The seed of the order of blocks.
    pub seed: u64,
    /// Whether the reference is also compared with itself.
    pub has_null_control: bool,
}

/// Measures what `request` asks for.
///
/// `watch` is told now and then how far it is. When `stop` is set, the record
/// is made of what there is.
///
/// # Errors
///
/// Nothing was left to measure, a signature failed while it was timed, or the
/// system started no threads.
pub fn run(
    request: &Request<'_>,
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<BenchRecord, BenchError> {
    let started = clock.monotonic();
    let before = Counters::now();
    let (ready, refused) = prepare(request);
    if ready.is_empty() {
        return Err(BenchError::NothingToMeasure {
            reasons: refused
                .iter()
                .map(|refused| format!("{}: {}", refused.case.backend, refused.reason))
                .collect::<Vec<_>>()
                .join("; "),
        });
    }
    let cases: Vec<Case> = ready.iter().map(|ready| ready.case.clone()).collect();
    let mut asked = questions(&cases, request.reference);
    let mut arms: Vec<Box<dyn Arm>> = ready
        .iter()
        .map(Ready::arm)
        .collect::<Result<_, BenchError>>()?;
    if request.has_null_control || asked.is_empty() {
        let control = reference_of(&cases, 0, request.reference);
        asked.push((control, arms.len(), Question::NullControl));
        arms.push(ready[control].arm()?);
    }
    let pairs: Vec<Pair> = asked
        .iter()
        .map(|(baseline, candidate, question)| Pair {
            baseline: *baseline,
            candidate: *candidate,
            by: (*question == Question::Threads).then_some(TimedBy::Wall),
        })
        .collect();
    let share = request.budget / u32::try_from(pairs.len()).unwrap_or(u32::MAX).max(1);
    let schedule = Schedule {
        looks: Looks::new(
            vec![share / 4, share / 2, share, share * 2],
            ALPHA,
            CHANNELS,
            pairs.len(),
        ),
        limit: request.budget,
        tolerance: Tolerance::default(),
        precision: Some(PRECISION),
        seed: request.seed,
    };
    let outcome =
        compare(&mut arms, &pairs, &schedule, clock, stop, watch).map_err(|(arm, source)| {
            BenchError::Sign {
                // The arm of the null control is the reference's once more.
                case: cases.get(arm).unwrap_or(&cases[0]).to_string(),
                source,
            }
        })?;
    let took = clock.monotonic() - started;
    let mut record = BenchRecord {
        schema_version: SCHEMA_VERSION,
        seed: request.seed,
        budget_ns: whole_ns(request.budget),
        took_ns: whole_ns(took),
        is_stopped: outcome.is_stopped,
        alpha: ALPHA,
        tolerance: schedule.tolerance,
        keys: request.keys.iter().map(|key| key_facts(key)).collect(),
        backends: request
            .registry
            .iter()
            .map(|backend| backend.facts())
            .filter(|facts| cases.iter().any(|case| case.backend == facts.name))
            .collect(),
        cases: case_records(&cases, &outcome, &asked, request.reference),
        comparisons: comparison_records(&cases, &outcome, &asked, &schedule),
        refused,
        quality: Counters::now().since(&before, took),
        warnings: Vec::new(),
    };
    let reference = reference_of(&cases, 0, request.reference);
    let totals = totals(&outcome.tallies);
    record.quality.preempted_share = totals.0;
    record.quality.wall_per_cpu = totals.1;
    record.quality.drift = drift(outcome.tallies[reference].cpu_floors_ns());
    record.warnings = warning::warnings(&record);
    Ok(record)
}

/// A case with the signer that was made for it.
struct Ready {
    case: Case,
    signer: Arc<dyn Signer>,
    messages: Arc<[Vec<u8>]>,
}

impl Ready {
    fn arm(&self) -> Result<Box<dyn Arm>, BenchError> {
        Ok(if self.case.threads == 1 {
            Box::new(SignerArm::new(
                Arc::clone(&self.signer),
                Arc::clone(&self.messages),
            ))
        } else {
            Box::new(PooledArm::new(
                &self.signer,
                &self.messages,
                self.case.threads,
            )?)
        })
    }
}

/// Makes the signers of every cell and leaves out what cannot be made.
fn prepare(request: &Request<'_>) -> (Vec<Ready>, Vec<RefusedCase>) {
    let mut ready = Vec::new();
    let mut refused = Vec::new();
    for algorithm in request.algorithms {
        for key in request
            .keys
            .iter()
            .filter(|key| key.kind() == algorithm.key_kind())
        {
            let (loaded, left_out) = request.registry.agreeing(request.backends, key, *algorithm);
            for (policy, threads, claims_bytes) in cells(request) {
                let case = |backend: &str| Case {
                    backend: backend.to_owned(),
                    algorithm: *algorithm,
                    key_bits: key.bits(),
                    threads,
                    key_policy: policy,
                    claims_bytes,
                };
                let messages = signing_inputs(*algorithm, claims_bytes);
                for loaded in &loaded {
                    match under_policy(request.registry, loaded, key, *algorithm, policy) {
                        Ok(signer) => ready.push(Ready {
                            case: case(&loaded.name),
                            signer,
                            messages: Arc::clone(&messages),
                        }),
                        Err(reason) => refused.push(RefusedCase {
                            case: case(&loaded.name),
                            reason,
                        }),
                    }
                }
                refused.extend(left_out.iter().map(|left_out| RefusedCase {
                    case: case(&left_out.name),
                    reason: left_out.reason.clone(),
                }));
            }
        }
    }
    (ready, refused)
}

fn cells(request: &Request<'_>) -> Vec<(KeyPolicy, usize, usize)> {
    let mut cells = Vec::new();
    for policy in request.key_policies {
        for threads in request.threads {
            for claims_bytes in request.claims_bytes {
                cells.push((*policy, (*threads).max(1), *claims_bytes));
            }
        }
    }
    cells
}

fn under_policy(
    registry: &Registry,
    loaded: &crate::signer::registry::Loaded,
    key: &Arc<PrivateKey>,
    algorithm: Algorithm,
    policy: KeyPolicy,
) -> Result<Arc<dyn Signer>, String> {
    match policy {
        KeyPolicy::Reused => Ok(Arc::clone(&loaded.signer)),
        KeyPolicy::ParsedPerCall => {
            let backend = registry.get(&loaded.name).map_err(|e| e.to_string())?;
            Ok(Arc::new(ParsedPerCall {
                backend: Arc::clone(backend),
                key: Arc::clone(key),
                algorithm,
                len: loaded.signer.signature_len(),
            }))
        }
        KeyPolicy::DecryptedPerCall => Err("the key is not encrypted".into()),
    }
}

/// Makes a signer of the key for every signature, as careless programs do.
struct ParsedPerCall {
    backend: Arc<dyn crate::signer::Backend>,
    key: Arc<PrivateKey>,
    algorithm: Algorithm,
    len: usize,
}

impl Signer for ParsedPerCall {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.backend
            .load(&self.key, self.algorithm)
            .map_err(|_| SignError::Backend { backend: "bench" })?
            .sign(message, signature)
    }
}

fn case_records(
    cases: &[Case],
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    reference: &str,
) -> Vec<CaseRecord> {
    let against_reference = |case: usize| -> Option<&PairOutcome> {
        asked
            .iter()
            .position(|(_, candidate, question)| {
                *candidate == case && *question == Question::Backend
            })
            .map(|at| &outcome.pairs[at])
    };
    (0..cases.len())
        .map(|at| {
            let cell = cell_of(cases, at);
            let is_reference = reference_of(cases, at, reference) == at;
            let standings: Vec<Standing> = cell
                .iter()
                .map(|case| match against_reference(*case) {
                    Some(pair) => Standing::from_channels(pair.floor, pair.mean),
                    None => Standing::baseline(),
                })
                .collect();
            let place = cell.iter().position(|case| *case == at).unwrap_or(0);
            let speed = against_reference(at).and_then(|pair| {
                Some(SpeedRatio {
                    floor: pair.floor?.into(),
                    mean: pair.mean?.into(),
                })
            });
            let rank = ranks(&standings)[place];
            case_record(&cases[at], &outcome.tallies[at], rank, is_reference, speed)
        })
        .collect()
}

fn case_record(
    case: &Case,
    tally: &Tally,
    rank: usize,
    is_reference: bool,
    speed: Option<SpeedRatio>,
) -> CaseRecord {
    let process_per_thread_cpu = tally.mean_process_cpu_ns() / tally.mean_cpu_ns().max(1e-9);
    let per_s = |ns: f64| if ns > 0.0 { 1e9 / ns } else { 0.0 };
    let spread = tally.cpu_floor_spread_ns().unwrap_or_default();
    CaseRecord {
        case: case.clone(),
        is_reference,
        rank,
        signatures: tally.signatures(),
        blocks: tally.blocks() as u64,
        per_core_per_s: per_s(tally.cpu_floor_ns().unwrap_or(0.0)),
        per_core_spread_per_s: (per_s(spread.1), per_s(spread.0)),
        mean_per_core_per_s: per_s(tally.mean_cpu_ns()),
        total_per_s: tally.threads() as f64 * per_s(tally.wall_floor_ns().unwrap_or(0.0)),
        achieved_per_s: tally.achieved_per_s(),
        utilisation: tally.utilisation(),
        process_per_thread_cpu,
        speed,
        latency: latency(tally),
        rust_allocations: None,
        rust_allocated_bytes: None,
        cycles: None,
        load_ns: None,
        decrypt_and_load_ns: None,
    }
}

fn comparison_records(
    cases: &[Case],
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    schedule: &Schedule,
) -> Vec<ComparisonRecord> {
    let verdicts = stepped_down(outcome, asked, schedule);
    asked
        .iter()
        .zip(&outcome.pairs)
        .zip(verdicts)
        .map(|(((baseline, candidate, question), pair), verdict)| {
            ComparisonRecord {
                question: *question,
                baseline: *baseline,
                // The second arm of the null control is the same case.
                candidate: if *candidate < cases.len() {
                    *candidate
                } else {
                    *baseline
                },
                timed_by: pair.by,
                verdict,
                floor: pair.floor,
                mean: pair.mean,
                // Wall time of a signature on its thread, not of the pool: its
                // ratio is the efficiency of a thread.
                efficiency: (*question == Question::Threads)
                    .then(|| pair.floor.map(Bounded::from))
                    .flatten(),
                looks: pair.looks,
                spent_ns: whole_ns(pair.spent),
                lag1: lag1(pair.comparison.floor_log_ratios()),
                floor_log_ratios: pair.comparison.floor_log_ratios().to_vec(),
                mean_log_ratios: pair.comparison.mean_log_ratios(),
            }
        })
        .collect()
}

/// Decides what Bonferroni's bounds left open, where Holm's procedure can:
/// findings among the other pairs need no share of the error any more.
///
/// The null control is no member of the family; it is judged by its bounds.
fn stepped_down(
    outcome: &Outcome,
    asked: &[(usize, usize, Question)],
    schedule: &Schedule,
) -> Vec<Verdict> {
    let looks = schedule.looks.at().len() as f64;
    let members: Vec<usize> = (0..asked.len())
        .filter(|at| asked[*at].2 != Question::NullControl)
        .collect();
    let p_values: Vec<(f64, f64)> = members
        .iter()
        .map(|at| outcome.pairs[*at].comparison.p_values(schedule.tolerance))
        .collect();
    let smaller: Vec<f64> = p_values
        .iter()
        .map(|(slower, faster)| (2.0 * looks * slower.min(*faster)).min(1.0))
        .collect();
    let mut verdicts: Vec<Verdict> = outcome.pairs.iter().map(|pair| pair.verdict).collect();
    for ((at, (slower, faster)), adjusted) in members.iter().zip(p_values).zip(holm(&smaller)) {
        if verdicts[*at] == Verdict::Inconclusive && adjusted <= ALPHA {
            verdicts[*at] = if slower < faster {
                Verdict::Regressed
            } else {
                Verdict::Improved
            };
        }
    }
    verdicts
}

fn latency(tally: &Tally) -> Latency {
    /// Signatures beyond a percentile that make it worth showing.
    const BEYOND: f64 = 20.0;
    let histogram = tally.latency_ns();
    let at = |quantile: f64| {
        let beyond = histogram.len() as f64 * (1.0 - quantile);
        (beyond >= BEYOND).then(|| histogram.value_at_quantile(quantile))
    };
    Latency {
        min_ns: histogram.min(),
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        max_ns: histogram.max(),
    }
}

/// Returns the share of preempted operations and wall over CPU time.
fn totals(tallies: &[Tally]) -> (f64, f64) {
    let operations: u64 = tallies.iter().map(Tally::operations).sum();
    let weighted = |of: fn(&Tally) -> f64| {
        tallies
            .iter()
            .map(|tally| of(tally) * tally.operations() as f64)
            .sum::<f64>()
            / operations.max(1) as f64
    };
    let utilisation = weighted(Tally::utilisation);
    (
        weighted(Tally::preempted_share),
        if utilisation > 0.0 {
            1.0 / utilisation
        } else {
            0.0
        },
    )
}

/// Compares the last quarter of a series with the first.
fn drift(floors: &[f64]) -> Option<f64> {
    use crate::stats::order::quantile_of;
    let quarter = floors.len() / 4;
    if quarter < 5 {
        return None;
    }
    let first = quantile_of(&mut floors[..quarter].to_vec(), 0.5)?;
    let last = quantile_of(&mut floors[floors.len() - quarter..].to_vec(), 0.5)?;
    Some(last / first)
}

fn key_facts(key: &PrivateKey) -> KeyFacts {
    use std::fmt::Write as _;
    KeyFacts {
        kind: key.kind(),
        bits: key.bits(),
        is_multi_prime: key.is_multi_prime(),
        spki_sha256: key.public_key().map(|public| {
            public
                .fingerprint()
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
        }),
    }
}

fn whole_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
