//! Which backends are there, and do they agree?
//!
//! The registry lists the backends that are compiled in. Before any timing it
//! has them sign the same message: a deterministic algorithm must yield the
//! same bytes everywhere, and every signature must verify; a backend that
//! disagrees is refused with the reason.

use std::sync::Arc;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::{Algorithm, Backend, PrivateKey, PublicKey, Signer};

/// The backends that are compiled in, by name.
pub struct Registry {
    backends: Vec<Arc<dyn Backend>>,
}

impl Registry {
    /// Lists the backends of this build, in the order of tables.
    #[must_use]
    pub fn compiled() -> Self {
        Self {
            backends: vec![
                Arc::new(super::batch::Batch::detect()),
                Arc::new(super::aws_lc::AwsLc),
                Arc::new(super::ring::Ring),
                Arc::new(super::rust_crypto::RustCrypto),
                Arc::new(super::jsonwebtoken::JsonWebToken),
            ],
        }
    }

    /// Makes a registry of other backends, as tests do.
    #[must_use]
    pub fn of(backends: Vec<Arc<dyn Backend>>) -> Self {
        Self { backends }
    }

    /// Iterates over the backends.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        self.backends.iter()
    }

    /// Finds a backend by name.
    ///
    /// # Errors
    ///
    /// There is none of that name; the error lists those that there are.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Backend>, UnknownBackend> {
        self.backends
            .iter()
            .find(|backend| backend.facts().name == name)
            .ok_or_else(|| UnknownBackend {
                name: name.to_owned(),
                known: self.names().join(", "),
            })
    }

    /// Returns the names of the backends.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.backends
            .iter()
            .map(|backend| backend.facts().name)
            .collect()
    }

    /// Loads `key` into every backend of `names` and keeps those that agree.
    ///
    /// The first signer that verifies sets the expected bytes of a
    /// deterministic algorithm.
    #[must_use]
    pub fn agreeing(
        &self,
        names: &[String],
        key: &PrivateKey,
        algorithm: Algorithm,
    ) -> (Vec<Loaded>, Vec<Refused>) {
        let mut loaded: Vec<Loaded> = Vec::new();
        let mut refused = Vec::new();
        let mut expected: Option<(String, Vec<u8>)> = None;
        for name in names {
            let outcome = self
                .get(name)
                .map_err(|error| error.to_string())
                .and_then(|backend| {
                    backend
                        .load(key, algorithm)
                        .map_err(|error| error.to_string())
                })
                .and_then(|signer| {
                    prove(name, &*signer, key, algorithm, &mut expected).map(|()| signer)
                });
            match outcome {
                Ok(signer) => loaded.push(Loaded {
                    name: name.clone(),
                    signer,
                }),
                Err(reason) => refused.push(Refused {
                    name: name.clone(),
                    reason,
                }),
            }
        }
        (loaded, refused)
    }
}

/// A backend whose signatures agree with the others'.
#[derive(Clone)]
pub struct Loaded {
    /// The backend's name.
    pub name: String,
    /// The signer, holding the parsed key.
    pub signer: Arc<dyn Signer>,
}

/// A backend that is left out of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The backend's name.
    pub name: String,
    /// Why, in a sentence's fragment.
    pub reason: String,
}

/// No backend has that name.
#[derive(Debug, thiserror::Error)]
#[error("unknown backend {name:?}, expected one of {known}")]
pub struct UnknownBackend {
    name: String,
    known: String,
}

/// Verifies a signature with a library apart from the one that made it.
///
/// Returns whether `signature` is one of `message` under `key`. AWS-LC does
/// the arithmetic; keys below 2048 bits never get here.
#[must_use]
pub fn verify(key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let with: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
    };
    key.kind() == algorithm.key_kind()
        && UnparsedPublicKey::new(with, key.inner())
            .verify(message, signature)
            .is_ok()
}

fn prove(
    name: &str,
    signer: &dyn Signer,
    key: &PrivateKey,
    algorithm: Algorithm,
    expected: &mut Option<(String, Vec<u8>)>,
) -> Result<(), String> {
    const MESSAGE: &[u8] = b"every backend signs this before it is timed";
    let mut made = vec![0; signer.signature_len()];
    signer
        .sign(MESSAGE, &mut made)
        .map_err(|error| error.to_string())?;
    if let Some(public) = key.public_key()
        && !verify(public, algorithm, MESSAGE, &made)
    {
        return Err(format!("its {algorithm} signature does not verify"));
    }
    if !algorithm.is_deterministic() {
        return Ok(());
    }
    match expected {
        Some((first, bytes)) if *bytes != made => Err(format!(
            "its {algorithm} signature differs from that of {first}, and {algorithm} has only one"
        )),
        Some(_) => Ok(()),
        None => {
            *expected = Some((name.to_owned(), made));
            Ok(())
        }
    }
}

/// Returns the version of a crate from the lock file of this build.
pub(super) fn locked_version(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    LOCK.find(&entry)
        .map(|at| &LOCK[at + entry.len()..])
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown")
}
