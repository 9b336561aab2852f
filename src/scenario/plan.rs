//! What is to be run, with nothing left open?
//!
//! A plan is a scenario with its defaults resolved. It goes into the record
//! as it is, so that a reader sees what really ran; it holds no secret.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;

use super::open::{OpenLoadPlan, RatePlan};
use super::{BrokerTarget, RateLimited, Scenario, ScenarioError, Target};
use crate::broker::OrderSheet;
use crate::credential::generate::RsaBits;
use crate::load::arrival::Spacing;
use crate::load::objective::Objective;
use crate::oauth::endpoint_of;
use crate::record::Habits;
use crate::signer::Algorithm;
use crate::units::Span;

/// A scenario whose defaults are resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The scenario's name.
    pub name: String,
    /// What the scenario answers.
    pub description: String,
    /// Where tokens are asked for.
    pub target: TargetPlan,
    /// The provider's profile: a name, or a TOML file.
    pub profile: String,
    /// Variables of the profile.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What the endpoint is to achieve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// The app and its key.
    pub credentials: CredentialPlan,
    /// The signature algorithm.
    pub algorithm: Algorithm,
    /// The backend that signs; `None` is the fastest of the comparison.
    pub backend: Option<String>,
    /// The comparison of backends, if there is one.
    pub compare: Option<ComparePlan>,
    /// How the endpoint is called.
    pub load: LoadPlan,
    /// The steps.
    pub steps: Vec<StepPlan>,
}

/// Where tokens are asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetPlan {
    /// A broker in this process.
    Broker {
        /// Users of the app.
        users: usize,
        /// Threads that answer.
        threads: NonZeroUsize,
        /// The rate above which it answers 429.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit: Option<RateLimited>,
        /// How long its tokens live, if not about an hour.
        #[serde(skip_serializing_if = "Option::is_none")]
        token_life: Option<Span>,
        /// Does it speak TLS?
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        tls: bool,
        /// How slow, full or broken it pretends to be.
        #[serde(skip_serializing_if = "Option::is_none")]
        behaviour: Option<Box<OrderSheet>>,
    },
    /// An endpoint somewhere.
    Url {
        /// The token endpoint.
        url: String,
        /// Users that tokens are asked for; the enterprise if none.
        users: Vec<String>,
    },
}

/// Where the app and its key come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialPlan {
    /// A fresh app with a key pair of so many bits, sealed as the provider's
    /// console seals it.
    Generate {
        /// The size of the modulus.
        bits: usize,
        /// How many apps there are, each with a key pair of its own.
        apps: usize,
        /// The apps' shares of requests; equal shares if empty.
        weights: Vec<f64>,
    },
    /// An app's configuration file.
    Config {
        /// The file.
        path: PathBuf,
        /// The environment variable that holds the passphrase.
        passphrase_env: Option<String>,
        /// The file that holds the passphrase.
        passphrase_file: Option<PathBuf>,
    },
}

/// A comparison of backends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparePlan {
    /// The time for it.
    pub budget: Span,
    /// The backends; `None` is all that are compiled in.
    pub backends: Option<Vec<String>>,
}

/// How the endpoint is called.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadPlan {
    /// Workers in a closed loop; none with the open model.
    pub workers: usize,
    /// The open model, if it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Box<OpenLoadPlan>>,
    /// Time before calls are counted.
    pub warm_up: Span,
    /// Time during which calls that begin are counted.
    pub measure: Span,
    /// The longest wait for the last calls.
    pub drain: Span,
    /// How long one request may take.
    pub timeout: Span,
    /// The length of a slice.
    pub slice: Span,
    /// The pause of a worker between two calls, with steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Span>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepPlan {
    /// The step's name.
    pub name: String,
    /// The habits of its workers.
    pub habits: Habits,
}

/// The most workers: each has a thread.
const MAX_WORKERS: usize = 1_024;

/// Warm-up unless the scenario says otherwise: connections are made and code
/// is paged in within some tens of milliseconds.
const WARM_UP: Span = Span::from_millis(500);

/// A request takes microseconds on loopback and some hundred milliseconds at
/// a distant endpoint; ten seconds are a fault.
const TIMEOUT: Span = Span::from_millis(10_000);

/// One second, as other tools and their files have it.
const SLICE: Span = Span::from_millis(1_000);

/// Enough to tell the fastest backend of half a dozen for one key.
const COMPARE: Span = Span::from_millis(6_000);

/// Enough for a thousand requests per second that take 60 ms each.
const CONNECTIONS: usize = 64;

/// The most connections: beyond, the ports of one address run out.
const MAX_CONNECTIONS: usize = 60_000;

/// Making a key pair takes a tenth of a second.
const MAX_APPS: usize = 1_000;

