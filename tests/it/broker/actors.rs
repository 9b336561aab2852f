//! Tokens that name an external user behind them.

use mintmark::oauth::{ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE};

use super::endpoints::{exchange, introspect};
use super::*;

/// What an annotator's app writes, and signs with nothing.
fn actor() -> Draft {
    Draft::enterprise()
        .claim("sub", "visitor 7")
        .claim("box_sub_type", "external")
        .claim("name", "Ada")
        .header("alg", "none")
        .without_header("kid")
}

fn unsigned(draft: &Draft) -> String {
    let signed = draft.sign();
    let (message, _) = signed.rsplit_once('.').unwrap();
    format!("{message}.")
}

#[tokio::test]
async fn an_external_user_is_named_by_an_actors_token() {
    let stage = Stage::new();
    let whole = stage.present(&Draft::enterprise().sign()).await;
    let whole = whole.token();
    let with = |parent: &str, token: &str| {
        let more = [("actor_token", token), ("actor_token_type", ID_TOKEN_TYPE)];
        exchange(parent, "item_preview", &more)
    };
    let named = unsigned(&actor());
    let narrowed = stage.post(&with(whole, &named)).await;
    let narrowed = narrowed.token();
    let told = introspect(&stage, narrowed).await;
    assert_eq!(
        told["act"],
        json!({"sub": "visitor 7", "box_sub_type": "external"})
    );
    // Once only, and for the app's own assertions it is no precedent.
    let again = stage.post(&with(whole, &named)).await;
    again.is(Refusal::InvalidActorToken);
    let signed = actor().header("alg", "RS256").header("kid", KID);
    let answer = stage.post(&with(whole, &signed.sign())).await;
    answer.token();
    // Who acts stays the same, however often a token is narrowed.
    let child = stage.post(&exchange(narrowed, "item_preview", &[])).await;
    assert_eq!(
        introspect(&stage, child.token()).await["act"]["sub"],
        "visitor 7"
    );
    let other = stage.post(&with(narrowed, &unsigned(&actor()))).await;
    other.is(Refusal::InvalidActorToken);
}

#[tokio::test]
async fn an_actors_token_is_judged_but_for_its_signature() {
    let stage = Stage::new();
    let whole = stage.present(&Draft::enterprise().sign()).await;
    let whole = whole.token();
    let ask = async |token: &str, kind: &str| {
        let more = [("actor_token", token), ("actor_token_type", kind)];
        stage.post(&exchange(whole, "item_preview", &more)).await
    };
    for draft in [
        actor().claim("iss", "client0b"),
        actor().claim("box_sub_type", "user"),
        actor().claim("sub", ""),
        actor().claim("sub", 7),
        actor().claim("sub", "a".repeat(129)),
        actor().claim("sub", "a\r\nb"),
        actor().claim("aud", "https://evil.example"),
        actor().claim("exp", NOW),
        actor().claim("exp", NOW + 61),
        actor().claim("iat", NOW + 1),
        actor().claim("jti", "short"),
        actor().header("alg", "None"),
        actor().header("alg", "RS256"),
        actor().header("alg", "HS256"),
        actor().header("kid", KID),
        actor().header("jku", "http://127.0.0.1:1/keys"),
    ] {
        let answer = ask(&unsigned(&draft), ID_TOKEN_TYPE).await;
        assert_eq!(answer.status, 400, "{:?} {:?}", draft.header, draft.claims);
        answer.is(Refusal::InvalidActorToken);
    }
    // With a signature, `none` is no algorithm, and a stranger's key no key.
    let signed = actor().header("alg", "RS256").header("kid", KID);
    for token in [
        actor().sign(),
        signed.sign_with(&key_b()),
        "a.b.c".into(),
        "..".into(),
    ] {
        ask(&token, ID_TOKEN_TYPE)
            .await
            .is(Refusal::InvalidActorToken);
    }
    let good = unsigned(&actor());
    ask(&good, ACCESS_TOKEN_TYPE)
        .await
        .is(Refusal::InvalidActorToken);
    ask(&good, "").await.is(Refusal::InvalidActorToken);
    // What names an actor is no grant.
    stage.present(&good).await.is(Refusal::MalformedAssertion);
    ask(&good, ID_TOKEN_TYPE).await.token();
}
