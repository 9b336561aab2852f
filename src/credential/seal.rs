//! How is a key sealed under a passphrase?
//!
//! PBES2 with PBKDF2 (RFC 8018), as the provider's console and the `openssl`
//! program write it. Other forms are read and never written.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt};

use super::cipher::Cipher;
use super::derivation::Prf;
use super::generate::{GenerateError, random_bytes};
use super::pem;
use super::secret::Secret;

/// How a key is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// The pseudo-random function of PBKDF2.
    pub prf: Prf,
    /// The rounds of PBKDF2; the cost of opening grows with them.
    pub rounds: u32,
    /// The cipher.
    pub cipher: Cipher,
}

impl Sealing {
    /// As the provider's console seals the key of a configuration file.
    pub const CONSOLE: Self = Self {
        prf: Prf::HmacSha1,
        rounds: 2048,
        cipher: Cipher::DesEde3Cbc,
    };

    /// As `openssl genrsa -aes256` of OpenSSL 3 does.
    pub const OPENSSL: Self = Self {
        prf: Prf::HmacSha256,
        rounds: 2048,
        cipher: Cipher::Aes256Cbc,
    };
}

/// Seals a PKCS#8 key into the text of an `ENCRYPTED PRIVATE KEY` block.
///
/// Salt and IV are random.
///
/// # Errors
///
/// The system has no randomness, or the key is too large for DER.
pub fn seal(
    pkcs8_der: &[u8],
    sealing: Sealing,
    passphrase: &Secret,
) -> Result<Secret, GenerateError> {
    let parameters = Parameters {
        kdf: Kdf::Pbkdf2(Pbkdf2Params {
            salt: Salt::new(random_bytes::<8>()?).map_err(|_| GenerateError::Seal)?,
            iteration_count: sealing.rounds,
            key_length: None,
            prf: match sealing.prf {
                Prf::HmacSha1 => Pbkdf2Prf::HmacWithSha1,
                Prf::HmacSha256 => Pbkdf2Prf::HmacWithSha256,
                Prf::HmacSha384 => Pbkdf2Prf::HmacWithSha384,
                Prf::HmacSha512 => Pbkdf2Prf::HmacWithSha512,
            },
        }),
        encryption: match sealing.cipher {
            Cipher::DesEde3Cbc => EncryptionScheme::DesEde3Cbc {
                iv: random_bytes()?,
            },
            Cipher::Aes128Cbc => EncryptionScheme::Aes128Cbc {
                iv: random_bytes()?,
            },
            Cipher::Aes192Cbc => EncryptionScheme::Aes192Cbc {
                iv: random_bytes()?,
            },
            Cipher::Aes256Cbc => EncryptionScheme::Aes256Cbc {
                iv: random_bytes()?,
            },
        },
    };
    let data = parameters
        .encrypt(passphrase.expose(), pkcs8_der)
        .map_err(|_| GenerateError::Seal)?;
    let sealed = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&data).map_err(|_| GenerateError::Seal)?,
    };
    let der = sealed.to_der().map_err(|_| GenerateError::Seal)?;
    Ok(Secret::new(std::mem::take(&mut *pem::encode(
        "ENCRYPTED PRIVATE KEY",
        &der,
    ))))
}

/// Writes a PKCS#8 key as the text of a `PRIVATE KEY` block, not encrypted.
#[must_use]
pub fn plain(pkcs8_der: &[u8]) -> Secret {
    Secret::new(std::mem::take(&mut *pem::encode("PRIVATE KEY", pkcs8_der)))
}
