//! What is to be run, as a person writes it down?
//!
//! A scenario is a TOML file, read exactly as it was typed ([`Scenario`]),
//! then turned into a [`Plan`] in which defaults are resolved and
//! contradictions impossible. An unknown field is an error that names the
//! file, the field and what would be accepted. [`run()`] carries a plan out
//! and returns the document; it does not print.

mod habit_step;
pub mod many;
pub mod open;
mod open_step;
mod plan;
mod resolve;
mod resolve_credentials;
mod rotation;
mod run_error;
pub mod runner;
mod searched;
mod signatory;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::many::{FleetRules, LostShare};
pub use self::open::{Open, OpenLoadPlan};
pub use self::open_step::Prepared;
pub use self::plan::{CredentialPlan, LoadPlan, Plan, StepPlan, TargetPlan};
pub use self::runner::{Event, RunError, run};
pub use self::searched::SearchWatch;
use crate::broker::OrderSheet;
use crate::load::assertions::Mode;
use crate::load::objective::Objective;
use crate::record::{KeyHabit, TokenHabit};
use crate::signer::Algorithm;
use crate::units::Span;

/// A scenario file, as it was typed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name, which becomes part of the results' folder.
    pub name: String,
    /// What the scenario answers, for people.
    #[serde(default)]
    pub description: String,
    /// The token endpoint.
    #[serde(default)]
    pub target: Target,
    /// The app and its key.
    #[serde(default)]
    pub credentials: Credentials,
    /// Who signs.
    #[serde(default)]
    pub signing: Signing,
    /// How the endpoint is called.
    pub load: Load,
    /// What the endpoint is to achieve, such as `"p99<50ms,errors<0.1%"`.
    #[schemars(with = "Option<String>")]
    pub objective: Option<Objective>,
    /// What a fleet does that a machine alone does not.
    #[serde(default)]
    pub fleet: FleetRules,
    /// The habits that are compared, one after the other, with the closed
    /// model. Without steps, the closed model is carried by the transports of
    /// the open one.
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
}

/// Where tokens are asked for: an embedded broker, or a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Start a broker in this process.
    pub broker: Option<BrokerTarget>,
    /// The token endpoint, or a server's address.
    pub url: Option<String>,
    /// The provider's profile: a name, or a TOML file.
    pub profile: Option<String>,
    /// The users that tokens are asked for at a URL; the enterprise if none.
    pub users: Option<Vec<String>>,
    /// Variables of the profile, such as a scope or an audience.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// The broker that is started for a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerTarget {
    /// Users of the app, whose tokens are asked for in turn.
    pub users: Option<usize>,
    /// Threads that answer.
    pub threads: Option<usize>,
    /// The rate above which the broker answers 429.
    pub rate_limit: Option<RateLimited>,
    /// How long tokens live, in whole seconds; about an hour if not given.
    #[schemars(with = "Option<String>")]
    pub token_life: Option<Span>,
    /// Does it speak TLS, with a certificate of its own that the load trusts?
    /// Only without steps.
    pub tls: Option<bool>,
    /// How slow, full or broken it pretends to be.
    pub behaviour: Option<OrderSheet>,
}

/// A rate above which a broker answers 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimited {
    /// Requests per second, in the long run.
    pub per_s: NonZeroU32,
    /// How many may come at once after a pause.
    pub burst: NonZeroU32,
}

/// Where the app and its key come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Make an app with a fresh key pair; only with an embedded broker.
    pub generate: Option<Generate>,
    /// An app's configuration file.
    pub config: Option<PathBuf>,
    /// The environment variable that holds the passphrase of its key.
    pub passphrase_env: Option<String>,
    /// The file that holds the passphrase of its key.
    pub passphrase_file: Option<PathBuf>,
    /// Several apps with shares of the requests, in place of `config`.
    #[serde(rename = "app", default)]
    pub apps: Vec<AppShare>,
}

/// One of several apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppShare {
    /// The app's configuration file.
    pub config: PathBuf,
    /// The app's share of requests, relative to the others'; 1 if not given.
    pub weight: Option<f64>,
    /// The users that its tokens are asked for; those of the target if none.
    pub users: Option<Vec<String>>,
    /// The environment variable that holds the passphrase of its key.
    pub passphrase_env: Option<String>,
    /// The file that holds the passphrase of its key.
    pub passphrase_file: Option<PathBuf>,
}

/// A key pair to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The size of the modulus: 2048, 3072 or 4096 bits.
    pub bits: Option<usize>,
    /// How many apps are made; more than one with the open model.
    pub apps: Option<usize>,
    /// The apps' shares of requests, in order; equal shares if not given.
    pub weights: Option<Vec<f64>>,
    /// Replace the keys while the load goes on.
    pub rotate: Option<Rotate>,
}

