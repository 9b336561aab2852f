//! The `jsonwebtoken` backend: a whole JWT library, as most programs use it.
//!
//! Its `EncodingKey` is DER, which it parses and checks again for every
//! signature. That cost is the point of this row. Of its two providers the
//! one over AWS-LC is always there; the one over RustCrypto is a row of its
//! own, by feature.

use std::sync::Arc;

use ::jsonwebtoken::EncodingKey;
use ::jsonwebtoken::crypto::{CryptoProvider, aws_lc};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, KeyKind, LoadError, PrivateKey, SignError, Signer, aws_lc as own,
    check_buffer, check_kind, cpu,
};

/// The library over one of its providers.
#[derive(Clone, Copy)]
pub(super) enum JsonWebToken {
    /// Over `aws-lc-rs`.
    AwsLc,
    /// Over RustCrypto's crates.
    #[cfg(feature = "jsonwebtoken-rust-crypto")]
    RustCrypto,
}

impl JsonWebToken {
    fn name(self) -> &'static str {
        match self {
            Self::AwsLc => "jsonwebtoken",
            #[cfg(feature = "jsonwebtoken-rust-crypto")]
            Self::RustCrypto => "jsonwebtoken-rust-crypto",
        }
    }

    fn provider(self) -> &'static CryptoProvider {
        match self {
            Self::AwsLc => &aws_lc::DEFAULT_PROVIDER,
            #[cfg(feature = "jsonwebtoken-rust-crypto")]
            Self::RustCrypto => &::jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
        }
    }
}

impl Backend for JsonWebToken {
    fn facts(&self) -> Facts {
        let mut facts = Facts {
            name: self.name().into(),
            library: format!(
                "jsonwebtoken over aws-lc-rs {}",
                locked_version("aws-lc-rs")
            ),
            version: locked_version("jsonwebtoken").into(),
            licence: "MIT".into(),
            linkage: "rust over static C and assembly".into(),
            blinding: "as aws-lc-rs".into(),
            fault_check: "as aws-lc-rs".into(),
            algorithms: Algorithm::ALL.to_vec(),
            cpu_features: cpu::present(&own::CPU_FEATURES),
            parses_key_per_signature: true,
            caveats: vec!["parses and checks the key again for every signature".into()],
            ..Facts::default()
        };
        match self {
            Self::AwsLc => facts.caveats.extend(cpu::mask_caveat()),
            #[cfg(feature = "jsonwebtoken-rust-crypto")]
            Self::RustCrypto => {
                facts.library = "jsonwebtoken over RustCrypto, rsa 0.9".into();
                facts.linkage = "rust".into();
                facts.blinding = "base blinding".into();
                facts.fault_check = "every RSA signature is verified".into();
                facts.cpu_features = cpu::present(&["sha", "sha2"]);
                facts.advisories = vec![
                    "RUSTSEC-2023-0071 (Marvin): the big integers of rsa 0.9 are not constant-time"
                        .into(),
                ];
            }
        }
        facts
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        // With both providers compiled in, the library would panic where it
        // picks one itself. A process that has chosen already keeps its choice.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let theirs = match algorithm {
            Algorithm::Rs256 => ::jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => ::jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => ::jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => ::jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => ::jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => ::jsonwebtoken::Algorithm::PS512,
            Algorithm::Es256 => ::jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => ::jsonwebtoken::Algorithm::ES384,
            Algorithm::EdDsa => ::jsonwebtoken::Algorithm::EdDSA,
        };
        let (encoding_key, len) = match key.kind() {
            KeyKind::Rsa => (
                EncodingKey::from_rsa_der(key.pkcs1_der().unwrap_or_default()),
                key.bits().div_ceil(8),
            ),
            KeyKind::P256 => (EncodingKey::from_ec_der(key.pkcs8_der()), 64),
            KeyKind::P384 => (EncodingKey::from_ec_der(key.pkcs8_der()), 96),
            KeyKind::Ed25519 => (EncodingKey::from_ed_der(key.pkcs8_der()), 64),
        };
        let signer = WholeLibrary {
            name: self.name(),
            provider: self.provider(),
            key: encoding_key,
            algorithm: theirs,
            len,
        };
        // The key is not looked at before the first signature.
        let made = signer.made(b"probe").map_err(|reason| LoadError::Key {
            backend: self.name(),
            reason,
        })?;
        check_buffer(&made, len).map_err(|error| LoadError::Key {
            backend: self.name(),
            reason: error.to_string(),
        })?;
        Ok(Arc::new(signer))
    }
}

struct WholeLibrary {
    name: &'static str,
    provider: &'static CryptoProvider,
    key: EncodingKey,
    algorithm: ::jsonwebtoken::Algorithm,
    len: usize,
}

impl WholeLibrary {
    /// Does what the library's `encode` does, short of the base64.
    fn made(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        (self.provider.signer_factory)(&self.algorithm, &self.key)
            .map_err(|error| error.to_string())?
            .try_sign(message)
            .map_err(|error| error.to_string())
    }
}

impl Signer for WholeLibrary {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let made = self
            .made(message)
            .map_err(|_| SignError::Backend { backend: self.name })?;
        check_buffer(&made, self.len)?;
        signature.copy_from_slice(&made);
        Ok(())
    }
}
