//! How do connections come in, and how do they end?
//!
//! An accept loop of its own, because the limits that keep a slow or hostile
//! client from holding resources are set per connection, below the router.
//! What a request means is not decided here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::reset::Resettable;
use super::routes::{self, Endpoint, Reset};
use super::stats::add;
use super::wire::Wire;

/// How long the loop waits after the system refused a connection, because
/// all file descriptors are in use for instance.
const BACK_OFF: Duration = Duration::from_millis(50);

/// hyper's own lower bound of a connection's buffer.
const MIN_BUFFER: usize = 8192;

/// Accepts connections until `stopping` turns true, then closes the listener
/// and waits until the last connection has ended.
pub(super) async fn serve(
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    mut stopping: watch::Receiver<bool>,
) {
    let max = u32::try_from(endpoint.limits.max_connections)
        .unwrap_or(u32::MAX)
        .max(1);
    let places = Arc::new(Semaphore::new(max as usize));
    let server = Server::new(&endpoint);
    let of_connections = stopping.clone();
    tokio::select! {
        () = accept(&listener, &server, &places, &of_connections) => {}
        _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
    }
    drop(listener);
    // All places are free again once every connection has ended.
    let _ = places.acquire_many(max).await;
}

async fn accept(
    listener: &TcpListener,
    server: &Server,
    places: &Arc<Semaphore>,
    stopping: &watch::Receiver<bool>,
) {
    let counters = &server.endpoint.counters;
    while let Ok(place) = Arc::clone(places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                add(&counters.accepted);
                let connection = server.clone().serve(stream, stopping.clone(), place);
                tokio::spawn(connection);
            }
            Err(error) if is_of_the_peer(&error) => add(&counters.accept_errors),
            Err(_) => {
                add(&counters.accept_errors);
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Did the connection fail before it was accepted, and not the system?
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What all connections share.
#[derive(Clone)]
struct Server {
    endpoint: Arc<Endpoint>,
    router: TowerToHyperService<Router>,
    http: http1::Builder,
}

impl Server {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        let limits = &endpoint.limits;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(limits.max_headers)
            .max_header_size(limits.max_head_bytes)
            .max_buf_size(limits.max_head_bytes.max(MIN_BUFFER))
            // The date is that of the broker's clock.
            .auto_date_header(false)
            .keep_alive(true)
            .half_close(false);
        Self {
            router: TowerToHyperService::new(routes::router(Arc::clone(endpoint))),
            endpoint: Arc::clone(endpoint),
            http,
        }
    }

    async fn serve(
        self,
        stream: TcpStream,
        mut stopping: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) {
        let _open = Open::count(Arc::clone(&self.endpoint), place);
        // Answers are small and whole; waiting to fill a segment would only
        // add the peer's delayed acknowledgement to the response time.
        let _ = stream.set_nodelay(true);
        let is_ambiguous = Arc::new(AtomicBool::new(false));
        let is_to_be_reset = Arc::new(AtomicBool::new(false));
        let stream = Wire::new(
            Resettable::new(stream, Arc::clone(&is_to_be_reset)),
            Arc::clone(&is_ambiguous),
            self.endpoint.limits.write_timeout,
        );
        let service = service_fn(|request: Request<Incoming>| {
            add(&self.endpoint.counters.requests);
            let is_clear = !is_ambiguous.load(Ordering::Relaxed);
            let answer = match routes::check_head(&request, is_clear) {
                Ok(()) => Ok(self.router.call(request)),
                Err(refusal) => Err(self.endpoint.refuse(refusal)),
            };
            let is_to_be_reset = &is_to_be_reset;
            async move {
                let response = match answer {
                    Ok(routed) => match routed.await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    },
                    Err(refused) => refused,
                };
                if response.extensions().get::<Reset>().is_none() {
                    return Ok(response);
                }
                is_to_be_reset.store(true, Ordering::Relaxed);
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // How a connection ends is the client's affair: what can be
            // counted was counted as an answer.
            _ = connection.as_mut() => return,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
        }
        // Ends at once if no request is under way.
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// A place among the open connections, given back on drop.
struct Open {
    endpoint: Arc<Endpoint>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn count(endpoint: Arc<Endpoint>, place: OwnedSemaphorePermit) -> Self {
        add(&endpoint.counters.open);
        Self {
            endpoint,
            _place: place,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.endpoint.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
