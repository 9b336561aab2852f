//! Are the signatures byte for byte those of the libraries?

use num_bigint::BigUint;

use super::super::super::aws_lc::AwsLc;
use super::super::super::rust_crypto::RustCrypto;
use super::super::super::{
    Algorithm, Backend, Job, LoadError, PrivateKey, SignError, Signer, verify,
};
use super::super::components::Components;
use super::super::engine::Engine;
use super::super::natural::Natural;
use super::super::{Batch, BatchSigner, Padding, Path};
use super::{Random, big, paths, vector_paths};

const SIZES: [&str; 3] = ["rsa2048", "rsa3072", "rsa4096"];

/// Reads a key that was made for tests.
fn key(name: &str) -> PrivateKey {
    let path = format!(
        "{}/tests/fixtures/batch/{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    PrivateKey::from_pkcs8_der(pem::parse(text).unwrap().contents()).unwrap()
}

fn sign_all(signer: &dyn Signer, messages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, SignError> {
    let mut signatures = vec![vec![0; signer.signature_len()]; messages.len()];
    let mut jobs: Vec<Job<'_>> = messages
        .iter()
        .zip(&mut signatures)
        .map(|(message, signature)| Job { message, signature })
        .collect();
    signer.sign_batch(&mut jobs)?;
    Ok(signatures)
}

/// Makes messages of different lengths.
fn messages(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..count)
        .map(|_| {
            let length = random.limb() % 700;
            (0..length)
                .map(|_| random.limb().to_le_bytes()[0])
                .collect()
        })
        .collect()
}

/// Signs padded blocks without padding, hashing or help.
fn raise(engine: &Engine, key: &Components, values: &[BigUint]) -> Vec<Option<BigUint>> {
    let mut blocks: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            let bytes = value.to_bytes_be();
            let mut block = vec![0; key.length()];
            block[key.length() - bytes.len()..].copy_from_slice(&bytes);
            block
        })
        .collect();
    let mut together: Vec<&mut [u8]> = blocks.iter_mut().map(Vec::as_mut_slice).collect();
    let verified = engine.sign(&mut together);
    blocks
        .iter()
        .enumerate()
        .map(|(lane, block)| {
            let value = BigUint::from_bytes_be(block);
            if verified.contains(lane) {
                return Some(value);
            }
            assert_eq!(value, BigUint::ZERO, "a wrong signature got out");
            None
        })
        .collect()
}

#[test]
fn signatures_are_those_of_aws_lc() {
    for name in SIZES {
        let key = key(name);
        for path in paths() {
            for algorithm in [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512] {
                let signer = Batch::on(path).load(&key, algorithm).unwrap();
                let library = AwsLc.load(&key, algorithm).unwrap();
                let messages = messages(signer.batch_width(), 1);
                assert_eq!(
                    sign_all(&*signer, &messages).unwrap(),
                    sign_all(&*library, &messages).unwrap(),
                    "{name} {path} {algorithm}"
                );
            }
        }
    }
}

#[test]
fn any_number_of_messages_is_signed() {
    let key = key("rsa2048");
    for path in paths() {
        let signer = Batch::on(path).load(&key, Algorithm::Rs256).unwrap();
        let counts: &[usize] = match path {
            Path::Ifma | Path::Avx2 => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 100],
            Path::Portable => &[0, 1, 3],
        };
        for count in counts {
            let messages = messages(*count, 2);
            let signatures = sign_all(&*signer, &messages).unwrap();
            for (message, signature) in messages.iter().zip(&signatures) {
                let public = key.public_key().unwrap();
                assert!(
                    verify(public, Algorithm::Rs256, message, signature),
                    "{count}"
                );
            }
        }
    }
}

#[test]
fn the_engine_signs_what_is_worth_it_and_leaves_the_rest() {
    let key = Components::of(&key("rsa2048")).unwrap();
    for path in vector_paths() {
        let engine = Engine::load(path, &key, false).unwrap();
        let width = engine.width();
        for waiting in 0..20 {
            let taken = engine.worth(waiting);
            assert!(taken <= waiting.min(width));
            assert_eq!(taken == 0, waiting < path.pays_from(), "{path} {waiting}");
        }
        assert_eq!(engine.worth(width + 1), width);
        assert_eq!(engine.worth(width / 2 + 1), width / 2);
    }
    // Whoever forces the portable path means its arithmetic.
    let portable = Engine::load(Path::Portable, &key, false).unwrap();
    assert_eq!((portable.worth(0), portable.worth(7)), (0, 1));
}

