//! Every row of the error table, with its status, code and description.

use mintmark::broker::Access;
use mintmark::broker::Terms;

use super::*;

/// Presents each assertion to a fresh broker and expects one answer.
async fn refused(refusal: Refusal, drafts: impl IntoIterator<Item = Draft>) {
    let stage = Stage::new();
    for draft in drafts {
        let answer = stage.present(&draft.sign()).await;
        assert_eq!(
            answer.body["error_description"],
            refusal.description(),
            "{:?}",
            draft.claims
        );
        answer.is(refusal);
    }
    assert_eq!(stage.broker.stats().granted, 0);
    assert!(stage.broker.stats().refused(refusal) > 0);
}

#[tokio::test]
async fn an_app_needs_authorization_and_enablement() {
    let stage = Stage::of_app(AppRegistration {
        authorized: false,
        ..app()
    });
    let present = async || stage.present(&Draft::enterprise().sign()).await;
    present().await.is(Refusal::AppNotAuthorized);
    let registry = stage.broker.registry();
    registry
        .edit(|next| next.set_authorized(CLIENT, true))
        .unwrap();
    present().await.token();
    registry
        .edit(|next| next.set_enabled(CLIENT, false))
        .unwrap();
    present().await.is(Refusal::AppNotAuthorized);
}

#[tokio::test]
async fn edited_terms_wait_for_reauthorization() {
    let stage = Stage::of_app(AppRegistration {
        user_tokens: false,
        ..app()
    });
    let present = async || stage.present(&Draft::user(OF_APP).sign()).await;
    present().await.is(Refusal::UserTokenNotPermitted);
    let registry = stage.broker.registry();
    let terms = Terms {
        user_tokens: true,
        ..app().terms()
    };
    registry.edit(|next| next.set_terms(CLIENT, terms)).unwrap();
    assert!(registry.load().app(CLIENT).unwrap().needs_reauthorization());
    present().await.is(Refusal::UserTokenNotPermitted);
    registry
        .edit(|next| next.set_authorized(CLIENT, true))
        .unwrap();
    assert!(!registry.load().app(CLIENT).unwrap().needs_reauthorization());
    present().await.token();
}

#[tokio::test]
async fn a_client_proves_itself_with_its_secret() {
    let stage = Stage::new();
    let assertion = Draft::enterprise().sign();
    for (id, secret) in [
        (CLIENT, "wrong"),
        (CLIENT, ""),
        (CLIENT, "secret0a "),
        (CLIENT, "SECRET0A"),
        ("nobody", SECRET),
        ("", SECRET),
        ("client0A", SECRET),
        ("client0a\0", SECRET),
    ] {
        let body = form(&[
            ("grant_type", JWT_BEARER),
            ("client_id", id),
            ("client_secret", secret),
            ("assertion", &assertion),
        ]);
        stage.post(&body).await.is(Refusal::InvalidClient);
    }
    let body = form(&[("grant_type", JWT_BEARER), ("assertion", &assertion)]);
    stage.post(&body).await.is(Refusal::InvalidClient);
    stage.present(&assertion).await.token();
}

#[tokio::test]
async fn the_grant_type_has_to_be_known() {
    let stage = Stage::new();
    for grant_type in ["", "jwt-bearer", "password", "authorization_code", "a\r\nb"] {
        let body = form(&[
            ("grant_type", grant_type),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ]);
        stage.post(&body).await.is(Refusal::InvalidGrantType);
    }
    stage.post("").await.is(Refusal::InvalidGrantType);
}

#[tokio::test]
async fn grants_of_other_apps_are_not_for_this_one() {
    let stage = Stage::new();
    for grant_type in ["client_credentials", "refresh_token"] {
        let body = |secret| {
            form(&[
                ("grant_type", grant_type),
                ("client_id", CLIENT),
                ("client_secret", secret),
            ])
        };
        stage.post(&body(SECRET)).await.is(Refusal::GrantNotAllowed);
        stage.post(&body("wrong")).await.is(Refusal::InvalidClient);
    }
}

#[tokio::test]
async fn a_user_token_needs_the_feature_and_the_access() {
    let without_feature = Stage::of_app(AppRegistration {
        user_tokens: false,
        ..app()
    });
    for id in [MANAGED, OF_APP] {
        without_feature
            .present(&Draft::user(id).sign())
            .await
            .is(Refusal::UserTokenNotPermitted);
    }
    let without_access = Stage::of_app(AppRegistration {
        access: Access::App,
        ..app()
    });
    without_access
        .present(&Draft::user(MANAGED).sign())
        .await
        .is(Refusal::UserTokenNotPermitted);
}

