//! How do processes of one machine share their tokens?
//!
//! A [`Shelf`] is a source in front of another: it keeps each token in a file
//! that the user alone can read, and of the processes that miss together one
//! asks the other source, while the rest wait for the lock of that one token.
//! It suits programs that live shorter than a token, and it does nothing that
//! [`super::Cache`] does within a process.
//!
//! A token in a file is as secret as the file system keeps it. The folder and
//! the files must belong to the user and admit nobody else, or they are not
//! used. Whatever is wrong with a file, the token is then fetched as without
//! it, and the fault is there to be asked for.
//!
//! Lives are kept in wall time, since processes have no other clock in
//! common; a token from the future is not used. Tokens that are over are
//! removed by whoever writes the next; the lock files, which are empty, stay.

use std::fmt;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::exchange::Token;
use super::purpose::Purpose;
use super::source::{Source, Wanted};
use super::token_file::{self, Entry, ShelfError, check_private, io_fault};
use crate::assertion::Subject;
use crate::clock::{Clock, SystemClock};

/// How long a process waits for another that fetches the same token, before
/// it fetches by itself: longer than most requests take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many other files are looked at for tokens that are over, whenever one
/// is written: a millisecond's work, and more than are written meanwhile.
const SWEPT: usize = 64;

/// The first and the longest pause between two looks at a lock.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// What must be left of a token's life for it to be of use, a tenth of the
/// life at most.
const MARGIN_MS: u64 = 30_000;

/// Tokens in files, in front of the source that they come from.
pub struct Shelf<S> {
    folder: PathBuf,
    endpoint: String,
    source: S,
    clock: Arc<dyn Clock>,
    patience: Duration,
    served: AtomicU64,
    fault: Mutex<Option<ShelfError>>,
}

/// Where one token's files are.
struct Place {
    entry: PathBuf,
    lock: PathBuf,
}

