//! What does carrying and keeping one request cost?
//!
//! The exchange is that of the lean transport with a target that does nothing,
//! over one connection of the loopback interface: most of its time is the
//! kernel's and the target's. Keeping is what a request adds to histograms.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mintmark::credential::{PassphraseSource, Source, load};
use mintmark::load::calibrate::NullTarget;
use mintmark::load::transport::lean::Lean;
use mintmark::load::transport::{Connector, Endpoint, Limits, Reading, Tls, Transport};
use mintmark::oauth::Profile;
use mintmark::record::Histogram;
use mintmark::signer::Algorithm;
use mintmark::token::App;

fn exchange(c: &mut Criterion) {
    let target = NullTarget::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connector = Connector::new(
        Endpoint::of(&target.url()).unwrap(),
        &Tls::default(),
        &[],
        Limits::each(Duration::from_secs(10)),
        false,
    )
    .unwrap();
    let app = app();
    let assertion = [b'a'; 850];
    let mut lean = {
        let _inside = runtime.enter();
        Lean::new(Rc::new(connector), Reading::default(), true)
    };
    c.bench_function("lean exchange", |b| {
        b.iter_custom(|count| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..count {
                    let reply = lean.exchange(app.form(), &assertion).await;
                    assert!(reply.outcome.is_answered());
                }
                begun.elapsed()
            })
        });
    });
}

fn record(c: &mut Criterion) {
    let mut histograms = vec![Histogram::new(); 7];
    let mut ns = 1_u64;
    c.bench_function("seven histograms", |b| {
        b.iter(|| {
            ns = ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for histogram in &mut histograms {
                histogram.record_ns(black_box(ns >> 40));
            }
        });
    });
}

fn app() -> App {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/keys/app-config.json"
    );
    let (credential, _) = load(&Source::Config {
        path: path.into(),
        passphrase: PassphraseSource::Config,
    })
    .unwrap();
    App::new(
        &credential,
        &Profile::built_in("box").unwrap(),
        &BTreeMap::new(),
        Algorithm::Rs256,
        "http://127.0.0.1/oauth2/token",
    )
    .unwrap()
}

criterion_group!(benches, exchange, record);
criterion_main!(benches);
