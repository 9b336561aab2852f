//! How do the defaults of a scenario become a plan without contradictions?

use std::num::NonZeroUsize;

use super::open::{KeepingPlan, OpenLoadPlan, RatePlan};
use super::plan::{ComparePlan, LoadPlan, Plan, StepPlan, TargetPlan};
use super::resolve_credentials::credential_plan;
use super::{BrokerTarget, Scenario, ScenarioError, Target};
use crate::broker::OrderSheet;
use crate::load::arrival::Spacing;
use crate::load::assertions::Mode;
use crate::oauth::endpoint_of;
use crate::record::Habits;
use crate::signer::Algorithm;
use crate::units::Span;

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

/// Enough to know a ceiling to some percent.
const CALIBRATE: Span = Span::from_millis(2_000);

/// How long most providers' tokens live.
const TOKEN_LIFE: Span = Span::from_millis(3_600_000);

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
        if !is_name(&self.name) {
            return Err(wrong(
                "name",
                format!("{:?}", self.name),
                "1 to 64 letters, digits, hyphens or underscores",
            ));
        }
        let target = target_plan(&self.target, &wrong)?;
        let credentials = credential_plan(self, &target, &wrong)?;
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
        self.check_steps(&target, load.open.is_some(), &wrong)?;
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
            fleet: self.fleet,
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

    /// Refuses what does not go with steps.
    fn check_steps(
        &self,
        target: &TargetPlan,
        is_open: bool,
        wrong: &impl Fn(&str, String, &str) -> ScenarioError,
    ) -> Result<(), ScenarioError> {
        if !is_open && self.load.cache.is_some() {
            return Err(wrong(
                "load.cache",
                "given with steps".into(),
                "none: their habits say what is kept",
            ));
        }
        if !self.steps.is_empty() && self.load.open.is_some() {
            return Err(wrong(
                "step",
                "given with the open model".into(),
                "none: its connections have no habits",
            ));
        }
        if !self.steps.is_empty() && matches!(target, TargetPlan::Broker { tls: true, .. }) {
            return Err(wrong(
                "target.broker.tls",
                "true with steps".into(),
                "false: workers with habits trust the system's certificates alone",
            ));
        }
        Ok(())
    }

    /// The pause between two calls of a worker with habits; without steps it
    /// is the open plan's.
    fn think_of_steps(&self) -> Option<Span> {
        let closed = self.load.closed.as_ref()?;
        closed.think.filter(|_| !self.steps.is_empty())
    }

    /// Resolves how tokens are kept.
    fn keeping(
        &self,
        wrong: &impl Fn(&str, String, &str) -> ScenarioError,
    ) -> Result<Option<KeepingPlan>, ScenarioError> {
        let Some(cache) = self.load.cache else {
            return Ok(None);
        };
        if !(0.0..=1.0).contains(&cache.hits) {
            return Err(wrong("load.cache.hits", cache.hits.to_string(), "0 to 1"));
        }
        if matches!(self.signing.mode, Some(Mode::Preminted | Mode::Repeat)) {
            return Err(wrong(
                "signing.mode",
                "given with load.cache".into(),
                "inline or mint: nobody knows which calls will ask",
            ));
        }
        let of_broker = self.target.broker.as_ref().and_then(|b| b.token_life);
        let token_life = cache.token_life.or(of_broker).unwrap_or(TOKEN_LIFE);
        if token_life.0.is_zero() {
            return Err(wrong(
                "load.cache.token_life",
                token_life.to_string(),
                "more than nothing",
            ));
        }
        Ok(Some(KeepingPlan {
            hits: cache.hits,
            token_life,
            ages: cache.ages.unwrap_or_default(),
        }))
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
            cache: self.keeping(wrong)?,
            calibrate: load.calibrate.unwrap_or(CALIBRATE),
        })))
    }
}

fn target_plan(
    target: &Target,
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
            let tls = broker.as_ref().and_then(|broker| broker.tls);
            match users.unwrap_or(USERS) {
                0 => Err(wrong("target.broker.users", "0".into(), "at least 1")),
                users => Ok(TargetPlan::Broker {
                    users,
                    threads,
                    rate_limit: broker.as_ref().and_then(|broker| broker.rate_limit),
                    token_life,
                    tls: tls.unwrap_or(false),
                    behaviour,
                }),
            }
        }
    }
}

/// May a text be part of a folder's name?
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
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
mod tests;
