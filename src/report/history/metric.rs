//! Which figure of a run goes into a history?

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::record::RunDocument;
use crate::report::summary::StepSummary;
use crate::units::{Grouped, Shown};

/// A figure that a run has one of, for each step or backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The median response time of answered calls.
    P50,
    /// The 90th percentile of it.
    P90,
    /// The 99th percentile of it.
    P99,
    /// The 99.9th percentile of it.
    P999,
    /// Answered calls in a second.
    Goodput,
    /// The generator's processor time for a call.
    CpuPerCall,
    /// Signatures in a second of CPU time.
    Signatures,
    /// The highest rate that was sustained.
    Capacity,
}

impl Metric {
    /// Every figure.
    pub const ALL: [Self; 8] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::Goodput,
        Self::CpuPerCall,
        Self::Signatures,
        Self::Capacity,
    ];

    /// Returns the word by which it is asked for.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Goodput => "goodput",
            Self::CpuPerCall => "cpu-per-call",
            Self::Signatures => "signatures",
            Self::Capacity => "capacity",
        }
    }

    /// Returns the name for headings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50 of the response time",
            Self::P90 => "p90 of the response time",
            Self::P99 => "p99 of the response time",
            Self::P999 => "p99.9 of the response time",
            Self::Goodput => "answered calls a second",
            Self::CpuPerCall => "processor time of the client for a call",
            Self::Signatures => "signatures in a second of CPU time",
            Self::Capacity => "highest sustained rate",
        }
    }

    /// Returns the unit of its figures.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        if self.more_is_worse() { "ns" } else { "per_s" }
    }

    /// Is a larger figure a worse one? All times are.
    #[must_use]
    pub const fn more_is_worse(self) -> bool {
        matches!(
            self,
            Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::CpuPerCall
        )
    }

    /// Is it a figure of a step of a load?
    #[must_use]
    pub const fn is_of_steps(self) -> bool {
        !matches!(self, Self::Signatures | Self::Capacity)
    }

    /// Shows one of its figures.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        if self.more_is_worse() {
            Shown(Duration::from_secs_f64(value / 1e9)).to_string()
        } else {
            Grouped(value).to_string()
        }
    }

    /// Returns the figure of a run, for the step or backend `of`.
    #[must_use]
    pub(super) fn of(self, document: &RunDocument, of: Option<&str>) -> Option<f64> {
        match self {
            Self::Capacity => document.capacity.as_ref()?.answer.sustains_per_s,
            Self::Signatures => {
                let case = document.signing.as_ref()?.case_of(of?)?;
                Some(case.per_core_per_s)
            }
            _ => {
                let step = document.steps.iter().find(|step| Some(&*step.name) == of)?;
                let step = StepSummary::of(step);
                let response = step.response;
                let ns = match self {
                    Self::P50 => response?.p50_ns,
                    Self::P90 => response?.p90_ns,
                    Self::P99 => response?.p99_ns,
                    Self::P999 => response?.p999_ns,
                    Self::CpuPerCall => step.client_cpu_per_call_ns,
                    _ => return Some(step.goodput_per_s),
                };
                ns.map(|ns| ns as f64)
            }
        }
    }
}

/// The text is no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no figure, expected one of {}", Metric::ALL.map(Metric::word).join(", "))]
pub struct MetricError {
    /// The text.
    pub text: String,
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.word() == text)
            .ok_or_else(|| MetricError {
                text: text.to_owned(),
            })
    }
}

/// Which figure is asked for.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    /// The figure; what fits the runs unless given.
    pub metric: Option<Metric>,
    /// The step.
    pub step: Option<String>,
    /// The backend.
    pub backend: Option<String>,
}

/// A step or a backend has to be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// There is none of it.
    #[error("no run has a {0}")]
    Nothing(&'static str),
    /// It is not clear which is meant.
    #[error("{found}, expected --{flag} with one of {}", names.join(", "))]
    Unclear {
        /// What was found instead of one.
        found: String,
        /// The flag that says it.
        flag: &'static str,
        /// What could be meant.
        names: Vec<String>,
    },
}

impl Pick {
    /// Says which figure of which step or backend is meant.
    pub(super) fn resolve(
        &self,
        documents: &[&RunDocument],
    ) -> Result<(Metric, Option<String>), PickError> {
        let any = |has: fn(&RunDocument) -> bool| documents.iter().any(|document| has(document));
        let metric = self.metric.unwrap_or_else(|| {
            if any(|document| document.capacity.is_some()) {
                Metric::Capacity
            } else if any(|document| !document.steps.is_empty()) && self.backend.is_none() {
                Metric::P99
            } else {
                Metric::Signatures
            }
        });
        let (given, flag, names) = match metric {
            Metric::Capacity => return Ok((metric, None)),
            Metric::Signatures => (&self.backend, "backend", names(documents, backends)),
            _ => (&self.step, "step", names(documents, steps)),
        };
        let found = match (given, names.as_slice()) {
            (_, []) => return Err(PickError::Nothing(flag)),
            (Some(name), _) if names.contains(name) => return Ok((metric, Some(name.clone()))),
            (None, [one]) => return Ok((metric, Some(one.clone()))),
            (Some(name), _) => format!("no run has a {flag} {name:?}"),
            (None, _) => format!("the runs have several {flag}s"),
        };
        Err(PickError::Unclear { found, flag, names })
    }
}

fn names(documents: &[&RunDocument], of: fn(&RunDocument) -> Vec<String>) -> Vec<String> {
    let all: BTreeSet<String> = documents.iter().flat_map(|document| of(document)).collect();
    all.into_iter().collect()
}

fn backends(document: &RunDocument) -> Vec<String> {
    let cases = document.signing.iter().flat_map(|record| &record.cases);
    cases.map(|case| case.case.backend.clone()).collect()
}

fn steps(document: &RunDocument) -> Vec<String> {
    document
        .steps
        .iter()
        .map(|step| step.name.clone())
        .collect()
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