#[tokio::test]
async fn the_service_account_is_asked_for_as_the_enterprise() {
    let stage = Stage::new();
    let id = {
        let registry = stage.broker.registry().load();
        registry.app(CLIENT).unwrap().service_account().id.clone()
    };
    stage
        .present(&Draft::user(&id).sign())
        .await
        .is(Refusal::UserTokenNotPermitted);
}

#[tokio::test]
async fn the_subject_has_to_be_known_and_a_string() {
    let id: u64 = ENTERPRISE.parse().unwrap();
    refused(
        Refusal::InvalidSubject,
        [
            Draft::enterprise().claim("sub", "0"),
            Draft::enterprise().claim("sub", id),
            Draft::enterprise().claim("sub", MANAGED),
            Draft::enterprise().claim("sub", "900100 "),
            Draft::enterprise().claim("sub", json!([ENTERPRISE])),
            Draft::enterprise().without_claim("sub"),
            Draft::enterprise().without_claim("box_sub_type"),
            Draft::enterprise().claim("box_sub_type", "Enterprise"),
            Draft::enterprise().claim("box_sub_type", "external"),
            Draft::enterprise().claim("box_sub_type", 1),
            Draft::user(ENTERPRISE),
            Draft::user("1"),
            Draft::user(""),
            Draft::user(MANAGED).claim("box_sub_type", "enterprise"),
        ],
    )
    .await;
}

#[tokio::test]
async fn users_of_others_are_unknown() {
    let stage = Stage::new();
    let registry = stage.broker.registry();
    registry
        .edit(|next| {
            next.add_app(&AppRegistration::new("client0b", "secret0b", "900200"))?;
            next.add_user(&UserRegistration::of_app("1001", "client0b"))?;
            next.add_user(&UserRegistration::managed("1002", "900200"))
        })
        .unwrap();
    for id in ["1001", "1002"] {
        stage
            .present(&Draft::user(id).sign())
            .await
            .is(Refusal::InvalidSubject);
    }
}

