//! Has the key file changed, and does the new key work?
//!
//! A [`KeyFile`] looks at the file from time to time, which works on every
//! file system and through links that are switched over. A file that cannot
//! be used, one that is half written for instance, leaves the current key in
//! place; it is looked at again. Only a key that a backend has taken replaces
//! another.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::keys::{KeyRing, Retired};
use super::signing_key::SigningKey;
use crate::credential::{ContainerError, CredentialError, Source, load};
use crate::signer::{Algorithm, Backend, LoadError};

/// How old a file must be for its time stamp to tell a change: two writes
/// within a tick of the file system's clock have the same stamp, and some
/// clocks tick every two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// A key file, and the ring that its key belongs to.
pub struct KeyFile {
    source: Source,
    ring: Arc<KeyRing>,
    backend: Arc<dyn Backend>,
    algorithm: Algorithm,
    seen: Option<Stamp>,
}

/// What distinguishes a file from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// What a look at a key file found.
#[derive(Debug)]
pub enum Change {
    /// There is a new key, and it is the current one.
    Rotated {
        /// The ID of the new key.
        kid: Option<String>,
        /// The key before it, as long as it has users.
        retired: Retired,
    },
    /// The file changed and cannot be used; the old key stays.
    Unusable(WatchError),
}

impl KeyFile {
    /// Binds a file to a ring; nothing is read yet.
    #[must_use]
    pub fn new(
        source: Source,
        ring: Arc<KeyRing>,
        backend: Arc<dyn Backend>,
        algorithm: Algorithm,
    ) -> Self {
        Self {
            source,
            ring,
            backend,
            algorithm,
            seen: None,
        }
    }

    /// Looks at the file once. A file that has not changed is not read.
    ///
    /// The key is replaced if the public half or the ID differs from that of
    /// the ring's current key. `None` says that nothing is new.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its key cannot be used.
    pub fn check(&mut self) -> Result<Option<Change>, WatchError> {
        let stamp = Stamp::of(&self.source).map_err(WatchError::Look)?;
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        let key = self.read()?;
        self.seen = stamp.is_settled().then_some(stamp);
        let current = self.ring.current();
        if key.kid() == current.kid()
            && key.fingerprint().is_some()
            && key.fingerprint() == current.fingerprint()
        {
            return Ok(None);
        }
        drop(current);
        let kid = key.kid().map(str::to_owned);
        let retired = self.ring.rotate(key);
        Ok(Some(Change::Rotated { kid, retired }))
    }

    /// Looks at the file at the given interval, on a thread of its own, and
    /// tells of each change; of a file that cannot be used, once.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
    pub fn watch(
        mut self,
        every: Duration,
        mut tell: impl FnMut(Change) + Send + 'static,
    ) -> io::Result<KeyWatch> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("key-watch".to_owned())
            .spawn(move || {
                let mut told = None;
                loop {
                    match self.check() {
                        Ok(change) => {
                            told = None;
                            change.into_iter().for_each(&mut tell);
                        }
                        Err(error) => {
                            let stamp = Stamp::of(&self.source).ok();
                            if told != Some(stamp) {
                                told = Some(stamp);
                                tell(Change::Unusable(error));
                            }
                        }
                    }
                    if stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })?;
        Ok(KeyWatch {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn read(&self) -> Result<SigningKey, WatchError> {
        let (credential, _) = load(&self.source)?;
        let key = credential.key.open()?;
        let kid = credential.key_id.as_deref();
        Ok(SigningKey::load(&key, kid, &*self.backend, self.algorithm)?)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.source.path())
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

impl Stamp {
    /// Looks at the file that a link leads to.
    fn of(source: &Source) -> io::Result<Self> {
        let metadata = fs::metadata(source.path())?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    fn is_settled(&self) -> bool {
        self.modified
            .and_then(|modified| modified.elapsed().ok())
            .is_some_and(|age| age > SETTLED)
    }
}

/// A watch over a key file; dropping it ends the watch.
#[derive(Debug)]
pub struct KeyWatch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends at once, or after the look that it is at. A panic in
            // the listener was the listener's and has been told already.
            let _ = thread.join();
        }
    }
}

/// Why a key file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The file cannot be looked at.
    #[error("the key file cannot be looked at")]
    Look(#[source] io::Error),
    /// The file cannot be read, or is no credential.
    #[error("the key file cannot be used")]
    Credential(#[from] CredentialError),
    /// The key cannot be opened.
    #[error("the key cannot be opened")]
    Open(#[from] ContainerError),
    /// The backend refused the key.
    #[error("the backend cannot sign with this key")]
    Load(#[from] LoadError),
}
