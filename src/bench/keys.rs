//! Which keys sign where nobody brought one?

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use zeroize::Zeroizing;

use super::SigningKey;
use crate::credential::generate::{self, GenerateError, RsaBits};
use crate::credential::{SealedKey, Sealing, seal};
use crate::signer::{KeyKind, PrivateKey};

/// Why no key was generated.
#[derive(Debug, thiserror::Error)]
pub enum KeyGenerationError {
    /// An RSA key was not generated or sealed.
    #[error(transparent)]
    Rsa(#[from] GenerateError),
    /// The library made no key of another kind.
    #[error("no {0} key was generated")]
    Library(KeyKind),
}

/// Generates a key; `rsa_bits` matters for RSA alone.
///
/// RSA keys come sealed as a provider's console seals them, so that
/// decrypting for every signature can be measured. The others come bare.
///
/// # Errors
///
/// The library fails, or the size is none that is generated.
pub fn generated(kind: KeyKind, rsa_bits: usize) -> Result<SigningKey, KeyGenerationError> {
    let failed = KeyGenerationError::Library(kind);
    let der: Zeroizing<Vec<u8>> = match kind {
        KeyKind::Rsa => return Ok(sealed_rsa(RsaBits::try_from(rsa_bits)?)?),
        KeyKind::P256 | KeyKind::P384 => {
            let with = if kind == KeyKind::P256 {
                &ECDSA_P256_SHA256_FIXED_SIGNING
            } else {
                &ECDSA_P384_SHA384_FIXED_SIGNING
            };
            let pair =
                EcdsaKeyPair::generate(with).map_err(|_| KeyGenerationError::Library(kind))?;
            let document = pair
                .to_pkcs8v1()
                .map_err(|_| KeyGenerationError::Library(kind))?;
            Zeroizing::new(document.as_ref().to_vec())
        }
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(|_| KeyGenerationError::Library(kind))?;
            let document = pair
                .to_pkcs8()
                .map_err(|_| KeyGenerationError::Library(kind))?;
            Zeroizing::new(document.as_ref().to_vec())
        }
    };
    let key = PrivateKey::from_pkcs8_der(&der).map_err(|_| failed)?;
    Ok(Arc::new(key).into())
}

fn sealed_rsa(bits: RsaBits) -> Result<SigningKey, GenerateError> {
    let der = generate::rsa_key(bits)?;
    let passphrase = generate::passphrase()?;
    let text = seal(&der, Sealing::CONSOLE, &passphrase)?;
    let bytes = Zeroizing::new(text.expose().as_bytes().to_vec());
    let sealed = SealedKey::new(bytes, Some(passphrase)).map_err(|_| GenerateError::Seal)?;
    let key = sealed.open().map_err(|_| GenerateError::Seal)?;
    Ok(SigningKey {
        key: Arc::new(key),
        sealed: Some(sealed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_generated() {
        for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let key = generated(kind, 2048).unwrap();
            assert_eq!(key.key.kind(), kind);
            assert_eq!(
                key.sealed.is_some_and(|sealed| sealed.is_encrypted()),
                kind == KeyKind::Rsa
            );
        }
        assert!(generated(KeyKind::Rsa, 2049).is_err());
    }
}
