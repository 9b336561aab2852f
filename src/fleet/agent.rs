//! What does an agent do from joining to its end?
//!
//! It waits for a run, prepares everything that takes time, compares its clock
//! with the coordinator's, takes a place, and begins when that was agreed. The
//! load is the engine of a single machine with a share of the starts; what it
//! measures goes to a reporter. An agent that does not fit the run says
//! why and stays away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::bus::{Access, Bus};
use super::carrying::Carrier;
use super::clock_offset::{ClockOffset, Reading, RunClock, Sample};
use super::identity::Identity;
use super::message::{Beat, Begin, Card, Leader, PROTOCOL, Refusal, Sender, Spec, State};
use super::preparing::{Ready, prepare};
use super::{FleetError, draw_name, host_name, key};
use crate::assertion::jti;
use crate::error::Chain;
use crate::load::pacer::{now_ns, wall_ns};

/// The pause between two looks at a key that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Questions about the time; the shortest way of so many is near the shortest
/// that there is.
const CLOCK_QUESTIONS: usize = 20;

/// How an agent takes part.
#[derive(Clone, Debug)]
pub struct AgentPlan {
    /// How the server is reached.
    pub access: Access,
    /// The only place that it takes; the first free one if not given.
    pub slot: Option<usize>,
    /// By which it gets credentials that are sent, if it has one.
    pub identity: Option<Arc<Identity>>,
    /// How long it waits for a run, and for a run's beginning.
    pub patience: Duration,
    /// How long it keeps what it measured after the end.
    pub keep_for: Duration,
}

/// What an agent is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for a run.
    Waiting,
    /// It prepares the load of a run.
    Preparing(String),
    /// It has a place and waits for the beginning.
    Ready(usize),
    /// Its load has begun.
    Running,
    /// The coordinator has a result.
    Done,
}

/// Takes part in one run, or until `stop` is set.
///
/// # Errors
///
/// There was no run, it does not fit this machine, or the coordinator came to
/// no result.
pub fn take_part(
    plan: &AgentPlan,
    stop: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(Step),
) -> Result<(), FleetError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FleetError::Thread)?
        .block_on(life(plan, stop, tell))
}

async fn life(
    plan: &AgentPlan,
    stop: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(Step),
) -> Result<(), FleetError> {
    let bus = Bus::connect(&plan.access, "agent").await?;
    tell(Step::Waiting);
    let spec = wait_for_run(&bus, plan, stop).await?;
    tell(Step::Preparing(spec.run.clone()));
    let incarnation = draw_name();
    let ready = match prepare(&bus, plan.identity.as_deref(), &spec, stop).await {
        Ok(ready) => ready,
        Err(error) => {
            let refusal = Refusal {
                host: host_name(),
                why: Chain(&error).to_string(),
            };
            // The coordinator is told if it can be; the own error says it too.
            bus.tell("refused", &spec.run, &refusal).await;
            bus.flush().await;
            return Err(error);
        }
    };
    let leader = leader_of(&bus).await;
    let mut clock = compare_clocks(&bus, &spec.run).await?;
    let slot = join(&bus, plan, &spec, &ready, &clock, &incarnation).await?;
    tell(Step::Ready(slot));
    let of = Sender {
        run: spec.run.clone(),
        slot,
        incarnation,
    };
    let begin = wait_for_beginning(&bus, plan, &of, stop).await?;
    if leader_of(&bus).await != leader {
        // Who tells the beginning is another one, by another clock.
        clock = compare_clocks(&bus, &of.run).await?;
    }
    tell(Step::Running);
    let carrier = Carrier {
        bus: &bus,
        spec: &spec,
        begins_ns: clock.own_ns(begin.at_ns),
        ready,
        begin,
        of,
        keep_for: plan.keep_for,
        stop,
    };
    carrier.carry().await?;
    tell(Step::Done);
    Ok(())
}

/// Returns who leads the fleet, if that can be read.
async fn leader_of(bus: &Bus) -> Option<String> {
    let leader = bus.get::<Leader>(key::LEADER).await.ok().flatten();
    leader.map(|(leader, _)| leader.coordinator)
}

