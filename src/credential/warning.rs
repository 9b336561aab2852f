//! What may be remarked about a credential that works all the same?
//!
//! Warnings are values: a stable code, a sentence, and a hint what to do.
//! Nothing here prints; the face that loads a credential decides.

use std::fmt;
use std::path::PathBuf;

/// A remark about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The file can be read by others than its owner.
    Readable {
        /// The key, configuration or passphrase file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A passphrase was given, and the key is not encrypted.
    PassphraseUnused,
    /// The key is encrypted under one round of MD5 over the passphrase, which
    /// is guessed at billions of tries a second.
    WeakDerivation,
}

impl Warning {
    /// Returns the code by which scripts and documents name the warning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Readable { .. } => "credential-readable",
            Self::PassphraseUnused => "passphrase-unused",
            Self::WeakDerivation => "weak-key-derivation",
        }
    }

    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Readable { path, .. } => format!("chmod 600 {}", path.display()),
            Self::PassphraseUnused => {
                "encrypt the key with `openssl pkcs8 -topk8`, or leave the passphrase out".into()
            }
            Self::WeakDerivation => "convert the key with `openssl pkcs8 -topk8`".into(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable { path, mode } => write!(
                f,
                "{} can be read by others (mode {mode:04o})",
                path.display()
            ),
            Self::PassphraseUnused => {
                f.write_str("a passphrase was given, but the key is not encrypted")
            }
            Self::WeakDerivation => f.write_str(
                "the key is encrypted in the old PEM form, under one round of MD5 over the passphrase",
            ),
        }
    }
}
