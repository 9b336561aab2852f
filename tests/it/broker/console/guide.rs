//! The provider's set-up guide from its first step to its last, by each face
//! of the registry, and a token at its end each time. The refusals on the way
//! are compared with the provider's published words.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mintmark::credential::AppConfig;
use rustix::process::Signal;
use tempfile::TempDir;

use super::super::apps::reload;
use super::super::cli::{Process, present, read_config};
use super::browser::Browser;
use super::*;

const NAME: &str = "Night loader";
const ADMIN: &str = "admin@acme.example";

/// The end-to-end test takes its words from the documentation, not from us.
const NOT_AUTHORIZED: (&str, &str) = (
    "unauthorized_client",
    "This app is not authorized by the enterprise admin",
);
const NO_USER_TOKEN: (&str, &str) = (
    "invalid_request",
    "Cannot obtain user token based on the enterprise configuration for your app",
);
const UNKNOWN_KEY: (&str, &str) = (
    "invalid_grant",
    "'kid' invalid, unable to lookup correct key",
);

/// A running `mintmark broker` on a registry of its own.
struct Place {
    folder: TempDir,
    process: RefCell<Process>,
    started: Value,
}

/// One way to do what the guide says.
trait Face {
    /// Steps 1 to 4: a custom app with server authentication and a name.
    async fn create(&mut self, name: &str);
    /// Is the name refused, because another app has it?
    async fn is_refused(&mut self, name: &str) -> bool;
    /// Key pair, way A: returns the configuration file.
    async fn generate(&mut self) -> PathBuf;
    /// Key pair, way B: returns the key ID.
    async fn add_key(&mut self, pem: &Path) -> String;
    async fn remove_key(&mut self, kid: &str);
    async fn submit(&mut self);
    /// Who was notified, of everything so far.
    async fn recipients(&mut self) -> Vec<String>;
    async fn authorize(&mut self);
    async fn reauthorize(&mut self);
    async fn disable(&mut self);
    async fn enable(&mut self);
    async fn add_managed_user(&mut self, id: &str);
    /// Enterprise access, user tokens, one more scope and a CORS domain.
    async fn edit(&mut self);
    /// Has the app been edited since it was authorized?
    async fn needs_reauthorization(&mut self) -> bool;
}

#[tokio::test]
async fn the_set_up_guide_by_the_console_in_a_browser() {
    let place = Place::new();
    let Some(browser) = Browser::start().await else {
        return;
    };
    let mut console = Console {
        place: &place,
        browser,
        path: String::new(),
    };
    console.sign_in().await;
    let config = follow(&place, &mut console).await;
    console.watch_tokens().await;
    let complaints = console.browser.complaints().await;
    // The secret that is wrong and the forms that are refused say so by status.
    let worse: Vec<_> = complaints
        .iter()
        .filter(|line| !line.contains("status of 403") && !line.contains("status of 422"))
        .collect();
    assert!(worse.is_empty(), "{worse:?}");
    drop(console);
    place.says_no_secret(&config);
}

#[tokio::test]
async fn the_set_up_guide_by_the_command_line() {
    let place = Place::new();
    let config = follow(&place, &mut CommandLine { place: &place }).await;
    place.says_no_secret(&config);
}

#[tokio::test]
async fn the_set_up_guide_by_the_api() {
    let place = Place::new();
    let mut api = Api {
        place: &place,
        http: reqwest::Client::new(),
    };
    let config = follow(&place, &mut api).await;
    place.says_no_secret(&config);
}

