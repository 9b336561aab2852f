//! How is a request sent with as few instructions as an honest client needs?
//!
//! One buffer out, one buffer in, `httparse` for the head: an exchange
//! allocates nothing once its buffers have grown, and writes anew only what
//! differs from the request before. It speaks HTTP/1.1 with keep-alive,
//! lengths and chunks, skips interim answers, and notices before it sends that
//! the server has closed an idle connection.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use zeroize::Zeroizing;

use super::answer::{MAX_BODY_BYTES, Reading};
use super::connect::{Connector, Stream, outcome_of};
use super::deadline::Deadline;
use super::head::{Framing, Head, Known, unchunk};
use super::{Reply, Timings, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::oauth::profile::Delivery;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// How much is read at once at first. A token answer with its head is about
/// 1 KiB; the buffer grows for others. Twice as much would double the memory
/// of a connection.
const BUFFER_BYTES: usize = 2048;

/// A connection that is opened when it is needed.
pub struct Lean {
    connector: Rc<Connector>,
    reading: Reading,
    is_kept: bool,
    stream: Option<Stream>,
    request: Request,
    input: Input,
    /// A body that arrived in chunks. Answers hold a token.
    body: Zeroizing<Vec<u8>>,
    deadline: Deadline,
}

impl Lean {
    /// Makes an exchange of its own connection; `is_kept` says whether the
    /// connection serves more than one request.
    #[must_use]
    pub fn new(connector: Rc<Connector>, reading: Reading, is_kept: bool) -> Self {
        Self {
            request: Request::new(&connector, is_kept),
            connector,
            reading,
            is_kept,
            stream: None,
            input: Input::default(),
            body: Zeroizing::default(),
            deadline: Deadline::new(),
        }
    }

    async fn run(&mut self, timings: &mut Timings) -> Result<Answer, Outcome> {
        let limits = self.connector.limits();
        let Self {
            stream,
            input,
            body,
            deadline,
            ..
        } = self;
        poll_fn(|cx| {
            if stream.as_mut().is_some_and(|stream| !stream.poll_quiet(cx)) {
                // The end, or bytes that nobody asked for, which are as bad.
                *stream = None;
            }
            Poll::Ready(())
        })
        .await;
        let mut now = now_ns();
        deadline.begin(now, limits.whole);
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let (opened, times) = self.connector.open(deadline.whole_at()).await?;
                timings.opened = Some(times);
                now = now_ns();
                stream.insert(opened)
            }
        };
        timings.sent_ns = now;
        deadline.set(now, Stage::Write, limits.write);
        let has_waited = write_all(stream, self.request.bytes(), deadline).await?;
        if has_waited {
            timings.written_ns = Some(now_ns());
        }
        deadline.set(now, Stage::FirstByte, limits.first_byte);
        input.clear();
        let mut has_begun = false;
        let mut head = loop {
            input.read_some(stream, deadline).await?;
            timings.done_ns = now_ns();
            if !has_begun {
                has_begun = true;
                timings.first_byte_ns = Some(timings.done_ns);
                deadline.set(timings.done_ns, Stage::Body, limits.body);
            }
            if let Some(head) = input.take_head()? {
                break head;
            }
        };
        let found = match head.framing {
            Framing::Length(length) => {
                if length > MAX_BODY_BYTES {
                    return Err(Outcome::Malformed);
                }
                while input.unread().len() < length {
                    input.read_some(stream, deadline).await?;
                    timings.done_ns = now_ns();
                }
                // Who says more than was asked for is not asked again.
                head.closes |= input.unread().len() > length;
                Body::Input(input.begun..input.begun + length)
            }
            Framing::Chunks => {
                body.clear();
                loop {
                    let (used, is_done) = unchunk(input.unread(), body)?;
                    input.begun += used;
                    if is_done {
                        break Body::Apart;
                    }
                    input.read_some(stream, deadline).await?;
                    timings.done_ns = now_ns();
                }
            }
            Framing::UntilClosed => loop {
                let has_ended = input.read_or_end(stream, deadline).await? == 0;
                timings.done_ns = now_ns();
                if has_ended {
                    break Body::Input(input.begun..input.filled);
                }
                if input.unread().len() > MAX_BODY_BYTES {
                    return Err(Outcome::Malformed);
                }
            },
        };
        timings.tell_lag(stream.lag_ns());
        if !self.is_kept || head.closes {
            self.stream = None;
        }
        Ok(Answer {
            status: head.status,
            retry_after: head.retry_after,
            body: found,
        })
    }
}

impl Transport for Lean {
    async fn exchange(&mut self, form: &Form, assertion: &[u8]) -> Reply {
        self.request.lay_out(form, assertion);
        let mut timings = Timings::default();
        match self.run(&mut timings).await {
            Ok(answer) => {
                let body = match answer.body {
                    Body::Input(range) => &self.input.bytes[range],
                    Body::Apart => &self.body,
                };
                Reply {
                    outcome: self.reading.outcome(answer.status, body),
                    retry_after: answer.retry_after,
                    timings,
                }
            }
            Err(outcome) => {
                self.stream = None;
                timings.done_ns = now_ns();
                if timings.sent_ns == 0 {
                    timings.sent_ns = timings.done_ns;
                }
                Reply {
                    outcome,
                    retry_after: None,
                    timings,
                }
            }
        }
    }
}

/// A whole answer.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Body,
}

/// Where a body is.
enum Body {
    /// It stands in the input as it was sent.
    Input(Range<usize>),
    /// It was put together of chunks.
    Apart,
}

