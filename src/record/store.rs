//! How does a run reach the disk whole, and come back?
//!
//! A run has a folder of its own, `<time>-<name>`. Its files are written and
//! synced in a hidden folder beside it, which is then renamed; a reader finds
//! every file of a run or none. Readers accept older versions of the schema
//! and refuse newer ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::document::{RunDocument, SCHEMA_VERSION};
use super::histogram::EncodingError;
use super::interval_log::interval_log;

/// The file name of a run's document within its folder.
pub const RESULT_FILE: &str = "result.json";

/// The file name of a run's histograms, as an interval log.
pub const LOG_FILE: &str = "load.hlog";

/// The end of the name of a folder whose run has not ended.
pub const UNFINISHED: &str = ".unfinished";

/// The folder of one run that is under way.
///
/// Until [`Folder::write`] it is hidden, and dropping it leaves nothing.
#[derive(Debug)]
pub struct Folder {
    hidden: PathBuf,
    path: PathBuf,
    is_whole: bool,
}

impl Folder {
    /// Reserves the folder `<root>/<run>`, and makes `<root>` if it is missing.
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
            number += 1;
            let path = root.join(&name);
            let hidden = root.join(format!(".{name}{UNFINISHED}"));
            match fs::create_dir(&hidden) {
                // Another process may have renamed its own just before.
                Ok(()) if path.exists() => {
                    fs::remove_dir(&hidden).map_err(|error| failed(&hidden, error))?;
                }
                Ok(()) => {
                    return Ok(Self {
                        hidden,
                        path,
                        is_whole: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&hidden, error)),
            }
        }
    }

    /// Returns the path that the folder will have.
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

    /// Writes the document and its interval log, shows the folder under its
    /// name and returns the document's path.
    ///
    /// # Errors
    ///
    /// The disk is full or the folder is gone; nothing of the run is left then.
    pub fn write(mut self, document: &RunDocument) -> Result<PathBuf, StoreError> {
        let mut text = serde_json::to_vec_pretty(document).map_err(StoreError::Encode)?;
        text.push(b'\n');
        let mut files = vec![(RESULT_FILE, text)];
        if let Some(log) = interval_log(document).map_err(StoreError::Log)? {
            files.push((LOG_FILE, log));
        }
        for (name, bytes) in &files {
            let path = self.hidden.join(name);
            write_synced(&path, bytes).map_err(|source| StoreError::Write { path, source })?;
        }
        let root = self
            .path
            .parent()
            .filter(|root| !root.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(&self.hidden)
            .and_then(|folder| folder.sync_all())
            .and_then(|()| fs::rename(&self.hidden, &self.path))
            .and_then(|()| File::open(root)?.sync_all())
            .map_err(|source| StoreError::Write {
                path: self.path.clone(),
                source,
            })?;
        self.is_whole = true;
        Ok(self.path.join(RESULT_FILE))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_whole {
            // What is left of it tells nothing; the error that led here does.
            let _ = fs::remove_dir_all(&self.hidden);
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut hidden = path.file_name().unwrap_or_default().to_owned();
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(hidden);
    write_synced(&temporary, bytes)
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
    /// The histograms cannot be encoded.
    #[error("cannot encode the interval log")]
    Log(#[source] EncodingError),
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
    /// No run, baseline, folder or file is called that.
    #[error(
        "no run or baseline {what:?} in {}, and no such result file; `mintmark results list` names them",
        root.display()
    )]
    NoRun {
        /// What was asked for.
        what: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The file of baselines cannot be used.
    #[error("{} is no table of names and runs", path.display())]
    Baselines {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
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
    use crate::record::sample;

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn two_runs_of_one_name_have_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::create(root.path(), "now-x").unwrap();
        let second = Folder::create(root.path(), "now-x").unwrap();
        assert_eq!(first.run(), "now-x");
        assert_eq!(second.run(), "now-x-2");
        // One that is whole is in the way as well.
        first.write(&sample::document()).unwrap();
        let third = Folder::create(root.path(), "now-x").unwrap();
        assert_eq!(third.run(), "now-x-3");
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path(), "now-x").unwrap();
        assert_eq!(names(root.path()), [".now-x.unfinished"]);
        assert!(!folder.path().exists());
        drop(folder);
        assert_eq!(names(root.path()), [""; 0]);

        let folder = Folder::create(root.path(), "now-x").unwrap();
        let path = folder.write(&sample::document()).unwrap();
        assert_eq!(names(root.path()), ["now-x"]);
        assert_eq!(names(path.parent().unwrap()), [LOG_FILE, RESULT_FILE]);
        assert_eq!(read(&path).unwrap(), sample::document());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path(), "now-x").unwrap();
        // A folder where the document is to be.
        fs::create_dir(folder.hidden.join(RESULT_FILE)).unwrap();
        let error = folder.write(&sample::document()).unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
        assert_eq!(names(root.path()), [""; 0]);
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
        assert_eq!(names(root.path()), ["blocked", "file"]);
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
