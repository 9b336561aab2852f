//! What is to be run, with nothing left open?
//!
//! A plan is a scenario with its defaults resolved. It goes into the record
//! as it is, so that a reader sees what really ran; it holds no secret.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;

use super::open::OpenLoadPlan;
use super::{AppShare, DropOld, FleetRules, RateLimited};
use crate::broker::OrderSheet;
use crate::load::objective::Objective;
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
    /// What a fleet does that a machine alone does not.
    #[serde(skip_serializing_if = "FleetRules::is_default")]
    pub fleet: FleetRules,
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
        /// How their keys are replaced under load, if they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        rotate: Option<RotatePlan>,
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
    /// Several apps, each with a configuration file.
    Several(Vec<AppShare>),
}

/// How keys are replaced, as resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RotatePlan {
    /// The time between two replacements.
    pub every: Span,
    /// When the endpoint drops an old key.
    pub drop_old: DropOld,
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
