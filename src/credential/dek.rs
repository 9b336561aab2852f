//! How is a PEM block opened that its headers say is encrypted?
//!
//! OpenSSL's form of old: `Proc-Type: 4,ENCRYPTED` and `DEK-Info` (the syntax
//! is that of RFC 1421 §4.6.1), with a key that `EVP_BytesToKey` derives by
//! one round of MD5. It is read because `openssl genrsa -des3` wrote it for
//! twenty years, and it is never written.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::cipher::{Cipher, MAX_KEY_BYTES};
use super::container::ContainerError;
use super::pem::Block;
use super::schemes;

/// The salt is the beginning of the IV.
const SALT_BYTES: usize = 8;

/// The longest IV of the ciphers here, in bytes.
const MAX_IV_BYTES: usize = 16;

/// The cipher and the IV of an encrypted block.
#[derive(Clone, Copy)]
pub(super) struct Dek {
    pub(super) cipher: Cipher,
    iv: [u8; MAX_IV_BYTES],
}

impl Dek {
    /// Reads the headers; `None` if the block is not encrypted.
    pub(super) fn read(block: &Block<'_>) -> Result<Option<Self>, ContainerError> {
        let Some(kind) = block.header("Proc-Type") else {
            return Ok(None);
        };
        if kind.split(',').nth(1).map(str::trim) != Some("ENCRYPTED") {
            return Ok(None);
        }
        let (name, digits) = block
            .header("DEK-Info")
            .and_then(|value| value.split_once(','))
            .ok_or(GARBLED)?;
        let name = name.trim();
        let cipher = Cipher::from_name(name).ok_or_else(|| schemes::unsupported_dek(name))?;
        let mut iv = [0; MAX_IV_BYTES];
        decode_hex(digits.trim(), &mut iv[..cipher.block_len()]).ok_or(GARBLED)?;
        Ok(Some(Self { cipher, iv }))
    }

    /// Derives the key and decrypts.
    pub(super) fn open(
        &self,
        passphrase: &str,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let mut key = Zeroizing::new([0; MAX_KEY_BYTES]);
        derive(passphrase.as_bytes(), &self.iv[..SALT_BYTES], &mut key);
        let mut buffer = Zeroizing::new(data.to_vec());
        let len = self
            .cipher
            .decrypt(
                &key[..self.cipher.key_len()],
                &self.iv[..self.cipher.block_len()],
                &mut buffer,
            )
            .ok_or(ContainerError::WrongPassphrase)?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

const GARBLED: ContainerError =
    ContainerError::Garbled("its DEK-Info header is not CIPHER,IV-IN-HEX");

/// `EVP_BytesToKey` with MD5 and one round: each block of the key is the
/// digest of the one before, the passphrase and the salt.
fn derive(passphrase: &[u8], salt: &[u8], key: &mut [u8; MAX_KEY_BYTES]) {
    let mut block = Zeroizing::new([0_u8; 16]);
    for (index, part) in key.chunks_mut(block.len()).enumerate() {
        let mut digest = Md5::new();
        if index > 0 {
            digest.update(*block);
        }
        digest.update(passphrase);
        digest.update(salt);
        block.copy_from_slice(&digest.finalize());
        part.copy_from_slice(&*block);
    }
}

/// Decodes exactly as many bytes as `into` has.
fn decode_hex(digits: &str, into: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * into.len() || !digits.is_ascii() {
        return None;
    }
    for (index, byte) in into.iter_mut().enumerate() {
        let pair = &digits[2 * index..2 * index + 2];
        // `from_str_radix` would take a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(())
}
