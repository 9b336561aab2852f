//! How is a broker started, looked at and ended?
//!
//! A broker runs on a runtime of its own, whose threads serve nothing else:
//! what they use of the processor is the broker's share, however busy the
//! rest of the process is. The handle may be used from any thread, inside of
//! another runtime or outside.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::admin::Admin;
use super::config::{BrokerConfig, BrokerError};
use super::connection::Protocols;
use super::console::Console;
use super::directory::{Directory, DirectoryError};
use super::feed::Feed;
use super::follow::Follower;
use super::grant::Grants;
use super::mail::Postman;
use super::order_sheet::{OrderError, OrderSheet};
use super::orders::Orders;
use super::registry::Registry;
use super::routes::Endpoint;
use super::server;
use super::skew::SkewedClock;
use super::stats::Stats;
use super::tls::Identity;
use super::traffic::{Reading, Traffic};
use crate::error::Chain;
use crate::oauth::{BOX_AUDIENCE, TOKEN_PATH};

/// How many connections may wait to be accepted; the system's own bound may
/// be lower. A load run opens hundreds within a millisecond.
const BACKLOG: u32 = 4096;

/// How long the threads get to end after their work was dropped. They do
/// nothing that takes longer than one signature check.
const LAST_CALL: Duration = Duration::from_secs(5);

/// A running token endpoint. Dropping it ends it as [`Broker::kill`] does.
pub struct Broker {
    running: Option<Running>,
    address: SocketAddr,
    url: String,
    certificate_pem: Option<String>,
    threads: Vec<i32>,
    endpoint: Arc<Endpoint>,
    console: Option<Console>,
    follower: Option<Follower>,
    _postman: Option<Postman>,
}

struct Running {
    runtime: Runtime,
    stopping: watch::Sender<bool>,
    /// In a mutex only so that a broker can be shared by reference.
    drained: Mutex<mpsc::Receiver<()>>,
}

