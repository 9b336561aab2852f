//! What stands in an app's configuration file?
//!
//! The JSON file that the provider's console hands out once, when it makes a
//! key pair for an app (`ENTERPRISEID_KEYID_config.json`). It is read
//! leniently where it is the provider's (unknown members) and strictly where
//! a mistake would come back as a puzzling answer of the endpoint. The same
//! shape is written for apps that the embedded broker makes.

use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use super::Credential;
use super::container::ContainerError;
use super::file::{self, FileError};
use super::members::Document;
use super::sealed::SealedKey;
use super::secret::Secret;

const CLIENT_ID: &str = "boxAppSettings.clientID";
const CLIENT_SECRET: &str = "boxAppSettings.clientSecret";
const PUBLIC_KEY_ID: &str = "boxAppSettings.appAuth.publicKeyID";
const PRIVATE_KEY: &str = "boxAppSettings.appAuth.privateKey";
const PASSPHRASE: &str = "boxAppSettings.appAuth.passphrase";
const ENTERPRISE_ID: &str = "enterpriseID";
const USER_ID: &str = "userID";

/// An app's configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppConfig {
    /// `boxAppSettings.clientID`, the issuer of assertions.
    pub client_id: String,
    /// `boxAppSettings.clientSecret`.
    pub client_secret: Secret,
    /// `boxAppSettings.appAuth.publicKeyID`, the `kid` of assertions.
    pub public_key_id: String,
    /// `boxAppSettings.appAuth.privateKey`, a PEM text.
    pub private_key: Secret,
    /// `boxAppSettings.appAuth.passphrase`; the provider allows to take it
    /// out of the file and to keep it elsewhere.
    pub passphrase: Option<Secret>,
    /// `enterpriseID`, a decimal number as a string.
    pub enterprise_id: Option<String>,
    /// `userID`, which some clients read in the place of the enterprise.
    pub user_id: Option<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no JSON.
    #[error("the file is no JSON")]
    Json(#[from] serde_json::Error),
    /// The JSON is an array, a string, …
    #[error("the file holds no JSON object, expected one with boxAppSettings and enterpriseID")]
    NotAnObject,
    /// A member is not there.
    #[error("{path} is missing")]
    Missing {
        /// The member's full path.
        path: String,
    },
    /// A member is the empty string.
    #[error("{path} is empty")]
    Empty {
        /// The member's full path.
        path: String,
    },
    /// A member is a number; the endpoint refuses IDs that are not strings.
    #[error("{path} is a number, expected a string: put it in quotes")]
    Number {
        /// The member's full path.
        path: String,
    },
    /// A member is something else than it should be.
    #[error("{path} is {found}, expected {expected}")]
    NotA {
        /// The member's full path.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The file was downloaded without an enterprise.
    #[error(
        "enterpriseID is \"0\": the file was downloaded by an account outside of any enterprise, and the endpoint would refuse the sub claim; put the enterprise's ID there, or a userID"
    )]
    NoEnterprise,
}

impl AppConfig {
    /// Reads the file's text.
    ///
    /// An empty or null passphrase counts as absent. The enterprise may be
    /// missing (or `"0"`) only if there is a `userID`.
    ///
    /// # Errors
    ///
    /// The text is no JSON, or a member is missing or no string; the error
    /// names it by its full path.
    pub fn from_json(text: &[u8]) -> Result<Self, ConfigError> {
        Self::from_document(&mut Document::parse(text)?)
    }

    pub(super) fn from_document(document: &mut Document) -> Result<Self, ConfigError> {
        let client_id = document.require(CLIENT_ID)?;
        let client_secret = document.require(CLIENT_SECRET)?.into();
        let public_key_id = document.require(PUBLIC_KEY_ID)?;
        let private_key = document.require(PRIVATE_KEY)?.into();
        let passphrase = document
            .take(PASSPHRASE)?
            .map(Secret::new)
            .filter(|secret| !secret.is_empty());
        let user_id = document.take(USER_ID)?.filter(|id| !id.is_empty());
        let enterprise_id = match document.take(ENTERPRISE_ID)? {
            Some(id) if id == "0" && user_id.is_none() => return Err(ConfigError::NoEnterprise),
            Some(id) if id == "0" => None,
            Some(id) if id.is_empty() && user_id.is_none() => {
                return Err(ConfigError::Empty {
                    path: ENTERPRISE_ID.to_owned(),
                });
            }
            Some(id) if id.is_empty() => None,
            None if user_id.is_none() => {
                return Err(ConfigError::Missing {
                    path: ENTERPRISE_ID.to_owned(),
                });
            }
            id => id,
        };
        Ok(Self {
            client_id,
            client_secret,
            public_key_id,
            private_key,
            passphrase,
            enterprise_id,
            user_id,
        })
    }

    /// Writes the text of the file, in the provider's order of members.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<String> {
        let file = FileShape {
            box_app_settings: AppShape {
                client_id: &self.client_id,
                client_secret: self.client_secret.expose(),
                app_auth: AuthShape {
                    public_key_id: &self.public_key_id,
                    private_key: self.private_key.expose(),
                    passphrase: self.passphrase.as_ref().map(Secret::expose),
                },
            },
            enterprise_id: self.enterprise_id.as_deref(),
            user_id: self.user_id.as_deref(),
        };
        // A buffer that need not grow leaves no copies behind; the text of a
        // key grows by its escaped line ends.
        let mut text = Zeroizing::new(Vec::with_capacity(
            4096 + 2 * self.private_key.expose().len(),
        ));
        serde_json::to_writer_pretty(&mut *text, &file)
            .expect("strings under constant names serialise into memory");
        text.push(b'\n');
        let text = std::mem::take(&mut *text);
        Zeroizing::new(String::from_utf8(text).expect("serde_json writes UTF-8"))
    }

    /// Writes the file with a mode of 0600, in the place of any older one.
    ///
    /// Whoever looks meanwhile sees the old file or the whole new one.
    ///
    /// # Errors
    ///
    /// The system refuses; no half-written file is left.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        file::write(path, self.to_json().as_bytes())
    }

    /// Makes the credential, with the file's own passphrase.
    ///
    /// # Errors
    ///
    /// The private key's container is not recognised or not supported.
    pub fn credential(&self) -> Result<Credential, ContainerError> {
        let bytes = Zeroizing::new(self.private_key.expose().as_bytes().to_vec());
        Ok(Credential {
            client_id: self.client_id.clone(),
            client_secret: Some(self.client_secret.clone()),
            key_id: Some(self.public_key_id.clone()),
            enterprise_id: self.enterprise_id.clone(),
            user_id: self.user_id.clone(),
            token_url: None,
            key: SealedKey::new(bytes, self.passphrase.clone())?,
        })
    }
}

#[derive(Serialize)]
struct FileShape<'a> {
    #[serde(rename = "boxAppSettings")]
    box_app_settings: AppShape<'a>,
    #[serde(rename = "enterpriseID", skip_serializing_if = "Option::is_none")]
    enterprise_id: Option<&'a str>,
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AppShape<'a> {
    #[serde(rename = "clientID")]
    client_id: &'a str,
    #[serde(rename = "clientSecret")]
    client_secret: &'a str,
    #[serde(rename = "appAuth")]
    app_auth: AuthShape<'a>,
}

#[derive(Serialize)]
struct AuthShape<'a> {
    #[serde(rename = "publicKeyID")]
    public_key_id: &'a str,
    #[serde(rename = "privateKey")]
    private_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<&'a str>,
}
