//! The `ring` backend: the Rust library that most JWT code signs with.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

const NAME: &str = "ring";

pub(super) struct Ring;

impl Backend for Ring {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: "ring".into(),
            version: locked_version("ring").into(),
            licence: "Apache-2.0 AND ISC".into(),
            linkage: "static C and assembly".into(),
            blinding: "none; the path is constant-time".into(),
            fault_check: "every RSA signature is verified".into(),
            algorithms: Algorithm::ALL.to_vec(),
            cpu_features: cpu::present(&["bmi1", "bmi2", "adx", "avx", "sha", "neon", "sha2"]),
            caveats: vec![
                "takes RSA keys of 2048 to 4096 bits in steps of 512, with two primes".into(),
            ],
            ..Facts::default()
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let der = key.pkcs8_der();
        let rsa = |encoding: &'static dyn RsaEncoding| -> Result<Arc<dyn Signer>, LoadError> {
            Ok(Arc::new(RsaSigner {
                pair: RsaKeyPair::from_pkcs8(der).map_err(|error| refused(&error))?,
                encoding,
                random: SystemRandom::new(),
            }))
        };
        let ecdsa = |with, len| -> Result<Arc<dyn Signer>, LoadError> {
            let random = SystemRandom::new();
            Ok(Arc::new(EcdsaSigner {
                pair: EcdsaKeyPair::from_pkcs8(with, der, &random)
                    .map_err(|error| refused(&error))?,
                random,
                len,
            }))
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            Algorithm::Es256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 64),
            Algorithm::Es384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 96),
            // Most tools write Ed25519 keys without the public half.
            Algorithm::EdDsa => Ok(Arc::new(EdDsaSigner(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|error| refused(&error))?,
            ))),
        }
    }
}

fn refused(error: &ring::error::KeyRejected) -> LoadError {
    LoadError::Key {
        backend: NAME,
        reason: error.to_string(),
    }
}

const FAILED: SignError = SignError::Backend { backend: NAME };

struct RsaSigner {
    pair: RsaKeyPair,
    encoding: &'static dyn RsaEncoding,
    random: SystemRandom,
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.pair.public().modulus_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.signature_len())?;
        self.pair
            .sign(self.encoding, &self.random, message, signature)
            .map_err(|_| FAILED)
    }
}

struct EcdsaSigner {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    len: usize,
}

impl Signer for EcdsaSigner {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let made = self.pair.sign(&self.random, message).map_err(|_| FAILED)?;
        signature.copy_from_slice(made.as_ref());
        Ok(())
    }
}

struct EdDsaSigner(Ed25519KeyPair);

impl Signer for EdDsaSigner {
    fn signature_len(&self) -> usize {
        64
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, 64)?;
        signature.copy_from_slice(self.0.sign(message).as_ref());
        Ok(())
    }
}
