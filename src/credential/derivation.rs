//! How does a passphrase become a key?
//!
//! The three functions that containers name. PBKDF2 is AWS-LC's, since that
//! is as fast as the OpenSSL of most SDKs: what opening a key costs is
//! measured, and a slow function would exaggerate it. What a file may ask of
//! them is limited here and checked where the file is read.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use md5::{Digest as _, Md5};
use pkcs8::pkcs5::scrypt;
use zeroize::Zeroizing;

use super::container::ContainerError;

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

impl Derivation {
    /// Fills `key`.
    pub(super) fn derive(
        self,
        passphrase: &str,
        salt: &[u8],
        key: &mut [u8],
    ) -> Result<(), ContainerError> {
        let passphrase = passphrase.as_bytes();
        match self {
            Self::Pbkdf2 { prf, rounds } => {
                let algorithm = match prf {
                    Prf::HmacSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    Prf::HmacSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Prf::HmacSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
                    Prf::HmacSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                let rounds = NonZeroU32::new(rounds).ok_or(GARBLED)?;
                pbkdf2::derive(algorithm, rounds, salt, passphrase, key);
            }
            Self::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).map_err(|_| GARBLED)?;
                scrypt::scrypt(passphrase, salt, &params, key).map_err(|_| GARBLED)?;
            }
            Self::Md5OneRound => bytes_to_key(passphrase, salt, key),
        }
        Ok(())
    }
}

const GARBLED: ContainerError =
    ContainerError::Garbled("its key derivation has parameters out of range");

/// Fills the key with digests, each over the one before, the passphrase and
/// the salt.
fn bytes_to_key(passphrase: &[u8], salt: &[u8], key: &mut [u8]) {
    let mut block = Zeroizing::new([0_u8; 16]);
    for (index, part) in key.chunks_mut(block.len()).enumerate() {
        let mut digest = Md5::new();
        if index > 0 {
            digest.update(*block);
        }
        digest.update(passphrase);
        digest.update(salt);
        block.copy_from_slice(&digest.finalize());
        part.copy_from_slice(&block[..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pbkdf2_yields_the_vectors_of_rfc_6070() {
        for (passphrase, salt, rounds, expected) in [
            ("password", "salt", 1, [0x0c, 0x60, 0xc8, 0x0f]),
            ("password", "salt", 2, [0xea, 0x6c, 0x01, 0x4d]),
            ("password", "salt", 4096, [0x4b, 0x00, 0x79, 0x01]),
        ] {
            let derivation = Derivation::Pbkdf2 {
                prf: Prf::HmacSha1,
                rounds,
            };
            let mut key = [0; 20];
            derivation
                .derive(passphrase, salt.as_bytes(), &mut key)
                .unwrap();
            assert_eq!(key[..4], expected, "{rounds}");
        }
    }

    #[test]
    fn scrypt_yields_a_vector_of_rfc_7914() {
        let derivation = Derivation::Scrypt {
            log_n: 10,
            r: 8,
            p: 16,
        };
        let mut key = [0; 64];
        derivation.derive("password", b"NaCl", &mut key).unwrap();
        assert_eq!(key[..4], [0xfd, 0xba, 0xbe, 0x1c]);
        assert_eq!(key[60..], [0xa2, 0xcc, 0x06, 0x40]);
    }

    #[test]
    fn impossible_parameters_are_errors() {
        for derivation in [
            Derivation::Pbkdf2 {
                prf: Prf::HmacSha1,
                rounds: 0,
            },
            Derivation::Scrypt {
                log_n: 64,
                r: 8,
                p: 1,
            },
        ] {
            assert!(derivation.derive("x", b"salt", &mut [0; 24]).is_err());
        }
    }
}