impl<S: Source> Shelf<S> {
    /// Opens a folder for the tokens that `source` fetches from `endpoint`;
    /// makes it if it is missing.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, belongs to somebody else, or admits others.
    pub fn open(
        folder: impl Into<PathBuf>,
        endpoint: impl Into<String>,
        source: S,
    ) -> Result<Self, ShelfError> {
        let folder = folder.into();
        let io_error = |source| ShelfError::Io {
            path: folder.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(io_error)?;
        let opened = File::open(&folder).map_err(io_error)?;
        check_private(&opened, &folder)?;
        Ok(Self {
            folder,
            endpoint: endpoint.into(),
            source,
            clock: Arc::new(SystemClock::new()),
            patience: PATIENCE,
            served: AtomicU64::new(0),
            fault: Mutex::new(None),
        })
    }

    /// Says which clock the lives of tokens are measured by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says how long to wait for another process that fetches the same token.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns how many tokens came from files.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Takes what was last wrong with a file.
    pub fn take_fault(&self) -> Option<ShelfError> {
        self.fault.lock().take()
    }

    /// Returns where the tokens come from that are in no file.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Returns the token in the file, if there is one that is of use; fetches
    /// none.
    pub fn peek(&self, purpose: &Purpose, subject: &Subject) -> Option<Arc<Token>> {
        let wanted = Wanted {
            purpose,
            subject,
            other_than: None,
        };
        self.look(&self.place(&wanted), &wanted)
    }

    /// Returns the names of a token's files. They tell nothing of the subject
    /// to one who does not know it.
    fn place(&self, wanted: &Wanted<'_>) -> Place {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(&self.endpoint);
        add(wanted.purpose.app());
        // None is another purpose than an empty one.
        add(if wanted.purpose.audience().is_some() {
            "1"
        } else {
            "0"
        });
        add(wanted.purpose.audience().unwrap_or_default());
        add(wanted.subject.kind.name());
        add(&wanted.subject.id);
        for scope in wanted.purpose.scopes() {
            add(scope);
        }
        let mut name = String::with_capacity(64);
        for byte in hash.finalize() {
            use std::fmt::Write;
            let _ = write!(name, "{byte:02x}");
        }
        Place {
            entry: self.folder.join(format!("{name}.json")),
            lock: self.folder.join(format!("{name}.lock")),
        }
    }

    /// Returns the token in the file, if it is of use.
    fn look(&self, place: &Place, wanted: &Wanted<'_>) -> Option<Arc<Token>> {
        let entry = match token_file::read(&place.entry) {
            Ok(entry) => entry?,
            Err(fault) => {
                self.note(fault);
                return None;
            }
        };
        let now = self.now_ms();
        let life = entry.expires_unix_ms.checked_sub(entry.asked_unix_ms)?;
        let left = entry.expires_unix_ms.checked_sub(now)?;
        let is_refused = wanted
            .other_than
            .is_some_and(|other| other.expose() == *entry.access_token);
        if entry.asked_unix_ms > now || left <= MARGIN_MS.min(life / 10) || is_refused {
            return None;
        }
        Some(Arc::new(Token::new(
            entry.access_token.to_string(),
            entry.token_type,
            Duration::from_millis(left),
        )))
    }

    /// Takes the token from the file, if it is of use, and counts that.
    fn serve(&self, place: &Place, wanted: &Wanted<'_>) -> Option<Arc<Token>> {
        let token = self.look(place, wanted)?;
        self.served.fetch_add(1, Ordering::Relaxed);
        Some(token)
    }

    /// Waits for the right to fetch a token; `None` if that takes too long or
    /// there is something wrong with the file.
    async fn lock(&self, place: &Place) -> Option<File> {
        let file = match token_file::open_lock(&place.lock) {
            Ok(file) => file,
            Err(fault) => {
                self.note(fault);
                return None;
            }
        };
        let (mut pause, longest) = PAUSES;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                // Closing the file, also by dying, releases the lock.
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if waited < self.patience => {
                    tokio::time::sleep(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(longest);
                }
                Err(TryLockError::WouldBlock) => {
                    self.note(ShelfError::Impatient {
                        path: place.lock.clone(),
                        waited,
                    });
                    return None;
                }
                Err(TryLockError::Error(source)) => {
                    self.note(io_fault(&place.lock, source));
                    return None;
                }
            }
        }
    }

    fn keep(&self, place: &Place, token: &Token, asked_unix_ms: u64) {
        let entry = Entry::of(token, asked_unix_ms);
        if let Err(source) = token_file::write(&place.entry, &entry) {
            self.note(io_fault(&place.entry, source));
        }
        token_file::sweep(&self.folder, self.now_ms(), SWEPT);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self, fault: ShelfError) {
        *self.fault.lock() = Some(fault);
    }
}

impl<S: Source> Source for Shelf<S> {
    type Error = S::Error;

    /// Returns the token of the file, or fetches one and keeps it there.
    ///
    /// Waiting for another process takes a tokio runtime with time.
    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, S::Error> {
        let place = self.place(&wanted);
        if let Some(token) = self.serve(&place, &wanted) {
            return Ok(token);
        }
        let lock = self.lock(&place).await;
        // Another process may have been faster.
        if let Some(token) = self.serve(&place, &wanted) {
            return Ok(token);
        }
        let asked = self.now_ms();
        let token = self.source.fetch(wanted).await?;
        if lock.is_some() {
            self.keep(&place, &token, asked);
        }
        Ok(token)
    }

    async fn revoke(&self, purpose: &Purpose, token: &Token) -> Result<(), S::Error> {
        if let Err(fault) = token_file::remove(&self.folder, token) {
            self.note(fault);
        }
        self.source.revoke(purpose, token).await
    }
}

impl<S> fmt::Debug for Shelf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("folder", &self.folder)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Returns where a user's programs keep tokens: `mintmark/tokens` within
/// `$XDG_CACHE_HOME`, or within `~/.cache`.
#[must_use]
pub fn usual_folder() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(base.join("mintmark").join("tokens"))
}
