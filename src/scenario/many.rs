//! What is different when a scenario is run by many machines?
//!
//! An embedded broker listens on one of them and the others are told where its
//! app is described; and the document is made of what all of them measured.
//! Who does what is the fleet engine's; nothing here speaks to other machines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open_step::{record, remarks};
use super::plan::{CredentialPlan, Plan, TargetPlan};
use super::run_error::RunError;
use super::runner::{Event, conditions, hex_of};
use super::stage::Stage;
use super::{AppShare, Credentials, Scenario, Target};
use crate::credential::Credential;
use crate::credential::generate::{self, RsaBits};
use crate::load::open::OpenMeasured;
use crate::record::document::SCHEMA_VERSION;
use crate::record::host::QualityWatch;
use crate::record::{
    Calibration, FleetRecord, Host, KeyFacts, RunDocument, Soundness, Tool, Warning,
};
use crate::signer::Registry;

/// What a fleet does that a machine alone does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRules {
    /// What becomes of the starts of an agent that is lost.
    #[serde(default)]
    pub lost_share: LostShare,
}

/// What becomes of the starts of an agent that is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LostShare {
    /// Nobody makes them; they are counted as lost.
    #[default]
    Report,
    /// The other agents make those that are due from a moment on.
    Reassign,
}

impl FleetRules {
    #[allow(clippy::trivially_copy_pass_by_ref)] // So it is called when written down.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An embedded broker that other processes of this machine ask.
pub struct Hosted {
    stage: Stage,
    /// The scenario for those who ask it.
    pub scenario: Scenario,
}

impl Hosted {
    /// Makes the apps of a scenario, writes their configuration files into
    /// `folder`, and starts the broker.
    ///
    /// # Errors
    ///
    /// The apps cannot be made or written, or the broker does not start.
    pub fn start(
        scenario: &Scenario,
        plan: &Plan,
        folder: &Path,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, RunError> {
        let CredentialPlan::Generate {
            bits,
            apps,
            weights,
            ..
        } = &plan.credentials
        else {
            return Err(RunError::NoApp);
        };
        tell(Event::Generating { bits: *bits });
        let mut shares = Vec::new();
        for number in 0..*apps {
            let path = folder.join(format!("app-{number}.json"));
            generate::app_config(RsaBits::try_from(*bits)?, None)?
                .write(&path)
                .map_err(RunError::WriteApp)?;
            shares.push(AppShare {
                config: path,
                weight: weights.get(number).copied(),
                users: None,
                passphrase_env: None,
                passphrase_file: None,
            });
        }
        let hosting = Plan {
            credentials: CredentialPlan::Several(shares.clone()),
            ..plan.clone()
        };
        let stage = Stage::set(&hosting, tell)?;
        let subjects = std::iter::once(&stage.subjects[..]).chain(
            // The first of the others' is whom the file speaks for.
            stage.others.iter().map(|other| &other.subjects[1..]),
        );
        for (share, subjects) in shares.iter_mut().zip(subjects) {
            share.users = Some(subjects.iter().map(|subject| subject.id.clone()).collect());
        }
        let mut load = scenario.load.clone();
        if let Some(pem) = stage.certificate_pem() {
            let path = folder.join("broker.pem");
            std::fs::write(&path, pem).map_err(RunError::WriteCertificate)?;
            load.connect.get_or_insert_default().trusted = Some(path);
        }
        let scenario = Scenario {
            target: Target {
                url: Some(stage.url.clone()),
                profile: scenario.target.profile.clone(),
                variables: scenario.target.variables.clone(),
                ..Target::default()
            },
            credentials: Credentials {
                apps: shares,
                ..Credentials::default()
            },
            load,
            ..scenario.clone()
        };
        Ok(Self { stage, scenario })
    }

    /// Stops the broker and returns what it counted.
    #[must_use]
    pub fn finish(self) -> Option<BTreeMap<String, u64>> {
        self.stage.finish()
    }
}

/// Returns the files that a scenario names and that have to be the same on all
/// machines; those with keys are not among them.
#[must_use]
pub fn shared_files(scenario: &Scenario) -> Vec<PathBuf> {
    let load = &scenario.load;
    let trace = load.open.as_ref().and_then(|open| open.trace.clone());
    let trusted = load
        .connect
        .as_ref()
        .and_then(|connect| connect.trusted.clone());
    let profile = scenario.target.profile.as_ref().map(PathBuf::from);
    let is_file = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
    [trace, trusted, profile.filter(is_file)]
        .into_iter()
        .flatten()
        .collect()
}

/// Reads the credentials that a plan names by files, for machines that have no
/// such files; the first one's app is the first.
///
/// # Errors
///
/// A file cannot be read, or its key not opened.
pub fn credentials(plan: &Plan) -> Result<Vec<Credential>, RunError> {
    super::stage::credentials(plan)
}

/// Returns the SHA-256 of the public half of a credential's key, in
/// hexadecimal; empty if the key does not tell.
///
/// # Errors
///
/// The key cannot be opened.
pub fn key_digest(credential: &Credential) -> Result<String, RunError> {
    let key = credential.key.open()?;
    let public = key.public_key();
    Ok(public.map_or_else(String::new, |key| hex_of(&key.fingerprint())))
}

/// A run of many machines under way: when it began, and under what conditions
/// the one was that gathers.
pub struct ManyWatch {
    begun: Instant,
    started_at: jiff::Timestamp,
    quality: QualityWatch,
}

/// What a run of many machines came to.
pub struct Gathered {
    /// What all of them measured.
    pub measured: OpenMeasured,
    /// The verdict on it.
    pub soundness: Soundness,
    /// What the weakest of the machines can do, times their number.
    pub calibration: Option<Calibration>,
    /// The key.
    pub key: KeyFacts,
    /// The backend that signed.
    pub signed_by: String,
    /// Who took part.
    pub fleet: FleetRecord,
    /// What an embedded broker counted.
    pub broker: Option<BTreeMap<String, u64>>,
    /// Why it ended early, if it did.
    pub partial: Option<String>,
}

impl ManyWatch {
    /// Begins to watch.
    #[must_use]
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            started_at: jiff::Timestamp::now(),
            quality: QualityWatch::start(),
        }
    }

