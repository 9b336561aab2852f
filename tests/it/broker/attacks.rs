//! Known ways around a laxer verifier, each with the exact answer.

use super::http::{Raw, request};
use super::*;

/// The answer to a header and claims that are signed as they stand.
async fn answer_to(stage: &Stage, header: &str, claims: &str) -> Answer {
    let assertion = sign_raw(
        &key_a(),
        Algorithm::Rs256,
        header.as_bytes(),
        claims.as_bytes(),
    );
    stage.present(&assertion).await
}

fn good_header() -> String {
    Value::from(Draft::enterprise().header).to_string()
}

fn good_claims() -> String {
    Value::from(Draft::enterprise().claims).to_string()
}

/// Adds a member at the end of a JSON object.
fn with_member(object: &str, member: &str) -> String {
    format!("{},{member}}}", object.strip_suffix('}').unwrap())
}

fn hs256(key: &[u8], message: &str) -> String {
    use aws_lc_rs::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test]
async fn the_algorithm_none_is_never_one() {
    let stage = Stage::new();
    for alg in ["none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "RS1"] {
        let draft = Draft::enterprise().header("alg", alg);
        let signed = draft.sign();
        let (message, _) = signed.rsplit_once('.').unwrap();
        stage
            .present(&signed)
            .await
            .is(Refusal::AlgorithmNotAllowed);
        stage
            .present(&format!("{message}.AA"))
            .await
            .is(Refusal::AlgorithmNotAllowed);
        stage
            .present(&format!("{message}."))
            .await
            .is(Refusal::MalformedAssertion);
        stage.present(message).await.is(Refusal::MalformedAssertion);
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let stage = Stage::new();
    let key = key_a();
    let public = key.public_key().unwrap();
    let pem = public.to_pem();
    let jwk = json!({"kty": "RSA", "kid": KID}).to_string();
    for secret in [
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
        public.spki_der(),
        public.inner(),
        jwk.as_bytes(),
        SECRET.as_bytes(),
        b"",
    ] {
        for alg in ["HS256", "RS256"] {
            let draft = Draft::enterprise().header("alg", alg);
            let signed = draft.sign();
            let (message, _) = signed.rsplit_once('.').unwrap();
            stage.present(&hs256(secret, message)).await.is(match alg {
                "RS256" => Refusal::BadSignature,
                _ => Refusal::AlgorithmNotAllowed,
            });
        }
    }
}

#[tokio::test]
async fn other_algorithms_on_an_rsa_key_are_refused() {
    let stage = Stage::new();
    for algorithm in [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512] {
        let draft = Draft::enterprise().signed_with(algorithm);
        stage
            .present(&draft.sign())
            .await
            .is(Refusal::AlgorithmNotAllowed);
        // The right signature of another scheme under an allowed name.
        let renamed = draft.header("alg", "RS256");
        stage
            .present(&renamed.sign())
            .await
            .is(Refusal::BadSignature);
    }
    for alg in ["ES256", "ES384", "EdDSA", "HS512", "RSA-OAEP", "dir"] {
        let draft = Draft::enterprise().header("alg", alg);
        stage
            .present(&draft.sign())
            .await
            .is(Refusal::AlgorithmNotAllowed);
    }
    // The digest of another algorithm than the header says.
    let mut draft = Draft::enterprise();
    draft.algorithm = Algorithm::Rs512;
    stage.present(&draft.sign()).await.is(Refusal::BadSignature);
}

#[tokio::test]
async fn keys_that_the_assertion_brings_along_are_refused() {
    let stage = Stage::new();
    let members = [
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("p2c", json!(1_000_000_000)),
    ];
    for (name, value) in members {
        let draft = Draft::enterprise().header(name, value);
        stage
            .present(&draft.sign_with(&key_b()))
            .await
            .is(Refusal::MalformedAssertion);
        stage
            .present(&draft.sign())
            .await
            .is(Refusal::MalformedAssertion);
    }
}

#[tokio::test]
async fn tokens_of_other_kinds_are_refused() {
    let stage = Stage::new();
    for (name, value) in [
        ("typ", "at+jwt"),
        ("typ", "client-authentication+jwt"),
        ("typ", "dpop+jwt"),
        ("typ", ""),
        ("cty", "JWT"),
    ] {
        let draft = Draft::enterprise().header(name, value);
        stage
            .present(&draft.sign())
            .await
            .is(Refusal::MalformedAssertion);
    }
    let access_token = stage.present(&Draft::enterprise().sign()).await;
    stage
        .present(access_token.token())
        .await
        .is(Refusal::MalformedAssertion);
}

#[tokio::test]
async fn a_signature_fits_its_bytes_alone() {
    let stage = Stage::new();
    let good = Draft::enterprise().sign();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let zeros = vec![0; signature.len()];
    let ones = vec![0xff; signature.len()];
    let mut flipped = signature.clone();
    flipped[0] ^= 1;
    let other = Draft::enterprise().sign_with(&key_b());
    let other = URL_SAFE_NO_PAD
        .decode(other.rsplit_once('.').unwrap().1)
        .unwrap();
    for forged in [
        &signature[1..],
        &signature[..signature.len() - 1],
        &[&signature[..], &[0]].concat(),
        &[&[0], &signature[..]].concat(),
        &[0],
        &zeros,
        &ones,
        &flipped,
        &other,
    ] {
        let assertion = format!("{message}.{}", URL_SAFE_NO_PAD.encode(forged));
        stage.present(&assertion).await.is(Refusal::BadSignature);
    }
    let modified = message.replace('A', "B");
    let assertion = format!("{modified}.{}", URL_SAFE_NO_PAD.encode(&signature));
    assert_eq!(stage.present(&assertion).await.status, 400);
    stage.present(&good).await.token();
}

#[tokio::test]
async fn an_encoding_has_one_form() {
    let stage = Stage::new();
    let good = Draft::enterprise().sign();
    let parts: Vec<&str> = good.split('.').collect();
    for assertion in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}."),
        format!("{good}.AA"),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        good.replace('.', ".."),
        good.replacen('.', "%2e", 1),
        // JSON serialization instead of the compact one.
        json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string(),
        "a".repeat(9_000),
        "..".into(),
        "é.é.é".into(),
    ] {
        stage
            .present(&assertion)
            .await
            .is(Refusal::MalformedAssertion);
    }
    // Claims are not even decoded before the signature has verified.
    let spoilt = format!("{}.{}=.{}", parts[0], parts[1], parts[2]);
    stage.present(&spoilt).await.is(Refusal::BadSignature);
    // 256 bytes leave four bits over in the last character.
    let (head, last) = good.split_at(good.len() - 1);
    let last = last.as_bytes()[0];
    let sibling = if last == b'A' {
        'B'
    } else {
        char::from(last + 1)
    };
    stage
        .present(&format!("{head}{sibling}"))
        .await
        .is(Refusal::MalformedAssertion);
    stage.present(&good).await.token();
}

