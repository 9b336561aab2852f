//! The `graviola` backend: Rust with assembly out of formally verified sources.
//!
//! The library panics on a processor that lacks what its code needs; here
//! that is asked beforehand and the backend is unavailable instead.

use std::sync::Arc;

use graviola::hashing::{Sha256, Sha384};
use graviola::signing::ecdsa::{self, P256, P384};
use graviola::signing::eddsa::Ed25519SigningKey;
use graviola::signing::rsa;

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

const NAME: &str = "graviola";

pub(super) struct Graviola;

impl Backend for Graviola {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: "graviola".into(),
            version: locked_version("graviola").into(),
            licence: "Apache-2.0 OR ISC OR MIT-0".into(),
            linkage: "rust and assembly".into(),
            blinding: "none; the path is constant-time".into(),
            fault_check: "every RSA signature is verified".into(),
            algorithms: Algorithm::ALL.to_vec(),
            cpu_features: cpu::present(&["bmi1", "bmi2", "adx", "avx2", "sha", "neon", "sha2"]),
            caveats: vec![
                "runs on x86-64 with AES, ADX, AVX2, BMI1 and PCLMULQDQ, and on AArch64 with NEON, AES, PMULL and SHA-2".into(),
                "takes a slow path for 3072-bit keys".into(),
                "takes RSA keys with two primes of the same width".into(),
            ],
            ..Facts::default()
        }
    }

    fn unavailable(&self) -> Option<String> {
        (!graviola::util::is_cpu_supported())
            .then(|| "this processor lacks an extension that its code needs".into())
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        if let Some(reason) = self.unavailable() {
            return Err(LoadError::Unavailable {
                backend: NAME,
                reason,
            });
        }
        if !has_primes_of_one_width(key) {
            return Err(LoadError::Key {
                backend: NAME,
                reason: "its primes differ in width, and the library computes as if they did not"
                    .into(),
            });
        }
        let der = key.pkcs8_der();
        let rsa = |sign: SignFn| -> Result<Arc<dyn Signer>, LoadError> {
            Ok(Arc::new(RsaSigner {
                key: rsa::SigningKey::from_pkcs8_der(der).map_err(refused)?,
                sign,
            }))
        };
        match algorithm {
            Algorithm::Rs256 => {
                rsa(|key, out, message| key.sign_pkcs1_sha256(out, message).map(<[u8]>::len))
            }
            Algorithm::Rs384 => {
                rsa(|key, out, message| key.sign_pkcs1_sha384(out, message).map(<[u8]>::len))
            }
            Algorithm::Rs512 => {
                rsa(|key, out, message| key.sign_pkcs1_sha512(out, message).map(<[u8]>::len))
            }
            Algorithm::Ps256 => {
                rsa(|key, out, message| key.sign_pss_sha256(out, message).map(<[u8]>::len))
            }
            Algorithm::Ps384 => {
                rsa(|key, out, message| key.sign_pss_sha384(out, message).map(<[u8]>::len))
            }
            Algorithm::Ps512 => {
                rsa(|key, out, message| key.sign_pss_sha512(out, message).map(<[u8]>::len))
            }
            Algorithm::Es256 => Ok(Arc::new(P256Signer(
                ecdsa::SigningKey::from_pkcs8_der(der).map_err(refused)?,
            ))),
            Algorithm::Es384 => Ok(Arc::new(P384Signer(
                ecdsa::SigningKey::from_pkcs8_der(der).map_err(refused)?,
            ))),
            Algorithm::EdDsa => Ok(Arc::new(EdDsaSigner(
                Ed25519SigningKey::from_pkcs8_der(der).map_err(refused)?,
            ))),
        }
    }
}

/// Fill the two primes of an RSA key the same number of 64-bit words?
///
/// The library (0.4) checks that in debug builds alone and computes with the
/// wider one's length.
fn has_primes_of_one_width(key: &PrivateKey) -> bool {
    let words = |big_endian: &[u8]| {
        let leading = big_endian.iter().take_while(|byte| **byte == 0).count();
        (big_endian.len() - leading).div_ceil(8)
    };
    key.rsa_components()
        .is_none_or(|parts| words(parts.prime1.as_bytes()) == words(parts.prime2.as_bytes()))
}

fn refused(error: graviola::Error) -> LoadError {
    LoadError::Key {
        backend: NAME,
        // The library's errors have no sentence of their own.
        reason: format!("{error:?}"),
    }
}

/// Takes the length of what was written, or whether nothing was.
fn written(made: Result<usize, graviola::Error>, expected: usize) -> Result<(), SignError> {
    match made {
        Ok(len) if len == expected => Ok(()),
        _ => Err(SignError::Backend { backend: NAME }),
    }
}

type SignFn = fn(&rsa::SigningKey, &mut [u8], &[u8]) -> Result<usize, graviola::Error>;

struct RsaSigner {
    key: rsa::SigningKey,
    sign: SignFn,
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.key.modulus_len_bytes()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        let expected = self.signature_len();
        check_buffer(signature, expected)?;
        written((self.sign)(&self.key, signature, message), expected)
    }
}

struct P256Signer(ecdsa::SigningKey<P256>);

impl Signer for P256Signer {
    fn signature_len(&self) -> usize {
        64
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, 64)?;
        let made = self.0.sign::<Sha256>(&[message], signature);
        written(made.map(<[u8]>::len), 64)
    }
}

struct P384Signer(ecdsa::SigningKey<P384>);

impl Signer for P384Signer {
    fn signature_len(&self) -> usize {
        96
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, 96)?;
        let made = self.0.sign::<Sha384>(&[message], signature);
        written(made.map(<[u8]>::len), 96)
    }
}

struct EdDsaSigner(Ed25519SigningKey);

impl Signer for EdDsaSigner {
    fn signature_len(&self) -> usize {
        64
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, 64)?;
        signature.copy_from_slice(&self.0.sign(message));
        Ok(())
    }
}
