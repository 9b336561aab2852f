//! Who gets as far as a request, when the broker speaks TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::http::PATIENCE;
use super::*;

/// A connection with TLS on which the test writes every byte itself.
pub(super) type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Connects, offers `protocols` by ALPN, and shakes hands.
pub(super) fn secured(
    broker: &Broker,
    name: &'static str,
    protocols: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Secured> {
    let mut roots = RootCertStore::empty();
    let pem = broker.certificate_pem().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(broker.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Reads until the broker ends the connection, in whatever way.
pub(super) fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
            ) => {}
        Err(error) => panic!("not closed within {PATIENCE:?}: {error}"),
    }
    bytes
}

fn impatient_for_handshakes() -> Stage {
    Stage::with(Setting {
        limits: Limits {
            handshake_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        speaks: Speaks::Http2,
        ..Setting::default()
    })
}

#[test]
fn old_and_new_versions_of_tls_are_spoken() {
    let stage = Stage::speaking(Speaks::Http1);
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for name in ["localhost", "127.0.0.1"] {
            let mut stream = secured(&stage.broker, name, &[], &[version]).unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(expected));
            let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let answer = String::from_utf8(rest(&mut stream)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
    }
}

#[test]
fn the_certificate_is_for_no_other_name() {
    let stage = Stage::speaking(Speaks::Http1);
    let refused = secured(&stage.broker, "evil.example", &[], &[&TLS13]);
    assert!(refused.is_err());
}

#[test]
fn the_protocol_is_agreed_or_nothing_is_said() {
    let stage = Stage::speaking(Speaks::Http1);
    for (offered, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = secured(&stage.broker, "localhost", offered, &[&TLS13]).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), agreed);
    }
    let alien = secured(&stage.broker, "localhost", &[b"h3", b"spdy/1"], &[&TLS13]);
    assert!(alien.is_err());
    assert_eq!(stage.broker.stats().requests, 0);
}

#[test]
fn versions_before_1_2_are_refused() {
    let stage = Stage::speaking(Speaks::Http1);
    let address = stage.broker.addr().to_string();
    for version in ["-tls1", "-tls1_1"] {
        let shaking = Command::new("openssl")
            .args(["s_client", "-connect", &address, version])
            .args(["-cipher", "DEFAULT:@SECLEVEL=0"])
            .stdin(std::process::Stdio::null())
            .output();
        let Ok(output) = shaking else {
            println!("skipped: there is no openssl");
            return;
        };
        assert!(!output.status.success(), "{version}");
    }
    assert_eq!(stage.broker.stats().requests, 0);
}

#[test]
fn who_does_not_shake_hands_in_time_is_closed_and_counted() {
    let stage = impatient_for_handshakes();
    let connect = || {
        let stream = TcpStream::connect(stage.broker.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    assert!(rest(&mut connect()).is_empty());
    // The beginning of a record that never comes.
    let mut half = connect();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    assert!(rest(&mut half).is_empty());
    // Plain HTTP is answered by an alert at most.
    let mut plain = connect();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let answer = rest(&mut plain);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    let stats = stage.broker.stop(PATIENCE);
    assert_eq!((stats.handshake_errors, stats.requests), (3, 0));
}

#[test]
fn idle_and_half_heads_are_closed_below_tls_too() {
    let short = Duration::from_millis(200);
    let stage = Stage::with(Setting {
        limits: Limits {
            header_timeout: short,
            write_timeout: short,
            ..Limits::default()
        },
        speaks: Speaks::Http1,
        ..Setting::default()
    });
    for text in ["", "POST /oauth2/token HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = secured(&stage.broker, "localhost", &[], &[&TLS13]).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        assert!(rest(&mut stream).is_empty());
    }
}

#[test]
fn ambiguous_requests_are_found_below_tls_too() {
    let stage = Stage::speaking(Speaks::Http1);
    for text in [
        "GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut stream = secured(&stage.broker, "localhost", &[], &[&TLS13]).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        http::is_refused(&answer, Refusal::MalformedRequest);
    }
}

#[test]
fn another_address_needs_no_leave_with_tls() {
    let config = BrokerConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        tls: Some(Certificate::SelfSigned),
        ..BrokerConfig::default()
    };
    Broker::start(config).unwrap();
}
