//! How is a credential made that nobody ever held?
//!
//! Key pairs, passphrases and the identifiers of an app, in the forms that
//! the provider's console gives them. All randomness is the system's, through
//! AWS-LC. Nothing here is written to a file.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use zeroize::Zeroizing;

use super::app_config::AppConfig;
use super::seal::{self, Sealing};
use super::secret::Secret;

/// The characters of client IDs, secrets and key IDs.
const ALPHANUMERIC: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The system has no randomness.
    #[error("the system yields no random bytes")]
    Random,
    /// The library made no key pair.
    #[error("no RSA key pair of {bits} bits was generated")]
    Key {
        /// The size that was asked for.
        bits: usize,
    },
    /// The key was not sealed.
    #[error("the key was not sealed")]
    Seal,
    /// The size is none that keys are generated in.
    #[error("an RSA key of {bits} bits is not generated, expected 2048, 3072 or 4096")]
    Size {
        /// The size that was asked for.
        bits: usize,
    },
}

/// The sizes in which RSA keys are generated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RsaBits {
    /// 2048 bits, as the console generates.
    #[default]
    B2048,
    /// 3072 bits.
    B3072,
    /// 4096 bits.
    B4096,
}

impl RsaBits {
    /// Every size, smallest first.
    pub const ALL: [Self; 3] = [Self::B2048, Self::B3072, Self::B4096];

    /// Returns the size in bits.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::B2048 => 2048,
            Self::B3072 => 3072,
            Self::B4096 => 4096,
        }
    }
}

impl TryFrom<usize> for RsaBits {
    type Error = GenerateError;

    fn try_from(bits: usize) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|size| size.bits() == bits)
            .ok_or(GenerateError::Size { bits })
    }
}

/// Generates an app: identifiers, a key pair and, if it is to be sealed, a
/// passphrase.
///
/// A sealing of [`Sealing::CONSOLE`] yields what the console hands out.
///
/// # Errors
///
/// The system has no randomness, or the library fails.
pub fn app_config(bits: RsaBits, sealing: Option<Sealing>) -> Result<AppConfig, GenerateError> {
    let pkcs8 = rsa_key(bits)?;
    let (private_key, passphrase) = match sealing {
        Some(sealing) => {
            let passphrase = passphrase()?;
            let text = seal::seal(&pkcs8, sealing, &passphrase)?;
            (text, Some(passphrase))
        }
        None => (seal::plain(&pkcs8), None),
    };
    Ok(AppConfig {
        client_id: client_id()?,
        client_secret: client_secret()?,
        public_key_id: key_id()?,
        private_key,
        passphrase,
        enterprise_id: Some(decimal_id()?),
        user_id: None,
    })
}

/// Generates an RSA key pair with the public exponent 65537, in PKCS#8 DER.
///
/// Takes 50 ms to some seconds, by size and luck.
///
/// # Errors
///
/// The library fails.
pub fn rsa_key(bits: RsaBits) -> Result<Zeroizing<Vec<u8>>, GenerateError> {
    let size = match bits {
        RsaBits::B2048 => KeySize::Rsa2048,
        RsaBits::B3072 => KeySize::Rsa3072,
        RsaBits::B4096 => KeySize::Rsa4096,
    };
    let failed = |_| GenerateError::Key { bits: bits.bits() };
    let pair = KeyPair::generate(size).map_err(failed)?;
    let der = pair.as_der().map_err(failed)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}

/// Generates a passphrase of 32 lower-case alphanumerics, about 165 bits.
///
/// # Errors
///
/// The system has no randomness.
pub fn passphrase() -> Result<Secret, GenerateError> {
    random_text(32).map(Secret::new)
}

/// Generates a client ID: 32 lower-case alphanumerics.
///
/// # Errors
///
/// The system has no randomness.
pub fn client_id() -> Result<String, GenerateError> {
    random_text(32)
}

/// Generates a client secret: 32 lower-case alphanumerics.
///
/// # Errors
///
/// The system has no randomness.
pub fn client_secret() -> Result<Secret, GenerateError> {
    random_text(32).map(Secret::new)
}

/// Generates a public key's ID: 8 lower-case alphanumerics.
///
/// # Errors
///
/// The system has no randomness.
pub fn key_id() -> Result<String, GenerateError> {
    random_text(8)
}

/// Generates the ID of an enterprise or a user: 9 decimal digits, of which
/// the first is not zero.
///
/// # Errors
///
/// The system has no randomness.
pub fn decimal_id() -> Result<String, GenerateError> {
    let mut text = random_from(b"123456789", 1)?;
    text.push_str(&random_from(b"0123456789", 8)?);
    Ok(text)
}

/// Draws lower-case alphanumerics, each as likely as the others.
pub(super) fn random_text(len: usize) -> Result<String, GenerateError> {
    random_from(ALPHANUMERIC, len)
}

/// Draws bytes.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], GenerateError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| GenerateError::Random)?;
    Ok(bytes)
}

fn random_from(alphabet: &[u8], len: usize) -> Result<String, GenerateError> {
    // Bytes from the last, incomplete round of the alphabet are drawn again;
    // a remainder alone would favour its first characters.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let drawn = Zeroizing::new(random_bytes::<64>()?);
        for byte in drawn.iter().map(|byte| usize::from(*byte)) {
            if byte < fair && text.len() < len {
                text.push(char::from(alphabet[byte % alphabet.len()]));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::KeyKind;

    #[test]
    fn a_generated_app_has_the_forms_of_the_console() {
        let config = app_config(RsaBits::B2048, Some(Sealing::CONSOLE)).unwrap();
        let is_alphanumeric = |text: &str, len| {
            text.len() == len
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        assert!(is_alphanumeric(&config.client_id, 32));
        assert!(is_alphanumeric(config.client_secret.expose(), 32));
        assert!(is_alphanumeric(&config.public_key_id, 8));
        assert!(
            config
                .enterprise_id
                .as_ref()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= 100_000_000
        );

        let credential = config.credential().unwrap();
        assert_eq!(
            credential.key.describe().to_string(),
            "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA1 x 2048, DES-EDE3-CBC"
        );
        let key = credential.key.open().unwrap();
        assert_eq!((key.kind(), key.bits()), (KeyKind::Rsa, 2048));
        assert_eq!(
            key.rsa_components().unwrap().public_exponent.as_bytes(),
            [1, 0, 1]
        );
    }

    #[test]
    fn every_character_is_drawn_about_as_often() {
        let drawn = random_text(360_000).unwrap();
        for character in ALPHANUMERIC {
            let count = drawn.bytes().filter(|byte| byte == character).count();
            // Ten thousand are expected, with a deviation of 99; six of them
            // are exceeded once in ten million runs. A plain remainder would
            // draw the first four characters 11250 times.
            assert!((9_408..=10_592).contains(&count), "{character}: {count}");
        }
    }

    #[test]
    fn nothing_is_generated_twice() {
        assert_ne!(client_id().unwrap(), client_id().unwrap());
        assert_ne!(passphrase().unwrap(), passphrase().unwrap());
    }
}
