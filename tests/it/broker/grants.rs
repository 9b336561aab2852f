//! Assertions that earn a token, and what the token is good for.

use mintmark::broker::{Access, KeyRegistration};
use mintmark::oauth::TokenResponse;

use super::*;

/// What an official SDK puts into its assertions.
struct Sdk {
    name: &'static str,
    names_its_key: bool,
    sends_iat: bool,
    jti: &'static str,
}

const SDKS: [Sdk; 6] = [
    Sdk {
        name: "Python 4",
        names_its_key: true,
        sends_iat: false,
        jti: "aB3dE5gH7jK9mN1p",
    },
    Sdk {
        name: "Python 10",
        names_its_key: true,
        sends_iat: false,
        jti: "5f9c1a5e-c8f4-11f0-9d2b-0242ac120002",
    },
    Sdk {
        name: "Node 3",
        names_its_key: true,
        sends_iat: false,
        jti: "0b7f3c1e-54a8-4a0b-8f3a-6e1f0c2d9b47",
    },
    Sdk {
        name: "Node 10",
        names_its_key: false,
        sends_iat: true,
        jti: "9a8b7c6d-1234-4cde-8fab-0123456789ab",
    },
    Sdk {
        name: "Java 5",
        names_its_key: true,
        sends_iat: false,
        jti: "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8BI0VniQ",
    },
    Sdk {
        name: "longest jti",
        names_its_key: true,
        sends_iat: false,
        jti: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
              0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    },
];

#[tokio::test]
async fn an_assertion_earns_a_token_of_the_service_account() {
    let stage = Stage::new();
    let answer = stage.present(&Draft::enterprise().sign()).await;
    let token = answer.token();
    assert_eq!(answer.body["token_type"], "bearer");
    assert_eq!(answer.body["restricted_to"], json!([]));
    assert!((3600..=4300).contains(&answer.body["expires_in"].as_u64().unwrap()));
    assert_eq!(answer.body.as_object().unwrap().len(), 4);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let parsed: TokenResponse = serde_json::from_value(answer.body.clone()).unwrap();
    assert_eq!(parsed.access_token.as_str(), token);

    let me = stage.me(token).await;
    assert_eq!(me.status, 200);
    let registry = stage.broker.registry().load();
    let account = registry.app(CLIENT).unwrap().service_account();
    assert_eq!(me.body["type"], "user");
    assert_eq!(me.body["id"], account.id);
    assert_eq!(me.body["login"], account.login);
    assert_eq!(stage.broker.stats().granted, 1);
}

#[tokio::test]
async fn every_official_sdk_is_understood() {
    let stage = Stage::new();
    for sdk in SDKS {
        let mut draft = Draft::enterprise().claim("jti", sdk.jti);
        if sdk.sends_iat {
            draft = draft.claim("iat", NOW);
        }
        if !sdk.names_its_key {
            draft = draft.without_header("kid").without_header("typ");
        }
        let answer = stage.present(&draft.sign()).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", sdk.name);
    }
}

#[tokio::test]
async fn every_algorithm_is_accepted() {
    let stage = Stage::new();
    for algorithm in [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512] {
        let draft = Draft::enterprise().signed_with(algorithm);
        stage.present(&draft.sign()).await.token();
    }
}

#[tokio::test]
async fn an_independent_library_agrees_on_what_is_accepted() {
    let stage = Stage::new();
    let assertion = Draft::user(MANAGED).claim("iat", NOW).sign();
    stage.present(&assertion).await.token();

    let own = key_a();
    let key = jsonwebtoken::DecodingKey::from_rsa_der(own.public_key().unwrap().inner());
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&[BOX_AUDIENCE]);
    rules.set_issuer(&[CLIENT]);
    // Its clock is the system's, not the test's.
    rules.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Value>(&assertion, &key, &rules).unwrap();
    assert_eq!(decoded.claims["sub"], MANAGED);
}

#[tokio::test]
async fn an_assertion_of_an_independent_library_is_accepted() {
    let stage = Stage::new();
    let key = key_a();
    let key = jsonwebtoken::EncodingKey::from_rsa_der(key.pkcs1_der().unwrap());
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS512);
    header.kid = Some(KID.into());
    let assertion =
        jsonwebtoken::encode(&header, &Value::from(Draft::enterprise().claims), &key).unwrap();
    stage.present(&assertion).await.token();
}

#[tokio::test]
async fn a_user_token_acts_as_the_user() {
    let stage = Stage::new();
    for id in [MANAGED, OF_APP] {
        let answer = stage.present(&Draft::user(id).sign()).await;
        let me = stage.me(answer.token()).await;
        assert_eq!(me.status, 200);
        assert_eq!(me.body["id"], id);
        assert_eq!(me.body["login"], format!("user{id}@example.com"));
    }
}

#[tokio::test]
async fn app_access_is_enough_for_users_of_the_app() {
    let stage = Stage::of_app(AppRegistration {
        access: Access::App,
        ..app()
    });
    stage.present(&Draft::user(OF_APP).sign()).await.token();
    stage.present(&Draft::enterprise().sign()).await.token();
}

#[tokio::test]
async fn the_audience_may_be_the_provider_or_the_broker_itself() {
    let stage = Stage::new();
    let own = stage.broker.token_url();
    for audience in [json!(BOX_AUDIENCE), json!(own), json!([own])] {
        let draft = Draft::enterprise().claim("aud", audience);
        stage.present(&draft.sign()).await.token();
    }
}