#[tokio::test]
async fn a_header_is_one_strict_object() {
    let stage = Stage::new();
    let claims = good_claims();
    for header in [
        with_member(&good_header(), "\"alg\":\"none\""),
        with_member(&good_header(), "\"alg\":\"RS256\""),
        with_member(&good_header(), "\"\\u0061lg\":\"none\""),
        with_member(&good_header(), "\"kid\":\"kid0000a\""),
        format!("{}{{}}", good_header()),
        format!("\u{feff}{}", good_header()),
        format!("[{}]", good_header()),
        good_header().replace('"', "'"),
        "{".repeat(1000),
        String::from("null"),
    ] {
        answer_to(&stage, &header, &claims)
            .await
            .is(Refusal::MalformedAssertion);
    }
    let padded = format!("{}{}", good_header(), " ".repeat(1024));
    answer_to(&stage, &padded, &claims)
        .await
        .is(Refusal::MalformedAssertion);
}

#[tokio::test]
async fn claims_are_one_strict_object() {
    let stage = Stage::new();
    let header = good_header();
    let nested = |depth: usize| {
        let deep = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        with_member(&good_claims(), &format!("\"x\":{deep}"))
    };
    let many: Vec<String> = (0..40).map(|i| format!("\"x{i}\":{i}")).collect();
    for claims in [
        with_member(&good_claims(), "\"sub\":\"700200\""),
        with_member(&good_claims(), "\"iss\":\"client0a\""),
        with_member(&good_claims(), "\"exp\":9999999999"),
        with_member(&good_claims(), "\"j\\u0074i\":\"0123456789abcdef\""),
        with_member(&good_claims(), "\"x\":{\"y\":1,\"y\":2}"),
        with_member(&good_claims(), "\"x\":[{\"y\":{\"z\":1,\"z\":1}}]"),
        with_member(&good_claims(), &many.join(",")),
        with_member(&good_claims(), "\"x\":1e999"),
        with_member(&good_claims(), "\"x\":\"\\ud800\""),
        with_member(&good_claims(), "\"x\":NaN"),
        format!("{} {{}}", good_claims()),
        format!("[{}]", good_claims()),
        format!("{}{}", good_claims(), " ".repeat(4096)),
        nested(9),
        nested(1_500),
    ] {
        answer_to(&stage, &header, &claims)
            .await
            .is(Refusal::MalformedAssertion);
    }
    let bytes = with_member(&good_claims(), "\"x\":\"?\"").replace('?', "\u{fe}");
    let bytes: Vec<u8> = bytes
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let assertion = sign_raw(&key_a(), Algorithm::Rs256, header.as_bytes(), &bytes);
    stage
        .present(&assertion)
        .await
        .is(Refusal::MalformedAssertion);
    answer_to(&stage, &header, &nested(8)).await.token();
}

