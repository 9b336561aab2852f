//! What does gathering cost a lone caller, and what does it keep for many?
//!
//! Two questions, each measured in short alternating blocks within one run,
//! so that the machine's moods meet both sides:
//!
//! 1. One request in flight: the time of a signature through the mint less
//!    that of the same signer called directly, blocking and awaited.
//! 2. Many requests in flight: signatures a second of the mint's one thread,
//!    as a share of the same signer's own batches on one thread.
//!
//! Run it with `cargo bench --bench mint`; `-- BACKEND` names a backend.
#![allow(missing_docs, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use mintmark::credential::generate::{RsaBits, rsa_key};
use mintmark::signer::{
    Algorithm, Job, LoneCaller, Mint, MintConfig, PrivateKey, Registry, Signer,
};

const MESSAGE: usize = 420;
const BLOCKS: usize = 60;

fn main() {
    let registry = Registry::compiled();
    let name = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .unwrap_or_else(|| {
            let names = registry.names();
            let batch = names.iter().find(|name| name.as_str() == "batch");
            batch.map_or("aws-lc-rs", |name| name.as_str()).to_owned()
        });
    let der = rsa_key(RsaBits::B2048).expect("a key pair can be made");
    let key = PrivateKey::from_pkcs8_der(&der).expect("the key was just made");
    let signer = registry
        .get(&name)
        .expect("the argument names a backend")
        .load(&key, Algorithm::Rs256)
        .expect("the backend signs RS256");
    println!(
        "backend {name}, RSA-2048 RS256, batches of {}",
        signer.batch_width()
    );
    lone(&signer);
    for in_flight in [8, 16, 64, 256] {
        crowd(&signer, in_flight);
    }
}

/// Times a block of single signatures, in nanoseconds a signature.
fn timed(count: u32, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..count {
        work();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(count)
}

fn lone(signer: &Arc<dyn Signer>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made");
    let start = |lone| {
        let config = MintConfig {
            lone,
            ..MintConfig::with_threads(1)
        };
        Mint::start(Arc::clone(signer), config).expect("a thread can be started")
    };
    let (lending, threads) = (start(LoneCaller::Signs), start(LoneCaller::HandsOver));
    let message = vec![7; MESSAGE];
    let mut signature = vec![0; signer.signature_len()];
    let (mut direct, mut lent, mut handed) = (vec![], vec![], vec![]);
    let (mut awaited_lent, mut awaited) = (vec![], vec![]);
    for _ in 0..BLOCKS {
        direct.push(timed(20, || {
            signer.sign(&message, &mut signature).expect("it signs");
        }));
        lent.push(timed(20, || {
            let _ = lending.sign_blocking(message.clone(), Vec::new(), None);
        }));
        handed.push(timed(20, || {
            let _ = threads.sign_blocking(message.clone(), Vec::new(), None);
        }));
        for (mint, times) in [(&lending, &mut awaited_lent), (&threads, &mut awaited)] {
            times.push(runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..20 {
                    let _ = mint.sign(message.clone(), Vec::new(), None).await;
                }
                begun.elapsed().as_nanos() as f64 / 20.0
            }));
        }
    }
    let base = floor(&direct);
    println!("one request in flight, wall time, lower quartile of {BLOCKS} blocks of 20");
    println!("  the signer alone            {:>9.1} µs", base / 1e3);
    for (what, times) in [
        ("blocking, caller lent", &lent),
        ("blocking, handed over", &handed),
        ("awaited, caller lent", &awaited_lent),
        ("awaited, handed over", &awaited),
    ] {
        let time = floor(times);
        println!(
            "  {what:<27} {:>9.1} µs  {:+.2} µs",
            time / 1e3,
            (time - base) / 1e3
        );
    }
}

fn crowd(signer: &Arc<dyn Signer>, in_flight: usize) {
    const BLOCK: Duration = Duration::from_millis(200);
    let width = signer.batch_width().max(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made");
    let mint = Arc::new(
        Mint::start(Arc::clone(signer), MintConfig::with_threads(1))
            .expect("a thread can be started"),
    );
    let (mut own, mut gathered) = (vec![], vec![]);
    for _ in 0..8 {
        own.push(in_batches(&**signer, width, BLOCK));
        gathered.push(runtime.block_on(through(&mint, in_flight, BLOCK)));
    }
    let (own, gathered) = (best(&own), best(&gathered));
    let stats = mint.stats();
    println!(
        "{in_flight:>4} in flight: {gathered:>8.0}/s of {own:>8.0}/s, {:>5.1} %; {:.2} in a batch, {:?} gathering",
        gathered / own * 100.0,
        stats.mean_width().unwrap_or_default(),
        stats.mean_gathering().unwrap_or_default(),
    );
}

fn in_batches(signer: &dyn Signer, width: usize, block: Duration) -> f64 {
    let messages = vec![vec![7_u8; MESSAGE]; width];
    let mut signatures = vec![vec![0_u8; signer.signature_len()]; width];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < block {
        let mut jobs: Vec<Job<'_>> = messages
            .iter()
            .zip(&mut signatures)
            .map(|(message, signature)| Job { message, signature })
            .collect();
        signer.sign_batch(&mut jobs).expect("it signs");
        count += width;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn through(mint: &Arc<Mint>, in_flight: usize, block: Duration) -> f64 {
    let begun = Instant::now();
    let tasks = tokio::task::LocalSet::new();
    let total = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    for _ in 0..in_flight {
        let (mint, total) = (Arc::clone(mint), std::rc::Rc::clone(&total));
        tasks.spawn_local(async move {
            let (mut message, mut signature) = (vec![7_u8; MESSAGE], Vec::new());
            while begun.elapsed() < block {
                match mint.sign(message, signature, None).await {
                    Ok(signed) => (message, signature) = (signed.message, signed.signature),
                    Err(error) => panic!("{error}"),
                }
                total.set(total.get() + 1);
            }
        });
    }
    tasks.await;
    total.get() as f64 / begun.elapsed().as_secs_f64()
}

/// The lower quartile, which interruptions do not reach.
fn floor(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 4]
}

fn best(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}
