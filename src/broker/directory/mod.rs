//! Who is registered, and who approved it, over longer than one run?
//!
//! The directory keeps enterprises, administrators, apps, their public keys
//! and users in an SQLite database, in a file or in memory. Of an app it
//! keeps two copies of the `Terms`: those that a developer edits and those
//! that an administrator approved. Requests never wait for it: a broker reads
//! a [`Snapshot`] and makes a new one when the directory has changed.
//!
//! Private keys are never kept, only handed out. Client secrets are kept as
//! they are, because every configuration file that is handed out carries
//! one; the file is therefore readable by its owner alone.
//!
//! Invariants: a change is whole, on disk when the call returns, and made
//! only if a snapshot of the outcome can be built; apps are never deleted, so
//! that their numbers stay.

mod edit;
pub mod outbox;
mod people;
mod record;
mod review;
mod schema;

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use self::people::NewUser;
pub use self::record::{
    Administrator, AppRecord, Created, Enterprise, KeyRecord, Notice, Status, UserRecord,
};
use super::admission::AdmissionError;
use super::origin::OriginError;
use super::registry::{RegistryError, Snapshot};
use super::terms::TermsError;
use crate::credential::generate::GenerateError;

/// A durable registry of enterprises, apps and users.
pub struct Directory {
    connection: Mutex<Connection>,
}

/// Why the directory did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file cannot be opened or created.
    #[error("cannot open the registry {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is a database of something else.
    #[error("{} is not a registry of apps, expected a file that this program made", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file has another layout.
    #[error("{} has the layout {found}, expected {}", path.display(), schema::VERSION)]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout that it has.
        found: i64,
    },
    /// The database failed.
    #[error("the registry's database failed")]
    Database(#[from] rusqlite::Error),
    /// A row of the database cannot be read.
    #[error("the registry holds {what} that cannot be read: {value:?}")]
    Row {
        /// What it should be.
        what: &'static str,
        /// What is there.
        value: String,
    },
    /// Nothing of that name is there.
    #[error("no {what} is called {name:?}")]
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// What it was called.
        name: String,
    },
    /// Something of that name is there already.
    #[error("the {what} {name:?} is taken")]
    Taken {
        /// The kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name is empty, too long, or holds control characters.
    #[error("the {what} {name:?} is not 1 to 120 characters without control characters")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The app is in a state in which that cannot be done.
    #[error("{app:?} is {}, so it cannot be {action}; {hint}", status.describe())]
    State {
        /// The app's name.
        app: String,
        /// What was to be done to it.
        action: &'static str,
        /// The state that it is in.
        status: Status,
        /// What would have to come first.
        hint: &'static str,
    },
    /// A key is not fit.
    #[error("the public key is refused")]
    Key(#[from] AdmissionError),
    /// The terms contradict themselves.
    #[error("the terms cannot be asked for")]
    Terms(#[from] TermsError),
    /// An origin is not one.
    #[error("the list of CORS domains cannot be used")]
    Origins(#[from] OriginError),
    /// Something cannot be registered.
    #[error("the change cannot be made")]
    Registry(#[from] RegistryError),
    /// Nothing could be generated.
    #[error("nothing was generated")]
    Generate(#[from] GenerateError),
}

impl Directory {
    /// Opens the directory in a file, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or is something else.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self {
            connection: Mutex::new(schema::open(path)?),
        })
    }

    /// Makes a directory that lives as long as the value.
    ///
    /// # Errors
    ///
    /// The database cannot be made.
    pub fn in_memory() -> Result<Self, DirectoryError> {
        Ok(Self {
            connection: Mutex::new(schema::in_memory()?),
        })
    }

    /// Returns two numbers of which one at least differs after a change,
    /// whoever made it.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn version(&self) -> Result<(i64, u64), DirectoryError> {
        let connection = self.connection.lock();
        let of_others = connection.query_row("PRAGMA data_version", (), |row| row.get(0))?;
        Ok((of_others, connection.total_changes()))
    }

    /// Adds what is registered to a snapshot.
    ///
    /// # Errors
    ///
    /// The database failed, or the snapshot has something of the same name.
    pub fn fill(&self, snapshot: &mut Snapshot) -> Result<(), DirectoryError> {
        let mut connection = self.connection.lock();
        // One transaction reads one state.
        let reading = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        fill(&reading, snapshot)
    }

    /// Changes something as a whole or not at all.
    fn change<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut connection = self.connection.lock();
        let writing = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = change(&writing)?;
        // What would not load is not written.
        fill(&writing, &mut Snapshot::default())?;
        writing.commit()?;
        Ok(outcome)
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

fn fill(connection: &Connection, snapshot: &mut Snapshot) -> Result<(), DirectoryError> {
    for (app, edited) in record::registrations(connection)? {
        snapshot.add_app(&app)?;
        // The registration carries what was approved, if anything was.
        snapshot.set_terms(&app.client_id, edited)?;
    }
    for user in record::users(connection)? {
        snapshot.add_user(&user.registration())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
