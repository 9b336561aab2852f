//! How is a PKCS#8 container opened that PBES2 has sealed?
//!
//! Reads `EncryptedPrivateKeyInfo` (RFC 5958 §3) with the parameters of PBES2
//! (RFC 8018 A.4), derives the key and decrypts. The parameters are read here
//! and not by `pkcs5`, whose reader indexes into what a hostile file left
//! short. Costs are bounded before anything is derived: a file must not
//! decide for how long a program thinks.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode};
use pkcs8::pkcs5::pbes2::{PBES2_OID, PBKDF2_OID, SCRYPT_OID};
use pkcs8::pkcs5::scrypt;
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{ObjectIdentifier, pkcs5::pbes2 as oids};
use zeroize::Zeroizing;

use super::cipher::{Cipher, MAX_KEY_BYTES};
use super::container::ContainerError;
use super::schemes;

/// The most PBKDF2 rounds that are run.
///
/// RFC 8018 §4.2 names this count for "especially critical keys"; it takes
/// seconds. Twice as many would take twice as long, each time a key is opened.
pub const MAX_PBKDF2_ROUNDS: u64 = 10_000_000;

/// The most memory that scrypt may ask for, in bytes (128 · N · r).
///
/// OpenSSL refuses above 32 MiB unless told otherwise; N = 2^17 with r = 8,
/// the strongest setting in common advice, takes half of this.
pub const MAX_SCRYPT_BYTES: u64 = 256 << 20;

/// The most work that scrypt may ask for, in bytes mixed (128 · N · r · p).
pub const MAX_SCRYPT_WORK: u64 = 1 << 30;

/// How a passphrase becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// PBKDF2 (RFC 8018 §5.2).
    Pbkdf2 {
        /// The pseudo-random function.
        prf: Prf,
        /// The number of rounds.
        rounds: u32,
    },
    /// scrypt (RFC 7914).
    Scrypt {
        /// The base-2 logarithm of the cost parameter N.
        log_n: u8,
        /// The block size parameter.
        r: u32,
        /// The parallelisation parameter.
        p: u32,
    },
    /// `EVP_BytesToKey` of OpenSSL with one round of MD5.
    Md5OneRound,
}

/// The pseudo-random function of PBKDF2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prf {
    /// HMAC with SHA-1, the default of RFC 8018.
    HmacSha1,
    /// HMAC with SHA-256, the default of OpenSSL since 1.1.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

impl fmt::Display for Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1 => "HMAC-SHA1",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha384 => "HMAC-SHA384",
            Self::HmacSha512 => "HMAC-SHA512",
        })
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pbkdf2 { prf, rounds } => write!(f, "PBKDF2-{prf} x {rounds}"),
            Self::Scrypt { log_n, r, p } => write!(f, "scrypt N=2^{log_n} r={r} p={p}"),
            Self::Md5OneRound => f.write_str("MD5 x 1"),
        }
    }
}

/// A container that PBES2 has sealed, taken apart.
pub(super) struct Sealed<'a> {
    pub(super) derivation: Derivation,
    pub(super) cipher: Cipher,
    salt: &'a [u8],
    iv: &'a [u8],
    data: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes an `EncryptedPrivateKeyInfo` apart.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, ContainerError> {
        let (algorithm, data) = AnyRef::from_der(der)
            .and_then(|any| {
                any.sequence(|reader| -> der::Result<_> {
                    let algorithm = AlgorithmIdentifierRef::decode(reader)?;
                    let data = <&OctetStringRef>::decode(reader)?;
                    Ok((algorithm, data.as_bytes()))
                })
            })
            .map_err(|_| {
                ContainerError::Garbled("its DER is no EncryptedPrivateKeyInfo of RFC 5958")
            })?;
        if algorithm.oid != PBES2_OID {
            return Err(schemes::unsupported(algorithm.oid));
        }
        let (kdf, encryption) = parameters(algorithm)
            .and_then(|any| {
                any.sequence(|reader| -> der::Result<_> {
                    Ok((
                        AlgorithmIdentifierRef::decode(reader)?,
                        AlgorithmIdentifierRef::decode(reader)?,
                    ))
                })
            })
            .map_err(|_| GARBLED)?;
        let cipher =
            Cipher::from_oid(encryption.oid).ok_or_else(|| schemes::unsupported(encryption.oid))?;
        let iv = parameters(encryption)
            .and_then(|any| any.decode_as::<&OctetStringRef>())
            .map_err(|_| GARBLED)?
            .as_bytes();
        if iv.len() != cipher.block_len() {
            return Err(GARBLED);
        }
        let (derivation, salt) = match kdf.oid {
            PBKDF2_OID => read_pbkdf2(kdf, cipher)?,
            SCRYPT_OID => read_scrypt(kdf, cipher)?,
            oid => return Err(schemes::unsupported(oid)),
        };
        Ok(Self {
            derivation,
            cipher,
            salt,
            iv,
            data,
        })
    }

    /// Derives the key and decrypts; the plain text is a `PrivateKeyInfo`.
    pub(super) fn open(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let mut key = Zeroizing::new([0; MAX_KEY_BYTES]);
        let key = &mut key[..self.cipher.key_len()];
        self.derive(passphrase, key)?;
        let mut buffer = Zeroizing::new(self.data.to_vec());
        let len = self
            .cipher
            .decrypt(key, self.iv, &mut buffer)
            .ok_or(ContainerError::WrongPassphrase)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn derive(&self, passphrase: &str, key: &mut [u8]) -> Result<(), ContainerError> {
        match self.derivation {
            Derivation::Pbkdf2 { prf, rounds } => {
                let algorithm = match prf {
                    Prf::HmacSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    Prf::HmacSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Prf::HmacSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
                    Prf::HmacSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                let rounds = NonZeroU32::new(rounds).ok_or(GARBLED)?;
                pbkdf2::derive(algorithm, rounds, self.salt, passphrase.as_bytes(), key);
                Ok(())
            }
            Derivation::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).map_err(|_| GARBLED)?;
                scrypt::scrypt(passphrase.as_bytes(), self.salt, &params, key).map_err(|_| GARBLED)
            }
            // Never made by `read`.
            Derivation::Md5OneRound => Err(GARBLED),
        }
    }
}

