//! How are keys replaced while a load goes on?
//!
//! As an operator would do it: the endpoint learns the new public key, the
//! apps sign with the new key from then on, and the endpoint drops the old one
//! when every assertion of it has been answered; or at once, as after a leak.
//! The key pairs are made before the load, so that making them does not
//! disturb it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::DropOld;
use super::plan::{CredentialPlan, Plan, RotatePlan};
use super::run_error::RunError;
use super::stage::{Stage, registration};
use crate::broker::AppRegistration;
use crate::broker::registry::Registry;
use crate::credential::generate::{self, RsaBits};
use crate::load::population::Population;
use crate::record::RotationFacts;
use crate::signer::{Algorithm, Backend, PrivateKey, PublicKey};
use crate::token::SigningKey;

/// How many key pairs take turns; an old one has left the endpoint long before
/// its turn comes again.
const KEY_PAIRS: usize = 3;

/// How often a key that was replaced is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// Keys that are about to replace others.
pub(super) struct Rotation<'a> {
    plan: RotatePlan,
    algorithm: Algorithm,
    backend: &'a dyn Backend,
    registry: &'a Registry,
    population: &'a Population,
    keys: Vec<PrivateKey>,
    apps: Vec<Rotated>,
}

/// An app and the key that its endpoint knows it by.
struct Rotated {
    /// Without its keys.
    registration: AppRegistration,
    kid: String,
    public: PublicKey,
}

impl<'a> Rotation<'a> {
    /// Makes the keys, if the plan has them replaced.
    pub fn prepare(
        plan: &Plan,
        stage: &'a Stage,
        population: &'a Population,
        backend: &'a dyn Backend,
    ) -> Result<Option<Self>, RunError> {
        let CredentialPlan::Generate {
            bits,
            rotate: Some(rotate),
            ..
        } = plan.credentials
        else {
            return Ok(None);
        };
        let Some(broker) = &stage.broker else {
            return Ok(None);
        };
        let bits = RsaBits::try_from(bits)?;
        let keys = (0..KEY_PAIRS)
            .map(|_| {
                let credential = generate::app_config(bits, None)?.credential()?;
                Ok(credential.key.open()?)
            })
            .collect::<Result<Vec<_>, RunError>>()?;
        let first = (&stage.credential, &stage.key);
        let others = stage.others.iter().map(|app| (&app.credential, &app.key));
        let apps = std::iter::once(first)
            .chain(others)
            .map(|(credential, key)| {
                let mut registration = registration(credential, key)?;
                registration.keys.clear();
                Ok(Rotated {
                    registration,
                    kid: credential.key_id.clone().unwrap_or_default(),
                    public: key.public_key().ok_or(RunError::NoPublicKey)?.clone(),
                })
            })
            .collect::<Result<Vec<_>, RunError>>()?;
        Ok(Some(Self {
            plan: rotate,
            algorithm: plan.algorithm,
            backend,
            registry: broker.registry(),
            population,
            keys,
            apps,
        }))
    }

    /// Replaces keys for as long as `load` takes.
    pub fn during<T>(mut self, load: impl FnOnce() -> T) -> Result<(T, RotationFacts), RunError> {
        thread::scope(|scope| {
            let (end, ended) = channel::<()>();
            let thread = thread::Builder::new()
                .name("rotation".into())
                .spawn_scoped(scope, move || self.turn(&ended))
                .map_err(RunError::Rotate)?;
            let outcome = load();
            drop(end);
            let facts = thread.join().map_err(|_| RunError::RotationPanic)??;
            Ok((outcome, facts))
        })
    }

    /// Replaces the keys of all apps again and again until `ended` hangs up.
    fn turn(&mut self, ended: &Receiver<()>) -> Result<RotationFacts, RunError> {
        let begun = Instant::now();
        let mut facts = RotationFacts {
            is_abrupt: self.plan.drop_old == DropOld::AtOnce,
            ..RotationFacts::default()
        };
        while wait(ended, self.plan.every.0) {
            let number = facts.replaced_at_ns.len() + 1;
            for at in 0..self.apps.len() {
                let drain = self.replace(at, number, ended)?;
                facts.longest_drain_ns = facts.longest_drain_ns.max(as_ns(drain));
            }
            facts.replaced_at_ns.push(as_ns(begun.elapsed()));
        }
        Ok(facts)
    }

    /// Replaces one app's key; returns how long the old one had users.
    fn replace(
        &mut self,
        at: usize,
        number: usize,
        ended: &Receiver<()>,
    ) -> Result<Duration, RunError> {
        let key = &self.keys[number % self.keys.len()];
        let public = key.public_key().ok_or(RunError::NoPublicKey)?.clone();
        let app = &mut self.apps[at];
        let kid = format!("rotated{number}");
        let alone = app
            .registration
            .clone()
            .with_key(kid.clone(), public.clone());
        let both = alone.clone().with_key(app.kid.clone(), app.public.clone());
        self.registry.edit(|next| next.set_keys(&both))?;
        let signing = SigningKey::load(key, Some(&kid), self.backend, self.algorithm)?;
        let retired = self.population.ring(at).rotate(signing);
        let replaced = Instant::now();
        if self.plan.drop_old == DropOld::WhenUnused {
            // An end of the load ends all users as well.
            while !retired.is_gone() && wait(ended, LOOK) {}
        }
        self.registry.edit(|next| next.set_keys(&alone))?;
        (app.kid, app.public) = (kid, public);
        Ok(replaced.elapsed())
    }
}

/// Runs `load`, with keys replaced meanwhile if there is a rotation.
pub(super) fn rotating<T>(
    rotation: Option<Rotation<'_>>,
    load: impl FnOnce() -> T,
) -> Result<(T, Option<RotationFacts>), RunError> {
    match rotation {
        None => Ok((load(), None)),
        Some(rotation) => rotation
            .during(load)
            .map(|(outcome, facts)| (outcome, Some(facts))),
    }
}

/// Waits; says whether the load goes on.
fn wait(ended: &Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
