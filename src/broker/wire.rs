//! Does what arrives leave room for two readings?
//!
//! hyper is lenient where RFC 9112 lets it be: it takes a bare line feed for
//! the end of a line and drops a `Content-Length` beside a
//! `Transfer-Encoding`. A proxy in front may read such bytes differently, and
//! the difference is a smuggled request. This stream looks at the bytes on
//! their way to hyper and raises a flag; the service refuses the request and
//! the connection ends. It also ends connections whose peer does not read.
//!
//! Invariant: it never changes, delays or drops a byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream that looks at what arrives and gives up on a peer that does not
/// read.
pub(super) struct Wire<S> {
    stream: S,
    /// The requests of HTTP/1.1; frames leave no room for two readings.
    heads: Option<Heads>,
    is_ambiguous: Arc<AtomicBool>,
    patience: Duration,
    /// Runs while the peer's window is full; boxed, as it hardly ever is.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// Wraps a stream that has not been read yet.
    ///
    /// `is_ambiguous` turns true before the request in question is handed
    /// on. A write that cannot proceed for `patience` fails.
    pub(super) fn new(stream: S, is_ambiguous: Arc<AtomicBool>, patience: Duration) -> Self {
        Self {
            stream,
            heads: Some(Heads::default()),
            is_ambiguous,
            patience,
            stall: None,
        }
    }

    /// Wraps a stream of frames, at which there is nothing to look.
    pub(super) fn of_frames(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            heads: None,
            is_ambiguous: Arc::default(),
            patience,
            stall: None,
        }
    }

    /// Fails a write that has been pending for too long.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let patience = self.patience;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stall.as_mut().poll(cx));
        self.stall = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut wire.stream).poll_read(cx, buffer))?;
        let arrived = &buffer.filled()[before..];
        if wire
            .heads
            .as_mut()
            .is_some_and(|heads| !heads.read(arrived))
        {
            wire.is_ambiguous.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write(cx, bytes);
        wire.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, slices);
        wire.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS writes here what the system did not take before.
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.stream).poll_flush(cx);
        wire.watch(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let ended = Pin::new(&mut wire.stream).poll_shutdown(cx);
        wire.watch(ended, cx)
    }
}

/// Follows the heads of the requests on one connection, byte by byte.
#[derive(Default)]
struct Heads {
    state: State,
    line: Line,
    /// The `Content-Length` of the head so far.
    length: Option<u64>,
    has_encoding: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Default)]
enum State {
    /// Empty lines that a lenient server skips, or a request line.
    #[default]
    Start,
    /// Header fields.
    Fields,
    /// So many bytes of a body.
    Body(u64),
    /// Something that the service ends the connection after.
    Lost,
}

/// The beginning of a line, long enough for the fields that matter.
#[derive(Clone, Copy)]
struct Line {
    bytes: [u8; 48],
    len: usize,
    ends_with_cr: bool,
}

impl Heads {
    /// Reads on, and says whether everything so far has one reading only.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            match self.state {
                State::Lost => return true,
                State::Body(left) => {
                    let skip = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[skip..];
                    let left = left - skip as u64;
                    if left > 0 {
                        self.state = State::Body(left);
                        return true;
                    }
                    self.state = State::Start;
                }
                State::Start | State::Fields => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend(bytes);
                        return true;
                    };
                    self.line.extend(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    if !self.end_line() {
                        self.state = State::Lost;
                        return false;
                    }
                }
            }
        }
    }

    /// Takes in a line and says whether it has one reading only.
    fn end_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        if !line.ends_with_cr {
            return false;
        }
        match (self.state, line.field()) {
            (State::Start, _) if line.is_empty() => {}
            (State::Start, _) => self.state = State::Fields,
            _ if line.is_empty() => {
                let (length, has_encoding) = (self.length.take(), self.has_encoding);
                // The service asks for a length instead and closes.
                self.state = if has_encoding {
                    State::Lost
                } else {
                    State::Body(length.unwrap_or(0))
                };
                return !(has_encoding && length.is_some());
            }
            (_, Some((name, value))) if name.eq_ignore_ascii_case(b"content-length") => {
                let Some(length) = number(value) else {
                    return false;
                };
                let is_first = self.length.replace(length).is_none();
                return is_first;
            }
            (_, Some((name, _))) if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.has_encoding = true;
            }
            _ => {}
        }
        true
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 48],
            len: 0,
            ends_with_cr: false,
        }
    }
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - self.len;
        let kept = &bytes[..bytes.len().min(room)];
        self.bytes[self.len..self.len + kept.len()].copy_from_slice(kept);
        self.len += kept.len();
        if let Some(last) = bytes.last() {
            self.ends_with_cr = *last == b'\r';
        }
    }

    /// Is there nothing but the line's end?
    fn is_empty(&self) -> bool {
        self.len == 1 && self.ends_with_cr
    }

    /// Returns the name and the beginning of the value of a header field.
    fn field(&self) -> Option<(&[u8], &[u8])> {
        let bytes = &self.bytes[..self.len];
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        Some((&bytes[..colon], bytes[colon + 1..].trim_ascii()))
    }
}

/// Reads a number of digits alone, as RFC 9110 §8.6 has it.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has_one_reading(text: &str) -> bool {
        let mut heads = Heads::default();
        heads.read(text.as_bytes())
    }

    #[test]
    fn ordinary_requests_have_one_reading() {
        assert!(has_one_reading(
            "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nb\
             GET / HTTP/1.1\r\nHost: a\r\n\r\n\
             POST / HTTP/1.1\r\ncontent-length:0\r\nhost: a\r\n\r\n\r\n\r\nGET /"
        ));
        assert!(has_one_reading(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n"
        ));
    }

    #[test]
    fn bare_line_feeds_have_two() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\nHost: a\r\n\r\n",
        ] {
            assert!(!has_one_reading(text), "{text:?}");
        }
    }

    #[test]
    fn two_lengths_have_two() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 3",
            "Transfer-Encoding: identity\r\nContent-Length: 0",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: 0x3",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert!(!has_one_reading(&text), "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_bytes_arrive(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("POST / HTTP/1.1\r\n"),
                    Just("Host: a\r\n"),
                    Just("Content-Length: 5\r\n"),
                    Just("Transfer-Encoding: chunked\r\n"),
                    Just("\r\n"),
                    Just("\n"),
                    Just("abcde"),
                    Just("X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
                ],
                0..20,
            ),
            piece in 1..40_usize,
        ) {
            let text = parts.concat();
            let whole = has_one_reading(&text);
            let mut heads = Heads::default();
            let mut pieces = true;
            for bytes in text.as_bytes().chunks(piece) {
                pieces &= heads.read(bytes);
            }
            prop_assert_eq!(pieces, whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up_on() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (ours, mut theirs) = tokio::io::duplex(16);
        let patience = Duration::from_secs(5);
        let mut wire = Wire::new(ours, Arc::default(), patience);
        wire.write_all(&[0; 16]).await.unwrap();
        let started = tokio::time::Instant::now();
        let error = wire.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), patience);
        // Whoever reads in time is waited for.
        let reader = tokio::spawn(async move {
            tokio::time::sleep(patience / 2).await;
            theirs.read_exact(&mut [0; 16]).await.unwrap();
            theirs
        });
        wire.write_all(&[0; 1]).await.unwrap();
        reader.await.unwrap();
    }
}
