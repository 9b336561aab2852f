//! Where does a passphrase come from?
//!
//! From the configuration file, an environment variable, a file or the
//! terminal; never from an argument, which every user of the machine can
//! list. The terminal is asked only if somebody sits at it.

use std::env;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use super::file::{self, FileError};
use super::secret::Secret;
use super::warning::Warning;

/// Where a passphrase comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The configuration file itself; of a bare key, nowhere.
    #[default]
    Config,
    /// The environment variable of that name.
    Env(String),
    /// A file, less one line end after its text.
    Path(PathBuf),
    /// The terminal, without echo.
    Prompt,
    /// Nowhere, whatever the configuration file holds.
    None,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// The environment variable is not set.
    #[error("the environment variable {name} is not set, expected the passphrase in it")]
    EnvMissing {
        /// The variable's name.
        name: String,
    },
    /// The passphrase is no UTF-8.
    #[error("the passphrase from {origin} is not UTF-8")]
    NotUtf8 {
        /// The variable or the file.
        origin: String,
    },
    /// The passphrase has no character.
    #[error("the passphrase from {origin} is empty")]
    Empty {
        /// The variable, the file or the terminal.
        origin: String,
    },
    /// The passphrase file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody sits at the terminal.
    #[error(
        "standard input is no terminal and nobody can be asked for the passphrase, expected it in an environment variable or a file"
    )]
    NoTerminal,
    /// The terminal failed, or the prompt was left.
    #[error("the passphrase was not read from the terminal")]
    Terminal(#[source] io::Error),
}

impl PassphraseSource {
    /// Reads the passphrase of the key in `key_file`; `None` where the source
    /// is the configuration file, or nowhere.
    ///
    /// Adds a warning if others can read a passphrase file.
    ///
    /// # Errors
    ///
    /// The source does not yield a passphrase.
    pub fn read(
        &self,
        key_file: &Path,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Secret>, PassphraseError> {
        match self {
            Self::Config | Self::None => Ok(None),
            Self::Env(name) => from_env(name).map(Some),
            Self::Path(path) => from_file(path, warnings).map(Some),
            Self::Prompt => from_terminal(key_file, io::stdin().is_terminal()).map(Some),
        }
    }
}

fn from_env(name: &str) -> Result<Secret, PassphraseError> {
    let origin = || format!("the environment variable {name}");
    let text = env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => PassphraseError::EnvMissing {
            name: name.to_owned(),
        },
        env::VarError::NotUnicode(_) => PassphraseError::NotUtf8 { origin: origin() },
    })?;
    not_empty(Secret::new(text), origin)
}

fn from_file(path: &Path, warnings: &mut Vec<Warning>) -> Result<Secret, PassphraseError> {
    let origin = || path.display().to_string();
    let bytes = file::read(path, warnings)?;
    let text = str::from_utf8(&bytes).map_err(|_| PassphraseError::NotUtf8 { origin: origin() })?;
    let text = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(text);
    not_empty(Secret::from(text), origin)
}

fn from_terminal(key_file: &Path, somebody_is_there: bool) -> Result<Secret, PassphraseError> {
    if !somebody_is_there {
        return Err(PassphraseError::NoTerminal);
    }
    let text = rpassword::prompt_password(format!("passphrase for {}: ", key_file.display()))
        .map_err(PassphraseError::Terminal)?;
    not_empty(Secret::new(text), || "the terminal".to_owned())
}

fn not_empty(
    passphrase: Secret,
    origin: impl FnOnce() -> String,
) -> Result<Secret, PassphraseError> {
    if passphrase.is_empty() {
        Err(PassphraseError::Empty { origin: origin() })
    } else {
        Ok(passphrase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_where_nobody_sits() {
        let error = from_terminal(Path::new("key.pem"), false).unwrap_err();
        assert!(matches!(error, PassphraseError::NoTerminal), "{error}");
    }
}
