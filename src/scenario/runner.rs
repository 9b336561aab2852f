//! How is a plan carried out, from a key to a document?
//!
//! The broker is started on threads of its own, the app gets its key, the
//! backends are compared, and the steps call the endpoint one after the
//! other. Whatever ends the run early, what was measured until then comes
//! back, marked partial. Progress is told as events; nothing here prints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::open_step::{open_step, remarks};
use super::plan::{CredentialPlan, Plan, StepPlan, TargetPlan};
use crate::assertion::Subject;
use crate::bench::{self, BenchError, BenchRecord, KeyPolicy};
use crate::broker::{
    AppRegistration, Behaviour, Broker, BrokerConfig, BrokerError, RateLimit, UserRegistration,
};
use crate::clock::{Clock, SystemClock};
use crate::credential::generate::{self, GenerateError, RsaBits};
use crate::credential::{
    ContainerError, Credential, CredentialError, PassphraseSource, Sealing, Source, load,
};
use crate::load::caller::{CallerError, Habitual, Shared};
use crate::load::keeping::Kept;
use crate::load::open::OpenError;
use crate::load::population::{Member, Population};
use crate::load::{ClosedPlan, LoadError, OtherThreads, Progress, run_closed};
use crate::oauth::{Profile, ProfileError};
use crate::record::document::SCHEMA_VERSION;
use crate::record::host::QualityWatch;
use crate::record::{
    Gathered, Host, KeyFacts, Quality, Refusal, RunDocument, StepRecord, TokenHabit, Tool, Warning,
};
use crate::signer::registry::UnknownBackend;
use crate::signer::{
    Backend, LoadError as SignerError, Mint, MintConfig, PrivateKey, Registry, Signer,
};
use crate::token::{App, AppError};

/// How long an embedded broker may take to answer its last requests.
const BROKER_DRAIN: Duration = Duration::from_secs(2);

/// The load average per processor from which on the host counts as busy.
const BUSY_LOAD: f64 = 0.5;

/// The share of stolen time from which on it is remarked.
const MUCH_STEAL: f64 = 0.005;

/// What happens during a run.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key pair is being made.
    Generating {
        /// The size of the modulus.
        bits: usize,
    },
    /// The broker listens.
    BrokerStarted {
        /// Its address.
        url: String,
    },
    /// The machine is measured against a target that does nothing.
    Calibrating,
    /// Backends are being compared.
    Comparing {
        /// Time since the start.
        elapsed: Duration,
        /// The time that is allowed.
        budget: Duration,
    },
    /// The comparison is over.
    Compared,
    /// A step has begun.
    StepBegan {
        /// Its name.
        name: String,
    },
    /// A step goes on.
    Step(Progress),
    /// A step is over.
    StepEnded(Box<StepRecord>),
}

