//! What stands in a Google service account's file?
//!
//! `service_account.json` holds another provider's names for the same things:
//! an issuer, a key and its ID. It is recognised by its `type`.

use super::Credential;
use super::app_config::ConfigError;
use super::container::ContainerError;
use super::members::Document;
use super::sealed::SealedKey;
use super::secret::Secret;
use zeroize::Zeroizing;

/// A Google service account's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// `client_email`, the issuer of assertions.
    pub client_email: String,
    /// `private_key_id`, the `kid` of assertions.
    pub private_key_id: String,
    /// `private_key`, a PEM text that is not encrypted.
    pub private_key: Secret,
    /// `token_uri`, where assertions are traded for tokens.
    pub token_uri: Option<String>,
}

impl ServiceAccount {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// The text is no JSON, or a member is missing or no string.
    pub fn from_json(text: &[u8]) -> Result<Self, ConfigError> {
        Self::from_document(&mut Document::parse(text)?)
    }

    /// Is the document such a file?
    pub(super) fn is_in(document: &Document) -> bool {
        document.has("client_email") && document.has("private_key")
    }

    pub(super) fn from_document(document: &mut Document) -> Result<Self, ConfigError> {
        Ok(Self {
            client_email: document.require("client_email")?,
            private_key_id: document.require("private_key_id")?,
            private_key: document.require("private_key")?.into(),
            token_uri: document.take("token_uri")?,
        })
    }

    /// Makes the credential; its client ID is the account's e-mail address.
    ///
    /// # Errors
    ///
    /// The private key's container is not recognised or not supported.
    pub fn credential(&self) -> Result<Credential, ContainerError> {
        let bytes = Zeroizing::new(self.private_key.expose().as_bytes().to_vec());
        Ok(Credential {
            client_id: self.client_email.clone(),
            client_secret: None,
            key_id: Some(self.private_key_id.clone()),
            enterprise_id: None,
            user_id: None,
            token_url: self.token_uri.clone(),
            key: SealedKey::new(bytes, None)?,
        })
    }
}
