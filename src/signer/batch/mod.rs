//! How fast can one core sign, if it may sign eight messages at once?
//!
//! A library signs one message after the other, and most of the multipliers
//! of a modern core idle meanwhile. This backend puts eight messages side by
//! side in vector registers, one a lane, and needs a third of the time for
//! each. It signs RSASSA-PKCS1-v1_5 with keys of 2048, 3072 and 4096 bits and
//! two primes; `pad` makes the numbers, `crt` turns them into signatures
//! by way of `power` and `ifma`, and `choice` decides what is worth it.
//!
//! The code is constant-time in the key and in the message: no branch and no
//! address depends on either. Every signature is checked with the public
//! exponent before it is handed out; one that fails is made again by a
//! library. It does no PSS, no other sizes, and no gathering of messages over
//! time.
//!
//! All `unsafe` of the crate's own arithmetic is in this module. It is of
//! three kinds: loads and stores of whole aligned registers, calls of
//! functions that need processor features which were detected, and empty
//! assembly that keeps the compiler from moving instructions.
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_imports, unused_variables, clippy::unnecessary_wraps)
)]

#[cfg(target_arch = "x86_64")]
mod blinding;
mod bound;
mod components;
#[cfg(target_arch = "x86_64")]
mod crt;
mod engine;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rows;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod lanes;
mod natural;
mod pad;
mod portable;
#[cfg(target_arch = "x86_64")]
mod power;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use self::bound::{multiplications, multiplier_rate};
use self::components::Components;
use self::engine::{Engine, portable_if_sound};
use self::lanes::{HALF, LANES};
use self::pad::Padding;
use super::aws_lc::AwsLc;
use super::{
    Algorithm, Backend, Facts, Job, LoadError, PrivateKey, SignError, Signer, check_buffer,
    check_kind,
};

const NAME: &str = "batch";

/// The backend that signs several messages at once.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    path: Path,
    blinded: bool,
}

/// The instructions that the arithmetic is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 IFMA: eight messages at once.
    Ifma,
    /// Plain 64-bit arithmetic, one message at a time.
    Portable,
}

impl Path {
    /// Returns the fastest path that this processor has.
    #[must_use]
    pub fn best() -> Self {
        if Self::Ifma.unavailable().is_none() {
            Self::Ifma
        } else {
            Self::Portable
        }
    }

    /// Says why this processor lacks the path, or `None` if it has it.
    #[must_use]
    pub fn unavailable(self) -> Option<String> {
        match self {
            Self::Portable => None,
            Self::Ifma => engine::missing_features()
                .map(|missing| format!("the processor, or its system, lacks {missing}")),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ifma => "AVX-512 IFMA",
            Self::Portable => "portable",
        })
    }
}

impl Batch {
    /// Makes the backend with the best path of this processor.
    #[must_use]
    pub fn detect() -> Self {
        Self::on(Path::best())
    }

    /// Makes the backend with the path that is named.
    #[must_use]
    pub fn on(path: Path) -> Self {
        Self {
            path,
            blinded: false,
        }
    }

    /// Adds base blinding (RFC 8017 §8.2 and Kocher 1996), which the vector
    /// path alone has.
    #[must_use]
    pub fn blinded(self) -> Self {
        Self {
            blinded: true,
            ..self
        }
    }

    /// Returns the path that runs.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }
}

impl Backend for Batch {
    fn facts(&self) -> Facts {
        let path = match (self.path, Path::Ifma.unavailable()) {
            (Path::Ifma, _) => {
                "runs the AVX-512 IFMA path, since the processor has it: batches of eight, or of four, beside each other"
                    .to_owned()
            }
            (Path::Portable, Some(reason)) => format!(
                "runs the portable path, since {reason}: one message at a time, slower than any library"
            ),
            (Path::Portable, None) => {
                "runs the portable path, as was asked for: one message at a time, slower than any library"
                    .to_owned()
            }
        };
        Facts {
            name: NAME.into(),
            library: "Mintmark's own arithmetic".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            licence: env!("CARGO_PKG_LICENSE").into(),
            linkage: "rust".into(),
            blinding: if self.blinded {
                "base blinding, and a constant-time path".into()
            } else {
                "none, a constant-time path instead".into()
            },
            fault_check: "every signature is verified; aws-lc-rs makes those that fail".into(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512],
            cpu_features: match self.path {
                Path::Ifma => super::cpu::present(&["avx512f", "avx512ifma"]),
                Path::Portable => Vec::new(),
            },
            hidden_threads: None,
            parses_key_per_signature: false,
            advisories: Vec::new(),
            caveats: vec![
                path,
                format!(
                    "fewer than {PAYS_FROM} messages that are left over are signed by aws-lc-rs, one by one"
                ),
            ],
        }
    }