#[tokio::test]
async fn the_claims_of_strangers_are_never_read() {
    // A forger learns nothing of which claims would have passed.
    let stage = Stage::new();
    for claims in ["{}", "nonsense", "{\"iss\":1,\"iss\":2}", &good_claims()] {
        let assertion = sign_raw(
            &key_b(),
            Algorithm::Rs256,
            good_header().as_bytes(),
            claims.as_bytes(),
        );
        stage.present(&assertion).await.is(Refusal::BadSignature);
    }
}

#[test]
fn of_a_thousand_simultaneous_copies_one_wins() {
    const COPIES: usize = 1000;
    allow_open_files(4 * COPIES as u64);
    let stage = Stage::with(Setting {
        limits: Limits {
            body_timeout: Duration::from_secs(60),
            ..Limits::default()
        },
        ..Setting::default()
    });
    let body = grant_form(&Draft::enterprise().sign());
    let length = format!("Host: a\r\nContent-Length: {}\r\n", body.len());
    let (most, last) = body.split_at(body.len() - 1);
    // All of them are there but for their last byte, which then comes.
    let mut copies: Vec<_> = (0..COPIES)
        .map(|_| {
            let mut raw = Raw::to(&stage);
            raw.send(&request(&length, most));
            raw
        })
        .collect();
    while stage.broker.stats().requests < COPIES as u64 {
        std::thread::yield_now();
    }
    for copy in &mut copies {
        copy.send(last);
    }
    let mut won = 0;
    for copy in &mut copies {
        let (status, body) = copy.answer();
        if status == 200 {
            won += 1;
        } else {
            let body: Value = serde_json::from_str(&body).unwrap();
            let expected = Refusal::ReplayedJti.description();
            assert_eq!(
                (status, &body["error_description"]),
                (400, &json!(expected))
            );
        }
    }
    assert_eq!(won, 1);
    let stats = stage.broker.stats();
    assert_eq!(stats.granted, 1);
    assert_eq!(stats.refused(Refusal::ReplayedJti), COPIES as u64 - 1);
}

/// Raises the limit of open files, as far as that goes.
fn allow_open_files(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < raised) {
        let limit = Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

#[tokio::test]
async fn no_answer_echoes_what_was_sent() {
    const MARK: &str = "Zq9\r\nX-Injected: 1";
    let stage = Stage::new();
    let assertion = Draft::enterprise().claim("iss", MARK).sign();
    for body in [
        form(&[("grant_type", MARK)]),
        form(&[("grant_type", JWT_BEARER), ("client_id", MARK)]),
        form(&[(MARK, MARK), ("grant_type", JWT_BEARER)]),
        grant_form(MARK),
        grant_form(&assertion),
    ] {
        let answer = stage.post(&body).await;
        assert_eq!(answer.status, 400);
        assert!(!answer.body.to_string().contains("Zq9"));
        assert!(answer.header("x-injected").is_none());
    }
    let path = format!("{}/Zq9", stage.broker.url());
    let answer = Answer::of(stage.http.get(path)).await;
    assert!(!answer.body.to_string().contains("Zq9"));
}
