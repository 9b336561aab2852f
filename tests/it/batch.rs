//! The batch backend through its public face: published vectors, and memory.

use mintmark::signer::batch::{Batch, Path};
use mintmark::signer::{Algorithm, Backend, Job, PrivateKey, Registry, Signer, verify};

use super::allocations::allocations;
use super::vectors::{hex, wycheproof};

/// The paths that run on this machine; the reason is printed for others.
#[allow(clippy::print_stdout)]
fn paths() -> Vec<Path> {
    Path::ALL
        .into_iter()
        .filter(|path| match path.unavailable() {
            None => true,
            Some(reason) => {
                println!("skipped: {path}: {reason}");
                false
            }
        })
        .collect()
}

fn sign_all(signer: &dyn Signer, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut signatures = vec![vec![0; signer.signature_len()]; messages.len()];
    let mut jobs: Vec<Job<'_>> = messages
        .iter()
        .zip(&mut signatures)
        .map(|(message, signature)| Job { message, signature })
        .collect();
    signer.sign_batch(&mut jobs).unwrap();
    signatures
}

/// Signs every vector of a file on every path and returns how many there were.
fn check_vectors(bits: usize) -> usize {
    let file = wycheproof(&format!("rsa_pkcs1_{bits}_sig_gen_test.json"));
    let mut checked = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let algorithm = match group["sha"].as_str().unwrap() {
            "SHA-256" => Algorithm::Rs256,
            "SHA-384" => Algorithm::Rs384,
            "SHA-512" => Algorithm::Rs512,
            _ => continue,
        };
        let key = PrivateKey::from_pkcs8_der(&hex(&group["privateKeyPkcs8"])).unwrap();
        let tests = group["tests"].as_array().unwrap();
        // A single vector is signed in every lane.
        let mut messages: Vec<_> = tests.iter().map(|test| hex(&test["msg"])).collect();
        let mut expected: Vec<_> = tests.iter().map(|test| hex(&test["sig"])).collect();
        messages = messages.iter().cycle().take(8).cloned().collect();
        expected = expected.iter().cycle().take(8).cloned().collect();
        for path in paths() {
            let signer = match Batch::on(path).load(&key, algorithm) {
                Ok(signer) => signer,
                Err(error) => {
                    // Three groups have primes of very different lengths.
                    assert!(error.to_string().contains("its primes have"), "{error}");
                    assert_eq!(tests[0]["flags"][0], "SmallPublicKey");
                    continue;
                }
            };
            checked += tests.len();
            assert!(
                sign_all(&*signer, &messages) == expected,
                "{bits} bits, {algorithm}, {path}: {}",
                tests[0]["comment"]
            );
        }
    }
    checked / paths().len()
}

#[test]
fn wycheproof_signatures_of_2048_bits_come_out() {
    let checked = check_vectors(2048);
    assert!(checked >= 24, "{checked}");
}

#[test]
fn wycheproof_signatures_of_3072_bits_come_out() {
    let checked = check_vectors(3072);
    assert!(checked >= 24, "{checked}");
}

#[test]
fn wycheproof_signatures_of_4096_bits_come_out() {
    let checked = check_vectors(4096);
    assert!(checked >= 24, "{checked}");
}

fn key() -> PrivateKey {
    let text = include_str!("../fixtures/batch/rsa2048.pem");
    PrivateKey::from_pkcs8_der(pem::parse(text).unwrap().contents()).unwrap()
}

#[test]
fn a_batch_allocates_nothing_once_its_thread_has_signed() {
    for path in paths() {
        let signer = Batch::on(path).load(&key(), Algorithm::Rs256).unwrap();
        let mut signatures = vec![[0; 256]; signer.batch_width()];
        let mut sign = || {
            let mut jobs: Vec<Job<'_>> = signatures
                .iter_mut()
                .map(|signature| Job {
                    message: b"message",
                    signature,
                })
                .collect();
            allocations(|| signer.sign_batch(&mut jobs).unwrap())
        };
        sign();
        assert_eq!(sign(), 0, "{path}");
    }
}

#[test]
fn the_registry_has_the_backend_and_it_agrees_with_the_others() {
    let registry = Registry::compiled();
    let (loaded, refused) = registry.agreeing(&registry.names(), &key(), Algorithm::Rs384);
    assert!(
        loaded.iter().any(|loaded| loaded.name == "batch"),
        "{refused:?}"
    );
    let batch = loaded.iter().find(|loaded| loaded.name == "batch").unwrap();
    let mut signature = [0; 256];
    batch.signer.sign(b"one", &mut signature).unwrap();
    assert!(verify(
        key().public_key().unwrap(),
        Algorithm::Rs384,
        b"one",
        &signature
    ));
}

#[test]
fn the_facts_say_which_path_runs_and_why() {
    let facts = |path| Batch::on(path).facts().caveats.join("; ");
    assert!(facts(Path::Ifma).contains("the AVX-512 IFMA path"));
    assert!(facts(Path::Avx2).contains("the AVX2 path"));
    assert!(facts(Path::Portable).contains("the portable path"));
    for path in paths() {
        let is_asked_for = facts(path).contains("as was asked for");
        assert_eq!(is_asked_for, path != Path::best(), "{path}");
    }
    assert_eq!(Batch::detect().path(), Path::best());
    assert_eq!(Batch::on(Path::Portable).unavailable(), None);
}
