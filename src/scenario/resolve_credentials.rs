//! Which apps are meant, and do they fit the target?

use super::plan::{CredentialPlan, TargetPlan};
use super::{Scenario, ScenarioError};
use crate::credential::generate::RsaBits;

/// Making a key pair takes a tenth of a second.
const MAX_APPS: usize = 1_000;

/// Resolves where the apps and their keys come from.
pub(super) fn credential_plan(
    scenario: &Scenario,
    target: &TargetPlan,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<CredentialPlan, ScenarioError> {
    let credentials = &scenario.credentials;
    match (&credentials.generate, &credentials.config) {
        (Some(_), Some(_)) => Err(wrong(
            "credentials",
            "both generate and config".into(),
            "one of them",
        )),
        (_, Some(path)) => {
            if matches!(target, TargetPlan::Broker { .. }) {
                return Err(wrong(
                    "credentials.config",
                    format!("{:?}", path.display().to_string()),
                    "generate with an embedded broker, or target.url; `mintmark broker --app` serves a given app",
                ));
            }
            Ok(CredentialPlan::Config {
                path: path.clone(),
                passphrase_env: credentials.passphrase_env.clone(),
                passphrase_file: credentials.passphrase_file.clone(),
            })
        }
        (generate, None) => {
            if matches!(target, TargetPlan::Url { .. }) {
                return Err(wrong(
                    "credentials.config",
                    "missing".into(),
                    "the configuration file of an app that target.url knows",
                ));
            }
            let bits = generate.as_ref().and_then(|generate| generate.bits);
            let bits = RsaBits::try_from(bits.unwrap_or(2048)).map_err(|error| {
                wrong(
                    "credentials.generate.bits",
                    error.to_string(),
                    "2048, 3072 or 4096",
                )
            })?;
            let apps = generate
                .as_ref()
                .and_then(|generate| generate.apps)
                .unwrap_or(1);
            if !(1..=MAX_APPS).contains(&apps) || (apps > 1 && !scenario.steps.is_empty()) {
                return Err(wrong(
                    "credentials.generate.apps",
                    apps.to_string(),
                    "1, or up to 1000 without steps",
                ));
            }
            let weights = generate
                .as_ref()
                .and_then(|generate| generate.weights.clone())
                .unwrap_or_default();
            let are_weights = weights.is_empty()
                || (weights.len() == apps
                    && weights
                        .iter()
                        .all(|weight| weight.is_finite() && *weight > 0.0));
            if !are_weights {
                return Err(wrong(
                    "credentials.generate.weights",
                    format!("{weights:?}"),
                    "a number above 0 for each app",
                ));
            }
            Ok(CredentialPlan::Generate {
                bits: bits.bits(),
                apps,
                weights,
            })
        }
    }
}
