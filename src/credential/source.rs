//! How does a file become a credential in one call?
//!
//! [`load`] reads the file, finds out what it is, gets the passphrase if one
//! is needed and proves that the key opens, so that every mistake of a user
//! shows at once and by the file's name. The opened key is not kept.

use std::path::{Path, PathBuf};

use super::Credential;
use super::app_config::{AppConfig, ConfigError};
use super::container::{ContainerError, Scheme};
use super::file::{self, FileError};
use super::members::Document;
use super::passphrase::{PassphraseError, PassphraseSource};
use super::sealed::SealedKey;
use super::secret::Secret;
use super::service_account::ServiceAccount;
use super::warning::Warning;

/// Where a credential comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A configuration file: an app's, or a Google service account's.
    Config {
        /// The JSON file.
        path: PathBuf,
        /// Where the passphrase is, if not in the file.
        passphrase: PassphraseSource,
    },
    /// A bare key, in PEM or DER, and what a configuration file would say.
    Key {
        /// The key file.
        path: PathBuf,
        /// Where the passphrase is.
        passphrase: PassphraseSource,
        /// The client ID, which is the issuer.
        client_id: String,
        /// The client secret, if the endpoint asks for one.
        client_secret: Option<Secret>,
        /// The ID by which the endpoint knows the public key.
        key_id: Option<String>,
        /// The enterprise that an assertion may speak for.
        enterprise_id: Option<String>,
        /// The user that an assertion may speak for.
        user_id: Option<String>,
    },
}

impl Source {
    /// Returns the file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Config { path, .. } | Self::Key { path, .. } => path,
        }
    }
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The file was not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no configuration that can be used.
    #[error("{} cannot be used", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The key in the file is not usable, or does not open.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// The configuration or key file.
        path: PathBuf,
        /// What is wrong with it.
        source: ContainerError,
    },
    /// The passphrase was not read.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// Reads a credential and proves that its key opens.
///
/// The passphrase is asked for only if the key is encrypted.
///
/// # Errors
///
/// A file cannot be read or used, the passphrase is missing or wrong, or the
/// key is of a kind or size that no algorithm here uses.
pub fn load(source: &Source) -> Result<(Credential, Vec<Warning>), CredentialError> {
    let mut warnings = Vec::new();
    let path = source.path();
    let unusable = |source| CredentialError::Key {
        path: path.to_owned(),
        source,
    };
    let bytes = file::read(path, &mut warnings)?;
    let (mut credential, passphrase) = match source {
        Source::Config { passphrase, .. } => {
            let credential = from_config(&bytes)
                .map_err(|source| CredentialError::Config {
                    path: path.to_owned(),
                    source,
                })?
                .map_err(unusable)?;
            (credential, passphrase)
        }
        Source::Key {
            passphrase,
            client_id,
            client_secret,
            key_id,
            enterprise_id,
            user_id,
            ..
        } => {
            let credential = Credential {
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                key_id: key_id.clone(),
                enterprise_id: enterprise_id.clone(),
                user_id: user_id.clone(),
                token_url: None,
                key: SealedKey::new(bytes, None).map_err(unusable)?,
            };
            (credential, passphrase)
        }
    };
    credential.key = with_passphrase(credential.key, passphrase, path, &mut warnings)?;
    credential.key.open().map_err(unusable)?;
    Ok((credential, warnings))
}

/// Reads whichever configuration file it is.
fn from_config(text: &[u8]) -> Result<Result<Credential, ContainerError>, ConfigError> {
    let mut document = Document::parse(text)?;
    if ServiceAccount::is_in(&document) {
        Ok(ServiceAccount::from_document(&mut document)?.credential())
    } else {
        Ok(AppConfig::from_document(&mut document)?.credential())
    }
}

fn with_passphrase(
    key: SealedKey,
    source: &PassphraseSource,
    path: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<SealedKey, CredentialError> {
    let Some(encryption) = key.describe().encryption else {
        let elsewhere = !matches!(source, PassphraseSource::Config | PassphraseSource::None);
        if elsewhere || key.has_passphrase() {
            warnings.push(Warning::PassphraseUnused);
        }
        return Ok(key);
    };
    if encryption.scheme == Scheme::PemHeaders {
        warnings.push(Warning::WeakDerivation);
    }
    Ok(match source {
        PassphraseSource::Config => key,
        other => {
            let passphrase = other.read(path, warnings)?;
            key.with_passphrase(passphrase)
        }
    })
}
