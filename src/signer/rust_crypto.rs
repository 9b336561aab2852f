//! The `rsa` backend: RustCrypto's portable implementation, blinded.

use std::sync::Arc;

use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::{Sha256, Sha384, Sha512};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
};

const NAME: &str = "rsa";

pub(super) struct RustCrypto;

impl Backend for RustCrypto {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME.into(),
            library: "rsa (RustCrypto)".into(),
            version: locked_version("rsa").into(),
            licence: "MIT OR Apache-2.0".into(),
            linkage: "rust".into(),
            blinding: "base, exponent and modulus blinding from the system's random source".into(),
            fault_check: "every signature is verified".into(),
            caveats: vec![
                "RUSTSEC-2023-0071 (Marvin) names every version as vulnerable; the crate's changelog calls it resolved in 0.10"
                    .into(),
            ],
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let sign: SignFn = match algorithm {
            Algorithm::Rs256 => rsa::PrivateKey::pkcs1v15_sign::<Sha256>,
            Algorithm::Rs384 => rsa::PrivateKey::pkcs1v15_sign::<Sha384>,
            Algorithm::Rs512 => rsa::PrivateKey::pkcs1v15_sign::<Sha512>,
            _ => {
                return Err(LoadError::Algorithm {
                    backend: NAME,
                    algorithm,
                });
            }
        };
        let key =
            rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).map_err(|error| LoadError::Key {
                backend: NAME,
                reason: error.to_string(),
            })?;
        Ok(Arc::new(RsaSigner { key, sign }))
    }
}

type SignFn = fn(&rsa::PrivateKey, &[u8]) -> rsa::Result<Vec<u8>>;

struct RsaSigner {
    key: rsa::PrivateKey,
    sign: SignFn,
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        use rsa::traits::PublicKeyParts;
        self.key.size()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.signature_len())?;
        let made =
            (self.sign)(&self.key, message).map_err(|_| SignError::Backend { backend: NAME })?;
        signature.copy_from_slice(&made);
        Ok(())
    }
}
