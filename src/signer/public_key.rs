//! What is the public half of a key?
//!
//! A [`PublicKey`] is a checked `SubjectPublicKeyInfo`. Nothing in it is
//! secret; records name it by its fingerprint.

use std::fmt;

use pkcs1::RsaPublicKeyRef;
use pkcs1::der::asn1::BitStringRef;
use pkcs1::der::{AnyRef, Decode, Encode};
use pkcs8::ObjectIdentifier;
use pkcs8::spki::SubjectPublicKeyInfo;

use super::algorithm::KeyKind;
use super::key::{KeyError, MAX_RSA_BITS, MIN_RSA_BITS};

pub(super) const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The public half of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    bits: usize,
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    ///
    /// # Errors
    ///
    /// As [`super::PrivateKey::from_pkcs8_der`]; also a public exponent that is even
    /// or below 3.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der)
            .map_err(|_| KeyError::Malformed)?;
        let oid = info.algorithm.oid;
        if oid == pkcs1::ALGORITHM_OID {
            let bytes = info
                .subject_public_key
                .as_bytes()
                .ok_or(KeyError::Malformed)?;
            return Self::from_pkcs1_der(bytes);
        }
        let (kind, bits) = match (oid, info.algorithm.parameters_oid()) {
            (OID_EC, Ok(OID_P256)) => (KeyKind::P256, 256),
            (OID_EC, Ok(OID_P384)) => (KeyKind::P384, 384),
            (OID_ED25519, _) => (KeyKind::Ed25519, 256),
            _ => return Err(KeyError::Kind(format!("a key with the algorithm {oid}"))),
        };
        Ok(Self {
            kind,
            bits,
            spki: der.to_vec(),
        })
    }

    /// Reads an `RSAPublicKey` in DER (RFC 8017 A.1.1).
    ///
    /// # Errors
    ///
    /// As [`Self::from_spki_der`].
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKeyRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bits = significant_bits(key.modulus.as_bytes());
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::Size { bits });
        }
        Self::from_rsa(key, bits)
    }

    /// Reads a PEM text: `PUBLIC KEY`, `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// As [`Self::from_spki_der`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Malformed)?;
        match block.tag() {
            "PUBLIC KEY" => Self::from_spki_der(block.contents()),
            "RSA PUBLIC KEY" => Self::from_pkcs1_der(block.contents()),
            tag => Err(KeyError::Kind(format!("a PEM block labelled {tag:?}"))),
        }
    }

    pub(super) fn from_rsa(key: RsaPublicKeyRef<'_>, bits: usize) -> Result<Self, KeyError> {
        let exponent = key.public_exponent.as_bytes();
        let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
        if !is_odd || significant_bits(exponent) < 2 {
            return Err(KeyError::Exponent);
        }
        let inner = key.to_der().map_err(|_| KeyError::Malformed)?;
        let info = SubjectPublicKeyInfo {
            algorithm: pkcs1::ALGORITHM_ID,
            subject_public_key: BitStringRef::from_bytes(&inner)
                .map_err(|_| KeyError::Malformed)?,
        };
        Ok(Self {
            kind: KeyKind::Rsa,
            bits,
            spki: info.to_der().map_err(|_| KeyError::Malformed)?,
        })
    }

    /// Returns the kind of the key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the size of the modulus, or of the field, in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Returns the `SubjectPublicKeyInfo` encoding.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the `RSAPublicKey` encoding of an RSA key, or the key's own
    /// octets (an uncompressed point, 32 bytes of Ed25519) of another.
    #[must_use]
    pub fn inner(&self) -> &[u8] {
        SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(&self.spki)
            .ok()
            .and_then(|info| info.subject_public_key.as_bytes())
            .unwrap_or_default()
    }

    /// Returns the `PUBLIC KEY` PEM text, as `openssl rsa -pubout` writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("PUBLIC KEY", self.spki.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// Returns the SHA-256 of the `SubjectPublicKeyInfo`, by which records
    /// name a key without showing it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        Sha256::digest(&self.spki).into()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {} bits)", self.kind, self.bits)
    }
}

/// Counts the bits from the first one that is set.
pub(super) fn significant_bits(big_endian: &[u8]) -> usize {
    let digits = big_endian
        .iter()
        .position(|byte| *byte != 0)
        .map_or(&[][..], |first| &big_endian[first..]);
    digits
        .first()
        .map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_significant_bits() {
        for (bytes, bits) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[1], 1),
            (&[0, 0x80], 8),
            (&[0x7f, 0xff], 15),
            (&[0xff; 256], 2048),
        ] {
            assert_eq!(significant_bits(bytes), bits);
        }
    }
}
