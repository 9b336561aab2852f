//! What can be said about a broker before it starts?
//!
//! Plain data with defaults that suit an embedded run: a free port on the
//! loopback interface, one thread, the provider's behaviour.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::console::ConsoleConfig;
use super::directory::{Directory, DirectoryError};
use super::dress::Dress;
use super::mail::{MailConfig, MailError};
use super::orders::Orders;
use super::registration::{AppRegistration, UserRegistration};
use super::registry::RegistryError;
use super::replay;
use super::throttle::RateLimit;
use super::tls::{Certificate, TlsError};
use super::token;
use crate::clock::{Clock, SystemClock};
use crate::credential::Secret;

/// Everything about a broker.
#[derive(Clone)]
pub struct BrokerConfig {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// May `listen` be another address than a loopback one without TLS?
    /// Secrets and tokens then cross a network in the clear.
    pub allow_non_loopback: bool,
    /// The certificate with which TLS is spoken; plain HTTP/1.1 without one.
    pub tls: Option<Certificate>,
    /// The apps.
    pub apps: Vec<AppRegistration>,
    /// The users.
    pub users: Vec<UserRegistration>,
    /// Further apps and users, which are followed as they change. Edits of
    /// the running broker's registry last until the next change only.
    pub directory: Option<Arc<Directory>>,
    /// What opens the directory to requests below `/admin/v1`; without it
    /// they are refused.
    pub admin_secret: Option<Secret>,
    /// The developer console, where a person edits the directory.
    pub console: Option<ConsoleConfig>,
    /// How notices of the directory reach administrators; they stay in its
    /// outbox either way.
    pub mail: Option<MailConfig>,
    /// Audiences to accept besides the provider's and the broker's own
    /// address.
    pub audiences: Vec<String>,
    /// Another provider that it is dressed as, at an endpoint of its own.
    pub dress: Option<Dress>,
    /// How the broker behaves where servers differ.
    pub behaviour: Behaviour,
    /// How slow, full or broken the broker pretends to be.
    pub orders: Orders,
    /// What one client may take up.
    pub limits: Limits,
    /// How many threads serve requests. They do nothing else, so that their
    /// processor time is the broker's.
    pub threads: NonZeroUsize,
    /// Is the time of token requests taken, for whoever monitors the broker?
    pub takes_times: bool,
    /// The clock by which assertions and tokens are judged, and which the
    /// `Date` header shows.
    pub clock: Arc<dyn Clock>,
}

/// How the broker behaves where servers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Does a `jti` stay burnt if a later check refuses the request, with a
    /// 429 for instance? The provider does it so; without it, a client may
    /// repeat the same assertion.
    pub remembers_refused_jti: bool,
    /// Are access tokens JWTs that anybody can verify (RFC 9068)? Signing them
    /// costs the broker more than all of its other work.
    pub signed_tokens: bool,
    /// How long tokens live, in seconds; drawn for each.
    pub token_life_s: RangeInclusive<u64>,
    /// The rate above which the broker answers 429; none by default.
    pub rate_limit: Option<RateLimit>,
    /// How many unexpired `jti` are remembered before the broker answers
    /// 503; each costs about [`replay::ENTRY_BYTES`].
    pub replay_capacity: usize,
}

/// What one client may take up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at once; further ones wait unaccepted.
    pub max_connections: usize,
    /// The longest time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// The longest time from the connection, or from the last answer, to the
    /// end of the next request's head. It also closes idle connections.
    pub header_timeout: Duration,
    /// The longest time from the head to the end of the body.
    pub body_timeout: Duration,
    /// The longest time that an answer waits for the client to read.
    pub write_timeout: Duration,
    /// The most header fields of a request.
    pub max_headers: usize,
    /// The most bytes of a request's head.
    pub max_head_bytes: usize,
    /// The most bytes of a request's body.
    pub max_body_bytes: usize,
    /// The most requests at once on a connection of HTTP/2.
    pub max_streams: u32,
    /// The most requests of a connection of HTTP/2 that the client may have
    /// taken back before they were looked at (CVE-2023-44487).
    pub max_resets: usize,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is not a loopback one.
    #[error(
        "{0} is not a loopback address; secrets would cross the network in the clear, which has to be allowed explicitly"
    )]
    NotLoopback(SocketAddr),
    /// The console's address is not a loopback one.
    #[error("{0} is not a loopback address; the console serves no other")]
    ConsoleNotLoopback(SocketAddr),
    /// There is a console and nothing that it could edit.
    #[error("a console needs a directory to edit")]
    ConsoleWithoutDirectory,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No mail can be sent.
    #[error("notices cannot be sent by mail")]
    Mail(#[from] MailError),
    /// TLS cannot be spoken.
    #[error("the broker cannot speak TLS")]
    Tls(#[from] TlsError),
    /// The threads cannot be started.
    #[error("cannot start the broker's threads")]
    Threads(#[source] std::io::Error),
    /// An app or a user cannot be registered.
    #[error("an app or a user cannot be registered")]
    Registry(#[from] RegistryError),
    /// The directory cannot be used.
    #[error("the registry of apps cannot be served")]
    Directory(#[from] DirectoryError),
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    Random,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_non_loopback: false,
            tls: None,
            apps: Vec::new(),
            users: Vec::new(),
            directory: None,
            admin_secret: None,
            console: None,
            mail: None,
            audiences: Vec::new(),
            dress: None,
            behaviour: Behaviour::default(),
            orders: Orders::default(),
            limits: Limits::default(),
            threads: NonZeroUsize::MIN,
            takes_times: false,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("apps", &self.apps)
            .field("users", &self.users.len())
            .field("behaviour", &self.behaviour)
            .field("orders", &self.orders)
            .field("limits", &self.limits)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            remembers_refused_jti: true,
            signed_tokens: false,
            token_life_s: token::LIFE_S,
            rate_limit: None,
            replay_capacity: replay::DEFAULT_CAPACITY,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            max_headers: 32,
            max_head_bytes: 16 * 1024,
            max_body_bytes: 16 * 1024,
            max_streams: 128,
            max_resets: 20,
        }
    }
}
