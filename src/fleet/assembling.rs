//! How do agents come together before a run begins?
//!
//! The coordinator reads the cards of those who have taken a place, hears who
//! stays away and why, and says when and how the run begins once all places are
//! taken by agents that can be in one run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::coordinator::{Coordinator, LEAD_TIME, Weights};
use super::event::Event;
use super::lead::{Lead, renew};
use super::message::{Begin, Card, Hint, Refusal, of_json};
use super::roster::Roster;
use super::sharing::dealing_of;
use super::{FleetError, as_ns, key};
use crate::load::pacer::now_ns;
use crate::scenario::Plan;

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

impl Coordinator {
    /// Waits until all places are taken; at a run that has begun, reads who
    /// had them.
    pub(super) async fn assemble(
        &self,
        lead: &mut Lead,
        roster: &mut Roster,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<String>, FleetError> {
        let run = lead.spec.run.clone();
        let wanted = lead.spec.agents;
        let mut refused = Vec::new();
        let mut refusals = self.bus.listen("refused", &run).await?;
        let until = Instant::now() + self.plan.patience;
        let mut renewed = Instant::now();
        loop {
            for slot in 0..wanted {
                let is_free = roster.places()[slot].is_none();
                if is_free
                    && let Some((card, _)) = self.bus.get::<Card>(&key::card(&run, slot)).await?
                {
                    lead.check(slot, &card)?;
                    let host = card.host.clone();
                    roster.admit(slot, card);
                    let joined = roster.joined();
                    tell(Event::Joined { slot, host, joined });
                }
            }
            while let Ok(Some(message)) =
                tokio::time::timeout(Duration::from_millis(1), refusals.next()).await
            {
                if let Ok(refusal) = of_json::<Refusal>(&message.payload) {
                    let refusal = format!("{}: {}", refusal.host, refusal.why);
                    tell(Event::Refused(refusal.clone()));
                    refused.push(refusal);
                }
            }
            if roster.joined() == wanted || lead.begin.is_some() {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(FleetError::Stopped);
            }
            if Instant::now() >= until {
                return Err(FleetError::TooFew {
                    joined: roster.joined(),
                    wanted,
                    waited: self.plan.patience,
                    refused,
                });
            }
            if renewed.elapsed() > Duration::from_secs(1) {
                renewed = Instant::now();
                renew(&self.bus, lead).await?;
            }
            tokio::time::sleep(LOOK).await;
        }
        match roster.unlike() {
            Some((first, second, why)) => Err(FleetError::Unlike { first, second, why }),
            None => Ok(refused),
        }
    }

    /// Says when and how the run begins.
    pub(super) async fn agree(
        &self,
        lead: &mut Lead,
        roster: &Roster,
        plan: &Plan,
    ) -> Result<Begin, FleetError> {
        let weights = roster
            .places()
            .iter()
            .flatten()
            .map(|place| match self.plan.weights {
                Weights::Equal => 1.0,
                Weights::Measured => place.card.signs_per_s * place.card.cpus as f64,
            })
            .collect();
        let begin = Begin {
            at_ns: now_ns() + as_ns(LEAD_TIME),
            weights,
            dealt: dealing_of(plan),
        };
        let run = &lead.spec.run;
        self.bus.put(&key::begin(run), &begin).await?;
        self.bus.tell("hint", run, &Hint::default()).await;
        Ok(begin)
    }
}
