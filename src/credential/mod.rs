//! What does a user hold, and how is it read?
//!
//! A [`Credential`] is what a token client needs: whose assertion it is, and
//! the key that signs it. It is made from an app's configuration file
//! ([`AppConfig`]), from a service account's file, or from a bare key file
//! and some fields; [`load`] does all of that in one call. [`generate`] makes
//! credentials that never existed before.
//!
//! Nothing here signs, prints or keeps an opened key. Secrets are zeroized on
//! drop, are in no `Debug` form and in no error. What a JSON parser or a
//! library copies on its way, and what the system swaps out, is beyond reach.

pub mod generate;

mod app_config;
mod cipher;
mod container;
mod dek;
mod derivation;
mod file;
mod members;
mod packing;
mod passphrase;
mod pbes2;
mod pem;
mod schemes;
mod seal;
mod sealed;
mod secret;
mod service_account;
mod source;
mod warning;

pub use self::app_config::{AppConfig, ConfigError};
pub use self::cipher::Cipher;
pub use self::container::{Container, ContainerError, Encoding, Encryption, Scheme, Structure};
pub use self::derivation::{Derivation, MAX_PBKDF2_ROUNDS, MAX_SCRYPT_BYTES, MAX_SCRYPT_WORK, Prf};
pub use self::file::{FileError, MAX_FILE_BYTES};
#[cfg(feature = "fleet")]
pub(crate) use self::file::{read as read_file, write as write_file};
pub use self::packing::{PackingError, pack, unpack};
pub use self::passphrase::{PassphraseError, PassphraseSource};
pub use self::seal::{Sealing, plain, seal};
pub use self::sealed::SealedKey;
pub use self::secret::Secret;
pub use self::service_account::ServiceAccount;
pub use self::source::{CredentialError, Source, load};
pub use self::warning::Warning;

/// Whose assertions are signed, and with which key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The client ID, which is the issuer of assertions; of a service account
    /// its e-mail address.
    pub client_id: String,
    /// The client secret, if the endpoint asks for one beside the assertion.
    pub client_secret: Option<Secret>,
    /// The ID by which the endpoint knows the public key (`kid`).
    pub key_id: Option<String>,
    /// The enterprise that an assertion may speak for.
    pub enterprise_id: Option<String>,
    /// The user that an assertion may speak for.
    pub user_id: Option<String>,
    /// The token endpoint, if the file names one, as a service account's does.
    pub token_url: Option<String>,
    /// The key, not opened.
    pub key: SealedKey,
}
