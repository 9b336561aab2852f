//! What is one cell of the matrix, and which cells are compared with which?
//!
//! A case is compared with the reference backend in the same cell, and with
//! its own backend in the cell where one dimension has its first value. The
//! matrix knows nothing of keys or libraries beyond their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::signer::Algorithm;

/// One cell: who signs what, how, and on how many threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The backend's name.
    pub backend: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The size of the modulus, or of the field, in bits.
    pub key_bits: usize,
    /// Threads that sign at once with one key object.
    pub threads: usize,
    /// What is done about the key for each signature.
    pub key_policy: KeyPolicy,
    /// The size of the claims before base64, in bytes.
    pub claims_bytes: usize,
}

impl Case {
    /// Do the two differ by their backend alone, if at all?
    #[must_use]
    pub fn is_same_cell(&self, other: &Self) -> bool {
        Self {
            backend: self.backend.clone(),
            ..other.clone()
        } == *self
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} bits, {} thread{}, key {}, {} B claims",
            self.backend,
            self.algorithm,
            self.key_bits,
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.key_policy,
            self.claims_bytes
        )
    }
}

/// What a program does about its key for each signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPolicy {
    /// The parsed key is kept.
    Reused,
    /// The DER is parsed, and checked, each time.
    ParsedPerCall,
    /// The encrypted container is decrypted, and then parsed, each time.
    DecryptedPerCall,
}

impl KeyPolicy {
    /// Every policy, cheapest first.
    pub const ALL: [Self; 3] = [Self::Reused, Self::ParsedPerCall, Self::DecryptedPerCall];

    /// Returns the word by which flags call the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::ParsedPerCall => "parsed-per-call",
            Self::DecryptedPerCall => "decrypted-per-call",
        }
    }
}

impl fmt::Display for KeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KeyPolicy {
    type Err = UnknownKeyPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| UnknownKeyPolicy(text.to_owned()))
    }
}

/// The word is none of the key policies.
#[derive(Debug, thiserror::Error)]
#[error("unknown key policy {0:?}, expected one of reused, parsed-per-call, decrypted-per-call")]
pub struct UnknownKeyPolicy(String);

/// Why two cases are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Is this backend faster than the reference?
    Backend,
    /// What do more threads yield? The clock on the wall decides.
    Threads,
    /// What does handling the key anew cost?
    KeyPolicy,
    /// What would another algorithm or key size yield?
    Algorithm,
    /// What do larger claims cost?
    ClaimsSize,
    /// Does the session find a difference where there is none?
    NullControl,
}

/// Lists which cases are compared: baseline, candidate and why.
///
/// `reference` names the backend that others are compared with, where it is
/// in the cell; elsewhere the first backend of the cell takes its place.
#[must_use]
pub fn questions(cases: &[Case], reference: &str) -> Vec<(usize, usize, Question)> {
    let mut asked = Vec::new();
    for (candidate, case) in cases.iter().enumerate() {
        let baseline = reference_of(cases, candidate, reference);
        if baseline != candidate {
            asked.push((baseline, candidate, Question::Backend));
        }
        let mut ask = |question, is_like: &dyn Fn(&Case) -> bool| {
            let first = cases
                .iter()
                .position(|other| other.backend == case.backend && is_like(other));
            if let Some(first) = first
                && first != candidate
            {
                asked.push((first, candidate, question));
            }
        };
        ask(Question::Threads, &|other| {
            Case {
                threads: case.threads,
                ..other.clone()
            } == *case
        });
        ask(Question::KeyPolicy, &|other| {
            Case {
                key_policy: case.key_policy,
                ..other.clone()
            } == *case
        });
        ask(Question::Algorithm, &|other| {
            Case {
                algorithm: case.algorithm,
                key_bits: case.key_bits,
                ..other.clone()
            } == *case
        });
        ask(Question::ClaimsSize, &|other| {
            Case {
                claims_bytes: case.claims_bytes,
                ..other.clone()
            } == *case
        });
    }
    asked
}

/// Finds the case that stands for the reference in the cell of `of`.
#[must_use]
pub fn reference_of(cases: &[Case], of: usize, reference: &str) -> usize {
    let cell = cell_of(cases, of);
    cell.iter()
        .copied()
        .find(|at| cases[*at].backend == reference)
        .or(cell.first().copied())
        .unwrap_or(of)
}

/// Lists the cases that differ from `of` by their backend alone, and `of`.
#[must_use]
pub fn cell_of(cases: &[Case], of: usize) -> Vec<usize> {
    (0..cases.len())
        .filter(|at| cases[of].is_same_cell(&cases[*at]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(backend: &str, threads: usize, key_policy: KeyPolicy) -> Case {
        Case {
            backend: backend.into(),
            algorithm: Algorithm::Rs256,
            key_bits: 2048,
            threads,
            key_policy,
            claims_bytes: 286,
        }
    }

    #[test]
    fn each_case_is_asked_about_once_for_each_dimension() {
        let mut cases = Vec::new();
        for policy in [KeyPolicy::Reused, KeyPolicy::ParsedPerCall] {
            for threads in [1, 2] {
                for backend in ["aws-lc-rs", "ring"] {
                    cases.push(case(backend, threads, policy));
                }
            }
        }
        let asked = questions(&cases, "ring");
        let count = |question| asked.iter().filter(|(.., q)| *q == question).count();
        assert_eq!(count(Question::Backend), 4);
        assert_eq!(count(Question::Threads), 4);
        assert_eq!(count(Question::KeyPolicy), 4);
        assert_eq!(count(Question::Algorithm), 0);
        for (baseline, candidate, question) in asked {
            let (a, b) = (&cases[baseline], &cases[candidate]);
            match question {
                Question::Backend => assert_eq!(a.backend, "ring"),
                Question::Threads => assert_eq!((a.threads, b.threads), (1, 2)),
                _ => assert_eq!(a.key_policy, KeyPolicy::Reused),
            }
        }
    }

    #[test]
    fn without_the_reference_the_first_of_the_cell_stands_in() {
        let cases = [
            case("rsa", 1, KeyPolicy::Reused),
            case("graviola", 1, KeyPolicy::Reused),
        ];
        assert_eq!(questions(&cases, "ring"), [(0, 1, Question::Backend)]);
    }

    #[test]
    fn every_policy_is_read_back() {
        for policy in KeyPolicy::ALL {
            assert_eq!(policy.name().parse::<KeyPolicy>().unwrap(), policy);
        }
        assert!("cached".parse::<KeyPolicy>().is_err());
    }
}
