//! What does a coordinator do from laying a run down to its result?
//!
//! It leads the fleet alone, gathers agents, agrees on a beginning, and counts
//! what they tell until each has come to its end or is lost. It keeps nothing
//! that cannot be read again: a coordinator that takes over finds what was
//! laid down in the bucket, and reads the frames from the first one on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::agent::answer_for_the_clock;
use super::bus::{Access, Bus};
use super::clock_offset::RunClock;
use super::control::Steering;
use super::coverage::{Ended, Outcome, settle};
use super::event::Event;
use super::gathering::Watching;
use super::handing::{hand_out, withdraw};
use super::identity::Recipient;
use super::lead::{Lead, give_up_lead, take_lead};
use super::ledger::Ledger;
use super::message::{Begin, Done, FileDigest, Hint, PROTOCOL, Spec};
use super::preparing::digest_of;
use super::roster::Roster;
use super::schedule::Schedule;
use super::sharing::check;
use super::{FleetError, as_ns, key};
use crate::credential::Credential;
use crate::error::Chain;
use crate::load::pacer::now_ns;
use crate::record::KeyFacts;
use crate::scenario::many::{credentials, key_digest, shared_files};
use crate::scenario::{Plan, Scenario};

/// The time between the agreement on a beginning and the beginning. Agents
/// look every tenth of a second, and open their connections meanwhile.
pub(super) const LEAD_TIME: Duration = Duration::from_millis(1_500);

/// How a fleet is led.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// How the server is reached.
    pub access: Access,
    /// How many agents there are to be.
    pub agents: usize,
    /// How large their shares are.
    pub weights: Weights,
    /// How long to wait for them.
    pub patience: Duration,
    /// After which silence an agent counts as lost.
    pub lost_after: Duration,
    /// The room for frames at the server, in bytes.
    pub most_bytes: i64,
    /// On how many servers everything is kept.
    pub replicas: usize,
    /// Forget a run that was left without a result.
    pub discards: bool,
    /// Who gets the credentials, sealed; nobody if each agent reads its own.
    pub recipients: Vec<Recipient>,
}

/// How large the shares of agents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Equal.
    #[default]
    Equal,
    /// By the rates at which they sign, with all of their processors.
    Measured,
}

/// A run that was led to its end.
pub struct Led {
    /// The run's own name.
    pub run: String,
    /// The scenario as the agents had it.
    pub scenario: Scenario,
    /// What it came to.
    pub outcome: Outcome,
    /// The key.
    pub key: KeyFacts,
    /// The backend that signed.
    pub signed_by: String,
}

/// Leads a fleet.
pub struct Coordinator {
    runtime: Runtime,
    pub(super) bus: Bus,
    pub(super) plan: FleetPlan,
    /// The clock by which the beginning of the run is told.
    clock: Arc<RunClock>,
}

impl Coordinator {
    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or does not let this program in.
    pub fn connect(plan: FleetPlan) -> Result<Self, FleetError> {
        // A second thread answers for the clock while the first one adds up.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fleet")
            .enable_all()
            .build()
            .map_err(FleetError::Thread)?;
        let bus = runtime.block_on(async {
            let bus = Bus::connect(&plan.access, "coordinator").await?;
            bus.prepare(plan.most_bytes, plan.replicas).await?;
            Ok::<_, FleetError>(bus)
        })?;
        Ok(Self {
            runtime,
            bus,
            plan,
            clock: RunClock::own().into(),
        })
    }

