//! How is a load at a given rate written down, and what is meant by it?
//!
//! Everything of a scenario that belongs to the open model, as typed and as
//! resolved. A rate is given in exactly one way: `per_s`, `ramp`, `steps`,
//! `spike` or `trace`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ScenarioError;
use crate::load::arrival::{Arrival, Rate, Spacing};
use crate::load::assertions::Mode;
use crate::load::open::{Model, OpenPlan, Retries};
use crate::load::transport::{Kind, Limits, Proxy, Tls};
use crate::load::{Ages, CachePlan};
use crate::units::Span;

/// When requests start, whatever happens to those before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// A rate that stays the same, in requests per second.
    pub per_s: Option<f64>,
    /// A rate that goes from one value to another.
    pub ramp: Option<Ramp>,
    /// Rates of equally long steps, in requests per second.
    pub steps: Option<Vec<f64>>,
    /// A rate with a spike.
    pub spike: Option<Spike>,
    /// A file of start times: seconds from the beginning, one a line.
    pub trace: Option<PathBuf>,
    /// How starts are drawn: `poisson`, as independent clients, or `even`.
    #[schemars(with = "Option<String>")]
    pub arrival: Option<Spacing>,
    /// The seed of Poisson starts.
    pub seed: Option<u64>,
}

/// A rate that changes in a straight line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Requests per second at the beginning.
    pub from: f64,
    /// Requests per second at the end.
    pub to: f64,
}

/// A rate with a spike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spike {
    /// Requests per second before and after.
    pub base: f64,
    /// Requests per second meanwhile.
    pub peak: f64,
    /// When it begins.
    #[schemars(with = "String")]
    pub at: Span,
    /// How long it lasts.
    #[schemars(with = "String")]
    pub length: Span,
}

/// How requests travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connecting {
    /// `lean`, `hyper`, `hyper-h2` or `reqwest`.
    #[schemars(with = "Option<String>")]
    pub transport: Option<Kind>,
    /// Requests at once on a connection of HTTP/2.
    pub streams: Option<usize>,
    /// Is a connection kept for further requests?
    pub keep_alive: Option<bool>,
    /// Is the address looked up for each connection?
    pub resolve_each_time: Option<bool>,
    /// A Unix socket to connect to.
    pub socket: Option<PathBuf>,
    /// A proxy, as `http://host:port`.
    pub proxy: Option<String>,
    /// The environment variable that holds the proxy's `name:password`.
    pub proxy_login_env: Option<String>,
    /// Certificates to trust, in a PEM file.
    pub trusted: Option<PathBuf>,
    /// The client's certificate chain and key, in a PEM file.
    pub client: Option<PathBuf>,
    /// Are TLS sessions resumed?
    pub resumption: Option<bool>,
    /// The time-out for finding the address.
    #[schemars(with = "Option<String>")]
    pub dns_timeout: Option<Span>,
    /// The time-out for connecting.
    #[schemars(with = "Option<String>")]
    pub connect_timeout: Option<Span>,
    /// The time-out for the TLS handshake.
    #[schemars(with = "Option<String>")]
    pub tls_timeout: Option<Span>,
    /// The time-out for handing the request to the system.
    #[schemars(with = "Option<String>")]
    pub write_timeout: Option<Span>,
    /// The time-out for the first byte of the answer.
    #[schemars(with = "Option<String>")]
    pub first_byte_timeout: Option<Span>,
    /// The time-out for the rest of the answer.
    #[schemars(with = "Option<String>")]
    pub body_timeout: Option<Span>,
    /// The time-out for all of it together; none, unless given.
    #[schemars(with = "Option<String>")]
    pub whole_timeout: Option<Span>,
}

/// When a failed request is repeated; never, unless this is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    #[schemars(with = "Option<String>")]
    pub first_pause: Option<Span>,
    /// The longest pause.
    #[schemars(with = "Option<String>")]
    pub longest_pause: Option<Span>,
    /// Is the server's `Retry-After` honoured?
    pub honour_retry_after: Option<bool>,
}

/// How tokens are kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keeping {
    /// The share of calls that are to find a token, 0 to 1. The others forget
    /// theirs and ask the endpoint.
    pub hits: f64,
    /// How long a token is kept; as long as those of the embedded broker, or
    /// an hour, if not given.
    #[schemars(with = "Option<String>")]
    pub token_life: Option<Span>,
    /// How old tokens are at the beginning: `spread` or `equal`.
    #[schemars(with = "Option<String>")]
    pub ages: Option<Ages>,
}

