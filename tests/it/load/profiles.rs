//! What each provider is sent, to the letter, and what it may answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintmark::assertion::Subject;
use mintmark::credential::{Credential, PassphraseSource, Source, load};
use mintmark::load::open::{OpenPlan, run_open};
use mintmark::load::population::{Member, Population};
use mintmark::load::transport::Kind;
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, Registry, verify};
use mintmark::token::App;
use serde_json::{Value, json};

use super::target::{Act, Target, answer};
use super::{CONFIG, plan};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AUTHENTICATION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What was seen on the wire.
struct Seen {
    head: String,
    form: Vec<(String, String)>,
    header: Value,
    claims: Value,
    url: String,
    client: String,
}

/// Sends one request as `profile` says and takes it apart.
fn send(
    profile: &str,
    set: &[(&str, &str)],
    algorithm: Algorithm,
    reply: &str,
    kind: Kind,
) -> Seen {
    let profile = Profile::built_in(profile).unwrap();
    let (credential, _) = load(&Source::Config {
        path: CONFIG.into(),
        passphrase: PassphraseSource::Config,
    })
    .unwrap();
    let set: BTreeMap<String, String> = set
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let status = if profile.name == "github" {
        "201 Created"
    } else {
        "200 OK"
    };
    let target = Target::new(Act::Write(answer(status, "", reply)));
    let app = App::new(&credential, &profile, &set, algorithm, &target.url()).unwrap();
    let key = credential.key.open().unwrap();
    let registry = Registry::compiled();
    let signer = registry
        .get("aws-lc-rs")
        .unwrap()
        .load(&key, algorithm)
        .unwrap();
    let population = Arc::new(Population::new(
        vec![Member {
            app,
            signer,
            subjects: [Subject::user("someone@example.com")].into(),
            weight: 1.0,
        }],
        None,
        1,
    ));
    let plan = OpenPlan {
        count: Some(1),
        transport: kind,
        token_field: profile.response.token.clone(),
        ..plan(50.0, Duration::from_millis(20))
    };
    let stop = AtomicBool::new(false);
    let measured = run_open(&plan, &target.url(), &population, &[], &stop, |_| ()).unwrap();
    assert_eq!(measured.accounts.answered, 1, "{:?}", measured.outcomes);
    let text = String::from_utf8(target.requests.lock().unwrap()[0].clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let form: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    let assertion = form
        .iter()
        .find(|(name, _)| name.ends_with("assertion"))
        .map(|(_, value)| value.clone())
        .or_else(|| {
            head.lines()
                .find_map(|line| line.strip_prefix("authorization: Bearer "))
                .map(str::to_owned)
        })
        .unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    let signed = assertion.rsplit_once('.').unwrap().0;
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let public = key.public_key().unwrap();
    assert!(verify(public, algorithm, signed.as_bytes(), &signature));
    let part =
        |at: usize| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap();
    Seen {
        head: head.to_owned(),
        form: form
            .into_iter()
            .filter(|(_, value)| *value != assertion)
            .collect(),
        header: part(0),
        claims: part(1),
        url: target.url(),
        client: client_of(&credential),
    }
}

fn client_of(credential: &Credential) -> String {
    credential.client_id.clone()
}

impl Seen {
    /// Checks the form but for the assertion.
    fn has_form(&self, expected: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> = self
            .form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    /// Checks the claims but for times and identifiers, and the lifetime.
    fn has_claims(&self, expected: &Value, times: &[&str], life_s: i64) {
        let mut rest = self.claims.as_object().unwrap().clone();
        for name in times {
            assert!(rest[*name].is_i64(), "{name} is an integer: {rest:?}");
            rest.shift_remove(*name);
        }
        if let Some(jti) = rest.shift_remove("jti") {
            assert!((16..=128).contains(&jti.as_str().unwrap().len()));
        }
        assert_eq!(&Value::Object(rest), expected);
        if self.claims.get("iat").is_some() {
            let life = self.claims["exp"].as_i64().unwrap() - self.claims["iat"].as_i64().unwrap();
            assert_eq!(life, life_s);
        }
    }
}

#[test]
fn google_is_sent_a_grant_with_a_scope() {
    let reply = r#"{"access_token":"x","expires_in":3599,"token_type":"Bearer"}"#;
    let seen = send("google", &[], Algorithm::Rs256, reply, Kind::Lean);
    assert_eq!(
        seen.header,
        json!({"alg": "RS256", "typ": "JWT", "kid": "m4x7tq2e"})
    );
    seen.has_form(&[("grant_type", GRANT)]);
    seen.has_claims(
        &json!({"iss": seen.client, "scope": "https://www.googleapis.com/auth/cloud-platform",
                "aud": "https://oauth2.googleapis.com/token"}),
        &["iat", "exp"],
        3_600,
    );
    let delegated = send(
        "google",
        &[("delegate", "a@b.c")],
        Algorithm::Rs256,
        reply,
        Kind::Lean,
    );
    assert_eq!(delegated.claims["sub"], "a@b.c");
}

#[test]
fn salesforce_is_sent_a_user_and_answers_without_a_lifetime() {
    let reply = r#"{"access_token":"x","scope":"api","instance_url":"https://i","id":"https://i/1","token_type":"Bearer"}"#;
    let seen = send("salesforce", &[], Algorithm::Rs256, reply, Kind::Lean);
    assert_eq!(seen.header, json!({"alg": "RS256"}));
    seen.has_form(&[("grant_type", GRANT)]);
    seen.has_claims(
        &json!({"iss": seen.client, "sub": "someone@example.com", "aud": "https://login.salesforce.com"}),
        &["exp"],
        180,
    );
}

#[test]
fn docusign_is_sent_its_bare_host_as_audience() {
    let reply = r#"{"access_token":"x","token_type":"Bearer","expires_in":3600}"#;
    let seen = send("docusign", &[], Algorithm::Rs256, reply, Kind::Lean);
    assert_eq!(seen.header, json!({"typ": "JWT", "alg": "RS256"}));
    seen.has_form(&[("grant_type", GRANT)]);
    seen.has_claims(
        &json!({"iss": seen.client, "sub": "someone@example.com", "aud": "account.docusign.com",
                "scope": "signature impersonation"}),
        &["iat", "exp"],
        3_600,
    );
}

#[test]
fn okta_and_auth0_are_sent_a_client_authentication() {
    let reply = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"x","scope":"s"}"#;
    let seen = send("okta", &[], Algorithm::Rs256, reply, Kind::Lean);
    assert_eq!(seen.header, json!({"alg": "RS256", "kid": "m4x7tq2e"}));
    seen.has_form(&[
        ("grant_type", "client_credentials"),
        ("scope", "okta.users.read"),
        ("client_assertion_type", AUTHENTICATION),
    ]);
    seen.has_claims(
        &json!({"iss": seen.client, "sub": seen.client, "aud": seen.url}),
        &["iat", "exp"],
        300,
    );
    let set = [("domain", "t.auth0.com"), ("api", "https://api/")];
    let seen = send("auth0", &set, Algorithm::Ps256, reply, Kind::Hyper);
    seen.has_form(&[
        ("grant_type", "client_credentials"),
        ("audience", "https://api/"),
        ("client_assertion_type", AUTHENTICATION),
    ]);
    seen.has_claims(
        &json!({"iss": seen.client, "sub": seen.client, "aud": "https://t.auth0.com/"}),
        &["iat", "exp"],
        60,
    );
}

#[test]
fn entra_is_sent_the_thumbprint_of_a_certificate() {
    let reply =
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"x"}"#;
    let set = [("thumbprint", "dGh1bWI")];
    let seen = send("entra", &set, Algorithm::Ps256, reply, Kind::Lean);
    assert_eq!(
        seen.header,
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": "dGh1bWI"})
    );
    seen.has_form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &seen.client),
        ("client_assertion_type", AUTHENTICATION),
        ("scope", "https://graph.microsoft.com/.default"),
    ]);
    seen.has_claims(
        &json!({"aud": seen.url, "iss": seen.client, "sub": seen.client}),
        &["nbf", "iat", "exp"],
        600,
    );
}

