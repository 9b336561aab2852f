//! The `boring` backend: BoringSSL through Cloudflare's bindings.
//!
//! It excludes the `openssl` backend, since both libraries export the same
//! symbols.

use std::sync::Arc;

use boring::hash::MessageDigest;
use boring::pkey::{PKey, Private};
use boring::rsa::Padding;
use boring::sign::{RsaPssSaltlen, Signer as Signing};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

const NAME: &str = "boring";

pub(super) struct Boring;

impl Backend for Boring {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: format!("boring over boring-sys {}", locked_version("boring-sys")),
            version: locked_version("boring").into(),
            licence: "Apache-2.0".into(),
            linkage: "static C and assembly".into(),
            blinding: "base blinding from a pool per key".into(),
            fault_check: "every signature is verified".into(),
            algorithms: Algorithm::ALL
                .into_iter()
                .filter(|algorithm| scheme(*algorithm).is_some())
                .collect(),
            cpu_features: cpu::present(&["bmi2", "adx", "avx", "avx2", "sha", "neon", "sha2"]),
            caveats: cpu::mask_caveat().into_iter().collect(),
            ..Facts::default()
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let (digest, is_pss) = scheme(algorithm).ok_or(LoadError::Algorithm {
            backend: NAME,
            algorithm,
        })?;
        let len = key.bits().div_ceil(8);
        let key =
            PKey::private_key_from_pkcs8(key.pkcs8_der()).map_err(|error| LoadError::Key {
                backend: NAME,
                reason: error.to_string(),
            })?;
        Ok(Arc::new(RsaSigner {
            key,
            digest,
            is_pss,
            len,
        }))
    }
}

/// Returns the hash of an algorithm and whether it is padded by PSS.
fn scheme(algorithm: Algorithm) -> Option<(MessageDigest, bool)> {
    Some(match algorithm {
        Algorithm::Rs256 => (MessageDigest::sha256(), false),
        Algorithm::Rs384 => (MessageDigest::sha384(), false),
        Algorithm::Rs512 => (MessageDigest::sha512(), false),
        Algorithm::Ps256 => (MessageDigest::sha256(), true),
        Algorithm::Ps384 => (MessageDigest::sha384(), true),
        Algorithm::Ps512 => (MessageDigest::sha512(), true),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

struct RsaSigner {
    key: PKey<Private>,
    digest: MessageDigest,
    is_pss: bool,
    len: usize,
}

impl RsaSigner {
    /// A context borrows its key, so that one is made for each signature.
    fn made(
        &self,
        message: &[u8],
        signature: &mut [u8],
    ) -> Result<usize, boring::error::ErrorStack> {
        let mut signing = Signing::new(self.digest, &self.key)?;
        if self.is_pss {
            signing.set_rsa_padding(Padding::PKCS1_PSS)?;
            signing.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        signing.sign_oneshot(signature, message)
    }
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        match self.made(message, signature) {
            Ok(len) if len == self.len => Ok(()),
            _ => Err(SignError::Backend { backend: NAME }),
        }
    }
}
