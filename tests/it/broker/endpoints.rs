//! What is asked of the broker besides tokens for assertions.

use mintmark::broker::{Authentication, Scopes};
use mintmark::oauth::{ACCESS_TOKEN_TYPE, CLIENT_ASSERTION_JWT, TOKEN_EXCHANGE};

use super::*;

/// An app of the kind that authenticates by its own credentials.
fn credentials_app() -> AppRegistration {
    AppRegistration {
        authentication: Authentication::ClientCredentials,
        ..app()
    }
}

fn credentials(kind: &str, id: &str) -> String {
    form(&[
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("box_subject_type", kind),
        ("box_subject_id", id),
    ])
}

/// What a client signs to prove itself.
fn client_assertion(stage: &Stage) -> Draft {
    Draft::enterprise()
        .claim("sub", CLIENT)
        .claim("aud", stage.broker.url())
        .without_claim("box_sub_type")
}

fn asserted(assertion: &str) -> String {
    form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", CLIENT_ASSERTION_JWT),
        ("client_assertion", assertion),
        ("box_subject_type", "enterprise"),
        ("box_subject_id", ENTERPRISE),
    ])
}

pub(super) fn exchange(token: &str, scope: &str, more: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN_TYPE),
        ("scope", scope),
    ];
    pairs.extend(more);
    form(&pairs)
}