/// How keys are replaced while a load goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The time between two replacements.
    #[schemars(with = "String")]
    pub every: Span,
    /// When the endpoint drops an old key; once nobody uses it if not given.
    pub drop_old: Option<DropOld>,
}

/// When an endpoint drops a key that was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DropOld {
    /// Once every assertion that it signed has been answered.
    #[default]
    WhenUnused,
    /// At once, as after a leak: what was signed before is refused.
    AtOnce,
}

/// Who signs assertions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// A backend's name, or `auto`: the fastest of the comparison.
    pub backend: Option<String>,
    /// The signature algorithm.
    #[schemars(with = "Option<String>")]
    pub algorithm: Option<Algorithm>,
    /// Where assertions come from with the open model: `inline`, `mint`,
    /// `preminted` or `repeat`.
    #[schemars(with = "Option<String>")]
    pub mode: Option<Mode>,
    /// Threads that sign ahead, for the mode `mint`.
    pub threads: Option<usize>,
    /// Compare the backends for this key before the load.
    pub compare: Option<Compare>,
}

/// A comparison of backends before the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The time for it.
    #[schemars(with = "Option<String>")]
    pub budget: Option<Span>,
    /// The backends to compare; all that are compiled in if none is named.
    pub backends: Option<Vec<String>>,
}

/// How the endpoint is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The closed model: a worker's next call begins when the last has ended.
    pub closed: Option<Closed>,
    /// The open model: requests start at a given rate.
    pub open: Option<Open>,
    /// Connections of the open model.
    pub connections: Option<usize>,
    /// Threads of the open model that send.
    pub threads: Option<usize>,
    /// How requests of the open model travel.
    pub connect: Option<open::Connecting>,
    /// Gives requests up that are due for so long, and counts them.
    #[schemars(with = "Option<String>")]
    pub drop_after: Option<Span>,
    /// Ends the open model after so many requests.
    pub count: Option<u64>,
    /// When a failed request is repeated.
    pub retry: Option<open::Retry>,
    /// The exponent of Zipf's law by which subjects are asked for.
    pub zipf: Option<f64>,
    /// Calls go through a token cache.
    pub cache: Option<open::Keeping>,
    /// Time to find out what this machine can do, before the open model.
    #[schemars(with = "Option<String>")]
    pub calibrate: Option<Span>,
    /// Time before calls are counted.
    #[schemars(with = "Option<String>")]
    pub warm_up: Option<Span>,
    /// Time during which calls that begin are counted, for each step.
    #[schemars(with = "String")]
    pub measure: Span,
    /// The longest wait for the last calls of a step.
    #[schemars(with = "Option<String>")]
    pub drain: Option<Span>,
    /// How long one request may take.
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Span>,
    /// The length of a slice.
    #[schemars(with = "Option<String>")]
    pub slice: Option<Span>,
}

/// The closed model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Workers, each on a connection of its own; with steps, each on a thread
    /// of its own as well.
    pub workers: usize,
    /// The pause between an answer and the next call.
    #[schemars(with = "Option<String>")]
    pub think: Option<Span>,
}

/// One step: the same workers with certain habits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The step's name in tables.
    pub name: String,
    /// What the workers do with the key.
    #[schemars(with = "String")]
    pub key: KeyHabit,
    /// What the workers do with tokens.
    #[schemars(with = "String")]
    pub token: TokenHabit,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no scenario; the error names it.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text, path)
    }

    /// Returns the JSON Schema of scenario files, for editors.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Reads a scenario from its text; `path` names it in errors.
    ///
    /// # Errors
    ///
    /// The text is no TOML, or a field is missing, unknown or of another type.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|source| ScenarioError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no scenario.
    #[error("the scenario {} cannot be used", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The proxy cannot be used.
    #[error("load.connect.proxy cannot be used")]
    Proxy(#[source] crate::load::transport::ConnectorError),
    /// The variable with the proxy's login is not set.
    #[error(
        "load.connect.proxy_login_env names the environment variable {name:?}, which is not set; \
         expected name:password in it"
    )]
    NoLogin {
        /// The variable.
        name: String,
    },
    /// A line of a trace is no time.
    #[error("{}, line {line}: {found:?} is no time, expected seconds from the beginning", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is there.
        found: String,
    },
    /// A field has a value that cannot be.
    #[error("the scenario {scenario:?} cannot be used: {field} is {found}, expected {expected}")]
    Field {
        /// The scenario's name.
        scenario: String,
        /// The field, with its table.
        field: String,
        /// What it is.
        found: String,
        /// What would be accepted.
        expected: String,
    },
}
