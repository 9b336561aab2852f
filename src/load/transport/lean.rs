//! How is a request sent with as few instructions as an honest client needs?
//!
//! One buffer out, one buffer in, `httparse` for the head: an exchange
//! allocates nothing once its buffers have grown. It speaks HTTP/1.1 with
//! keep-alive, lengths and chunks, skips interim answers, and notices before
//! it sends that the server has closed an idle connection.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::answer::{MAX_BODY_BYTES, MAX_HEAD_BYTES, Reading, retry_after};
use super::connect::{Connector, Stream, outcome_of};
use super::deadline::Deadline;
use super::{Reply, Timings, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::oauth::profile::Delivery;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// The most header fields of an answer; servers send about a dozen.
const MAX_HEADERS: usize = 64;

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
    /// The request's head up to what differs per request.
    head: Vec<u8>,
    /// Requests hold a client's secret, answers a token.
    out: Zeroizing<Vec<u8>>,
    input: Zeroizing<Vec<u8>>,
    body: Zeroizing<Vec<u8>>,
    deadline: Deadline,
}

impl Lean {
    /// Makes an exchange of its own connection; `is_kept` says whether the
    /// connection serves more than one request.
    #[must_use]
    pub fn new(connector: Rc<Connector>, reading: Reading, is_kept: bool) -> Self {
        let mut head = String::new();
        let endpoint = connector.endpoint();
        write!(
            head,
            "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: mintmark/{}\r\naccept: application/json\r\n\
             {}",
            endpoint.target,
            endpoint.authority(),
            env!("CARGO_PKG_VERSION"),
            if is_kept { "" } else { "connection: close\r\n" },
        )
        .expect("writing to a string does not fail");
        Self {
            connector,
            reading,
            is_kept,
            stream: None,
            head: head.into_bytes(),
            out: Zeroizing::default(),
            input: Zeroizing::default(),
            body: Zeroizing::default(),
            deadline: Deadline::new(),
        }
    }

    fn lay_out(&mut self, form: &Form, assertion: &[u8]) {
        use std::io::Write;
        self.out.clear();
        self.out.extend_from_slice(&self.head);
        if form.delivery() == Delivery::Bearer {
            self.out.extend_from_slice(b"authorization: Bearer ");
            self.out.extend_from_slice(assertion);
            self.out.extend_from_slice(b"\r\ncontent-length: 0\r\n\r\n");
            return;
        }
        write!(
            *self.out,
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
            form.len_around() + assertion.len()
        )
        .expect("writing to a vector does not fail");
        form.begin(&mut self.out);
        self.out.extend_from_slice(assertion);
        form.end(&mut self.out);
    }

    async fn run(&mut self, timings: &mut Timings) -> Result<(u16, Option<Duration>), Outcome> {
        self.drop_if_closed().await;
        if self.stream.is_none() {
            let (stream, opened) = self.connector.open().await?;
            self.stream = Some(stream);
            timings.opened = Some(opened);
        }
        let limits = *self.connector.limits();
        let Self {
            stream,
            out,
            input,
            body,
            deadline,
            ..
        } = self;
        let stream = stream.as_mut().expect("it was opened above");
        deadline.set(limits.first_byte);
        timings.sent_ns = now_ns();
        write_all(stream, out, deadline).await?;
        input.clear();
        body.clear();
        let mut is_first = true;
        let head = loop {
            let count = read_some(stream, input, deadline, is_first).await?;
            if count == 0 {
                return Err(Outcome::Reset);
            }
            if is_first {
                is_first = false;
                timings.first_byte_ns = Some(now_ns());
                deadline.set(limits.body);
            }
            match Head::parse(input)? {
                Some(head) if (100..200).contains(&head.status) => {
                    input.drain(..head.length);
                    if let Some(head) = skip_interim(input)? {
                        break head;
                    }
                }
                Some(head) => break head,
                None => {}
            }
        };
        input.drain(..head.length);
        match head.framing {
            Framing::Length(length) => {
                if length > MAX_BODY_BYTES {
                    return Err(Outcome::Malformed);
                }
                while input.len() < length {
                    if read_some(stream, input, deadline, false).await? == 0 {
                        return Err(Outcome::Reset);
                    }
                }
                input.truncate(length);
                std::mem::swap(input, body);
            }
            Framing::Chunks => {
                while !unchunk(input, body)? {
                    if read_some(stream, input, deadline, false).await? == 0 {
                        return Err(Outcome::Reset);
                    }
                }
            }
            Framing::UntilClosed => {
                while input.len() <= MAX_BODY_BYTES {
                    if read_some(stream, input, deadline, false).await? == 0 {
                        break;
                    }
                }
                std::mem::swap(input, body);
            }
        }
        timings.receive_lag_ns = stream.lag_ns();
        if body.len() > MAX_BODY_BYTES {
            return Err(Outcome::Malformed);
        }
        if !self.is_kept || head.closes {
            self.stream = None;
        }
        Ok((head.status, head.retry_after))
    }

