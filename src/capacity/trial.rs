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
use crate::record::{Calibration, Culprit, OpenSlice, Validity};
use crate::scenario::Event;
use crate::units::Grouped;

/// Warm-up of each trial: the queue forgets where it came from.
const WARM_UP: Duration = Duration::from_secs(2);

/// A second, or shorter where there would be fewer than twenty slices.
const SLICE: Duration = Duration::from_secs(1);

/// The least number of slices that a decision rests on.
const LEAST_SLICES: u32 = 20;

/// The part of the objective's limit by which a request may be noticed late and
/// still say something about the endpoint. At twice as much, the burst that
/// follows would move the share over the limit by percents.
const LATE: f64 = 0.2;

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
    /// The seed of the search.
    pub seed: u64,
    /// The number of trials so far: each has starts of its own.
    pub trials: u64,
    /// Hears what goes on meanwhile; each trial is a step.
    pub tell: &'a mut dyn FnMut(Event<'_>),
}

impl Trial for LoadTrial<'_> {
    fn offer(&mut self, per_s: f64, length: Duration) -> Result<Offered, CapacityError> {
        self.trials += 1;
        let warm_up = WARM_UP.min(length / 2);
        let plan = OpenPlan {
            model: Model::Open(Arrival::Drawn {
                rate: Rate::constant(per_s, length).after_warm_up(warm_up),
                spacing: Spacing::Poisson,
                // No search has as many trials as lie between two seeds.
                seed: self.seed.wrapping_mul(1_000_003).wrapping_add(self.trials),
            }),
            warm_up,
            measure: length,
            slice: SLICE.min(length / LEAST_SLICES),
            count: None,
            ..self.plan.clone()
        };
        tracing::info!(trial = self.trials, per_s, "a trial began");
        (self.tell)(Event::StepBegan {
            name: format!("trial {} at {}/s", self.trials, Grouped(per_s)),
        });
        let measured = run_open(
            &plan,
            self.url,
            self.population,
            self.broker_tids,
            self.stop,
            |told| (self.tell)(told.into()),
        )?;
        Ok(self.evidence(&measured))
    }
}

impl LoadTrial<'_> {
    fn evidence(&self, measured: &OpenMeasured) -> Offered {
        let soundness = judge(measured, self.calibration.as_ref());
        let is_spoiled = spoiled(&measured.slices, &self.objective);
        let count = is_spoiled.iter().filter(|is| **is).count();
        let slices: Vec<_> = measured
            .slices
            .iter()
            .zip(&is_spoiled)
            .filter(|(_, is_spoiled)| !**is_spoiled)
            .map(|(slice, _)| self.objective.count(slice))
            .collect();
        let sent_share = measured.sent_per_s / measured.offered_per_s.max(f64::MIN_POSITIVE);
        Offered {
            backlog_grows: self.grows(measured),
            slices,
            spoiled: count,
            sent_share,
            is_generator_limited: soundness.findings.iter().any(|finding| {
                finding.validity == Validity::Invalid
                    && finding.culprit != Culprit::Target
                    && finding.warning.code == "rate-missed"
            }),
            response: measured
                .outcomes
                .iter()
                .find(|of| of.outcome == "answered")
                .map(|of| of.stages.response.clone())
                .unwrap_or_default(),
            was_stopped: measured.was_stopped,
        }
    }

    /// Do the last slices wait for connections much longer than the first?
    fn grows(&self, measured: &OpenMeasured) -> bool {
        let median_wait = |slices: &[OpenSlice]| {
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

/// In which slices was the generator late for so many requests that it could
/// decide? What it sent late came in a burst, whose queue may last into the next
/// slice, so that this one says nothing either.
fn spoiled(slices: &[OpenSlice], objective: &Objective) -> Vec<bool> {
    let late: Vec<bool> = slices
        .iter()
        .map(|slice| {
            let late: u64 = slice
                .outcomes
                .iter()
                .map(|of| {
                    let lag = of.stages.generator_lag.open();
                    lag.count_above(objective.limit.mul_f64(LATE))
                })
                .sum();
            late as f64 > objective.share() / 2.0 * slice.scheduled as f64
        })
        .collect();
    (0..late.len())
        .map(|at| late[at] || (at > 0 && late[at - 1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Histogram, OutcomeStages, Packed, Stages};

    /// A slice of a thousand requests, of which some were noticed late.
    fn slice(late: u64) -> OpenSlice {
        let mut lag = Histogram::new();
        for number in 0..1_000 {
            let ms = if number < late { 15 } else { 1 };
            lag.record(Duration::from_millis(ms));
        }
        OpenSlice {
            start_ns: 0,
            length_ns: 1_000_000_000,
            scheduled: 1_000,
            outcomes: vec![OutcomeStages {
                outcome: "answered".into(),
                count: 1_000,
                stages: Stages {
                    generator_lag: Packed::of(&lag),
                    ..Stages::default()
                },
            }],
        }
    }

    #[test]
    fn slices_in_which_the_generator_was_late_are_left_out_with_the_next() {
        // One in a hundred may take longer than 50 ms; half of them, noticed
        // later than a fifth of that, could decide.
        let objective = Objective::new(0.99, Duration::from_millis(50));
        let slices = [0, 5, 6, 0, 0, 40, 40, 0, 0].map(slice);
        assert_eq!(
            spoiled(&slices, &objective),
            [false, false, true, true, false, true, true, true, false]
        );
    }
}
