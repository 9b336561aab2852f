//! Clients that take their time, or more than their share.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::http::{PATIENCE, Raw, exchange, is_refused, request};
use super::*;

/// A broker that waits for nobody longer than a blink.
pub(super) fn impatient() -> Stage {
    let short = Duration::from_millis(200);
    Stage::with(Setting {
        limits: Limits {
            header_timeout: short,
            body_timeout: short,
            write_timeout: short,
            ..Limits::default()
        },
        ..Setting::default()
    })
}

#[test]
fn who_connects_and_sends_nothing_is_closed() {
    let stage = impatient();
    assert_eq!(Raw::to(&stage).rest(), "");
}

#[test]
fn who_sends_half_a_head_is_closed() {
    let stage = impatient();
    let mut raw = Raw::to(&stage);
    raw.send("POST /oauth2/token HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(raw.rest(), "");
    assert_eq!(stage.broker.stats().requests, 0);
}

#[test]
fn who_drips_a_head_is_closed() {
    let stage = impatient();
    let mut raw = Raw::to(&stage);
    raw.send("GET /healthz HTTP/1.1\r\n");
    let closed = (0..2000).any(|i| {
        std::thread::sleep(Duration::from_millis(10));
        raw.0.write_all(format!("X-{i}: 1\r\n").as_bytes()).is_err()
    });
    assert!(closed);
}

#[test]
fn who_idles_after_an_answer_is_closed() {
    let stage = impatient();
    let mut raw = Raw::to(&stage);
    raw.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(raw.answer().0, 200);
    assert_eq!(raw.rest(), "");
}

#[test]
fn who_sends_half_a_body_is_told_and_closed() {
    let stage = impatient();
    let answer = exchange(&stage, &request("Host: a\r\nContent-Length: 9\r\n", "a=b"));
    is_refused(&answer, Refusal::BodyTimeout);
}

#[test]
fn who_does_not_read_is_closed() {
    let stage = impatient();
    let mut raw = Raw::to(&stage);
    raw.0.set_write_timeout(Some(PATIENCE)).unwrap();
    let many = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    // Until the broker can write no more and resets the connection.
    let mut sent = 0;
    let error = loop {
        match raw.0.write(many.as_bytes()) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        assert!(sent < 1 << 30, "the broker buffers without bound");
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
}

#[test]
fn who_hangs_up_in_the_middle_costs_nothing() {
    let stage = Stage::new();
    for text in [
        "",
        "POST /oa",
        "POST /oauth2/token HTTP/1.1\r\nHost: a\r\n",
        &request("Host: a\r\nContent-Length: 9\r\n", "a=b"),
    ] {
        let mut raw = Raw::to(&stage);
        raw.send(text);
    }
    let stats = stage.broker.stop(PATIENCE);
    assert_eq!(stats.open_connections, 0);
}

#[test]
fn connections_beyond_the_cap_wait_for_a_place() {
    let stage = Stage::with(Setting {
        limits: Limits {
            max_connections: 2,
            ..Limits::default()
        },
        ..Setting::default()
    });
    let health = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open: Vec<Raw> = (0..2).map(|_| Raw::to(&stage)).collect();
    for raw in &mut open {
        raw.send(health);
        assert_eq!(raw.answer().0, 200);
    }
    let mut third = Raw::to(&stage);
    third.send(health);
    for _ in 0..10 {
        open[0].send(health);
        assert_eq!(open[0].answer().0, 200);
    }
    assert_eq!(stage.broker.stats().connections, 2);
    open.remove(0);
    assert_eq!(third.answer().0, 200);
    assert_eq!(stage.broker.stats().connections, 3);
}
