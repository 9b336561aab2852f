//! How is the load of a scenario at a given rate carried out?
//!
//! The machine is measured against a null target first, then the endpoint at
//! the scenario's rate; the run's verdict on itself goes into the record.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::open::OpenLoadPlan;
use super::plan::Plan;
use super::rotation::{Rotation, rotating};
use super::run_error::RunError;
use super::runner::{Event, key_facts};
use super::stage::Stage;
use crate::bench::BenchRecord;
use crate::credential::Credential;
use crate::load::calibrate::calibrate;
use crate::load::open::{OpenMeasured, OpenPlan, run_open};
use crate::load::population::Population;
use crate::load::verdict::judge;
use crate::record::{
    Calibration, Habits, KeyFacts, KeyHabit, OpenRecord, Soundness, StepRecord, TokenHabit,
    Validity, Warning,
};
use crate::signer::Registry;

/// The name of the only step of a load at a given rate.
const STEP: &str = "open";

/// A scenario whose endpoint is there and whose load has not begun.
pub struct Prepared {
    pub(super) stage: Stage,
    /// The load.
    pub engine: OpenPlan,
    /// Who asks for tokens.
    pub population: Arc<Population>,
    /// The backend that signs.
    pub signed_by: String,
}

impl Prepared {
    /// Sets the stage for a plan of the open model: the endpoint, the apps and
    /// their keys.
    ///
    /// # Errors
    ///
    /// As [`super::run()`]; or the plan is of the closed model.
    pub fn set(plan: &Plan, tell: &mut dyn FnMut(Event<'_>)) -> Result<Self, RunError> {
        Self::set_with(plan, &[], tell)
    }

    /// Sets the stage with credentials that were handed over, in the order of
    /// the plan's, in place of its files.
    ///
    /// # Errors
    ///
    /// As [`Self::set`].
    pub fn set_with(
        plan: &Plan,
        given: &[Credential],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, RunError> {
        let stage = Stage::set_with(plan, given, tell)?;
        let open = plan.load.open.as_ref().ok_or(RunError::Closed)?;
        let engine = stage.engine(open.engine(&plan.load)?);
        let (population, signed_by) = stage.population(plan, None)?;
        Ok(Self {
            stage,
            engine,
            population: Arc::new(population),
            signed_by,
        })
    }

    /// Returns what may be told of the first app's key.
    #[must_use]
    pub fn key_facts(&self, plan: &Plan) -> KeyFacts {
        key_facts(&self.stage, plan)
    }

    /// Returns the endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.stage.url
    }

    /// Returns the threads of an embedded broker.
    #[must_use]
    pub fn broker_threads(&self) -> &[i32] {
        self.stage.broker_threads()
    }
}

/// Runs the load of `plan` and judges it.
pub(super) fn open_step(
    plan: &Plan,
    stage: &Stage,
    signing: Option<&BenchRecord>,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<(StepRecord, bool), RunError> {
    let open = plan.load.open.as_ref().ok_or(RunError::Closed)?;
    let engine = stage.engine(open.engine(&plan.load)?);
    let (population, signed_by) = stage.population(plan, signing)?;
    let population = Arc::new(population);
    let registry = Registry::compiled();
    let backend = registry.get(&signed_by)?;
    let rotation = Rotation::prepare(plan, stage, &population, &**backend)?;
    let calibration = if open.calibrate.0.is_zero() {
        None
    } else {
        tell(Event::Calibrating);
        Some(calibrate(&engine, &population, open.calibrate.0, stop)?)
    };
    tracing::info!(step = STEP, signed_by, "a step began");
    tell(Event::StepBegan {
        name: STEP.to_owned(),
    });
    let (measured, rotated) = rotating(rotation, || {
        run_open(
            &engine,
            &stage.url,
            &population,
            stage.broker_threads(),
            stop,
            |told| tell(told.into()),
        )
    })?;
    let measured = measured?;
    let was_stopped = measured.was_stopped;
    let soundness = judge(&measured, calibration.as_ref());
    let mut record = record(open, measured, calibration, soundness);
    if let Some(open) = &mut record.open {
        open.rotation = rotated;
    }
    Ok((record, was_stopped))
}

/// Makes the record of a load.
pub(super) fn record(
    plan: &OpenLoadPlan,
    measured: OpenMeasured,
    calibration: Option<Calibration>,
    soundness: Soundness,
) -> StepRecord {
    let transport = plan.connecting.transport.unwrap_or_default();
    let open = OpenRecord {
        transport: serde_json::to_value(transport)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default(),
        connections: plan.connections,
        accounts: measured.accounts,
        offered_per_s: measured.offered_per_s,
        sent_per_s: measured.sent_per_s,
        outcomes: measured.outcomes,
        slices: measured.slices,
        blame: measured.blame,
        opened: measured.opened,
        signing: measured.signing,
        retries: measured.retries,
        cache: measured.cache,
        rotation: None,
        health: measured.health,
        calibration,
        soundness,
    };
    StepRecord {
        name: STEP.to_owned(),
        habits: Habits {
            key: KeyHabit::Reuse,
            token: TokenHabit::FetchPerCall,
        },
        workers: plan.connections,
        threads: plan.threads,
        phases: measured.phases,
        outcomes: open.counts(),
        assertions_signed: open.signing.signed,
        requests_sent: open.requests_sent(),
        abandoned: open.accounts.unfinished,
        latencies: measured.latencies,
        cpu: measured.cpu,
        slices: Vec::new(),
        herds: None,
        open: Some(Box::new(open)),
    }
}

/// Returns what has to be remarked about a step of the open model.
pub(super) fn remarks(plan: &Plan, step: &StepRecord) -> Vec<Warning> {
    let mut remarks = Vec::new();
    let Some(open) = &step.open else {
        return remarks;
    };
    for finding in &open.soundness.findings {
        remarks.push(finding.warning.clone());
    }
    if open.soundness.validity != Validity::Valid {
        remarks.push(Warning::new(
            "soundness",
            format!(
                "this run is {} by its own measure; most of the time was that of {}",
                open.soundness.validity, open.soundness.culprit
            ),
            "the findings above say what to change",
        ));
    }
    let failed = open.accounts.failed + open.accounts.dropped + open.accounts.unfinished;
    if failed > 0 {
        remarks.push(Warning::errors(&plan.name, failed, open.accounts.scheduled));
    }
    remarks
}
