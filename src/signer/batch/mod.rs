//! How fast can one core sign, if it may sign several messages at once?
//!
//! A library signs one message after the other, and most of the multipliers
//! of a modern core idle meanwhile. This backend puts messages side by side in
//! vector registers, one a lane: eight with AVX-512 IFMA, which need a third of
//! the time for each, or four with AVX2, which need half. It signs
//! RSASSA-PKCS1-v1_5 with keys of 2048, 3072 and 4096 bits and two primes;
//! `pad` makes the numbers, `crt` turns them into signatures by way of `power`
//! and of a `kernel`, which is `ifma` or `avx2`, and `engine` decides what is
//! worth it. Where there is neither, a library signs.
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
#[macro_use]
mod terms;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod blinding;
mod bound;
#[cfg(target_arch = "x86_64")]
mod columns;
mod components;
#[cfg(target_arch = "x86_64")]
mod crt;
mod engine;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rows;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod lanes;
mod natural;
mod pad;
mod portable;
#[cfg(target_arch = "x86_64")]
mod power;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use self::bound::{multiplications, multiplier_rate};
use self::components::Components;
use self::engine::{Engine, portable_if_sound};
use self::lanes::MAX_LANES;
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
    /// Was the path asked for, whether it pays or not?
    is_forced: bool,
    blinded: bool,
}

/// The instructions that the arithmetic is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 IFMA: eight lanes, four messages an exponentiation.
    Ifma,
    /// AVX2 and FMA: four lanes, two messages an exponentiation.
    Avx2,
    /// Plain 64-bit arithmetic, one message at a time.
    Portable,
}

impl Path {
    /// Every path, fastest first.
    pub const ALL: [Self; 3] = [Self::Ifma, Self::Avx2, Self::Portable];

    /// Returns the fastest path that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .find(|path| path.unavailable().is_none())
            .unwrap_or(Self::Portable)
    }

    /// Says why this processor lacks the path, or `None` if it has it.
    #[must_use]
    pub fn unavailable(self) -> Option<String> {
        engine::missing_features(self)
            .map(|missing| format!("the processor, or its system, lacks {missing}"))
    }

    /// How many messages, of those that one exponentiation serves, make it worth
    /// running.
    ///
    /// Fewer are signed by the best library for single signatures, which is
    /// AWS-LC on every processor that was measured (`cargo bench --bench batch`
    /// prints the tables that this was read from).
    ///
    /// With AVX-512 IFMA an exponentiation serves four messages. On Zen 5 it
    /// takes, with its check, as long as 1.1 signatures of the library at 2048
    /// bits, 1.2 at 3072 and 1.3 at 4096, so that two messages pay. A processor
    /// with one 512-bit multiplier instead of two should need twice that, and
    /// three messages; there two cost a tenth to a third more than the library
    /// would, and everything else is as it should be.
    ///
    /// With AVX2 it serves two. On Zen 5 it takes as long as 0.87 signatures of
    /// the library without IFMA, at every size, so that one message would pay.
    /// But that processor takes the other path; on those that take this one
    /// the multipliers may be slower, and one message is left to the library,
    /// which loses an eighth of its time at most. Two gain where one breaks
    /// nearly even.
    fn pays_from(self) -> usize {
        match self {
            Self::Ifma | Self::Avx2 => 2,
            Self::Portable => 1,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ifma => "AVX-512 IFMA",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        })
    }
}

/// Reads the names that benchmarks take: `ifma`, `avx2` and `portable`.
impl FromStr for Path {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "ifma" => Ok(Self::Ifma),
            "avx2" => Ok(Self::Avx2),
            "portable" => Ok(Self::Portable),
            _ => Err(format!(
                "unknown path {name:?}, expected ifma, avx2 or portable"
            )),
        }
    }
}

impl Batch {
    /// Makes the backend with the best path of this processor.
    ///
    /// Where that is the portable one, a library signs instead.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            path: Path::best(),
            is_forced: false,
            blinded: false,
        }
    }

    /// Makes the backend with the path that is named, whether it pays or not.
    #[must_use]
    pub fn on(path: Path) -> Self {
        Self {
            path,
            is_forced: true,
            blinded: false,
        }
    }

    /// Adds base blinding (RFC 8017 §8.2 and Kocher 1996), which the vector
    /// paths alone have.
    #[must_use]
    pub fn blinded(self) -> Self {
        Self {
            blinded: true,
            ..self
        }
    }

    /// Does it blind?
    #[must_use]
    pub fn is_blinded(&self) -> bool {
        self.blinded
    }

    /// Returns the path that runs.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Does a library make every signature?
    fn leaves_all(self) -> bool {
        self.path == Path::Portable && !self.is_forced
    }

    /// Says which path runs, and why not a faster one.
    fn reason(self) -> String {
        let lacking: Vec<String> = Path::ALL
            .into_iter()
            .take_while(|path| *path != self.path)
            .filter_map(|path| Some(format!("{path} ({})", path.unavailable()?)))
            .collect();
        let what = match self.path {
            Path::Ifma => "the AVX-512 IFMA path: batches of eight, or of four, beside each other",
            Path::Avx2 => "the AVX2 path: batches of four, or of two, beside each other",
            Path::Portable => "the portable path: one message at a time, slower than any library",
        };
        if self.leaves_all() {
            let lacking = lacking.join("; ");
            format!("has no path that pays: {lacking}; aws-lc-rs signs every message, one by one")
        } else if self.path != Path::best() {
            format!("runs {what}; as was asked for, though this processor has a faster one")
        } else if lacking.is_empty() {
            format!("runs {what}; the fastest, since the processor has it")
        } else {
            format!("runs {what}; not {}", lacking.join(" and not "))
        }
    }
}

impl Backend for Batch {
    fn facts(&self) -> Facts {
        let mut caveats = vec![self.reason()];
        if self.path != Path::Portable {
            caveats.push(format!(
                "fewer than {} messages that are left over are signed by aws-lc-rs, one by one",
                self.path.pays_from()
            ));
        }
        Facts {
            name: NAME.into(),
            library: "Mintmark's own arithmetic".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            licence: env!("CARGO_PKG_LICENSE").into(),
            linkage: "rust".into(),
            blinding: if self.leaves_all() {
                "as aws-lc-rs".into()
            } else if self.blinded {
                "base blinding, and a constant-time path".into()
            } else {
                "none, a constant-time path instead".into()
            },
            fault_check: "every signature is verified; aws-lc-rs makes those that fail".into(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512],
            cpu_features: match self.path {
                Path::Ifma => super::cpu::present(&["avx512f", "avx512ifma"]),
                Path::Avx2 => super::cpu::present(&["avx2", "fma"]),
                Path::Portable => Vec::new(),
            },
            hidden_threads: None,
            parses_key_per_signature: false,
            advisories: Vec::new(),
            caveats,
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
        if self.leaves_all() {
            return Ok(single);
        }
        Ok(Arc::new(BatchSigner {
            engine,
            padding,
            single,
            length: components.length(),
        }))
    }
}

struct BatchSigner {
    engine: Engine,
    padding: Padding,
    single: Arc<dyn Signer>,
    length: usize,
}

impl BatchSigner {
    /// Signs up to a full batch of messages by the engine.
    fn sign_together(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        let count = jobs.len();
        let mut blocks: [&mut [u8]; MAX_LANES] = Default::default();
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
