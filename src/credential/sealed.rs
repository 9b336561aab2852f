//! How does a key travel that is not opened yet?
//!
//! A [`SealedKey`] is the container's bytes and the passphrase, both zeroized
//! on drop. [`SealedKey::open`] decrypts and parses anew each time it is
//! called: SDKs differ in whether they do so once or for every assertion, and
//! the difference is measured with this.

use std::fmt;

use zeroize::Zeroizing;

use super::container::{self, Container, ContainerError};
use super::secret::Secret;
use crate::signer::PrivateKey;

/// A key's container, as it stands in the file, and what opens it.
#[derive(Clone)]
pub struct SealedKey {
    bytes: Zeroizing<Vec<u8>>,
    passphrase: Option<Secret>,
    container: Container,
}

impl SealedKey {
    /// Takes over the bytes of a container, in PEM or DER.
    ///
    /// A passphrase for a container that is not encrypted is kept and has no
    /// effect.
    ///
    /// # Errors
    ///
    /// The container is not recognised, not supported, or not of a private
    /// key. Whether the passphrase fits shows [`Self::open`].
    pub fn new(
        bytes: Zeroizing<Vec<u8>>,
        passphrase: Option<Secret>,
    ) -> Result<Self, ContainerError> {
        let container = container::describe(&bytes)?;
        Ok(Self {
            bytes,
            passphrase,
            container,
        })
    }

    /// Makes a sealed key with another passphrase of the same container.
    #[must_use]
    pub fn with_passphrase(self, passphrase: Option<Secret>) -> Self {
        Self { passphrase, ..self }
    }

    /// Unwraps, decrypts and parses the key, anew in each call.
    ///
    /// # Errors
    ///
    /// The passphrase is missing or wrong, the key is damaged, or of a kind
    /// or size that no algorithm here uses.
    pub fn open(&self) -> Result<PrivateKey, ContainerError> {
        container::open(&self.bytes, self.passphrase.as_ref())
    }

    /// Returns the container as it stands in the file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what opens it.
    pub(super) fn passphrase(&self) -> Option<&Secret> {
        self.passphrase.as_ref()
    }

    /// Is a passphrase needed?
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.container.encryption.is_some()
    }

    /// Is a passphrase there, needed or not?
    #[must_use]
    pub fn has_passphrase(&self) -> bool {
        self.passphrase.is_some()
    }

    /// Says what the key is wrapped in; `to_string` suits a report.
    #[must_use]
    pub fn describe(&self) -> Container {
        self.container
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({})", self.container)
    }
}
