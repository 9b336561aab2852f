//! How does a load become evidence for a search?

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{CapacityError, Offered, Trial};
use crate::load::arrival::{Arrival, Rate, Spacing};
use crate::load::objective::Objective;
use crate::load::open::{Model, OpenMeasured, OpenPlan, run_open};
use crate::load::population::Population;
use crate::load::verdict::judge;
use crate::record::{Calibration, Culprit, Validity};

/// Warm-up of each trial: the queue forgets where it came from.
const WARM_UP: Duration = Duration::from_secs(2);

/// A second, or shorter where there would be fewer than twenty slices.
const SLICE: Duration = Duration::from_secs(1);

/// The least number of slices that a decision rests on.
const LEAST_SLICES: u32 = 20;

/// Offers rates to an endpoint.
pub struct LoadTrial<'a> {
    /// The load; its model, warm-up and slices are set for each trial.
    pub plan: OpenPlan,
    /// The endpoint.
    pub url: &'a str,
    /// Who asks for tokens.
    pub population: &'a Arc<Population>,
    /// Threads of this process that answer.
    pub broker_tids: &'a [i32],
    /// What is wanted.
    pub objective: Objective,
    /// What this machine can do.
    pub calibration: Option<Calibration>,
    /// Ends the search.
    pub stop: &'a AtomicBool,
    /// The number of trials so far: each has a seed of its own.
    pub trials: u64,
}

impl Trial for LoadTrial<'_> {
    fn offer(&mut self, per_s: f64, length: Duration) -> Result<Offered, CapacityError> {
        self.trials += 1;
        let warm_up = WARM_UP.min(length / 2);
        let plan = OpenPlan {
            model: Model::Open(Arrival::Drawn {
                rate: Rate::constant(per_s, length).after_warm_up(warm_up),
                spacing: Spacing::Poisson,
                seed: self.trials,
            }),
            warm_up,
            measure: length,
            slice: SLICE.min(length / LEAST_SLICES),
            ..self.plan.clone()
        };
        let measured = run_open(
            &plan,
            self.url,
            self.population,
            self.broker_tids,
            self.stop,
            |_| (),
        )?;
        Ok(self.evidence(&measured))
    }
}

impl LoadTrial<'_> {
    fn evidence(&self, measured: &OpenMeasured) -> Offered {
        let soundness = judge(measured, self.calibration.as_ref());
        let slices: Vec<_> = measured
            .slices
            .iter()
            .map(|slice| self.objective.count(slice))
            .collect();
        let sent_share = measured.sent_per_s / measured.offered_per_s.max(f64::MIN_POSITIVE);
        Offered {
            backlog_grows: self.grows(measured),
            slices,
            sent_share,
            // Lateness of the generator matters as far as it can decide: if
            // the objective's quantile is mostly its own.
            is_generator_limited: soundness.findings.iter().any(|finding| {
                finding.validity == Validity::Invalid
                    && finding.culprit != Culprit::Target
                    && finding.warning.code == "rate-missed"
            }) || self.lag_decides(measured),
            response: measured
                .outcomes
                .iter()
                .find(|of| of.outcome == "answered")
                .map(|of| of.stages.response.clone())
                .unwrap_or_default(),
            was_stopped: measured.was_stopped,
        }
    }

    /// Does the generator's own lag use up the objective?
    fn lag_decides(&self, measured: &OpenMeasured) -> bool {
        let late: u64 = measured
            .outcomes
            .iter()
            .map(|of| {
                of.stages
                    .generator_lag
                    .open()
                    .count_above(self.objective.limit / 2)
            })
            .sum();
        late as f64 > self.objective.share() * measured.accounts.scheduled as f64 / 2.0
    }

    /// Do the last slices wait for connections much longer than the first?
    fn grows(&self, measured: &OpenMeasured) -> bool {
        let median_wait = |slices: &[crate::record::OpenSlice]| {
            let waits = crate::load::open::merged(
                slices
                    .iter()
                    .flat_map(|slice| &slice.outcomes)
                    .map(|of| &of.stages.connection_wait),
            );
            waits.quantile(0.5).unwrap_or_default()
        };
        let third = measured.slices.len() / 3;
        if third == 0 {
            return false;
        }
        let first = median_wait(&measured.slices[..third]);
        let last = median_wait(&measured.slices[measured.slices.len() - third..]);
        last > first * 2 && last > self.objective.limit
    }
}
