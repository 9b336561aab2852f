//! Keys: nothing of one is left in memory when its last user has gone.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;
use std::sync::Arc;

use mintmark::credential::{PassphraseSource, Source, load};
use mintmark::signer::{Algorithm, Registry};
use mintmark::token::{KeyRing, SigningKey};
use zeroize::Zeroize;

use crate::stage::fixture;

/// Says to the test that it runs in a process of its own, and for whom.
const ALONE: &str = "MINTMARK_TEST_BACKEND";

#[test]
fn a_key_of_the_default_backend_is_overwritten() {
    // Other tests hold the same key, in the same process.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "token::zeroized::alone",
            "--ignored",
            "--nocapture",
        ])
        .env(ALONE, "aws-lc-rs")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("while it is held: true"), "{text}");
    assert!(text.contains("after its last user: false"), "{text}");
}

#[test]
#[ignore = "needs a process of its own, in which another test runs it"]
fn alone() {
    let name = std::env::var(ALONE).unwrap_or_else(|_| "aws-lc-rs".into());
    let registry = Registry::compiled();
    let backend = registry.get(&name).unwrap();
    let (mut wanted, ring) = {
        fs::write(passphrase(), "for tests alone").unwrap();
        let (credential, _) = load(&Source::Key {
            path: fixture("rsa-2048.des3-sha1.pem"),
            passphrase: PassphraseSource::Path(passphrase()),
            client_id: "x".into(),
            client_secret: None,
            key_id: None,
            enterprise_id: None,
            user_id: None,
        })
        .unwrap();
        fs::remove_file(passphrase()).unwrap();
        let key = credential.key.open().unwrap();
        let prime = key.rsa_components().unwrap().prime1.as_bytes().to_vec();
        let signing = SigningKey::load(&key, Some("one"), &**backend, Algorithm::Rs256).unwrap();
        (Pattern::of(prime), KeyRing::new(signing))
    };
    let user = ring.current();
    let mut signature = vec![0; user.signer().signature_len()];
    user.signer().sign(b"message", &mut signature).unwrap();
    println!("while it is held: {}", wanted.is_in_memory());
    let other = rsa_other();
    let signing = SigningKey::load(&other, Some("two"), &**backend, Algorithm::Rs256).unwrap();
    let retired = ring.rotate(signing);
    assert!(!retired.is_gone());
    drop(user);
    assert!(retired.is_gone());
    println!("after its last user: {}", wanted.is_in_memory());
}

fn rsa_other() -> Arc<mintmark::signer::PrivateKey> {
    let der = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/broker_a.pk8"
    ))
    .unwrap();
    Arc::new(mintmark::signer::PrivateKey::from_pkcs8_der(&der).unwrap())
}

fn passphrase() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("mintmark-test-{}", std::process::id()))
}

/// The length of what is looked for, in bytes.
const HIDDEN: usize = 24;

/// Part of a number, in both byte orders, kept so that it is not found itself.
struct Pattern {
    hidden: [Vec<u8>; 2],
    page: Vec<u8>,
}

impl Pattern {
    fn of(mut number: Vec<u8>) -> Self {
        let middle = |bytes: &[u8]| -> Vec<u8> {
            let at = bytes.len() / 2;
            bytes[at..at + HIDDEN].iter().map(|byte| !byte).collect()
        };
        let big = middle(&number);
        let mut little = big.clone();
        little.reverse();
        number.zeroize();
        Self {
            hidden: [big, little],
            page: vec![0; 1 << 20],
        }
    }

    /// Looks through all memory that can be written to.
    fn is_in_memory(&mut self) -> bool {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = fs::File::open("/proc/self/mem").unwrap();
        let own = self.page.as_ptr() as usize;
        let mut is_found = false;
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let mut at = usize::from_str_radix(from, 16).unwrap();
            let end = usize::from_str_radix(to, 16).unwrap();
            while at < end {
                // What is read here would be found again.
                if (own..own + self.page.len()).contains(&at) {
                    at = own + self.page.len();
                    continue;
                }
                let mut len = self.page.len().min(end - at);
                if at < own {
                    len = len.min(own - at);
                }
                let wanted = u64::try_from(at).unwrap();
                if memory.seek(SeekFrom::Start(wanted)).is_err()
                    || memory.read_exact(&mut self.page[..len]).is_err()
                {
                    break;
                }
                let page = &self.page[..len];
                is_found |= self.hidden.iter().any(|hidden| {
                    memchr::memchr_iter(!hidden[0], page)
                        .filter_map(|at| page.get(at..at + HIDDEN))
                        .any(|window| window.iter().zip(hidden).all(|(a, b)| *a == !b))
                });
                // Two pieces overlap, so that nothing hides at a seam.
                at += if at + len < end && len > HIDDEN {
                    len - HIDDEN
                } else {
                    len
                };
            }
        }
        self.page.as_mut_slice().zeroize();
        is_found
    }
}
