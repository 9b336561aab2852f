//! Three transports, one behaviour.

use std::collections::BTreeMap;
use std::time::Duration;

use mintmark::load::open::OpenPlan;
use mintmark::load::transport::{Kind, Limits};

use super::target::{Act, BODY, Target, answer, ok};
use super::{counts, plan, run};

const KINDS: [Kind; 3] = [Kind::Lean, Kind::Hyper, Kind::Reqwest];

/// Sends 40 requests with each transport and returns their outcomes.
fn outcomes(act: &Act, change: impl Fn(&mut OpenPlan)) -> Vec<BTreeMap<String, u64>> {
    KINDS
        .iter()
        .map(|kind| {
            let target = Target::new(act.clone());
            let mut plan = plan(200.0, Duration::from_millis(200));
            plan.transport = *kind;
            change(&mut plan);
            counts(&run(&plan, &target.url()))
        })
        .collect()
}

fn all_are(outcome: &str, found: &[BTreeMap<String, u64>]) {
    for (kind, counts) in KINDS.iter().zip(found) {
        assert_eq!(
            counts,
            &BTreeMap::from([(outcome.to_owned(), 40)]),
            "{kind:?}"
        );
    }
}

#[test]
fn a_token_is_a_token_however_it_arrives() {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        20,
        &BODY[..20],
        BODY.len() - 20,
        &BODY[20..]
    );
    let until_closed = format!("HTTP/1.1 200 OK\r\n\r\n{BODY}");
    let interim = [
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec(),
        ok(),
    ]
    .concat();
    for act in [
        Act::Write(ok()),
        Act::Write(chunked.into_bytes()),
        Act::Write(interim),
        Act::WriteAndClose(answer("200 OK", "connection: close\r\n", BODY)),
        Act::WriteAndClose(until_closed.into_bytes()),
        Act::Drip(ok(), Duration::ZERO),
    ] {
        all_are("answered", &outcomes(&act, |_| ()));
    }
}

#[test]
fn refusals_and_faults_have_the_same_names() {
    let refusal = r#"{"error":"invalid_grant","error_description":"x"}"#;
    for (act, outcome) in [
        (
            Act::Write(answer("400 Bad Request", "", refusal)),
            "oauth_400_invalid_grant",
        ),
        (
            Act::Write(answer(
                "429 Too Many Requests",
                "retry-after: 1\r\n",
                "slow",
            )),
            "http_429",
        ),
        (Act::Write(answer("503 Busy", "", "")), "http_503"),
        (Act::Write(answer("200 OK", "", "<html>")), "malformed_body"),
        (Act::Reset, "connection_reset"),
        (Act::WriteAndClose(ok()[..60].to_vec()), "connection_reset"),
    ] {
        all_are(outcome, &outcomes(&act, |_| ()));
    }
}

#[test]
fn a_missing_token_is_told_apart_from_a_strange_body() {
    let target = Target::new(Act::Write(answer(
        "200 OK",
        "",
        r#"{"token_type":"bearer"}"#,
    )));
    for kind in [Kind::Lean, Kind::Hyper] {
        let mut plan = plan(200.0, Duration::from_millis(100));
        plan.transport = kind;
        assert_eq!(counts(&run(&plan, &target.url()))["token_missing"], 20);
    }
}

#[test]
fn each_part_has_its_own_time_out() {
    let limits = |plan: &mut OpenPlan| {
        plan.connections = 40;
        plan.limits = Limits {
            first_byte: Duration::from_millis(60),
            body: Duration::from_millis(60),
            ..Limits::each(Duration::from_secs(20))
        };
    };
    for (act, outcome) in [
        (Act::Silence, "timed_out_first_byte"),
        (
            Act::Begin(ok()[..ok().len() - 3].to_vec()),
            "timed_out_body",
        ),
    ] {
        all_are(outcome, &outcomes(&act, limits));
    }
}

#[test]
fn nobody_listens() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for kind in KINDS {
        let mut plan = plan(200.0, Duration::from_millis(100));
        plan.transport = kind;
        let found = counts(&run(&plan, &format!("http://{address}/t")));
        assert_eq!(found, BTreeMap::from([("connect_refused".to_owned(), 20)]));
    }
}

#[test]
fn the_request_on_the_wire_is_the_same_form() {
    let mut bodies = Vec::new();
    for kind in KINDS {
        let target = Target::new(Act::Write(ok()));
        let mut plan = plan(100.0, Duration::from_millis(50));
        plan.transport = kind;
        run(&plan, &target.url());
        let requests = target.requests.lock().unwrap();
        let text = String::from_utf8(requests[0].clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("post /oauth2/token http/1.1\r\n"),
            "{head}"
        );
        for field in [
            "content-type: application/x-www-form-urlencoded",
            "accept: application/json",
            &format!("host: {}", target.address),
        ] {
            assert!(head.contains(field), "{kind:?}: {field} is not in {head}");
        }
        let (before, assertion) = body.split_once("assertion=").unwrap();
        assert_eq!(assertion.split('.').count(), 3);
        bodies.push(before.to_owned());
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "{bodies:?}"
    );
}

#[test]
fn a_connection_serves_many_requests_or_one() {
    for kind in [Kind::Lean, Kind::Hyper] {
        for (is_kept, expected) in [(true, 1), (false, 20)] {
            let target = Target::new(Act::Write(ok()));
            let mut plan = plan(100.0, Duration::from_millis(200));
            plan.transport = kind;
            plan.connections = 1;
            plan.is_kept = is_kept;
            let measured = run(&plan, &target.url());
            let connects = measured.outcomes[0].stages.connect.open().count();
            assert_eq!(connects, expected, "{kind:?}");
        }
    }
}

#[test]
fn http_2_shares_a_connection_between_streams() {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let url = format!("http://{}/oauth2/token", listener.local_addr().unwrap());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|_| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(BODY))))
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let mut plan = plan(500.0, Duration::from_millis(400));
    plan.transport = Kind::HyperH2;
    plan.connections = 2;
    plan.streams = 16;
    let measured = run(&plan, &url);
    assert_eq!(counts(&measured)["answered"], 200);
    let connects = measured.outcomes[0].stages.connect.open().count();
    assert_eq!(connects, 2);
}
