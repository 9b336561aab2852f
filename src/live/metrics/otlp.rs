//! How do the figures get to an OpenTelemetry collector?
//!
//! A run is often shorter than the interval of a scrape, so it pushes: once a
//! second and at its end, by OTLP over HTTP, in protobuf. The instruments are
//! those of a scrape, with counts since the start. A collector that is not
//! there delays nothing and is told of once; it does not fail a run.

mod message;

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use reqwest::{Client, StatusCode, Url};

use self::message::{Push, Span};
use super::Metrics;
use crate::error::Chain;

/// How often figures are pushed.
const EVERY: Duration = Duration::from_secs(1);

/// The longest time for a push; at the end the program waits for one.
const PATIENCE: Duration = Duration::from_secs(3);

/// The path that collectors have for metrics (OTLP 1.0, section OTLP/HTTP
/// Request).
const PATH: &str = "/v1/metrics";

/// Figures cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The collector's address is none.
    #[error("{0:?} is no collector, expected a URL such as http://127.0.0.1:4318")]
    Address(String),
    /// The system gives no thread, no runtime or no client.
    #[error("cannot start the thread that pushes metrics")]
    Thread(#[source] io::Error),
}

/// Pushes the figures of a run until it is dropped, and then once more.
#[derive(Debug)]
pub struct Pushed {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pushed {
    /// Starts to push to a collector, or to a server's address.
    ///
    /// # Errors
    ///
    /// The address is no URL of HTTP, or the system gives no thread.
    pub fn start(collector: &str, metrics: Metrics) -> Result<Self, PushError> {
        let url = address(collector)?;
        let failed = |error| PushError::Thread(io::Error::other(error));
        let client = Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PushError::Thread)?;
        let (end, ended) = mpsc::channel();
        let started_ns = unix_ns();
        let thread = thread::Builder::new()
            .name("otlp".into())
            .spawn(move || {
                let mut was_refused = false;
                loop {
                    let is_last = ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
                    let span = Span {
                        started_ns,
                        now_ns: unix_ns(),
                    };
                    let body = Push::of(&metrics.instruments(), span).encode_to_vec();
                    let told = runtime.block_on(push(&client, url.clone(), body));
                    match told {
                        Ok(()) => was_refused = false,
                        Err(error) if !was_refused => {
                            was_refused = true;
                            tracing::warn!(error, "the collector does not take metrics");
                        }
                        Err(_) => {}
                    }
                    if is_last {
                        return;
                    }
                }
            })
            .map_err(PushError::Thread)?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its own hook.
            let _ = thread.join();
        }
    }
}

async fn push(client: &Client, url: Url, body: Vec<u8>) -> Result<(), String> {
    let request = client
        .post(url)
        .header("content-type", "application/x-protobuf")
        .body(body);
    match request.send().await {
        Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status().as_u16())),
        Err(error) => Err(Chain(&error.without_url()).to_string()),
    }
}

/// Returns where a collector takes metrics; a server's address means the usual
/// path.
fn address(collector: &str) -> Result<Url, PushError> {
    let refused = || PushError::Address(collector.to_owned());
    let mut url = Url::parse(collector).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refused());
    }
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(url)
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_means_the_usual_path_and_a_path_itself() {
        let shown = |text: &str| address(text).map(|url| url.to_string());
        let usual = "http://127.0.0.1:4318/v1/metrics";
        assert_eq!(shown("http://127.0.0.1:4318").unwrap(), usual);
        assert_eq!(shown("http://127.0.0.1:4318/").unwrap(), usual);
        let own = "http://127.0.0.1:9090/api/v1/otlp/v1/metrics";
        assert_eq!(shown(own).unwrap(), own);
        for text in ["", "127.0.0.1:4318", "grpc://127.0.0.1:4317"] {
            let error = shown(text).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:4318"), "{text}: {error}");
        }
    }
}
