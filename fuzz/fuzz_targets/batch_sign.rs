//! Are the batch engine's signatures those of a library, whatever is signed?
//!
//! The first byte chooses the key, the algorithm and how many messages there
//! are; the rest is cut into the messages. Every vector path that the processor
//! has signs them, and so does AWS-LC; the bytes have to be the same.
//!
//! `cargo fuzz run --features whole batch_sign` in this folder's parent.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use mintmark::signer::batch::{Batch, Path};
use mintmark::signer::{Algorithm, Backend, Job, PrivateKey, Registry, Signer};

const KEYS: [&str; 4] = [
    include_str!("../../tests/fixtures/batch/rsa2048.pem"),
    include_str!("../../tests/fixtures/batch/rsa2048-e3.pem"),
    include_str!("../../tests/fixtures/batch/rsa3072.pem"),
    include_str!("../../tests/fixtures/batch/rsa4096.pem"),
];

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512];

/// The signers of one key and algorithm: the library's, and one for each path.
struct Signers {
    library: Arc<dyn Signer>,
    engines: Vec<Arc<dyn Signer>>,
}

static SIGNERS: LazyLock<Vec<Signers>> = LazyLock::new(|| {
    let registry = Registry::compiled();
    let library = registry.get("aws-lc-rs").expect("it is in every build");
    let mut signers = Vec::new();
    for pem in KEYS {
        let pem = pem::parse(pem).expect("the fixture is PEM");
        let key = PrivateKey::from_pkcs8_der(pem.contents()).expect("the fixture is a key");
        for algorithm in ALGORITHMS {
            let paths = [Path::Ifma, Path::Avx2].into_iter();
            let engines = paths
                .filter(|path| path.unavailable().is_none())
                .flat_map(|path| [Batch::on(path), Batch::on(path).blinded()])
                .map(|backend| backend.load(&key, algorithm).expect("the key fits"))
                .collect();
            signers.push(Signers {
                library: library.load(&key, algorithm).expect("the key fits"),
                engines,
            });
        }
    }
    signers
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let choice = usize::from(*choice);
    let signers = &SIGNERS[choice % SIGNERS.len()];
    let count = 1 + choice / SIGNERS.len() % 9;
    let messages: Vec<&[u8]> = rest.chunks(rest.len().div_ceil(count).max(1)).collect();
    let length = signers.library.signature_len();
    let mut expected = vec![0; length * messages.len()];
    for (message, signature) in messages.iter().zip(expected.chunks_mut(length)) {
        let signed = signers.library.sign(message, signature);
        signed.expect("the library signs");
    }
    for engine in &signers.engines {
        let mut found = vec![0; length * messages.len()];
        let mut jobs: Vec<Job<'_>> = messages
            .iter()
            .zip(found.chunks_mut(length))
            .map(|(message, signature)| Job { message, signature })
            .collect();
        engine.sign_batch(&mut jobs).expect("the engine signs");
        assert!(found == expected, "the signatures differ");
    }
});
