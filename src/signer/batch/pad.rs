//! What number does RSASSA-PKCS1-v1_5 sign for a message?
//!
//! EMSA-PKCS1-v1_5 (RFC 8017 §9.2): a hash, named by its DER prefix, behind
//! padding that fills the length of the modulus. The result is public.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};

use super::super::Algorithm;

/// A hash and the `DigestInfo` in front of it (RFC 8017 §9.2, note 1).
#[derive(Clone, Copy)]
pub(super) struct Padding {
    hash: &'static digest::Algorithm,
    prefix: [u8; 19],
}

impl Padding {
    /// Returns the padding of an algorithm, if it is RSASSA-PKCS1-v1_5.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        // The object identifiers are 2.16.840.1.101.3.4.2.{1,2,3}.
        let (hash, length, last_arc) = match algorithm {
            Algorithm::Rs256 => (&SHA256, 32, 1),
            Algorithm::Rs384 => (&SHA384, 48, 2),
            Algorithm::Rs512 => (&SHA512, 64, 3),
            _ => return None,
        };
        let prefix = [
            0x30,
            17 + length,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            last_arc,
            0x05,
            0x00,
            0x04,
            length,
        ];
        Some(Self { hash, prefix })
    }

    /// Fills `block`, which is as long as the modulus, with the encoding of
    /// `message`.
    pub(super) fn encode(&self, message: &[u8], block: &mut [u8]) {
        let digest = digest::digest(self.hash, message);
        let tail = self.prefix.len() + digest.as_ref().len();
        // Blocks have 256 bytes or more, and tails 83 or fewer.
        let (padding, rest) = block.split_at_mut(block.len() - tail);
        padding.fill(0xff);
        padding[0] = 0;
        padding[1] = 1;
        if let [.., last] = padding {
            *last = 0;
        }
        let (prefix, hash) = rest.split_at_mut(self.prefix.len());
        prefix.copy_from_slice(&self.prefix);
        hash.copy_from_slice(digest.as_ref());
    }
}
