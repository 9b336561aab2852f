//! With which keys of the user's own is signed, as flags?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::bench::SigningKey;
use crate::credential::{PassphraseSource, Source, load};

/// Keys that are brought, and where their passphrase comes from.
#[derive(Debug, Args)]
pub(super) struct KeyFlags {
    /// A key to sign with: an app's configuration file, or PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Vec<PathBuf>,

    /// The environment variable that holds the keys' passphrase.
    #[arg(long, value_name = "NAME", requires = "key", conflicts_with_all = ["passphrase_file", "passphrase_prompt"])]
    passphrase_env: Option<String>,

    /// The file that holds the keys' passphrase.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        conflicts_with = "passphrase_prompt"
    )]
    passphrase_file: Option<PathBuf>,

    /// Ask for the keys' passphrase at the terminal.
    #[arg(long, requires = "key")]
    passphrase_prompt: bool,
}

impl KeyFlags {
    /// Reads and opens the keys. What is remarkable about them goes to
    /// standard error.
    ///
    /// # Errors
    ///
    /// A file holds no key that is usable, or the passphrase is wrong.
    pub(super) fn read(&self) -> Result<Vec<SigningKey>, Failure> {
        self.key.iter().map(|path| self.read_one(path)).collect()
    }

    fn read_one(&self, path: &Path) -> Result<SigningKey, Failure> {
        let passphrase = match (&self.passphrase_env, &self.passphrase_file) {
            (Some(name), _) => PassphraseSource::Env(name.clone()),
            (_, Some(path)) => PassphraseSource::Path(path.clone()),
            _ if self.passphrase_prompt => PassphraseSource::Prompt,
            _ => PassphraseSource::Config,
        };
        // A configuration is JSON; PEM and DER never begin with a brace.
        let is_config = fs::read(path).is_ok_and(|bytes| {
            bytes
                .iter()
                .find(|byte| !byte.is_ascii_whitespace())
                .is_some_and(|byte| *byte == b'{')
        });
        let path = path.to_owned();
        let source = if is_config {
            Source::Config { path, passphrase }
        } else {
            Source::Key {
                path,
                passphrase,
                client_id: String::new(),
                client_secret: None,
                key_id: None,
                enterprise_id: None,
                user_id: None,
            }
        };
        let (credential, warnings) = load(&source).map_err(Failure::usage)?;
        for warning in warnings {
            eprintln!("mintmark: note: {warning}; {}", warning.hint());
        }
        let key = credential.key.open().map_err(Failure::usage)?;
        Ok(SigningKey {
            key: Arc::new(key),
            sealed: Some(credential.key),
        })
    }
}
