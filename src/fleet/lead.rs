//! Who leads a fleet?
//!
//! One coordinator at a time: it holds a key that only it renews, by
//! compare-and-set. Whoever finds the key's beat unchanged for some seconds may
//! take over; the former leader notices with its next beat and ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bus::Bus;
use super::clock_offset::RunClock;
use super::coordinator::FleetPlan;
use super::handing::withdraw;
use super::message::{Begin, Card, Leader, PROTOCOL, Spec};
use super::{FleetError, draw_name, host_name, key};

/// How long a leader's beat may stay the same before it counts as dead.
const LEADER_SILENCE: Duration = Duration::from_secs(4);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A run that is led: what was laid down for it, and the proof of the lead.
pub(super) struct Lead {
    pub spec: Spec,
    pub begin: Option<Begin>,
    pub leader: Leader,
    pub revision: u64,
    /// The clock by which the beginning is told.
    pub clock: Arc<RunClock>,
    /// The public half of the key that was sent, by its SHA-256.
    pub key_sha256: Option<String>,
}

impl Lead {
    /// Can an agent take part that wrote this card?
    pub fn check(&self, slot: usize, card: &Card) -> Result<(), FleetError> {
        let host = card.host.clone();
        if card.version != self.spec.version {
            return Err(FleetError::OtherVersion {
                slot,
                host,
                theirs: card.version.clone(),
                own: self.spec.version.clone(),
            });
        }
        let sent = self.key_sha256.as_ref();
        if sent.is_some_and(|sent| *sent != card.key.spki_sha256) {
            return Err(FleetError::OtherKey { slot, host });
        }
        Ok(())
    }
}

/// Says that a run is over.
pub(super) async fn give_up_lead(bus: &Bus, run: &str) -> Result<(), FleetError> {
    if let Some((leader, revision)) = bus.get::<Leader>(key::LEADER).await?
        && leader.run == run
    {
        let over = Leader {
            is_over: true,
            ..leader
        };
        bus.replace(key::LEADER, &over, revision).await?;
    }
    Ok(())
}

/// Becomes the only leader of the fleet.
pub(super) async fn take_lead(
    bus: &Bus,
    plan: &FleetPlan,
    run: &str,
    resumes: bool,
) -> Result<(Leader, u64), FleetError> {
    let fleet = || plan.access.fleet.clone();
    let mut leader = Leader {
        protocol: PROTOCOL,
        run: run.to_owned(),
        coordinator: draw_name(),
        host: host_name(),
        beat: 0,
        takeovers: 0,
        is_over: false,
    };
    let before = bus.get::<Leader>(key::LEADER).await?;
    let revision = match before {
        None if resumes => return Err(FleetError::NothingToResume { fleet: fleet() }),
        Some((before, _)) if resumes && before.is_over => {
            return Err(FleetError::NothingToResume { fleet: fleet() });
        }
        None => 0,
        Some((before, revision)) if before.is_over => revision,
        Some((before, revision)) => {
            let led = || FleetError::Led {
                fleet: fleet(),
                host: before.host.clone(),
                run: before.run.clone(),
            };
            let until = Instant::now() + LEADER_SILENCE;
            while Instant::now() < until {
                tokio::time::sleep(LOOK).await;
                let now = bus.get::<Leader>(key::LEADER).await?;
                if now.is_some_and(|(_, now)| now != revision) {
                    return Err(led());
                }
            }
            if resumes {
                leader.run.clone_from(&before.run);
                leader.takeovers = before.takeovers + 1;
            } else if plan.discards {
                if let Ok(Some((spec, _))) = bus.get::<Spec>(&key::spec(&before.run)).await {
                    withdraw(bus, &before.run, &spec.recipients).await;
                }
            } else {
                return Err(FleetError::Unfinished { run: before.run });
            }
            revision
        }
    };
    match bus.replace(key::LEADER, &leader, revision).await? {
        Some(revision) => Ok((leader, revision)),
        None => Err(FleetError::Led {
            fleet: fleet(),
            host: "another machine".into(),
            run: "a run that has just begun".into(),
        }),
    }
}

/// Shows that the coordinator is alive, and notices if another one leads.
pub(super) async fn renew(bus: &Bus, lead: &mut Lead) -> Result<(), FleetError> {
    lead.leader.beat += 1;
    match bus.replace(key::LEADER, &lead.leader, lead.revision).await {
        Ok(Some(revision)) => lead.revision = revision,
        Ok(None) => match bus.get::<Leader>(key::LEADER).await {
            Ok(Some((now, revision))) if now.coordinator == lead.leader.coordinator => {
                // An earlier write had arrived, its acknowledgement had not.
                lead.revision = revision;
            }
            Ok(Some((now, _))) => {
                return Err(FleetError::TakenOver {
                    host: now.host,
                    run: lead.spec.run.clone(),
                });
            }
            // The store was lost, or the server is away: the next beat tells.
            Ok(None) => lead.revision = 0,
            Err(_) => {}
        },
        Err(_) => {}
    }
    Ok(())
}