    fn unavailable(&self) -> Option<String> {
        self.path.unavailable()
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        let padding = Padding::of(algorithm).ok_or(LoadError::Algorithm {
            backend: NAME,
            algorithm,
        })?;
        check_kind(key, algorithm)?;
        let refuse = |reason| LoadError::Key {
            backend: NAME,
            reason,
        };
        let components = Components::of(key).map_err(refuse)?;
        let engine = Engine::load(self.path, &components, self.blinded).map_err(|reason| {
            LoadError::Unavailable {
                backend: NAME,
                reason,
            }
        })?;
        let single = match AwsLc.load(key, algorithm) {
            Ok(signer) => signer,
            // AWS-LC takes no public exponent above 33 bits. It would have
            // checked the key; a trial does that as well.
            Err(error) => {
                portable_if_sound(&components, padding).ok_or_else(|| refuse(error.to_string()))?
            }
        };
        Ok(Arc::new(BatchSigner {
            engine,
            padding,
            single,
            length: components.length(),
        }))
    }
}

/// How many messages, of four, make the engine worth running.
///
/// Fewer are signed by the best library for single signatures, which is
/// AWS-LC on every processor that was measured. On Zen 5 an exponentiation of
/// four lanes, with its check, takes as long as 1.1 signatures of the library
/// at 2048 bits, 1.2 at 3072 and 1.3 at 4096, so that two messages pay
/// (`cargo bench --bench batch` prints the table that this was read from). A
/// processor with one 512-bit multiplier instead of two should need twice
/// that, and three messages; there two cost a tenth to a third more than the
/// library would, and everything else is as it should be.
const PAYS_FROM: usize = 2;

struct BatchSigner {
    engine: Engine,
    padding: Padding,
    single: Arc<dyn Signer>,
    length: usize,
}

impl BatchSigner {
    /// Signs up to eight messages by the engine.
    fn sign_together(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        let count = jobs.len();
        let mut blocks: [&mut [u8]; LANES] = Default::default();
        for (block, job) in blocks.iter_mut().zip(jobs.iter_mut()) {
            self.padding.encode(job.message, job.signature);
            *block = job.signature;
        }
        let verified = self.engine.sign(&mut blocks[..count]);
        for (lane, job) in jobs.iter_mut().enumerate() {
            if !verified.contains(lane) {
                self.single.sign(job.message, job.signature)?;
            }
        }
        Ok(())
    }
}

impl Signer for BatchSigner {
    fn signature_len(&self) -> usize {
        self.length
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.sign_batch(&mut [Job { message, signature }])
    }

    fn sign_batch(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        for job in jobs.iter() {
            check_buffer(job.signature, self.length)?;
        }
        let mut rest = jobs;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(self.engine.worth(rest.len()));
            if now.is_empty() {
                for job in later {
                    self.single.sign(job.message, job.signature)?;
                }
                break;
            }
            self.sign_together(now)?;
            rest = later;
        }
        Ok(())
    }

    fn batch_width(&self) -> usize {
        self.engine.width()
    }
}

/// Which blocks of a batch hold a signature that was checked.
#[derive(Clone, Copy, Debug, Default)]
struct Verified(u8);

impl Verified {
    fn set(&mut self, lane: usize) {
        self.0 |= 1 << lane;
    }

    fn contains(self, lane: usize) -> bool {
        self.0 >> lane & 1 == 1
    }
}
