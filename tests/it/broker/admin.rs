//! The registry as JSON over HTTP.

use mintmark::broker::directory::Directory;
use mintmark::credential::{AppConfig, Secret};
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
