//! What is a private key, before any backend has touched it?
//!
//! A [`PrivateKey`] is checked DER and the public facts about it. It is made
//! once, from a credential, and each backend makes its own object of it. The
//! private bytes are zeroized on drop and have no `Debug` form.

use std::fmt;

use pkcs1::RsaPrivateKeyRef;
use pkcs1::der::asn1::{BitStringRef, OctetStringRef};
use pkcs1::der::{self, AnyRef, Decode, Encode, Reader, TagMode, TagNumber};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::algorithm::KeyKind;
use super::public_key::{OID_EC, OID_ED25519, OID_P256, OID_P384, PublicKey, significant_bits};

/// The fewest bits of an RSA modulus that are accepted (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;

/// The most bits of an RSA modulus that are accepted.
///
/// Larger keys cost seconds to sign with, and no backend here takes them.
pub const MAX_RSA_BITS: usize = 8192;

const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A private key in checked DER, parsed once and shared by all backends.
pub struct PrivateKey {
    kind: KeyKind,
    bits: usize,
    pkcs8: Zeroizing<Vec<u8>>,
    /// The inner encoding: `RSAPrivateKey` for RSA, the `privateKey` octets
    /// of PKCS#8 for the others.
    inner: Zeroizing<Vec<u8>>,
    public: Option<PublicKey>,
}

impl PrivateKey {
    /// Reads an unencrypted PKCS#8 `PrivateKeyInfo` in DER (RFC 5208, RFC 5958).
    ///
    /// # Errors
    ///
    /// The bytes are not such a structure, the key is of a kind that no
    /// algorithm here uses, or an RSA modulus is outside of
    /// [`MIN_RSA_BITS`]..=[`MAX_RSA_BITS`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed)?;
        let oid = info.algorithm.oid;
        let kind = if oid == pkcs1::ALGORITHM_OID {
            return Self::from_pkcs1_der(info.private_key.as_bytes());
        } else if oid == OID_EC {
            match info.algorithm.parameters_oid() {
                Ok(OID_P256) => KeyKind::P256,
                Ok(OID_P384) => KeyKind::P384,
                _ => {
                    return Err(KeyError::Kind(
                        "an elliptic-curve key on another curve".into(),
                    ));
                }
            }
        } else if oid == OID_ED25519 {
            KeyKind::Ed25519
        } else if oid == OID_RSA_PSS {
            return Err(KeyError::Kind(
                "an RSA key restricted to PSS (id-RSASSA-PSS)".into(),
            ));
        } else {
            return Err(KeyError::Kind(format!("a key with the algorithm {oid}")));
        };
        Ok(Self {
            kind,
            bits: match kind {
                KeyKind::P384 => 384,
                _ => 256,
            },
            pkcs8: Zeroizing::new(der.to_vec()),
            inner: Zeroizing::new(info.private_key.as_bytes().to_vec()),
            public: public_of(&info),
        })
    }

    /// Reads an `RSAPrivateKey` in DER (RFC 8017 A.1.2).
    ///
    /// # Errors
    ///
    /// As [`Self::from_pkcs8_der`].
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPrivateKeyRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bits = significant_bits(key.modulus.as_bytes());
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::Size { bits });
        }
        let public = PublicKey::from_rsa(key.public_key(), bits)?;
        let info = PrivateKeyInfoRef::new(
            pkcs1::ALGORITHM_ID,
            OctetStringRef::new(der).map_err(|_| KeyError::Malformed)?,
        );
        let pkcs8 = info.to_der().map_err(|_| KeyError::Malformed)?;
        Ok(Self {
            kind: KeyKind::Rsa,
            bits,
            pkcs8: Zeroizing::new(pkcs8),
            inner: Zeroizing::new(der.to_vec()),
            public: Some(public),
        })
    }

    /// Reads an `ECPrivateKey` in DER that names its curve (RFC 5915 §3).
    ///
    /// # Errors
    ///
    /// As [`Self::from_pkcs8_der`]; also if the optional `parameters` are
    /// missing, since nothing else in the structure says the curve.
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = EcPrivateKey::read(der)?;
        let curve = key.curve.ok_or(KeyError::Curve)?;
        let info = PrivateKeyInfoRef::new(
            AlgorithmIdentifierRef {
                oid: OID_EC,
                parameters: Some((&curve).into()),
            },
            OctetStringRef::new(der).map_err(|_| KeyError::Malformed)?,
        );
        let pkcs8 = Zeroizing::new(info.to_der().map_err(|_| KeyError::Malformed)?);
        Self::from_pkcs8_der(&pkcs8)
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

    /// Returns the unencrypted PKCS#8 encoding. It is secret.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Returns the `RSAPrivateKey` encoding of an RSA key. It is secret.
    #[must_use]
    pub fn pkcs1_der(&self) -> Option<&[u8]> {
        (self.kind == KeyKind::Rsa).then_some(&*self.inner)
    }

    /// Returns the components of an RSA key. They are secret.
    #[must_use]
    pub fn rsa_components(&self) -> Option<RsaPrivateKeyRef<'_>> {
        RsaPrivateKeyRef::from_der(self.pkcs1_der()?).ok()
    }

    /// Has the RSA key more than two primes (RFC 8017 §3.2)?
    #[must_use]
    pub fn is_multi_prime(&self) -> bool {
        self.rsa_components()
            .is_some_and(|key| key.other_prime_infos.is_some())
    }

    /// Returns the public half, where the private encoding carries it.
    ///
    /// RSA keys always do; an Ed25519 or EC key only if the optional member
    /// of its encoding is there.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("kind", &self.kind)
            .field("bits", &self.bits)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The DER does not parse.
    #[error("the key is malformed or truncated, expected PKCS#8 or PKCS#1 in DER")]
    Malformed,
    /// The key is of another kind.
    #[error("the key is {0}, expected an RSA, P-256, P-384 or Ed25519 key")]
    Kind(String),
    /// An `ECPrivateKey` that stands alone does not name its curve.
    #[error(
        "the elliptic-curve key does not name its curve, expected PKCS#8 or EC parameters in it"
    )]
    Curve,
    /// The RSA modulus is too small or too large.
    #[error(
        "the RSA key has {bits} bits, expected {MIN_RSA_BITS} to {MAX_RSA_BITS} (RFC 7518 section 3.3)"
    )]
    Size {
        /// The size that was found, in bits.
        bits: usize,
    },
    /// The RSA public exponent is even, zero or one.
    #[error("the RSA public exponent is even or too small, expected an odd number from 3 on")]
    Exponent,
}

