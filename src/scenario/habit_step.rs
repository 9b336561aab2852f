//! How is one step of workers with habits carried out?

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::plan::{Plan, StepPlan};
use super::run_error::RunError;
use super::runner::Event;
use super::signatory::SignedBy;
use super::stage::Stage;
use crate::load::caller::{Habitual, Shared};
use crate::load::keeping::Kept;
use crate::load::observe::Told;
use crate::load::{ClosedPlan, OtherThreads, run_closed};
use crate::record::{Herds, StepRecord, TokenHabit};

/// Runs one step; says whether it was stopped.
pub(super) fn run_step(
    plan: &Plan,
    step: &StepPlan,
    (shared, signed_by): (&Arc<Shared>, &SignedBy),
    stage: &Stage,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<(StepRecord, bool), RunError> {
    let closed = ClosedPlan {
        workers: plan.load.workers,
        warm_up: plan.load.warm_up.0,
        measure: plan.load.measure.0,
        drain: plan.load.drain.0,
        slice: plan.load.slice.0,
        think: plan.load.think.map_or(Duration::ZERO, |think| think.0),
    };
    let kept = Kept::new(shared, step.habits)?;
    let mint = signed_by.mint.as_ref();
    let mut helpers = mint.map_or(Vec::new(), |mint| mint.thread_ids().to_vec());
    helpers.extend(kept.threads());
    // What is fetched apart from the workers belongs to no call of theirs; it
    // is counted over the measured phase, to within a tick of the progress.
    // So are the calls that wait, of which all do before there is a token.
    let keeps_tokens = step.habits.token != TokenHabit::FetchPerCall;
    let (mut before, mut after) = (None, (0, 0));
    let mut waits_before = 0;
    let mut told_s = None;
    let measured = run_closed(
        &closed,
        |index| Habitual::new(shared, &kept, step.habits, index),
        OtherThreads {
            helpers: &helpers,
            broker: stage.broker_threads(),
        },
        stop,
        |told| {
            let Told::Progress(progress) = told else {
                return tell(told.into());
            };
            after = kept.apart();
            if progress.elapsed >= closed.warm_up {
                before.get_or_insert(after);
            } else {
                waits_before = kept.waits();
            }
            let second = progress.elapsed.as_secs();
            if keeps_tokens && told_s.replace(second) != Some(second) {
                tell(Event::Cache(kept.metrics()));
            }
            tell(Event::Step(progress));
        },
    )?;
    if keeps_tokens {
        tell(Event::Cache(kept.metrics()));
    }
    let before = before.unwrap_or(after);
    Ok((
        StepRecord {
            name: step.name.clone(),
            habits: step.habits,
            workers: closed.workers,
            threads: closed.workers,
            phases: measured.phases,
            outcomes: measured.outcomes,
            assertions_signed: measured.assertions_signed + (after.0 - before.0),
            requests_sent: measured.requests_sent + (after.1 - before.1),
            abandoned: measured.abandoned,
            latencies: measured.latencies,
            cpu: measured.cpu,
            slices: measured.slices,
            herds: keeps_tokens.then(|| {
                let herds = kept.herds();
                Herds {
                    waits: herds.waits - waits_before,
                    ..herds
                }
            }),
            open: None,
        },
        measured.was_stopped,
    ))
}