async fn post_to(stage: &Stage, path: &str, pairs: &[(&str, &str)]) -> reqwest::Response {
    stage
        .http
        .post(format!("{}{path}", stage.broker.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(pairs))
        .send()
        .await
        .unwrap()
}

async fn of_client(stage: &Stage, path: &str, token: &str) -> (u16, String) {
    let pairs = [
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("token", token),
    ];
    let response = post_to(stage, path, &pairs).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

pub(super) async fn introspect(stage: &Stage, token: &str) -> Value {
    let (status, body) = of_client(stage, "/oauth2/introspect", token).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn get(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = stage.http.get(format!("{}{path}", stage.broker.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn credentials_of_its_own_are_a_grant_for_apps_made_so() {
    let stage = Stage::of_app(credentials_app());
    let answer = stage.post(&credentials("enterprise", ENTERPRISE)).await;
    let me = stage.me(answer.token()).await;
    assert_eq!(me.body["name"], "Service Account");
    for id in [MANAGED, OF_APP] {
        let answer = stage.post(&credentials("user", id)).await;
        assert_eq!(stage.me(answer.token()).await.body["id"], id);
    }
    for (kind, id) in [("enterprise", "1"), ("user", "1")] {
        let answer = stage.post(&credentials(kind, id)).await;
        answer.is(Refusal::InvalidCredentials);
    }
    let answer = stage.post(&credentials("device", ENTERPRISE)).await;
    answer.is(Refusal::SubjectTypeNotPermitted);
    let assertion = Draft::enterprise().sign();
    stage.present(&assertion).await.is(Refusal::GrantNotAllowed);
}

#[tokio::test]
async fn credentials_reach_no_further_than_the_terms() {
    let without_feature = Stage::of_app(AppRegistration {
        user_tokens: false,
        ..credentials_app()
    });
    let answer = without_feature.post(&credentials("user", OF_APP)).await;
    answer.is(Refusal::SubjectTypeNotPermitted);
    let without_access = Stage::of_app(AppRegistration {
        access: mintmark::broker::Access::App,
        ..credentials_app()
    });
    let answer = without_access.post(&credentials("user", MANAGED)).await;
    answer.is(Refusal::InvalidCredentials);
    let unauthorized = Stage::of_app(AppRegistration {
        authorized: false,
        ..credentials_app()
    });
    let answer = unauthorized
        .post(&credentials("enterprise", ENTERPRISE))
        .await;
    answer.is(Refusal::AppNotAuthorized);
}

#[tokio::test]
async fn a_client_proves_itself_by_an_assertion_once() {
    let stage = Stage::of_app(credentials_app());
    let assertion = client_assertion(&stage).sign();
    stage.post(&asserted(&assertion)).await.token();
    let again = stage.post(&asserted(&assertion)).await;
    again.is(Refusal::InvalidClient);
    let of_endpoint = client_assertion(&stage).claim("aud", stage.broker.token_url());
    stage.post(&asserted(&of_endpoint.sign())).await.token();
}

#[tokio::test]
async fn whatever_is_wrong_with_a_clients_assertion_makes_it_invalid() {
    let stage = Stage::of_app(credentials_app());
    let good = || client_assertion(&stage);
    for wrong in [
        good().sign_with(&key_b()),
        good().claim("sub", ENTERPRISE).sign(),
        good().claim("iss", "other").sign(),
        good().claim("aud", "https://elsewhere.example").sign(),
        good().claim("exp", NOW).sign(),
        good().claim("exp", NOW + 301).sign(),
        good().claim("nbf", NOW + 1).sign(),
        good().claim("jti", "short").sign(),
        good().without_claim("jti").sign(),
        good().header("kid", "other").sign(),
        "nonsense".into(),
    ] {
        stage
            .post(&asserted(&wrong))
            .await
            .is(Refusal::InvalidClient);
    }
    // One way of authentication at a time, and one name.
    for (name, value) in [("client_secret", SECRET), ("client_id", "other")] {
        let body = format!("{}&{name}={value}", asserted(&good().sign()));
        stage.post(&body).await.is(Refusal::InvalidClient);
    }
    stage.post(&asserted(&good().sign())).await.token();
}

#[tokio::test]
async fn a_token_is_narrowed_and_says_to_what() {
    let stage = Stage::new();
    let whole = stage.present(&Draft::enterprise().sign()).await;
    let resource = "https://api.box.com/2.0/folders/42";
    let body = exchange(
        whole.token(),
        "item_preview item_upload",
        &[("resource", resource)],
    );
    let narrowed = stage.post(&body).await;
    assert!(narrowed.token().starts_with("1!"));
    assert_eq!(narrowed.body["issued_token_type"], ACCESS_TOKEN_TYPE);
    let restricted = narrowed.body["restricted_to"].as_array().unwrap();
    assert_eq!(restricted.len(), 2);
    assert_eq!(restricted[0]["object"]["type"], "folder");
    assert_eq!(restricted[0]["object"]["id"], "42");
    assert!(narrowed.body["expires_in"].as_u64() <= whole.body["expires_in"].as_u64());
    assert!(narrowed.body.get("refresh_token").is_none());
    let told = introspect(&stage, narrowed.token()).await;
    assert_eq!(told["scope"], "item_preview item_upload");
    let me = stage.me(narrowed.token()).await;
    assert_eq!(me.status, 403);
    assert_eq!(me.body["code"], "insufficient_scope");
    let challenge = me.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    let reader = exchange(whole.token(), "root_readonly", &[]);
    let reader = stage.post(&reader).await;
    assert_eq!(stage.me(reader.token()).await.status, 200);

    // Narrower still is allowed, wider or elsewhere is not.
    let again = |scope, more: &[(&str, &str)]| exchange(narrowed.token(), scope, more);
    stage.post(&again("item_preview", &[])).await.token();
    let wider = stage.post(&again("item_delete", &[])).await;
    wider.is(Refusal::InvalidScope);
    let elsewhere = [("resource", "https://api.box.com/2.0/folders/43")];
    let elsewhere = stage.post(&again("item_preview", &elsewhere)).await;
    elsewhere.is(Refusal::InvalidResource);
}

#[tokio::test]
async fn a_token_is_not_widened() {
    let stage = Stage::of_app(AppRegistration {
        scopes: Scopes::of(["root_readonly"]).unwrap(),
        ..app()
    });
    let token = stage.present(&Draft::enterprise().sign()).await;
    let token = token.token();
    stage
        .post(&exchange(token, "item_preview", &[]))
        .await
        .token();
    for scope in ["item_upload", "root_readwrite", "no_such_scope", " "] {
        let answer = stage.post(&exchange(token, scope, &[])).await;
        answer.is(Refusal::InvalidScope);
    }
    for resource in [
        "folders/1",
        "https://x/\"",
        &format!("https://x/{}", "1".repeat(200)),
    ] {
        let more = [("resource", resource)];
        let answer = stage.post(&exchange(token, "item_preview", &more)).await;
        answer.is(Refusal::InvalidResource);
    }
    let answer = stage.post(&exchange("nonsense", "item_preview", &[])).await;
    answer.is(Refusal::InvalidSubjectToken);
    let more = [("client_id", CLIENT), ("client_secret", "wrong")];
    let answer = stage.post(&exchange(token, "item_preview", &more)).await;
    answer.is(Refusal::InvalidClient);
}

#[tokio::test]
async fn a_revoked_token_is_gone_and_those_made_of_it() {
    let stage = Stage::new();
    let tokens = [
        stage.present(&Draft::enterprise().sign()).await,
        stage.present(&Draft::enterprise().sign()).await,
    ];
    let [first, second] = [tokens[0].token(), tokens[1].token()];
    let narrowed = stage.post(&exchange(first, "item_preview", &[])).await;
    let (status, body) = of_client(&stage, "/oauth2/revoke", first).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(stage.me(first).await.status, 401);
    assert_eq!(stage.me(narrowed.token()).await.status, 401);
    assert_eq!(introspect(&stage, first).await, json!({"active": false}));
    let answer = stage.post(&exchange(first, "item_preview", &[])).await;
    answer.is(Refusal::InvalidSubjectToken);
    assert_eq!(stage.me(second).await.status, 200);
    // An unknown token is no error (RFC 7009, section 2.2).
    let (status, body) = of_client(&stage, "/oauth2/revoke", "unknown").await;
    assert_eq!((status, body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_client_learns_about_its_own_tokens_only() {
    let stage = Stage::new();
    let token = stage.present(&Draft::user(OF_APP).sign()).await;
    let told = introspect(&stage, token.token()).await;
    assert_eq!(told["active"], true);
    assert_eq!(told["sub"], OF_APP);
    assert_eq!(told["client_id"], CLIENT);
    let expires_in = token.body["expires_in"].as_u64().unwrap();
    assert_eq!(told["exp"], NOW + expires_in);

    let other = AppRegistration::new("other", "secret", ENTERPRISE);
    let registry = stage.broker.registry();
    registry.edit(|next| next.add_app(&other)).unwrap();
    let pairs = [
        ("client_id", "other"),
        ("client_secret", "secret"),
        ("token", token.token()),
    ];
    let response = post_to(&stage, "/oauth2/introspect", &pairs).await;
    assert_eq!(response.text().await.unwrap(), "{\"active\":false}");
    post_to(&stage, "/oauth2/revoke", &pairs).await;
    assert_eq!(stage.me(token.token()).await.status, 200);

    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let response = post_to(&stage, path, &[("token", token.token())]).await;
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"], "invalid_client");
        let pairs = [("client_id", CLIENT), ("client_secret", SECRET)];
        let response = post_to(&stage, path, &pairs).await;
        assert_eq!(response.status(), 400);
    }
}

#[tokio::test]
async fn scopes_of_a_token_are_those_of_its_issue() {
    let stage = Stage::new();
    let before = stage.present(&Draft::enterprise().sign()).await;
    let mut terms = app().terms();
    terms.scopes = Scopes::of(["root_readonly"]).unwrap();
    let registry = stage.broker.registry();
    registry.edit(|next| next.set_terms(CLIENT, terms)).unwrap();
    let waiting = stage.present(&Draft::enterprise().sign()).await;
    registry
        .edit(|next| next.set_authorized(CLIENT, true))
        .unwrap();
    let after = stage.present(&Draft::enterprise().sign()).await;
    for (answer, scopes) in [
        (&before, Scopes::ALL),
        (&waiting, Scopes::ALL),
        (&after, terms.scopes),
    ] {
        let told = introspect(&stage, answer.token()).await;
        assert_eq!(told["scope"], scopes.to_string());
    }
}

#[tokio::test]
async fn the_server_describes_itself() {
    let stage = Stage::new();
    let metadata = get(&stage, "/.well-known/oauth-authorization-server", &[]).await;
    assert_eq!(metadata.body["issuer"], stage.broker.url());
    assert_eq!(metadata.body["token_endpoint"], stage.broker.token_url());
    let algorithms = &metadata.body["token_endpoint_auth_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["RS256", "RS384", "RS512"]));
    let keys = get(&stage, "/oauth2/jwks", &[]).await;
    assert_eq!(keys.body, json!({"keys": []}));
}

#[tokio::test]
async fn a_token_acts_as_a_user_if_the_feature_is_on() {
    let stage = Stage::new();
    let token = stage.present(&Draft::enterprise().sign()).await;
    let bearer = format!("Bearer {}", token.token());
    let act = async |stage: &Stage, bearer: &str, id: &str| {
        let headers = [("authorization", bearer), ("as-user", id)];
        get(stage, "/2.0/users/me", &headers).await
    };
    for id in [MANAGED, OF_APP] {
        assert_eq!(act(&stage, &bearer, id).await.body["id"], id);
    }
    let account = stage.me(token.token()).await.body["id"].clone();
    for id in [account.as_str().unwrap(), "5", ""] {
        assert_eq!(act(&stage, &bearer, id).await.status, 403, "{id}");
    }
    let without = Stage::of_app(AppRegistration {
        as_user: false,
        ..app()
    });
    let token = without.present(&Draft::enterprise().sign()).await;
    let bearer = format!("Bearer {}", token.token());
    assert_eq!(act(&without, &bearer, OF_APP).await.status, 403);
}

#[tokio::test]
async fn pages_need_a_listed_origin() {
    let stage = Stage::of_app(AppRegistration {
        origins: "https://*.company.com".parse().unwrap(),
        ..app()
    });
    let ask = async |origin: &str, body: String| {
        let request = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin)
            .body(body);
        Answer::of(request).await
    };
    let grant = || grant_form(&Draft::enterprise().sign());
    let listed = ask("https://app.company.com", grant()).await;
    listed.token();
    assert_eq!(listed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(listed.header("vary"), Some("Origin"));
    for origin in ["https://company.com", "null", "https://evil.example"] {
        let refused = ask(origin, grant()).await;
        assert_eq!(refused.status, 403);
        assert_eq!(refused.body["code"], "cors_origin_not_whitelisted");
        assert_eq!(refused.body["context_info"]["origin"], origin);
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    // Errors of a known app are for the page to read, others are not.
    let replayed = ask(
        "https://app.company.com",
        form(&[("grant_type", "x"), ("client_id", CLIENT)]),
    )
    .await;
    replayed.is(Refusal::InvalidGrantType);
    assert_eq!(replayed.header("access-control-allow-origin"), Some("*"));
    let unknown = ask("https://app.company.com", form(&[("client_id", "x")])).await;
    unknown.is(Refusal::InvalidGrantType);
    assert_eq!(unknown.header("access-control-allow-origin"), None);

    let without = Stage::new();
    let request = without
        .http
        .post(without.broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "https://app.company.com")
        .body(grant());
    assert_eq!(Answer::of(request).await.status, 403);
}

#[tokio::test]
async fn a_preflight_is_answered_for_every_page() {
    let stage = Stage::new();
    let response = stage
        .http
        .request(reqwest::Method::OPTIONS, stage.broker.token_url())
        .header("origin", "https://app.company.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type, x-app")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 204);
    let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("access-control-allow-methods"), "POST");
    assert_eq!(
        header("access-control-allow-headers"),
        "content-type, x-app"
    );
    assert!(header("access-control-max-age").parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn signed_tokens_are_verified_by_anyone_with_the_key_set() {
    let stage = Stage::with(Setting {
        behaviour: Behaviour {
            signed_tokens: true,
            token_life_s: 60..=60,
            ..Setting::default().behaviour
        },
        ..Setting::default()
    });
    let answer = stage.present(&Draft::enterprise().sign()).await;
    let token = answer.token();
    assert_eq!(answer.body["expires_in"], 60);
    let keys = get(&stage, "/oauth2/jwks", &[]).await;
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = keys.find(&header.kid.unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&[format!("{}/2.0", stage.broker.url())]);
    validation.set_issuer(&[stage.broker.url()]);
    // The stage's clock is not the system's.
    validation.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap();
    assert_eq!(decoded.claims["sub"], ENTERPRISE);
    assert_eq!(decoded.claims["client_id"], CLIENT);
    assert_eq!(decoded.claims["exp"], NOW + 60);

    assert_eq!(stage.me(token).await.status, 200);
    let narrowed = stage.post(&exchange(token, "item_preview", &[])).await;
    assert!(narrowed.token().starts_with("1!"));
    of_client(&stage, "/oauth2/revoke", token).await;
    for gone in [token, narrowed.token()] {
        assert_eq!(stage.me(gone).await.status, 401);
    }
}
