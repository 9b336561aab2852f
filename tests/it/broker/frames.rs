//! What HTTP/2 lets a hostile client do by default, and the endpoint does not.
//!
//! The test writes every frame itself (RFC 9113 §4.1).

use std::io::{Read, Write};

use tokio_rustls::rustls::version::TLS13;

use super::http::PATIENCE;
use super::tls::{Secured, rest, secured};
use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection of HTTP/2 at which the preface and empty settings were sent.
struct Frames(Secured);

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frames {
    fn to(stage: &Stage) -> Self {
        Self::with_settings(stage, &[])
    }

    fn with_settings(stage: &Stage, settings: &[u8]) -> Self {
        let stream = secured(&stage.broker, "localhost", &[b"h2"], &[&TLS13]).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut frames = Self(stream);
        frames
            .0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        frames.send(SETTINGS, 0, 0, settings);
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0
            .write_all(&frame(kind, flags, stream, payload))
            .unwrap();
    }

    /// Sends frames until the broker has ended the connection; returns how
    /// many it took.
    fn send_until_closed(&mut self, mut frames: impl FnMut(u32) -> Vec<u8>, most: u32) -> u32 {
        for i in 0..most {
            if self
                .0
                .write_all(&frames(i))
                .and_then(|()| self.0.flush())
                .is_err()
            {
                return i;
            }
        }
        most
    }

    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: head[3],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// Reads until a frame of this kind comes, on this stream if it is not 0.
    fn wait_for(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        while let Some(frame) = self.next() {
            if frame.kind == kind && frame.stream == stream {
                return Some(frame);
            }
        }
        None
    }

    /// Reads what a request is answered with; nothing if the stream or the
    /// connection is ended.
    fn outcome(&mut self, stream: u32) -> Option<Vec<u8>> {
        while let Some(frame) = self.next() {
            match frame.kind {
                GOAWAY => return None,
                RST_STREAM if frame.stream == stream => return None,
                DATA if frame.stream == stream => return Some(frame.payload),
                _ => {}
            }
        }
        None
    }

    /// Reads the error with which the connection is ended, if one is told.
    fn goaway(&mut self) -> Option<u32> {
        self.wait_for(GOAWAY, 0)
            .map(|frame| error(&frame.payload[4..]))
    }

    /// Reads the error with which a stream is ended.
    fn reset(&mut self, stream: u32) -> Option<u32> {
        self.wait_for(RST_STREAM, stream)
            .map(|frame| error(&frame.payload))
    }
}

fn error(code: &[u8]) -> u32 {
    u32::from_be_bytes(code[..4].try_into().unwrap())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Writes header fields without compression (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            assert!(text.len() < 127);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

const POST: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", "/oauth2/token"),
    (":authority", "localhost"),
    ("content-type", "application/x-www-form-urlencoded"),
];

fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
    ])
}

fn stage_within(limits: Limits) -> Stage {
    Stage::with(Setting {
        limits,
        speaks: Speaks::Http2,
        ..Setting::default()
    })
}

fn impatient() -> Stage {
    let short = Duration::from_millis(200);
    stage_within(Limits {
        header_timeout: short,
        body_timeout: short,
        write_timeout: short,
        ..Limits::default()
    })
}

/// Checks that others are served as if nothing had happened.
fn is_well(stage: &Stage) {
    let mut frames = Frames::to(stage);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &get("/healthz"));
    let body = frames.wait_for(DATA, 1).unwrap().payload;
    assert_eq!(body, b"{\"status\":\"ok\"}");
}

#[test]
fn a_request_is_answered_frame_by_frame() {
    let stage = Stage::speaking(Speaks::Http2);
    let body = grant_form(&Draft::enterprise().sign());
    let mut frames = Frames::to(&stage);
    let head = block(&POST);
    frames.send(HEADERS, 0, 1, &head[..10]);
    frames.send(CONTINUATION, 0, 1, &head[10..11]);
    frames.send(CONTINUATION, END_HEADERS, 1, &head[11..]);
    for piece in body.as_bytes().chunks(100) {
        frames.send(DATA, 0, 1, piece);
    }
    frames.send(DATA, END_STREAM, 1, &[]);
    let answer = frames.wait_for(DATA, 1).unwrap().payload;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(answer["access_token"].is_string(), "{answer}");
}

