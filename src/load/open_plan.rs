//! What can be said about a load of the open engine before it runs?

use std::sync::Arc;
use std::time::Duration;

use super::arrival::Arrival;
use super::assertions::Mode;
use super::cached::CachePlan;
use super::pace::Pace;
use super::retry::Retries;
use super::share::Share;
use super::transport::{Kind, Limits, Proxy, Tls};

/// When requests start.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// On a schedule, whatever happens.
    Open(Arrival),
    /// When a connection is free, after a pause.
    Closed {
        /// The pause between an answer and the next request.
        think: Duration,
    },
}

/// A load.
#[derive(Clone, Debug)]
pub struct OpenPlan {
    /// When requests start.
    pub model: Model,
    /// The starts that this machine makes.
    pub share: Share,
    /// When the schedule begins, in nanoseconds of the monotonic clock; as
    /// soon as all is prepared if not given.
    pub begins_ns: Option<u64>,
    /// When this machine joins a schedule that has begun, in nanoseconds of the
    /// same clock: nothing that is due before is its own.
    pub joins_ns: Option<u64>,
    /// Changes of the rate while the load goes on, if there may be any.
    pub pace: Option<Arc<Pace>>,
    /// Threads that send.
    pub threads: usize,
    /// Connections, over all threads.
    pub connections: usize,
    /// Requests at once on a connection; more than one only with HTTP/2.
    pub streams: usize,
    /// Does a connection serve more than one request?
    pub is_kept: bool,
    /// The transport.
    pub transport: Kind,
    /// How TLS is spoken.
    pub tls: Tls,
    /// Is the host's address looked up for each connection?
    pub resolves_each_time: bool,
    /// A Unix socket in place of the URL's host.
    pub socket: Option<std::path::PathBuf>,
    /// A proxy between here and the endpoint.
    pub proxy: Option<Proxy>,
    /// The time-outs of the parts of a request.
    pub limits: Limits,
    /// The member of an answer that holds the token.
    pub token_field: String,
    /// Time before requests are counted.
    pub warm_up: Duration,
    /// Time during which requests that are due are counted.
    pub measure: Duration,
    /// The longest wait for the last requests.
    pub drain: Duration,
    /// The length of a slice.
    pub slice: Duration,
    /// Ends the load after so many counted requests.
    pub count: Option<u64>,
    /// Gives requests up that have been due for so long and are not sent.
    pub drop_after: Option<Duration>,
    /// Where assertions come from.
    pub signing: Mode,
    /// Threads that sign ahead.
    pub signing_threads: usize,
    /// When a failed request is repeated.
    pub retries: Option<Retries>,
    /// How tokens are kept; every call asks the endpoint if they are not.
    pub cache: Option<CachePlan>,
}

impl OpenPlan {
    /// Makes a plan of a model with the defaults of everything else: one
    /// thread, 64 connections that are kept, the lean transport, a second of
    /// warm-up and ten of measuring.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self {
            model,
            share: Share::whole(),
            begins_ns: None,
            joins_ns: None,
            pace: None,
            threads: 1,
            connections: 64,
            streams: 1,
            is_kept: true,
            transport: Kind::Lean,
            tls: Tls::default(),
            resolves_each_time: false,
            socket: None,
            proxy: None,
            limits: Limits::each(Duration::from_secs(10)),
            token_field: "access_token".to_owned(),
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            slice: Duration::from_secs(1),
            count: None,
            drop_after: None,
            signing: Mode::Mint,
            signing_threads: 1,
            retries: None,
            cache: None,
        }
    }
}
