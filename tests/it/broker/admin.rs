//! The registry as JSON over HTTP.

use mintmark::broker::directory::Directory;
use mintmark::credential::{AppConfig, Secret};
use pkcs1::der::asn1::UintRef;
use pkcs1::der::{Decode, Encode};
use reqwest::Method;

use super::cli::present;
use super::*;

const ADMIN: &str = "open sesame";

/// A broker with an empty directory that is open for administration.
struct Office {
    broker: Broker,
    http: reqwest::Client,
}

impl Office {
    fn new() -> Self {
        let broker = Broker::start(BrokerConfig {
            directory: Some(Arc::new(Directory::in_memory().unwrap())),
            admin_secret: Some(Secret::from(ADMIN)),
            ..BrokerConfig::default()
        })
        .unwrap();
        Self {
            broker,
            http: reqwest::Client::new(),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/admin/v1{path}", self.broker.url());
        self.http.request(method, url)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path).bearer_auth(ADMIN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        Answer::of(request).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body
    }

    async fn post(&self, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(Method::POST, path, body).await;
        assert!(answer.status < 300, "{path}: {:?}", answer.body);
        answer.body
    }

    /// Makes an enterprise and an app.
    async fn furnish(&self) {
        let enterprise = json!({"id": ENTERPRISE, "name": "Acme", "administrator": "a@b.example"});
        self.post("/enterprises", Some(enterprise)).await;
        let app = json!({"name": "Loader", "enterprise_id": ENTERPRISE});
        self.post("/apps", Some(app)).await;
    }
}

#[tokio::test]
async fn the_set_up_guide_leads_to_a_token() {
    let office = Office::new();
    office.furnish().await;
    let file = office.post("/apps/Loader/keypair", None).await;
    let config = AppConfig::from_json(file.to_string().as_bytes()).unwrap();
    let url = office.broker.url();
    let ask = async || {
        let draft = Draft::enterprise().claim("sub", ENTERPRISE);
        present(&url, &config, draft).await
    };
    ask().await.is(Refusal::AppNotAuthorized);
    office.post("/apps/Loader/submit", None).await;
    let notices = office.get("/notices").await;
    assert_eq!(notices[0]["recipient"], "a@b.example");
    ask().await.is(Refusal::AppNotAuthorized);
    office.post("/apps/Loader/authorize", None).await;
    // What was answered is served: no waiting in between.
    ask().await.token();
    assert_eq!(office.get("/stats").await["granted"], 1);

    let user = json!({"app": "Loader", "id": OF_APP});
    office.post("/users", Some(user)).await;
    assert_eq!(office.get("/users").await[0]["id"], OF_APP);
    let of_user = async || present(&url, &config, Draft::user(OF_APP)).await;
    of_user().await.is(Refusal::UserTokenNotPermitted);
    let edit = json!({"user_tokens": true, "cors": ["https://*.example.com"]});
    let edited = office.ask(Method::PATCH, "/apps/Loader", Some(edit)).await;
    assert_eq!(edited.body["status"], "reauthorization_required");
    assert_eq!(edited.body["cors"], json!(["https://*.example.com"]));
    of_user().await.is(Refusal::UserTokenNotPermitted);
    office.post("/apps/Loader/reauthorize", None).await;
    of_user().await.token();

    office.post("/apps/Loader/disable", None).await;
    ask().await.is(Refusal::AppNotAuthorized);
    office.post("/apps/Loader/enable", None).await;
    let key = format!("/apps/Loader/keys/{}", config.public_key_id);
    assert_eq!(office.ask(Method::DELETE, &key, None).await.status, 200);
    ask().await.is(Refusal::UnknownKey);
}

#[tokio::test]
async fn a_public_key_is_added_by_its_pem() {
    let office = Office::new();
    office.furnish().await;
    let key = key_a().public_key().unwrap().to_pem();
    let added = office
        .post("/apps/Loader/keys", Some(json!({"public_key": key})))
        .await;
    let app = office.get("/apps/loader").await;
    assert_eq!(app["keys"][0]["kid"], added["key_id"]);
    assert!(!app.to_string().contains("secret"));
}

#[tokio::test]
async fn nothing_is_told_or_done_without_the_secret() {
    let office = Office::new();
    office.furnish().await;
    for secret in ["", "open", "Open sesame"] {
        for (method, path) in [
            (Method::GET, "/apps"),
            (Method::GET, "/apps/Loader"),
            (Method::POST, "/apps/Loader/authorize"),
            (Method::GET, "/apps/Nobody"),
        ] {
            let request = office.request(method, path).bearer_auth(secret);
            assert_eq!(Answer::of(request).await.status, 401, "{path}");
        }
    }
    let without = Stage::new();
    let request = without
        .http
        .get(format!("{}/admin/v1/apps", without.broker.url()))
        .bearer_auth(ADMIN);
    assert_eq!(Answer::of(request).await.status, 404);
    assert_eq!(office.get("/apps/Loader").await["status"], "not_submitted");
}

#[tokio::test]
async fn what_is_wrong_is_told_by_status_and_code() {
    let office = Office::new();
    office.furnish().await;
    let app = |name: &str| Some(json!({"name": name, "enterprise_id": ENTERPRISE}));
    let edit = |edit: Value| Some(edit);
    for (method, path, body, status, code) in [
        (Method::POST, "/apps", app("loader"), 409, "name_taken"),
        (Method::POST, "/apps", app(""), 400, "bad_request"),
        (Method::GET, "/apps/Nobody", None, 404, "not_found"),
        (
            Method::POST,
            "/apps/Loader/reauthorize",
            None,
            409,
            "out_of_turn",
        ),
        (Method::POST, "/apps/Loader/explode", None, 404, "not_found"),
        (Method::PATCH, "/apps/Loader", None, 400, "bad_request"),
        (
            Method::PATCH,
            "/apps/Loader",
            edit(json!({"acces": "app"})),
            400,
            "bad_request",
        ),
        (
            Method::PATCH,
            "/apps/Loader",
            edit(json!({"scopes": ["root"]})),
            400,
            "bad_request",
        ),
        (
            Method::PATCH,
            "/apps/Loader",
            edit(json!({"cors": ["x"]})),
            400,
            "bad_request",
        ),
        (
            Method::POST,
            "/apps/Loader/keys",
            edit(json!({"public_key": "x"})),
            400,
            "bad_request",
        ),
        (Method::POST, "/users", edit(json!({})), 400, "bad_request"),
        (
            Method::DELETE,
            "/apps/Loader",
            None,
            405,
            "method_not_allowed",
        ),
        (Method::GET, "/nowhere", None, 404, "not_found"),
    ] {
        let answer = office.ask(method.clone(), path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {:?}", answer.body);
        assert_eq!(answer.body["code"], code, "{method} {path}");
    }
}

#[tokio::test]
async fn the_broker_is_told_what_to_do_while_it_runs() {
    let office = Office::new();
    office.furnish().await;
    let file = office.post("/apps/Loader/keypair", None).await;
    let config = AppConfig::from_json(file.to_string().as_bytes()).unwrap();
    office.post("/apps/Loader/authorize", None).await;
    let url = office.broker.url();
    let ask = async || {
        let draft = Draft::enterprise().claim("sub", ENTERPRISE);
        present(&url, &config, draft).await
    };
    let usual = office.get("/behaviour").await;
    assert_eq!(usual["error_share"], 0.0);
    let order = async |sheet: Value| office.ask(Method::PUT, "/behaviour", Some(sheet)).await;
    let told = order(json!({"error_share": 1, "error_status": 500, "seed": 9})).await;
    assert_eq!(told.status, 200, "{:?}", told.body);
    assert_eq!(told.body, office.get("/behaviour").await);
    ask().await.is(Refusal::ServerError);
    // What is not mentioned is not done any more.
    let limit = json!({"per_s": 1, "burst": 1});
    order(json!({"rate_limit": limit, "skew_s": 0})).await;
    ask().await.token();
    let limited = ask().await;
    limited.is(Refusal::RateLimited);
    assert_eq!(limited.header("retry-after"), Some("1"));
    order(json!({"skew_s": 600})).await;
    ask().await.is(Refusal::Expired);
    for (wrong, field) in [
        (json!({"error_share": 7}), "error_share"),
        (json!({"error_status": 404}), "404"),
        (json!({"service_time": "soon"}), "soon"),
        (json!({"eror_share": 1}), "eror_share"),
        (json!({"queue": true}), "queue"),
    ] {
        let answer = order(wrong).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("bad_request"))
        );
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(field), "{message}");
    }
    // What was wrong changed nothing.
    ask().await.is(Refusal::Expired);
    order(json!({})).await;
    assert_eq!(office.get("/behaviour").await, usual);
    ask().await.token();
    let nobody = office.request(Method::PUT, "/behaviour");
    assert_eq!(Answer::of(nobody).await.status, 401);
}