#[tokio::test]
async fn times_are_accepted_up_to_their_bounds() {
    let stage = Stage::new();
    for draft in [
        Draft::enterprise().claim("exp", NOW + 1),
        Draft::enterprise().claim("exp", NOW + 60),
        Draft::enterprise().claim("iat", NOW).claim("exp", NOW + 60),
        Draft::enterprise()
            .claim("iat", NOW - 29)
            .claim("exp", NOW + 31),
        Draft::enterprise().claim("nbf", NOW),
        Draft::enterprise().claim("nbf", 0),
    ] {
        stage.present(&draft.sign()).await.token();
    }
}

#[tokio::test]
async fn the_last_second_of_a_life_counts() {
    let stage = Stage::new();
    let draft = Draft::enterprise();
    stage
        .clock
        .set_unix(Duration::from_millis((NOW + 30) * 1000 - 1));
    stage.present(&draft.sign()).await.token();
}

#[tokio::test]
async fn unknown_claims_and_parameters_are_ignored() {
    let stage = Stage::new();
    let assertion = Draft::enterprise()
        .claim("scope", "root_readwrite")
        .claim("more", json!({"deep": [1, {"er": null}]}))
        .sign();
    let body = form(&[
        ("box_device_id", "0"),
        ("box_device_name", "my laptop"),
        ("assertion", &assertion),
        ("client_secret", SECRET),
        ("client_id", CLIENT),
        ("grant_type", JWT_BEARER),
        ("scope", ""),
    ]);
    stage.post(&body).await.token();
}

#[tokio::test]
async fn content_types_may_name_utf_8() {
    let stage = Stage::new();
    for content_type in [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded; charset=\"utf-8\"",
        "application/x-www-form-urlencoded; boundary=x",
    ] {
        let request = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", content_type)
            .body(grant_form(&Draft::enterprise().sign()));
        Answer::of(request).await.token();
    }
}

#[tokio::test]
async fn keys_are_rotated_without_a_gap() {
    let second = key_b().public_key().unwrap().clone();
    let stage = Stage::of_app(app().with_key("kid0000b", second));
    let with_b = Draft::enterprise().header("kid", "kid0000b");
    stage.present(&with_b.sign_with(&key_b())).await.token();
    stage.present(&Draft::enterprise().sign()).await.token();
    // A client that names no key, as the current Node SDK.
    for key in [key_a(), key_b()] {
        let nameless = Draft::enterprise().without_header("kid");
        stage.present(&nameless.sign_with(&key)).await.token();
    }
    // A name binds: the other key of the app is the wrong one.
    stage
        .present(&Draft::enterprise().sign_with(&key_b()))
        .await
        .is(Refusal::BadSignature);
}

#[tokio::test]
async fn a_key_may_be_bound_to_fewer_algorithms() {
    let mut app = app();
    app.keys = vec![KeyRegistration {
        algorithms: vec![Algorithm::Rs512],
        ..app.keys.remove(0)
    }];
    let stage = Stage::of_app(app);
    let good = Draft::enterprise().signed_with(Algorithm::Rs512);
    stage.present(&good.sign()).await.token();
    stage
        .present(&Draft::enterprise().sign())
        .await
        .is(Refusal::AlgorithmNotAllowed);
    stage
        .present(&Draft::enterprise().without_header("kid").sign())
        .await
        .is(Refusal::AlgorithmNotAllowed);
}

#[tokio::test]
async fn a_new_token_leaves_earlier_ones_valid() {
    let stage = Stage::new();
    let first = stage.present(&Draft::enterprise().sign()).await;
    let second = stage.present(&Draft::enterprise().sign()).await;
    assert_ne!(first.token(), second.token());
    assert_eq!(stage.me(first.token()).await.status, 200);
    assert_eq!(stage.me(second.token()).await.status, 200);
}

#[tokio::test]
async fn a_token_ends_with_its_life_or_with_its_app() {
    let stage = Stage::new();
    let answer = stage.present(&Draft::enterprise().sign()).await;
    let life = answer.body["expires_in"].as_u64().unwrap();
    let token = answer.token();

    let disable = |to: bool| {
        let edit = stage
            .broker
            .registry()
            .edit(|next| next.set_enabled(CLIENT, to));
        edit.unwrap();
    };
    disable(false);
    assert_eq!(stage.me(token).await.status, 401);
    disable(true);
    stage.clock.set_unix(Duration::from_secs(NOW + life - 1));
    assert_eq!(stage.me(token).await.status, 200);
    stage.clock.set_unix(Duration::from_secs(NOW + life));
    assert_eq!(stage.me(token).await.status, 401);
}

#[tokio::test]
async fn a_bad_bearer_token_is_challenged() {
    let stage = Stage::new();
    for token in [
        "nonsense",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let answer = stage.me(token).await;
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(answer.body["status"], 401);
    }
    let nobody = stage
        .http
        .get(format!("{}/2.0/users/me", stage.broker.url()));
    let answer = Answer::of(nobody).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"Service\"")
    );
}

#[tokio::test]
async fn the_date_is_that_of_the_brokers_clock() {
    let stage = Stage::new();
    let date_of = |answer: &Answer| {
        let date = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap();
        date.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let answer = stage.present(&Draft::enterprise().sign()).await;
    assert_eq!(date_of(&answer), NOW);
    stage.clock.advance(Duration::from_secs(86_400));
    let answer = stage.present(&Draft::enterprise().sign()).await;
    answer.is(Refusal::Expired);
    assert_eq!(date_of(&answer), NOW + 86_400);
    stage.clock.set_unix(Duration::from_secs(NOW - 5));
    let answer = stage.present("x").await;
    assert_eq!(date_of(&answer), NOW - 5);
}
