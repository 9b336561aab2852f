//! What HTTP lets through by default, and the endpoint does not.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::slow::impatient;
use super::*;

/// How long a test waits for what has to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection on which the test writes every byte itself.
pub(super) struct Raw(pub(super) TcpStream);

impl Raw {
    pub(super) fn to(stage: &Stage) -> Self {
        let stream = TcpStream::connect(stage.broker.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(super) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until the broker closes the connection.
    pub(super) fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            // Unread bytes turn the close into a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not closed within {PATIENCE:?}: {error}"),
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads one answer with a body and returns its status and body.
    pub(super) fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (
            head[9..12].parse().unwrap(),
            String::from_utf8(body).unwrap(),
        )
    }
}

/// Sends bytes on a connection of their own and reads until it is closed.
pub(super) fn exchange(stage: &Stage, text: &str) -> String {
    let mut raw = Raw::to(stage);
    raw.send(text);
    raw.rest()
}

/// A good request, whose head the test may spoil.
pub(super) fn request(fields: &str, body: &str) -> String {
    format!(
        "POST /oauth2/token HTTP/1.1\r\n{fields}Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    )
}

/// Checks that a raw answer is the row of the table, and ends the connection.
#[track_caller]
pub(super) fn is_refused(answer: &str, refusal: Refusal) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {} ", refusal.status().as_u16())),
        "expected {refusal:?}: {answer:?}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("connection: close"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], refusal.error());
    assert_eq!(body["error_description"], refusal.description());
}

#[test]
fn a_request_is_answered_byte_by_byte() {
    let stage = Stage::new();
    let body = grant_form(&Draft::enterprise().sign());
    let text = request(
        &format!("Host: a\r\nContent-Length: {}\r\n", body.len()),
        &body,
    );
    let mut raw = Raw::to(&stage);
    for byte in text.as_bytes().chunks(1) {
        raw.0.write_all(byte).unwrap();
    }
    let (status, body) = raw.answer();
    assert_eq!(status, 200, "{body}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::new();
    let good = grant_form(&Draft::enterprise().sign());
    let post = |body: &str| {
        request(
            &format!("Host: a\r\nContent-Length: {}\r\n", body.len()),
            body,
        )
    };
    let mut raw = Raw::to(&stage);
    raw.send(&format!(
        "{}{}GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        post(&good),
        post(&good)
    ));
    assert_eq!(raw.answer().0, 200);
    assert_eq!(raw.answer().0, 400);
    assert_eq!(raw.answer(), (200, "{\"status\":\"ok\"}".into()));
    assert_eq!(stage.broker.stats().connections, 1);
}

#[test]
fn a_length_beside_an_encoding_is_refused() {
    let stage = Stage::new();
    let body = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        let answer = exchange(&stage, &request(fields, body));
        is_refused(&answer, Refusal::MalformedRequest);
    }
    assert_eq!(stage.broker.stats().others, 0, "nothing was smuggled");
}

#[test]
fn chunked_bodies_are_not_read() {
    let stage = Stage::new();
    let fields = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    for body in [
        "5\r\na=b&c\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        // Without an end.
        "5\r\na=b&c\r\n",
    ] {
        let answer = exchange(&stage, &request(fields, body));
        is_refused(&answer, Refusal::LengthRequired);
    }
    assert_eq!(stage.broker.stats().others, 0);
}

#[test]
fn one_host_is_required() {
    let stage = Stage::new();
    for fields in [
        "Content-Length: 0\r\n",
        "Host: a\r\nHost: b\r\nContent-Length: 0\r\n",
    ] {
        let answer = exchange(&stage, &request(fields, ""));
        is_refused(&answer, Refusal::MalformedRequest);
    }
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert!(exchange(&stage, old).starts_with("HTTP/1.0 200 "));
}

#[test]
fn bare_line_feeds_are_refused() {
    let stage = Stage::new();
    let answer = exchange(&stage, "GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n");
    is_refused(&answer, Refusal::MalformedRequest);
}

#[test]
fn malformed_heads_get_no_further_than_the_parser() {
    let stage = Stage::new();
    let many: Vec<String> = (0..60).map(|i| format!("X-{i}: 1\r\n")).collect();
    let many = many.concat();
    let long = format!("X: {}\r\n", "a".repeat(100_000));
    for text in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        request(&format!("Host: a\r\n{many}Content-Length: 0\r\n"), ""),
        request(&format!("Host: a\r\n{long}Content-Length: 0\r\n"), ""),
        request("Host: a\r\nContent-Length: -1\r\n", ""),
    ] {
        let mut raw = Raw::to(&stage);
        // The broker may close before it has read everything.
        let _ = raw.0.write_all(text.as_bytes());
        let answer = raw.rest();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{:?} gave {answer:?}",
            &text[..text.len().min(80)]
        );
    }
    assert_eq!(stage.broker.stats().granted, 0);
    let health = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(exchange(&stage, health).starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_body_has_a_largest_size() {
    let stage = Stage::new();
    let max = Limits::default().max_body_bytes;
    let body_of = |len: usize| {
        let form = grant_form(&Draft::enterprise().sign());
        let pad = len - form.len() - "&pad=".len();
        format!("{form}&pad={}", "x".repeat(pad))
    };
    let post = |body: &str| {
        let length = format!("Host: a\r\nContent-Length: {}\r\n", body.len());
        request(&format!("{length}Connection: close\r\n"), body)
    };
    let answer = exchange(&stage, &post(&body_of(max)));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut raw = Raw::to(&stage);
    raw.send(&post(&body_of(max + 1)));
    let (status, body) = raw.answer();
    assert_eq!(status, 413, "{body}");
    // It does not wait for what was announced.
    let mut raw = Raw::to(&stage);
    raw.send(&request("Host: a\r\nContent-Length: 3000000\r\n", "a=b"));
    let (status, _) = raw.answer();
    assert_eq!(status, 413);
    assert_eq!(stage.broker.stats().refused(Refusal::BodyTooLarge), 2);
}

#[test]
fn an_empty_body_is_a_form_without_parameters() {
    let stage = Stage::new();
    let answer = exchange(&stage, &request("Host: a\r\nConnection: close\r\n", ""));
    is_refused(&answer, Refusal::InvalidGrantType);
}

#[test]
fn no_mutation_of_a_request_harms_the_broker() {
    let stage = impatient();
    let body = grant_form(&Draft::enterprise().sign());
    let good = request(
        &format!("Host: a\r\nContent-Length: {}\r\n", body.len()),
        &body,
    );
    // A fixed sequence of Knuth's MMIX generator, so that a failure recurs.
    let mut state: u64 = 7;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..400 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=below(3) {
            // Heads are a tenth of the bytes and deserve half of the blows.
            let reach = if below(2) == 0 { 150 } else { bytes.len() };
            let at = below(reach.min(bytes.len()));
            match below(4) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n:; &=%.\0"[below(10)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut raw = Raw::to(&stage);
        let _ = raw.0.write_all(&bytes);
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = raw.0.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1."),
            "{answer:?}"
        );
        assert!(!answer.contains(" 500 "), "{answer}");
    }
    let health = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(exchange(&stage, health).starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let stage = Stage::new();
    let body = grant_form(&Draft::enterprise().sign());
    for content_type in [
        "",
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencodedd",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencoded, application/json",
    ] {
        let request = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", content_type)
            .body(body.clone());
        Answer::of(request)
            .await
            .is(Refusal::UnsupportedContentType);
    }
    let untyped = stage.http.post(stage.broker.token_url()).body(body.clone());
    Answer::of(untyped)
        .await
        .is(Refusal::UnsupportedContentType);
    let compressed = stage
        .http
        .post(stage.broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("content-encoding", "gzip")
        .body(body.clone());
    Answer::of(compressed)
        .await
        .is(Refusal::UnsupportedContentType);
    stage.post(&body).await.token();
}

#[tokio::test]
async fn parameters_in_the_query_are_refused() {
    let stage = Stage::new();
    let body = grant_form(&Draft::enterprise().sign());
    for query in ["client_id=client0a", "a", "%zz", "="] {
        let request = stage
            .http
            .post(format!("{}?{query}", stage.broker.token_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.clone());
        Answer::of(request).await.is(Refusal::ParameterInQuery);
    }
}

#[tokio::test]
async fn malformed_forms_are_refused() {
    let stage = Stage::new();
    let good = grant_form(&Draft::enterprise().sign());
    for duplicate in [
        "&client_id=client0a",
        "&assertion=",
        "&grant_type=x",
        "&x=1&x=2",
        "&%63lient_id=client0a",
    ] {
        stage
            .post(&format!("{good}{duplicate}"))
            .await
            .is(Refusal::DuplicateParameter);
    }
    for fault in ["&x=%zz", "&x=%ff", "&x=%", "&x=\u{e9}", "&x=a b", "\r\n"] {
        stage
            .post(&format!("{good}{fault}"))
            .await
            .is(Refusal::MalformedForm);
    }
    stage.post(&good).await.token();
}

#[tokio::test]
async fn only_post_gets_a_token() {
    let stage = Stage::new();
    let url = stage.broker.token_url();
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = Answer::of(stage.http.request(method, &url)).await;
        answer.is(Refusal::MethodNotAllowed);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

#[tokio::test]
async fn other_addresses_are_answered_in_json() {
    let stage = Stage::new();
    let url = stage.broker.url();
    for path in [
        "/",
        "/oauth2/token/",
        "/oauth2",
        "//oauth2/token",
        "/OAUTH2/TOKEN",
        "/%2e%2e",
    ] {
        let answer = Answer::of(stage.http.post(format!("{url}{path}"))).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body["code"], "not_found");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    for path in ["/healthz", "/2.0/users/me"] {
        let answer = Answer::of(stage.http.post(format!("{url}{path}"))).await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.body["code"], "method_not_allowed");
    }
    let healthy = Answer::of(stage.http.get(format!("{url}/healthz"))).await;
    assert_eq!(healthy.status, 200);
    assert_eq!(healthy.body, json!({"status": "ok"}));
}
