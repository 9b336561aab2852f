//! What is one cell of a comparison of signing backends, and what was asked
//! about it?
//!
//! Plain names: which cells are compared with which is the bench's to say.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signer::Algorithm;

/// One cell: who signs what, how, and on how many threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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

/// The clock that decides a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimedBy {
    /// CPU time of the signing threads: blind to preemption by others.
    ThreadCpu,
    /// CPU time of the whole process, for a library that is known to work on
    /// threads of its own. It counts what other threads of the program do.
    ProcessCpu,
    /// Wall time, for signatures that wait for something, and for what
    /// several threads do to each other.
    Wall,
}
