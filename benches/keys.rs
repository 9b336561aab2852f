//! What does it cost to open a key, and to load it into a backend?
//!
//! The first group decrypts and parses the same RSA key of 2048 bits out of
//! each container, which is what a client pays that does so for every
//! assertion. The second hands a parsed key to each backend, which is paid
//! once by a client that keeps the signer.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mintmark::credential::generate::{RsaBits, rsa_key};
use mintmark::credential::{SealedKey, Secret};
use mintmark::signer::{Algorithm, PrivateKey, Registry};
use zeroize::Zeroizing;

macro_rules! fixtures {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../tests/fixtures/keys/", $name)).as_slice())),*]
    };
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for (name, bytes) in fixtures![
        "rsa-2048.pkcs1.der"
        "rsa-2048.pkcs8.der"
        "rsa-2048.pkcs1.pem"
        "rsa-2048.pem"
        "rsa-2048.dek-des3.pem"
        "rsa-2048.dek-aes256.pem"
        "rsa-2048.des3-sha1.pem"
        "rsa-2048.des3-sha256.pem"
        "rsa-2048.aes256-sha256.pem"
        "rsa-2048.aes128-sha512.pem"
        "rsa-2048.aes256-sha256-100000.pem"
        "rsa-2048.scrypt.pem"
    ] {
        let key = SealedKey::new(
            Zeroizing::new(bytes.to_vec()),
            Some(Secret::from("for tests alone")),
        )
        .expect("a fixture is a container");
        group.bench_with_input(
            BenchmarkId::from_parameter(name.trim_start_matches("rsa-2048.")),
            &key,
            |bencher, key| bencher.iter(|| black_box(key).open().expect("a fixture opens")),
        );
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    for bits in RsaBits::ALL {
        let der = rsa_key(bits).expect("a key is generated");
        let key = PrivateKey::from_pkcs8_der(&der).expect("a generated key parses");
        for backend in Registry::compiled().iter() {
            if backend.load(&key, Algorithm::Rs256).is_err() {
                continue;
            }
            let id = BenchmarkId::new(backend.facts().name, bits.bits());
            group.bench_with_input(id, &key, |bencher, key| {
                bencher.iter(|| backend.load(black_box(key), Algorithm::Rs256).ok());
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = open, load
}
criterion_main!(benches);
