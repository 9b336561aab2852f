//! Which runs are there, which of them have names, and which may go?
//!
//! A library is a folder of runs, as `results/` is. A baseline is a name for
//! one run in the file `baselines.toml` there; it can be given wherever a run
//! is asked for, and its run is never pruned.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::RunDocument;
use super::store::{self, RESULT_FILE, StoreError, UNFINISHED, write_atomically};

/// The file of named runs.
pub const BASELINES_FILE: &str = "baselines.toml";

/// An unfinished folder that is older belongs to no run any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A folder of runs.
#[derive(Clone, Debug)]
pub struct Library {
    root: PathBuf,
}

/// One run.
#[derive(Debug)]
pub struct Entry {
    /// The run's name.
    pub run: String,
    /// Its folder.
    pub path: PathBuf,
    /// What its files take, in bytes.
    pub bytes: u64,
    /// Its document, or why it cannot be read.
    pub document: Result<RunDocument, StoreError>,
}

/// Which runs may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule {
    /// Those that are not among the latest of this number.
    pub keep: Option<usize>,
    /// Those that began longer ago.
    pub older_than: Option<Duration>,
}

/// What a rule makes of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruning {
    /// Folders that would go, with their size in bytes, the oldest first.
    pub doomed: Vec<(PathBuf, u64)>,
    /// Baselines that the rule alone would have taken.
    pub spared: Vec<String>,
}

impl Library {
    /// Takes `root` for a folder of runs; it need not be there.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Lists the runs, the oldest first; what is no run is left out.
    ///
    /// # Errors
    ///
    /// The folder cannot be read; one that is missing has no runs.
    pub fn runs(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for path in self.folders()? {
            let file = path.join(RESULT_FILE);
            if name_of(&path).starts_with('.') || !file.is_file() {
                continue;
            }
            entries.push(Entry {
                run: name_of(&path),
                bytes: size_of(&path),
                document: store::read(&file),
                path,
            });
        }
        entries.sort_by_key(|entry| (began(entry), entry.run.clone()));
        Ok(entries)
    }

    /// Finds a run: a baseline's name, a run's name, a folder, or a file.
    ///
    /// # Errors
    ///
    /// There is none, or the file of baselines cannot be read.
    pub fn find(&self, what: &str) -> Result<PathBuf, StoreError> {
        if let Some(run) = self.baselines()?.get(what) {
            return Ok(self.root.join(run));
        }
        for path in [PathBuf::from(what), self.root.join(what)] {
            if path.is_file() || path.join(RESULT_FILE).is_file() {
                return Ok(path);
            }
        }
        Err(StoreError::NoRun {
            what: what.to_owned(),
            root: self.root.clone(),
        })
    }

    /// Returns the baselines: name to run.
    ///
    /// # Errors
    ///
    /// The file is there and is no table of texts.
    pub fn baselines(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let path = self.root.join(BASELINES_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| StoreError::Baselines {
            path,
            source: Box::new(source),
        })
    }

    /// Gives a run a name, in place of the run that had it.
    ///
    /// # Errors
    ///
    /// The run is not in the library, or the file cannot be written.
    pub fn name(&self, run: &str, name: &str) -> Result<(), StoreError> {
        if !self.root.join(run).join(RESULT_FILE).is_file() {
            return Err(StoreError::NoRun {
                what: run.to_owned(),
                root: self.root.clone(),
            });
        }
        let mut baselines = self.baselines()?;
        baselines.insert(name.to_owned(), run.to_owned());
        let path = self.root.join(BASELINES_FILE);
        let text = toml::to_string(&baselines).unwrap_or_default();
        write_atomically(&path, text.as_bytes())
            .map_err(|source| StoreError::Write { path, source })
    }