    /// Leads a new run to its end. What agents told is kept until
    /// [`Self::done`].
    ///
    /// # Errors
    ///
    /// Another coordinator leads the fleet, the scenario cannot be shared out,
    /// or too few agents joined.
    pub fn lead(
        &self,
        scenario: &Scenario,
        run: &str,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Led, FleetError> {
        let plan = scenario.plan()?;
        check(&plan)?;
        let given = match &self.plan.recipients[..] {
            [] => Vec::new(),
            _ => credentials(&plan)?,
        };
        let key_sha256 = given.first().map(key_digest).transpose()?;
        self.runtime.block_on(async {
            let spec = self.spec(scenario, run)?;
            let (leader, revision) = take_lead(&self.bus, &self.plan, run, false).await?;
            let laid = self.lay_down(&spec, &given).await;
            drop(given);
            if laid.is_err() {
                // Whatever of it is there: nobody has joined.
                let _ = withdraw(&self.bus).await;
                let _ = give_up_lead(&self.bus, run).await;
                laid?;
            }
            let lead = Lead {
                spec,
                begin: None,
                leader,
                revision,
                clock: Arc::clone(&self.clock),
                key_sha256,
            };
            self.to_the_end(lead, &plan, stop, tell).await
        })
    }

    /// Takes over a run that was left without a result, and leads it to its
    /// end.
    ///
    /// # Errors
    ///
    /// There is none, or its coordinator is alive.
    pub fn resume(
        &self,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Led, FleetError> {
        self.runtime.block_on(async {
            let (leader, revision) = take_lead(&self.bus, &self.plan, "", true).await?;
            let run = leader.run.clone();
            let nothing = || FleetError::NothingToResume {
                fleet: self.plan.access.fleet.clone(),
            };
            let (spec, _) = self
                .bus
                .get::<Spec>(&key::spec(&run))
                .await?
                .ok_or_else(nothing)?;
            let begin = self.bus.get::<Begin>(&key::begin(&run)).await?;
            let plan = spec.scenario.plan()?;
            if begin.is_some() {
                self.clock.forget();
            }
            let lead = Lead {
                spec,
                begin: begin.map(|(begin, _)| begin),
                leader,
                revision,
                clock: Arc::clone(&self.clock),
                // The files may be another machine's; agents are compared.
                key_sha256: None,
            };
            self.to_the_end(lead, &plan, stop, tell).await
        })
    }

    /// Returns what steers the run that is led, from any other thread.
    #[must_use]
    pub fn steering(&self) -> Steering {
        Steering {
            handle: self.runtime.handle().clone(),
            bus: self.bus.clone(),
            fleet: self.plan.access.fleet.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Says that there is a result: agents need keep nothing any more.
    ///
    /// # Errors
    ///
    /// The server does not take it.
    pub fn done(&self, run: &str) -> Result<(), FleetError> {
        self.runtime.block_on(async {
            let hint = Hint {
                is_done: true,
                ..Hint::default()
            };
            self.bus.tell("hint", run, &hint).await;
            self.bus.flush().await;
            let done = Done { protocol: PROTOCOL };
            self.bus.put(&key::done(run), &done).await?;
            give_up_lead(&self.bus, run).await
        })
    }

    /// Says what is to be run.
    fn spec(&self, scenario: &Scenario, run: &str) -> Result<Spec, FleetError> {
        let recipients = self.plan.recipients.iter();
        Ok(Spec {
            protocol: PROTOCOL,
            run: run.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agents: self.plan.agents,
            scenario: scenario.clone(),
            files: shared_files(scenario)
                .into_iter()
                .map(|path| {
                    let path = path.display().to_string();
                    let sha256 = digest_of(&path)?;
                    Ok(FileDigest { path, sha256 })
                })
                .collect::<Result<_, FleetError>>()?,
            recipients: recipients.map(ToString::to_string).collect(),
        })
    }

    /// Lays down what is to be run, after the keys that agents need for it, in
    /// the place of what was left of earlier runs.
    async fn lay_down(&self, spec: &Spec, given: &[Credential]) -> Result<(), FleetError> {
        withdraw(&self.bus).await?;
        self.bus.forget_frames().await?;
        hand_out(&self.bus, spec, &self.plan.recipients, given).await?;
        self.bus.put(&key::spec(&spec.run), spec).await?;
        Ok(())
    }

    async fn to_the_end(
        &self,
        mut lead: Lead,
        plan: &Plan,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Led, FleetError> {
        let run = lead.spec.run.clone();
        let clock = tokio::spawn(answer_for_the_clock(
            self.bus.clone(),
            run.clone(),
            Arc::clone(&lead.clock),
        ));
        let led = self.gather_and_count(&mut lead, plan, stop, tell).await;
        clock.abort();
        if led.is_err() && lead.begin.is_none() {
            // Nobody has begun: agents that wait need not do so any longer.
            let _ = give_up_lead(&self.bus, &run).await;
        }
        led
    }

    async fn gather_and_count(
        &self,
        lead: &mut Lead,
        plan: &Plan,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Led, FleetError> {
        tell(Event::Leads {
            name: &plan.name,
            agents: lead.spec.agents,
        });
        let mut roster = Roster::new(lead.spec.agents, self.plan.lost_after);
        let refused = self.assemble(lead, &mut roster, stop, tell).await;
        if !lead.spec.recipients.is_empty()
            && let Err(error) = withdraw(&self.bus).await
        {
            tell(Event::Trouble(Chain(&error).to_string()));
        }
        let refused = refused?;
        let begin = match &lead.begin {
            Some(begin) => begin.clone(),
            None => self.agree(lead, &roster, plan).await?,
        };
        lead.begin = Some(begin.clone());
        let schedule = Schedule::of(plan)?;
        tell(Event::Begins {
            // The clock of who agreed on it may be another machine's.
            within: Duration::from_nanos(begin.at_ns.saturating_sub(now_ns())).min(LEAD_TIME),
            schedule: &schedule,
        });
        let mut ledger = Ledger::new(
            &lead.spec.run,
            lead.spec.agents,
            as_ns(schedule.slice),
            as_ns(schedule.measure),
        );
        for (slot, place) in roster.places().iter().enumerate() {
            if let Some(place) = place {
                ledger.expect(slot, &place.card.incarnation);
            }
        }
        let watching = Watching {
            bus: &self.bus,
            lead,
            roster: &mut roster,
            ledger: &mut ledger,
            schedule: &schedule,
            planned: plan.load.warm_up.0 + plan.load.measure.0 + plan.load.drain.0,
        };
        let control = watching.count(stop, tell).await?;
        let first = roster.places().iter().flatten().next();
        let (key, signed_by) = first
            .map(|place| (place.card.key.clone(), place.card.signed_by.clone()))
            .ok_or(FleetError::Stopped)?;
        let outcome = settle(
            ledger,
            &Ended {
                schedule: &schedule,
                begin: &begin,
                control: &control,
                roster: &roster,
                takeovers: lead.leader.takeovers,
                refused,
            },
        );
        Ok(Led {
            run: lead.spec.run.clone(),
            scenario: lead.spec.scenario.clone(),
            outcome,
            key,
            signed_by,
        })
    }
}