#[tokio::test]
async fn weak_public_keys_are_not_added() {
    let office = Office::new();
    office.furnish().await;
    let good = key_a();
    let parts = pkcs1::RsaPublicKeyRef::from_der(good.public_key().unwrap().inner()).unwrap();
    let (modulus, exponent) = (parts.modulus.as_bytes(), parts.public_exponent.as_bytes());
    let mut even = modulus.to_vec();
    *even.last_mut().unwrap() &= 0xfe;
    let mut divisible = modulus.to_vec();
    // The last byte decides over the remainder modulo 3, as 256 is 1.
    let sum: u32 = modulus.iter().map(|byte| u32::from(*byte)).sum();
    let last = divisible.last_mut().unwrap();
    *last = last.wrapping_sub(u8::try_from(sum % 3).unwrap());
    for (what, modulus, exponent) in [
        ("1024 bits", &modulus[..128], exponent),
        ("2047 bits", &[&[0x7f], &modulus[1..]].concat(), exponent),
        ("8200 bits", &modulus.repeat(5)[..1025], exponent),
        ("an even modulus", &even, exponent),
        ("a modulus with a factor of 3", &divisible, exponent),
        ("an exponent of 1", modulus, &[1]),
        ("an even exponent", modulus, &[1, 0, 0]),
        ("a tiny exponent", modulus, &[3]),
        ("a huge exponent", modulus, modulus),
    ] {
        let der = pkcs1::RsaPublicKey {
            modulus: UintRef::new(modulus).unwrap(),
            public_exponent: UintRef::new(exponent).unwrap(),
        };
        let key = mintmark::signer::PublicKey::from_pkcs1_der(&der.to_der().unwrap());
        let pem = match key {
            Ok(key) => key.to_pem(),
            // What cannot even be read is wrapped by hand.
            Err(_) => pem::encode(&pem::Pem::new("RSA PUBLIC KEY", der.to_der().unwrap())),
        };
        let body = Some(json!({"public_key": pem}));
        let answer = office.ask(Method::POST, "/apps/Loader/keys", body).await;
        assert_eq!(answer.status, 400, "{what}: {:?}", answer.body);
        assert_eq!(answer.body["code"], "bad_request", "{what}");
    }
    let app = office.get("/apps/Loader").await;
    assert_eq!(app["keys"], json!([]));
    for text in ["", "-----BEGIN PUBLIC KEY-----", "nonsense", "\u{0}"] {
        let body = Some(json!({"public_key": text}));
        let answer = office.ask(Method::POST, "/apps/Loader/keys", body).await;
        assert_eq!(answer.status, 400, "{text:?}");
    }
}

#[tokio::test]
async fn the_document_names_every_address_and_what_it_answers() {
    let office = Office::new();
    office.furnish().await;
    let request = office.request(Method::GET, "/openapi.json");
    let document = Answer::of(request).await.body;
    let app = office.get("/apps/Loader").await;
    let members = |value: &Value| {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let schema = |name: &str| members(&document["components"]["schemas"][name]["properties"]);
    assert_eq!(members(&app), schema("App"));
    assert_eq!(members(&app["edited"]), schema("Terms"));
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{app}", "Loader")
            .replace("{kid}", "none")
            .replace("{step}", "submit");
        for method in operations.as_object().unwrap().keys() {
            if method == "parameters" {
                continue;
            }
            let verb = method.to_uppercase().parse().unwrap();
            let answer = office.ask(verb, &path, None).await;
            let is_there = answer.body["message"] != "Not Found" && answer.status != 405;
            assert!(is_there, "{method} {path}: {:?}", answer.body);
        }
    }
}
