//! Which apps are meant, and do they fit the target?

use std::time::Duration;

use super::plan::{CredentialPlan, RotatePlan, TargetPlan};
use super::{Rotate, Scenario, ScenarioError};
use crate::credential::generate::RsaBits;
use crate::load::assertions::Mode;

/// Making a key pair takes a tenth of a second.
const MAX_APPS: usize = 1_000;

/// Below it, a key would be replaced before the rings have forgotten the last.
const LEAST_ROTATION: Duration = Duration::from_millis(100);

/// Resolves where the apps and their keys come from.
pub(super) fn credential_plan(
    scenario: &Scenario,
    target: &TargetPlan,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<CredentialPlan, ScenarioError> {
    let credentials = &scenario.credentials;
    if !credentials.apps.is_empty() {
        return several(scenario, target, wrong);
    }
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
            let rotate = generate.as_ref().and_then(|generate| generate.rotate);
            Ok(CredentialPlan::Generate {
                bits: bits.bits(),
                apps,
                weights,
                rotate: rotate
                    .map(|rotate| rotation(scenario, rotate, wrong))
                    .transpose()?,
            })
        }
    }
}

/// Resolves how keys are replaced under load.
fn rotation(
    scenario: &Scenario,
    rotate: Rotate,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<RotatePlan, ScenarioError> {
    const FIELD: &str = "credentials.generate.rotate";
    let is_late = matches!(scenario.signing.mode, Some(Mode::Preminted | Mode::Repeat));
    if is_late || !scenario.steps.is_empty() {
        return Err(wrong(
            FIELD,
            "given with steps, or with assertions of the past".into(),
            "no steps, and the signing mode inline or mint",
        ));
    }
    if rotate.every.0 < LEAST_ROTATION {
        return Err(wrong(
            &format!("{FIELD}.every"),
            rotate.every.to_string(),
            "at least 100ms",
        ));
    }
    Ok(RotatePlan {
        every: rotate.every,
        drop_old: rotate.drop_old.unwrap_or_default(),
    })
}

/// Resolves several apps with files of their own.
fn several(
    scenario: &Scenario,
    target: &TargetPlan,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<CredentialPlan, ScenarioError> {
    let credentials = &scenario.credentials;
    if credentials.generate.is_some() || credentials.config.is_some() {
        return Err(wrong(
            "credentials.app",
            "given with generate or config".into(),
            "one of them",
        ));
    }
    if matches!(target, TargetPlan::Broker { .. }) || !scenario.steps.is_empty() {
        return Err(wrong(
            "credentials.app",
            "given with an embedded broker or with steps".into(),
            "target.url, and no steps",
        ));
    }
    for app in &credentials.apps {
        let weight = app.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight > 0.0) {
            return Err(wrong(
                "credentials.app.weight",
                weight.to_string(),
                "a number above 0",
            ));
        }
        if app.users.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong(
                "credentials.app.users",
                "empty".into(),
                "at least one user, or the field left out",
            ));
        }
    }
    Ok(CredentialPlan::Several(credentials.apps.clone()))
}
