//! How is a PEM block opened that its headers say is encrypted?
//!
//! OpenSSL's form of old: `Proc-Type: 4,ENCRYPTED` and `DEK-Info` (the syntax
//! is that of RFC 1421 §4.6.1), with a key that `EVP_BytesToKey` derives by
//! one round of MD5. It is read because `openssl genrsa -des3` wrote it for
//! twenty years, and it is never written.

use zeroize::Zeroizing;

use super::cipher::{Cipher, MAX_KEY_BYTES};
use super::container::ContainerError;
use super::derivation::Derivation;
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
        let key = &mut key[..self.cipher.key_len()];
        Derivation::Md5OneRound.derive(passphrase, &self.iv[..SALT_BYTES], key)?;
        let mut buffer = Zeroizing::new(data.to_vec());
        let iv = &self.iv[..self.cipher.block_len()];
        let len = self
            .cipher
            .decrypt(key, iv, &mut buffer)
            .ok_or(ContainerError::WrongPassphrase)?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

const GARBLED: ContainerError =
    ContainerError::Garbled("its DEK-Info header is not CIPHER,IV-IN-HEX");

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

#[cfg(test)]
mod tests {
    use super::super::pem;
    use super::*;

    #[test]
    fn headers_are_read_to_the_letter() {
        let sound = "Proc-Type: 4,ENCRYPTED\nDEK-Info: des-ede3-cbc, 0123456789abcdEF";
        let dek = read(sound).unwrap().unwrap();
        assert_eq!(dek.cipher, Cipher::DesEde3Cbc);
        assert_eq!(
            dek.iv[..8],
            [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
        );

        for clear in ["", "Proc-Type: 4,MIC-CLEAR", "DEK-Info: DES-EDE3-CBC,00"] {
            assert!(read(clear).unwrap().is_none(), "{clear}");
        }
        for garbled in [
            "",
            "\nDEK-Info: DES-EDE3-CBC",
            "\nDEK-Info: DES-EDE3-CBC,",
            "\nDEK-Info: DES-EDE3-CBC,0123456789abcde",
            "\nDEK-Info: DES-EDE3-CBC,0123456789abcdeg",
            "\nDEK-Info: DES-EDE3-CBC,+123456789abcdef",
            "\nDEK-Info: DES-EDE3-CBC,0123456789abcdef01",
            "\nDEK-Info: DES-EDE3-CBC,0123456789abcd\u{e9}",
            "\nDEK-Info: AES-256-CBC,0123456789abcdef",
        ] {
            let error = read(&format!("Proc-Type: 4,ENCRYPTED{garbled}")).err();
            assert!(
                matches!(error, Some(ContainerError::Garbled(_))),
                "{garbled}: {error:?}"
            );
        }
    }

    fn read(headers: &str) -> Result<Option<Dek>, ContainerError> {
        let text = format!("-----BEGIN K-----\n{headers}\n\nAAAA\n-----END K-----\n");
        Dek::read(&pem::blocks(&text)?[0])
    }
}