#[test]
fn a_body_is_not_taken_in_crumbs() {
    let stage = Stage::speaking(Speaks::Http2);
    let mut frames = Frames::to(&stage);
    frames.send(HEADERS, END_HEADERS, 1, &block(&POST));
    let crumbs = frame(DATA, 0, 1, b"").repeat(100);
    // A million frames without a byte.
    let taken = frames.send_until_closed(|_| crumbs.clone(), 10_000);
    assert!(taken < 10_000);
    is_well(&stage);
}

#[test]
fn rapid_resets_end_the_connection() {
    let stage = Stage::speaking(Speaks::Http2);
    let mut frames = Frames::to(&stage);
    let head = get("/healthz");
    let mut burst = Vec::new();
    for i in 0..500 {
        burst.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, &head));
        burst.extend(frame(RST_STREAM, 0, 2 * i + 1, &8_u32.to_be_bytes()));
    }
    // The broker may have closed before it has read everything.
    let _ = frames.0.write_all(&burst);
    let told = frames.goaway();
    assert!(
        told.is_none_or(|code| code == ENHANCE_YOUR_CALM),
        "{told:?}"
    );
    let served = stage.broker.stats().requests;
    assert!(served < 250, "{served} of 500 requests were begun");
    is_well(&stage);
}

#[test]
fn a_head_without_end_is_not_gathered() {
    let stage = Stage::speaking(Speaks::Http2);
    let mut frames = Frames::to(&stage);
    frames.send(HEADERS, 0, 1, &get("/healthz"));
    let filler = block(&[("x", &"a".repeat(100))]).repeat(150);
    // 160 MB, were they taken.
    let taken = frames.send_until_closed(|_| frame(CONTINUATION, 0, 1, &filler), 10_000);
    assert!(taken < 5_000, "{taken} frames were taken");
    is_well(&stage);
}

#[test]
fn empty_continuations_without_end_are_not_taken() {
    let stage = Stage::speaking(Speaks::Http2);
    let mut frames = Frames::to(&stage);
    frames.send(HEADERS, 0, 1, &get("/healthz"));
    let many = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let taken = frames.send_until_closed(|_| many.clone(), 10_000);
    assert!(taken < 10_000, "a million frames were taken");
    is_well(&stage);
}

#[test]
fn a_compressed_bomb_of_fields_is_refused() {
    let stage = Stage::speaking(Speaks::Http2);
    let mut frames = Frames::to(&stage);
    // One field of 4000 bytes is put into the table and named again and again.
    let mut head = get("/healthz");
    head.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    head.extend("a".repeat(4000).as_bytes());
    head.extend([0xbe; 4000]);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &head);
    // It is answered 431, or the stream or the connection is ended.
    let mut answered = Vec::new();
    while let Some(frame) = frames.next() {
        if frame.kind == DATA {
            answered = frame.payload;
        }
        if frame.stream == 1 || frame.kind == GOAWAY {
            break;
        }
    }
    assert!(answered.is_empty());
    assert_eq!(stage.broker.stats().requests, 0);
    is_well(&stage);
}

#[test]
fn frames_of_a_wrong_size_end_the_connection() {
    let stage = Stage::speaking(Speaks::Http2);
    for bytes in [
        // Settings come in sixes.
        frame(SETTINGS, 0, 0, &[0; 7]),
        // More than was agreed on.
        frame(SETTINGS, 0, 0, &vec![0; 18_000]),
        frame(DATA, 0, 1, &vec![0; 18_000]),
    ] {
        let mut frames = Frames::to(&stage);
        let _ = frames.0.write_all(&bytes);
        let told = frames.goaway();
        let is_expected = |code| code == FRAME_SIZE_ERROR || code == PROTOCOL_ERROR;
        assert!(told.is_none_or(is_expected), "{told:?}");
    }
    is_well(&stage);
}

#[test]
fn no_more_streams_are_open_than_allowed() {
    let stage = stage_within(Limits {
        max_streams: 2,
        ..Limits::default()
    });
    let mut frames = Frames::to(&stage);
    for stream in [1, 3, 5] {
        frames.send(HEADERS, END_HEADERS, stream, &block(&POST));
    }
    assert_eq!(frames.reset(5), Some(REFUSED_STREAM));
    // The others go on.
    frames.send(DATA, END_STREAM, 1, b"");
    let answer = frames.wait_for(DATA, 1).unwrap().payload;
    assert!(String::from_utf8(answer).unwrap().contains("grant_type"));
}

