//! The `ring` backend: the Rust library that most JWT code signs with.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
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
            fault_check: "every signature is verified".into(),
            caveats: vec!["takes keys of 2048 to 4096 bits only".into()],
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        let encoding: &dyn RsaEncoding = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_SHA512,
            _ => {
                return Err(LoadError::Algorithm {
                    backend: NAME,
                    algorithm,
                });
            }
        };
        check_kind(key, algorithm)?;
        let pair = RsaKeyPair::from_pkcs8(key.pkcs8_der()).map_err(|error| LoadError::Key {
            backend: NAME,
            reason: error.to_string(),
        })?;
        Ok(Arc::new(RsaSigner {
            pair,
            encoding,
            random: SystemRandom::new(),
        }))
    }
}

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
            .map_err(|_| SignError::Backend { backend: NAME })
    }
}