/// Carries `plan` out.
///
/// `run` is the run's own name. Setting `stop` ends the run with what was
/// measured until then.
///
/// # Errors
///
/// The run could not begin: the credential, the backends, the broker or the
/// workers. Failing calls are data.
pub fn run(
    plan: &Plan,
    run: &str,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<RunDocument, RunError> {
    let begun = Instant::now();
    let started_at = jiff::Timestamp::now();
    let watch = QualityWatch::start();
    let host = Host::detect();
    let stage = Stage::set(plan, tell)?;
    let signing = compare(plan, &stage, stop, tell)?;
    let mut warnings = stage.warnings.clone();
    let (shared, signed_by) = stage.share(plan, signing.as_ref())?;
    let shared = Arc::new(shared);
    let mut steps = Vec::new();
    let mut partial = None;
    if plan.load.open.is_some() {
        let (record, was_stopped) = open_step(plan, &stage, signing.as_ref(), stop, tell)?;
        if was_stopped {
            partial = Some("it was stopped".to_owned());
        }
        warnings.extend(remarks(plan, &record));
        tell(Event::StepEnded(Box::new(record.clone())));
        steps.push(record);
    }
    for step in &plan.steps {
        if stop.load(Ordering::Relaxed) {
            partial = Some("it was stopped".to_owned());
            break;
        }
        tell(Event::StepBegan {
            name: step.name.clone(),
        });
        let (record, was_stopped) =
            run_step(plan, step, (&shared, &signed_by), &stage, stop, tell)?;
        if record.failed() > 0 {
            warnings.push(Warning::errors(
                &record.name,
                record.failed(),
                record.calls(),
            ));
        }
        tell(Event::StepEnded(Box::new(record.clone())));
        steps.push(record);
        if was_stopped {
            partial = Some(format!("it was stopped in the step {:?}", step.name));
            break;
        }
    }
    let quality = watch.finish();
    warnings.extend(conditions(plan, &host, &quality, partial.as_deref()));
    let key = key_facts(&stage, plan);
    let broker = stage.finish();
    Ok(RunDocument {
        schema_version: SCHEMA_VERSION,
        run: run.to_owned(),
        tool: Tool::this(),
        started_at: started_at.to_string(),
        elapsed_ns: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        partial,
        scenario: serde_json::to_value(plan).map_err(RunError::Encode)?,
        host,
        quality,
        backends: Registry::compiled()
            .iter()
            .map(|backend| backend.facts())
            .filter(|facts| {
                facts.name == signed_by.backend
                    || facts.name == signed_by.singly
                    || signing
                        .as_ref()
                        .is_some_and(|record| record.case_of(&facts.name).is_some())
            })
            .collect(),
        refused: signing
            .iter()
            .flat_map(|record| &record.refused)
            .map(|refused| Refusal {
                backend: refused.case.backend.clone(),
                reason: refused.reason.clone(),
            })
            .collect(),
        signed_by: signed_by.backend,
        signed_singly_by: Some(signed_by.singly),
        gathered: signed_by.mint.map(|mint| gathered(&mint)),
        key,
        signing,
        steps,
        capacity: None,
        broker,
        warnings,
    })
}

/// Remarks about the conditions of a run.
pub(super) fn conditions(
    plan: &Plan,
    host: &Host,
    quality: &Quality,
    partial: Option<&str>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let TargetPlan::Broker { threads, .. } = plan.target {
        warnings.push(Warning::shared_machine(threads.get(), host.cpus));
    }
    if quality.load_average > BUSY_LOAD * host.cpus as f64 {
        warnings.push(Warning::busy_host(quality.load_average, host.cpus));
    }
    if quality.steal_share > MUCH_STEAL {
        warnings.push(Warning::steal(quality.steal_share));
    }
    if !host.is_optimised {
        warnings.push(Warning::debug_build());
    }
    if let Some(reason) = partial {
        warnings.push(Warning::partial(reason));
    }
    warnings
}

/// Who signs the assertions of a closed loop.
struct SignedBy {
    /// The backend of a key that is kept.
    backend: String,
    /// The backend of a key that is opened for every assertion.
    singly: String,
    /// The mint that gathers for the first, if that signs in batches.
    mint: Option<Arc<Mint>>,
}

/// Sets a mint up for workers that share the machine with it: a thread for
/// every other processor, since what it saves is processor time.
fn mint_config() -> MintConfig {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    MintConfig::with_threads((cpus / 2).max(1))
}

/// What a run plays on: the credential, the endpoint and the users.
pub(super) struct Stage {
    profile: Profile,
    credential: Credential,
    key: Arc<PrivateKey>,
    broker: Option<Broker>,
    pub url: String,
    subjects: Vec<Subject>,
    /// Further apps of the open model.
    others: Vec<Other>,
    pub warnings: Vec<Warning>,
}

/// A further app.
struct Other {
    credential: Credential,
    key: Arc<PrivateKey>,
    subjects: Vec<Subject>,
}

impl Stage {
    pub fn set(plan: &Plan, tell: &mut dyn FnMut(Event)) -> Result<Self, RunError> {
        let profile = Profile::find(&plan.profile)?;
        let mut others = Vec::new();
        let (credential, warnings) = match &plan.credentials {
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
            } => {
                let passphrase = match (passphrase_env, passphrase_file) {
                    (Some(name), _) => PassphraseSource::Env(name.clone()),
                    (_, Some(path)) => PassphraseSource::Path(path.clone()),
                    _ => PassphraseSource::Config,
                };
                load(&Source::Config {
                    path: path.clone(),
                    passphrase,
                })?
            }
        };
        let key = Arc::new(credential.key.open()?);
        let (broker, url, subjects) = match &plan.target {
            TargetPlan::Url { url, users } => {
                let subjects = if users.is_empty() {
                    vec![default_subject(&credential)]
                } else {
                    users.iter().map(Subject::user).collect()
                };
                (None, url.clone(), subjects)
            }
            TargetPlan::Broker {
                users,
                threads,
                rate_limit,
                token_life,
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
                let broker = Broker::start(BrokerConfig {
                    apps,
                    users: registered,
                    threads: *threads,
                    behaviour: Behaviour {
                        rate_limit: rate_limit.map(|limit| RateLimit {
                            per_s: limit.per_s,
                            burst: limit.burst,
                        }),
                        token_life_s: token_life.map_or_else(
                            || Behaviour::default().token_life_s,
                            |life| life.0.as_secs()..=life.0.as_secs(),
                        ),
                        ..Behaviour::default()
                    },
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

    /// Makes what the workers share, and the mint that gathers for them if
    /// the backend signs in batches.
    fn share(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
    ) -> Result<(Shared, SignedBy), RunError> {
        let registry = Registry::compiled();
        let name = backend_name(plan, signing);
        let backend = registry.get(&name)?;
        let mut signer = backend.load(&self.key, plan.algorithm)?;
        let mut signed_by = SignedBy {
            backend: name.clone(),
            singly: name,
            mint: None,
        };
        let mut single = Arc::clone(backend);
        if signer.batch_width() > 1 {
            let mint = Arc::new(Mint::start(signer, mint_config()).map_err(RunError::Mint)?);
            signer = Arc::clone(&mint) as Arc<dyn Signer>;
            signed_by.mint = Some(mint);
            // A key that is opened for one assertion fills no batch: whoever
            // does that takes a library for single signatures.
            if plan.backend.is_none()
                && let Some((name, backend)) = self.best_single(plan, signing, &registry)
            {
                signed_by.singly = name;
                single = backend;
            }
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let app = App::new(
            &self.credential,
            &self.profile,
            &plan.variables,
            plan.algorithm,
            &self.url,
        )?;
        Ok((
            Shared {
                app,
                sealed: self.credential.key.clone(),
                key: Arc::clone(&self.key),
                backend: single,
                signer,
                url: self.url.clone(),
                timeout: plan.load.timeout.0,
                subjects: self.subjects.clone(),
                clock,
            },
            signed_by,
        ))
    }

    /// Finds the fastest of the compared backends that signs one by one.
    fn best_single(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
        registry: &Registry,
    ) -> Option<(String, Arc<dyn Backend>)> {
        let mut cases: Vec<_> = signing?.cases.iter().collect();
        cases.sort_by(|a, b| b.per_core_per_s.total_cmp(&a.per_core_per_s));
        cases.iter().find_map(|case| {
            let name = &case.case.backend;
            let backend = registry.get(name).ok()?;
            let signer = backend.load(&self.key, plan.algorithm).ok()?;
            (signer.batch_width() == 1).then(|| (name.clone(), Arc::clone(backend)))
        })
    }

    /// Returns the member of an answer that holds the token.
    pub fn token_field(&self) -> String {
        self.profile.response.token.clone()
    }

    /// Makes the population of the open model; the name is that of the signing
    /// backend.
    pub fn population(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
    ) -> Result<(Population, String), RunError> {
        let name = backend_name(plan, signing);
        let registry = Registry::compiled();
        let backend = registry.get(&name)?;
        let weights: &[f64] = match &plan.credentials {
            CredentialPlan::Generate { weights, .. } => weights,
            CredentialPlan::Config { .. } => &[],
        };
        let first = (&self.credential, &self.key, &self.subjects);
        let all = std::iter::once(first).chain(
            self.others
                .iter()
                .map(|other| (&other.credential, &other.key, &other.subjects)),
        );
        let members = all
            .enumerate()
            .map(|(number, (credential, key, subjects))| {
                Ok(Member {
                    app: App::new(
                        credential,
                        &self.profile,
                        &plan.variables,
                        plan.algorithm,
                        &self.url,
                    )?,
                    signer: backend.load(key, plan.algorithm)?,
                    subjects: subjects.clone().into(),
                    weight: weights.get(number).copied().unwrap_or(1.0),
                })
            })
            .collect::<Result<Vec<_>, RunError>>()?;
        let (zipf, seed) = plan
            .load
            .open
            .as_ref()
            .map_or((None, 1), |open| (open.zipf, open.seed));
        Ok((Population::new(members, zipf, seed), name))
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

/// The backend that signs where nothing was compared: the fastest library on
/// processors with wide multiplication, and as fast as others elsewhere.
const DEFAULT_BACKEND: &str = "aws-lc-rs";

fn backend_name(plan: &Plan, signing: Option<&BenchRecord>) -> String {
    plan.backend
        .clone()
        .or_else(|| Some((*signing?.fastest().first()?).to_owned()))
        .unwrap_or_else(|| DEFAULT_BACKEND.to_owned())
}

fn compare(
    plan: &Plan,
    stage: &Stage,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Option<BenchRecord>, RunError> {
    let Some(compare) = &plan.compare else {
        return Ok(None);
    };
    let registry = Registry::compiled();
    // Whoever names a backend hears why it cannot run; the others are left
    // out in silence, as `mintmark backends` tells.
    let names = compare.backends.clone().unwrap_or_else(|| {
        registry
            .iter()
            .filter(|backend| backend.unavailable().is_none())
            .map(|backend| backend.facts().name)
            .collect()
    });
    for name in &names {
        registry.get(name)?;
    }
    let budget = compare.budget.0;
    let begun = Instant::now();
    tell(Event::Comparing {
        elapsed: Duration::ZERO,
        budget,
    });
    let request = bench::Request {
        registry: &registry,
        keys: &[Arc::clone(&stage.key).into()],
        backends: &names,
        algorithms: &[plan.algorithm],
        threads: &[1],
        key_policies: &[KeyPolicy::Reused],
        claims_bytes: &[bench::USUAL_CLAIMS_BYTES],
        reference: bench::REFERENCE,
        budget,
        seed: 1,
        has_null_control: false,
    };
    let record = bench::run(&request, &SystemClock::new(), stop, &mut |_| {
        tell(Event::Comparing {
            elapsed: begun.elapsed(),
            budget,
        });
    })?;
    tell(Event::Compared);
    Ok(Some(record))
}

fn run_step(
    plan: &Plan,
    step: &StepPlan,
    (shared, signed_by): (&Arc<Shared>, &SignedBy),
    stage: &Stage,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<(StepRecord, bool), RunError> {
    let closed = ClosedPlan {
        workers: plan.load.workers,
        warm_up: plan.load.warm_up.0,
        measure: plan.load.measure.0,
        drain: plan.load.drain.0,
        slice: plan.load.slice.0,
        think: plan.load.think.map_or(Duration::ZERO, |think| think.0),
    };
    let kept = Kept::new(shared, step.habits)?;
    let mint = signed_by.mint.as_ref();
    let mut helpers = mint.map_or(Vec::new(), |mint| mint.thread_ids().to_vec());
    helpers.extend(kept.threads());
    // What is fetched apart from the workers belongs to no call of theirs; it
    // is counted over the measured phase, to within a tick of the progress.
    let (mut before, mut after) = (None, (0, 0));
    let measured = run_closed(
        &closed,
        |index| Habitual::new(shared, &kept, step.habits, index),
        OtherThreads {
            helpers: &helpers,
            broker: stage.broker_threads(),
        },
        stop,
        |progress| {
            after = kept.apart();
            if progress.elapsed >= closed.warm_up {
                before.get_or_insert(after);
            }
            tell(Event::Step(progress));
        },
    )?;
    let before = before.unwrap_or(after);
    Ok((
        StepRecord {
            name: step.name.clone(),
            habits: step.habits,
            workers: closed.workers,
            threads: closed.workers,
            phases: measured.phases,
            outcomes: measured.outcomes,
            assertions_signed: measured.assertions_signed + (after.0 - before.0),
            requests_sent: measured.requests_sent + (after.1 - before.1),
            abandoned: measured.abandoned,
            latencies: measured.latencies,
            cpu: measured.cpu,
            slices: measured.slices,
            herds: (step.habits.token != TokenHabit::FetchPerCall).then(|| kept.herds()),
            open: None,
        },
        measured.was_stopped,
    ))
}

fn gathered(mint: &Mint) -> Gathered {
    let stats = mint.stats();
    Gathered {
        threads: mint.thread_ids().len(),
        batches: stats.batches.clone(),
        lent: stats.lent,
        mean_gathering_ns: stats
            .mean_gathering()
            .map(|mean| u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX)),
    }
}

fn registration(credential: &Credential, key: &PrivateKey) -> Result<AppRegistration, RunError> {
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

pub(super) fn key_facts(stage: &Stage, plan: &Plan) -> KeyFacts {
    KeyFacts {
        bits: stage.key.bits(),
        algorithm: plan.algorithm.name().to_owned(),
        container: stage.credential.key.describe().to_string(),
        spki_sha256: stage
            .key
            .public_key()
            .map(|key| hex_of(&key.fingerprint()))
            .unwrap_or_default(),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The profile cannot be used.
    #[error("the provider's profile cannot be used")]
    BadProfile(#[from] ProfileError),
    /// No key pair could be made.
    #[error("no app could be made")]
    Generate(#[from] GenerateError),
    /// The credential cannot be read.
    #[error("the credential cannot be used")]
    Credential(#[from] CredentialError),
    /// The key cannot be opened.
    #[error("the key cannot be opened")]
    Key(#[from] ContainerError),
    /// The broker did not start.
    #[error("the embedded broker did not start")]
    Broker(#[from] BrokerError),
    /// The scenario names a backend that there is not.
    #[error("the backend cannot be used")]
    Backend(#[from] UnknownBackend),
    /// The backend refuses the key.
    #[error("the backend cannot sign with this key")]
    Signer(#[from] SignerError),
    /// The backends could not be compared.
    #[error("the backends could not be compared")]
    Bench(#[from] BenchError),
    /// The app and the provider do not fit.
    #[error("the app and the provider do not fit")]
    App(#[from] AppError),
    /// The mint's threads could not be started.
    #[error("cannot start the mint's threads")]
    Mint(#[source] std::io::Error),
    /// The load could not begin.
    #[error("the load could not begin")]
    Load(#[from] LoadError),
    /// The workers' tokens could not be kept.
    #[error("the workers' tokens cannot be kept")]
    Keep(#[from] CallerError),
    /// The load at a given rate could not begin.
    #[error("the load could not begin")]
    Open(#[from] OpenError),
    /// The scenario has no rate.
    #[error("the scenario is of the closed model, expected load.open")]
    Closed,
    /// A file of the load cannot be read.
    #[error("the load cannot be laid out")]
    Scenario(#[from] super::ScenarioError),
    /// The key has no public half to register.
    #[error("the key does not carry its public half, expected an RSA key")]
    NoPublicKey,
    /// The plan could not be encoded.
    #[error("the record could not be encoded")]
    Encode(#[source] serde_json::Error),
}
