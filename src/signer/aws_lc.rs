//! The `aws-lc-rs` backend: AWS-LC through its ring-like interface.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
};

const NAME: &str = "aws-lc-rs";

pub(super) struct AwsLc;

impl Backend for AwsLc {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: format!("aws-lc-rs over aws-lc-sys {}", locked_version("aws-lc-sys")),
            version: locked_version("aws-lc-rs").into(),
            licence: "ISC AND (Apache-2.0 OR ISC)".into(),
            linkage: "static C and assembly".into(),
            blinding: "base blinding from a pool per key, and a constant-time path".into(),
            fault_check: "every signature is verified".into(),
            caveats: vec![
                "takes a write lock on the key for the blinding pool, some microseconds a signature"
                    .into(),
            ],
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        let encoding = match algorithm {
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
        Ok(Arc::new(RsaSigner { pair, encoding }))
    }
}

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
            .map_err(|_| SignError::Backend { backend: NAME })
    }
}
