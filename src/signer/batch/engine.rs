//! Which arithmetic signs, and how many messages are worth it?

use std::sync::Arc;

use super::super::{SignError, Signer, check_buffer};
#[cfg(target_arch = "x86_64")]
use super::crt::VectorKey;
use super::pad::Padding;
use super::portable::PortableKey;
use super::{Components, HALF, LANES, NAME, PAYS_FROM, Path, Verified};

/// A key in the form that one path needs.
pub(super) enum Engine {
    #[cfg(target_arch = "x86_64")]
    Rsa2048(Box<VectorKey<2, 4>>),
    #[cfg(target_arch = "x86_64")]
    Rsa3072(Box<VectorKey<3, 6>>),
    #[cfg(target_arch = "x86_64")]
    Rsa4096(Box<VectorKey<4, 8>>),
    Portable(Box<PortableKey>),
}

impl Engine {
    /// Prepares a key for a path, or says why the path cannot run.
    pub(super) fn load(path: Path, key: &Components, blinded: bool) -> Result<Self, String> {
        if let Some(reason) = path.unavailable() {
            return Err(reason);
        }
        match path {
            Path::Portable if blinded => Err("the portable path has no blinding".into()),
            Path::Portable => Ok(Self::Portable(Box::new(PortableKey::new(key)))),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the path is available, so that the processor has the
            // features of `VectorKey`.
            Path::Ifma => Ok(unsafe {
                match key.blocks() {
                    2 => Self::Rsa2048(Box::new(VectorKey::new(key, blinded))),
                    3 => Self::Rsa3072(Box::new(VectorKey::new(key, blinded))),
                    _ => Self::Rsa4096(Box::new(VectorKey::new(key, blinded))),
                }
            }),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Ifma => Err("it needs x86-64".into()),
        }
    }

    /// Signs padded messages in place, at most [`Self::width`] of them, and
    /// returns which signatures were checked.
    pub(super) fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified {
        match self {
            // SAFETY: a `VectorKey` was made, by a function that needs the
            // same features of the processor as this one.
            #[cfg(target_arch = "x86_64")]
            Self::Rsa2048(key) => unsafe { key.sign(blocks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Rsa3072(key) => unsafe { key.sign(blocks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Rsa4096(key) => unsafe { key.sign(blocks) },
            Self::Portable(key) => {
                let mut verified = Verified::default();
                for (lane, block) in blocks.iter_mut().enumerate() {
                    if key.sign(block) {
                        verified.set(lane);
                    }
                }
                verified
            }
        }
    }

    /// Returns how many messages make a full batch.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Portable(_) => 1,
            #[cfg(target_arch = "x86_64")]
            _ => LANES,
        }
    }

    /// Returns how many of `waiting` messages to sign at once; 0 if none is
    /// worth it.
    pub(super) fn worth(&self, waiting: usize) -> usize {
        if self.width() == 1 {
            return waiting.min(1);
        }
        let waiting = waiting.min(LANES);
        let left_over = waiting % HALF;
        if left_over < PAYS_FROM {
            waiting - left_over
        } else {
            waiting
        }
    }
}

/// Names the features of the vector path that the processor lacks, if any.
pub(super) fn missing_features() -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut missing = Vec::new();
        if !is_x86_feature_detected!("avx512f") {
            missing.push("avx512f");
        }
        if !is_x86_feature_detected!("avx512ifma") {
            missing.push("avx512ifma");
        }
        (!missing.is_empty()).then(|| missing.join(" and "))
    }
    #[cfg(not(target_arch = "x86_64"))]
    Some("x86-64 instructions".into())
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
        if self.key.sign(signature) {
            Ok(())
        } else {
            Err(SignError::Backend { backend: NAME })
        }
    }
}
