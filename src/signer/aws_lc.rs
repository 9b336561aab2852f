//! The `aws-lc-rs` backend: AWS-LC through its ring-like interface.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

const NAME: &str = "aws-lc-rs";

/// The extensions that AWS-LC's code for RSA and SHA-2 looks for.
pub(super) const CPU_FEATURES: [&str; 10] = [
    "bmi2",
    "adx",
    "avx",
    "avx2",
    "avx512vl",
    "avx512dq",
    "avx512ifma",
    "sha",
    "neon",
    "sha2",
];

pub(super) struct AwsLc;

impl Backend for AwsLc {
    fn facts(&self) -> Facts {
        let mut caveats = vec![
            "takes a write lock on the key for the blinding pool, some microseconds a signature"
                .into(),
        ];
        caveats.extend(cpu::mask_caveat());
        Facts {
            name: NAME.into(),
            library: format!("aws-lc-rs over aws-lc-sys {}", locked_version("aws-lc-sys")),
            version: locked_version("aws-lc-rs").into(),
            licence: "ISC AND (Apache-2.0 OR ISC)".into(),
            linkage: "static C and assembly".into(),
            blinding: "base blinding from a pool per key, and a constant-time path".into(),
            fault_check: "every RSA signature is verified".into(),
            algorithms: Algorithm::ALL.to_vec(),
            cpu_features: cpu::present(&CPU_FEATURES),
            caveats,
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
            }))
        };
        let ecdsa = |with, len| -> Result<Arc<dyn Signer>, LoadError> {
            Ok(Arc::new(EcdsaSigner {
                pair: EcdsaKeyPair::from_pkcs8(with, der).map_err(|error| refused(&error))?,
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
            Algorithm::EdDsa => Ok(Arc::new(EdDsaSigner(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|error| refused(&error))?,
            ))),
        }
    }
}

fn refused(error: &aws_lc_rs::error::KeyRejected) -> LoadError {
    LoadError::Key {
        backend: NAME,
        reason: error.to_string(),
    }
}

const FAILED: SignError = SignError::Backend { backend: NAME };

struct RsaSigner {
    pair: RsaKeyPair,
    encoding: &'static dyn RsaEncoding,
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.pair.public_modulus_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.signature_len())?;
        self.pair
            .sign(self.encoding, &SystemRandom::new(), message, signature)
            .map_err(|_| FAILED)
    }
}

struct EcdsaSigner {
    pair: EcdsaKeyPair,
    len: usize,
}

impl Signer for EcdsaSigner {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let made = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| FAILED)?;
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
        let made = self.0.try_sign(message).map_err(|_| FAILED)?;
        signature.copy_from_slice(made.as_ref());
        Ok(())
    }
}
