//! How are two backends of this build set against each other?
//!
//! Both sign in this process, with one key, on one thread after the other.

use std::sync::Arc;
use std::time::Duration;

use super::session::{Arms, Contest};
use super::{GateCase, GateError};
use crate::bench::keys::generated;
use crate::bench::quads::TimedBy;
use crate::bench::{Case, Ready, Request, SigningKey, prepare};
use crate::signer::Registry;

/// The keys that a gate signs with, one for each kind and size.
pub struct Keys(Vec<SigningKey>);

impl Keys {
    /// Takes the keys that are given and generates what else the cases need.
    ///
    /// # Errors
    ///
    /// A key is not generated.
    pub fn of<'a>(
        mut given: Vec<SigningKey>,
        cases: impl IntoIterator<Item = &'a Case>,
    ) -> Result<Self, GateError> {
        for case in cases {
            if find(&given, case).is_none() {
                given.push(generated(case.algorithm.key_kind(), case.key_bits)?);
            }
        }
        Ok(Self(given))
    }

    /// Finds the key of a case.
    #[must_use]
    pub fn get(&self, case: &Case) -> Option<&SigningKey> {
        find(&self.0, case)
    }
}

fn find<'a>(keys: &'a [SigningKey], case: &Case) -> Option<&'a SigningKey> {
    keys.iter()
        .find(|key| key.key.kind() == case.algorithm.key_kind() && key.key.bits() == case.key_bits)
}

/// Makes the signer of a case.
///
/// # Errors
///
/// The backend is unknown, or cannot do the case; the text says why.
pub fn ready(registry: &Registry, key: &SigningKey, case: &Case) -> Result<Ready, String> {
    registry
        .get(&case.backend)
        .map_err(|error| error.to_string())?;
    let backends = [case.backend.clone()];
    let request = Request {
        registry,
        keys: std::slice::from_ref(key),
        backends: &backends,
        algorithms: &[case.algorithm],
        threads: &[case.threads],
        key_policies: &[case.key_policy],
        claims_bytes: &[case.claims_bytes],
        reference: &case.backend,
        budget: Duration::ZERO,
        seed: 0,
        has_null_control: false,
    };
    let (mut made, refused) = prepare(&request);
    match (made.pop(), refused.first()) {
        (Some(ready), _) => Ok(ready),
        (None, Some(refused)) => Err(format!("{}: {}", case.backend, refused.reason)),
        (None, None) => Err(format!("{} has no key of this kind", case.backend)),
    }
}

/// Two backends of this build.
pub struct Backends<'a> {
    registry: &'a Registry,
    keys: Arc<Keys>,
    names: [String; 2],
}

impl<'a> Backends<'a> {
    /// Sets the backends called `baseline` and `candidate` against each other.
    #[must_use]
    pub fn new(registry: &'a Registry, keys: Arc<Keys>, baseline: &str, candidate: &str) -> Self {
        Self {
            registry,
            keys,
            names: [baseline.to_owned(), candidate.to_owned()],
        }
    }

    fn describe(&self, name: &str) -> String {
        self.registry.get(name).map_or_else(
            |_| name.to_owned(),
            |backend| format!("{name} {}", backend.facts().version),
        )
    }

    fn ready(&self, case: &Case) -> Result<Ready, String> {
        let key = self.keys.get(case).ok_or("there is no key of this kind")?;
        ready(self.registry, key, case)
    }
}

impl Contest for Backends<'_> {
    fn baseline(&self) -> String {
        self.describe(&self.names[0])
    }

    fn candidate(&self) -> String {
        self.describe(&self.names[1])
    }

    fn arms(&mut self, case: &GateCase, is_control: bool) -> Result<Arms<'_>, String> {
        let baseline = self.ready(&case.baseline)?;
        let candidate = if is_control {
            self.ready(&case.baseline)?
        } else {
            self.ready(&case.candidate)?
        };
        let hidden = baseline.has_hidden_threads() || candidate.has_hidden_threads();
        let arm = |ready: &Ready| ready.arm().map_err(|error| error.to_string());
        Ok(Arms {
            arms: [arm(&baseline)?, arm(&candidate)?],
            by: hidden.then_some(TimedBy::ProcessCpu),
        })
    }
}