/// Does what the guide says, and asks for tokens all along.
async fn follow(place: &Place, face: &mut impl Face) -> AppConfig {
    face.create(NAME).await;
    assert!(face.is_refused("night LOADER").await);

    let file = face.generate().await;
    let config = read_config(&file);
    let public = place.key_pair_by_openssl();
    let own = face.add_key(&public).await;
    assert_ne!(own, config.public_key_id);

    // Nobody has authorized the app.
    place
        .refuses(&config, Draft::enterprise(), NOT_AUTHORIZED)
        .await;
    face.submit().await;
    assert_eq!(face.recipients().await, [ADMIN]);
    place
        .refuses(&config, Draft::enterprise(), NOT_AUTHORIZED)
        .await;
    face.authorize().await;
    place
        .mints_with(&["--config", file.to_str().unwrap()], &config)
        .await;
    place
        .mints_with(&Place::own_key(&own, &config), &config)
        .await;

    // A managed user without enterprise access.
    face.add_managed_user(MANAGED).await;
    let of_user = || Draft::user(MANAGED);
    place.refuses(&config, of_user(), NO_USER_TOKEN).await;

    // After a change, what was approved before still governs.
    let before = place.scopes_of_a_token(&config).await;
    face.edit().await;
    assert!(face.needs_reauthorization().await);
    assert_eq!(place.scopes_of_a_token(&config).await, before);
    place.refuses(&config, of_user(), NO_USER_TOKEN).await;
    face.submit().await;
    assert_eq!(face.recipients().await, [ADMIN, ADMIN]);
    place.refuses(&config, of_user(), NO_USER_TOKEN).await;
    face.reauthorize().await;
    assert!(!face.needs_reauthorization().await);
    let after = place.scopes_of_a_token(&config).await;
    assert_eq!(after, format!("{before} manage_managed_users"));
    present(&place.url(), &config, of_user()).await.token();
    place.opens_to("https://app.acme.example");

    face.disable().await;
    place
        .refuses(&config, Draft::enterprise(), NOT_AUTHORIZED)
        .await;
    face.enable().await;
    present(&place.url(), &config, Place::enterprise(&config))
        .await
        .token();

    face.remove_key(&config.public_key_id).await;
    place
        .refuses(&config, Draft::enterprise(), UNKNOWN_KEY)
        .await;
    place
        .mints_with(&Place::own_key(&own, &config), &config)
        .await;
    config
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("apps.db");
        Directory::open(&registry)
            .unwrap()
            .found_enterprise(Some(ENTERPRISE), "Acme Records", ADMIN)
            .unwrap();
        let process = Process::start(&[
            "--registry",
            registry.to_str().unwrap(),
            "--console",
            "--admin",
            "--json",
        ]);
        Self {
            started: serde_json::from_str(&process.first_line).unwrap(),
            process: RefCell::new(process),
            folder,
        }
    }

    fn said(&self, member: &str) -> &str {
        self.started[member].as_str().unwrap()
    }

    fn url(&self) -> String {
        self.said("url").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn enterprise(config: &AppConfig) -> Draft {
        Draft::enterprise().claim("sub", config.enterprise_id.clone().unwrap())
    }

    fn mintmark(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mintmark"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("MINTMARK_REGISTRY", self.path("apps.db"))
            .output()
            .unwrap()
    }

    /// Makes a key pair as the guide says, and returns the public half.
    fn key_pair_by_openssl(&self) -> PathBuf {
        for arguments in [
            "genrsa -des3 -passout pass:sesame -out private.pem 2048",
            "rsa -in private.pem -passin pass:sesame -outform PEM -pubout -out public.pem",
        ] {
            let output = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(self.folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{arguments}");
        }
        std::fs::write(self.path("passphrase"), "sesame").unwrap();
        self.path("public.pem")
    }

    /// The flags of a token by the key of way B.
    fn own_key<'a>(kid: &'a str, config: &'a AppConfig) -> Vec<&'a str> {
        let flags = "--key private.pem --passphrase-file passphrase --client-secret-env SECRET";
        let enterprise = config.enterprise_id.as_deref().unwrap();
        let named = [
            "--client-id",
            &config.client_id,
            "--key-id",
            kid,
            "--enterprise",
            enterprise,
        ];
        flags.split(' ').chain(named).collect()
    }

    /// Asks for a token with `mintmark token`, and who it acts as.
    async fn mints_with(&self, flags: &[&str], config: &AppConfig) {
        let output = Command::new(env!("CARGO_BIN_EXE_mintmark"))
            .args(["token", "--url", &self.url()])
            .args(flags)
            .current_dir(self.folder.path())
            .env("SECRET", config.client_secret.expose())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flags:?}: {said}");
        let token = String::from_utf8(output.stdout).unwrap();
        let request = reqwest::Client::new()
            .get(format!("{}/2.0/users/me", self.url()))
            .bearer_auth(token.trim());
        let me = Answer::of(request).await;
        assert_eq!(me.status, 200);
        let login = me.body["login"].as_str().unwrap();
        assert!(login.starts_with("AutomationUser_"), "{login}");
    }

    async fn refuses(&self, config: &AppConfig, draft: Draft, (error, description): (&str, &str)) {
        let answer = present(&self.url(), config, draft).await;
        let expected = json!({"error": error, "error_description": description});
        assert_eq!((answer.status, answer.body), (400, expected));
    }

    async fn scopes_of_a_token(&self, config: &AppConfig) -> String {
        let answer = present(&self.url(), config, Self::enterprise(config)).await;
        let body = form(&[
            ("client_id", &config.client_id),
            ("client_secret", config.client_secret.expose()),
            ("token", answer.token()),
        ]);
        let request = reqwest::Client::new()
            .post(format!("{}/oauth2/introspect", self.url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let told = Answer::of(request).await;
        told.body["scope"].as_str().unwrap().to_owned()
    }

    /// Ends the broker, which has told nobody what it knows.
    fn says_no_secret(self, config: &AppConfig) {
        let (code, said) = self.process.into_inner().end(Signal::TERM);
        assert_eq!(code, Some(0));
        assert!(said.contains("8 tokens issued"), "{said}");
        for secret in [
            config.client_secret.expose(),
            config.passphrase.as_ref().unwrap().expose(),
            self.started["developer_secret"].as_str().unwrap(),
            self.started["admin_secret"].as_str().unwrap(),
            "PRIVATE KEY",
        ] {
            assert!(!said.contains(secret), "{said}");
        }
    }

    /// Checks that the app's pages may ask, and no others.
    fn opens_to(&self, origin: &str) {
        let app = self.mintmark(&["app", "show", NAME, "--json"]);
        let app: Value = serde_json::from_slice(&app.stdout).unwrap();
        assert_eq!(app["cors"], json!([origin]));
    }
}

struct Console<'a> {
    place: &'a Place,
    browser: Browser,
    /// Where the app's pages are.
    path: String,
}

impl Console<'_> {
    async fn sign_in(&self) {
        let browser = &self.browser;
        browser.open(self.place.said("console_url")).await;
        browser.fill("Secret", "not the secret").await;
        browser.press("Sign in").await;
        assert_eq!(browser.text(".error").await, "No role has this secret.");
        browser
            .fill("Secret", self.place.said("developer_secret"))
            .await;
        browser.press("Sign in").await;
        assert!(browser.text(".role").await.ends_with("Developer"));
        assert_eq!(browser.text(".empty h2").await, "No app yet");
    }

    async fn go(&self, part: &str) {
        let url = format!("{}{}{part}", self.place.said("console_url"), self.path);
        self.browser.open(&url).await;
    }

    async fn become_administrator(&self) {
        let browser = &self.browser;
        browser.press("Role: Developer").await;
        browser
            .fill("Administrator’s secret", self.place.said("admin_secret"))
            .await;
        browser.press("Become an administrator").await;
        assert!(browser.text(".role").await.ends_with("Administrator"));
    }

    async fn become_developer(&self) {
        self.browser.press("Role: Administrator").await;
        self.browser.press("Continue as a developer").await;
    }

    /// Watches a token being issued, without loading the page again.
    async fn watch_tokens(&self) {
        let browser = &self.browser;
        let url = format!("{}/tokens", self.place.said("console_url"));
        browser.open(&url).await;
        browser
            .client
            .execute("window.isSame = true", Vec::new())
            .await
            .unwrap();
        let issued = browser.texts("#tokens tr.issued").await.len();
        let refused = browser.texts("#tokens tr.refused").await.len();
        assert_eq!((issued, refused), (8, 7));
        let request = reqwest::Client::new()
            .post(format!("{}/oauth2/token", self.place.url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(&[
                ("grant_type", "password"),
                ("client_id", "<b>nobody</b>"),
            ]));
        assert_eq!(Answer::of(request).await.status, 400);
        browser
            .wait_for_text("#tokens tbody tr:first-child", "Unknown client")
            .await;
        let is_same = browser
            .client
            .execute("return window.isSame", Vec::new())
            .await;
        assert_eq!(is_same.unwrap(), json!(true));
    }
}

impl Face for Console<'_> {
    async fn create(&mut self, name: &str) {
        let browser = &self.browser;
        browser.press("Create new app").await;
        browser.tick("Custom App").await;
        browser.press("Next").await;
        browser
            .tick("OAuth 2.0 with JWT (Server Authentication)")
            .await;
        browser.press("Next").await;
        browser.fill("App name", name).await;
        browser.press("Create app").await;
        assert!(browser.text(".flash").await.contains("was created"));
        let url = browser.client.current_url().await.unwrap();
        url.path()
            .strip_suffix("/configuration")
            .unwrap()
            .clone_into(&mut self.path);
    }

    async fn is_refused(&mut self, name: &str) -> bool {
        let browser = &self.browser;
        browser.press("Apps").await;
        browser.press("Create new app").await;
        browser.press("Next").await;
        browser.press("Next").await;
        browser.fill("App name", name).await;
        browser.press("Create app").await;
        browser.text("#name-error").await.contains("is taken")
    }

    async fn generate(&mut self) -> PathBuf {
        let browser = &self.browser;
        self.go("/configuration").await;
        browser.press("Generate a Public/Private Keypair").await;
        let kid = browser.text("code.kid").await;
        browser.click("Download").await;
        let file = browser.downloaded(".json").await;
        let name = format!("{ENTERPRISE}_{kid}_config.json");
        assert_eq!(file.file_name().unwrap(), name.as_str());
        // It was handed out, and is not a second time.
        self.go("/configuration").await;
        assert!(browser.texts(".file").await.is_empty());
        file
    }

    async fn add_key(&mut self, pem: &Path) -> String {
        let browser = &self.browser;
        self.go("/configuration").await;
        let pem = std::fs::read_to_string(pem).unwrap();
        browser.fill("Public key in PEM", &pem).await;
        browser.press("Add a Public Key").await;
        let said = browser.text(".flash").await;
        let (_, kid) = said.split_once("Its key ID is ").unwrap();
        let kid = kid.trim_end_matches('.').to_owned();
        assert!(browser.texts("code.kid").await.contains(&kid));
        // The settings carry the key ID, and room for the private key.
        browser.click("Download").await;
        let file = browser.downloaded("_settings.json").await;
        let mut settings: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let auth = &mut settings["boxAppSettings"]["appAuth"];
        assert_eq!(auth["publicKeyID"], kid.as_str());
        assert_eq!(auth["privateKey"], "");
        let private_key = std::fs::read_to_string(self.place.path("private.pem")).unwrap();
        auth["privateKey"] = private_key.into();
        auth["passphrase"] = "sesame".into();
        AppConfig::from_json(settings.to_string().as_bytes()).unwrap();
        kid
    }

    async fn remove_key(&mut self, kid: &str) {
        self.go("/configuration").await;
        self.browser.press(&format!("Remove key {kid}")).await;
        self.browser.press("Remove key").await;
        assert!(
            !self
                .browser
                .texts("code.kid")
                .await
                .contains(&kid.to_owned())
        );
    }

    async fn submit(&mut self) {
        self.go("").await;
        let again = if self.needs_reauthorization().await {
            "re-"
        } else {
            ""
        };
        self.browser
            .press(&format!("Submit for {again}authorization"))
            .await;
        let status = self.browser.text("#status").await;
        assert_eq!(status, format!("Waiting for {again}authorization"));
    }

    async fn recipients(&mut self) -> Vec<String> {
        self.browser.press("Outbox").await;
        let lines = self.browser.texts(".mail .hint").await;
        let recipient = |line: &String| line.split(' ').nth(1).unwrap().to_owned();
        lines.iter().map(recipient).collect()
    }

    async fn authorize(&mut self) {
        self.become_administrator().await;
        assert_eq!(self.browser.text(".count").await, "1");
        self.browser.press("Authorize").await;
        self.go("").await;
        assert_eq!(self.browser.text("#status").await, "Authorized");
        self.become_developer().await;
    }

    async fn reauthorize(&mut self) {
        self.become_administrator().await;
        self.browser.press(NAME).await;
        self.browser.press("Re-authorize app").await;
        self.become_developer().await;
    }

    async fn disable(&mut self) {
        self.become_administrator().await;
        self.go("").await;
        self.browser.press("Disable app").await;
        assert_eq!(self.browser.text("#status").await, "Disabled");
    }

    async fn enable(&mut self) {
        self.go("").await;
        self.browser.press("Enable app").await;
        self.become_developer().await;
    }

    async fn add_managed_user(&mut self, id: &str) {
        self.become_administrator().await;
        self.browser.press("Users").await;
        self.browser.fill("User ID", id).await;
        self.browser.press("Add user").await;
        let users = self.browser.text("table").await;
        assert!(
            users.contains(id) && users.contains("Service account"),
            "{users}"
        );
        self.become_developer().await;
    }

    async fn edit(&mut self) {
        let browser = &self.browser;
        self.go("/configuration").await;
        browser.tick("Generate user access tokens").await;
        browser.tick("Manage managed users").await;
        browser.press("Save changes").await;
        // What contradicts itself is told, and what was typed stays.
        assert!(
            browser
                .text(".error")
                .await
                .contains("manage_managed_users")
        );
        browser.tick("App + enterprise access").await;
        browser
            .fill("Allowed origins", "https://app.acme.example")
            .await;
        browser.press("Save changes").await;
        assert!(browser.texts(".error").await.is_empty());
    }

    async fn needs_reauthorization(&mut self) -> bool {
        self.go("").await;
        self.browser.text("#status").await == "Re-authorization required"
    }
}