#[test]
fn malformed_heads_are_no_requests() {
    let stage = Stage::speaking(Speaks::Http2);
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("Host", "localhost"),
        ("x\r\ny", "z"),
        ("x", "a\r\nb: c"),
        ("x", "a\0"),
    ] {
        let mut frames = Frames::to(&stage);
        let mut fields = POST.to_vec();
        fields.push((name, value));
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields));
        assert_eq!(frames.outcome(1), None, "{name}: {value}");
    }
    assert_eq!(stage.broker.stats().granted, 0);
    assert_eq!(stage.broker.stats().requests, 0);
}

#[test]
fn one_host_is_named() {
    let stage = Stage::speaking(Speaks::Http2);
    let path = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/healthz"),
    ];
    for hosts in [
        &[][..],
        &[(":authority", "localhost"), ("host", "evil.example")],
        &[(":authority", "a@localhost")],
        &[("host", "a"), ("host", "b")],
    ] {
        let mut frames = Frames::to(&stage);
        let fields: Vec<_> = path.iter().chain(hosts).copied().collect();
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields));
        let is_refused = frames.outcome(1).is_none_or(|body| {
            let text = String::from_utf8(body).unwrap();
            text.contains(Refusal::MalformedRequest.description())
        });
        assert!(is_refused, "{hosts:?}");
    }
}

#[test]
fn a_body_is_as_long_as_it_is_said_to_be() {
    let stage = Stage::speaking(Speaks::Http2);
    for (length, body) in [("3", "grant_type=x"), ("30", "grant_type=x")] {
        let mut frames = Frames::to(&stage);
        let mut fields = POST.to_vec();
        fields.push(("content-length", length));
        frames.send(HEADERS, END_HEADERS, 1, &block(&fields));
        frames.send(DATA, END_STREAM, 1, body.as_bytes());
        assert_eq!(frames.reset(1), Some(PROTOCOL_ERROR), "{length}");
    }
}

#[test]
fn who_takes_its_time_is_closed() {
    let stage = impatient();
    // Nothing after the preface; half a head.
    let mut silent = Frames::to(&stage);
    rest(&mut silent.0);
    let mut half = Frames::to(&stage);
    half.send(HEADERS, 0, 1, &block(&POST));
    rest(&mut half.0);
    // Not even the preface.
    let mut mute = secured(&stage.broker, "localhost", &[b"h2"], &[&TLS13]).unwrap();
    rest(&mut mute);
    assert_eq!(stage.broker.stats().requests, 0);
    // Half a body is told so.
    let mut half = Frames::to(&stage);
    half.send(HEADERS, END_HEADERS, 1, &block(&POST));
    half.send(DATA, 0, 1, b"a=b");
    let answer = half.wait_for(DATA, 1).unwrap().payload;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let expected = Refusal::BodyTimeout.description();
    assert_eq!(answer["error_description"], expected);
    rest(&mut half.0);
    let stats = stage.broker.stop(PATIENCE);
    assert_eq!(stats.open_connections, 0);
}

#[test]
fn who_keeps_the_window_shut_is_closed() {
    let stage = impatient();
    // No byte of an answer's body is welcome.
    let mut frames = Frames::with_settings(&stage, &[0, 4, 0, 0, 0, 0]);
    let head = get("/healthz");
    let ask = |i: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, &head);
    let burst: Vec<u8> = (0..100).flat_map(ask).collect();
    frames.0.write_all(&burst).unwrap();
    rest(&mut frames.0);
    let stats = stage.broker.stop(PATIENCE);
    assert_eq!(stats.open_connections, 0);
}

#[test]
fn no_mutation_of_frames_harms_the_broker() {
    let stage = impatient();
    let body = grant_form(&Draft::enterprise().sign());
    let good = [
        frame(HEADERS, END_HEADERS, 1, &block(&POST)),
        frame(DATA, END_STREAM, 1, body.as_bytes()),
        frame(HEADERS, END_STREAM | END_HEADERS, 3, &get("/healthz")),
    ]
    .concat();
    // A fixed sequence of Knuth's MMIX generator, so that a failure recurs.
    let mut state: u64 = 11;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..60 {
        let mut bytes = good.clone();
        for _ in 0..=below(3) {
            let reach = if below(2) == 0 { 160 } else { bytes.len() };
            let at = below(reach.min(bytes.len()));
            match below(3) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut frames = Frames::to(&stage);
        let _ = frames.0.write_all(&bytes);
        frames.0.conn.send_close_notify();
        let _ = frames.0.flush();
        let _ = frames.0.sock.shutdown(std::net::Shutdown::Write);
        rest(&mut frames.0);
    }
    is_well(&stage);
}
