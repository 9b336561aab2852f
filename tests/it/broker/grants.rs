//! Assertions that earn a token, and what the token is good for.

use mintmark::oauth::TokenResponse;
use serde_json::json;

use super::*;

#[tokio::test]
async fn an_assertion_earns_a_token_of_the_service_account() {
    let stage = Stage::new();
    let answer = stage.present(&Draft::enterprise().sign()).await;
    let token = answer.token();
    assert_eq!(answer.body["token_type"], "bearer");
    assert_eq!(answer.body["restricted_to"], json!([]));
    assert!((3600..=4300).contains(&answer.body["expires_in"].as_u64().unwrap()));
    assert_eq!(answer.body.as_object().unwrap().len(), 4);
    let parsed: TokenResponse = serde_json::from_value(answer.body.clone()).unwrap();
    assert_eq!(parsed.access_token.as_str(), token);

    let me = stage.me(token).await;
    assert_eq!(me.status, 200);
    let account = stage.broker.registry().load();
    let account = account.app(CLIENT).unwrap().service_account().clone();
    assert_eq!(me.body["type"], "user");
    assert_eq!(me.body["id"], account.id);
    assert_eq!(me.body["login"], account.login);
    assert_eq!(stage.broker.stats().granted, 1);
}
