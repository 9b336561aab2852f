//! What is one cell of the matrix, and which cells are compared with which?
//!
//! A case is compared with the reference backend in the same cell, and with
//! its own backend in the cell where one dimension has its first value. The
//! matrix knows nothing of keys or libraries beyond their names.

pub use crate::record::case::{Case, KeyPolicy, Question, UnknownKeyPolicy};

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
    use crate::signer::Algorithm;

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