    /// Says which folders a rule would remove; without a bound, none. Runs that
    /// cannot be read stay, and so do baselines.
    ///
    /// # Errors
    ///
    /// The folder or the baselines cannot be read.
    pub fn pruning(&self, rule: Rule, now: SystemTime) -> Result<Pruning, StoreError> {
        let baselines = self.baselines()?;
        let mut pruning = Pruning::default();
        if rule.keep.is_none() && rule.older_than.is_none() {
            return Ok(pruning);
        }
        let runs: Vec<_> = self
            .runs()?
            .into_iter()
            .filter(|entry| entry.document.is_ok())
            .collect();
        let last = runs.len();
        for (at, entry) in runs.iter().enumerate() {
            let is_beyond = rule.keep.is_none_or(|keep| last - at > keep);
            let is_old = rule.older_than.is_none_or(|limit| {
                began(entry).is_some_and(|began| {
                    now.duration_since(SystemTime::from(began))
                        .is_ok_and(|age| age > limit)
                })
            });
            if !(is_beyond && is_old) {
                continue;
            }
            match baselines.iter().find(|(_, run)| **run == entry.run) {
                Some((name, _)) => pruning.spared.push(name.clone()),
                None => pruning.doomed.push((entry.path.clone(), entry.bytes)),
            }
        }
        for path in self.folders()? {
            let name = name_of(&path);
            let is_abandoned = || {
                fs::metadata(&path)
                    .and_then(|facts| facts.modified())
                    .ok()
                    .and_then(|at| now.duration_since(at).ok())
                    .is_some_and(|age| age > ABANDONED_AFTER)
            };
            if name.starts_with('.') && name.ends_with(UNFINISHED) && is_abandoned() {
                pruning.doomed.push((path.clone(), size_of(&path)));
            }
        }
        Ok(pruning)
    }

    fn folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let read = |source| StoreError::Read {
            path: self.root.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read(error)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(read)?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }
}

impl Pruning {
    /// Removes the doomed folders.
    ///
    /// # Errors
    ///
    /// One of them cannot be removed; those before it are gone.
    pub fn carry_out(&self) -> Result<(), StoreError> {
        for (path, _) in &self.doomed {
            fs::remove_dir_all(path).map_err(|source| StoreError::Write {
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

fn began(entry: &Entry) -> Option<jiff::Timestamp> {
    entry.document.as_ref().ok()?.started_at.parse().ok()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|facts| facts.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Folder, sample};

    fn filled(root: &Path, days: &[u32]) -> Library {
        for day in days {
            let mut document = sample::document();
            document.started_at = format!("2026-11-{day:02}T00:00:00Z");
            let folder = Folder::create(root, &format!("run-{day:02}")).unwrap();
            folder.write(&document).unwrap();
        }
        Library::at(root)
    }

    fn at(text: &str) -> SystemTime {
        SystemTime::from(text.parse::<jiff::Timestamp>().unwrap())
    }

    fn doomed(library: &Library, rule: Rule) -> Vec<String> {
        let pruning = library.pruning(rule, at("2026-11-20T12:00:00Z")).unwrap();
        pruning
            .doomed
            .iter()
            .map(|(path, _)| name_of(path))
            .collect()
    }

    #[test]
    fn a_rule_takes_what_is_both_old_and_beyond_the_number() {
        let root = tempfile::tempdir().unwrap();
        let library = filled(root.path(), &[1, 10, 19, 20]);
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let by = |keep, older_than| doomed(&library, Rule { keep, older_than });
        assert_eq!(by(None, None), [""; 0]);
        assert_eq!(by(Some(2), None), ["run-01", "run-10"]);
        assert_eq!(by(None, days(15)), ["run-01"]);
        assert_eq!(by(Some(3), days(5)), ["run-01"]);
        assert_eq!(by(Some(0), days(0)).len(), 4);
    }

    #[test]
    fn a_baseline_is_found_by_its_name_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let library = filled(root.path(), &[1, 2]);
        library.name("run-01", "release 1").unwrap();
        assert_eq!(
            library.find("release 1").unwrap(),
            root.path().join("run-01")
        );
        let rule = Rule {
            keep: Some(0),
            older_than: None,
        };
        let pruning = library.pruning(rule, at("2026-11-20T12:00:00Z")).unwrap();
        assert_eq!(pruning.spared, ["release 1"]);
        pruning.carry_out().unwrap();
        let left = library.runs().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].run, "run-01");
        assert!(library.name("run-02", "gone").is_err());
    }

    #[test]
    fn what_cannot_be_read_is_listed_and_never_pruned() {
        let root = tempfile::tempdir().unwrap();
        let library = filled(root.path(), &[1]);
        let newer = root.path().join("newer");
        fs::create_dir(&newer).unwrap();
        fs::write(newer.join(RESULT_FILE), "{\"schema_version\": 99}").unwrap();
        let runs = library.runs().unwrap();
        assert_eq!(runs.len(), 2);
        assert!(runs.iter().any(|entry| entry.document.is_err()));
        let rule = Rule {
            keep: Some(0),
            older_than: None,
        };
        assert_eq!(doomed(&library, rule), ["run-01"]);
    }

    #[test]
    fn a_library_that_is_not_there_has_no_runs() {
        let library = Library::at(Path::new("/no/such/folder"));
        assert!(library.runs().unwrap().is_empty());
        let error = library.find("x").unwrap_err().to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
    }
}
