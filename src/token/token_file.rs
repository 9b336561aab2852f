//! How is a token kept in a file that nobody else can read?
//!
//! A file is written whole or not at all, with no access for others, and is
//! read only if nobody else can have written it. Who may write it, and how
//! long a token is of use, is decided in [`super::shelf`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::exchange::Token;

/// The most bytes of a file; a token answer has below 2 KiB.
const MAX_BYTES: u64 = 64 * 1024;

/// The version of the files' format.
const VERSION: u32 = 1;

/// How old a half-written file is before its writer counts as dead.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// What stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    version: u32,
    pub access_token: Zeroizing<String>,
    pub token_type: String,
    pub asked_unix_ms: u64,
    pub expires_unix_ms: u64,
}

impl Entry {
    /// Makes the entry of a token that was asked for at this time.
    pub fn of(token: &Token, asked_unix_ms: u64) -> Self {
        let life = u64::try_from(token.lifetime().as_millis()).unwrap_or(u64::MAX);
        Self {
            version: VERSION,
            access_token: Zeroizing::new(token.expose().to_owned()),
            token_type: token.token_type().to_owned(),
            asked_unix_ms,
            expires_unix_ms: asked_unix_ms.saturating_add(life),
        }
    }
}

/// Opens the file whose lock gives the right to write a token.
pub(super) fn open_lock(path: &Path) -> Result<File, ShelfError> {
    let file = private()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| io_fault(path, source))?;
    check_private(&file, path)?;
    Ok(file)
}

/// Why a file was not used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The system refused.
    #[error("the token file {} cannot be used", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Somebody else could read it or have written it.
    #[error(
        "{} belongs to user {owner} and has the mode {mode:03o}, expected user {user} and no access for others",
        path.display()
    )]
    NotPrivate {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else than a token.
    #[error("the token file {} is damaged or of another version, expected version {VERSION}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process held the lock for too long.
    #[error("another process has held {} for {waited:?}", path.display())]
    Impatient {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// Files that only the user may access, and no links to others.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
    options
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32);
    options
}

pub(super) fn check_private(file: &File, path: &Path) -> Result<(), ShelfError> {
    let metadata = file.metadata().map_err(|source| io_fault(path, source))?;
    let user = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    let admits_others = mode & 0o077 != 0;
    if metadata.uid() == user && !admits_others {
        return Ok(());
    }
    Err(ShelfError::NotPrivate {
        path: path.to_owned(),
        owner: metadata.uid(),
        user,
        mode,
    })
}

/// Reads a file; there need not be one.
pub(super) fn read(path: &Path) -> Result<Option<Entry>, ShelfError> {
    let file = match private().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_fault(path, source)),
    };
    check_private(&file, path)?;
    let mut text = Zeroizing::new(Vec::with_capacity(4 * 1024));
    file.take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(|source| io_fault(path, source))?;
    serde_json::from_slice::<Entry>(&text)
        .ok()
        .filter(|entry| entry.version == VERSION)
        .map(Some)
        .ok_or_else(|| ShelfError::Damaged {
            path: path.to_owned(),
        })
}

/// Writes a file whole or not at all. It need not outlive the machine.
pub(super) fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    static UNFINISHED: AtomicU64 = AtomicU64::new(0);
    let text = Zeroizing::new(serde_json::to_vec(entry)?);
    let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    // One that a process of the same number left behind is in the way.
    let _ = fs::remove_file(&unfinished);
    let written = private()
        .write(true)
        .create_new(true)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(&text))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Removes the file that holds `token`.
pub(super) fn remove(folder: &Path, token: &Token) -> Result<(), ShelfError> {
    let names = fs::read_dir(folder).map_err(|source| io_fault(folder, source))?;
    for name in names.flatten() {
        let path = name.path();
        if has_extension(&path, "json")
            && read(&path)?.is_some_and(|entry| *entry.access_token == token.expose())
        {
            fs::remove_file(&path).map_err(|source| io_fault(&path, source))?;
        }
    }
    Ok(())
}

/// Removes tokens that are over at `now_unix_ms`, and what a writer that died
/// left behind; looks at `most` files at most, at others each time.
pub(super) fn sweep(folder: &Path, now_unix_ms: u64, most: usize) {
    // Whatever goes wrong here leaves a file for the next.
    let Ok(names) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = names.flatten().map(|name| name.path()).collect();
    if let Some(first) = usize::try_from(now_unix_ms)
        .unwrap_or_default()
        .checked_rem(paths.len())
    {
        paths.rotate_left(first);
    }
    for path in paths
        .iter()
        .filter(|path| !has_extension(path, "lock"))
        .take(most)
    {
        if has_extension(path, "json") {
            remove_if_over(path, now_unix_ms);
        } else if has_extension(path, "tmp") && is_abandoned(path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a token that is over, unless somebody is about to write another.
fn remove_if_over(path: &Path, now_unix_ms: u64) {
    let is_over = || matches!(read(path), Ok(Some(entry)) if entry.expires_unix_ms <= now_unix_ms);
    if is_over()
        && let Ok(lock) = open_lock(&path.with_extension("lock"))
        && lock.try_lock().is_ok()
        && is_over()
    {
        let _ = fs::remove_file(path);
    }
}

fn is_abandoned(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|written| written.elapsed().is_ok_and(|age| age > ABANDONED))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

pub(super) fn io_fault(path: &Path, source: io::Error) -> ShelfError {
    ShelfError::Io {
        path: path.to_owned(),
        source,
    }
}
