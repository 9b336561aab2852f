//! Secrets: in nothing that a run leaves behind or says.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mintmark::credential::AppConfig;
use rustix::process::{Pid, Signal, kill_process};

use crate::files::files;
use crate::live::ask;
use crate::stage::{USER, broker_for, generated_app, mintmark, program, text};

/// What must not be found, in each form in which it could leak.
fn canaries(app: &AppConfig) -> Vec<(String, Vec<u8>)> {
    let key = app.credential().unwrap().key.open().unwrap();
    let parts = key.rsa_components().unwrap();
    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        (
            "client secret",
            app.client_secret.expose().as_bytes().to_vec(),
        ),
        (
            "passphrase",
            app.passphrase
                .as_ref()
                .unwrap()
                .expose()
                .as_bytes()
                .to_vec(),
        ),
        (
            "private exponent",
            parts.private_exponent.as_bytes().to_vec(),
        ),
        ("prime", parts.prime1.as_bytes().to_vec()),
        ("second prime", parts.prime2.as_bytes().to_vec()),
    ];
    // A line from the middle of the sealed key.
    let line = app.private_key.expose().lines().nth(4).unwrap();
    secrets.push(("sealed key", line.as_bytes().to_vec()));
    let mut found = Vec::new();
    for (name, bytes) in secrets {
        // Long secrets may be cut or wrapped: a part is enough.
        let part = &bytes[..bytes.len().min(24)];
        found.push((format!("{name}, raw"), part.to_vec()));
        found.push((format!("{name}, hex"), hex(part).into_bytes()));
        for (engine, encoding) in [(&STANDARD, "base64"), (&URL_SAFE_NO_PAD, "base64url")] {
            // Without the end, where padding and the next bytes would show.
            let text = engine.encode(part);
            found.push((
                format!("{name}, {encoding}"),
                text.as_bytes()[..text.len() - 4].to_vec(),
            ));
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn assert_clean(what: &str, haystack: &[u8], canaries: &[(String, Vec<u8>)]) {
    for (name, canary) in canaries {
        assert!(
            !haystack
                .windows(canary.len())
                .any(|window| window == canary),
            "{what} holds the {name}"
        );
    }
}

#[test]
fn the_search_finds_a_secret_that_is_there() {
    let app = generated_app();
    let canaries = canaries(&app);
    let config = app.to_json();
    let found = canaries
        .iter()
        .filter(|(_, canary)| {
            config
                .as_bytes()
                .windows(canary.len())
                .any(|window| window == canary.as_slice())
        })
        .count();
    assert!(found >= 3, "{found}");
}

#[test]
fn no_secret_is_in_any_output_of_a_run() {
    let app = generated_app();
    let broker = broker_for(&app);
    let canaries = canaries(&app);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("app.json");
    app.write(&config).unwrap();
    let scenario = folder.path().join("s.toml");
    std::fs::write(
        &scenario,
        format!(
            r#"
name = "secrets"
[target]
url = "{}"
users = ["{USER}", "unknown"]
[credentials]
config = "{}"
[signing]
compare = {{ budget = "200ms" }}
[load]
closed = {{ workers = 2 }}
warm_up = "0ms"
measure = "300ms"
[[step]]
name = "naive"
key = "decrypt-per-call"
token = "fetch-per-call"
[[step]]
name = "cached"
key = "reuse"
token = "cache"
"#,
            broker.url(),
            config.display()
        ),
    )
    .unwrap();
    let results = folder.path().join("results");
    let logged = ["--log-level", "trace", "--log-format"];
    for extra in [
        &[logged[0], logged[1]][..],
        &["--json", logged[0], logged[1], logged[2], "json"][..],
    ] {
        let output = program()
            .args(["run", scenario.to_str().unwrap(), "--results"])
            .arg(&results)
            .args(extra)
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_clean("standard output", &output.stdout, &canaries);
        assert_clean("standard error", &output.stderr, &canaries);
        assert!(
            text(&output.stderr).contains("a step began"),
            "nothing was logged"
        );
        assert!(!has_jwt(&text(&output.stderr)), "a JWT was logged");
    }
    // Of each run its record and its log, and a report of both.
    let page = results.join("report.html");
    let mut report = program();
    report.arg("report").arg("-o").arg(&page);
    for run in std::fs::read_dir(&results).unwrap() {
        report.arg(run.unwrap().path());
    }
    assert!(report.status().unwrap().success());
    let left = files(&results);
    assert_eq!(left.len(), 5);
    for file in left {
        let bytes = std::fs::read(&file).unwrap();
        assert_clean(&file.display().to_string(), &bytes, &canaries);
        // Assertions and tokens are secret as well: no JWT, no bearer token.
        let text = String::from_utf8(bytes).unwrap();
        assert!(!has_jwt(&text), "{} holds a JWT", file.display());
        assert!(!text.contains("access_token"));
    }
}

/// Is there a JWT: a header in base64url, a dot, and claims? A histogram in
/// base64 begins so by chance, and has no dot.
fn has_jwt(text: &str) -> bool {
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices("eyJ").any(|(at, _)| {
        let after = text[at..].trim_start_matches(is_base64url);
        after.starts_with(".eyJ")
    })
}

#[test]
fn a_jwt_is_found_and_a_histogram_is_none() {
    let jwt = "{\"assertion\": \"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln\"}";
    assert!(has_jwt(jwt));
    assert!(!has_jwt("{\"response\": \"HISTFAAAAeyJb+x\", \"a\": 1.5}"));
}

#[test]
fn no_secret_is_in_an_error() {
    let app = generated_app();
    let canaries = canaries(&app);
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = app.to_json().to_string();
    // A passphrase that does not fit, a key cut short, and a file cut short.
    let passphrase = app.passphrase.as_ref().unwrap().expose();
    let without_end = wrong.replacen(passphrase, "another passphrase", 1);
    let cut_key = wrong.replacen("-----END", "-----EDN", 1);
    wrong.truncate(wrong.len() / 2);
    for (name, text) in [
        ("passphrase.json", without_end),
        ("key.json", cut_key),
        ("file.json", wrong),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        for verb in ["token", "sign"] {
            let output = mintmark(&[verb, "--config", path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(2), "{name}");
            assert!(output.stdout.is_empty());
            assert!(!output.stderr.is_empty());
            assert_clean(name, &output.stderr, &canaries);
        }
    }
}

#[test]
fn no_secret_is_in_what_a_broker_logs_or_serves_as_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("app.json");
    let mut broker = program()
        .args(["broker", "--metrics", "0", "--log-level", "trace"])
        .args(["--user", USER, "--write-config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(broker.stderr.take().unwrap());
    let mut logged = String::new();
    while !logged.contains("/metrics") {
        assert!(stderr.read_line(&mut logged).unwrap() > 0, "{logged}");
    }
    let (_, url) = logged.trim_end().rsplit_once("metrics are at ").unwrap();
    let url = url.to_owned();
    let mut address = String::new();
    BufReader::new(broker.stdout.take().unwrap())
        .read_line(&mut address)
        .unwrap();
    let granted = program()
        .args([
            "token",
            "--user",
            USER,
            "--url",
            address.trim_end(),
            "--config",
        ])
        .arg(&config)
        .output()
        .unwrap();
    assert!(granted.status.success());
    let (_, exposition) = ask("GET", &url);
    assert!(
        exposition.contains("outcome=\"granted\"} 1"),
        "{exposition}"
    );
    let pid = Pid::from_raw(i32::try_from(broker.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    stderr.read_to_string(&mut logged).unwrap();
    broker.wait().unwrap();
    assert!(logged.contains("a broker has stopped"), "{logged}");
    let app = AppConfig::from_json(&std::fs::read(&config).unwrap()).unwrap();
    let mut canaries = canaries(&app);
    let token = text(&granted.stdout).trim_end().as_bytes()[..20].to_vec();
    canaries.push(("access token".to_owned(), token));
    canaries.push(("client ID".to_owned(), app.client_id.as_bytes().to_vec()));
    canaries.push(("key ID".to_owned(), app.public_key_id.as_bytes().to_vec()));
    assert_clean("metrics", exposition.as_bytes(), &canaries);
    assert_clean("the log", logged.as_bytes(), &canaries);
}