#[test]
fn a_processor_without_vectors_leaves_everything_to_the_library() {
    let key = key("rsa2048");
    let unforced = Batch {
        is_forced: false,
        ..Batch::on(Path::Portable)
    };
    let facts = unforced.facts();
    assert_eq!(facts.blinding, "as aws-lc-rs");
    assert!(facts.caveats[0].contains("aws-lc-rs signs every message"));
    let signer = unforced.load(&key, Algorithm::Rs256).unwrap();
    assert_eq!(signer.batch_width(), 1);
    let library = AwsLc.load(&key, Algorithm::Rs256).unwrap();
    let messages = messages(3, 8);
    assert_eq!(
        sign_all(&*signer, &messages).unwrap(),
        sign_all(&*library, &messages).unwrap()
    );
    assert!(unforced.blinded().load(&key, Algorithm::Rs256).is_err());
}

#[test]
fn edge_values_come_out_as_they_must() {
    for name in SIZES {
        let key = Components::of(&key(name)).unwrap();
        let (n, p, q) = (big(&key.n), big(&key.p), big(&key.q));
        let one = BigUint::from(1_u8);
        let edges = vec![
            BigUint::ZERO,
            one.clone(),
            &n - 1_u8,
            // One half or the other of the recombination is zero.
            p.clone(),
            q.clone(),
            &p * (&q - 1_u8),
            &q * (&p - 1_u8),
            &p + 1_u8,
            // Full digits, and full limbs.
            &one << (n.bits() - 1),
            (&one << (n.bits() - 1)) - 1_u8,
            (&one << 1040) - 1_u8,
            &one << 1040,
        ];
        let (dp, dq) = (big(&key.dp), big(&key.dq));
        for path in paths() {
            let engine = Engine::load(path, &key, false).unwrap();
            for values in edges.chunks(engine.width()) {
                for (value, found) in values.iter().zip(raise(&engine, &key, values)) {
                    let found = found.expect("the signature was checked");
                    assert!(found < n);
                    assert_eq!(&found % &p, value.modpow(&dp, &p), "{name} {path}");
                    assert_eq!(&found % &q, value.modpow(&dq, &q), "{name} {path}");
                }
            }
        }
    }
}

#[test]
fn any_odd_public_exponent_will_do() {
    // AWS-LC takes exponents up to 33 bits, the `rsa` crate up to 33 as well;
    // beyond that the checked definition of a signature must do.
    for name in ["rsa2048-e3", "rsa2048-e64", "rsa2048-e128"] {
        let key = key(name);
        let numbers = Components::of(&key).unwrap();
        let (n, e) = (big(&numbers.n), big(&numbers.e));
        for path in paths() {
            let signer = Batch::on(path).load(&key, Algorithm::Rs256).unwrap();
            let messages = messages(5, 3);
            let signatures = sign_all(&*signer, &messages).unwrap();
            for (message, signature) in messages.iter().zip(&signatures) {
                let mut block = vec![0; numbers.length()];
                Padding::of(Algorithm::Rs256)
                    .unwrap()
                    .encode(message, &mut block);
                assert_eq!(
                    BigUint::from_bytes_be(signature).modpow(&e, &n),
                    BigUint::from_bytes_be(&block),
                    "{name} {path}"
                );
            }
        }
    }
}

#[test]
fn blinded_signatures_are_the_same_ones() {
    for path in vector_paths() {
        for name in ["rsa2048", "rsa2048-e3", "rsa3072"] {
            let key = key(name);
            let plain = Batch::on(path);
            let blinded = plain.blinded();
            assert_ne!(blinded.facts().blinding, plain.facts().blinding);
            let plain = plain.load(&key, Algorithm::Rs256).unwrap();
            let blinded = blinded.load(&key, Algorithm::Rs256).unwrap();
            // More calls than a factor serves.
            let rounds = if name == "rsa2048" { 35 } else { 3 };
            let messages = messages(plain.batch_width(), 4);
            let expected = sign_all(&*plain, &messages).unwrap();
            for round in 0..rounds {
                assert_eq!(
                    sign_all(&*blinded, &messages).unwrap(),
                    expected,
                    "{path} {name} {round}"
                );
            }
        }
    }
}

#[test]
fn threads_share_a_signer() {
    let key = key("rsa2048");
    for path in paths() {
        for backend in [Batch::on(path), Batch::on(path).blinded()] {
            let Ok(signer) = backend.load(&key, Algorithm::Rs256) else {
                assert_eq!(path, Path::Portable, "only the vector path has blinding");
                continue;
            };
            let library = AwsLc.load(&key, Algorithm::Rs256).unwrap();
            std::thread::scope(|scope| {
                for seed in 0..4 {
                    let (signer, library) = (&signer, &library);
                    scope.spawn(move || {
                        let messages = messages(if path == Path::Portable { 2 } else { 20 }, seed);
                        assert_eq!(
                            sign_all(&**signer, &messages).unwrap(),
                            sign_all(&**library, &messages).unwrap()
                        );
                    });
                }
            });
        }
    }
}

