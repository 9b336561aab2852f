//! What does an assertion cost besides its signature?
//!
//! `signing input` is header and claims, encoded into a reused buffer;
//! `SHA-256 of it` is what any signer adds before its private-key operation;
//! `compact form` appends a signature of 256 bytes.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mintmark::assertion::{Builder, Subject, append_signature};
use mintmark::oauth::Profile;
use mintmark::signer::Algorithm;

const NOW: Duration = Duration::from_secs(1_795_000_000);

fn builder() -> Builder {
    let profile = Profile::built_in("box").expect("the profile is compiled in");
    let bindings = profile
        .bindings(&BTreeMap::new())
        .with("client_id", "k3yu8h9w1nabcdefghijklmnopqrstuv")
        .with("kid", "abcdefgh");
    Builder::new(
        &profile.template(),
        &bindings,
        Algorithm::Rs256,
        profile.lifetime.0,
    )
    .expect("every variable of the profile is set")
}

fn assertion(c: &mut Criterion) {
    let subject = Subject::user("12345678901");
    let mut group = c.benchmark_group("assertion");
    let mut builder = builder();
    let mut out = Vec::new();
    group.bench_function("signing input", |b| {
        b.iter(|| {
            out.clear();
            builder.write_signing_input(black_box(NOW), &subject, &mut out);
            black_box(&out);
        });
    });
    let input = out.clone();
    group.bench_function("SHA-256 of it", |b| {
        b.iter(|| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, black_box(&input)));
    });
    let signature = [0x5a; 256];
    group.bench_function("compact form", |b| {
        b.iter(|| {
            out.truncate(input.len());
            append_signature(&mut out, black_box(&signature));
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, assertion);
criterion_main!(benches);