/// Finds the public key that a PKCS#8 structure of version 2 or an
/// `ECPrivateKey` carries.
fn public_of(info: &PrivateKeyInfoRef<'_>) -> Option<PublicKey> {
    let bits = match info.public_key {
        Some(bits) => bits,
        None if info.algorithm.oid == OID_EC => {
            EcPrivateKey::read(info.private_key.as_bytes())
                .ok()?
                .public?
        }
        None => return None,
    };
    let spki = SubjectPublicKeyInfo {
        algorithm: info.algorithm,
        subject_public_key: bits,
    };
    PublicKey::from_spki_der(&spki.to_der().ok()?).ok()
}

/// The optional members of an `ECPrivateKey` (RFC 5915 §3).
struct EcPrivateKey<'a> {
    curve: Option<ObjectIdentifier>,
    public: Option<BitStringRef<'a>>,
}

impl<'a> EcPrivateKey<'a> {
    fn read(der: &'a [u8]) -> Result<Self, KeyError> {
        AnyRef::from_der(der)
            .and_then(|any| {
                any.sequence(|reader| -> der::Result<_> {
                    u8::decode(reader)?;
                    <&OctetStringRef>::decode(reader)?;
                    let curve = reader.context_specific(TagNumber(0), TagMode::Explicit)?;
                    let public = reader.context_specific(TagNumber(1), TagMode::Explicit)?;
                    Ok(Self { curve, public })
                })
            })
            .map_err(|_| KeyError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa-2048.pkcs8.der");
    const RSA_PKCS1: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa-2048.pkcs1.der");
    const RSA_PUBLIC: &str = include_str!("../../tests/fixtures/keys/rsa-2048.public.pem");
    const P256: &str = include_str!("../../tests/fixtures/keys/p256.pem");
    const P256_SEC1: &str = include_str!("../../tests/fixtures/keys/p256.sec1.pem");

    #[test]
    fn both_encodings_of_an_rsa_key_are_the_same_key() {
        let from_pkcs8 = PrivateKey::from_pkcs8_der(RSA).unwrap();
        let from_pkcs1 = PrivateKey::from_pkcs1_der(RSA_PKCS1).unwrap();
        assert_eq!(from_pkcs8.pkcs8_der(), RSA);
        assert_eq!(from_pkcs1.pkcs8_der(), RSA);
        assert_eq!(from_pkcs8.pkcs1_der(), Some(RSA_PKCS1));
        let public = PublicKey::from_pem(RSA_PUBLIC).unwrap();
        assert_eq!(from_pkcs1.public_key(), Some(&public));
        assert_eq!(public.to_pem(), RSA_PUBLIC);
    }

    #[test]
    fn both_encodings_of_an_elliptic_key_have_the_same_public_half() {
        let from_pkcs8 = PrivateKey::from_pkcs8_der(&last_block(P256)).unwrap();
        let from_sec1 = PrivateKey::from_sec1_der(&last_block(P256_SEC1)).unwrap();
        assert!(from_pkcs8.public_key().is_some());
        assert_eq!(from_pkcs8.public_key(), from_sec1.public_key());
        assert_eq!(from_sec1.public_key().unwrap().inner().len(), 65);
        assert!(from_sec1.pkcs1_der().is_none());
    }

    #[test]
    fn an_elliptic_key_that_stands_alone_must_name_its_curve() {
        let pkcs8 = last_block(P256);
        let info = PrivateKeyInfoRef::try_from(&*pkcs8).unwrap();
        let error = PrivateKey::from_sec1_der(info.private_key.as_bytes()).unwrap_err();
        assert!(matches!(error, KeyError::Curve), "{error}");
    }

    #[test]
    fn an_even_exponent_is_refused() {
        let at = RSA_PKCS1
            .windows(5)
            .position(|window| window == [2, 3, 1, 0, 1])
            .unwrap();
        let mut even = RSA_PKCS1.to_vec();
        even[at + 4] = 0;
        let error = PrivateKey::from_pkcs1_der(&even).unwrap_err();
        assert!(matches!(error, KeyError::Exponent), "{error}");
    }

    fn last_block(text: &str) -> Vec<u8> {
        pem::parse_many(text)
            .unwrap()
            .pop()
            .unwrap()
            .into_contents()
    }
}
