//! Which family of cases does a project's gate watch?
//!
//! `gate.toml`, kept beside the code. Unknown fields are errors, which name
//! the place and what is accepted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::targets::LoadTolerance;
use super::{Cells, GateCase, OnInconclusive};
use crate::load::objective::Objective;
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
    /// The scenario whose load two endpoints get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<PathBuf>,
    /// What the candidate is to achieve under that load; the scenario's own
    /// unless given. A text as in scenarios, or a table.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "objective"
    )]
    pub objective: Option<Objective>,
    /// The smallest changes of an endpoint that are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<LoadTolerance>,
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
    /// A token endpoint, or a server's address.
    Url(String),
    /// This build.
    This,
}

/// Reads an objective: `"p99<50ms,errors<0.1%"`, or a table of the same limits.
fn objective<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Objective>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Typed {
        Text(String),
        Table(BTreeMap<String, String>),
    }
    let text = match Typed::deserialize(deserializer)? {
        Typed::Text(text) => text,
        Typed::Table(limits) => {
            let limits = limits.iter();
            let parts: Vec<String> = limits
                .map(|(what, limit)| format!("{what}<{limit}"))
                .collect();
            parts.join(",")
        }
    };
    text.parse().map(Some).map_err(D::Error::custom)
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
    /// A field says nothing about such sides.
    #[error("{}: {field} goes with {sides} alone", path.display())]
    Unused {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The sides that it goes with.
        sides: &'static str,
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
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        match config.unused() {
            Some((field, sides)) => Err(ConfigError::Unused {
                path: path.to_owned(),
                field,
                sides,
            }),
            None => Ok(config),
        }
    }

    /// Names a field that these sides make no use of, and those that would.
    fn unused(&self) -> Option<(&'static str, &'static str)> {
        let is_url = |side: &Side| matches!(side, Side::Url(_));
        if is_url(&self.baseline) || is_url(&self.candidate) {
            return (!self.cases.is_empty()).then_some(("cases", "backends or builds"));
        }
        [
            ("scenario", self.scenario.is_some()),
            ("objective", self.objective.is_some()),
            ("tolerance", self.tolerance.is_some()),
        ]
        .into_iter()
        .find(|(_, is_given)| *is_given)
        .map(|(field, _)| (field, "urls"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_a_text_or_a_table() {
        let read = |objective: &str| -> Result<Config, toml::de::Error> {
            toml::from_str(&format!(
                "baseline = {{ url = \"http://a\" }}\n\
                 candidate = {{ url = \"http://b\" }}\n\
                 scenario = \"load.toml\"\n{objective}\n"
            ))
        };
        let text = read("objective = \"p99<50ms,errors<0.5%\"").unwrap();
        let table = read("[objective]\np99 = \"50ms\"\nerrors = \"0.5%\"").unwrap();
        assert!(text.objective.is_some());
        assert_eq!(text, table);
        assert_eq!(read("").unwrap().objective, None);
        assert_eq!(text.unused(), None);
        let cases = read("[[cases]]\nbits = [2048]").unwrap();
        assert_eq!(cases.unused().map(|(field, _)| field), Some("cases"));
        let signing = Config {
            baseline: Side::Backend("ring".into()),
            candidate: Side::Backend("ring".into()),
            ..text.clone()
        };
        assert_eq!(signing.unused(), Some(("scenario", "urls")));
        let error = read("[objective]\np99 = \"soon\"").unwrap_err().to_string();
        assert!(error.contains("p99<50ms"), "{error}");
        let tolerance = read("[tolerance]\np99 = 0.2").unwrap().tolerance.unwrap();
        assert_eq!(
            tolerance,
            LoadTolerance {
                p99: 0.2,
                ..LoadTolerance::default()
            }
        );
    }
}