/// Looks for a key until it is there.
pub(super) async fn wait_for<T: DeserializeOwned>(
    bus: &Bus,
    key: &str,
    until: Instant,
    stop: &AtomicBool,
    is_it: impl Fn(&T) -> bool,
) -> Result<Option<T>, FleetError> {
    loop {
        // A server that does not answer, or has no bucket yet, is asked again.
        if let Ok(Some((value, _))) = bus.get(key).await
            && is_it(&value)
        {
            return Ok(Some(value));
        }
        if stop.load(Ordering::Relaxed) {
            return Err(FleetError::Stopped);
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn wait_for_run(bus: &Bus, plan: &AgentPlan, stop: &AtomicBool) -> Result<Spec, FleetError> {
    let none = || FleetError::NoRun {
        fleet: plan.access.fleet.clone(),
        waited: plan.patience,
    };
    let until = Instant::now() + plan.patience;
    loop {
        let leader: Leader = wait_for(bus, key::LEADER, until, stop, |leader: &Leader| {
            !leader.is_over
        })
        .await?
        .ok_or_else(none)?;
        // A run whose coordinator has died stands still. One that has begun is
        // not to be joined any more.
        let has_begun = bus.get::<Begin>(&key::begin(&leader.run)).await;
        if !matches!(has_begun, Ok(Some(_)))
            && let Some((spec, _)) = bus.get::<Spec>(&key::spec(&leader.run)).await?
        {
            return Ok(spec);
        }
        if Instant::now() >= until {
            return Err(none());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Compares the own clocks with the coordinator's.
///
/// # Errors
///
/// The coordinator does not answer.
pub async fn compare_clocks(bus: &Bus, run: &str) -> Result<ClockOffset, FleetError> {
    let mut samples = Vec::new();
    for _ in 0..CLOCK_QUESTIONS {
        let asked_ns = now_ns();
        if let Ok(other) = bus.ask::<Reading>("clock", run).await {
            samples.push(Sample {
                asked_ns,
                other,
                answered: read_clocks(),
            });
        } else if samples.is_empty() {
            // Nobody listens yet, or no more.
            tokio::time::sleep(LOOK).await;
        }
    }
    ClockOffset::of(&samples).ok_or_else(|| FleetError::NoClock {
        run: run.to_owned(),
    })
}

/// Reads the clocks of this machine.
#[must_use]
pub fn read_clocks() -> Reading {
    Reading {
        monotonic_ns: now_ns(),
        wall_ns: wall_ns(),
    }
}

/// Tells agents what the clocks show, whenever one asks, as soon as that is
/// known.
pub(super) async fn answer_for_the_clock(bus: Bus, run: String, clock: Arc<RunClock>) {
    // A subscription outlives a reconnection; one that cannot be made is made
    // again.
    loop {
        if let Ok(mut questions) = bus.listen("clock", &run).await {
            while let Some(question) = questions.next().await {
                if let Some(reading) = clock.read(read_clocks()) {
                    bus.answer(&question, &reading).await;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes a place in the run.
async fn join(
    bus: &Bus,
    plan: &AgentPlan,
    spec: &Spec,
    ready: &Ready,
    clock: &ClockOffset,
    incarnation: &str,
) -> Result<usize, FleetError> {
    let card = Card {
        protocol: PROTOCOL,
        incarnation: incarnation.to_owned(),
        host: host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        signs_per_s: ready.signs_per_s,
        wall_offset_ns: clock.wall_ns,
        clock_bound_ns: clock.bound_ns,
        jti_space: jti::space(),
        key: ready.prepared.key_facts(&ready.plan),
        signed_by: ready.prepared.signed_by.clone(),
    };
    take_place(bus, spec, plan.slot, &card).await
}

/// Writes a card into the first free place, or into the one that is wanted.
///
/// # Errors
///
/// There is none, or the server does not answer.
pub async fn take_place(
    bus: &Bus,
    spec: &Spec,
    wanted: Option<usize>,
    card: &Card,
) -> Result<usize, FleetError> {
    let slots = match wanted {
        Some(slot) => slot..slot + 1,
        None => 0..spec.agents,
    };
    for slot in slots.filter(|slot| *slot < spec.agents) {
        if bus.create(&key::card(&spec.run, slot), card).await? {
            return Ok(slot);
        }
    }
    Err(FleetError::Full {
        run: spec.run.clone(),
        agents: spec.agents,
    })
}

/// Waits for the beginning, and shows meanwhile that the agent is alive.
async fn wait_for_beginning(
    bus: &Bus,
    plan: &AgentPlan,
    of: &Sender,
    stop: &AtomicBool,
) -> Result<Begin, FleetError> {
    let mut hints = bus.listen("hint", &of.run).await?;
    let until = Instant::now() + plan.patience;
    let beat = Beat::first(of, State::Ready);
    loop {
        bus.tell("beat", &of.run, &beat).await;
        let next = Instant::now() + LOOK;
        let found = wait_for(bus, &key::begin(&of.run), next, stop, |_: &Begin| true).await?;
        if let Some(begin) = found {
            return Ok(begin);
        }
        if let Ok(Some((leader, _))) = bus.get::<Leader>(key::LEADER).await
            && (leader.run != of.run || leader.is_over)
        {
            return Err(FleetError::NoBeginning {
                run: of.run.clone(),
                waited: plan.patience,
            });
        }
        if Instant::now() >= until {
            return Err(FleetError::NoBeginning {
                run: of.run.clone(),
                waited: plan.patience,
            });
        }
        let _ = tokio::time::timeout(LOOK, hints.next()).await;
    }
}