/// How tokens are kept, as resolved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KeepingPlan {
    /// The share of calls that are to find a token.
    pub hits: f64,
    /// How long a token is kept.
    pub token_life: Span,
    /// How old tokens are at the beginning.
    pub ages: Ages,
}

/// A load at a given rate, with nothing left open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenLoadPlan {
    /// The rate over the measured phase, or the number of recorded starts.
    pub rate: RatePlan,
    /// How starts are drawn.
    pub arrival: Spacing,
    /// The seed of starts and subjects.
    pub seed: u64,
    /// Connections.
    pub connections: usize,
    /// Threads that send.
    pub threads: usize,
    /// How requests travel.
    pub connecting: Connecting,
    /// Where assertions come from.
    pub signing: Mode,
    /// Threads that sign ahead.
    pub signing_threads: usize,
    /// Gives requests up that are this late.
    pub drop_after: Option<Span>,
    /// Ends the load after so many requests.
    pub count: Option<u64>,
    /// When a failed request is repeated.
    pub retry: Option<Retry>,
    /// The exponent of Zipf's law over subjects.
    pub zipf: Option<f64>,
    /// How tokens are kept, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<KeepingPlan>,
    /// Time for the calibration against a null target.
    pub calibrate: Span,
}

/// A rate, as resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RatePlan {
    /// Linear piece by piece.
    Pieces(Rate),
    /// Recorded starts.
    Trace(PathBuf),
    /// No rate: each connection sends again after a pause.
    Closed {
        /// The pause.
        think: Span,
    },
}

impl Open {
    /// Resolves the rate over a measured phase of `measure`.
    ///
    /// # Errors
    ///
    /// The rate is given in no way or in several, or is no rate.
    pub(super) fn rate(
        &self,
        measure: Duration,
        wrong: &impl Fn(&str, String, &str) -> ScenarioError,
    ) -> Result<RatePlan, ScenarioError> {
        const WAYS: &str = "exactly one of per_s, ramp, steps, spike and trace";
        let given = [
            self.per_s.is_some(),
            self.ramp.is_some(),
            self.steps.is_some(),
            self.spike.is_some(),
            self.trace.is_some(),
        ];
        let count = given.iter().filter(|is_given| **is_given).count();
        if count != 1 {
            return Err(wrong("load.open", format!("given in {count} ways"), WAYS));
        }
        let is_rate = |field: &str, rate: f64| {
            if rate.is_finite() && (0.0..=10_000_000.0).contains(&rate) {
                Ok(rate)
            } else {
                Err(wrong(
                    field,
                    rate.to_string(),
                    "0 to 10000000 requests per second",
                ))
            }
        };
        let rate = if let Some(per_s) = self.per_s {
            Rate::constant(is_rate("load.open.per_s", per_s)?, measure)
        } else if let Some(ramp) = self.ramp {
            Rate::ramp(
                is_rate("load.open.ramp.from", ramp.from)?,
                is_rate("load.open.ramp.to", ramp.to)?,
                measure,
            )
        } else if let Some(steps) = &self.steps {
            if steps.is_empty() {
                return Err(wrong(
                    "load.open.steps",
                    "empty".into(),
                    "at least one rate",
                ));
            }
            for step in steps {
                is_rate("load.open.steps", *step)?;
            }
            Rate::steps(steps, measure)
        } else if let Some(spike) = self.spike {
            if spike.at.0 + spike.length.0 > measure {
                return Err(wrong(
                    "load.open.spike",
                    format!("over at {}", Span(spike.at.0 + spike.length.0)),
                    "a spike within load.measure",
                ));
            }
            Rate::spike(
                is_rate("load.open.spike.base", spike.base)?,
                is_rate("load.open.spike.peak", spike.peak)?,
                spike.at.0,
                spike.length.0,
                measure,
            )
        } else {
            return Ok(RatePlan::Trace(self.trace.clone().unwrap_or_default()));
        };
        if rate.peak_per_s() <= 0.0 {
            return Err(wrong("load.open", "a rate of 0".into(), "some requests"));
        }
        Ok(RatePlan::Pieces(rate))
    }
}