/// The bytes of a request. They hold a client's secret.
struct Request {
    /// The head up to what differs per request.
    head: Zeroizing<Vec<u8>>,
    bytes: Zeroizing<Vec<u8>>,
    /// Where the assertion stands, once there was a request.
    assertion: Range<usize>,
}

impl Request {
    fn new(connector: &Connector, is_kept: bool) -> Self {
        let endpoint = connector.endpoint();
        let mut head = Zeroizing::new(String::new());
        write!(
            head,
            "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: mintmark/{}\r\naccept: application/json\r\n",
            endpoint.request_target(),
            endpoint.authority(),
            env!("CARGO_PKG_VERSION"),
        )
        .expect("writing to a string does not fail");
        if let Some(value) = endpoint.proxy_authorization() {
            head.push_str("proxy-authorization: ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        if !is_kept {
            head.push_str("connection: close\r\n");
        }
        Self {
            head: Zeroizing::new(head.as_bytes().to_vec()),
            bytes: Zeroizing::default(),
            assertion: 0..0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn lay_out(&mut self, form: &Form, assertion: &[u8]) {
        let is_bearer = form.delivery() == Delivery::Bearer;
        let (before, after): (&[u8], &[u8]) = if is_bearer {
            (BEARER, BEARER_END)
        } else {
            form.around()
        };
        let (start, end) = (self.assertion.start, self.assertion.end);
        // The length in the head is that of the assertion as well.
        if self.assertion.len() == assertion.len()
            && self.bytes[..start].ends_with(before)
            && self.bytes[end..] == *after
        {
            self.bytes[start..end].copy_from_slice(assertion);
            return;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.head);
        if !is_bearer {
            use std::io::Write;
            write!(
                *self.bytes,
                "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
                form.len_around() + assertion.len()
            )
            .expect("writing to a vector does not fail");
        }
        self.bytes.extend_from_slice(before);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(assertion);
        self.assertion = start..self.bytes.len();
        self.bytes.extend_from_slice(after);
    }
}

/// What stands before an assertion that is a bearer, and behind it.
const BEARER: &[u8] = b"authorization: Bearer ";
const BEARER_END: &[u8] = b"\r\ncontent-length: 0\r\n\r\n";

/// What was read: `bytes[begun..filled]` has not been looked at.
#[derive(Default)]
struct Input {
    bytes: Zeroizing<Vec<u8>>,
    begun: usize,
    filled: usize,
    known: Known,
}

impl Input {
    fn clear(&mut self) {
        (self.begun, self.filled) = (0, 0);
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.begun..self.filled]
    }

    /// Takes the head of the answer, if it is there as a whole; interim ones
    /// before it are skipped (RFC 9110 §15.2).
    fn take_head(&mut self) -> Result<Option<Head>, Outcome> {
        while let Some(head) = self.known.parse(&self.bytes[self.begun..self.filled])? {
            self.begun += head.length;
            if !(100..200).contains(&head.status) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Reads what there is; the end is a failure.
    async fn read_some(
        &mut self,
        stream: &mut Stream,
        deadline: &mut Deadline,
    ) -> Result<(), Outcome> {
        match self.read_or_end(stream, deadline).await? {
            0 => Err(Outcome::Reset),
            _ => Ok(()),
        }
    }

    /// Reads what there is; 0 is the end.
    async fn read_or_end(
        &mut self,
        stream: &mut Stream,
        deadline: &mut Deadline,
    ) -> Result<usize, Outcome> {
        if self.bytes.len() - self.filled < BUFFER_BYTES / 2 {
            let length = (self.filled + BUFFER_BYTES).next_power_of_two();
            self.bytes.resize(length, 0);
        }
        let room = &mut self.bytes[self.filled..];
        let count = poll_fn(|cx| match stream.poll_read_into(cx, room) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
            Poll::Ready(Err(error)) => failed(&error, deadline),
            Poll::Pending => unless_passed(cx, deadline),
        })
        .await?;
        self.filled += count;
        Ok(count)
    }
}

/// Writes all bytes; says whether it had to wait for room.
async fn write_all(
    stream: &mut Stream,
    mut bytes: &[u8],
    deadline: &mut Deadline,
) -> Result<bool, Outcome> {
    let mut has_waited = false;
    poll_fn(|cx| {
        while !bytes.is_empty() {
            match stream.poll_write_some(cx, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Outcome::Reset)),
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                Poll::Ready(Err(error)) => return failed(&error, deadline),
                Poll::Pending => {
                    has_waited = true;
                    return unless_passed(cx, deadline);
                }
            }
        }
        // TLS keeps what it could not write.
        let Stream::Tls(tls) = &mut *stream else {
            return Poll::Ready(Ok(has_waited));
        };
        match std::pin::Pin::new(tls).poll_flush(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(has_waited)),
            Poll::Ready(Err(error)) => failed(&error, deadline),
            Poll::Pending => {
                has_waited = true;
                unless_passed(cx, deadline)
            }
        }
    })
    .await
}

fn failed<T>(error: &io::Error, deadline: &Deadline) -> Poll<Result<T, Outcome>> {
    Poll::Ready(Err(outcome_of(error, deadline.stage())))
}

fn unless_passed<T>(cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Result<T, Outcome>> {
    match deadline.poll_passed(cx) {
        Some(outcome) => Poll::Ready(Err(outcome)),
        None => Poll::Pending,
    }
}
