//! How do browsers connect?
//!
//! A loop of its own on HTTP/1.1, with the bounds that a browser on the same
//! machine stays within. What a request means is not decided here.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::broker::routes::check_head;
use crate::broker::wire::Wire;

/// How many connections are open at once; a browser opens six.
const MAX_CONNECTIONS: usize = 64;

/// The longest time to the end of a request's head; it also closes idle
/// connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time that an answer waits for the browser to read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most header fields; a browser sends about twenty.
const MAX_HEADERS: usize = 64;

/// The most bytes of a head. Cookies of other ports come along.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long the loop waits after the system refused a connection.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts connections for as long as it is polled.
pub(super) async fn serve(listener: &TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = TowerToHyperService::new(router);
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, router).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}

async fn converse(stream: TcpStream, router: TowerToHyperService<Router>) {
    let _ = stream.set_nodelay(true);
    let is_ambiguous = Arc::new(AtomicBool::new(false));
    let stream = Wire::new(stream, Arc::clone(&is_ambiguous), WRITE_TIMEOUT);
    let service = service_fn(|request: Request<Incoming>| {
        let is_clear = !is_ambiguous.load(Ordering::Relaxed);
        let answer = check_head(&request, is_clear, MAX_HEADERS).map(|()| router.call(request));
        async move {
            match answer {
                Ok(routed) => routed.await,
                Err(_) => Ok::<_, Infallible>(bad_request()),
            }
        }
    });
    // How a connection ends is the browser's affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn bad_request() -> Response {
    let mut response = Response::new(Body::from("The request has more than one reading.\n"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("close"),
    );
    response
}