    /// Drops an idle connection that the server has closed.
    ///
    /// Nothing is asked of the kernel as long as nothing has happened: a
    /// socket that was read empty is not ready.
    async fn drop_if_closed(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let is_alive = poll_fn(|cx| {
            let mut room = [0; 1];
            let mut buffer = ReadBuf::new(&mut room);
            // Bytes that nobody asked for are as bad as the end.
            Poll::Ready(
                Pin::new(&mut *stream)
                    .poll_read(cx, &mut buffer)
                    .is_pending(),
            )
        })
        .await;
        if !is_alive {
            self.stream = None;
        }
    }
}

impl Transport for Lean {
    async fn exchange(&mut self, form: &Form, assertion: &[u8]) -> Reply {
        self.lay_out(form, assertion);
        let mut timings = Timings::default();
        let read = self.run(&mut timings).await;
        timings.done_ns = now_ns();
        if timings.sent_ns == 0 {
            timings.sent_ns = timings.done_ns;
        }
        match read {
            Ok((status, retry_after)) => Reply {
                outcome: self.reading.outcome(status, &self.body),
                retry_after,
                timings,
            },
            Err(outcome) => {
                self.stream = None;
                Reply {
                    outcome,
                    retry_after: None,
                    timings,
                }
            }
        }
    }
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    status: u16,
    framing: Framing,
    closes: bool,
    retry_after: Option<Duration>,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
    UntilClosed,
}

impl Head {
    /// Parses a head; `None` if it is not complete yet.
    fn parse(input: &[u8]) -> Result<Option<Self>, Outcome> {
        // Clearing the fields first would cost as much as parsing them.
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            input,
            &mut fields,
        );
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD_BYTES => return Ok(None),
            _ => return Err(Outcome::Malformed),
        };
        let status = response.code.unwrap_or_default();
        let mut head = Self {
            length,
            status,
            framing: Framing::UntilClosed,
            closes: response.version == Some(0),
            retry_after: None,
        };
        let mut date = None;
        let mut later = None;
        let mut is_chunked = false;
        let mut length = None;
        for field in response.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                14 if is("content-length") => {
                    let told: usize = std::str::from_utf8(field.value)
                        .ok()
                        .and_then(|text| text.trim().parse().ok())
                        .ok_or(Outcome::Malformed)?;
                    if length.is_some_and(|before| before != told) {
                        return Err(Outcome::Malformed);
                    }
                    length = Some(told);
                }
                17 if is("transfer-encoding") => {
                    // Anything else than chunks alone was not asked for.
                    if !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Outcome::Malformed);
                    }
                    is_chunked = true;
                }
                10 if is("connection") => {
                    head.closes |= field
                        .value
                        .split(|byte| *byte == b',')
                        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
                }
                11 if is("retry-after") => later = Some(field.value),
                4 if is("date") => date = Some(field.value),
                _ => {}
            }
        }
        head.retry_after = later.and_then(|value| retry_after(value, date));
        head.framing = match (is_chunked, length) {
            (true, _) => Framing::Chunks,
            (false, Some(length)) => Framing::Length(length),
            (false, None) if matches!(status, 204 | 304) => Framing::Length(0),
            (false, None) => {
                head.closes = true;
                Framing::UntilClosed
            }
        };
        Ok(Some(head))
    }
}

/// Skips further interim answers that arrived at once.
fn skip_interim(input: &mut Vec<u8>) -> Result<Option<Head>, Outcome> {
    while !input.is_empty() {
        match Head::parse(input)? {
            Some(head) if (100..200).contains(&head.status) => {
                input.drain(..head.length);
            }
            other => return Ok(other),
        }
    }
    Ok(None)
}

