//! How does a document reach the disk whole, and come back?
//!
//! A run has a folder of its own, `<time>-<name>`. A file in it is written
//! under another name, synced, renamed and the folder synced, so that a
//! reader finds a whole document or none. Readers refuse versions of the
//! schema that they do not know.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::document::{RunDocument, SCHEMA_VERSION};

/// The file name of a run's document within its folder.
pub const RESULT_FILE: &str = "result.json";

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder `<root>/<run>`, and `<root>` if it is missing.
    ///
    /// If it is there already, a number is appended: a run never writes into
    /// another's folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn create(root: &Path, run: &str) -> Result<Self, StoreError> {
        let failed = |path: &Path, source| StoreError::Folder {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(root).map_err(|error| failed(root, error))?;
        let mut number = 1;
        loop {
            let name = if number == 1 {
                run.to_owned()
            } else {
                format!("{run}-{number}")
            };
            let path = root.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }

    /// Returns the folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder's own name, which is the run's.
    #[must_use]
    pub fn run(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Writes the document and returns its path.
    ///
    /// # Errors
    ///
    /// The disk is full or the folder is gone; an older document stays whole.
    pub fn write(&self, document: &RunDocument) -> Result<PathBuf, StoreError> {
        let path = self.path.join(RESULT_FILE);
        let mut text = serde_json::to_vec_pretty(document).map_err(StoreError::Encode)?;
        text.push(b'\n');
        write_atomically(&path, &text).map_err(|source| StoreError::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

/// Reads a document; `path` is the file or the folder of a run.
///
/// # Errors
///
/// The file cannot be read, is no document, or has a newer schema.
pub fn read(path: &Path) -> Result<RunDocument, StoreError> {
    let path = if path.is_dir() {
        path.join(RESULT_FILE)
    } else {
        path.to_owned()
    };
    let bytes = fs::read(&path).map_err(|source| StoreError::Read {
        path: path.clone(),
        source,
    })?;
    let decode = |source| StoreError::Decode {
        path: path.clone(),
        source,
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(decode)?;
    match value
        .get("schema_version")
        .and_then(serde_json::Value::as_u64)
    {
        Some(version) if version <= u64::from(SCHEMA_VERSION) => {
            serde_json::from_value(value).map_err(decode)
        }
        Some(version) => Err(StoreError::Newer { path, version }),
        None => Err(StoreError::NotADocument { path }),
    }
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
///
/// Any step failed; a file of that name is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut hidden = path.file_name().unwrap_or_default().to_owned();
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(hidden);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all())
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
}

/// Why a document could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The document cannot be encoded.
    #[error("cannot encode the document")]
    Encode(#[source] serde_json::Error),
    /// The document cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The document cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{} is not a whole result document", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// The file is JSON without a schema version.
    #[error("{} has no schema_version, expected a result.json of mintmark", path.display())]
    NotADocument {
        /// The file.
        path: PathBuf,
    },
    /// The document was written by a newer program.
    #[error(
        "{} has schema version {version}, this program reads up to {SCHEMA_VERSION}; use a newer mintmark",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_name_have_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::create(root.path(), "now-x").unwrap();
        let second = Folder::create(root.path(), "now-x").unwrap();
        assert_eq!(first.run(), "now-x");
        assert_eq!(second.run(), "now-x-2");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        write_atomically(&path, b"old").unwrap();
        // A folder of that name cannot be replaced by a file.
        let blocked = root.path().join("blocked");
        fs::create_dir(&blocked).unwrap();
        assert!(write_atomically(&blocked, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let names: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_newer_document_is_refused_with_a_sentence() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(RESULT_FILE);
        fs::write(&path, "{\"schema_version\": 99}").unwrap();
        let error = read(root.path()).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("newer"), "{error}");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&path), Err(StoreError::NotADocument { .. })));
        fs::write(&path, "{\"schema_version\"").unwrap();
        assert!(matches!(read(&path), Err(StoreError::Decode { .. })));
    }
}
