//! The embedded token endpoint, over real connections.

mod admin;
mod apps;
mod attacks;
mod cli;
mod console;
mod endpoints;
mod grants;
mod http;
mod lifecycle;
mod orders;
mod refusals;
mod replays;
mod slow;
mod wycheproof;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintmark::broker::{
    AppRegistration, Behaviour, Broker, BrokerConfig, Limits, Orders, UserRegistration,
};
use mintmark::clock::ManualClock;
use mintmark::oauth::{BOX_AUDIENCE, JWT_BEARER, Refusal};
use mintmark::signer::{Algorithm, PrivateKey};
use serde_json::{Map, Value, json};

const CLIENT: &str = "client0a";
const SECRET: &str = "secret0a";
const KID: &str = "kid0000a";
const ENTERPRISE: &str = "900100";
const MANAGED: &str = "700200";
const OF_APP: &str = "700300";

/// What the broker's clock shows when a test begins.
const NOW: u64 = 1_800_000_000;

/// A key that is registered for the app.
fn key_a() -> PrivateKey {
    PrivateKey::from_pkcs8_der(include_bytes!("../../fixtures/broker_a.pk8")).unwrap()
}

/// A key that the app does not have, unless a test registers it.
fn key_b() -> PrivateKey {
    PrivateKey::from_pkcs8_der(include_bytes!("../../fixtures/broker_b.pk8")).unwrap()
}

/// An app that may do everything, with one key.
fn app() -> AppRegistration {
    AppRegistration::new(CLIENT, SECRET, ENTERPRISE)
        .with_key(KID, key_a().public_key().unwrap().clone())
}

/// A broker whose clock the test turns, and a client.
struct Stage {
    broker: Broker,
    clock: Arc<ManualClock>,
    http: reqwest::Client,
}

/// What a stage is set up with.
struct Setting {
    app: AppRegistration,
    behaviour: Behaviour,
    limits: Limits,
    orders: Orders,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            app: app(),
            behaviour: Behaviour {
                replay_capacity: 10_000,
                ..Behaviour::default()
            },
            limits: Limits::default(),
            orders: Orders::default(),
        }
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(Setting::default())
    }

    fn of_app(app: AppRegistration) -> Self {
        Self::with(Setting {
            app,
            ..Setting::default()
        })
    }

    fn with(setting: Setting) -> Self {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(NOW)));
        let broker = Broker::start(BrokerConfig {
            apps: vec![setting.app],
            users: vec![
                UserRegistration::managed(MANAGED, ENTERPRISE),
                UserRegistration::of_app(OF_APP, CLIENT),
            ],
            behaviour: setting.behaviour,
            limits: setting.limits,
            orders: setting.orders,
            clock: Arc::clone(&clock) as _,
            ..BrokerConfig::default()
        })
        .unwrap();
        Self {
            broker,
            clock,
            http: reqwest::Client::new(),
        }
    }

    /// Posts an assertion as the app.
    async fn present(&self, assertion: &str) -> Answer {
        self.post(&grant_form(assertion)).await
    }

    /// Posts a body as a form.
    async fn post(&self, body: &str) -> Answer {
        let request = self
            .http
            .post(self.broker.token_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned());
        Answer::of(request).await
    }

    /// Gets the current user with a token.
    async fn me(&self, token: &str) -> Answer {
        let request = self
            .http
            .get(format!("{}/2.0/users/me", self.broker.url()))
            .header("authorization", format!("Bearer {token}"));
        Answer::of(request).await
    }
}

/// An answer of the broker, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        }
    }

    /// Returns the access token; fails if the answer is a refusal.
    #[track_caller]
    fn token(&self) -> &str {
        assert_eq!(self.status, 200, "{:?}", self.body);
        self.body["access_token"].as_str().unwrap()
    }

    /// Checks that the answer is the whole row of the table.
    #[track_caller]
    fn is(&self, refusal: Refusal) {
        assert_eq!(
            self.body,
            json!({"error": refusal.error(), "error_description": refusal.description()}),
            "expected {refusal:?}"
        );
        assert_eq!(self.status, refusal.status().as_u16());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("pragma"), Some("no-cache"));
        assert!(self.header("date").is_some());
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An assertion in the making: what a well-behaved client would send, until
/// a test changes it.
#[derive(Clone)]
struct Draft {
    algorithm: Algorithm,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Draft {
    /// An assertion for the enterprise with a `jti` of its own.
    fn enterprise() -> Self {
        let object = |value: Value| value.as_object().unwrap().clone();
        Self {
            algorithm: Algorithm::Rs256,
            header: object(json!({"alg": "RS256", "typ": "JWT", "kid": KID})),
            claims: object(json!({
                "iss": CLIENT,
                "sub": ENTERPRISE,
                "box_sub_type": "enterprise",
                "aud": BOX_AUDIENCE,
                "jti": unique_jti(),
                "exp": NOW + 30,
            })),
        }
    }

    /// An assertion for a user.
    fn user(id: &str) -> Self {
        Self::enterprise()
            .claim("sub", id)
            .claim("box_sub_type", "user")
    }

    fn signed_with(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self.header("alg", algorithm.name())
    }

    fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name).unwrap();
        self
    }

    fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name).unwrap();
        self
    }

    /// Signs with the app's key.
    fn sign(&self) -> String {
        self.sign_with(&key_a())
    }

    fn sign_with(&self, key: &PrivateKey) -> String {
        let header = Value::from(self.header.clone()).to_string();
        let claims = Value::from(self.claims.clone()).to_string();
        sign_raw(key, self.algorithm, header.as_bytes(), claims.as_bytes())
    }
}

/// Signs any header and claims, well-formed or not.
fn sign_raw(key: &PrivateKey, algorithm: Algorithm, header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header), encode(claims));
    let padding: &dyn RsaEncoding = match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        other => panic!("{other} is not for RSA keys"),
    };
    let pair = RsaKeyPair::from_pkcs8(key.pkcs8_der()).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        padding,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{message}.{}", encode(&signature))
}

/// The form that an SDK posts.
fn grant_form(assertion: &str) -> String {
    form(&[
        ("grant_type", JWT_BEARER),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("assertion", assertion),
    ])
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn unique_jti() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    URL_SAFE_NO_PAD.encode(bytes)
}
