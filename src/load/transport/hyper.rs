//! How is a request sent over `hyper`'s connections, for HTTP/2 among others?
//!
//! With HTTP/1.1 each transport has a connection of its own; with HTTP/2
//! several share one, a stream each. The connections are this crate's own, so
//! that their parts are timed as those of the lean exchange.

use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::answer::{MAX_BODY_BYTES, Reading, retry_after};
use super::connect::Connector;
use super::{Reply, Timings, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::oauth::profile::Delivery;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// A connection of HTTP/2 that several transports of a thread share.
pub type SharedH2 = Rc<Mutex<Option<http2::SendRequest<Full<Bytes>>>>>;

/// A transport over `hyper`.
pub struct Hyper {
    connector: Rc<Connector>,
    reading: Reading,
    is_kept: bool,
    sender: Sender,
    uri: Uri,
    authority: String,
}

enum Sender {
    H1(Option<http1::SendRequest<Full<Bytes>>>),
    H2(SharedH2),
}

impl Hyper {
    /// Makes a transport of HTTP/1.1 with a connection of its own.
    #[must_use]
    pub fn h1(connector: Rc<Connector>, reading: Reading, is_kept: bool) -> Self {
        Self::new(connector, reading, is_kept, Sender::H1(None))
    }

    /// Makes a transport of HTTP/2 on a connection that others share.
    #[must_use]
    pub fn h2(connector: Rc<Connector>, reading: Reading, shared: SharedH2) -> Self {
        Self::new(connector, reading, true, Sender::H2(shared))
    }

    fn new(connector: Rc<Connector>, reading: Reading, is_kept: bool, sender: Sender) -> Self {
        let endpoint = connector.endpoint();
        let authority = endpoint.authority();
        let text = match &sender {
            Sender::H1(_) => endpoint.target.clone(),
            Sender::H2(_) => {
                let scheme = if endpoint.is_tls() { "https" } else { "http" };
                format!("{scheme}://{authority}{}", endpoint.target)
            }
        };
        let uri = text.parse().unwrap_or_else(|_| Uri::from_static("/"));
        Self {
            connector,
            reading,
            is_kept,
            sender,
            uri,
            authority,
        }
    }

    fn request(&self, form: &Form, assertion: &[u8]) -> Request<Full<Bytes>> {
        let is_bearer = form.delivery() == Delivery::Bearer;
        let mut body = Vec::with_capacity(form.len_around() + assertion.len());
        if !is_bearer {
            form.begin(&mut body);
            body.extend_from_slice(assertion);
            form.end(&mut body);
        }
        let mut request = Request::post(self.uri.clone())
            .header(USER_AGENT, concat!("mintmark/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        request = if is_bearer {
            // A compact JWS is ASCII.
            request.header(AUTHORIZATION, [b"Bearer ", assertion].concat())
        } else {
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        };
        if matches!(self.sender, Sender::H1(_)) {
            request = request.header(HOST, self.authority.as_str());
        } else {
            request = request.version(Version::HTTP_2);
        }
        request
            .body(Full::new(Bytes::from(body)))
            .expect("every part was checked when the transport was made")
    }

    async fn run(
        &mut self,
        request: Request<Full<Bytes>>,
        timings: &mut Timings,
    ) -> Result<(u16, Option<Duration>, Bytes), Outcome> {
        let limits = *self.connector.limits();
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                if sender.as_ref().is_none_or(http1::SendRequest::is_closed) {
                    let (stream, opened) = self.connector.open().await?;
                    timings.opened = Some(opened);
                    let (made, connection) = http1::handshake(TokioIo::new(stream))
                        .await
                        .map_err(|error| outcome_of(&error))?;
                    // How it ends, the request hears as well.
                    spawn_local(async { drop(connection.await) });
                    *sender = Some(made);
                }
                let sender = sender.as_mut().expect("it was made above");
                sender.ready().await.map_err(|error| outcome_of(&error))?;
                timings.sent_ns = now_ns();
                first_byte(limits.first_byte, sender.send_request(request)).await?
            }
            Sender::H2(shared) => {
                let mut sender = h2(shared, &self.connector, timings).await?;
                sender.ready().await.map_err(|error| outcome_of(&error))?;
                timings.sent_ns = now_ns();
                first_byte(limits.first_byte, sender.send_request(request)).await?
            }
        };
        timings.first_byte_ns = Some(now_ns());
        let status = response.status().as_u16();
        let later = response.headers().get(RETRY_AFTER).and_then(|value| {
            let date = response
                .headers()
                .get(DATE)
                .map(http::HeaderValue::as_bytes);
            retry_after(value.as_bytes(), date)
        });
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES);
        let body = timeout(limits.body, body.collect())
            .await
            .map_err(|_| Outcome::TimedOutWhile(Stage::Body))?
            .map_err(|error| match error.downcast_ref::<hyper::Error>() {
                Some(error) => outcome_of(error),
                None => Outcome::Malformed,
            })?
            .to_bytes();
        Ok((status, later, body))
    }
}

impl Transport for Hyper {
    async fn exchange(&mut self, form: &Form, assertion: &[u8]) -> Reply {
        let request = self.request(form, assertion);
        let mut timings = Timings::default();
        let read = self.run(request, &mut timings).await;
        timings.done_ns = now_ns();
        if timings.sent_ns == 0 {
            timings.sent_ns = timings.done_ns;
        }
        if let Sender::H1(sender) = &mut self.sender
            && (read.is_err() || !self.is_kept)
        {
            *sender = None;
        }
        let (outcome, retry_after) = match read {
            Ok((status, later, body)) => (self.reading.outcome(status, &body), later),
            Err(outcome) => (outcome, None),
        };
        Reply {
            outcome,
            retry_after,
            timings,
        }
    }
}

/// Returns a sender of the shared connection, which is opened if need be.
async fn h2(
    shared: &SharedH2,
    connector: &Connector,
    timings: &mut Timings,
) -> Result<http2::SendRequest<Full<Bytes>>, Outcome> {
    let mut slot = shared.lock().await;
    if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
        return Ok(sender.clone());
    }
    let (stream, opened) = connector.open().await?;
    timings.opened = Some(opened);
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream))
        .await
        .map_err(|error| outcome_of(&error))?;
    spawn_local(async { drop(connection.await) });
    *slot = Some(sender.clone());
    Ok(sender)
}

async fn first_byte(
    limit: Duration,
    sending: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Response<Incoming>, Outcome> {
    timeout(limit, sending)
        .await
        .map_err(|_| Outcome::TimedOutWhile(Stage::FirstByte))?
        .map_err(|error| outcome_of(&error))
}

fn outcome_of(error: &hyper::Error) -> Outcome {
    if error.is_parse() || error.is_parse_too_large() {
        Outcome::Malformed
    } else {
        Outcome::Reset
    }
}

/// Spawns the tasks of a connection on the thread that made it.
#[derive(Clone, Copy)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        spawn_local(async { drop(task.await) });
    }
}