    /// Makes the document; `run` is the run's own name.
    ///
    /// # Errors
    ///
    /// The plan is of the closed model or cannot be encoded.
    pub fn finish(self, plan: &Plan, run: &str, of: Gathered) -> Result<RunDocument, RunError> {
        let open = plan.load.open.as_ref().ok_or(RunError::Closed)?;
        let host = Host::detect();
        let quality = self.quality.finish();
        let step = record(open, of.measured, of.calibration, of.soundness);
        let mut warnings: Vec<Warning> = remarks(plan, &step);
        warnings.extend(conditions(plan, &host, &quality, of.partial.as_deref()));
        if matches!(plan.target, TargetPlan::Url { .. }) {
            // What was free on this machine says nothing of the agents'.
            warnings.retain(|warning| warning.code != "busy-host");
        }
        Ok(RunDocument {
            schema_version: SCHEMA_VERSION,
            run: run.to_owned(),
            tool: Tool::this(),
            started_at: self.started_at.to_string(),
            elapsed_ns: u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
            partial: of.partial,
            scenario: serde_json::to_value(plan).map_err(RunError::Encode)?,
            host,
            quality,
            backends: Registry::compiled()
                .iter()
                .map(|backend| backend.facts())
                .filter(|facts| facts.name == of.signed_by)
                .collect(),
            refused: Vec::new(),
            signed_by: of.signed_by,
            signed_singly_by: None,
            gathered: None,
            key: of.key,
            signing: None,
            steps: vec![step],
            capacity: None,
            fleet: Some(of.fleet),
            broker: of.broker,
            warnings,
        })
    }
}
