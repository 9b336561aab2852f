//! Which block ciphers open a container, and how?
//!
//! Decryption in CBC mode with PKCS#7 padding, in place. Keys and IVs come
//! from elsewhere; nothing here derives them.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit};
use pkcs8::ObjectIdentifier;

/// The longest key of the ciphers here, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 32;

/// A block cipher in CBC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// Triple DES with three keys (FIPS 46-3, SP 800-67).
    DesEde3Cbc,
    /// AES with a key of 128 bits (FIPS 197).
    Aes128Cbc,
    /// AES with a key of 192 bits.
    Aes192Cbc,
    /// AES with a key of 256 bits.
    Aes256Cbc,
}

impl Cipher {
    const ALL: [Self; 4] = [
        Self::DesEde3Cbc,
        Self::Aes128Cbc,
        Self::Aes192Cbc,
        Self::Aes256Cbc,
    ];

    /// Returns OpenSSL's name, which is that of a `DEK-Info` header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DesEde3Cbc => "DES-EDE3-CBC",
            Self::Aes128Cbc => "AES-128-CBC",
            Self::Aes192Cbc => "AES-192-CBC",
            Self::Aes256Cbc => "AES-256-CBC",
        }
    }

    /// Finds a cipher by the name in a `DEK-Info` header.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|cipher| cipher.name().eq_ignore_ascii_case(name))
    }

    /// Finds a cipher by its object identifier (RFC 8018 B.2.2, RFC 3565 §4.1).
    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            pkcs8::pkcs5::pbes2::DES_EDE3_CBC_OID => Some(Self::DesEde3Cbc),
            pkcs8::pkcs5::pbes2::AES_128_CBC_OID => Some(Self::Aes128Cbc),
            pkcs8::pkcs5::pbes2::AES_192_CBC_OID => Some(Self::Aes192Cbc),
            pkcs8::pkcs5::pbes2::AES_256_CBC_OID => Some(Self::Aes256Cbc),
            _ => None,
        }
    }

    /// Returns the length of the key, in bytes.
    pub(super) fn key_len(self) -> usize {
        match self {
            Self::Aes128Cbc => 16,
            Self::DesEde3Cbc | Self::Aes192Cbc => 24,
            Self::Aes256Cbc => 32,
        }
    }

    /// Returns the length of a block, which is that of the IV, in bytes.
    pub(super) fn block_len(self) -> usize {
        match self {
            Self::DesEde3Cbc => 8,
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
        }
    }

    /// Decrypts `buffer` in place and returns the length of the plain text.
    ///
    /// `None` if the padding is wrong, the buffer is no whole number of
    /// blocks, or the key or the IV has another length.
    pub(super) fn decrypt(self, key: &[u8], iv: &[u8], buffer: &mut [u8]) -> Option<usize> {
        match self {
            Self::DesEde3Cbc => decrypt_cbc::<des::TdesEde3>(key, iv, buffer),
            Self::Aes128Cbc => decrypt_cbc::<aes::Aes128Dec>(key, iv, buffer),
            Self::Aes192Cbc => decrypt_cbc::<aes::Aes192Dec>(key, iv, buffer),
            Self::Aes256Cbc => decrypt_cbc::<aes::Aes256Dec>(key, iv, buffer),
        }
    }
}

fn decrypt_cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    buffer: &mut [u8],
) -> Option<usize> {
    let cipher = C::new_from_slice(key).ok()?;
    cbc::Decryptor::inner_iv_slice_init(cipher, iv)
        .ok()?
        .decrypt_padded::<Pkcs7>(buffer)
        .ok()
        .map(<[u8]>::len)
}
