//! Backends agree with each other and with published vectors, byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use mintmark::signer::registry::Refused;
use mintmark::signer::{Algorithm, KeyKind, PrivateKey, PublicKey, Registry, Signer, verify};

use crate::keys;
use crate::vectors::{self, hex};

const PKCS1: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512];
const PSS: [Algorithm; 3] = [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512];

/// The backends that can run on this machine.
fn usable(registry: &Registry) -> Vec<String> {
    registry
        .iter()
        .filter(|backend| backend.unavailable().is_none())
        .map(|backend| backend.facts().name)
        .collect()
}

fn signed(signer: &dyn Signer, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; signer.signature_len()];
    signer.sign(message, &mut signature).unwrap();
    signature
}

type Named = (String, Arc<dyn Signer>);

/// Loads a key everywhere; the names that took it, and the reasons of others.
fn load_all(key: &PrivateKey, algorithm: Algorithm) -> (Vec<Named>, Vec<Refused>) {
    let registry = Registry::compiled();
    let (loaded, refused) = registry.agreeing(&usable(&registry), key, algorithm);
    (
        loaded
            .into_iter()
            .map(|loaded| (loaded.name, loaded.signer))
            .collect(),
        refused,
    )
}

#[test]
fn the_default_build_has_its_backends() {
    let names = Registry::compiled().names();
    for name in [
        "aws-lc-rs",
        "ring",
        "graviola",
        "rsa",
        "rsa-unblinded",
        "jsonwebtoken",
        "pkcs11",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    for absent in Registry::absent() {
        assert!(!names.iter().any(|known| known == absent.name));
    }
}

#[test]
fn every_fact_is_told() {
    for backend in Registry::compiled().iter() {
        let facts = backend.facts();
        for (what, text) in [
            ("library", &facts.library),
            ("licence", &facts.licence),
            ("linkage", &facts.linkage),
            ("blinding", &facts.blinding),
            ("fault check", &facts.fault_check),
        ] {
            assert!(!text.is_empty(), "{} has no {what}", facts.name);
        }
        assert!(
            facts.version.starts_with(|c: char| c.is_ascii_digit()),
            "{}: {}",
            facts.name,
            facts.version
        );
        assert!(!facts.algorithms.is_empty(), "{}", facts.name);
    }
}

#[test]
fn pkcs1_signatures_are_the_same_bytes_everywhere() {
    let message = vectors::message(485);
    for bits in [2048, 3072, 4096] {
        for algorithm in PKCS1 {
            let (loaded, refused) = load_all(&keys::rsa(bits), algorithm);
            assert!(refused.is_empty(), "{refused:?}");
            assert!(loaded.len() >= 5);
            let first = signed(&*loaded[0].1, &message);
            for (name, signer) in &loaded {
                assert_eq!(signer.signature_len(), bits / 8);
                assert_eq!(
                    signed(&**signer, &message),
                    first,
                    "{name} {algorithm} {bits}"
                );
            }
        }
    }
}

#[test]
fn generated_signatures_are_the_published_ones() {
    let mut checked = BTreeMap::<String, u32>::new();
    for bits in [2048, 3072, 4096] {
        let file = vectors::wycheproof(&format!("rsa_pkcs1_{bits}_sig_gen_test.json"));
        for group in file["testGroups"].as_array().unwrap() {
            let algorithm = match group["sha"].as_str().unwrap() {
                "SHA-256" => Algorithm::Rs256,
                "SHA-384" => Algorithm::Rs384,
                "SHA-512" => Algorithm::Rs512,
                _ => continue,
            };
            let key = PrivateKey::from_pkcs8_der(&hex(&group["privateKeyPkcs8"])).unwrap();
            let (loaded, refused) = load_all(&key, algorithm);
            for test in group["tests"].as_array().unwrap() {
                for (name, signer) in &loaded {
                    let made = signed(&**signer, &hex(&test["msg"]));
                    assert_eq!(made, hex(&test["sig"]), "{name}, test {}", test["tcId"]);
                    *checked.entry(name.clone()).or_default() += 1;
                }
            }
            // Only the exponent of three is anybody's reason to refuse.
            let is_odd_key = group["tests"][0]["flags"]
                .as_array()
                .unwrap()
                .iter()
                .any(|flag| flag == "SmallPublicKey");
            assert!(refused.is_empty() || is_odd_key, "{refused:?}");
        }
    }
    for (name, count) in &checked {
        assert!(*count >= 64, "{name} was checked {count} times only");
    }
    assert!(checked.len() >= 5, "{checked:?}");
}

#[test]
fn verification_follows_the_published_verdicts() {
    let files = [
        ("rsa_signature_2048_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_2048_sha384_test.json", Algorithm::Rs384),
        ("rsa_signature_2048_sha512_test.json", Algorithm::Rs512),
        ("rsa_signature_3072_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_4096_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_4096_sha512_test.json", Algorithm::Rs512),
        ("rsa_pss_2048_sha256_mgf1_32_test.json", Algorithm::Ps256),
        ("rsa_pss_4096_sha512_mgf1_64_test.json", Algorithm::Ps512),
    ];
    let (mut accepted, mut rejected) = (0, 0);
    for (name, algorithm) in files {
        let file = vectors::wycheproof(name);
        for group in file["testGroups"].as_array().unwrap() {
            let key = PublicKey::from_pem(group["publicKeyPem"].as_str().unwrap()).unwrap();
            for test in group["tests"].as_array().unwrap() {
                let is_valid = verify(&key, algorithm, &hex(&test["msg"]), &hex(&test["sig"]));
                match test["result"].as_str().unwrap() {
                    "valid" => {
                        assert!(is_valid, "{name}, test {}", test["tcId"]);
                        accepted += 1;
                    }
                    "invalid" => {
                        assert!(!is_valid, "{name}, test {}", test["tcId"]);
                        rejected += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(accepted > 50 && rejected > 500, "{accepted}, {rejected}");
}

#[test]
fn randomised_signatures_verify_with_two_libraries() {
    let message = vectors::message(485);
    let cases = PSS
        .map(|algorithm| (keys::rsa(2048), algorithm))
        .into_iter()
        .chain([
            (keys::fixture("p256"), Algorithm::Es256),
            (keys::fixture("p384"), Algorithm::Es384),
            (keys::fixture("ed25519"), Algorithm::EdDsa),
        ]);
    for (key, algorithm) in cases {
        let (loaded, _) = load_all(&key, algorithm);
        assert!(loaded.len() >= 4, "{algorithm}");
        let public = keys::public_half(&key);
        for (name, signer) in &loaded {
            let mut made = signed(&**signer, &message);
            assert!(
                vectors::ring_verifies(&public, algorithm, &message, &made),
                "{name} {algorithm}"
            );
            made[7] ^= 1;
            assert!(!vectors::ring_verifies(&public, algorithm, &message, &made));
        }
    }
}

#[test]
fn the_backends_that_sign_other_than_rsa_are_the_ones_that_say_so() {
    for (name, kind, algorithm) in [
        ("p256", KeyKind::P256, Algorithm::Es256),
        ("p384", KeyKind::P384, Algorithm::Es384),
        ("ed25519", KeyKind::Ed25519, Algorithm::EdDsa),
    ] {
        let key = keys::fixture(name);
        assert_eq!(key.kind(), kind);
        let registry = Registry::compiled();
        let (loaded, _) = registry.agreeing(&usable(&registry), &key, algorithm);
        let signing: Vec<_> = loaded.iter().map(|loaded| loaded.name.as_str()).collect();
        for backend in registry.iter() {
            let facts = backend.facts();
            let says_so = facts.algorithms.contains(&algorithm);
            let is_usable = backend.unavailable().is_none();
            assert_eq!(
                signing.contains(&facts.name.as_str()),
                says_so && is_usable,
                "{} {algorithm}",
                facts.name
            );
        }
    }
}

#[test]
fn unusual_keys_work_or_are_refused_with_a_reason() {
    let message = vectors::message(100);
    for name in [
        "rsa-2048-3-primes",
        "rsa-2048-e-3",
        "rsa-2048-e-33-bits",
        "rsa-2048-unequal-primes",
        "rsa-2049",
        "rsa-2050",
        "rsa-2056",
        "rsa-8192",
    ] {
        let key = keys::fixture(name);
        let (loaded, refused) = load_all(&key, Algorithm::Rs256);
        let public = key.public_key().unwrap();
        for (backend, signer) in &loaded {
            let made = signed(&**signer, &message);
            assert_eq!(made.len(), key.bits().div_ceil(8), "{backend} {name}");
            assert!(
                verify(public, Algorithm::Rs256, &message, &made),
                "{backend} {name}"
            );
        }
        for refused in &refused {
            println!("{name}: {} refused: {}", refused.name, refused.reason);
            assert!(refused.reason.len() > 10, "{refused:?}");
        }
        assert!(!loaded.is_empty(), "{name} is of no use to anybody");
    }
}

#[test]
fn a_damaged_key_never_signs() {
    let key = keys::rsa(2048);
    let der = key.pkcs1_der().unwrap();
    let parts = key.rsa_components().unwrap();
    let place = |part: &[u8]| {
        der.windows(part.len())
            .position(|window| window == part)
            .unwrap()
            + part.len()
            - 9
    };
    for at in [
        place(parts.prime1.as_bytes()),
        place(parts.exponent1.as_bytes()),
        place(parts.coefficient.as_bytes()),
    ] {
        let mut damaged = der.to_vec();
        damaged[at] ^= 0x10;
        let damaged = PrivateKey::from_pkcs1_der(&damaged).unwrap();
        let registry = Registry::compiled();
        for backend in registry.iter().filter(|b| b.unavailable().is_none()) {
            let name = backend.facts().name;
            let Ok(signer) = backend.load(&damaged, Algorithm::Rs256) else {
                continue;
            };
            let mut signature = vec![0; signer.signature_len()];
            if signer.sign(b"message", &mut signature).is_ok() {
                // OpenSSL computes again without the damaged parts.
                let public = damaged.public_key().unwrap();
                assert!(
                    verify(public, Algorithm::Rs256, b"message", &signature),
                    "{name} handed out a faulty signature, which gives the key away"
                );
            }
        }
    }
}

#[test]
fn a_shared_signer_serves_many_threads() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 12;
    let (loaded, _) = load_all(&keys::rsa(2048), Algorithm::Rs256);
    let messages: Vec<_> = (0..ROUNDS).map(|len| vectors::message(len * 97)).collect();
    let expected: Vec<_> = messages
        .iter()
        .map(|message| signed(&*loaded[0].1, message))
        .collect();
    for (name, signer) in &loaded {
        std::thread::scope(|scope| {
            for first in 0..THREADS {
                let (messages, expected) = (&messages, &expected);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let at = (first + round) % ROUNDS;
                        assert_eq!(signed(&**signer, &messages[at]), expected[at], "{name}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_buffer_of_another_length_is_refused() {
    for (key, algorithm) in [
        (keys::rsa(2048), Algorithm::Rs256),
        (keys::fixture("p256"), Algorithm::Es256),
        (keys::fixture("ed25519"), Algorithm::EdDsa),
    ] {
        for (name, signer) in load_all(&key, algorithm).0 {
            for len in [0, signer.signature_len() - 1, signer.signature_len() + 1] {
                assert!(
                    signer.sign(b"m", &mut vec![0; len]).is_err(),
                    "{name} {len}"
                );
            }
        }
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    for backend in Registry::compiled().iter() {
        let wrong = backend.load(&keys::fixture("p256"), Algorithm::Rs256);
        assert!(wrong.is_err(), "{}", backend.facts().name);
        let wrong = backend.load(&keys::rsa(2048), Algorithm::EdDsa);
        assert!(wrong.is_err(), "{}", backend.facts().name);
    }
}