#[test]
fn github_is_sent_a_bearer_dated_a_minute_back() {
    let reply = r#"{"token":"ghs_x","expires_at":"2026-11-24T07:00:00Z","permissions":{"contents":"read"}}"#;
    for kind in [Kind::Lean, Kind::Hyper] {
        let seen = send("github", &[], Algorithm::Rs256, reply, kind);
        assert_eq!(seen.header, json!({"typ": "JWT", "alg": "RS256"}));
        seen.has_form(&[]);
        assert!(!seen.head.to_ascii_lowercase().contains("urlencoded"));
        seen.has_claims(&json!({"iss": seen.client}), &["iat", "exp"], 600);
    }
}

#[test]
fn any_server_may_be_sent_a_client_authentication() {
    let reply = r#"{"access_token":"x","token_type":"Bearer"}"#;
    let seen = send("private_key_jwt", &[], Algorithm::Ps384, reply, Kind::Lean);
    seen.has_form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &seen.client),
        ("client_assertion_type", AUTHENTICATION),
    ]);
    let scoped = send(
        "private_key_jwt",
        &[("scope", "a b")],
        Algorithm::Rs256,
        reply,
        Kind::Lean,
    );
    assert!(
        scoped
            .form
            .contains(&("scope".to_owned(), "a b".to_owned()))
    );
}

#[test]
fn endpoints_are_filled_in_from_variables() {
    let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    for (profile, pairs, url) in [
        (
            "okta",
            vec![("domain", "d.okta.com")],
            "https://d.okta.com/oauth2/v1/token",
        ),
        (
            "okta",
            vec![("domain", "d.okta.com"), ("server", "/default")],
            "https://d.okta.com/oauth2/default/v1/token",
        ),
        (
            "entra",
            vec![("tenant", "t")],
            "https://login.microsoftonline.com/t/oauth2/v2.0/token",
        ),
        (
            "github",
            vec![("installation", "7")],
            "https://api.github.com/app/installations/7/access_tokens",
        ),
        (
            "salesforce",
            vec![("audience", "https://test.salesforce.com")],
            "https://test.salesforce.com/services/oauth2/token",
        ),
    ] {
        let found = Profile::built_in(profile)
            .unwrap()
            .endpoint(&set(&pairs))
            .unwrap();
        assert_eq!(found.as_deref(), Some(url));
    }
    assert!(
        Profile::built_in("okta")
            .unwrap()
            .endpoint(&set(&[]))
            .is_err()
    );
}
