//! How is a plan carried out, from a key to a document?
//!
//! The broker is started on threads of its own, the app gets its key, the
//! backends are compared, and the steps call the endpoint one after the
//! other. Whatever ends the run early, what was measured until then comes
//! back, marked partial. Progress is told as events; nothing here prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::habit_step::run_step;
use super::open_step::{open_step, remarks};
use super::plan::{Plan, TargetPlan};
pub use super::run_error::RunError;
use super::signatory::{compare, gathered};
use super::stage::Stage;
use crate::load::Progress;
use crate::load::observe::{PassedSlice, Told};
use crate::record::document::SCHEMA_VERSION;
use crate::record::host::QualityWatch;
use crate::record::{Host, KeyFacts, Quality, Refusal, RunDocument, StepRecord, Tool, Warning};
use crate::signer::Registry;

/// The load average per processor from which on the host counts as busy.
const BUSY_LOAD: f64 = 0.5;

/// The share of stolen time from which on it is remarked.
const MUCH_STEAL: f64 = 0.005;

/// What happens during a run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A key pair is being made.
    Generating {
        /// The size of the modulus.
        bits: usize,
    },
    /// The broker listens.
    BrokerStarted {
        /// Its address.
        url: String,
    },
    /// The machine is measured against a target that does nothing.
    Calibrating,
    /// Backends are being compared.
    Comparing {
        /// Time since the start.
        elapsed: Duration,
        /// The time that is allowed.
        budget: Duration,
    },
    /// The comparison is over.
    Compared,
    /// A step has begun.
    StepBegan {
        /// Its name.
        name: String,
    },
    /// A step goes on.
    Step(Progress),
    /// A slice of the load is whole.
    Slice(PassedSlice<'a>),
    /// What the token cache of a step has counted so far, once a second.
    Cache(crate::token::Metrics),
    /// A step is over.
    StepEnded(Box<StepRecord>),
}

impl<'a> From<Told<'a>> for Event<'a> {
    fn from(told: Told<'a>) -> Self {
        match told {
            Told::Progress(progress) => Self::Step(progress),
            Told::Slice(slice) => Self::Slice(slice),
        }
    }
}

/// Carries `plan` out.
///
/// `run` is the run's own name. Setting `stop` ends the run with what was
/// measured until then.
///
/// # Errors
///
/// The run could not begin: the credential, the backends, the broker or the
/// workers. Failing calls are data.
pub fn run(
    plan: &Plan,
    run: &str,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<RunDocument, RunError> {
    let begun = Instant::now();
    let started_at = jiff::Timestamp::now();
    let watch = QualityWatch::start();
    let host = Host::detect();
    let stage = Stage::set(plan, tell)?;
    let signing = compare(plan, &stage, stop, tell)?;
    let mut warnings = stage.warnings.clone();
    let (shared, signed_by) = stage.share(plan, signing.as_ref())?;
    let shared = Arc::new(shared);
    let mut steps = Vec::new();
    let mut partial = None;
    if plan.load.open.is_some() {
        let (record, was_stopped) = open_step(plan, &stage, signing.as_ref(), stop, tell)?;
        if was_stopped {
            partial = Some("it was stopped".to_owned());
        }
        warnings.extend(remarks(plan, &record));
        tell(Event::StepEnded(Box::new(record.clone())));
        steps.push(record);
    }
    for step in &plan.steps {
        if stop.load(Ordering::Relaxed) {
            partial = Some("it was stopped".to_owned());
            break;
        }
        tracing::info!(step = step.name, "a step began");
        tell(Event::StepBegan {
            name: step.name.clone(),
        });
        let (record, was_stopped) =
            run_step(plan, step, (&shared, &signed_by), &stage, stop, tell)?;
        if record.failed() > 0 {
            warnings.push(Warning::errors(
                &record.name,
                record.failed(),
                record.calls(),
            ));
        }
        tell(Event::StepEnded(Box::new(record.clone())));
        steps.push(record);
        if was_stopped {
            partial = Some(format!("it was stopped in the step {:?}", step.name));
            break;
        }
    }
    let quality = watch.finish();
    warnings.extend(conditions(plan, &host, &quality, partial.as_deref()));
    for Warning { code, message, .. } in &warnings {
        tracing::info!(code, message, "remark");
    }
    let key = key_facts(&stage, plan);
    let broker = stage.finish();
    Ok(RunDocument {
        schema_version: SCHEMA_VERSION,
        run: run.to_owned(),
        tool: Tool::this(),
        started_at: started_at.to_string(),
        elapsed_ns: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        partial,
        scenario: serde_json::to_value(plan).map_err(RunError::Encode)?,
        host,
        quality,
        backends: Registry::compiled()
            .iter()
            .map(|backend| backend.facts())
            .filter(|facts| {
                facts.name == signed_by.backend
                    || facts.name == signed_by.singly
                    || signing
                        .as_ref()
                        .is_some_and(|record| record.case_of(&facts.name).is_some())
            })
            .collect(),
        refused: signing
            .iter()
            .flat_map(|record| &record.refused)
            .map(|refused| Refusal {
                backend: refused.case.backend.clone(),
                reason: refused.reason.clone(),
            })
            .collect(),
        signed_by: signed_by.backend,
        signed_singly_by: Some(signed_by.singly),
        gathered: signed_by.mint.map(|mint| gathered(&mint)),
        key,
        signing,
        steps,
        capacity: None,
        fleet: None,
        broker,
        warnings,
    })
}

/// Remarks about the conditions of a run.
pub(super) fn conditions(
    plan: &Plan,
    host: &Host,
    quality: &Quality,
    partial: Option<&str>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let TargetPlan::Broker { threads, .. } = plan.target {
        warnings.push(Warning::shared_machine(threads.get(), host.cpus));
    }
    if quality.load_average > BUSY_LOAD * host.cpus as f64 {
        warnings.push(Warning::busy_host(quality.load_average, host.cpus));
    }
    if quality.steal_share > MUCH_STEAL {
        warnings.push(Warning::steal(quality.steal_share));
    }
    if !host.is_optimised {
        warnings.push(Warning::debug_build());
    }
    if let Some(reason) = partial {
        warnings.push(Warning::partial(reason));
    }
    warnings
}

pub(super) fn key_facts(stage: &Stage, plan: &Plan) -> KeyFacts {
    KeyFacts {
        bits: stage.key.bits(),
        algorithm: plan.algorithm.name().to_owned(),
        container: stage.credential.key.describe().to_string(),
        spki_sha256: stage
            .key
            .public_key()
            .map(|key| hex_of(&key.fingerprint()))
            .unwrap_or_default(),
    }
}

/// Writes bytes in hexadecimal.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
