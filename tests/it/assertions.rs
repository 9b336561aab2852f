//! Assertions: what is written is what another library reads.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use mintmark::assertion::{Bindings, Builder, Subject, SubjectKind, Template};
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, PrivateKey, Registry, Signer};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: Duration = Duration::from_secs(1_795_500_000);

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| {
    use aws_lc_rs::encoding::AsDer;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    PrivateKey::from_pkcs8_der(der.as_ref()).unwrap()
});

fn signer(algorithm: Algorithm) -> std::sync::Arc<dyn Signer> {
    Registry::compiled()
        .get("aws-lc-rs")
        .unwrap()
        .load(&KEY, algorithm)
        .unwrap()
}

/// Verifies and decodes with the other library, without any claim rule.
fn decode(assertion: &[u8], algorithm: jsonwebtoken::Algorithm) -> (Value, Map<String, Value>) {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let key = DecodingKey::from_rsa_der(KEY.public_key().unwrap().inner());
    let token = std::str::from_utf8(assertion).unwrap();
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &rules).unwrap();
    let header = URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    (serde_json::from_slice(&header).unwrap(), decoded.claims)
}

fn box_assertion(kid: Option<&str>, subject: &Subject, algorithm: Algorithm) -> Vec<u8> {
    let profile = Profile::built_in("box").unwrap();
    let bindings = profile
        .bindings(&BTreeMap::new())
        .with("client_id", "an app")
        .with_optional("kid", kid);
    let mut builder = Builder::new(
        &profile.template(),
        &bindings,
        algorithm,
        profile.lifetime.0,
    )
    .unwrap();
    let mut out = Vec::new();
    builder
        .write(NOW, subject, &*signer(algorithm), &mut out)
        .unwrap();
    out
}

#[test]
fn the_claims_are_those_of_the_provider() {
    let assertion = box_assertion(
        Some("abcdefgh"),
        &Subject::enterprise("987654"),
        Algorithm::Rs256,
    );
    let (header, claims) = decode(&assertion, jsonwebtoken::Algorithm::RS256);
    assert_eq!(
        header,
        json!({"alg": "RS256", "typ": "JWT", "kid": "abcdefgh"})
    );
    assert_eq!(claims["iss"], "an app");
    assert_eq!(claims["sub"], "987654");
    assert_eq!(claims["box_sub_type"], "enterprise");
    assert_eq!(claims["aud"], "https://api.box.com/oauth2/token");
    assert_eq!(claims["exp"], NOW.as_secs() + 30);
    let jti = claims["jti"].as_str().unwrap();
    assert!((16..=128).contains(&jti.len()));
    assert_eq!(claims.len(), 6);
}

#[test]
fn without_a_key_id_the_header_has_no_kid() {
    let assertion = box_assertion(None, &Subject::user("1"), Algorithm::Rs256);
    let (header, _) = decode(&assertion, jsonwebtoken::Algorithm::RS256);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
}

#[test]
fn each_algorithm_is_named_in_the_header_and_verifies() {
    for (ours, theirs) in [
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        (Algorithm::Rs384, jsonwebtoken::Algorithm::RS384),
        (Algorithm::Rs512, jsonwebtoken::Algorithm::RS512),
    ] {
        let assertion = box_assertion(None, &Subject::user("1"), ours);
        assert_eq!(decode(&assertion, theirs).0["alg"], ours.name());
    }
}

#[test]
fn times_are_moved_as_the_template_says() {
    let template: Template = serde_json::from_value(json!({
        "header": {"alg": "{alg}"},
        "claims": {"iat": "{now-60}", "nbf": "{now}", "exp": "{exp}", "kind": "{subject_kind}"},
    }))
    .unwrap();
    let mut builder = Builder::new(
        &template,
        &Bindings::new(),
        Algorithm::Rs256,
        Duration::from_secs(600),
    )
    .unwrap();
    let mut out = Vec::new();
    builder
        .write(
            NOW,
            &Subject::user(""),
            &*signer(Algorithm::Rs256),
            &mut out,
        )
        .unwrap();
    let (_, claims) = decode(&out, jsonwebtoken::Algorithm::RS256);
    let now = NOW.as_secs();
    assert_eq!(
        Value::Object(claims),
        json!({"iat": now - 60, "nbf": now, "exp": now + 600, "kind": "user"})
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_unicode_comes_back_as_it_went_in(
        client in any::<String>(),
        id in any::<String>(),
        kid in proptest::option::of(any::<String>()),
        name in "\\PC{1,20}",
        extra in any::<String>(),
        is_user in any::<bool>(),
        seconds in 0_u64..4_000_000_000,
    ) {
        prop_assume!(!["iss", "sub", "box_sub_type", "jti", "exp"].contains(&name.as_str()));
        let template: Template = serde_json::from_value(json!({
            "header": {"alg": "{alg}", "kid": "{kid?}"},
            "claims": {
                "iss": "{client_id}", "sub": "{subject}", "box_sub_type": "{subject_kind}",
                "jti": "{jti}", "exp": "{exp}", name.clone(): "{extra}",
            },
        })).unwrap();
        let bindings = Bindings::new()
            .with("client_id", client.clone())
            .with("extra", extra.clone())
            .with_optional("kid", kid.clone());
        let mut builder =
            Builder::new(&template, &bindings, Algorithm::Rs256, Duration::from_secs(45)).unwrap();
        let subject = Subject {
            kind: if is_user { SubjectKind::User } else { SubjectKind::Enterprise },
            id: id.clone(),
        };
        let signer = signer(Algorithm::Rs256);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            builder.write(Duration::from_secs(seconds), &subject, &*signer, &mut out).unwrap();
            let (header, claims) = decode(&out, jsonwebtoken::Algorithm::RS256);
            prop_assert_eq!(header.get("kid").and_then(Value::as_str), kid.as_deref());
            prop_assert_eq!(&claims["iss"], &json!(client));
            prop_assert_eq!(&claims["sub"], &json!(id));
            prop_assert_eq!(&claims["box_sub_type"], &json!(subject.kind.name()));
            prop_assert_eq!(&claims[&name], &json!(extra));
            prop_assert_eq!(&claims["exp"], &json!(seconds + 45));
            seen.push(claims["jti"].clone());
        }
        prop_assert_ne!(&seen[0], &seen[1]);
    }
}
