//! How does a person set up an app?
//!
//! The developer console: pages that are rendered here and need no script,
//! over the same [`Directory`] as the command line and the JSON API. Pages
//! hold no rules about apps; what may be done is decided by the directory,
//! and its refusals are shown beside the field they are about.
//!
//! | module | answers |
//! |---|---|
//! | `listener` | how do connections come in? |
//! | `gate` | may this request come in at all, and what does every answer carry? |
//! | `session` | who sits in front, and in which role? |
//! | `sign_in`, `apps`, `settings`, `keys`, `review`, `people`, `watch` | what happens on which page? |
//! | `view`, `words` | what stands in the pages, and in which words? |
//!
//! The console listens on a loopback address of its own and runs on threads
//! of its own, so that a person who looks on takes nothing from the threads
//! that serve tokens. Invariant: no page holds a secret; files that do are
//! downloaded once.

mod apps;
mod gate;
mod keys;
mod listener;
mod people;
mod review;
mod session;
mod settings;
mod sign_in;
mod view;
mod watch;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

use self::gate::{Fault, Visit};
use self::session::{Guesses, Orphan, Role, Sessions};
use self::view::Chrome;
use super::config::BrokerError;
use super::directory::{Directory, DirectoryError, Status};
use super::feed::Feed;
use super::follow::Followed;
use super::registry::sha256;
use super::routes::Endpoint;
use crate::clock::Clock;
use crate::credential::Secret;

/// How often expired sessions are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How long work that has begun may take to end with the console. The
/// longest is the generation of a key pair.
const LAST_CALL: Duration = Duration::from_secs(10);

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Where the console is, and what opens it.
#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    /// The loopback address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What a developer signs in with.
    pub developer_secret: Secret,
    /// What gives the rights of an administrator.
    pub admin_secret: Secret,
}

/// A running console. Ends on drop.
pub(super) struct Console {
    address: SocketAddr,
    stop: signal::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What all pages share.
struct Office {
    followed: Arc<Followed>,
    endpoint: Arc<Endpoint>,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    guesses: Guesses,
    developer_sha256: [u8; 32],
    admin_sha256: [u8; 32],
    /// The names under which the console may be called.
    hosts: Vec<String>,
    port: u16,
}

impl Console {
    /// Starts a console and returns once it accepts connections.
    pub(super) fn start(
        config: &ConsoleConfig,
        followed: Arc<Followed>,
        endpoint: Arc<Endpoint>,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BrokerError> {
        if !config.listen.ip().is_loopback() {
            return Err(BrokerError::ConsoleNotLoopback(config.listen));
        }
        let listen_error = |source| BrokerError::Listen {
            address: config.listen,
            source,
        };
        let listener = std::net::TcpListener::bind(config.listen).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let office = Arc::new(Office {
            followed,
            endpoint,
            feed,
            clock,
            sessions: Sessions::new().map_err(|_| BrokerError::Random)?,
            guesses: Guesses::default(),
            developer_sha256: sha256(config.developer_secret.expose().as_bytes()),
            admin_sha256: sha256(config.admin_secret.expose().as_bytes()),
            hosts: vec![address.to_string(), format!("localhost:{}", address.port())],
            port: address.port(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .thread_name("console")
            .enable_all()
            .build()
            .map_err(BrokerError::Threads)?;
        let (stop, stopping) = signal::channel(false);
        let serving = async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            let router = router(Arc::clone(&office));
            tokio::select! {
                () = listener::serve(&listener, router) => {}
                () = sweep(&office) => {}
                () = stopped(stopping) => {}
            }
        };
        let thread = thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || {
                runtime.block_on(serving);
                runtime.shutdown_timeout(LAST_CALL);
            })
            .map_err(BrokerError::Threads)?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // There would be nothing to do about a panic.
            let _ = thread.join();
        }
    }
}

/// Returns when the console is to end.
async fn stopped(mut stopping: signal::Receiver<bool>) {
    // A sender that is gone ends it as well.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

/// Discards what has expired, for as long as it is polled.
async fn sweep(office: &Arc<Office>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let expired = office.sessions.sweep(office.clock.monotonic());
        office.remove_orphans(expired).await;
    }
}

fn router(office: Arc<Office>) -> Router {
    let assets = Router::new()
        .route(
            "/console.css",
            get(async || asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/console.js",
            get(async || asset("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)));
    Router::new()
        .merge(sign_in::routes())
        .merge(apps::routes())
        .merge(settings::routes())
        .merge(keys::routes())
        .merge(review::routes())
        .merge(people::routes())
        .merge(watch::routes())
        .nest("/assets", assets)
        .fallback(async || Fault::NotFound)
        .method_not_allowed_fallback(async || Fault::NotFound)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&office),
            gate::pass,
        ))
        .with_state(office)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Office {
    /// Asks or changes the directory on a thread for blocking work. A change
    /// is served to token requests before this returns.
    async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Directory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, Fault> {
        let followed = Arc::clone(&self.followed);
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = act(followed.directory())?;
            followed.refresh()?;
            Ok(outcome)
        });
        outcome
            .await
            .map_err(|_| Fault::Failed)?
            .map_err(Fault::Directory)
    }

    /// Gathers what stands around the content of a page. `here` is the part
    /// of the console that the page belongs to.
    async fn chrome(&self, visit: &Visit, here: &'static str) -> Result<Chrome, Fault> {
        let waiting = match visit.role {
            Some(Role::Administrator) => {
                let apps = self.ask(Directory::apps).await?;
                apps.iter().filter(|app| is_waiting(app.status)).count()
            }
            _ => 0,
        };
        Ok(Chrome {
            role: visit.role,
            csrf: visit.csrf.clone(),
            here,
            flash: self.sessions.heard(&visit.session),
            waiting,
        })
    }

    /// Removes keys whose private half nobody has.
    async fn remove_orphans(&self, orphans: Vec<Orphan>) {
        for Orphan { client_id, kid } in orphans {
            // It may have been removed by hand meanwhile.
            let _ = self
                .ask(move |directory| directory.remove_key(&client_id, &kid))
                .await;
        }
    }
}

/// Is it for an administrator to decide?
fn is_waiting(status: Status) -> bool {
    matches!(status, Status::Submitted | Status::ReauthorizationSubmitted)
}

/// Sends the browser to another page of the console.
fn see_other(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response
}
