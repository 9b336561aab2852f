//! How does a running broker learn that the directory has changed?
//!
//! A thread of its own, which serves no request, asks the directory's version
//! a few times a second and makes a new snapshot when it differs; whoever
//! edits in the same process may ask for that at once. If a new snapshot
//! cannot be made, the old one stays.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::directory::{Directory, DirectoryError};
use super::registration::{AppRegistration, UserRegistration};
use super::registry::{Registry, Snapshot};
use crate::error::Chain;

/// How often the directory is asked. It takes some microseconds; a person
/// who has edited an app waits this long at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// Keeps a registry abreast of a directory. Ends on drop.
pub(super) struct Follower {
    state: Arc<Followed>,
    /// Dropped to end the thread.
    running: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

/// A directory and the registry that is made of it.
pub(super) struct Followed {
    directory: Arc<Directory>,
    registry: Arc<Registry>,
    /// Registered by the broker's configuration, before all others.
    apps: Vec<AppRegistration>,
    users: Vec<UserRegistration>,
    seen: Mutex<Option<(i64, u64)>>,
}

impl Follower {
    /// Brings `registry` up to date and keeps it so.
    pub(super) fn start(
        directory: Arc<Directory>,
        registry: Arc<Registry>,
        apps: Vec<AppRegistration>,
        users: Vec<UserRegistration>,
    ) -> Result<Self, DirectoryError> {
        let state = Arc::new(Followed {
            directory,
            registry,
            apps,
            users,
            seen: Mutex::new(None),
        });
        state.refresh()?;
        let (end, ended) = mpsc::channel();
        let asking = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let mut was_refused = false;
            while ended.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Whoever asks for it in person is told what is wrong; here it
                // is logged once, until it is mended.
                match asking.refresh() {
                    Ok(_) => was_refused = false,
                    Err(error) if !was_refused => {
                        was_refused = true;
                        tracing::warn!(error = %Chain(&error), "a changed registry is refused");
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Self {
            state,
            running: Some((end, thread)),
        })
    }

    pub(super) fn followed(&self) -> &Arc<Followed> {
        &self.state
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.running.take() {
            drop(end);
            // It has nothing that could panic, and there would be nothing to do.
            let _ = thread.join();
        }
    }
}

impl Followed {
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Makes a new snapshot if the directory has changed, and says whether
    /// it had.
    pub(super) fn refresh(&self) -> Result<bool, DirectoryError> {
        let mut seen = self.seen.lock();
        // Read first: a change that comes in between is seen twice, not missed.
        let version = self.directory.version()?;
        if *seen == Some(version) {
            return Ok(false);
        }
        let mut next = Snapshot::default();
        for app in &self.apps {
            next.add_app(app)?;
        }
        for user in &self.users {
            next.add_user(user)?;
        }
        self.directory.fill(&mut next)?;
        self.registry.replace(next);
        *seen = Some(version);
        Ok(true)
    }
}
