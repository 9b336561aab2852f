//! How does one token request travel, and when did what happen to it?
//!
//! A [`Transport`] carries one request at a time over one connection and
//! tells the instants. There are three with the same outcomes: [`lean`], a
//! hand-written HTTP/1.1 exchange for the fast path; [`hyper`], for HTTP/2 and
//! odd servers; and [`reqwest`], as what a normal client costs. None of them
//! repeats a request: the endpoint may have burnt the assertion already.

pub mod answer;
pub mod connect;
mod deadline;
pub mod endpoint;
mod head;
pub mod hyper;
pub mod lean;
pub mod reqwest;
mod stamped;
pub mod tls;

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::answer::Reading;
pub use self::connect::{Connector, ConnectorError};
pub use self::endpoint::{Endpoint, Proxy};
pub use self::tls::Tls;
use crate::oauth::Form;
use crate::record::Outcome;

/// Carries requests over one connection, one after the other.
pub trait Transport {
    /// Sends `assertion` in `form` and reads the whole answer.
    fn exchange(&mut self, form: &Form, assertion: &[u8]) -> impl Future<Output = Reply>;
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it ended.
    pub outcome: Outcome,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// When what happened.
    pub timings: Timings,
}

impl Reply {
    /// Makes the reply to a request that was never sent, at `now_ns`.
    #[must_use]
    pub fn of_client(now_ns: u64) -> Self {
        Self {
            outcome: Outcome::Client,
            retry_after: None,
            timings: Timings {
                sent_ns: now_ns,
                done_ns: now_ns,
                ..Timings::default()
            },
        }
    }
}

/// When what happened to a request, on the clock of [`super::pacer::now_ns`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// When the request was handed to the kernel; the moment of giving up if
    /// there was no connection.
    pub sent_ns: u64,
    /// When the kernel had taken the whole request, if it did not do so at
    /// once.
    pub written_ns: Option<u64>,
    /// When the first bytes of the answer were read.
    pub first_byte_ns: Option<u64>,
    /// When the answer was complete, or the request had failed.
    pub done_ns: u64,
    /// How long the answer's last bytes lay in the kernel before they were
    /// read, where the kernel tells.
    pub receive_lag_ns: Option<u64>,
    /// What opening a connection took, if one was opened.
    pub opened: Option<Opened>,
}

impl Timings {
    /// Notes how long the last bytes had lain in the kernel. What says that
    /// they were there before the request is no lag, but a wall clock that was
    /// stepped.
    fn tell_lag(&mut self, lag_ns: Option<u64>) {
        let service = self.done_ns.saturating_sub(self.sent_ns);
        self.receive_lag_ns = lag_ns.filter(|lag| *lag <= service);
    }
}

/// What opening a connection took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Finding the address.
    pub dns_ns: u64,
    /// Connecting to it, and being let through by a proxy.
    pub connect_ns: u64,
    /// The TLS handshake, if there was one.
    pub tls_ns: Option<u64>,
    /// Was the TLS session one that was there before?
    pub is_resumed: bool,
}

/// The longest that each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Finding the address.
    pub dns: Duration,
    /// Connecting, and being let through by a proxy.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// Handing the request to the kernel.
    pub write: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// From the first byte to the last.
    pub body: Duration,
    /// All of them together.
    pub whole: Duration,
}

impl Limits {
    /// Makes limits that are all the same, but for that of the whole, which
    /// is that of all parts together.
    #[must_use]
    pub fn each(limit: Duration) -> Self {
        let each = Self {
            dns: limit,
            connect: limit,
            tls: limit,
            write: limit,
            first_byte: limit,
            body: limit,
            whole: Duration::ZERO,
        };
        Self {
            whole: each.of_all_parts(),
            ..each
        }
    }

    /// Returns what the parts may take together. Writing counts for the first
    /// byte.
    #[must_use]
    pub fn of_all_parts(&self) -> Duration {
        let parts = [self.dns, self.connect, self.tls, self.first_byte, self.body];
        parts
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// Which transport carries requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The hand-written HTTP/1.1 exchange.
    #[default]
    Lean,
    /// `hyper` with HTTP/1.1.
    Hyper,
    /// `hyper` with HTTP/2.
    #[serde(rename = "hyper-h2")]
    HyperH2,
    /// `reqwest`, as a normal client has it.
    Reqwest,
}

/// A transport of any kind, one for each request that is under way.
pub enum AnyTransport {
    /// See [`lean`].
    Lean(Box<lean::Lean>),
    /// See [`hyper`].
    Hyper(Box<hyper::Hyper>),
    /// See [`reqwest`].
    Reqwest(Box<reqwest::Reqwest>),
}

impl Transport for AnyTransport {
    async fn exchange(&mut self, form: &Form, assertion: &[u8]) -> Reply {
        match self {
            Self::Lean(lean) => lean.exchange(form, assertion).await,
            Self::Hyper(hyper) => hyper.exchange(form, assertion).await,
            Self::Reqwest(reqwest) => reqwest.exchange(form, assertion).await,
        }
    }
}
