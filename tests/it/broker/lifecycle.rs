//! How a broker starts, is watched, and ends.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::thread;

use mintmark::broker::BrokerError;
use mintmark::clock::SystemClock;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn start(threads: usize) -> Broker {
    Broker::start(BrokerConfig {
        apps: vec![app()],
        threads: NonZeroUsize::new(threads).unwrap(),
        ..BrokerConfig::default()
    })
    .unwrap()
}

#[test]
fn a_broker_runs_on_named_threads_of_its_own() {
    let broker = start(3);
    let ids: HashSet<i32> = broker.worker_threads().iter().copied().collect();
    assert_eq!(ids.len(), 3);
    let mut names: Vec<String> = ids
        .iter()
        .map(|id| std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["broker-0", "broker-1", "broker-2"]);
    broker.stop(DEADLINE);
    for id in ids {
        // The kernel may reuse an ID, but not under that name.
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        assert!(!name.is_ok_and(|name| name.starts_with("broker-")));
    }
}

#[test]
fn it_listens_on_a_free_loopback_port_by_default() {
    let broker = start(1);
    assert!(broker.addr().ip().is_loopback());
    assert_ne!(broker.addr().port(), 0);
    assert_eq!(broker.url(), format!("http://{}", broker.addr()));
    assert_eq!(broker.token_url(), format!("{}/oauth2/token", broker.url()));
    TcpStream::connect(broker.addr()).unwrap();
}

#[test]
fn other_addresses_have_to_be_allowed() {
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let config = BrokerConfig {
        listen,
        ..BrokerConfig::default()
    };
    let refused = Broker::start(config.clone());
    assert!(matches!(refused, Err(BrokerError::NotLoopback(address)) if address == listen));
    let allowed = BrokerConfig {
        allow_non_loopback: true,
        ..config
    };
    Broker::start(allowed).unwrap();
}

#[test]
fn a_taken_port_is_an_error_with_its_cause() {
    let first = start(1);
    let second = Broker::start(BrokerConfig {
        listen: first.addr(),
        ..BrokerConfig::default()
    });
    let Err(BrokerError::Listen { address, source }) = second else {
        panic!("{second:?}");
    };
    assert_eq!(address, first.addr());
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_registration_that_cannot_be_used_is_an_error() {
    let started = Broker::start(BrokerConfig {
        apps: vec![app(), app()],
        ..BrokerConfig::default()
    });
    assert!(matches!(started, Err(BrokerError::Registry(_))));
}

#[tokio::test]
async fn stopping_lets_requests_under_way_end() {
    let stage = Stage::new();
    let mut stream = TcpStream::connect(stage.broker.addr()).unwrap();
    let body = grant_form(&Draft::enterprise().sign());
    let (first, second) = body.split_at(40);
    write!(
        stream,
        "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{first}",
        body.len()
    )
    .unwrap();
    while stage.broker.stats().requests == 0 {
        thread::yield_now();
    }
    let address = stage.broker.addr();
    let stopping = thread::spawn(move || stage.broker.stop(DEADLINE));
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let stats = stopping.join().unwrap();
    assert_eq!(stats.granted, 1);
    assert_eq!(stats.open_connections, 0);
}

#[tokio::test]
async fn stopping_does_not_wait_for_idle_connections() {
    let stage = Stage::new();
    stage.present(&Draft::enterprise().sign()).await.token();
    // The client's pool keeps that connection; this one never asks.
    let _silent = TcpStream::connect(stage.broker.addr()).unwrap();
    while stage.broker.stats().open_connections < 2 {
        thread::yield_now();
    }
    let started = std::time::Instant::now();
    let stats = stage.broker.stop(DEADLINE);
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(stats.open_connections, 0);
}

#[test]
fn stopping_ends_at_the_deadline() {
    let broker = start(1);
    let mut stream = TcpStream::connect(broker.addr()).unwrap();
    write!(
        stream,
        "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    .unwrap();
    while broker.stats().requests == 0 {
        thread::yield_now();
    }
    // The body's own time-out would come after five seconds only.
    broker.stop(Duration::from_millis(50));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_killed_broker_is_gone_and_can_come_back() {
    let broker = start(2);
    let address = broker.addr();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    broker.kill();
    assert!(TcpStream::connect(address).is_err());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let again = Broker::start(BrokerConfig {
        listen: address,
        apps: vec![app()],
        clock: Arc::new(SystemClock::new()),
        ..BrokerConfig::default()
    })
    .unwrap();
    let health = reqwest::get(format!("{}/healthz", again.url()))
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn dropping_a_broker_inside_of_a_runtime_is_fine() {
    let broker = start(1);
    let address = broker.addr();
    drop(broker);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_broker_on_the_systems_clock_accepts_an_assertion_of_now() {
    let broker = start(1);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let assertion = Draft::enterprise()
        .claim("iat", now)
        .claim("exp", now + 30)
        .sign();
    let request = reqwest::Client::new()
        .post(broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(grant_form(&assertion));
    Answer::of(request).await.token();
    let stats = broker.stop(DEADLINE);
    assert_eq!(
        (stats.granted, stats.requests, stats.connections),
        (1, 1, 1)
    );
    assert_eq!(stats.refused_total(), 0);
}
