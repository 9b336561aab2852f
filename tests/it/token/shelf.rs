//! Tokens in files: shared by processes, and by nobody else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::clock::ManualClock;
use mintmark::token::{Purpose, Shelf, ShelfError, Source, Token, Wanted};
use tempfile::TempDir;

use super::desk::{Desk, No, token};
use crate::stage::{broker_for, generated_app, program};

const HOUR: Duration = Duration::from_secs(3_600);

/// A folder, and as many processes on it as a test wants.
struct Stage {
    folder: TempDir,
    clock: Arc<ManualClock>,
    purpose: Purpose,
    subject: Subject,
}

/// Answers at once with the same token.
struct Fixed(&'static str);

impl Source for Fixed {
    type Error = No;

    async fn fetch(&self, _: Wanted<'_>) -> Result<Arc<Token>, No> {
        Ok(token(self.0, HOUR))
    }

    async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), No> {
        Ok(())
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::new(ManualClock::at(Duration::from_secs(1_800_000_000))),
            purpose: Purpose::of_app("app"),
            subject: Subject::user("1"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Stands for a process of its own.
    fn process<S: Source>(&self, source: S) -> Shelf<S> {
        Shelf::open(self.path(), "http://endpoint", source)
            .unwrap()
            .with_clock(Arc::clone(&self.clock) as _)
    }

    fn wanted<'a>(&'a self, other_than: Option<&'a Token>) -> Wanted<'a> {
        Wanted {
            purpose: &self.purpose,
            subject: &self.subject,
            other_than,
        }
    }

    /// Gets the token in a process whose own would have this text.
    async fn get(&self, own: &'static str) -> (String, Option<ShelfError>) {
        let shelf = self.process(Fixed(own));
        let token = shelf.fetch(self.wanted(None)).await.unwrap();
        (token.expose().to_owned(), shelf.take_fault())
    }

    fn entry(&self) -> PathBuf {
        files(&self.path(), "json").pop().unwrap()
    }
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

#[tokio::test]
async fn a_second_process_finds_the_token_with_what_is_left_of_its_life() {
    let stage = Stage::new();
    assert_eq!(stage.get("first").await.0, "first");
    stage.clock.advance(Duration::from_secs(600));
    let shelf = stage.process(Fixed("second"));
    let token = shelf.fetch(stage.wanted(None)).await.unwrap();
    assert_eq!(token.expose(), "first");
    assert_eq!(token.lifetime(), HOUR - Duration::from_secs(600));
    assert_eq!(token.token_type(), "bearer");
    assert_eq!(shelf.served(), 1);
    // Its last half minute is of no use.
    stage.clock.advance(Duration::from_secs(2_969));
    assert_eq!(stage.get("third").await.0, "first");
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.get("third").await.0, "third");
}

#[tokio::test]
async fn of_processes_that_miss_together_one_fetches() {
    let stage = Stage::new();
    let desk = Desk::default();
    let processes: Vec<_> = (0..10)
        .map(|_| {
            let shelf = stage.process(desk.clone());
            let (purpose, subject) = (stage.purpose.clone(), stage.subject.clone());
            tokio::spawn(async move {
                let wanted = Wanted {
                    purpose: &purpose,
                    subject: &subject,
                    other_than: None,
                };
                shelf.fetch(wanted).await.unwrap().expose().to_owned()
            })
        })
        .collect();
    while desk.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    desk.order().grant("shared", HOUR);
    for process in processes {
        assert_eq!(process.await.unwrap(), "shared");
    }
    assert_eq!(desk.fetches(), 1);
}

#[tokio::test]
async fn a_process_that_dies_while_it_fetches_is_followed_by_the_next() {
    let stage = Stage::new();
    let desk = Desk::default();
    let first = stage.process(desk.clone());
    let fetching = {
        let (purpose, subject) = (stage.purpose.clone(), stage.subject.clone());
        tokio::spawn(async move {
            let wanted = Wanted {
                purpose: &purpose,
                subject: &subject,
                other_than: None,
            };
            first.fetch(wanted).await.map(|_| ())
        })
    };
    while desk.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    fetching.abort();
    assert!(fetching.await.unwrap_err().is_cancelled());
    assert_eq!(stage.get("second").await.0, "second");
}

#[tokio::test]
async fn a_process_does_not_wait_for_ever() {
    let stage = Stage::new();
    stage.get("first").await;
    let lock = files(&stage.path(), "lock").pop().unwrap();
    fs::remove_file(stage.entry()).unwrap();
    let held = fs::File::options().append(true).open(lock).unwrap();
    held.lock().unwrap();
    let shelf = stage
        .process(Fixed("own"))
        .with_patience(Duration::from_millis(5));
    let token = shelf.fetch(stage.wanted(None)).await.unwrap();
    assert_eq!(token.expose(), "own");
    assert!(matches!(
        shelf.take_fault(),
        Some(ShelfError::Impatient { .. })
    ));
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_taken_from_the_file() {
    let stage = Stage::new();
    stage.get("refused").await;
    let refused = token("refused", HOUR);
    let shelf = stage.process(Fixed("another"));
    let token = shelf.fetch(stage.wanted(Some(&refused))).await.unwrap();
    assert_eq!(token.expose(), "another");
    assert_eq!(stage.get("third").await.0, "another");
}

#[tokio::test]
async fn every_part_of_the_key_has_a_file_of_its_own() {
    let stage = Stage::new();
    stage.get("base").await;
    let base = Purpose::of_app("app");
    let mut expected = 1;
    for (purpose, subject) in [
        (base.clone(), Subject::enterprise("1")),
        (base.clone(), Subject::user("2")),
        (Purpose::of_app("other"), Subject::user("1")),
        (base.clone().with_audience(""), Subject::user("1")),
        (base.with_scopes(["read"]), Subject::user("1")),
    ] {
        let shelf = stage.process(Fixed("own"));
        let wanted = Wanted {
            purpose: &purpose,
            subject: &subject,
            other_than: None,
        };
        assert_eq!(shelf.fetch(wanted).await.unwrap().expose(), "own");
        expected += 1;
        assert_eq!(files(&stage.path(), "json").len(), expected);
    }
    let elsewhere = Shelf::open(stage.path(), "http://other", Fixed("own")).unwrap();
    elsewhere.fetch(stage.wanted(None)).await.unwrap();
    assert_eq!(files(&stage.path(), "json").len(), expected + 1);
}

#[tokio::test]
async fn files_and_folder_admit_the_user_alone() {
    let stage = Stage::new();
    stage.get("secret").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.path()), 0o700);
    for file in fs::read_dir(stage.path()).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let refused = Shelf::open(stage.path(), "http://endpoint", Fixed("x"));
    assert!(matches!(
        refused,
        Err(ShelfError::NotPrivate { mode: 0o750, .. })
    ));
}

#[tokio::test]
async fn a_file_that_others_could_read_or_that_is_a_link_is_not_used() {
    let stage = Stage::new();
    stage.get("exposed").await;
    fs::set_permissions(stage.entry(), fs::Permissions::from_mode(0o644)).unwrap();
    let (text, fault) = stage.get("own").await;
    assert_eq!(text, "own");
    assert!(matches!(fault, Some(ShelfError::NotPrivate { .. })));
    // The new file took the place of the exposed one.
    assert_eq!(stage.get("third").await.0, "own");

    let elsewhere = stage.folder.path().join("elsewhere");
    fs::rename(stage.entry(), &elsewhere).unwrap();
    let name = files(&stage.path(), "lock").pop().unwrap();
    symlink(&elsewhere, name.with_extension("json")).unwrap();
    let (text, fault) = stage.get("fourth").await;
    assert_eq!(text, "fourth");
    assert!(matches!(fault, Some(ShelfError::Io { .. })));
}

#[tokio::test]
async fn a_damaged_file_and_one_from_the_future_are_replaced() {
    let stage = Stage::new();
    stage.get("first").await;
    let whole = fs::read(stage.entry()).unwrap();
    for damaged in [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        String::from_utf8(whole.clone())
            .unwrap()
            .replace("\"version\":1", "\"version\":9")
            .into_bytes(),
    ] {
        fs::write(stage.entry(), damaged).unwrap();
        let (text, fault) = stage.get("own").await;
        assert_eq!(text, "own");
        assert!(matches!(fault, Some(ShelfError::Damaged { .. })));
    }
    fs::write(stage.entry(), &whole).unwrap();
    assert_eq!(stage.get("own").await.0, "first");
    // The wall clock was set back.
    stage.clock.set_unix(Duration::from_secs(1_799_999_000));
    assert_eq!(stage.get("own").await.0, "own");
}

#[tokio::test]
async fn revocation_removes_the_file() {
    let stage = Stage::new();
    stage.get("revoked").await;
    let desk = Desk::default();
    let shelf = stage.process(desk.clone());
    let revoked = token("revoked", HOUR);
    shelf.revoke(&stage.purpose, &revoked).await.unwrap();
    assert_eq!(desk.revoked(), ["revoked"]);
    assert_eq!(stage.get("own").await.0, "own");
}

#[tokio::test]
async fn tokens_that_are_over_go_when_the_next_is_written() {
    let stage = Stage::new();
    let put = async |id: &str| {
        let shelf = stage.process(Fixed("own"));
        let subject = Subject::user(id);
        let wanted = Wanted {
            subject: &subject,
            ..stage.wanted(None)
        };
        shelf.fetch(wanted).await.unwrap();
    };
    put("over").await;
    let over = stage.entry();
    put("over, and somebody is fetching").await;
    let held = files(&stage.path(), "json");
    let held = held.iter().find(|path| **path != over).unwrap();
    let lock = fs::File::open(held.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let unfinished = over.with_extension("1-0.tmp");
    fs::write(&unfinished, "half").unwrap();
    stage.clock.advance(HOUR - Duration::from_secs(1));
    put("alive").await;
    assert_eq!(files(&stage.path(), "json").len(), 3);
    stage.clock.advance(Duration::from_secs(1));
    put("new").await;
    let left = files(&stage.path(), "json");
    assert!(!left.contains(&over) && left.contains(held), "{left:?}");
    assert_eq!(left.len(), 3);
    // Its writer may be at it.
    assert!(unfinished.exists());
    let long_ago = std::time::SystemTime::now() - 2 * HOUR;
    let file = fs::File::options().write(true).open(&unfinished).unwrap();
    file.set_modified(long_ago).unwrap();
    put("newer").await;
    assert!(!unfinished.exists());
}

#[test]
fn eight_programs_that_start_together_ask_the_endpoint_once() {
    let folder = TempDir::new().unwrap();
    let app = generated_app();
    let broker = broker_for(&app);
    let config = folder.path().join("app.json");
    fs::write(&config, app.to_json().as_bytes()).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let shared = format!("--shared={}", folder.path().join("tokens").display());
    let started: Vec<_> = (0..8)
        .map(|_| {
            program()
                .args(["token", "--config", config.to_str().unwrap()])
                .args(["--url", &broker.url(), &shared])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let tokens: Vec<_> = started
        .into_iter()
        .map(|program| {
            let output = program.wait_with_output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(broker.stats().granted, 1);
    let json = program()
        .args(["token", "--config", config.to_str().unwrap(), "--json"])
        .args(["--url", &broker.url(), &shared])
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(shown["access_token"], tokens[0].trim());
    assert_eq!(shown["is_from_file"], true);
    assert_eq!(broker.stats().granted, 1);
    // A server refused it.
    let renewed = program()
        .args(["token", "--config", config.to_str().unwrap(), "--renew"])
        .args(["--url", &broker.url(), &shared])
        .output()
        .unwrap();
    assert!(renewed.status.success());
    assert_ne!(String::from_utf8_lossy(&renewed.stdout), tokens[0].as_str());
    assert_eq!(broker.stats().granted, 2);
}
