//! How is a request sent over `hyper`'s connections, for HTTP/2 among others?
//!
//! With HTTP/1.1 each transport has a connection of its own; with HTTP/2
//! several share one, a stream each. The connections are this crate's own, so
//! that their parts are timed as those of the lean exchange.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderValue, PROXY_AUTHORIZATION, RETRY_AFTER,
    USER_AGENT,
};
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

use super::answer::{MAX_BODY_BYTES, Reading, retry_after};
use super::connect::{Connector, Stream, outcome_of as outcome_of_io};
use super::{Limits, Reply, Timings, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::oauth::profile::Delivery;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// A connection of HTTP/2 that several transports of a thread share.
#[derive(Clone, Default)]
pub struct SharedH2(Rc<Mutex<Option<Open<http2::SendRequest<Full<Bytes>>>>>>);

/// A connection that is open.
#[derive(Clone)]
struct Open<S> {
    sender: S,
    facts: Rc<Facts>,
}

/// What a connection tells beside what it carries.
#[derive(Default)]
struct Facts {
    /// Does the kernel take no more at the moment?
    is_stuck: Cell<bool>,
    /// How long what was read last had lain in the kernel.
    lag_ns: Cell<Option<u64>>,
}

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
    H1(Option<Open<http1::SendRequest<Full<Bytes>>>>),
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
            Sender::H1(_) => endpoint.request_target(),
            Sender::H2(_) => endpoint.url(),
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
            if let Some(login) = self.connector.endpoint().proxy_authorization()
                && let Ok(mut value) = HeaderValue::from_str(login)
            {
                value.set_sensitive(true);
                request = request.header(PROXY_AUTHORIZATION, value);
            }
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
        let whole_at = Instant::now() + limits.whole;
        let (response, facts, clock) = match &mut self.sender {
            Sender::H1(slot) => {
                if slot.as_ref().is_none_or(|open| open.sender.is_closed()) {
                    let (stream, opened) = self.connector.open(whole_at).await?;
                    timings.opened = Some(opened);
                    let (noting, facts) = Noting::of(stream);
                    let (sender, connection) = http1::handshake(TokioIo::new(noting))
                        .await
                        .map_err(|error| outcome_of(&error))?;
                    // How it ends, the request hears as well.
                    spawn_local(async { drop(connection.await) });
                    *slot = Some(Open { sender, facts });
                }
                let open = slot.as_mut().expect("it was made above");
                let ready = open.sender.ready().await;
                ready.map_err(|error| outcome_of(&error))?;
                timings.sent_ns = now_ns();
                let clock = Clock::new(&limits, whole_at);
                let sending = open.sender.send_request(request);
                let response = clock.first_byte(sending, &open.facts).await?;
                (response, Rc::clone(&open.facts), clock)
            }
            Sender::H2(shared) => {
                let mut open = h2(shared, &self.connector, whole_at, timings).await?;
                let ready = open.sender.ready().await;
                ready.map_err(|error| outcome_of(&error))?;
                timings.sent_ns = now_ns();
                let clock = Clock::new(&limits, whole_at);
                let sending = open.sender.send_request(request);
                let response = clock.first_byte(sending, &open.facts).await?;
                (response, open.facts, clock)
            }
        };
        timings.first_byte_ns = Some(now_ns());
        let status = response.status().as_u16();
        let later = response.headers().get(RETRY_AFTER).and_then(|value| {
            let date = response.headers().get(DATE).map(HeaderValue::as_bytes);
            retry_after(value.as_bytes(), date)
        });
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES);
        let body = clock
            .by(limits.body, Stage::Body, body.collect())
            .await?
            .map_err(|error| match error.downcast_ref::<hyper::Error>() {
                Some(error) => outcome_of(error),
                None => Outcome::Malformed,
            })?
            .to_bytes();
        timings.done_ns = now_ns();
        timings.tell_lag(facts.lag_ns.get());
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
    whole_at: Instant,
    timings: &mut Timings,
) -> Result<Open<http2::SendRequest<Full<Bytes>>>, Outcome> {
    let mut slot = shared.0.lock().await;
    if let Some(open) = slot.as_ref().filter(|open| !open.sender.is_closed()) {
        return Ok(open.clone());
    }
    let (stream, opened) = connector.open(whole_at).await?;
    timings.opened = Some(opened);
    let (noting, facts) = Noting::of(stream);
    let (sender, connection) = http2::handshake(Local, TokioIo::new(noting))
        .await
        .map_err(|error| outcome_of(&error))?;
    spawn_local(async { drop(connection.await) });
    let open = Open { sender, facts };
    *slot = Some(open.clone());
    Ok(open)
}

/// The time-outs of one request.
struct Clock {
    limits: Limits,
    begun: Instant,
    whole_at: Instant,
}

impl Clock {
    fn new(limits: &Limits, whole_at: Instant) -> Self {
        Self {
            limits: *limits,
            begun: Instant::now(),
            whole_at,
        }
    }

    async fn by<T>(
        &self,
        limit: Duration,
        stage: Stage,
        work: impl Future<Output = T>,
    ) -> Result<T, Outcome> {
        let stage_at = Instant::now() + limit;
        let (at, outcome) = if stage_at <= self.whole_at {
            (stage_at, Outcome::TimedOutWhile(stage))
        } else {
            (self.whole_at, Outcome::TimedOut)
        };
        timeout_at(at, work).await.map_err(|_| outcome)
    }

    /// Waits for the head of an answer. A request that the kernel does not
    /// take is given up when the time for writing is over.
    async fn first_byte(
        &self,
        sending: impl Future<Output = hyper::Result<Response<Incoming>>>,
        facts: &Facts,
    ) -> Result<Response<Incoming>, Outcome> {
        let mut sending = std::pin::pin!(sending);
        let write_at = self.begun + self.limits.write;
        let last_at = (self.begun + self.limits.first_byte).min(self.whole_at);
        if write_at < last_at {
            match timeout_at(write_at, &mut sending).await {
                Ok(response) => return response.map_err(|error| outcome_of(&error)),
                Err(_) if facts.is_stuck.get() => {
                    return Err(Outcome::TimedOutWhile(Stage::Write));
                }
                Err(_) => {}
            }
        }
        match timeout_at(last_at, sending).await {
            Ok(response) => response.map_err(|error| outcome_of(&error)),
            Err(_) if last_at == self.whole_at => Err(Outcome::TimedOut),
            Err(_) if facts.is_stuck.get() => Err(Outcome::TimedOutWhile(Stage::Write)),
            Err(_) => Err(Outcome::TimedOutWhile(Stage::FirstByte)),
        }
    }
}

/// A stream that notes what its connection tells.
struct Noting {
    stream: Stream,
    facts: Rc<Facts>,
}

impl Noting {
    fn of(stream: Stream) -> (Self, Rc<Facts>) {
        let facts = Rc::new(Facts::default());
        let noting = Self {
            stream,
            facts: Rc::clone(&facts),
        };
        (noting, facts)
    }
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.facts.lag_ns.set(self.stream.lag_ns());
        read
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.facts.is_stuck.set(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn outcome_of(error: &hyper::Error) -> Outcome {
    if error.is_parse() || error.is_parse_too_large() {
        return Outcome::Malformed;
    }
    // What the stream said is within; a server that refuses the client's
    // certificate says so only now.
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return outcome_of_io(error, Stage::FirstByte);
        }
        source = cause.source();
    }
    Outcome::Reset
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
