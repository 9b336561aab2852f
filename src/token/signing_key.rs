//! What signs an app's assertions, once it is opened?
//!
//! A key is opened and handed to a backend once, as a [`SigningKey`]; all
//! workers share it.
//!
//! The opened key is not kept beside the backend's own object, and is
//! overwritten as soon as that is made. The object goes with the last user.
//! Nothing of it was found in memory after that with the backends `aws-lc-rs`,
//! `jsonwebtoken`, `graviola` and `batch`; `ring` and `rsa` leave copies, which
//! nobody outside of them can reach.
//!
//! A backend that is fastest in batches wants callers that meet: a key may
//! sign through a [`Mint`], whose threads gather what is asked for at the same
//! time while the callers await it.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::assertion::append_signature;
use crate::signer::{
    Algorithm, Backend, LoadError, Mint, MintConfig, MintError, PrivateKey, PublicKey, SignError,
    Signed, Signer,
};

/// Who makes a key's signatures.
enum Hand {
    /// The thread that asks.
    Own(Arc<dyn Signer>),
    /// Threads apart, which gather what several ask for.
    Mint(Arc<Mint>),
}

/// A key that is ready to sign, and the ID by which an endpoint knows it.
pub struct SigningKey {
    kid: Option<String>,
    algorithm: Algorithm,
    fingerprint: Option<[u8; 32]>,
    hand: Hand,
    /// Declared last, and thereby dropped after the signer.
    end: End,
}

impl SigningKey {
    /// Hands `key` to `backend`, which parses and checks it once.
    ///
    /// # Errors
    ///
    /// The backend lacks the algorithm or refuses the key.
    pub fn load(
        key: &PrivateKey,
        kid: Option<&str>,
        backend: &dyn Backend,
        algorithm: Algorithm,
    ) -> Result<Self, LoadError> {
        let mut loaded = Self::of_signer(backend.load(key, algorithm)?, kid, algorithm);
        loaded.fingerprint = key.public_key().map(PublicKey::fingerprint);
        Ok(loaded)
    }

    /// Takes a signer that was made elsewhere. Whoever keeps a clone of it
    /// keeps the key alive.
    #[must_use]
    pub fn of_signer(signer: Arc<dyn Signer>, kid: Option<&str>, algorithm: Algorithm) -> Self {
        Self::of_hand(Hand::Own(signer), kid, algorithm)
    }

    /// Takes a mint, whose threads sign while the callers await their
    /// signatures. Whoever keeps a clone of it keeps the key alive.
    ///
    /// The mint ends with the last user of the key, who waits for its threads.
    #[must_use]
    pub fn of_mint(mint: Arc<Mint>, kid: Option<&str>, algorithm: Algorithm) -> Self {
        Self::of_hand(Hand::Mint(mint), kid, algorithm)
    }

    fn of_hand(hand: Hand, kid: Option<&str>, algorithm: Algorithm) -> Self {
        Self {
            kid: kid.map(str::to_owned),
            algorithm,
            fingerprint: None,
            hand,
            end: End(Arc::default()),
        }
    }

    /// Has a mint sign with the same key; a key that has one keeps it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn minted(self, config: MintConfig) -> io::Result<Self> {
        match self.hand {
            Hand::Own(signer) => Ok(Self {
                hand: Hand::Mint(Arc::new(Mint::start(signer, config)?)),
                ..self
            }),
            Hand::Mint(_) => Ok(self),
        }
    }

    /// Returns the ID by which the endpoint knows the key.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the algorithm that the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the SHA-256 of the public half, where it is known.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&[u8; 32]> {
        self.fingerprint.as_ref()
    }

    /// Returns what signs on the calling thread; through a mint, it blocks
    /// until that has signed.
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        match &self.hand {
            Hand::Own(signer) => &**signer,
            Hand::Mint(mint) => &**mint,
        }
    }

    /// Returns the mint that signs, if one does.
    #[must_use]
    pub fn mint(&self) -> Option<&Arc<Mint>> {
        match &self.hand {
            Hand::Own(_) => None,
            Hand::Mint(mint) => Some(mint),
        }
    }

    /// Returns what is told of the key's end.
    pub(super) fn fate(&self) -> &Arc<Fate> {
        &self.end.0
    }

    /// Signs `message`, a JWS signing input, and appends the signature to it,
    /// which makes it a compact JWS.
    ///
    /// Without a mint it signs at once, on the calling thread; with one it
    /// awaits the signature, and dropping the future withdraws the request.
    ///
    /// # Errors
    ///
    /// The backend failed.
    pub async fn complete(&self, mut message: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let mut signature = Vec::new();
        match &self.hand {
            Hand::Own(signer) => {
                signature.resize(signer.signature_len(), 0);
                signer.sign(&message, &mut signature)?;
            }
            Hand::Mint(mint) => {
                let signed = mint.sign(message, signature, None).await;
                Signed { message, signature } = signed.map_err(|error| match error {
                    MintError::Sign(error) => error,
                    // Without a deadline, and with the mint held by the key,
                    // only a thread that panicked leaves a request unanswered.
                    MintError::Deadline | MintError::Closed => {
                        SignError::Backend { backend: "mint" }
                    }
                })?;
            }
        }
        append_signature(&mut message, &signature);
        Ok(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What those who wait for a key's end know of it.
#[derive(Default)]
pub(super) struct Fate {
    is_gone: AtomicBool,
    told: Notify,
}

impl Fate {
    /// Has the last user let go of the key?
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Waits until the last user has let go of the key.
    pub(super) async fn gone(&self) {
        let told = pin!(self.told.notified());
        if !self.is_gone() {
            told.await;
        }
    }
}

/// Tells of a key's end by being dropped with it.
struct End(Arc<Fate>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }
}
