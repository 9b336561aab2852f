//! Keys made for tests alone, and short ways to open them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mintmark::credential::{ContainerError, SealedKey, Secret};
use mintmark::signer::PrivateKey;
use zeroize::Zeroizing;

/// Opens every encrypted fixture.
pub const PASSPHRASE: &str = "for tests alone";

/// Every container of the RSA key that is read, and its description.
pub const READ: [(&str, &str); 16] = [
    ("rsa-2048.pem", "PKCS#8 in PEM, not encrypted"),
    ("rsa-2048.pkcs1.pem", "PKCS#1 in PEM, not encrypted"),
    ("rsa-2048.pkcs1.der", "PKCS#1 in DER, not encrypted"),
    ("rsa-2048.pkcs8.der", "PKCS#8 in DER, not encrypted"),
    (
        "rsa-2048.des3-sha1.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA1 x 2048, DES-EDE3-CBC",
    ),
    (
        "rsa-2048.des3-sha256.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA256 x 2048, DES-EDE3-CBC",
    ),
    (
        "rsa-2048.aes128-sha512.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA512 x 2048, AES-128-CBC",
    ),
    (
        "rsa-2048.aes192-sha384.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA384 x 2048, AES-192-CBC",
    ),
    (
        "rsa-2048.aes256-sha256.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA256 x 2048, AES-256-CBC",
    ),
    (
        "rsa-2048.aes256-sha256-100000.pem",
        "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA256 x 100000, AES-256-CBC",
    ),
    (
        "rsa-2048.aes256-sha256.der",
        "PKCS#8 in DER, PBES2, PBKDF2-HMAC-SHA256 x 2048, AES-256-CBC",
    ),
    (
        "rsa-2048.scrypt.pem",
        "PKCS#8 in PEM, PBES2, scrypt N=2^14 r=8 p=1, AES-256-CBC",
    ),
    (
        "rsa-2048.dek-des3.pem",
        "PKCS#1 in PEM, PEM headers, MD5 x 1, DES-EDE3-CBC",
    ),
    (
        "rsa-2048.dek-aes128.pem",
        "PKCS#1 in PEM, PEM headers, MD5 x 1, AES-128-CBC",
    ),
    (
        "rsa-2048.dek-aes192.pem",
        "PKCS#1 in PEM, PEM headers, MD5 x 1, AES-192-CBC",
    ),
    (
        "rsa-2048.dek-aes256.pem",
        "PKCS#1 in PEM, PEM headers, MD5 x 1, AES-256-CBC",
    ),
];

/// Returns the path of a fixture.
pub fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys")).join(name)
}

/// Reads a fixture.
pub fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads a fixture that is text.
pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

/// Seals and opens whatever bytes, with a passphrase or without.
pub fn open_bytes(
    bytes: impl Into<Vec<u8>>,
    passphrase: Option<&str>,
) -> Result<PrivateKey, ContainerError> {
    SealedKey::new(Zeroizing::new(bytes.into()), passphrase.map(Secret::from))?.open()
}

/// Opens a fixture with the passphrase of all fixtures.
pub fn open(name: &str) -> Result<PrivateKey, ContainerError> {
    open_bytes(bytes(name), Some(PASSPHRASE))
}

/// Returns the modulus of an RSA key as `openssl rsa -modulus` shows it.
pub fn modulus(key: &PrivateKey) -> String {
    key.rsa_components()
        .unwrap()
        .modulus
        .as_bytes()
        .iter()
        .fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02X}").unwrap();
            digits
        })
}
