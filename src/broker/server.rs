//! How do connections come in, and how do they end?
//!
//! An accept loop of its own, because the number of connections is limited
//! and the system may run out of file descriptors. What happens on one of
//! them is not decided here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection::Protocols;
use super::routes::Endpoint;
use super::stats::add;

/// How long the loop waits after the system refused a connection, because
/// all file descriptors are in use for instance.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts connections until `stopping` turns true, then closes the listener
/// and waits until the last connection has ended.
pub(super) async fn serve(
    listener: TcpListener,
    protocols: Protocols,
    endpoint: Arc<Endpoint>,
    mut stopping: watch::Receiver<bool>,
) {
    let max = u32::try_from(endpoint.limits.max_connections)
        .unwrap_or(u32::MAX)
        .max(1);
    let places = Arc::new(Semaphore::new(max as usize));
    let of_connections = stopping.clone();
    tokio::select! {
        () = accept(&listener, &protocols, &endpoint, &places, &of_connections) => {}
        _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
    }
    drop(listener);
    // All places are free again once every connection has ended.
    let _ = places.acquire_many(max).await;
}

async fn accept(
    listener: &TcpListener,
    protocols: &Protocols,
    endpoint: &Arc<Endpoint>,
    places: &Arc<Semaphore>,
    stopping: &watch::Receiver<bool>,
) {
    let counters = &endpoint.counters;
    while let Ok(place) = Arc::clone(places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                add(&counters.accepted);
                let open = Open::count(Arc::clone(endpoint), place);
                let (protocols, stopping) = (protocols.clone(), stopping.clone());
                tokio::spawn(async move {
                    let _open = open;
                    protocols.serve(stream, stopping).await;
                });
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