struct CommandLine<'a> {
    place: &'a Place,
}

impl CommandLine<'_> {
    /// Runs `mintmark app … --json`, and has the broker take it in.
    fn app(&self, arguments: &[&str]) -> Value {
        let output = self
            .place
            .mintmark(&[&["app"], arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        reload(&mut self.place.process.borrow_mut());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Face for CommandLine<'_> {
    async fn create(&mut self, name: &str) {
        self.app(&["create", name, "--authentication", "jwt"]);
    }

    async fn is_refused(&mut self, name: &str) -> bool {
        let output = self.place.mintmark(&["app", "create", name]);
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("is taken")
    }

    async fn generate(&mut self) -> PathBuf {
        let made = self.app(&["keypair", NAME]);
        self.place.path(made["config"].as_str().unwrap())
    }

    async fn add_key(&mut self, pem: &Path) -> String {
        let added = self.app(&["add-key", NAME, pem.to_str().unwrap()]);
        added["key_id"].as_str().unwrap().to_owned()
    }

    async fn remove_key(&mut self, kid: &str) {
        self.app(&["remove-key", NAME, kid]);
    }

    async fn submit(&mut self) {
        self.app(&["submit", NAME]);
    }

    async fn recipients(&mut self) -> Vec<String> {
        recipients(&self.app(&["outbox"]))
    }

    async fn authorize(&mut self) {
        self.app(&["authorize", NAME]);
    }

    async fn reauthorize(&mut self) {
        self.app(&["reauthorize", NAME]);
    }

    async fn disable(&mut self) {
        self.app(&["disable", NAME]);
    }

    async fn enable(&mut self) {
        self.app(&["enable", NAME]);
    }

    async fn add_managed_user(&mut self, id: &str) {
        self.app(&["users", "--add-managed", ENTERPRISE, "--id", id]);
    }

    async fn edit(&mut self) {
        self.app(&["access", NAME, "enterprise", "--user-tokens", "on"]);
        let scopes = "root_readonly,root_readwrite,manage_managed_users";
        self.app(&["scopes", NAME, "--set", scopes]);
        self.app(&["cors", NAME, "--set", "https://app.acme.example"]);
    }

    async fn needs_reauthorization(&mut self) -> bool {
        self.app(&["show", NAME])["status"] == "reauthorization_required"
    }
}

struct Api<'a> {
    place: &'a Place,
    http: reqwest::Client,
}

impl Api<'_> {
    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("{}/admin/v1{path}", self.place.url());
        let mut request = self.http.request(method, url);
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        Answer::of(request.bearer_auth(self.place.said("admin_secret"))).await
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status < 300, "{path}: {:?}", answer.body);
        answer.body
    }

    async fn step(&self, step: &str) {
        let path = format!("/apps/{NAME}/{step}");
        self.done(Method::POST, &path, Value::Null).await;
    }

    fn new_app(name: &str) -> Value {
        json!({"name": name, "enterprise_id": ENTERPRISE, "authentication": "jwt"})
    }
}