/// Moves whole chunks from `input` to `body`; says whether the last was there
/// (RFC 9112 §7.1).
fn unchunk(input: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool, Outcome> {
    loop {
        let (start, size) = match httparse::parse_chunk_size(input) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD_BYTES => return Ok(false),
            _ => return Err(Outcome::Malformed),
        };
        let size = usize::try_from(size)
            .ok()
            .filter(|size| body.len() + size <= MAX_BODY_BYTES)
            .ok_or(Outcome::Malformed)?;
        if size == 0 {
            // Trailers are read and not looked at.
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            return match httparse::parse_headers(&input[start..], &mut fields) {
                Ok(httparse::Status::Complete(_)) => Ok(true),
                Ok(httparse::Status::Partial) if input.len() < MAX_HEAD_BYTES => Ok(false),
                _ => Err(Outcome::Malformed),
            };
        }
        let end = start + size;
        if input.len() < end + 2 {
            return Ok(false);
        }
        if &input[end..end + 2] != b"\r\n" {
            return Err(Outcome::Malformed);
        }
        body.extend_from_slice(&input[start..end]);
        input.drain(..end + 2);
    }
}

async fn write_all(
    stream: &mut Stream,
    mut bytes: &[u8],
    deadline: &mut Deadline,
) -> Result<(), Outcome> {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Outcome::Reset)),
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                Poll::Ready(Err(error)) => return failed(&error, Stage::FirstByte),
                Poll::Pending => return unless_passed(cx, deadline, Stage::FirstByte),
            }
        }
        // TLS keeps what it could not write.
        match Pin::new(&mut *stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => failed(&error, Stage::FirstByte),
            Poll::Pending => unless_passed(cx, deadline, Stage::FirstByte),
        }
    })
    .await
}

/// Reads what there is behind `input`; 0 is the end.
async fn read_some(
    stream: &mut Stream,
    input: &mut Vec<u8>,
    deadline: &mut Deadline,
    is_first: bool,
) -> Result<usize, Outcome> {
    let stage = if is_first {
        Stage::FirstByte
    } else {
        Stage::Body
    };
    let filled = input.len();
    input.resize(
        (filled + BUFFER_BYTES / 2)
            .max(BUFFER_BYTES)
            .max(input.capacity()),
        0,
    );
    let read = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut input[filled..]);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => failed(&error, stage),
            Poll::Pending => unless_passed(cx, deadline, stage),
        }
    })
    .await;
    input.truncate(filled + *read.as_ref().unwrap_or(&0));
    read
}

fn failed<T>(error: &io::Error, stage: Stage) -> Poll<Result<T, Outcome>> {
    Poll::Ready(Err(outcome_of(error, stage)))
}

fn unless_passed<T>(
    cx: &mut Context<'_>,
    deadline: &mut Deadline,
    stage: Stage,
) -> Poll<Result<T, Outcome>> {
    if deadline.poll_passed(cx) {
        Poll::Ready(Err(Outcome::TimedOutWhile(stage)))
    } else {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_says_how_its_body_ends() {
        let parse = |text: &str| Head::parse(text.as_bytes());
        let head = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap()
            .unwrap();
        assert_eq!(
            (head.status, head.framing, head.closes),
            (200, Framing::Length(5), false)
        );
        let head =
            parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: x, Close\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!((head.framing, head.closes), (Framing::Chunks, true));
        let head = parse("HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.framing, head.closes), (Framing::UntilClosed, true));
        let head = parse("HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(head.retry_after, Some(Duration::from_secs(3)));
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-len"), Ok(None));
        for wrong in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        ] {
            assert_eq!(parse(wrong), Err(Outcome::Malformed), "{wrong:?}");
        }
        assert_eq!(
            Head::parse(
                &[
                    b"HTTP/1.1 200 OK\r\nx: ".to_vec(),
                    vec![b'a'; MAX_HEAD_BYTES]
                ]
                .concat()
            ),
            Err(Outcome::Malformed)
        );
    }

    proptest! {
        #[test]
        fn chunks_come_out_whole_however_they_arrive(
            parts in prop::collection::vec("[a-z]{1,40}", 0..6), step in 1_usize..30,
        ) {
            let mut wire = String::new();
            for part in &parts {
                write!(wire, "{:x};ext\r\n{part}\r\n", part.len()).unwrap();
            }
            wire.push_str("0\r\ntrailer: x\r\n\r\n");
            let (mut input, mut body) = (Vec::new(), Vec::new());
            let mut is_done = false;
            for arrived in wire.as_bytes().chunks(step) {
                prop_assert!(!is_done);
                input.extend_from_slice(arrived);
                is_done = unchunk(&mut input, &mut body).unwrap();
            }
            prop_assert!(is_done);
            prop_assert_eq!(body, parts.concat().into_bytes());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::parse(&bytes);
            let _ = unchunk(&mut bytes.clone(), &mut Vec::new());
        }
    }
}
