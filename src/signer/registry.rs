//! Which backends are there, and do they agree?
//!
//! The registry lists the backends that are compiled in. Before any timing it
//! has them sign the same message: a deterministic algorithm must yield the
//! same bytes everywhere, and every signature must verify; a backend that
//! disagrees is refused with the reason.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Serialize;

use super::{Algorithm, Backend, KeyKind, PrivateKey, PublicKey, Signer};

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
                Arc::new(super::aws_lc::AwsLc),
                Arc::new(super::batch::Batch::detect()),
                Arc::new(super::ring::Ring),
                Arc::new(super::graviola::Graviola),
                Arc::new(super::rust_crypto::RustCrypto { is_blinded: true }),
                Arc::new(super::rust_crypto::RustCrypto { is_blinded: false }),
                #[cfg(feature = "openssl")]
                Arc::new(super::openssl::OpenSsl),
                #[cfg(feature = "boring")]
                Arc::new(super::boring::Boring),
                Arc::new(super::jsonwebtoken::JsonWebToken::AwsLc),
                #[cfg(feature = "jsonwebtoken-rust-crypto")]
                Arc::new(super::jsonwebtoken::JsonWebToken::RustCrypto),
                Arc::new(super::pkcs11::Token),
            ],
        }
    }

    /// Lists the backends that this build lacks, and the feature that brings
    /// each of them.
    #[must_use]
    pub fn absent() -> Vec<Absent> {
        let all = [
            (
                cfg!(feature = "openssl"),
                Absent {
                    name: "openssl",
                    feature: "openssl",
                    needs: "libssl-dev and pkg-config for the system's OpenSSL; the feature \
                        openssl-vendored builds one along, with perl and make",
                },
            ),
            (
                cfg!(feature = "boring"),
                Absent {
                    name: "boring",
                    feature: "boring",
                    needs: "cmake, a C++ compiler and libclang; excludes openssl",
                },
            ),
            (
                cfg!(feature = "jsonwebtoken-rust-crypto"),
                Absent {
                    name: "jsonwebtoken-rust-crypto",
                    feature: "jsonwebtoken-rust-crypto",
                    needs: "nothing besides Rust",
                },
            ),
        ];
        all.into_iter()
            .filter(|(is_there, _)| !is_there)
            .map(|(_, absent)| absent)
            .collect()
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
            // A library that panics is left out like one that fails.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.made(name, key, algorithm, &mut expected)
            }))
            .unwrap_or_else(|_| Err("its library panicked while it was loaded".into()));
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

    fn made(
        &self,
        name: &str,
        key: &PrivateKey,
        algorithm: Algorithm,
        expected: &mut Option<(String, Vec<u8>)>,
    ) -> Result<Arc<dyn Signer>, String> {
        let backend = self.get(name).map_err(|error| error.to_string())?;
        if let Some(reason) = backend.unavailable() {
            return Err(reason);
        }
        let signer = backend
            .load(key, algorithm)
            .map_err(|error| error.to_string())?;
        prove(name, &*signer, key, algorithm, expected)?;
        Ok(signer)
    }
}

/// A backend that this build lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The backend's name.
    pub name: &'static str,
    /// The cargo feature that brings it.
    pub feature: &'static str,
    /// What building with it takes.
    pub needs: &'static str,
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
    key.kind() == algorithm.key_kind() && verify_with(key.inner(), algorithm, message, signature)
}

fn verify_with(key: &[u8], algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
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
    UnparsedPublicKey::new(with, key)
        .verify(message, signature)
        .is_ok()
}

/// Returns the public half as [`PublicKey::inner`] has it, computed where the
/// private encoding does not carry it.
fn public_half(key: &PrivateKey) -> Option<Vec<u8>> {
    if let Some(public) = key.public_key() {
        return Some(public.inner().to_vec());
    }
    let der = key.pkcs8_der();
    let point = |with| {
        let pair = EcdsaKeyPair::from_pkcs8(with, der).ok()?;
        Some(pair.public_key().as_ref().to_vec())
    };
    match key.kind() {
        KeyKind::Rsa => None,
        KeyKind::P256 => point(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyKind::P384 => point(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            Some(pair.public_key().as_ref().to_vec())
        }
    }
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
    let public = public_half(key).ok_or("the key has no public half to verify with")?;
    if !verify_with(&public, algorithm, MESSAGE, &made) {
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
///
/// Where several versions are locked, it is the one that this package asks
/// for, which the lock file names in its list of dependencies.
pub(super) fn locked_version(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    const OWN: &str = concat!("name = \"", env!("CARGO_PKG_NAME"), "\"\n");
    let after = |start: &str, text: &'static str| {
        let rest = &text[text.find(start)? + start.len()..];
        rest.split('"').next()
    };
    let own = LOCK
        .split("[[package]]")
        .find(|package| package.contains(OWN));
    own.and_then(|own| after(&format!("\n \"{name} "), own))
        .or_else(|| after(&format!("name = \"{name}\"\nversion = \""), LOCK))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_asked_for() {
        // The lock holds 0.9 as well, for a feature of another crate.
        assert!(locked_version("rsa").starts_with("0.10."));
        assert!(locked_version("ring").starts_with("0.17."));
        assert_eq!(locked_version("no-such-crate"), "unknown");
    }
}
