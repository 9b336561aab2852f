//! Can the time of a batch tell one key, or one message, from another?
//!
//! After dudect (Reparaz, Balasch, Verbauwhede 2017): two classes of inputs
//! are signed in random order, and Welch's t says whether their mean times
//! differ. In one trial the key is the same or changes, in another the message
//! is. The key is loaded anew before every measurement and signs once before
//! the clock starts, so that both classes find it at the same addresses and in
//! the same caches. It is the thread's processor time, so that other programs
//! are left out; the slowest measurements, which are interrupts, are cut off at
//! several percentiles, and the largest |t| counts.
//!
//! A |t| above 10 is taken as a leak. As a control the same test looks at the
//! variable-time power of num-bigint, where it has to find one.
//!
//! `cargo bench --bench batch_timing -- [--measurements N] [--path PATH]`, the
//! path being ifma, avx2 or portable, or else all of them; ends with a failure
//! if there is a leak, or none in the control.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::hint::black_box;
use std::process::ExitCode;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use mintmark::clock::thread_cpu;
use mintmark::signer::batch::{Batch, Path};
use mintmark::signer::{Algorithm, Backend, Job, PrivateKey, Signer};
use num_bigint::BigUint;

/// The |t| above which the means are taken to differ.
///
/// dudect calls 4.5 suspicious and 10 certain. A shared machine drifts, and a
/// twofold t needs four times the measurements.
const THRESHOLD: f64 = 10.0;

/// The keys of the class that changes.
const KEYS: usize = 16;

/// The messages of a call: what one exponentiation serves with AVX-512 IFMA, and
/// two do with AVX2.
const TOGETHER: usize = 4;

fn main() -> ExitCode {
    let mut measurements = 20_000;
    let mut paths = Path::ALL.to_vec();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--measurements" => measurements = arguments.next().unwrap().parse().unwrap(),
            "--path" => paths = vec![arguments.next().unwrap().parse().unwrap()],
            // Cargo adds `--bench`.
            _ => {}
        }
    }
    let mut random = Random(0x71e);
    let keys: Vec<PrivateKey> = (0..KEYS).map(|_| draw_key()).collect();
    let mut sound = true;
    for path in paths {
        if let Some(reason) = path.unavailable() {
            println!("{path}: skipped, {reason}");
            continue;
        }
        // The portable path is slower by the factor that it gets less to do.
        let measurements = match path {
            Path::Ifma | Path::Avx2 => measurements,
            Path::Portable => measurements / 20,
        };
        let load = |key| Batch::on(path).load(key, Algorithm::Rs256).unwrap();
        let t = largest_t(measurements, &mut random, |varied, random| {
            let other = random.next() as usize % KEYS;
            let signer = load(&keys[if varied { other } else { 0 }]);
            sign(&*signer, &random.message());
            sign(&*signer, &random.message())
        });
        sound &= report(&format!("{path}: the same key, or another"), t, false);

        let signer = load(&keys[0]);
        let t = largest_t(measurements, &mut random, |varied, random| {
            let mut message = random.message();
            if !varied {
                message.fill(0x5a);
            }
            sign(&*signer, &message)
        });
        sound &= report(&format!("{path}: the same message, or another"), t, false);
    }

    // An even modulus: num-bigint then multiplies for the bits that are set
    // alone, where an odd one gets a window, whose leak is small.
    let modulus = (BigUint::from(1_u8) << 512) - 568_u32;
    let (sparse, dense) = (BigUint::from(1_u8) << 511, (&modulus - 1_u8) >> 1);
    let t = largest_t(2_000, &mut random, |varied, random| {
        let base = BigUint::from_bytes_le(&random.message()[..64]);
        let exponent = if varied { &dense } else { &sparse };
        let started = thread_cpu();
        black_box(base.modpow(exponent, &modulus));
        (thread_cpu() - started).as_nanos() as f64
    });
    sound &= report("control: num-bigint, a sparse or a dense exponent", t, true);
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(what: &str, t: f64, leaks: bool) -> bool {
    let found = t > THRESHOLD;
    println!(
        "{what}: |t| = {t:.1}, {}{}",
        if found {
            "times differ"
        } else {
            "no difference seen"
        },
        if found == leaks {
            ""
        } else {
            " (NOT as it should be)"
        }
    );
    found == leaks
}

/// Signs a few messages and returns how long it took, in nanoseconds.
fn sign(signer: &dyn Signer, message: &[u8]) -> f64 {
    let mut signatures = [[0; 256]; TOGETHER];
    let mut jobs: Vec<Job<'_>> = signatures
        .iter_mut()
        .map(|signature| Job { message, signature })
        .collect();
    let started = thread_cpu();
    signer.sign_batch(&mut jobs).unwrap();
    (thread_cpu() - started).as_nanos() as f64
}

/// Measures both classes in random order and returns the largest |t| over the
/// percentiles at which measurements are cut off.
fn largest_t(
    measurements: usize,
    random: &mut Random,
    mut measure: impl FnMut(bool, &mut Random) -> f64,
) -> f64 {
    let mut classes = [Vec::new(), Vec::new()];
    for round in 0..measurements + measurements / 20 {
        let varied = random.next() & 1 == 1;
        let time = measure(varied, random);
        // The first twentieth warms up.
        if round >= measurements / 20 {
            classes[usize::from(varied)].push(time);
        }
    }
    let mut all: Vec<f64> = classes.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    [0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0]
        .into_iter()
        .map(|share| {
            let limit = all[((all.len() - 1) as f64 * share) as usize];
            let [fixed, varied] = &classes;
            welch(&cut(fixed, limit), &cut(varied, limit)).abs()
        })
        .fold(0.0, f64::max)
}

fn cut(times: &[f64], limit: f64) -> Vec<f64> {
    times
        .iter()
        .copied()
        .filter(|time| *time <= limit)
        .collect()
}

/// Welch's t statistic for a difference of means.
fn welch(x: &[f64], y: &[f64]) -> f64 {
    let moments = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, squares / (count - 1.0) / count)
    };
    let ((x, x_error), (y, y_error)) = (moments(x), moments(y));
    (x - y) / (x_error + y_error).sqrt()
}

fn draw_key() -> PrivateKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    PrivateKey::from_pkcs8_der(der.as_ref()).unwrap()
}

/// A small generator, so that a run can be repeated (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn message(&mut self) -> Vec<u8> {
        (0..64).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}