impl Face for Api<'_> {
    async fn create(&mut self, name: &str) {
        self.done(Method::POST, "/apps", Self::new_app(name)).await;
    }

    async fn is_refused(&mut self, name: &str) -> bool {
        let answer = self.ask(Method::POST, "/apps", Self::new_app(name)).await;
        answer.status == 409 && answer.body["code"] == "name_taken"
    }

    async fn generate(&mut self) -> PathBuf {
        let path = format!("/apps/{NAME}/keypair");
        let made = self.done(Method::POST, &path, Value::Null).await;
        let file = self.place.path("app.json");
        std::fs::write(&file, made.to_string()).unwrap();
        file
    }

    async fn add_key(&mut self, pem: &Path) -> String {
        let key = json!({"public_key": std::fs::read_to_string(pem).unwrap()});
        let path = format!("/apps/{NAME}/keys");
        let added = self.done(Method::POST, &path, key).await;
        added["key_id"].as_str().unwrap().to_owned()
    }

    async fn remove_key(&mut self, kid: &str) {
        let path = format!("/apps/{NAME}/keys/{kid}");
        self.done(Method::DELETE, &path, Value::Null).await;
    }

    async fn submit(&mut self) {
        self.step("submit").await;
    }

    async fn recipients(&mut self) -> Vec<String> {
        recipients(&self.done(Method::GET, "/notices", Value::Null).await)
    }

    async fn authorize(&mut self) {
        self.step("authorize").await;
    }

    async fn reauthorize(&mut self) {
        self.step("reauthorize").await;
    }

    async fn disable(&mut self) {
        self.step("disable").await;
    }

    async fn enable(&mut self) {
        self.step("enable").await;
    }

    async fn add_managed_user(&mut self, id: &str) {
        let user = json!({"enterprise_id": ENTERPRISE, "id": id});
        self.done(Method::POST, "/users", user).await;
    }

    async fn edit(&mut self) {
        let edit = json!({
            "access": "app_and_enterprise",
            "user_tokens": true,
            "scopes": ["root_readonly", "root_readwrite", "manage_managed_users"],
            "cors": ["https://app.acme.example"],
        });
        let path = format!("/apps/{NAME}");
        self.done(Method::PATCH, &path, edit).await;
    }

    async fn needs_reauthorization(&mut self) -> bool {
        let path = format!("/apps/{NAME}");
        let app = self.done(Method::GET, &path, Value::Null).await;
        app["status"] == "reauthorization_required"
    }
}

fn recipients(notices: &Value) -> Vec<String> {
    let notices = notices.as_array().unwrap().iter();
    let recipient = |notice: &Value| notice["recipient"].as_str().unwrap().to_owned();
    notices.map(recipient).collect()
}