impl Connecting {
    fn limits(&self, each: Duration) -> Limits {
        let limit = |own: Option<Span>| own.map_or(each, |span| span.0);
        let limits = Limits {
            dns: limit(self.dns_timeout),
            connect: limit(self.connect_timeout),
            tls: limit(self.tls_timeout),
            write: limit(self.write_timeout),
            first_byte: limit(self.first_byte_timeout),
            body: limit(self.body_timeout),
            whole: Duration::MAX,
        };
        Limits {
            whole: self
                .whole_timeout
                .map_or_else(|| limits.of_all_parts(), |span| span.0),
            ..limits
        }
    }

    fn proxy(&self) -> Result<Option<Proxy>, ScenarioError> {
        let Some(url) = &self.proxy else {
            return Ok(None);
        };
        let proxy = Proxy::of(url).map_err(ScenarioError::Proxy)?;
        let Some(name) = &self.proxy_login_env else {
            return Ok(Some(proxy));
        };
        let login = env::var(name).map(Zeroizing::new);
        let login = login.map_err(|_| ScenarioError::NoLogin { name: name.clone() })?;
        Ok(Some(proxy.with_login(&login)))
    }
}

impl OpenLoadPlan {
    /// Makes the engine's plan of it.
    ///
    /// # Errors
    ///
    /// A file that it names cannot be read.
    pub fn engine(&self, load: &super::LoadPlan) -> Result<OpenPlan, ScenarioError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| ScenarioError::Read {
                path: path.clone(),
                source,
            })
        };
        let model = match &self.rate {
            RatePlan::Pieces(rate) => Model::Open(Arrival::Drawn {
                rate: rate.clone().after_warm_up(load.warm_up.0),
                spacing: self.arrival,
                seed: self.seed,
            }),
            RatePlan::Trace(path) => Model::Open(Arrival::Trace(trace(path, &read(path)?)?)),
            RatePlan::Closed { think } => Model::Closed { think: think.0 },
        };
        let connecting = &self.connecting;
        Ok(OpenPlan {
            threads: self.threads,
            connections: self.connections,
            streams: connecting.streams.unwrap_or(1),
            is_kept: connecting.keep_alive.unwrap_or(true),
            transport: connecting.transport.unwrap_or_default(),
            tls: Tls {
                trusted_pem: connecting.trusted.as_ref().map(read).transpose()?,
                client_pem: connecting
                    .client
                    .as_ref()
                    .map(read)
                    .transpose()?
                    .map(Into::into),
                is_full_handshake_only: !connecting.resumption.unwrap_or(true),
            },
            resolves_each_time: connecting.resolve_each_time.unwrap_or(false),
            socket: connecting.socket.clone(),
            proxy: connecting.proxy()?,
            limits: connecting.limits(load.timeout.0),
            warm_up: load.warm_up.0,
            measure: load.measure.0,
            drain: load.drain.0,
            slice: load.slice.0,
            count: self.count,
            drop_after: self.drop_after.map(|span| span.0),
            signing: self.signing,
            signing_threads: self.signing_threads,
            retries: self.retry.as_ref().map(|retry| Retries {
                attempts: retry.attempts,
                first_pause: retry
                    .first_pause
                    .map_or(Duration::from_millis(250), |s| s.0),
                longest_pause: retry.longest_pause.map_or(Duration::from_secs(60), |s| s.0),
                honours_retry_after: retry.honour_retry_after.unwrap_or(true),
            }),
            cache: self.cache.map(|cache| CachePlan {
                hits: cache.hits,
                token_life: cache.token_life.0,
                ages: cache.ages,
                seed: self.seed,
            }),
            ..OpenPlan::new(model)
        })
    }
}

/// Reads a trace: seconds from the beginning, one a line, in any order.
fn trace(path: &std::path::Path, bytes: &[u8]) -> Result<Arc<[u64]>, ScenarioError> {
    let text = String::from_utf8_lossy(bytes);
    let mut times = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let seconds: f64 = line
            .parse()
            .ok()
            .filter(|seconds: &f64| (0.0..=1e7).contains(seconds))
            .ok_or_else(|| ScenarioError::Trace {
                path: path.to_owned(),
                line: number + 1,
                found: line.chars().take(40).collect(),
            })?;
        times.push(u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(times.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_with_its_comments_and_its_mistakes_by_line() {
        let path = std::path::Path::new("t.txt");
        let times = trace(path, b"# two\n0.5\n\n0.25\n").unwrap();
        assert_eq!(*times, [250_000_000, 500_000_000]);
        let error = trace(path, b"1\nsoon\n").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("soon"),
            "{error}"
        );
    }
}
