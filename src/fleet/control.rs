//! How is a run stopped, paused or made faster while it goes on?
//!
//! What agents are to heed stands in one key, which whoever has the right to
//! writes by compare-and-set: changes of the rate are appended, each with the
//! instant from which it holds, a little ahead so that every agent knows of it
//! by then. A hint tells at once; who misses it finds the key within half a
//! second. Which starts are due then is the load engine's.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::agent::{compare_clocks, read_clocks};
use super::bus::{Access, Bus};
use super::clock_offset::RunClock;
use super::message::{Begin, Control, Hint, Leader, PROTOCOL, Spec};
use super::{FleetError, as_ns, key};
use crate::load::pacer::now_ns;
use crate::record::RateChange;

/// How far ahead a change is told. Agents look twice a second and hear a hint
/// within milliseconds; a change of rate has to be there within a second.
const AHEAD: Duration = Duration::from_millis(600);

/// How often a change is tried again that another one came before.
const TRIES: usize = 10;

/// What a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on at so many millionths of the scenario's own rate; 0 is a pause.
    Rate(u64),
    /// End now, with a result of what was measured.
    Stop,
}

/// A wish that was laid down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The run.
    pub run: String,
    /// How far ahead it takes effect.
    pub within: Duration,
}

/// Tells the run that a fleet is at what to do.
///
/// # Errors
///
/// There is no run, it has not begun or is about to end, or the server does
/// not take it.
pub fn steer(access: &Access, wish: Wish) -> Result<Granted, FleetError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FleetError::Thread)?
        .block_on(async {
            let bus = Bus::connect(access, "operator").await?;
            steer_over(&bus, &access.fleet, wish, Clock::Asked).await
        })
}

/// Steers a run from within the process that leads it.
#[derive(Clone)]
pub struct Steering {
    pub(super) handle: Handle,
    pub(super) bus: Bus,
    pub(super) fleet: String,
    pub(super) clock: Arc<RunClock>,
}

impl Steering {
    /// Tells the run what to do. It waits for the server.
    ///
    /// # Errors
    ///
    /// As [`steer`] has them.
    pub fn steer(&self, wish: Wish) -> Result<Granted, FleetError> {
        self.handle.block_on(steer_over(
            &self.bus,
            &self.fleet,
            wish,
            Clock::Own(&self.clock),
        ))
    }
}

/// Whose clock tells instants of the schedule.
#[derive(Clone, Copy)]
enum Clock<'a> {
    /// This process leads the run.
    Own(&'a RunClock),
    /// Another does, and is asked.
    Asked,
}

async fn steer_over(
    bus: &Bus,
    fleet: &str,
    wish: Wish,
    clock: Clock<'_>,
) -> Result<Granted, FleetError> {
    let leader = bus.get::<Leader>(key::LEADER).await?;
    let run = leader
        .filter(|(leader, _)| !leader.is_over)
        .map(|(leader, _)| leader.run)
        .ok_or_else(|| FleetError::NothingRuns {
            fleet: fleet.to_owned(),
        })?;
    let granted = Granted {
        run,
        within: match wish {
            Wish::Rate(_) => AHEAD,
            Wish::Stop => Duration::ZERO,
        },
    };
    let told = match wish {
        Wish::Rate(factor_ppm) => change_rate(bus, &granted.run, factor_ppm, clock).await?,
        Wish::Stop => {
            amend(bus, &granted.run, |control| {
                control.stops = true;
                Ok(())
            })
            .await?
        }
    };
    hint(bus, &granted.run, told).await;
    bus.flush().await;
    Ok(granted)
}

async fn change_rate(
    bus: &Bus,
    run: &str,
    factor_ppm: u64,
    clock: Clock<'_>,
) -> Result<Control, FleetError> {
    let idle = || FleetError::NotBegun {
        run: run.to_owned(),
    };
    let (begin, _) = bus.get::<Begin>(&key::begin(run)).await?.ok_or_else(idle)?;
    let (spec, _) = bus.get::<Spec>(&key::spec(run)).await?.ok_or_else(idle)?;
    let load = spec.scenario.plan()?.load;
    let ends_ns = as_ns(load.warm_up.0 + load.measure.0);
    let asked = match clock {
        Clock::Own(_) => None,
        Clock::Asked => Some(compare_clocks(bus, run).await?),
    };
    amend(bus, run, |control| {
        let now_ns = match (clock, &asked) {
            (Clock::Own(own), _) => own.read(read_clocks()).map(|now| now.monotonic_ns),
            (Clock::Asked, asked) => asked.as_ref().map(|asked| asked.other_ns(now_ns())),
        };
        let now_ns = now_ns.ok_or_else(|| FleetError::NoClock {
            run: run.to_owned(),
        })?;
        let at_ns = now_ns + as_ns(AHEAD);
        let from_ns = at_ns.saturating_sub(begin.at_ns).max(control.settled_ns());
        if from_ns >= ends_ns {
            return Err(FleetError::Ending {
                run: run.to_owned(),
            });
        }
        control.changes.push(RateChange {
            from_ns,
            factor_ppm,
        });
        Ok(())
    })
    .await
}

/// Changes what agents are to heed; returns all of it.
pub(super) async fn amend(
    bus: &Bus,
    run: &str,
    change: impl Fn(&mut Control) -> Result<(), FleetError>,
) -> Result<Control, FleetError> {
    let key = key::control(run);
    for _ in 0..TRIES {
        let (mut control, revision) = bus.get::<Control>(&key).await?.unwrap_or_default();
        control.protocol = PROTOCOL;
        change(&mut control)?;
        if bus.replace(&key, &control, revision).await?.is_some() {
            return Ok(control);
        }
    }
    Err(FleetError::Contended {
        run: run.to_owned(),
    })
}

/// Tells agents at once.
pub(super) async fn hint(bus: &Bus, run: &str, control: Control) {
    let hint = Hint {
        control: Some(control),
        ..Hint::default()
    };
    bus.tell("hint", run, &hint).await;
}
