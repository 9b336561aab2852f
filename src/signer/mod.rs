//! How is a message signed, and by whom?
//!
//! A [`PrivateKey`] is parsed once; a [`Backend`] makes a [`Signer`] of it for
//! one algorithm; the signer signs, from as many threads as there are. Key
//! loading, with whatever a library checks and precomputes, is thereby apart
//! from signing and is measured on its own.
//!
//! A backend is one file here and one line in [`registry`]. This module knows
//! nothing of JWTs: a message is bytes, and a signature is the bytes that JWA
//! defines (RFC 7518 §3), not yet base64.

pub mod algorithm;
#[allow(unsafe_code)]
pub mod batch;
pub mod key;
pub mod mint;
pub mod public_key;
pub mod registry;

mod aws_lc;
#[cfg(feature = "boring")]
mod boring;
mod cpu;
mod graviola;
mod jsonwebtoken;
#[cfg(feature = "openssl")]
mod openssl;
mod pkcs11;
mod pool;
mod ring;
mod rust_crypto;

#[cfg(all(feature = "openssl", feature = "boring"))]
compile_error!(
    "OpenSSL and BoringSSL export the same symbols: enable one of the features `openssl` and `boring`"
);

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::algorithm::{Algorithm, KeyKind};
pub use self::key::{KeyError, PrivateKey};
pub use self::mint::{LoneCaller, Mint, MintConfig, MintError, MintStats, Signed};
pub use self::public_key::PublicKey;
pub use self::registry::{Registry, verify};

/// Signs messages with one key and one algorithm.
///
/// A signer is shared by threads without a lock of its own; what its library
/// locks inside is what a benchmark over threads shows.
pub trait Signer: Send + Sync {
    /// Returns the length of every signature, in bytes.
    fn signature_len(&self) -> usize;

    /// Signs `message` into `signature`, whose length is
    /// [`Self::signature_len`].
    ///
    /// # Errors
    ///
    /// The library failed, or `signature` has another length.
    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError>;

    /// Signs every job of `jobs`.
    ///
    /// The default signs one after the other. After an error the signatures
    /// are unspecified.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`], for the first job that fails.
    fn sign_batch(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        for job in jobs {
            self.sign(job.message, job.signature)?;
        }
        Ok(())
    }

    /// Returns how many messages make a full batch; 1 if batches save nothing.
    fn batch_width(&self) -> usize {
        1
    }
}

/// One message of a batch and the place for its signature.
#[derive(Debug)]
pub struct Job<'a> {
    /// The bytes to sign.
    pub message: &'a [u8],
    /// Where the signature goes; as long as [`Signer::signature_len`] says.
    pub signature: &'a mut [u8],
}

/// A library that makes signers.
pub trait Backend: Send + Sync {
    /// Returns what is known about the library.
    fn facts(&self) -> Facts;

    /// Says why the backend cannot run on this machine, or `None` if it can.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Makes a signer: everything that is paid once per key happens here.
    ///
    /// # Errors
    ///
    /// The backend lacks the algorithm or refuses the key.
    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError>;
}

/// What is known about a backend, shown beside its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The name by which flags, scenarios and records call the backend.
    pub name: String,
    /// The crate, or library, and its version.
    pub library: String,
    /// The exact version, from the lock file or from the library itself.
    pub version: String,
    /// The licence as an SPDX expression.
    pub licence: String,
    /// How the code gets in: `rust`, `static C and assembly`, `system library`, …
    pub linkage: String,
    /// How secrets are kept out of timing: blinding or a constant-time path.
    pub blinding: String,
    /// Is a signature checked with the public key before it is handed out
    /// (Boneh, DeMillo, Lipton 1997)?
    pub fault_check: String,
    /// The algorithms that it signs.
    pub algorithms: Vec<Algorithm>,
    /// The instruction-set extensions of this processor that its code for
    /// signing looks for and finds, by their usual names.
    pub cpu_features: Vec<String>,
    /// The threads of its own that the library signs on, if it does; CPU time
    /// of the calling thread alone would then flatter it.
    pub hidden_threads: Option<String>,
    /// Does the library take the key as bytes and parse it for every signature?
    pub parses_key_per_signature: bool,
    /// Known advisories about timing or other side channels, with their status.
    pub advisories: Vec<String>,
    /// What a reader of the figures must know besides.
    pub caveats: Vec<String>,
}

/// Why a signature could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The library reported a failure; libraries say little on purpose.
    #[error("{backend} could not sign")]
    Backend {
        /// The backend's name.
        backend: &'static str,
    },
    /// The caller's buffer does not fit.
    #[error("the signature buffer has {found} bytes, expected {expected}")]
    BufferLength {
        /// The length that was given.
        found: usize,
        /// The length that is needed.
        expected: usize,
    },
}

/// Why a backend made no signer.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The backend lacks the algorithm.
    #[error("{backend} does not sign {algorithm}")]
    Algorithm {
        /// The backend's name.
        backend: &'static str,
        /// The algorithm that was asked for.
        algorithm: Algorithm,
    },
    /// The algorithm needs another kind of key.
    #[error("{algorithm} needs a key of the kind {needed}, the key is {found}")]
    KeyKind {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
        /// The kind that the algorithm needs.
        needed: KeyKind,
        /// The kind of the key.
        found: KeyKind,
    },
    /// The library refused the key.
    #[error("{backend} refused the key: {reason}")]
    Key {
        /// The backend's name.
        backend: &'static str,
        /// The library's reason, which holds nothing of the key.
        reason: String,
    },
    /// The backend cannot run here.
    #[error("{backend} is not available: {reason}")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// Why, and what would help.
        reason: String,
    },
}

/// Checks that `key` is of the kind that `algorithm` needs.
///
/// # Errors
///
/// [`LoadError::KeyKind`] otherwise.
pub fn check_kind(key: &PrivateKey, algorithm: Algorithm) -> Result<(), LoadError> {
    let needed = algorithm.key_kind();
    if key.kind() == needed {
        Ok(())
    } else {
        Err(LoadError::KeyKind {
            algorithm,
            needed,
            found: key.kind(),
        })
    }
}

/// Checks the length of a signature buffer.
///
/// # Errors
///
/// [`SignError::BufferLength`] if it is not `expected`.
pub fn check_buffer(signature: &[u8], expected: usize) -> Result<(), SignError> {
    if signature.len() == expected {
        Ok(())
    } else {
        Err(SignError::BufferLength {
            found: signature.len(),
            expected,
        })
    }
}
