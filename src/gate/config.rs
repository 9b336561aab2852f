//! Which family of cases does a project's gate watch?
//!
//! `gate.toml`, kept beside the code. Unknown fields are errors, which name
//! the place and what is accepted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Cells, GateCase, OnInconclusive};
use crate::units::Span;

/// A gate's configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The baseline.
    pub baseline: Side,
    /// The candidate.
    pub candidate: Side,
    /// What an undecided gate does to a build.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// The longest that a case may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Span>,
    /// The blocks of cases.
    #[serde(default)]
    pub cases: Vec<Cells>,
}

/// One side of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Side {
    /// A backend of this build.
    Backend(String),
    /// Another build of this program.
    Binary(PathBuf),
    /// Figures that `mintmark gate init` saved; as a baseline only.
    Saved(PathBuf),
    /// This build.
    This,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not understood.
    #[error("cannot use {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not such a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Lists the cases of the file, given the backends of a side that names
    /// none.
    #[must_use]
    pub fn gate_cases(&self, usual: &[String]) -> Vec<GateCase> {
        let blocks = if self.cases.is_empty() {
            vec![Cells::default()]
        } else {
            self.cases.clone()
        };
        blocks
            .iter()
            .flat_map(|cells| cells.cases(&self.pairs(cells, usual)))
            .collect()
    }

    fn pairs(&self, cells: &Cells, usual: &[String]) -> Vec<(String, String)> {
        if let (Side::Backend(baseline), Side::Backend(candidate)) =
            (&self.baseline, &self.candidate)
        {
            return vec![(baseline.clone(), candidate.clone())];
        }
        let names = if cells.backends.is_empty() {
            usual
        } else {
            &cells.backends
        };
        names
            .iter()
            .map(|name| (name.clone(), name.clone()))
            .collect()
    }
}
