//! How does Prometheus get at the figures?
//!
//! A small HTTP server on a thread of its own, for one path. It is not the
//! port that a broker is reached at, and listens on the loopback interface
//! unless it is told an address. Whoever can connect may read; there is nothing
//! secret to read.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::exposition::{MEDIA_TYPE, exposition};
use super::instrument::Instrument;

/// The one path.
const PATH: &str = "/metrics";

/// Connections at once; a monitoring system has one, a person another.
const PLACES: usize = 16;

/// How long a client may take to say what it wants, or to say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to listen: an address, or a port of the loopback interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(pub SocketAddr);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Ok(Self((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse()
            .map(Self)
            .map_err(|_| TargetError(text.to_owned()))
    }
}

/// A text is no address to listen on.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no address to listen on, expected a port such as 9464 or an address such as 127.0.0.1:9464"
)]
pub struct TargetError(String);

/// Figures cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The address cannot be listened on.
    #[error("metrics cannot be served at {address}, expected a free address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread or no runtime.
    #[error("cannot start the thread that serves metrics")]
    Thread(#[source] io::Error),
}

/// A server of figures, until it is dropped.
pub struct Scraped {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scraped {
    /// Starts to serve what `read` returns at each asking.
    ///
    /// # Errors
    ///
    /// The address is taken, or the system gives no thread.
    pub fn start(
        Target(address): Target,
        read: impl Fn() -> Vec<Instrument> + Send + Sync + 'static,
    ) -> Result<Self, ScrapeError> {
        let listen = |source| ScrapeError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ScrapeError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(listen)?
        };
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, Arc::new(read)) => {}
                        _ = ended => {}
                    }
                });
            })
            .map_err(ScrapeError::Thread)?;
        Ok(Self {
            address: bound,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Returns the URL to scrape.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }
}

impl Drop for Scraped {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn accept<R>(listener: TcpListener, read: Arc<R>)
where
    R: Fn() -> Vec<Instrument> + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely, which pass.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let read = Arc::clone(&read);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let response = answer(&request, &*read);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // How it ends is the client's affair.
            let _ = connection.await;
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    read: &impl Fn() -> Vec<Instrument>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Ok(text) = exposition(read()) else {
        return plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "nothing can be written\n",
        );
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_interface() {
        let target = |text: &str| text.parse::<Target>().map(|target| target.0.to_string());
        assert_eq!(target("9464").unwrap(), "127.0.0.1:9464");
        assert_eq!(target(":9464").unwrap(), "127.0.0.1:9464");
        assert_eq!(target("[::1]:0").unwrap(), "[::1]:0");
        for text in ["", "localhost", "70000", "1.2.3.4"] {
            let error = target(text).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:9464"), "{text}: {error}");
        }
    }
}
