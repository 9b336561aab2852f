//! Which arithmetic signs, and how many messages are worth it?

use std::sync::Arc;

use super::super::{SignError, Signer, check_buffer};
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::crt::VectorKey;
#[cfg(target_arch = "x86_64")]
use super::ifma::Ifma;
#[cfg(target_arch = "x86_64")]
use super::kernel::Kernel;
#[cfg(target_arch = "x86_64")]
use super::lanes::Lanes;
use super::pad::Padding;
use super::portable::PortableKey;
use super::{Components, NAME, Path, Verified};

/// Signs padded messages together.
pub(super) trait Together: Send + Sync {
    /// Signs padded messages in place, at most a full batch of them.
    ///
    /// Each block is as long as the modulus and represents a number below it.
    /// Returns the blocks that hold a signature that was checked; the others
    /// hold zeros.
    fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified;
}

/// A key in the form that one path needs.
pub(super) struct Engine {
    key: Box<dyn Together>,
    /// The messages of a full batch, and of one exponentiation.
    width: usize,
    step: usize,
    /// How many messages, of one exponentiation, make it worth running.
    pays_from: usize,
}

impl Engine {
    /// Prepares a key for a path, or says why the path cannot run.
    pub(super) fn load(path: Path, key: &Components, blinded: bool) -> Result<Self, String> {
        if let Some(reason) = path.unavailable() {
            return Err(reason);
        }
        match path {
            Path::Portable if blinded => Err("the portable path has no blinding".into()),
            Path::Portable => Ok(Self {
                key: Box::new(PortableKey::new(key)),
                width: 1,
                step: 1,
                pays_from: path.pays_from(),
            }),
            #[cfg(target_arch = "x86_64")]
            Path::Ifma => Self::on::<Ifma>(path, key, blinded),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => Self::on::<Avx2>(path, key, blinded),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Ifma | Path::Avx2 => Err("it needs x86-64".into()),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn on<A: Kernel>(path: Path, key: &Components, blinded: bool) -> Result<Self, String> {
        let kernel = A::detect().ok_or("the processor lacks its features")?;
        Ok(Self {
            key: match key.blocks() {
                2 => Box::new(VectorKey::<A, 2, 4>::new(kernel, key, blinded)),
                3 => Box::new(VectorKey::<A, 3, 6>::new(kernel, key, blinded)),
                _ => Box::new(VectorKey::<A, 4, 8>::new(kernel, key, blinded)),
            },
            width: A::Lanes::COUNT,
            step: A::Lanes::HALF,
            pays_from: path.pays_from(),
        })
    }

    /// Signs padded messages in place, at most [`Self::width`] of them, and
    /// returns which signatures were checked.
    pub(super) fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified {
        self.key.sign(blocks)
    }

    /// Returns how many messages make a full batch.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Returns how many of `waiting` messages to sign at once; 0 if none is
    /// worth it.
    pub(super) fn worth(&self, waiting: usize) -> usize {
        let waiting = waiting.min(self.width);
        let left_over = waiting % self.step;
        if left_over < self.pays_from {
            waiting - left_over
        } else {
            waiting
        }
    }
}

impl Together for PortableKey {
    fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified {
        let mut verified = Verified::default();
        for (lane, block) in blocks.iter_mut().enumerate() {
            if self.sign_one(block) {
                verified.set(lane);
            }
        }
        verified
    }
}

/// Names the features of a path that the processor lacks, if any.
pub(super) fn missing_features(path: Path) -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    {
        let missing = match path {
            Path::Ifma => Ifma::missing(),
            Path::Avx2 => Avx2::missing(),
            Path::Portable => Vec::new(),
        };
        (!missing.is_empty()).then(|| missing.join(" and "))
    }
    #[cfg(not(target_arch = "x86_64"))]
    (path != Path::Portable).then(|| "x86-64 instructions".into())
}

/// Signs one message at a time by the portable path, for keys that no library
/// takes.
struct PortableSigner {
    key: PortableKey,
    padding: Padding,
    length: usize,
}

/// Makes such a signer, if the numbers of the key belong together.
pub(super) fn portable_if_sound(key: &Components, padding: Padding) -> Option<Arc<dyn Signer>> {
    let signer = PortableSigner {
        key: PortableKey::new(key),
        padding,
        length: key.length(),
    };
    let mut trial = vec![0; signer.length];
    signer.sign(b"trial", &mut trial).ok()?;
    Some(Arc::new(signer))
}

impl Signer for PortableSigner {
    fn signature_len(&self) -> usize {
        self.length
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.length)?;
        self.padding.encode(message, signature);
        if self.key.sign_one(signature) {
            Ok(())
        } else {
            Err(SignError::Backend { backend: NAME })
        }
    }
}