const GARBLED: ContainerError =
    ContainerError::Garbled("its encryption parameters are not those of RFC 8018");

fn parameters(algorithm: AlgorithmIdentifierRef<'_>) -> der::Result<AnyRef<'_>> {
    algorithm
        .parameters
        .ok_or_else(|| der::ErrorKind::Failed.into())
}

fn read_pbkdf2(
    kdf: AlgorithmIdentifierRef<'_>,
    cipher: Cipher,
) -> Result<(Derivation, &[u8]), ContainerError> {
    let (salt, rounds, key_len, prf) = parameters(kdf)
        .and_then(|any| {
            any.sequence(|reader| -> der::Result<_> {
                Ok((
                    <&OctetStringRef>::decode(reader)?.as_bytes(),
                    u64::decode(reader)?,
                    Option::<u64>::decode(reader)?,
                    Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?,
                ))
            })
        })
        .map_err(|_| GARBLED)?;
    check_key_len(key_len, cipher)?;
    let prf = match prf.map(|prf| prf.oid) {
        None | Some(oids::HMAC_WITH_SHA1_OID) => Prf::HmacSha1,
        Some(oids::HMAC_WITH_SHA256_OID) => Prf::HmacSha256,
        Some(HMAC_SHA384) => Prf::HmacSha384,
        Some(HMAC_SHA512) => Prf::HmacSha512,
        Some(oid) => return Err(schemes::unsupported(oid)),
    };
    if rounds == 0 {
        return Err(GARBLED);
    }
    match u32::try_from(rounds) {
        Ok(few) if rounds <= MAX_PBKDF2_ROUNDS => {
            Ok((Derivation::Pbkdf2 { prf, rounds: few }, salt))
        }
        _ => Err(ContainerError::TooCostly {
            found: format!("{rounds} rounds of PBKDF2"),
            limit: format!("{MAX_PBKDF2_ROUNDS}"),
        }),
    }
}

fn read_scrypt(
    kdf: AlgorithmIdentifierRef<'_>,
    cipher: Cipher,
) -> Result<(Derivation, &[u8]), ContainerError> {
    let (salt, n, r, p, key_len) = parameters(kdf)
        .and_then(|any| {
            any.sequence(|reader| -> der::Result<_> {
                Ok((
                    <&OctetStringRef>::decode(reader)?.as_bytes(),
                    u64::decode(reader)?,
                    u32::decode(reader)?,
                    u32::decode(reader)?,
                    Option::<u64>::decode(reader)?,
                ))
            })
        })
        .map_err(|_| GARBLED)?;
    check_key_len(key_len, cipher)?;
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(GARBLED);
    }
    let bytes = n.saturating_mul(128).saturating_mul(u64::from(r));
    if bytes > MAX_SCRYPT_BYTES || bytes.saturating_mul(u64::from(p)) > MAX_SCRYPT_WORK {
        return Err(ContainerError::TooCostly {
            found: format!("scrypt with N={n} r={r} p={p}"),
            limit: format!(
                "{} MiB of memory and {} MiB of work",
                MAX_SCRYPT_BYTES >> 20,
                MAX_SCRYPT_WORK >> 20
            ),
        });
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| GARBLED)?;
    Ok((Derivation::Scrypt { log_n, r, p }, salt))
}

/// The optional `keyLength` must be what the cipher needs.
fn check_key_len(found: Option<u64>, cipher: Cipher) -> Result<(), ContainerError> {
    match found {
        Some(len) if len != cipher.key_len() as u64 => Err(GARBLED),
        _ => Ok(()),
    }
}

/// `id-hmacWithSHA384` of RFC 8018 B.1.2.
const HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
/// `id-hmacWithSHA512` of RFC 8018 B.1.2.
const HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");
