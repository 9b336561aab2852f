//! What do clients send, and how?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintmark::broker::AppRegistration;
use mintmark::oauth::{BOX_AUDIENCE, JWT_BEARER};
use mintmark::signer::PublicKey;

/// An app that signs as official SDKs do.
pub struct Signing {
    pair: RsaKeyPair,
    pub key: PublicKey,
    signed: u64,
}

impl Signing {
    pub fn new() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("the library makes keys");
        let key = PublicKey::from_pkcs1_der(pair.public_key().as_ref())
            .expect("a key of 2048 bits is accepted");
        Self {
            pair,
            key,
            signed: 0,
        }
    }

    pub fn app(&self) -> AppRegistration {
        AppRegistration::new("client0a", "secret0a", "900100")
            .with_key("kid0000a", self.key.clone())
    }

    /// Signs an assertion with a `jti` of its own, good until `exp`.
    pub fn assertion(&mut self, exp: u64) -> String {
        self.signed += 1;
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = encode(r#"{"alg":"RS256","typ":"JWT","kid":"kid0000a"}"#);
        let claims = encode(&format!(
            r#"{{"iss":"client0a","sub":"900100","box_sub_type":"enterprise","aud":"{BOX_AUDIENCE}","jti":"{:032}","exp":{exp}}}"#,
            self.signed
        ));
        let message = format!("{header}.{claims}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            )
            .expect("the library signs");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The form that an SDK posts.
pub fn form(assertion: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", JWT_BEARER)
        .append_pair("client_id", "client0a")
        .append_pair("client_secret", "secret0a")
        .append_pair("assertion", assertion)
        .finish()
}

/// The request that an SDK sends.
pub fn request(assertion: &str) -> Vec<u8> {
    let body = form(assertion);
    format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Connections that are kept, each with one request at a time.
pub struct Client {
    connections: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub fn to(address: SocketAddr, connections: usize) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("the socket is one");
            let patience = Some(Duration::from_secs(20));
            stream.set_read_timeout(patience).expect("it is not zero");
            stream
        };
        Self {
            connections: (0..connections).map(connect).collect(),
            buffer: vec![0; 8192],
        }
    }

    /// Sends every request, one on each connection at a time, and expects a
    /// token for each; returns the last answer.
    pub fn ask_all(&mut self, requests: &[Vec<u8>]) -> Vec<u8> {
        let mut last = Vec::new();
        for together in requests.chunks(self.connections.len()) {
            for (connection, request) in self.connections.iter_mut().zip(together) {
                connection.write_all(request).expect("the server reads");
            }
            for (connection, _) in self.connections.iter_mut().zip(together) {
                let len = read_answer(connection, &mut self.buffer);
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 200 "),
                    "{}",
                    String::from_utf8_lossy(&self.buffer[..len])
                );
                last.clear();
                last.extend(&self.buffer[..len]);
            }
        }
        last
    }
}

/// Reads one answer; its length has to be announced.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).expect("it answers");
        assert!(read > 0, "the connection ended");
        filled += read;
        let Some(head) = buffer[..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text
            .split("content-length: ")
            .nth(1)
            .expect("it is announced");
        let length: usize = length
            .split("\r\n")
            .next()
            .and_then(|digits| digits.parse().ok())
            .expect("it is a number");
        if filled >= head + 4 + length {
            return filled;
        }
    }
}
