//! What happens on one connection, from the handshake to its end?
//!
//! Without TLS a connection speaks HTTP/1.1; with TLS, what ALPN agreed on.
//! The limits that keep a slow or hostile client from holding resources are
//! set here, below the router: times for the handshake, for a head and for a
//! peer that does not read, sizes of heads, and with HTTP/2 the number of
//! streams and of those that were taken back. What a request means is not
//! decided here.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::config::Limits;
use super::reset::Resettable;
use super::routes::{self, Endpoint, Reset};
use super::stats::add;
use super::tls::H2;
use super::traffic::Place;
use super::wire::Wire;

/// hyper's own lower bound of a connection's buffer.
const MIN_BUFFER: usize = 8192;

/// How much of the bodies on one connection of HTTP/2 may wait to be read.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The largest frame that is taken, the smallest that may be asked for.
const MAX_FRAME: u32 = 16 * 1024;

/// How much of the answers on one connection of HTTP/2 may wait to be sent.
const MAX_UNSENT: usize = 64 * 1024;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Protocols {
    endpoint: Arc<Endpoint>,
    router: TowerToHyperService<Router>,
    tls: Option<TlsAcceptor>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(endpoint: &Arc<Endpoint>, tls: Option<TlsAcceptor>) -> Self {
        Self {
            router: TowerToHyperService::new(routes::router(Arc::clone(endpoint))),
            endpoint: Arc::clone(endpoint),
            tls,
            http1: http1_within(&endpoint.limits),
            http2: http2_within(&endpoint.limits),
        }
    }

    /// Serves one connection until it ends, or until `stopping` turns true
    /// and the requests under way are answered.
    pub(super) async fn serve(self, stream: TcpStream, stopping: watch::Receiver<bool>) {
        // Answers are small and whole; waiting to fill a segment would only
        // add the peer's delayed acknowledgement to the response time.
        let _ = stream.set_nodelay(true);
        let is_to_be_reset = Arc::new(AtomicBool::new(false));
        let stream = Resettable::new(stream, Arc::clone(&is_to_be_reset));
        let Some(tls) = &self.tls else {
            return self.http1(stream, is_to_be_reset, stopping).await;
        };
        let handshake = tls.accept(stream);
        let patience = self.endpoint.limits.handshake_timeout;
        let Ok(Ok(stream)) = tokio::time::timeout(patience, handshake).await else {
            add(&self.endpoint.counters.handshake_errors);
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(H2) {
            self.http2(stream, is_to_be_reset, stopping).await;
        } else {
            self.http1(stream, is_to_be_reset, stopping).await;
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        is_to_be_reset: Arc<AtomicBool>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let requests = self.requests(is_to_be_reset, None);
        let is_ambiguous = Arc::clone(&requests.is_ambiguous);
        let stream = Wire::new(stream, is_ambiguous, self.endpoint.limits.write_timeout);
        let service = service_fn(|request| Requests::answer(Arc::clone(&requests), request));
        let mut connection = pin!(self.http1.serve_connection(TokioIo::new(stream), service));
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

    async fn http2<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        is_to_be_reset: Arc<AtomicBool>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let limits = &self.endpoint.limits;
        let activity = Arc::new(Activity::new());
        let requests = self.requests(is_to_be_reset, Some(Arc::clone(&activity)));
        let stream = Wire::of_frames(stream, limits.write_timeout);
        let service = service_fn(|request| Requests::answer(Arc::clone(&requests), request));
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            // Dropping the connection resets it, not the one stream alone.
            () = requests.broken.notified() => return,
            () = activity.idle(limits.header_timeout) => {}
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A peer that keeps its window shut would never let it end.
        let last = limits.body_timeout + limits.write_timeout;
        tokio::select! {
            _ = connection => {}
            () = requests.broken.notified() => {}
            () = activity.idle(last) => {}
        }
    }

    fn requests(
        &self,
        is_to_be_reset: Arc<AtomicBool>,
        activity: Option<Arc<Activity>>,
    ) -> Arc<Requests> {
        Arc::new(Requests {
            endpoint: Arc::clone(&self.endpoint),
            router: self.router.clone(),
            is_ambiguous: Arc::default(),
            is_to_be_reset,
            broken: Notify::new(),
            activity,
        })
    }
}

fn http1_within(limits: &Limits) -> http1::Builder {
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
    http
}

fn http2_within(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let body = u32::try_from(limits.max_body_bytes).unwrap_or(u32::MAX / 2);
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.max_resets)
        .max_local_error_reset_streams(limits.max_resets)
        .max_frame_size(MAX_FRAME)
        // A little more than is taken, so that what is too large is told so.
        .initial_stream_window_size(body.saturating_add(1024).min(CONNECTION_WINDOW))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_UNSENT)
        // Pings find peers that are gone; those that are there and ask
        // nothing are closed as idle.
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.write_timeout)
        .auto_date_header(false);
    http
}

/// The requests of one connection.
struct Requests {
    endpoint: Arc<Endpoint>,
    router: TowerToHyperService<Router>,
    is_ambiguous: Arc<AtomicBool>,
    is_to_be_reset: Arc<AtomicBool>,
    /// Told when the connection is to be reset.
    broken: Notify,
    /// With HTTP/1.1, hyper knows when a connection is idle.
    activity: Option<Arc<Activity>>,
}

impl Requests {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response> {
        let _under_way = self.activity.as_deref().map(Activity::enter);
        add(&self.endpoint.counters.requests);
        let is_clear = !self.is_ambiguous.load(Ordering::Relaxed);
        let max_headers = self.endpoint.limits.max_headers;
        let begun = self.endpoint.traffic.begin();
        let (place, response) = match routes::check_head(&request, is_clear, max_headers) {
            Err(refusal) => (Place::Head, self.endpoint.refuse(refusal)),
            // What there is most of takes the shortest way.
            Ok(()) if routes::is_for_token(&request) => {
                (Place::Token, routes::token(&self.endpoint, request).await)
            }
            Ok(()) => match self.router.call(request).await {
                Ok(response) => (Place::Other, response),
                Err(never) => match never {},
            },
        };
        self.endpoint.traffic.count(place, begun, &response);
        if response.extensions().get::<Reset>().is_none() {
            return Ok(response);
        }
        self.is_to_be_reset.store(true, Ordering::Relaxed);
        self.broken.notify_one();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// Whether anything goes on, on a connection of HTTP/2.
struct Activity {
    started: Instant,
    under_way: AtomicUsize,
    /// When the last request ended, in nanoseconds from the start.
    ended_at: AtomicU64,
}

/// A request under way, which ends on drop.
struct UnderWay<'a>(&'a Activity);

impl Activity {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            under_way: AtomicUsize::new(0),
            ended_at: AtomicU64::new(0),
        }
    }

    fn enter(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Waits until nothing has gone on for as long as `patience`.
    async fn idle(&self, patience: Duration) {
        let begun = self.started.elapsed();
        let mut from = begun;
        loop {
            tokio::time::sleep_until((self.started + from + patience).into()).await;
            let ended_at = Duration::from_nanos(self.ended_at.load(Ordering::Relaxed));
            from = if self.under_way.load(Ordering::Relaxed) > 0 {
                self.started.elapsed()
            } else if ended_at > from {
                ended_at
            } else {
                return;
            };
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let ended_at = u64::try_from(self.0.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.ended_at.store(ended_at, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