#[tokio::test]
async fn the_issuer_is_the_client() {
    refused(
        Refusal::InvalidIssuer,
        [
            Draft::enterprise().claim("iss", "client0b"),
            Draft::enterprise().claim("iss", ""),
            Draft::enterprise().claim("iss", 5),
            Draft::enterprise().claim("iss", json!([CLIENT])),
            Draft::enterprise().without_claim("iss"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_audience_is_compared_as_a_plain_string() {
    refused(
        Refusal::InvalidAudience,
        [
            Draft::enterprise().without_claim("aud"),
            Draft::enterprise().claim("aud", "https://api.box.com/oauth2/token/"),
            Draft::enterprise().claim("aud", "https://API.box.com/oauth2/token"),
            Draft::enterprise().claim("aud", "https://api.box.com/oauth2"),
            Draft::enterprise().claim("aud", "https://api.box.com:443/oauth2/token"),
            Draft::enterprise().claim("aud", "https://api.box.com/oauth2/token?"),
            Draft::enterprise().claim("aud", "https://evil.example/oauth2/token"),
            Draft::enterprise().claim("aud", json!([])),
            Draft::enterprise().claim("aud", json!([BOX_AUDIENCE, "https://evil.example"])),
            Draft::enterprise().claim("aud", json!(["https://evil.example", BOX_AUDIENCE])),
            Draft::enterprise().claim("aud", json!({"0": BOX_AUDIENCE})),
            Draft::enterprise().claim("aud", json!([[BOX_AUDIENCE]])),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_expired_assertion_says_so() {
    refused(
        Refusal::Expired,
        [
            Draft::enterprise().claim("exp", NOW),
            Draft::enterprise().claim("exp", NOW - 1),
            Draft::enterprise().claim("exp", 0),
            Draft::enterprise()
                .claim("exp", NOW - 120)
                .claim("iat", NOW),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_assertion_lives_for_a_minute_at_most() {
    refused(
        Refusal::ExpiryTooFar,
        [
            Draft::enterprise().claim("exp", NOW + 61),
            Draft::enterprise().claim("exp", NOW + 31_536_000),
            Draft::enterprise().claim("exp", (1_u64 << 53) - 1),
            Draft::enterprise()
                .claim("exp", NOW + 31)
                .claim("iat", NOW - 30),
            // A client whose clock is two minutes fast.
            Draft::enterprise()
                .claim("exp", NOW + 150)
                .claim("iat", NOW + 120),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_expiry_is_an_integer() {
    refused(
        Refusal::ExpiryTooFar,
        [
            Draft::enterprise().without_claim("exp"),
            Draft::enterprise().claim("exp", (NOW + 30).to_string()),
            Draft::enterprise().claim("exp", 1_800_000_030.0),
            Draft::enterprise().claim("exp", -1),
            Draft::enterprise().claim("exp", u64::MAX),
            Draft::enterprise().claim("exp", json!(null)),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_assertion_of_the_future_is_not_valid_yet() {
    refused(
        Refusal::NotYetValid,
        [
            Draft::enterprise().claim("iat", NOW + 1),
            Draft::enterprise().claim("nbf", NOW + 1),
            Draft::enterprise().claim("nbf", NOW + 10_000),
            Draft::enterprise().claim("iat", "now"),
            Draft::enterprise().claim("nbf", 1.5),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_jti_has_sixteen_to_128_characters() {
    refused(
        Refusal::InvalidJti,
        [
            Draft::enterprise().without_claim("jti"),
            Draft::enterprise().claim("jti", ""),
            Draft::enterprise().claim("jti", "a".repeat(15)),
            Draft::enterprise().claim("jti", "a".repeat(129)),
            Draft::enterprise().claim("jti", "ä".repeat(15)),
            Draft::enterprise().claim("jti", 1_234_567_890_123_456_789_u64),
            Draft::enterprise().claim("jti", json!(["0123456789abcdef"])),
            Draft::enterprise().claim("jti", "0123456789abcdef\u{0}"),
            Draft::enterprise().claim("jti", "0123456789abcdef\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_key_has_to_be_one_of_the_apps() {
    let stage = Stage::new();
    for kid in [
        "kid0000b",
        "KID0000A",
        "../../dev/null",
        "' OR 1=1 --",
        "",
        "a\u{0}",
    ] {
        let draft = Draft::enterprise().header("kid", kid);
        stage.present(&draft.sign()).await.is(Refusal::UnknownKey);
    }
    let draft = Draft::enterprise().header("kid", 7);
    stage.present(&draft.sign()).await.is(Refusal::UnknownKey);
}

#[tokio::test]
async fn an_app_without_keys_verifies_nothing() {
    let stage = Stage::of_app(AppRegistration {
        keys: Vec::new(),
        ..app()
    });
    stage
        .present(&Draft::enterprise().sign())
        .await
        .is(Refusal::UnknownKey);
    stage
        .present(&Draft::enterprise().without_header("kid").sign())
        .await
        .is(Refusal::BadSignature);
}

#[tokio::test]
async fn an_assertion_has_to_be_there() {
    let stage = Stage::new();
    stage.present("").await.is(Refusal::MissingAssertion);
}

#[tokio::test]
async fn checks_run_in_their_order() {
    // Each request is wrong in every way from some check on.
    let stage = Stage::new();
    let worst = Draft::enterprise()
        .claim("iss", "x")
        .claim("aud", "x")
        .claim("exp", 0)
        .claim("iat", NOW + 9)
        .claim("jti", "x")
        .claim("sub", "x");
    let steps: [(&str, Value, Refusal); 6] = [
        ("iss", json!(CLIENT), Refusal::InvalidIssuer),
        ("aud", json!(BOX_AUDIENCE), Refusal::InvalidAudience),
        ("exp", json!(NOW + 30), Refusal::Expired),
        ("iat", json!(NOW), Refusal::NotYetValid),
        ("jti", json!(unique_jti()), Refusal::InvalidJti),
        ("sub", json!(ENTERPRISE), Refusal::InvalidSubject),
    ];
    let mut draft = worst;
    stage
        .present(&draft.clone().header("kid", "x").sign_with(&key_b()))
        .await
        .is(Refusal::UnknownKey);
    stage
        .present(&draft.sign_with(&key_b()))
        .await
        .is(Refusal::BadSignature);
    for (claim, good, refusal) in steps {
        stage.present(&draft.sign()).await.is(refusal);
        draft = draft.claim(claim, good);
    }
    // The jti was burnt by the step before.
    stage.present(&draft.sign()).await.is(Refusal::ReplayedJti);
}
