//! In which tables is the directory kept, and how safely?
//!
//! A write-ahead log with `synchronous=FULL` puts a change on the disk before
//! the call returns; a process that is killed leaves either all of it or
//! nothing. Which file is ours is told by SQLite's application ID.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::DirectoryError;

/// The layout of the tables.
pub(super) const VERSION: i64 = 2;

/// Marks the file: "Mint" in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4d69_6e74;

/// How long a writer waits for another process.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const TABLES: &str = "
CREATE TABLE enterprise (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
CREATE TABLE administrator (
    login TEXT NOT NULL,
    enterprise_id TEXT NOT NULL REFERENCES enterprise (id),
    PRIMARY KEY (login, enterprise_id)
) STRICT;
CREATE TABLE app (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id TEXT NOT NULL UNIQUE,
    client_secret TEXT NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    enterprise_id TEXT NOT NULL REFERENCES enterprise (id),
    authentication TEXT NOT NULL CHECK (authentication IN ('jwt', 'client_credentials')),
    created_at_s INTEGER NOT NULL,
    edited TEXT NOT NULL,
    approved TEXT,
    review TEXT NOT NULL CHECK (review IN ('none', 'submitted', 'declined')),
    is_enabled INTEGER NOT NULL,
    origins TEXT NOT NULL
) STRICT;
CREATE TABLE app_key (
    app INTEGER NOT NULL REFERENCES app (number),
    kid TEXT NOT NULL,
    pem TEXT NOT NULL,
    allow_small_exponent INTEGER NOT NULL,
    added_at_s INTEGER NOT NULL,
    PRIMARY KEY (app, kid)
) STRICT;
CREATE TABLE person (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    login TEXT NOT NULL,
    enterprise_id TEXT REFERENCES enterprise (id),
    client_id TEXT REFERENCES app (client_id),
    CHECK ((enterprise_id IS NULL) <> (client_id IS NULL))
) STRICT;
CREATE TABLE notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    client_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// From layout 1 to 2: what became of notices. Those of before are not sent
/// any more.
const DELIVERY: &str = "
ALTER TABLE notice ADD COLUMN due_at_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notice ADD COLUMN sent_at_s INTEGER;
ALTER TABLE notice ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notice ADD COLUMN error TEXT;
";

pub(super) fn open(path: &Path) -> Result<Connection, DirectoryError> {
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| DirectoryError::Open {
        path: path.to_owned(),
        source,
    };
    // SQLite gives its own files the mode of this one.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| refused(error.into()))?;
    let mut connection = Connection::open(path).map_err(|error| refused(error.into()))?;
    connection.busy_timeout(PATIENCE)?;
    let writing = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => DirectoryError::Foreign {
                path: path.to_owned(),
            },
            _ => refused(error.into()),
        })?;
    let number = |pragma: &str| writing.query_row(pragma, (), |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let (owner, found) = (
        number("PRAGMA application_id")?,
        number("PRAGMA user_version")?,
    );
    if tables == 0 && owner == 0 {
        create(&writing)?;
    } else if owner != APPLICATION_ID {
        return Err(DirectoryError::Foreign {
            path: path.to_owned(),
        });
    } else if found == 1 {
        writing.execute_batch(DELIVERY)?;
        let expired = "UPDATE notice SET attempts = ?1";
        writing.execute(expired, [super::outbox::MAX_ATTEMPTS])?;
        writing.pragma_update(None, "user_version", VERSION)?;
    } else if found != VERSION {
        return Err(DirectoryError::Layout {
            path: path.to_owned(),
            found,
        });
    }
    writing.commit()?;
    // This one answers with the mode, which execute_batch would not read.
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    settle(&connection)?;
    Ok(connection)
}

pub(super) fn in_memory() -> Result<Connection, DirectoryError> {
    let connection = Connection::open_in_memory()?;
    create(&connection)?;
    settle(&connection)?;
    Ok(connection)
}

fn create(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(DELIVERY)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

fn settle(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}
