//! Where does a `jti` that nobody else uses come from?
//!
//! An identifier is three numbers in base64url: 128 random bits drawn once
//! per process, the number of the source within the process, and a count
//! within the source. Two sources of a process differ in the second, two
//! assertions of a source in the third, and two processes in the first but
//! for a chance of 2⁻¹²⁸. No lock and no random number is needed to mint one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The length of every `jti` in characters; providers accept 16 to 128.
pub const JTI_LEN: usize = 43;

/// A source of identifiers, owned by one builder.
#[derive(Debug)]
pub struct JtiSource {
    bytes: [u8; 32],
    count: u64,
}

impl JtiSource {
    /// Makes a source whose identifiers no other source yields.
    #[must_use]
    pub fn new() -> Self {
        static SOURCES: AtomicU64 = AtomicU64::new(0);
        let number = SOURCES.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(process_nonce());
        bytes[16..24].copy_from_slice(&number.to_be_bytes());
        Self { bytes, count: 0 }
    }

    /// Writes the next identifier.
    pub fn write_next(&mut self, text: &mut [u8; JTI_LEN]) {
        self.bytes[24..].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        // 32 bytes are 43 characters without padding (RFC 4648 §5).
        let written = URL_SAFE_NO_PAD.encode_slice(self.bytes, text);
        debug_assert_eq!(written, Ok(JTI_LEN));
    }
}

impl Default for JtiSource {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns what every identifier of this process begins with, but for its last
/// two bits: no two processes of one load may share it.
#[must_use]
pub fn space() -> String {
    URL_SAFE_NO_PAD.encode(process_nonce())
}

fn process_nonce() -> &'static [u8; 16] {
    static NONCE: OnceLock<[u8; 16]> = OnceLock::new();
    NONCE.get_or_init(|| {
        let mut nonce = [0; 16];
        SystemRandom::new()
            .fill(&mut nonce)
            .expect("the system's random source answers once it has been seeded");
        nonce
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn identifiers_of_many_threads_and_sources_never_repeat() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    let mut found = Vec::new();
                    for _ in 0..4 {
                        let mut source = JtiSource::new();
                        for _ in 0..500 {
                            let mut text = [0; JTI_LEN];
                            source.write_next(&mut text);
                            found.push(text);
                        }
                    }
                    found
                })
            })
            .collect();
        let all: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let unique: HashSet<_> = all.iter().collect();
        assert_eq!(all.len(), 8 * 4 * 500);
        assert_eq!(unique.len(), all.len());
        assert!(all[0].iter().all(u8::is_ascii_graphic));
    }

    #[test]
    fn the_process_part_is_the_same_within_a_process() {
        let (mut a, mut b) = ([0; JTI_LEN], [0; JTI_LEN]);
        JtiSource::new().write_next(&mut a);
        JtiSource::new().write_next(&mut b);
        // 16 bytes fill 21 characters and two bits of the next.
        assert_eq!(a[..21], b[..21]);
        assert_ne!(a, b);
    }
}
