//! What does a normal client cost?
//!
//! `reqwest` as programs use it, with its own pool of connections, so that
//! their parts cannot be told; the trust, the proxy, the socket and the
//! time-outs are those of the other transports. What it cannot do alike: its
//! one time-out for connecting covers the search for the address and the TLS
//! handshake, and that for the first byte runs from the beginning, so that it
//! covers connecting and writing.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, timeout_at};

use super::answer::{MAX_BODY_BYTES, Reading, retry_after};
use super::connect::{ConnectorError, outcome_of as outcome_of_io};
use super::{Endpoint, Limits, Reply, Timings, Tls, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::oauth::profile::Delivery;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// A transport over `reqwest`.
#[derive(Clone)]
pub struct Reqwest {
    http: reqwest::Client,
    url: reqwest::Url,
    reading: Reading,
    limits: Limits,
}

impl Reqwest {
    /// Makes a client; clones of it share its connections.
    ///
    /// # Errors
    ///
    /// The client cannot be set up.
    pub fn new(
        endpoint: &Endpoint,
        tls: &Tls,
        limits: Limits,
        resolves_each_time: bool,
        is_kept: bool,
        reading: Reading,
    ) -> Result<Self, ConnectorError> {
        let url = endpoint.url();
        let url = reqwest::Url::parse(&url).map_err(|_| ConnectorError::Url(url))?;
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("mintmark/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(if endpoint.is_tls() {
                limits.connect + limits.tls
            } else {
                limits.connect
            })
            .tcp_nodelay(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(Names {
                limit: limits.dns,
                keeps: !resolves_each_time,
                found: Arc::default(),
            });
        if endpoint.is_tls() {
            client = client.tls_backend_preconfigured(tls.config(&[b"http/1.1"])?);
        }
        if !is_kept {
            client = client.pool_max_idle_per_host(0);
        }
        if let Some(path) = &endpoint.socket {
            client = client.unix_socket(PathBuf::clone(path));
        }
        if let Some(proxy) = &endpoint.proxy {
            let mut way = reqwest::Proxy::all(proxy.url()).map_err(ConnectorError::Client)?;
            if let Some(login) = &proxy.authorization {
                let mut value = HeaderValue::from_str(login).map_err(|_| ConnectorError::Proxy)?;
                value.set_sensitive(true);
                way = way.custom_http_auth(value);
            }
            client = client.proxy(way);
        }
        Ok(Self {
            http: client.build().map_err(ConnectorError::Client)?,
            url,
            reading,
            limits,
        })
    }

    fn request(&self, form: &Form, assertion: &[u8]) -> reqwest::RequestBuilder {
        let request = self
            .http
            .post(self.url.clone())
            .header(ACCEPT, "application/json");
        if form.delivery() == Delivery::Bearer {
            // A compact JWS is ASCII.
            return request.header(AUTHORIZATION, [b"Bearer ", assertion].concat());
        }
        let mut body = Vec::with_capacity(form.len_around() + assertion.len());
        form.begin(&mut body);
        body.extend_from_slice(assertion);
        form.end(&mut body);
        request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
    }

    async fn run(
        &mut self,
        request: reqwest::RequestBuilder,
        timings: &mut Timings,
    ) -> Result<(Outcome, Option<Duration>), Outcome> {
        let begun = Instant::now();
        let whole_at = begun + self.limits.whole;
        let first_by = begun + self.limits.first_byte;
        let mut response = by(first_by, whole_at, Stage::FirstByte, request.send())
            .await?
            .map_err(|error| outcome_of(&error))?;
        timings.first_byte_ns = Some(now_ns());
        let body_at = Instant::now() + self.limits.body;
        let status = response.status().as_u16();
        let later = response.headers().get(RETRY_AFTER).and_then(|value| {
            let date = response.headers().get(DATE).map(HeaderValue::as_bytes);
            retry_after(value.as_bytes(), date)
        });
        let mut body = zeroize::Zeroizing::new(Vec::new());
        while let Some(chunk) = by(body_at, whole_at, Stage::Body, response.chunk())
            .await?
            .map_err(|error| outcome_of(&error))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                return Err(Outcome::Malformed);
            }
        }
        Ok((self.reading.outcome(status, &body), later))
    }
}

impl Transport for Reqwest {
    async fn exchange(&mut self, form: &Form, assertion: &[u8]) -> Reply {
        let request = self.request(form, assertion);
        let mut timings = Timings {
            sent_ns: now_ns(),
            ..Timings::default()
        };
        let read = self.run(request, &mut timings).await;
        timings.done_ns = now_ns();
        let (outcome, retry_after) = match read {
            Ok(both) => both,
            Err(outcome) => (outcome, None),
        };
        Reply {
            outcome,
            retry_after,
            timings,
        }
    }
}

async fn by<T>(
    stage_at: Instant,
    whole_at: Instant,
    stage: Stage,
    work: impl Future<Output = T>,
) -> Result<T, Outcome> {
    let (at, outcome) = if stage_at <= whole_at {
        (stage_at, Outcome::TimedOutWhile(stage))
    } else {
        (whole_at, Outcome::TimedOut)
    };
    timeout_at(at, work).await.map_err(|_| outcome)
}

/// Finds addresses for `reqwest` as the other transports do.
struct Names {
    limit: Duration,
    /// Are addresses kept that were found once?
    keeps: bool,
    found: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (limit, keeps, found) = (self.limit, self.keeps, Arc::clone(&self.found));
        Box::pin(async move {
            let kept = |found: &Mutex<Vec<SocketAddr>>| {
                found
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .clone()
            };
            let mut addresses = if keeps { kept(&found) } else { Vec::new() };
            if addresses.is_empty() {
                let looking = tokio::net::lookup_host((name.as_str(), 0));
                addresses = tokio::time::timeout(limit, looking)
                    .await
                    .map_err(|_| NoName(Outcome::TimedOutWhile(Stage::Dns)))?
                    .map_err(|_| NoName(Outcome::Dns))?
                    .collect();
                found
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .clone_from(&addresses);
            }
            if addresses.is_empty() {
                return Err(NoName(Outcome::Dns).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A name without an address.
#[derive(Debug)]
struct NoName(Outcome);

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl Error for NoName {}

/// Finds out what went wrong below HTTP.
fn outcome_of(error: &reqwest::Error) -> Outcome {
    let stage = if error.is_connect() {
        Stage::Connect
    } else {
        Stage::Body
    };
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(NoName(outcome)) = cause.downcast_ref() {
            return outcome.clone();
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && (error.is_parse() || error.is_parse_too_large())
        {
            return Outcome::Malformed;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return outcome_of_io(error, stage);
        }
        source = cause.source();
        // The type is not public; its words are.
        if source.is_none() && cause.to_string().starts_with("tunnel error") {
            return Outcome::ProxyRefused;
        }
    }
    if error.is_timeout() {
        return Outcome::TimedOutWhile(stage);
    }
    // What is left is a connection that was closed or spoke no HTTP.
    match stage {
        Stage::Connect => Outcome::Connect,
        _ => Outcome::Reset,
    }
}
