//! What does a run play on: which app, which key, which endpoint?
//!
//! The credential is read or made, its key opened, and an embedded broker
//! started that knows the app and its users. Nothing is signed or sent here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::AppShare;
use super::plan::{CredentialPlan, Plan, TargetPlan};
use super::run_error::RunError;
use super::runner::Event;
use crate::assertion::Subject;
use crate::broker::{
    AppRegistration, Behaviour, Broker, BrokerConfig, Certificate, RateLimit, UserRegistration,
};
use crate::credential::generate::{self, RsaBits};
use crate::credential::{
    Credential, PassphraseSource, Sealing, Source, Warning as CredentialWarning, load,
};
use crate::load::open::OpenPlan;
use crate::oauth::Profile;
use crate::record::Warning;
use crate::signer::PrivateKey;

/// How long an embedded broker may take to answer its last requests.
const BROKER_DRAIN: Duration = Duration::from_secs(2);

/// What a run plays on: the credential, the endpoint and the users.
pub(super) struct Stage {
    pub profile: Profile,
    pub credential: Credential,
    pub key: Arc<PrivateKey>,
    pub broker: Option<Broker>,
    pub url: String,
    pub subjects: Vec<Subject>,
    /// Further apps of the open model.
    pub others: Vec<Other>,
    pub warnings: Vec<Warning>,
}

/// A further app.
pub(super) struct Other {
    pub credential: Credential,
    pub key: Arc<PrivateKey>,
    pub subjects: Vec<Subject>,
}