/// Enough to know a ceiling to some percent.
const CALIBRATE: Span = Span::from_millis(2_000);

/// Users of an embedded broker, as in a small test enterprise.
const USERS: usize = 100;

impl Scenario {
    /// Resolves defaults and refuses what contradicts itself.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Field`] names the field and what would be accepted.
    pub fn plan(&self) -> Result<Plan, ScenarioError> {
        let wrong = |field: &str, found: String, expected: &str| ScenarioError::Field {
            scenario: self.name.clone(),
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !is_name(&self.name) {
            return Err(wrong(
                "name",
                format!("{:?}", self.name),
                "1 to 64 letters, digits, hyphens or underscores",
            ));
        }
        let target = target_plan(&self.target, !self.steps.is_empty(), &wrong)?;
        let credentials = self.credential_plan(&target, &wrong)?;
        let compare = self.signing.compare.as_ref().map(|compare| ComparePlan {
            budget: compare.budget.unwrap_or(COMPARE),
            backends: compare.backends.clone(),
        });
        let backend = match self.signing.backend.as_deref() {
            None | Some("auto") => None,
            Some(name) => Some(name.to_owned()),
        };
        let workers = match (&self.load.closed, &self.load.open) {
            (Some(closed), None) => closed.workers,
            (None, Some(_)) => 0,
            (both, _) => {
                let found = if both.is_some() { "both" } else { "neither" };
                return Err(wrong(
                    "load",
                    format!("{found} closed and open"),
                    "one of them",
                ));
            }
        };
        if self.load.closed.is_some() && !(1..=MAX_WORKERS).contains(&workers) {
            return Err(wrong(
                "load.closed.workers",
                workers.to_string(),
                &format!("1 to {MAX_WORKERS}"),
            ));
        }
        let timeout = self.load.timeout.unwrap_or(TIMEOUT);
        let load = LoadPlan {
            workers,
            warm_up: self.load.warm_up.unwrap_or(WARM_UP),
            measure: self.load.measure,
            drain: self.load.drain.unwrap_or(timeout),
            timeout,
            slice: self.load.slice.unwrap_or(SLICE),
            think: self.think_of_steps(),
            open: self.open_plan(&wrong)?,
        };
        for (field, span) in [
            ("load.measure", load.measure),
            ("load.timeout", load.timeout),
            ("load.slice", load.slice),
        ] {
            if span.0.is_zero() {
                return Err(wrong(field, span.to_string(), "more than nothing"));
            }
        }
        if !self.steps.is_empty() && self.load.open.is_some() {
            return Err(wrong(
                "step",
                "given with the open model".into(),
                "none: its connections have no habits",
            ));
        }
        Ok(Plan {
            name: self.name.clone(),
            description: self.description.clone(),
            target,
            profile: self.target.profile.clone().unwrap_or_else(|| "box".into()),
            variables: self.target.variables.clone(),
            objective: self.objective,
            credentials,
            algorithm: self.signing.algorithm.unwrap_or(Algorithm::Rs256),
            backend,
            compare,
            load,
            steps: self
                .steps
                .iter()
                .map(|step| StepPlan {
                    name: step.name.clone(),
                    habits: Habits {
                        key: step.key,
                        token: step.token,
                    },
                })
                .collect(),
        })
    }

    /// The pause between two calls of a worker with habits; without steps it
    /// is the open plan's.
    fn think_of_steps(&self) -> Option<Span> {
        let closed = self.load.closed.as_ref()?;
        closed.think.filter(|_| !self.steps.is_empty())
    }

    fn open_plan(
        &self,
        wrong: &impl Fn(&str, String, &str) -> ScenarioError,
    ) -> Result<Option<Box<OpenLoadPlan>>, ScenarioError> {
        let load = &self.load;
        let (rate, arrival, seed, workers) = match (&load.open, &load.closed) {
            (Some(open), _) => (
                open.rate(load.measure.0, wrong)?,
                open.arrival.unwrap_or_default(),
                open.seed.unwrap_or(1),
                None,
            ),
            (None, Some(closed)) if self.steps.is_empty() => (
                RatePlan::Closed {
                    think: closed.think.unwrap_or(Span::from_millis(0)),
                },
                Spacing::Even,
                1,
                Some(closed.workers),
            ),
            _ => return Ok(None),
        };
        let connections = workers.or(load.connections).unwrap_or(CONNECTIONS);
        let threads = load.threads.unwrap_or(1);
        let signing_threads = self.signing.threads.unwrap_or(1);
        for (field, found, most) in [
            ("load.connections", connections, MAX_CONNECTIONS),
            ("load.threads", threads, connections.min(MAX_WORKERS)),
            ("signing.threads", signing_threads, MAX_WORKERS),
        ] {
            if !(1..=most).contains(&found) {
                return Err(wrong(field, found.to_string(), &format!("1 to {most}")));
            }
        }
        if load
            .zipf
            .is_some_and(|exponent| !(0.0..=10.0).contains(&exponent))
        {
            return Err(wrong("load.zipf", format!("{:?}", load.zipf), "0 to 10"));
        }
        Ok(Some(Box::new(OpenLoadPlan {
            rate,
            arrival,
            seed,
            connections,
            threads,
            connecting: load.connect.clone().unwrap_or_default(),
            signing: self.signing.mode.unwrap_or_default(),
            signing_threads,
            drop_after: load.drop_after,
            count: load.count,
            retry: load.retry.clone(),
            zipf: load.zipf,
            calibrate: load.calibrate.unwrap_or(CALIBRATE),
        })))
    }

    fn credential_plan(
        &self,
        target: &TargetPlan,
        wrong: &impl Fn(&str, String, &str) -> ScenarioError,
    ) -> Result<CredentialPlan, ScenarioError> {
        let credentials = &self.credentials;
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
                if !(1..=MAX_APPS).contains(&apps) || (apps > 1 && !self.steps.is_empty()) {
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
}

fn target_plan(
    target: &Target,
    has_steps: bool,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<TargetPlan, ScenarioError> {
    match (&target.broker, &target.url) {
        (Some(_), Some(_)) => Err(wrong("target", "both broker and url".into(), "one of them")),
        (None, Some(url)) => Ok(TargetPlan::Url {
            url: endpoint_of(url),
            users: target.users.clone().unwrap_or_default(),
        }),
        (broker, None) => {
            let users = broker.as_ref().and_then(|broker| broker.users);
            let threads = broker.as_ref().and_then(|broker| broker.threads);
            let threads = NonZeroUsize::new(threads.unwrap_or(1))
                .ok_or_else(|| wrong("target.broker.threads", "0".into(), "at least 1"))?;
            if target.users.is_some() {
                return Err(wrong(
                    "target.users",
                    "given".into(),
                    "target.broker.users with an embedded broker",
                ));
            }
            let token_life = broker.as_ref().and_then(|broker| broker.token_life);
            if let Some(life) = token_life
                && (life.0.is_zero() || life.0.subsec_nanos() > 0)
            {
                return Err(wrong(
                    "target.broker.token_life",
                    life.to_string(),
                    "whole seconds, at least one",
                ));
            }
            let behaviour = behaviour_of(broker.as_ref(), wrong)?;
            let tls = broker.as_ref().and_then(|broker| broker.tls) == Some(true);
            if tls && has_steps {
                return Err(wrong(
                    "target.broker.tls",
                    "true with steps".into(),
                    "false: workers with habits trust the system's certificates alone",
                ));
            }
            match users.unwrap_or(USERS) {
                0 => Err(wrong("target.broker.users", "0".into(), "at least 1")),
                users => Ok(TargetPlan::Broker {
                    users,
                    threads,
                    rate_limit: broker.as_ref().and_then(|broker| broker.rate_limit),
                    token_life,
                    tls,
                    behaviour,
                }),
            }
        }
    }
}

/// Checks what an embedded broker is told to do.
fn behaviour_of(
    broker: Option<&BrokerTarget>,
    wrong: &impl Fn(&str, String, &str) -> ScenarioError,
) -> Result<Option<Box<OrderSheet>>, ScenarioError> {
    let Some((broker, sheet)) =
        broker.and_then(|broker| Some((broker, broker.behaviour.as_ref()?)))
    else {
        return Ok(None);
    };
    sheet.check().map_err(|error| {
        let field = format!("target.broker.behaviour.{}", error.field);
        wrong(&field, error.found, error.expected)
    })?;
    if broker.rate_limit.is_some() && sheet.rate_limit.is_some() {
        let place = "target.broker.behaviour.rate_limit";
        return Err(wrong(
            place,
            "given twice".into(),
            "one rate_limit of the broker",
        ));
    }
    Ok(Some(Box::new(sheet.clone())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Chain;

    #[test]
    fn a_rate_is_given_in_exactly_one_way() {
        let open = |text: &str| {
            let closed = "closed = { workers = 2 }";
            let steps = MINIMAL.find("[[step]]").unwrap();
            plan(&MINIMAL[..steps].replace(closed, text))
        };
        let found = open("open = { per_s = 20 }\nconnections = 3").unwrap();
        let load = found.load.open.unwrap();
        assert_eq!((load.connections, load.threads), (3, 1));
        assert!(open("open = { ramp = { from = 1, to = 9 }, arrival = \"even\" }").is_ok());
        assert!(open("closed = { workers = 4, think = \"5ms\" }").is_ok());
        for (text, field) in [
            ("open = {}", "load.open"),
            ("open = { per_s = 1, steps = [2] }", "load.open"),
            ("open = { per_s = -1 }", "load.open.per_s"),
            ("open = { per_s = 0 }", "load.open"),
            ("open = { steps = [] }", "load.open.steps"),
            (
                "open = { spike = { base = 1, peak = 2, at = \"1s\", length = \"1s\" } }",
                "load.open.spike",
            ),
            ("open = { per_s = 1 }\nthreads = 65", "load.threads"),
            ("open = { per_s = 1 }\nclosed = { workers = 1 }", "load"),
            ("", "load"),
        ] {
            match open(text) {
                Err(ScenarioError::Field { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_schema_knows_every_field_that_a_scenario_may_have() {
        let schema = Scenario::schema().to_string();
        for field in [
            "objective",
            "per_s",
            "zipf",
            "keep_alive",
            "calibrate",
            "step",
            "behaviour",
            "service_time",
            "spare_refused_jti",
        ] {
            assert!(schema.contains(&format!("\"{field}\"")), "{field}");
        }
    }

    const MINIMAL: &str = r#"
name = "x"
[load]
closed = { workers = 2 }
measure = "1s"
[[step]]
name = "only"
key = "reuse"
token = "fetch-per-call"
"#;

    fn plan(text: &str) -> Result<Plan, ScenarioError> {
        Scenario::from_toml(text, Path::new("mine.toml"))?.plan()
    }

    #[test]
    fn a_minimal_scenario_has_every_default() {
        let plan = plan(MINIMAL).unwrap();
        assert_eq!(plan.profile, "box");
        assert_eq!(plan.algorithm, Algorithm::Rs256);
        assert_eq!(
            plan.credentials,
            CredentialPlan::Generate {
                bits: 2048,
                apps: 1,
                weights: Vec::new()
            }
        );
        assert_eq!(plan.backend, None);
        assert_eq!(plan.load.drain, plan.load.timeout);
        assert!(matches!(plan.target, TargetPlan::Broker { users: 100, .. }));
    }

    #[test]
    fn an_unknown_field_names_the_file_the_field_and_what_is_accepted() {
        for (wrong, right) in [
            ("wrokers", "workers"),
            ("mesure", "measure"),
            ("[lode]", "load"),
        ] {
            let text = MINIMAL.replace(
                right.trim_matches(['[', ']']),
                wrong.trim_matches(['[', ']']),
            );
            let error = plan(&text).unwrap_err();
            let chain = Chain(&error).to_string();
            for part in ["mine.toml", wrong.trim_matches(['[', ']']), right] {
                assert!(chain.contains(part), "{part} is not in {chain}");
            }
        }
    }

    #[test]
    fn contradictions_are_refused_with_the_field() {
        for (added, field) in [
            ("[target]\nurl = \"http://x\"\nbroker = {}\n", "target"),
            ("[target]\nurl = \"http://x\"\n", "credentials.config"),
            (
                "[credentials]\nconfig = \"app.json\"\n",
                "credentials.config",
            ),
            (
                "[credentials]\nconfig = \"app.json\"\ngenerate = {}\n",
                "credentials",
            ),
            (
                "[credentials]\ngenerate = { bits = 1024 }\n",
                "credentials.generate.bits",
            ),
            ("[target]\nbroker = { users = 0 }\n", "target.broker.users"),
            (
                "[target]\nbroker = { token_life = \"1500ms\" }\n",
                "target.broker.token_life",
            ),
            ("[target]\nbroker = { tls = true }\n", "target.broker.tls"),
            (
                "[target.broker.behaviour]\nerror_share = 2.0\n",
                "target.broker.behaviour.error_share",
            ),
            (
                "[target.broker.behaviour]\nqueue = true\n",
                "target.broker.behaviour.queue",
            ),
            (
                "[target.broker]\nrate_limit = { per_s = 1, burst = 1 }\n\
                 behaviour = { rate_limit = { per_s = 2, burst = 1 } }\n",
                "target.broker.behaviour.rate_limit",
            ),
        ] {
            let text = format!("{MINIMAL}{added}");
            match plan(&text) {
                Err(ScenarioError::Field { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{added}: {other:?}"),
            }
        }
        for (from, to) in [
            ("workers = 2", "workers = 0"),
            ("measure = \"1s\"", "measure = \"0s\""),
            ("name = \"x\"", "name = \"../x\""),
        ] {
            assert!(
                matches!(
                    plan(&MINIMAL.replacen(from, to, 1)),
                    Err(ScenarioError::Field { .. })
                ),
                "{to}"
            );
        }
    }
}
