//! The `jsonwebtoken` backend: a whole JWT library, as most programs use it.
//!
//! Its `EncodingKey` is DER, which it parses and checks again for every
//! signature. That cost is the point of this row.

use std::sync::Arc;

use ::jsonwebtoken::EncodingKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
};

const NAME: &str = "jsonwebtoken";

pub(super) struct JsonWebToken;

impl Backend for JsonWebToken {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: format!(
                "jsonwebtoken over aws-lc-rs {}",
                locked_version("aws-lc-rs")
            ),
            version: locked_version("jsonwebtoken").into(),
            licence: "MIT".into(),
            linkage: "rust over static C and assembly".into(),
            blinding: "as aws-lc-rs".into(),
            fault_check: "as aws-lc-rs".into(),
            caveats: vec![
                "parses and checks the key again for every signature".into(),
                "returns the signature as base64, which is decoded here".into(),
            ],
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let theirs = match algorithm {
            Algorithm::Rs256 => ::jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => ::jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => ::jsonwebtoken::Algorithm::RS512,
            _ => {
                return Err(LoadError::Algorithm {
                    backend: NAME,
                    algorithm,
                });
            }
        };
        let der = key.pkcs1_der().ok_or(LoadError::Algorithm {
            backend: NAME,
            algorithm,
        })?;
        let signer = WholeLibrary {
            key: EncodingKey::from_rsa_der(der),
            algorithm: theirs,
            len: key.bits().div_ceil(8),
        };
        // The key is not looked at before the first signature.
        let mut probe = vec![0; signer.len];
        signer
            .sign(b"probe", &mut probe)
            .map_err(|error| LoadError::Key {
                backend: NAME,
                reason: error.to_string(),
            })?;
        Ok(Arc::new(signer))
    }
}

struct WholeLibrary {
    key: EncodingKey,
    algorithm: ::jsonwebtoken::Algorithm,
    len: usize,
}

impl Signer for WholeLibrary {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let failed = || SignError::Backend { backend: NAME };
        let text = ::jsonwebtoken::crypto::sign(message, &self.key, self.algorithm)
            .map_err(|_| failed())?;
        match URL_SAFE_NO_PAD.decode_slice(text, signature) {
            Ok(len) if len == self.len => Ok(()),
            _ => Err(failed()),
        }
    }
}