impl Broker {
    /// Starts a broker and returns once it accepts connections.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, a registration cannot be used, or
    /// the system gives no threads or random bytes.
    pub fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let address = config.listen;
        Self::serve(config).inspect_err(|error| {
            tracing::info!(%address, error = %Chain(error), "a broker's configuration is refused");
        })
    }

    fn serve(config: BrokerConfig) -> Result<Self, BrokerError> {
        let is_exposed = config.tls.is_none() && !config.listen.ip().is_loopback();
        if is_exposed && !config.allow_non_loopback {
            return Err(BrokerError::NotLoopback(config.listen));
        }
        let registry = Arc::new(Registry::new(&config.apps, &config.users)?);
        let (apps, users) = (config.apps, config.users);
        let follower = config
            .directory
            .map(|directory| Follower::start(directory, Arc::clone(&registry), apps, users))
            .transpose()?;
        let postman = match (&follower, &config.mail) {
            (Some(follower), Some(mail)) => {
                let directory = Arc::clone(follower.followed().directory());
                Some(Postman::start(directory, mail)?)
            }
            _ => None,
        };
        let identity = config
            .tls
            .map(|certificate| Identity::of(&certificate, config.listen))
            .transpose()?;
        let (runtime, threads) =
            start_threads(config.threads.get()).map_err(BrokerError::Threads)?;
        let listen_error = |source| BrokerError::Listen {
            address: config.listen,
            source,
        };
        let listener = {
            let _inside = runtime.enter();
            listen(config.listen).map_err(listen_error)?
        };
        let address = listener.local_addr().map_err(listen_error)?;
        let scheme = if identity.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let mut audiences = vec![BOX_AUDIENCE.to_owned(), format!("{url}{TOKEN_PATH}")];
        audiences.extend(config.audiences);
        let clock = Arc::new(SkewedClock::new(config.clock, config.orders.skew_s));
        let grants = Grants::new(
            registry,
            url.clone(),
            audiences,
            &config.behaviour,
            Arc::clone(&clock) as _,
        )
        .map_err(|_| BrokerError::Random)?;
        let admin = match (&follower, &config.admin_secret) {
            (Some(follower), Some(secret)) => {
                Some(Admin::new(Arc::clone(follower.followed()), secret.expose()))
            }
            _ => None,
        };
        let feed = config.console.as_ref().map(|_| Arc::new(Feed::default()));
        let mut endpoint = Endpoint::new(
            grants,
            config.limits,
            config.orders,
            Arc::clone(&clock),
            admin,
            feed.clone(),
        );
        endpoint.dress = config.dress;
        endpoint.traffic = Traffic::new(config.takes_times);
        let endpoint = Arc::new(endpoint);
        let console = match (&config.console, &follower, feed) {
            (Some(console), Some(follower), Some(feed)) => {
                let followed = Arc::clone(follower.followed());
                let endpoint = Arc::clone(&endpoint);
                let clock = Arc::clone(&clock) as _;
                Some(Console::start(console, followed, endpoint, feed, clock)?)
            }
            (Some(_), None, _) => return Err(BrokerError::ConsoleWithoutDirectory),
            _ => None,
        };
        let (stopping, is_stopping) = watch::channel(false);
        let (drain, drained) = mpsc::channel();
        let (acceptor, certificate_pem) = identity
            .map(|identity| (identity.acceptor, identity.chain_pem))
            .unzip();
        let protocols = Protocols::new(&endpoint, acceptor);
        let serving = server::serve(listener, protocols, Arc::clone(&endpoint), is_stopping);
        tracing::info!(url, threads = threads.len(), "a broker listens");
        runtime.spawn(async move {
            serving.await;
            // Nobody waits if the broker was killed meanwhile.
            let _ = drain.send(());
        });
        Ok(Self {
            running: Some(Running {
                runtime,
                stopping,
                drained: Mutex::new(drained),
            }),
            address,
            url,
            certificate_pem,
            threads,
            endpoint,
            console,
            follower,
            _postman: postman,
        })
    }

    /// Returns the address that the broker listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the certificate that clients are shown, and what it was issued
    /// by, in PEM; a client has to trust it if it was made at the start.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate_pem.as_deref()
    }

    /// Returns the URL of the token endpoint of the provider that the broker is
    /// dressed as, if it is.
    #[must_use]
    pub fn dressed_url(&self) -> Option<String> {
        let dress = self.endpoint.dress.as_ref()?;
        Some(format!("{}{}", self.url, dress.path()))
    }

    /// Returns the URL of the token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}{TOKEN_PATH}", self.url)
    }

    /// Returns the address of the console, if there is one.
    #[must_use]
    pub fn console_url(&self) -> Option<String> {
        let console = self.console.as_ref()?;
        Some(format!("http://{}", console.address()))
    }

    /// Reads the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.endpoint.counters.read()
    }

    /// Returns what reads the counters for monitoring, from any thread and for
    /// as long as it likes.
    pub fn watch(&self) -> impl Fn() -> Reading + Send + Sync + 'static {
        let endpoint = Arc::clone(&self.endpoint);
        move || {
            let entries = endpoint.grants.replay.len();
            Reading::of(&endpoint.traffic, entries, endpoint.counters.read())
        }
    }

    /// Returns the kernel's IDs of the threads that serve requests, under
    /// which `/proc/self/task` shows what they use.
    #[must_use]
    pub fn worker_threads(&self) -> &[i32] {
        &self.threads
    }

    /// Returns the registry, which may be edited while the broker runs.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.endpoint.grants.registry
    }

    /// Tells the broker to be slow, full or broken from now on.
    pub fn order(&self, orders: Orders) {
        self.endpoint.order(orders);
    }

    /// Tells the broker all that a sheet says, and nothing else, from now on.
    ///
    /// # Errors
    ///
    /// The sheet cannot be followed; what was ordered before still is.
    pub fn order_all(&self, sheet: &OrderSheet) -> Result<(), OrderError> {
        self.endpoint.order_all(sheet)
    }

    /// Returns what the broker is told to do.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.endpoint.foreman.orders()
    }

    /// Returns the directory, if the broker has one.
    #[must_use]
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        let follower = self.follower.as_ref()?;
        Some(follower.followed().directory())
    }

    /// Serves what the directory holds now, and says whether it had changed.
    ///
    /// The broker does so by itself within a fifth of a second.
    ///
    /// # Errors
    ///
    /// The directory failed; what was served before still is.
    pub fn refresh(&self) -> Result<bool, DirectoryError> {
        self.follower
            .as_ref()
            .map_or(Ok(false), |follower| follower.followed().refresh())
    }

    /// Stops accepting, lets requests under way end, closes all connections,
    /// and returns the final counters.
    ///
    /// What has not ended after `deadline` is dropped. Blocks meanwhile.
    pub fn stop(mut self, deadline: Duration) -> Stats {
        if let Some(running) = self.running.take() {
            running.stopping.send_replace(true);
            // A timeout and a drained server both lead to the same end.
            let _ = running.drained.into_inner().recv_timeout(deadline);
            end(running.runtime);
        }
        let stats = self.stats();
        let refused = stats.refused_total();
        tracing::info!(
            url = self.url,
            granted = stats.granted,
            refused,
            "a broker has stopped"
        );
        stats
    }

    /// Drops the listener and all connections at once, requests under way
    /// included, as a crash would, and returns the final counters.
    pub fn kill(mut self) -> Stats {
        if let Some(running) = self.running.take() {
            end(running.runtime);
        }
        self.stats()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            end(running.runtime);
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("address", &self.address)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Starts a runtime and waits until all of its threads have told their IDs.
fn start_threads(count: usize) -> io::Result<(Runtime, Vec<i32>)> {
    let (tell, told) = mpsc::channel();
    let named = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name_fn(move || format!("broker-{}", named.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(move || {
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            // Later threads, if there are any, tell nobody.
            let _ = tell.send(id);
        })
        .enable_all()
        .build()?;
    let threads = (0..count)
        .map(|_| told.recv_timeout(LAST_CALL).map_err(io::Error::other))
        .collect::<Result<_, _>>();
    match threads {
        Ok(threads) => Ok((runtime, threads)),
        Err(error) => {
            end(runtime);
            Err(error)
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A broker that was killed can come back on the same port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Drops everything that runs and waits until the threads have ended.
///
/// A runtime may not be waited for inside of another, so a thread does it.
fn end(runtime: Runtime) {
    let ending = thread::spawn(move || runtime.shutdown_timeout(LAST_CALL));
    // It has nothing that could panic, and there would be nothing to do.
    let _ = ending.join();
}
