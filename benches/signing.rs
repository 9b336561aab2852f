//! How long does one signature take, by backend, algorithm and key size?
//!
//! The same cases as `mintmark bench`, for those who compare two checkouts by
//! criterion's saved baselines. Times are the wall clock's and were not taken
//! in pairs: between backends, believe `mintmark bench`.
#![allow(missing_docs, clippy::unwrap_used)] // Criterion's macros make public items.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mintmark::bench::keys::generated;
use mintmark::bench::{USUAL_CLAIMS_BYTES, signing_inputs};
use mintmark::signer::{Algorithm, Job, Registry};

fn signing(criterion: &mut Criterion) {
    let registry = Registry::compiled();
    for (algorithm, sizes) in [
        (Algorithm::Rs256, [2048, 3072, 4096].as_slice()),
        (Algorithm::Ps256, &[2048]),
        (Algorithm::Es256, &[256]),
        (Algorithm::EdDsa, &[256]),
    ] {
        for bits in sizes {
            let key = generated(algorithm.key_kind(), *bits).unwrap().key;
            let (loaded, _) = registry.agreeing(&registry.names(), &key, algorithm);
            let mut group = criterion.benchmark_group(format!("{algorithm}-{bits}"));
            let messages = signing_inputs(algorithm, USUAL_CLAIMS_BYTES);
            for loaded in loaded {
                let signer = loaded.signer;
                let width = signer.batch_width().max(1);
                let mut signatures = vec![0; width * signer.signature_len()];
                let mut next = 0;
                group.throughput(Throughput::Elements(width as u64));
                group.bench_function(BenchmarkId::from_parameter(&loaded.name), |bencher| {
                    bencher.iter(|| {
                        let mut jobs: Vec<Job<'_>> = signatures
                            .chunks_exact_mut(signer.signature_len())
                            .zip(next..)
                            .map(|(signature, at)| Job {
                                message: black_box(&messages[at % messages.len()]),
                                signature,
                            })
                            .collect();
                        next = (next + width) % messages.len();
                        signer.sign_batch(&mut jobs).unwrap();
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    targets = signing
}
criterion_main!(benches);
