//! `mintmark broker` as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mintmark::credential::AppConfig;
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A running `mintmark broker`, killed on drop if a test fails.
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) first_line: String,
}

impl Process {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintmark"));
        Self::run(command.arg("broker").args(arguments))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut first_line)
            .unwrap();
        Self { child, first_line }
    }

    /// Sends a signal and returns the exit code and standard error.
    pub(super) fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Posts an assertion for the app of a configuration file.
pub(super) async fn present(url: &str, config: &AppConfig, draft: Draft) -> Answer {
    let key = config.credential().unwrap().key.open().unwrap();
    let assertion = draft
        .header("kid", config.public_key_id.as_str())
        .claim("iss", config.client_id.as_str())
        .claim("exp", now() + 30)
        .sign_with(&key);
    let body = form(&[
        ("grant_type", JWT_BEARER),
        ("client_id", &config.client_id),
        ("client_secret", config.client_secret.expose()),
        ("assertion", &assertion),
    ]);
    let request = reqwest::Client::new()
        .post(format!("{url}/oauth2/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    Answer::of(request).await
}

pub(super) fn read_config(path: &Path) -> AppConfig {
    AppConfig::from_json(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_generated_app_gets_tokens_by_its_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    let process = Process::start(&[
        "--write-config",
        path.to_str().unwrap(),
        "--user",
        MANAGED,
        "--app-user",
        OF_APP,
        "--threads",
        "2",
    ]);
    let url = process.first_line.trim_end().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let config = read_config(&path);
    let enterprise = config.enterprise_id.clone().unwrap();
    let draft = Draft::enterprise().claim("sub", enterprise);
    present(&url, &config, draft).await.token();
    for id in [MANAGED, OF_APP] {
        present(&url, &config, Draft::user(id)).await.token();
    }
    present(&url, &config, Draft::user("5"))
        .await
        .is(Refusal::InvalidSubject);

    let (code, said) = process.end(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("3 tokens issued, 1 requests refused"),
        "{said}"
    );
    assert!(said.contains("1 × 400 invalid_grant"), "{said}");
}

#[tokio::test]
async fn an_app_of_ones_own_is_registered_by_file_and_public_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    Process::start(&["--write-config", path.to_str().unwrap()]).end(Signal::INT);
    let config = read_config(&path);
    let key = config.credential().unwrap().key.open().unwrap();
    let public = folder.path().join("public.pem");
    std::fs::write(&public, key.public_key().unwrap().to_pem()).unwrap();

    for more in [vec![], vec!["--public-key", public.to_str().unwrap()]] {
        let mut arguments = vec!["--json", "--app", path.to_str().unwrap()];
        arguments.extend(more);
        let process = Process::start(&arguments);
        let line: Value = serde_json::from_str(&process.first_line).unwrap();
        assert_eq!(line["client_id"], config.client_id);
        assert_eq!(line["key_id"], config.public_key_id);
        assert_eq!(line["worker_threads"].as_array().unwrap().len(), 1);
        let url = line["url"].as_str().unwrap();
        assert_eq!(line["token_url"], format!("{url}/oauth2/token"));
        let draft = Draft::enterprise().claim("sub", config.enterprise_id.clone().unwrap());
        present(url, &config, draft).await.token();
        let (code, _) = process.end(Signal::INT);
        assert_eq!(code, Some(0));
    }
}

#[tokio::test]
async fn a_rate_limit_is_set_by_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    let process = Process::start(&[
        "--write-config",
        path.to_str().unwrap(),
        "--rate-limit",
        "1",
        "--burst",
        "2",
    ]);
    let config = read_config(&path);
    let mut limited = 0;
    // The limit may let one more through each second, and this takes less.
    for _ in 0..30 {
        let draft = Draft::enterprise().claim("sub", config.enterprise_id.clone().unwrap());
        let answer = present(process.first_line.trim_end(), &config, draft).await;
        limited += u32::from(answer.status == 429);
    }
    assert!(limited > 0);
}

#[tokio::test]
async fn it_recovers_when_file_descriptors_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    let process = Process::run(
        Command::new("sh")
            .args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_mintmark"))
            .args(["broker", "--write-config", path.to_str().unwrap()]),
    );
    let address = process.first_line.trim_end().strip_prefix("http://");
    let address: std::net::SocketAddr = address.unwrap().parse().unwrap();
    // The kernel completes these, whether the broker accepts them or not.
    let connections: Vec<_> = (0..80)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    let files = format!("/proc/{}/fd", process.child.id());
    while std::fs::read_dir(&files).unwrap().count() < 40 {
        std::thread::yield_now();
    }
    let config = read_config(&path);
    let draft = Draft::enterprise().claim("sub", config.enterprise_id.clone().unwrap());
    let url = format!("http://{address}");
    let waiting = tokio::spawn(async move { present(&url, &config, draft).await });
    drop(connections);
    waiting.await.unwrap().token();
    let (code, said) = process.end(Signal::TERM);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no connection could be accepted"), "{said}");
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    let path = path.to_str().unwrap();
    for arguments in [
        &[][..],
        &["--app", "/nonexistent/app.json"],
        &["--write-config", path, "--app", path],
        &["--write-config", path, "--bits", "1024"],
        &["--write-config", path, "--listen", "0.0.0.0:0"],
        &["--write-config", path, "--user", "me"],
        &["--write-config", path, "--user", "5", "--app-user", "5"],
        &["--write-config", path, "--threads", "0"],
        &["--write-config", path, "--public-key", path],
        &["--write-config", path, "--error-share", "2"],
        &["--write-config", path, "--service-time", "5ms"],
        &["--registry", path, "--user", "5"],
        &["--console", "0.0.0.0:0"],
        &["--console", "anywhere"],
    ] {
        // A broker that starts after all says so at once.
        let mut process = Process::start(arguments);
        assert_eq!(process.first_line, "", "{arguments:?}");
        let mut said = String::new();
        let stderr = process.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert!(!said.is_empty(), "{arguments:?}");
        let code = process.child.wait().unwrap().code();
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
}
