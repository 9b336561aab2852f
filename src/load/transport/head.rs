//! What does the head of an answer say, and where does its body end?
//!
//! The heads of a server's answers differ in their date, if in anything. One
//! that was parsed is [`Known`]; a head that is the same but for the date is
//! read by comparing, which costs a tenth and decides the same.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Duration;

use super::answer::{MAX_BODY_BYTES, MAX_HEAD_BYTES, retry_after};
use crate::record::Outcome;

/// The most header fields of an answer; servers send about a dozen.
const MAX_HEADERS: usize = 64;

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub length: usize,
    pub status: u16,
    pub framing: Framing,
    pub closes: bool,
    pub retry_after: Option<Duration>,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunks,
    UntilClosed,
}

impl Head {
    /// Parses a head; `None` if it is not complete yet.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, Outcome> {
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

/// A head that was parsed before.
#[derive(Default)]
pub(super) struct Known {
    bytes: Vec<u8>,
    /// Where its date stands; empty if it has none.
    date: Range<usize>,
    head: Option<Head>,
    /// Heads in a row that were another.
    others: u8,
}

/// After so many heads in a row that differ, each is parsed and none kept:
/// the server writes something new into each.
const MOST_OTHERS: u8 = 8;

/// The length of a date (RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

impl Known {
    /// Parses a head; `None` if it is not complete yet.
    pub fn parse(&mut self, input: &[u8]) -> Result<Option<Head>, Outcome> {
        if self.head.is_some() && (input.starts_with(&self.bytes) || self.is_of_another_date(input))
        {
            self.others = 0;
            return Ok(self.head);
        }
        let parsed = Head::parse(input)?;
        if let Some(head) = parsed
            && self.others < MOST_OTHERS
        {
            self.others += 1;
            self.keep(input, head);
        }
        Ok(parsed)
    }

    /// Is it the same but for its date, which is then kept?
    fn is_of_another_date(&mut self, input: &[u8]) -> bool {
        let Range { start, end } = self.date;
        let Some(input) = input.get(..self.bytes.len()) else {
            return false;
        };
        let is_same = input[..start] == self.bytes[..start]
            && input[end..] == self.bytes[end..]
            && input[start..end].iter().all(|byte| is_plain(*byte));
        if is_same {
            self.bytes[start..end].copy_from_slice(&input[start..end]);
        }
        is_same
    }

    fn keep(&mut self, input: &[u8], head: Head) {
        self.head = None;
        // When to come back depends on the date.
        if head.retry_after.is_some() {
            return;
        }
        let bytes = &input[..head.length];
        let line = bytes
            .windows(8)
            .position(|window| window.eq_ignore_ascii_case(b"\r\ndate: "));
        self.date = line.map_or(0..0, |line| line + 8..line + 8 + DATE_BYTES);
        let is_date = |range: &Range<usize>| {
            bytes
                .get(range.clone())
                .is_some_and(|date| date.iter().all(|byte| is_plain(*byte)))
        };
        if is_date(&self.date) {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.head = Some(head);
        }
    }
}

/// May the byte stand in a field's value without a meaning of its own?
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

/// Copies whole chunks from `input` to `body`; returns how much of `input`
/// they took, and whether the last was there (RFC 9112 §7.1).
pub(super) fn unchunk(input: &[u8], body: &mut Vec<u8>) -> Result<(usize, bool), Outcome> {
    let mut used = 0;
    loop {
        let rest = &input[used..];
        let (start, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) if rest.len() < MAX_HEAD_BYTES => {
                return Ok((used, false));
            }
            _ => return Err(Outcome::Malformed),
        };
        let size = usize::try_from(size)
            .ok()
            .filter(|size| body.len() + size <= MAX_BODY_BYTES)
            .ok_or(Outcome::Malformed)?;
        if size == 0 {
            // Trailers are read and not looked at.
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            return match httparse::parse_headers(&rest[start..], &mut fields) {
                Ok(httparse::Status::Complete(_)) => Ok((input.len(), true)),
                Ok(httparse::Status::Partial) if rest.len() < MAX_HEAD_BYTES => Ok((used, false)),
                _ => Err(Outcome::Malformed),
            };
        }
        let end = start + size;
        if rest.len() < end + 2 {
            return Ok((used, false));
        }
        if &rest[end..end + 2] != b"\r\n" {
            return Err(Outcome::Malformed);
        }
        body.extend_from_slice(&rest[start..end]);
        used += end + 2;
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

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

    #[test]
    fn comparing_with_the_last_head_decides_as_parsing_it_does() {
        let heads = [
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 06:00:00 GMT\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 06:00:01 GMT\r\ncontent-length: 5\r\n\r\n{",
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 06:00:01 GMT\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: x\r\nconnection: close\r\n\r\nlength: 7\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 06:00:01\rGMT\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 429 Slow\r\nDate: Tue, 24 Nov 2026 06:00:01 GMT\r\n\
             retry-after: Tue, 24 Nov 2026 06:00:09 GMT\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 429 Slow\r\nDate: Tue, 24 Nov 2026 06:00:02 GMT\r\n\
             retry-after: Tue, 24 Nov 2026 06:00:09 GMT\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r",
            "HTTP/1.1 200 OK\r\ndate: ",
        ];
        for first in heads {
            for second in heads {
                let mut known = Known::default();
                let _ = known.parse(first.as_bytes());
                assert_eq!(
                    known.parse(second.as_bytes()),
                    Head::parse(second.as_bytes()),
                    "{second:?} after {first:?}"
                );
            }
        }
        // Those that are alike are not parsed: what would be found is told.
        let mut known = Known::default();
        known.parse(heads[0].as_bytes()).unwrap();
        known.head.as_mut().unwrap().status = 299;
        let found = known.parse(heads[1].as_bytes()).unwrap().unwrap();
        assert_eq!(found.status, 299);
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
                let used;
                (used, is_done) = unchunk(&input, &mut body).unwrap();
                input.drain(..used);
            }
            prop_assert!(is_done);
            prop_assert_eq!(body, parts.concat().into_bytes());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::parse(&bytes);
            let _ = unchunk(&bytes, &mut Vec::new());
        }
    }
}
