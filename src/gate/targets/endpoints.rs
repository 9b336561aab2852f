//! How is the load of a scenario put on one of two endpoints?

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::record::Segment;
use super::session::Segments;
use crate::load::arrival::Arrival;
use crate::load::calibrate::calibrate;
use crate::load::open::{Model, OpenError, OpenMeasured, OpenPlan, merged, run_open};
use crate::load::verdict::judge;
use crate::record::{Calibration, OpenSlice, Outcome, Validity};
use crate::scenario::{Event, Prepared, RunError, Scenario, ScenarioError};
use crate::stats::sliced::Slice;

/// How long the machine is measured against a target that does nothing.
const CALIBRATE: Duration = Duration::from_secs(2);

/// Two endpoints and the load of a scenario.
pub struct Endpoints {
    prepared: [Prepared; 2],
    calibration: Calibration,
}

impl Endpoints {
    /// Prepares the load of `scenario` for two URLs, baseline first, which
    /// take the place of the scenario's target.
    ///
    /// # Errors
    ///
    /// The scenario cannot be used with a URL, or has no schedule of starts.
    pub fn set(
        scenario: &Scenario,
        urls: [&str; 2],
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, EndpointError> {
        if scenario.load.open.is_none() {
            return Err(EndpointError::Closed(scenario.name.clone()));
        }
        let mut prepare = |url: &str| -> Result<Prepared, EndpointError> {
            let mut scenario = scenario.clone();
            scenario.target.broker = None;
            scenario.target.url = Some(url.to_owned());
            let plan = scenario.plan()?;
            Ok(Prepared::set(&plan, tell)?)
        };
        let prepared = [prepare(urls[0])?, prepare(urls[1])?];
        let [first, _] = &prepared;
        let calibration = calibrate(&first.engine, &first.population, CALIBRATE, stop)?;
        Ok(Self {
            prepared,
            calibration,
        })
    }
}

impl Segments for Endpoints {
    fn baseline(&self) -> String {
        self.prepared[0].url().to_owned()
    }

    fn candidate(&self) -> String {
        self.prepared[1].url().to_owned()
    }

    fn lasts(&self) -> Duration {
        let engine = &self.prepared[0].engine;
        engine.warm_up + engine.measure
    }

    fn segment(
        &mut self,
        side: usize,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<Option<Segment>, String> {
        let prepared = &self.prepared[side];
        let plan = seeded(&prepared.engine, seed);
        let measured = run_open(
            &plan,
            prepared.url(),
            &prepared.population,
            prepared.broker_threads(),
            stop,
            |_| (),
        )
        .map_err(|error| format!("{}: {}", prepared.url(), crate::error::Chain(&error)))?;
        Ok((!measured.was_stopped).then(|| self.seen(side, seed, &plan, &measured)))
    }
}

impl Endpoints {
    fn seen(&self, side: usize, seed: u64, plan: &OpenPlan, measured: &OpenMeasured) -> Segment {
        let soundness = judge(measured, Some(&self.calibration));
        Segment {
            side,
            seed,
            finding: soundness
                .findings
                .first()
                .filter(|finding| finding.validity == Validity::Invalid)
                .map(|finding| finding.warning.message.clone()),
            validity: soundness.validity,
            sent_share: measured.sent_per_s / measured.offered_per_s.max(f64::MIN_POSITIVE),
            slice_ns: measured.slices.first().map_or_else(
                || u64::try_from(plan.slice.as_nanos()).unwrap_or(u64::MAX),
                |slice| slice.length_ns,
            ),
            slices: measured.slices.iter().map(slice_of).collect(),
        }
    }
}

fn slice_of(slice: &OpenSlice) -> Slice {
    let answered = slice
        .outcomes
        .iter()
        .filter(|of| Outcome::is_name_of_token(&of.outcome))
        .map(|of| &of.stages.response);
    Slice {
        due: slice.scheduled,
        times: merged(answered)
            .recorded()
            .map(|(time, count)| (u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), count))
            .collect(),
    }
}

/// Draws other starts from the same rate; recorded starts stay as they are.
fn seeded(plan: &OpenPlan, seed: u64) -> OpenPlan {
    let mut plan = plan.clone();
    if let Model::Open(Arrival::Drawn { seed: own, .. }) = &mut plan.model {
        *own = seed;
    }
    plan
}

/// Why two endpoints cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The scenario cannot be used with a URL.
    #[error("the scenario does not fit an endpoint at a URL")]
    Scenario(#[from] ScenarioError),
    /// Nobody can ask for tokens.
    #[error("the load cannot be prepared")]
    Prepare(#[from] RunError),
    /// The scenario's load has no schedule.
    #[error("the scenario {0} has no schedule of starts, expected [load] with `open`")]
    Closed(String),
    /// The machine could not be measured.
    #[error("this machine cannot be measured against a target that does nothing")]
    Calibrate(#[from] OpenError),
}
