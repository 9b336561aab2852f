//! What does a gate compare, and how large a change does it allow?

use serde::{Deserialize, Serialize};

use crate::bench::{Case, KeyPolicy, USUAL_CLAIMS_BYTES};
use crate::signer::{Algorithm, KeyKind};
use crate::stats::Tolerance;

/// One comparison: the same work on both sides, but for the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateCase {
    /// What the baseline does.
    pub baseline: Case,
    /// What the candidate does.
    pub candidate: Case,
    /// The smallest changes that are told.
    pub tolerance: Tolerance,
}

impl GateCase {
    /// Names the case in reports; unique within a gate.
    #[must_use]
    pub fn name(&self) -> String {
        let case = &self.candidate;
        let mut parts = vec![format!("{} {} bits", case.algorithm, case.key_bits)];
        if case.threads > 1 {
            parts.push(format!("{} threads", case.threads));
        }
        if case.key_policy != KeyPolicy::Reused {
            parts.push(format!("key {}", case.key_policy));
        }
        if case.claims_bytes != USUAL_CLAIMS_BYTES {
            parts.push(format!("{} B of claims", case.claims_bytes));
        }
        let cell = parts.join(", ");
        if self.baseline.backend == case.backend {
            format!("{} {cell}", case.backend)
        } else {
            cell
        }
    }
}

/// A block of cases: every combination of the lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Cells {
    /// The backends, where builds are compared.
    pub backends: Vec<String>,
    /// The algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The sizes of RSA keys, in bits; other kinds have one size each.
    pub bits: Vec<usize>,
    /// The numbers of threads.
    pub threads: Vec<usize>,
    /// What is done about the key for each signature.
    pub key_policies: Vec<KeyPolicy>,
    /// The sizes of the claims, in bytes.
    pub claims_bytes: Vec<usize>,
    /// The smallest changes that are told, as shares: 0.01 is one percent.
    pub tolerance: Tolerance,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            algorithms: vec![Algorithm::Rs256],
            bits: vec![2048],
            threads: vec![1],
            key_policies: vec![KeyPolicy::Reused],
            claims_bytes: vec![USUAL_CLAIMS_BYTES],
            tolerance: Tolerance::default(),
        }
    }
}

impl Cells {
    /// Lists the cases, for each pair of backends that is given.
    #[must_use]
    pub fn cases(&self, pairs: &[(String, String)]) -> Vec<GateCase> {
        let mut cases = Vec::new();
        for algorithm in &self.algorithms {
            let sizes = match algorithm.key_kind() {
                KeyKind::Rsa => self.bits.clone(),
                KeyKind::P384 => vec![384],
                KeyKind::P256 | KeyKind::Ed25519 => vec![256],
            };
            for key_bits in sizes {
                for key_policy in &self.key_policies {
                    for threads in &self.threads {
                        for claims_bytes in &self.claims_bytes {
                            for (baseline, candidate) in pairs {
                                let case = |backend: &String| Case {
                                    backend: backend.clone(),
                                    algorithm: *algorithm,
                                    key_bits,
                                    threads: (*threads).max(1),
                                    key_policy: *key_policy,
                                    claims_bytes: *claims_bytes,
                                };
                                cases.push(GateCase {
                                    baseline: case(baseline),
                                    candidate: case(candidate),
                                    tolerance: self.tolerance,
                                });
                            }
                        }
                    }
                }
            }
        }
        cases
    }
}