/// Signs nothing, and remembers nothing.
struct Broken(usize);

impl Signer for Broken {
    fn signature_len(&self) -> usize {
        self.0
    }

    fn sign(&self, _: &[u8], _: &mut [u8]) -> Result<(), SignError> {
        Err(SignError::Backend { backend: "broken" })
    }
}

/// A key one of whose numbers has a wrong bit, as after a fault in memory.
fn faulty(name: &str, fault: usize) -> Components {
    let mut numbers = Components::of(&key(name)).unwrap();
    let number = match fault {
        0 => &mut numbers.dp,
        1 => &mut numbers.dq,
        2 => &mut numbers.qinv,
        _ => &mut numbers.e,
    };
    let mut limbs = number.limbs().to_vec();
    limbs[0] ^= 1 << 2;
    *number = Natural::from_limbs(&limbs);
    numbers
}

#[test]
fn a_fault_is_caught_and_the_library_signs_instead() {
    let key = key("rsa2048");
    let padding = Padding::of(Algorithm::Rs256).unwrap();
    let messages = messages(8, 5);
    let library = AwsLc.load(&key, Algorithm::Rs256).unwrap();
    let expected = sign_all(&*library, &messages).unwrap();
    for path in paths() {
        for fault in 0..4 {
            let numbers = faulty("rsa2048", fault);
            let engine = || Engine::load(path, &numbers, false).unwrap();
            let found = raise(&engine(), &numbers, &[BigUint::from(2_u8)]);
            assert_eq!(found, [None], "{path} fault {fault}");

            let signer = |single| BatchSigner {
                engine: engine(),
                padding,
                single,
                length: 256,
            };
            let mended = signer(library.clone());
            assert_eq!(sign_all(&mended, &messages).unwrap(), expected);
            let broken = signer(std::sync::Arc::new(Broken(256)));
            assert!(sign_all(&broken, &messages).is_err());
        }
    }
}

#[test]
fn a_wrong_lane_does_not_spoil_the_others() {
    // A message that is not below the modulus has no signature of its own.
    let numbers = Components::of(&key("rsa2048")).unwrap();
    let n = big(&numbers.n);
    for path in vector_paths() {
        let engine = Engine::load(path, &numbers, false).unwrap();
        let values: Vec<_> = (0..engine.width())
            .map(|lane| BigUint::from(lane) + if lane == 3 { n.clone() } else { BigUint::ZERO })
            .collect();
        let found = raise(&engine, &numbers, &values);
        for (lane, found) in found.iter().enumerate() {
            assert_eq!(found.is_some(), lane != 3, "{path} {lane}");
        }
    }
}

#[test]
fn keys_that_do_not_fit_are_refused_with_the_reason() {
    let refusal = |name: &str, algorithm| {
        let backend = Batch::on(Path::Portable);
        backend.load(&key(name), algorithm).err().unwrap()
    };
    let reason = refusal("rsa2560", Algorithm::Rs256).to_string();
    assert!(reason.contains("2560 bits, expected 2048"), "{reason}");
    let reason = refusal("rsa2048-primes3", Algorithm::Rs256).to_string();
    assert!(reason.contains("more than two primes"), "{reason}");
    let reason = refusal("rsa2048-unbalanced", Algorithm::Rs256).to_string();
    assert!(reason.contains("expected 1024 each"), "{reason}");
    assert!(matches!(
        refusal("rsa2048", Algorithm::Ps256),
        LoadError::Algorithm { .. }
    ));
}

#[test]
fn a_buffer_of_another_length_is_refused_before_anything_is_signed() {
    let key = key("rsa2048");
    let signer = Batch::detect().load(&key, Algorithm::Rs256).unwrap();
    let (mut good, mut bad) = ([7; 256], [7; 255]);
    let result = signer.sign_batch(&mut [
        Job {
            message: b"a",
            signature: &mut good,
        },
        Job {
            message: b"b",
            signature: &mut bad,
        },
    ]);
    assert!(matches!(
        result,
        Err(SignError::BufferLength {
            found: 255,
            expected: 256
        })
    ));
    assert_eq!(good, [7; 256]);
}

#[test]
fn the_other_pure_rust_library_agrees() {
    let key = key("rsa2048");
    let library = RustCrypto { is_blinded: true }
        .load(&key, Algorithm::Rs512)
        .unwrap();
    let signer = Batch::detect().load(&key, Algorithm::Rs512).unwrap();
    let messages = messages(3, 6);
    assert_eq!(
        sign_all(&*signer, &messages).unwrap(),
        sign_all(&*library, &messages).unwrap()
    );
}