impl Stage {
    pub fn set(plan: &Plan, tell: &mut dyn FnMut(Event<'_>)) -> Result<Self, RunError> {
        Self::set_with(plan, &[], tell)
    }

    /// Sets the stage with credentials that are here already, in the order of
    /// the plan's; files are read for those beyond.
    pub fn set_with(
        plan: &Plan,
        given: &[Credential],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, RunError> {
        let profile = Profile::find(&plan.profile)?;
        let (credential, mut others, warnings) = apps(plan, given, tell)?;
        let key = Arc::new(credential.key.open()?);
        let (broker, url, subjects) = match &plan.target {
            TargetPlan::Url { url, users } => {
                let subjects = match &plan.credentials {
                    CredentialPlan::Several(shares) => subjects_of(plan, &shares[0], &credential),
                    _ if users.is_empty() => vec![default_subject(&credential)],
                    _ => users.iter().map(Subject::user).collect(),
                };
                (None, url.clone(), subjects)
            }
            TargetPlan::Broker {
                users,
                threads,
                rate_limit,
                token_life,
                tls,
                behaviour,
            } => {
                let ids: Vec<String> = (0..*users).map(|i| (1_000_000 + i).to_string()).collect();
                let mut apps = vec![registration(&credential, &key)?];
                let mut registered: Vec<_> = ids
                    .iter()
                    .map(|id| UserRegistration::of_app(id, &credential.client_id))
                    .collect();
                for (number, other) in others.iter_mut().enumerate() {
                    apps.push(registration(&other.credential, &other.key)?);
                    for i in 0..*users {
                        let id = (1_000_000 + (number + 1) * *users + i).to_string();
                        registered.push(UserRegistration::of_app(&id, &other.credential.client_id));
                        other.subjects.push(Subject::user(id));
                    }
                }
                let sheet = behaviour.as_deref().cloned().unwrap_or_default();
                let limit = rate_limit.map(|limit| RateLimit {
                    per_s: limit.per_s,
                    burst: limit.burst,
                });
                let broker = Broker::start(BrokerConfig {
                    apps,
                    users: registered,
                    threads: *threads,
                    behaviour: Behaviour {
                        rate_limit: limit.or(sheet.rate_limit),
                        remembers_refused_jti: !sheet.spare_refused_jti,
                        token_life_s: token_life.map_or_else(
                            || Behaviour::default().token_life_s,
                            |life| life.0.as_secs()..=life.0.as_secs(),
                        ),
                        ..Behaviour::default()
                    },
                    orders: sheet.orders(),
                    tls: tls.then_some(Certificate::SelfSigned),
                    ..BrokerConfig::default()
                })?;
                tell(Event::BrokerStarted { url: broker.url() });
                let url = broker.token_url();
                (Some(broker), url, ids.iter().map(Subject::user).collect())
            }
        };
        Ok(Self {
            profile,
            credential,
            key,
            broker,
            url,
            subjects,
            others,
            warnings: warnings
                .iter()
                .map(|warning| Warning::new(warning.code(), warning.to_string(), &warning.hint()))
                .collect(),
        })
    }

    /// Completes a plan by what is known of the endpoint: where its answers
    /// hold the token, and the certificate of an embedded broker.
    pub fn engine(&self, plan: OpenPlan) -> OpenPlan {
        let mut engine = OpenPlan {
            token_field: self.profile.response.token.clone(),
            ..plan
        };
        let own = self.certificate_pem();
        if let (Some(own), None) = (own, &engine.tls.trusted_pem) {
            engine.tls.trusted_pem = Some(own.as_bytes().to_vec());
        }
        engine
    }

    /// Returns the certificate of an embedded broker that speaks TLS.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.broker.as_ref().and_then(Broker::certificate_pem)
    }

    pub fn broker_threads(&self) -> &[i32] {
        self.broker.as_ref().map_or(&[], Broker::worker_threads)
    }

    /// Stops the broker and returns what it counted.
    pub fn finish(self) -> Option<BTreeMap<String, u64>> {
        let stats = self.broker?.stop(BROKER_DRAIN);
        let mut counts = BTreeMap::from([
            ("connections".to_owned(), stats.connections),
            ("granted".to_owned(), stats.granted),
            ("requests".to_owned(), stats.requests),
        ]);
        for (refusal, count) in &stats.refused {
            counts.insert(format!("refused_{refusal:?}"), *count);
        }
        Some(counts)
    }
}

/// Reads or makes the apps: the first, and the others with their subjects as far
/// as these are known without a broker.
fn apps(
    plan: &Plan,
    given: &[Credential],
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<(Credential, Vec<Other>, Vec<CredentialWarning>), RunError> {
    let mut others = Vec::new();
    let (first, warnings) = match &plan.credentials {
        CredentialPlan::Generate { bits, apps, .. } => {
            tell(Event::Generating { bits: *bits });
            let bits = RsaBits::try_from(*bits)?;
            for _ in 1..*apps {
                // Their keys are opened once, so that no derivation is due.
                let credential = generate::app_config(bits, None)?.credential()?;
                let key = Arc::new(credential.key.open()?);
                others.push(Other {
                    credential,
                    key,
                    subjects: Vec::new(),
                });
            }
            let config = generate::app_config(bits, Some(Sealing::CONSOLE))?;
            (config.credential()?, Vec::new())
        }
        CredentialPlan::Config {
            path,
            passphrase_env,
            passphrase_file,
        } => match given.first() {
            Some(given) => (given.clone(), Vec::new()),
            None => read(path, passphrase_env.as_ref(), passphrase_file.as_ref())?,
        },
        CredentialPlan::Several(shares) => {
            let mut apps = Vec::new();
            let mut warnings = Vec::new();
            apps.extend_from_slice(given);
            for share in shares.iter().skip(given.len()) {
                let (env, file) = (
                    share.passphrase_env.as_ref(),
                    share.passphrase_file.as_ref(),
                );
                let (credential, remarks) = read(&share.config, env, file)?;
                warnings.extend(remarks);
                apps.push(credential);
            }
            let mut apps = apps.into_iter();
            let first = apps.next().ok_or(RunError::NoApp)?;
            for (credential, share) in apps.zip(&shares[1..]) {
                let key = Arc::new(credential.key.open()?);
                let subjects = subjects_of(plan, share, &credential);
                others.push(Other {
                    credential,
                    key,
                    subjects,
                });
            }
            (first, warnings)
        }
    };
    Ok((first, others, warnings))
}

/// Reads the credentials that a plan names by files, the first one's app first.
pub(super) fn credentials(plan: &Plan) -> Result<Vec<Credential>, RunError> {
    let (first, others, _) = apps(plan, &[], &mut |_| ())?;
    let others = others.into_iter().map(|other| other.credential);
    Ok(std::iter::once(first).chain(others).collect())
}

/// Reads an app's configuration file.
fn read(
    path: &Path,
    passphrase_env: Option<&String>,
    passphrase_file: Option<&PathBuf>,
) -> Result<(Credential, Vec<CredentialWarning>), RunError> {
    let passphrase = match (passphrase_env, passphrase_file) {
        (Some(name), _) => PassphraseSource::Env(name.clone()),
        (_, Some(path)) => PassphraseSource::Path(path.clone()),
        _ => PassphraseSource::Config,
    };
    Ok(load(&Source::Config {
        path: path.to_owned(),
        passphrase,
    })?)
}

/// Returns whom one of several apps asks for: its own users, those of the
/// target, or whom its file speaks for.
fn subjects_of(plan: &Plan, share: &AppShare, credential: &Credential) -> Vec<Subject> {
    let of_target: &[String] = match &plan.target {
        TargetPlan::Url { users, .. } => users,
        TargetPlan::Broker { .. } => &[],
    };
    let users = share.users.as_deref().unwrap_or(of_target);
    if users.is_empty() {
        vec![default_subject(credential)]
    } else {
        users.iter().map(Subject::user).collect()
    }
}

/// Describes an app to an embedded broker, with one key.
pub(super) fn registration(
    credential: &Credential,
    key: &PrivateKey,
) -> Result<AppRegistration, RunError> {
    let public = key.public_key().ok_or(RunError::NoPublicKey)?;
    let secret = credential
        .client_secret
        .as_ref()
        .map(|secret| secret.expose().to_owned())
        .unwrap_or_default();
    Ok(AppRegistration::new(
        &credential.client_id,
        secret,
        credential.enterprise_id.clone().unwrap_or_default(),
    )
    .with_key(
        credential.key_id.clone().unwrap_or_default(),
        public.clone(),
    ))
}

fn default_subject(credential: &Credential) -> Subject {
    match (&credential.enterprise_id, &credential.user_id) {
        (Some(id), _) => Subject::enterprise(id),
        (None, Some(id)) => Subject::user(id),
        // A profile without `{subject}` never looks at it.
        (None, None) => Subject::user(&credential.client_id),
    }
}
