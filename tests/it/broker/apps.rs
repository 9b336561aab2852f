//! `mintmark app`: from nothing to a token by the command line, and every no
//! on the way.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use mintmark::broker::directory::Directory;
use mintmark::credential::AppConfig;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cli::{Process, present, read_config};
use super::*;

/// A folder with a registry, and commands that work on it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mintmark(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mintmark"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("MINTMARK_REGISTRY", self.path("apps.db"))
            .output()
            .unwrap()
    }

    /// Runs `mintmark app … --json` and reads what it says.
    #[track_caller]
    fn app(&self, arguments: &[&str]) -> Value {
        let output = self.mintmark(&[&["app"], arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs `mintmark app …`, which fails with a usage error, and returns why.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.mintmark(&[&["app"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        said
    }

    /// Serves the registry.
    fn broker(&self) -> Process {
        let path = self.path("apps.db");
        Process::start(&["--registry", path.to_str().unwrap()])
    }

    /// Creates an app and generates its key pair.
    fn app_with_key(&self) -> AppConfig {
        self.app(&["create", "Loader"]);
        self.app(&["keypair", "Loader", "--out", "app.json"]);
        read_config(&self.path("app.json"))
    }
}

/// Has the broker read the registry, and returns once it has.
pub(super) fn reload(process: &mut Process) {
    let pid = Pid::from_raw(i32::try_from(process.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let mut line = Vec::new();
    let stderr = process.child.stderr.as_mut().unwrap();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    assert_eq!(line, b"mintmark: the registry was read\n");
}

fn enterprise_of(config: &AppConfig) -> Draft {
    Draft::enterprise().claim("sub", config.enterprise_id.clone().unwrap())
}

#[test]
fn the_set_up_guide_leads_to_a_token() {
    let desk = Desk::new();
    let created = desk.app(&["create", "Loader"]);
    assert_eq!(created["app"]["status"], "not_submitted");
    assert_eq!(created["client_secret"].as_str().unwrap().len(), 32);

    // Way A: a generated key pair.
    let keypair = desk.app(&["keypair", "Loader"]);
    let config = keypair["config"].as_str().unwrap();
    let enterprise = created["app"]["enterprise_id"].as_str().unwrap();
    let key_id = keypair["key_id"].as_str().unwrap();
    assert_eq!(config, format!("{enterprise}_{key_id}_config.json"));
    let mode = std::fs::metadata(desk.path(config)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let submitted = desk.app(&["submit", "Loader"]);
    assert_eq!(submitted["status"], "submitted");
    assert_eq!(desk.app(&["outbox"])[0]["recipient"], "admin@example.com");
    let authorized = desk.app(&["authorize", "Loader"]);
    assert_eq!(authorized["status"], "authorized");
    assert_eq!(authorized["keys"][0]["kid"], key_id);

    let broker = desk.broker();
    let url = broker.first_line.trim_end();
    let token = desk.mintmark(&["token", "--config", config, "--url", url]);
    let said = String::from_utf8_lossy(&token.stderr);
    assert!(token.status.success(), "{said}");
    assert!(token.stdout.len() > 32);
}

#[test]
fn a_key_pair_made_by_openssl_works_as_well() {
    let desk = Desk::new();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(desk.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    };
    openssl(&[
        "genrsa",
        "-des3",
        "-passout",
        "pass:sesame",
        "-out",
        "private.pem",
        "2048",
    ]);
    openssl(&[
        "rsa",
        "-in",
        "private.pem",
        "-passin",
        "pass:sesame",
        "-outform",
        "PEM",
        "-pubout",
        "-out",
        "public.pem",
    ]);
    let created = desk.app(&["create", "Loader"]);
    let added = desk.app(&["add-key", "Loader", "public.pem"]);
    desk.app(&["authorize", "Loader"]);

    let broker = desk.broker();
    std::fs::write(desk.path("passphrase"), "sesame").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .current_dir(desk.folder.path())
        .args([
            "token",
            "--key",
            "private.pem",
            "--passphrase-file",
            "passphrase",
        ])
        .args(["--client-id", &text(&created["app"]["client_id"])])
        .args(["--key-id", &text(&added["key_id"])])
        .args(["--enterprise", &text(&created["app"]["enterprise_id"])])
        .args(["--client-secret-env", "CLIENT_SECRET"])
        .env("CLIENT_SECRET", text(&created["client_secret"]))
        .args(["--url", broker.first_line.trim_end()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        desk.refused(&["add-key", "Loader", "private.pem"])
            .contains("private.pem")
    );
    assert!(
        desk.refused(&["add-key", "Loader", "public.pem"])
            .contains("taken")
    );
}

#[tokio::test]
async fn an_app_gets_tokens_from_its_authorization_to_its_disabling() {
    let desk = Desk::new();
    let config = desk.app_with_key();
    let mut broker = desk.broker();
    let url = broker.first_line.trim_end().to_owned();
    let ask = async || present(&url, &config, enterprise_of(&config)).await;

    ask().await.is(Refusal::AppNotAuthorized);
    desk.app(&["submit", "Loader"]);
    reload(&mut broker);
    ask().await.is(Refusal::AppNotAuthorized);
    desk.app(&["decline", "Loader"]);
    reload(&mut broker);
    ask().await.is(Refusal::AppNotAuthorized);
    desk.app(&["authorize", "Loader"]);
    reload(&mut broker);
    ask().await.token();
    desk.app(&["disable", "Loader"]);
    reload(&mut broker);
    ask().await.is(Refusal::AppNotAuthorized);
    desk.app(&["enable", "Loader"]);
    reload(&mut broker);
    ask().await.token();
}

#[tokio::test]
async fn a_change_counts_once_it_is_reauthorized() {
    let desk = Desk::new();
    let config = desk.app_with_key();
    let enterprise = config.enterprise_id.clone().unwrap();
    desk.app(&["users", "--add-managed", &enterprise, "--id", MANAGED]);
    desk.app(&["users", "--add-to", "Loader", "--id", OF_APP]);
    assert_eq!(desk.app(&["users"]).as_array().unwrap().len(), 2);
    desk.app(&["authorize", "Loader"]);
    let mut broker = desk.broker();
    let url = broker.first_line.trim_end().to_owned();
    let ask = async |id: &str| present(&url, &config, Draft::user(id)).await;

    ask(OF_APP).await.is(Refusal::UserTokenNotPermitted);
    let edited = desk.app(&["access", "Loader", "--user-tokens", "on"]);
    assert_eq!(edited["status"], "reauthorization_required");
    reload(&mut broker);
    ask(OF_APP).await.is(Refusal::UserTokenNotPermitted);
    desk.app(&["reauthorize", "Loader"]);
    reload(&mut broker);
    ask(OF_APP).await.token();

    // Without enterprise access, managed users are out of reach.
    ask(MANAGED).await.is(Refusal::UserTokenNotPermitted);
    desk.app(&["access", "Loader", "enterprise"]);
    let scopes = "root_readonly,manage_managed_users";
    let edited = desk.app(&["scopes", "Loader", "--set", scopes]);
    assert_eq!(edited["status"], "reauthorization_required");
    assert_ne!(edited["approved"], edited["edited"]);
    reload(&mut broker);
    ask(MANAGED).await.is(Refusal::UserTokenNotPermitted);
    present(&url, &config, enterprise_of(&config)).await.token();
    desk.app(&["reauthorize", "Loader"]);
    reload(&mut broker);
    ask(MANAGED).await.token();
}

#[tokio::test]
async fn keys_are_rotated_while_the_broker_runs() {
    let desk = Desk::new();
    let old = desk.app_with_key();
    desk.app(&["authorize", "Loader"]);
    let mut broker = desk.broker();
    let url = broker.first_line.trim_end().to_owned();
    let ask = async |config: &AppConfig| present(&url, config, enterprise_of(config)).await;
    ask(&old).await.token();

    desk.app(&["keypair", "Loader", "--out", "new.json"]);
    let new = read_config(&desk.path("new.json"));
    reload(&mut broker);
    ask(&new).await.token();
    ask(&old).await.token();
    desk.app(&["remove-key", "Loader", &old.public_key_id]);
    reload(&mut broker);
    ask(&old).await.is(Refusal::UnknownKey);
    ask(&new).await.token();
}

#[tokio::test]
async fn a_running_broker_notices_changes_by_itself() {
    let desk = Desk::new();
    let config = desk.app_with_key();
    let broker = desk.broker();
    let url = broker.first_line.trim_end().to_owned();
    desk.app(&["authorize", "Loader"]);
    let noticed = async {
        while present(&url, &config, enterprise_of(&config)).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .unwrap();
}

#[test]
fn what_was_told_outlives_a_kill() {
    let desk = Desk::new();
    let reader = Directory::open(&desk.path("apps.db")).unwrap();
    for round in 0..16 {
        let name = format!("App {round}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_mintmark"))
            .args(["app", "create", &name, "--json"])
            .env("MINTMARK_REGISTRY", desk.path("apps.db"))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Each round it gets a little further.
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let was_told = !output.stdout.is_empty();
        let is_there = reader.app(&name).is_ok();
        assert!(is_there || !was_told, "{name}");
    }
    assert_eq!(
        Directory::open(&desk.path("apps.db"))
            .unwrap()
            .apps()
            .unwrap(),
        reader.apps().unwrap()
    );
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let desk = Desk::new();
    desk.app_with_key();
    assert!(desk.refused(&["create", "loader"]).contains("taken"));
    assert!(desk.refused(&["show", "Other"]).contains("Other"));
    assert!(
        desk.refused(&["reauthorize", "Loader"])
            .contains("authorize it first")
    );
    let manage = ["scopes", "Loader", "--set", "manage_groups"];
    assert!(desk.refused(&manage).contains("app_and_enterprise"));
    assert!(
        desk.refused(&["scopes", "Loader", "--set", "root"])
            .contains("root")
    );
    let cors = ["cors", "Loader", "--set", "https://example.com/app"];
    assert!(desk.refused(&cors).contains("without a path"));
    let taken = ["keypair", "Loader", "--out", "app.json"];
    assert!(desk.refused(&taken).contains("there already"));
    let text = desk.path("text");
    std::fs::write(&text, "no database").unwrap();
    let foreign = ["list", "--registry", text.to_str().unwrap()];
    assert!(desk.refused(&foreign).contains("not a registry"));
}

#[test]
fn cors_domains_are_set_and_cleared() {
    let desk = Desk::new();
    desk.app(&["create", "Loader"]);
    let list = "https://*.example.com,http://localhost:8080";
    let app = desk.app(&["cors", "Loader", "--set", list]);
    assert_eq!(
        app["cors"],
        json!(["https://*.example.com", "http://localhost:8080"])
    );
    assert_eq!(desk.app(&["cors", "Loader"])["cors"], app["cors"]);
    let app = desk.app(&["cors", "Loader", "--set", ""]);
    assert_eq!(app["cors"], json!([]));
}
