//! How fast does a core sign, and how near is that to what it could do?
//!
//! Every backend of this build signs the same message with the same key, in
//! short windows of about 2 ms of the thread's processor time, one backend
//! after the other and back again, so that a disturbance hits all of them. The
//! best window shows what the code can do, the median what it did, and the
//! ratios are taken within each round, so that both sides saw the same clock.
//!
//! `cargo bench --bench batch -- [--rounds N] [--only BITS]`
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::sync::Arc;
use std::time::Duration;

use mintmark::clock::thread_cpu;
use mintmark::signer::batch::{self, Batch};
use mintmark::signer::{Algorithm, Backend, Job, PrivateKey, Registry, Signer};

/// The processor time of a window.
const WINDOW: Duration = Duration::from_millis(2);

/// A JWT's header and claims, as long as they are in practice.
const MESSAGE: [u8; 485] = [b'x'; 485];

/// The backend that ratios are of: the fastest library for one signature.
const REFERENCE: &str = "aws-lc-rs";

fn main() {
    let mut rounds = 200;
    let mut only: Option<usize> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            "--only" => only = Some(arguments.next().unwrap().parse().unwrap()),
            // Cargo adds `--bench`.
            _ => {}
        }
    }
    print_machine();
    for bits in [2048, 3072, 4096] {
        if only.is_none_or(|only| only == bits) {
            compare(bits, rounds);
            partial(bits, rounds / 2);
        }
    }
}

/// One backend in a comparison.
struct Arm {
    name: String,
    signer: Arc<dyn Signer>,
    /// Messages of one call, and calls of one window.
    together: usize,
    calls: usize,
    /// Signatures per second of processor time, by round.
    speeds: Vec<f64>,
}

impl Arm {
    fn new(name: &str, signer: Arc<dyn Signer>, together: usize) -> Self {
        let mut arm = Self {
            name: name.to_owned(),
            signer,
            together,
            calls: 1,
            speeds: Vec::new(),
        };
        // The first call warms up, the second tells how many make a window.
        arm.window();
        let took = together as f64 / arm.window();
        arm.calls = (WINDOW.as_secs_f64() / took).round().max(1.0) as usize;
        arm
    }

    /// Signs for a window and returns the signatures per second.
    fn window(&self) -> f64 {
        let mut signatures = vec![0; self.signer.signature_len() * self.together];
        let started = thread_cpu();
        for _ in 0..self.calls {
            let mut jobs: Vec<Job<'_>> = signatures
                .chunks_mut(self.signer.signature_len())
                .map(|signature| Job {
                    message: &MESSAGE,
                    signature,
                })
                .collect();
            self.signer.sign_batch(&mut jobs).unwrap();
        }
        (self.calls * self.together) as f64 / (thread_cpu() - started).as_secs_f64()
    }

    fn best(&self) -> f64 {
        self.speeds.iter().copied().fold(0.0, f64::max)
    }

    /// Signatures per second over all windows, with what happens rarely.
    fn mean(&self) -> f64 {
        let times: f64 = self.speeds.iter().map(|speed| 1.0 / speed).sum();
        self.speeds.len() as f64 / times
    }
}

/// Lets every arm sign for a window, there and back, `rounds` times.
///
/// Returns how many vector multiplications a second the core did in each
/// round; zeros where it has none.
fn alternate(arms: &mut [Arm], rounds: usize) -> Vec<f64> {
    let mut rates = Vec::new();
    for round in 0..rounds {
        rates.push(batch::multiplier_rate(WINDOW, 1).unwrap_or_default());
        let order: Vec<usize> = if round % 2 == 0 {
            (0..arms.len()).collect()
        } else {
            (0..arms.len()).rev().collect()
        };
        for index in order {
            let speed = arms[index].window();
            arms[index].speeds.push(speed);
        }
    }
    rates
}

fn compare(bits: usize, rounds: usize) {
    let key = key(bits);
    let registry = Registry::compiled();
    let (loaded, refused) = registry.agreeing(&registry.names(), &key, Algorithm::Rs256);
    let mut arms: Vec<Arm> = loaded
        .iter()
        .map(|loaded| {
            let together = loaded.signer.batch_width();
            Arm::new(&loaded.name, loaded.signer.clone(), together)
        })
        .collect();
    let blinded = Batch::detect().blinded();
    if let Ok(signer) = blinded.load(&key, Algorithm::Rs256) {
        let together = signer.batch_width();
        arms.push(Arm::new("batch, blinded", signer, together));
    }
    let rates = alternate(&mut arms, rounds);

    println!("\nRS256, {bits} bits, one thread, {rounds} rounds; signatures a second");
    println!(
        "  {:<16} {:>8} {:>8} {:>8}   {:>7} {:>7} {:>15}",
        "backend", "best", "median", "mean", "x best", "x round", "quartiles"
    );
    let reference = arms.iter().find(|arm| arm.name == REFERENCE).unwrap();
    for arm in &arms {
        let ratios: Vec<f64> = arm
            .speeds
            .iter()
            .zip(&reference.speeds)
            .map(|(own, other)| own / other)
            .collect();
        println!(
            "  {:<16} {:>8.0} {:>8.0} {:>8.0}   {:>7.2} {:>7.2} {:>7.2}-{:<7.2}",
            arm.name,
            arm.best(),
            quantile(&arm.speeds, 0.5),
            arm.mean(),
            arm.best() / reference.best(),
            quantile(&ratios, 0.5),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
        );
    }
    for refused in refused {
        println!("  {:<16} refused: {}", refused.name, refused.reason);
    }
    let batch = arms.iter().find(|arm| arm.name == "batch");
    let rate = rates.iter().copied().fold(0.0, f64::max);
    if let (true, Some(batch)) = (rate > 0.0, batch) {
        let needed = batch::multiplications(bits) as f64;
        let shares: Vec<f64> = batch
            .speeds
            .iter()
            .zip(&rates)
            .map(|(speed, rate)| 100.0 * speed * needed / 8.0 / rate)
            .collect();
        println!(
            "  bound: {:.3} M vpmadd52 a batch of 8, {:.2} G a second, {:.0} signatures a second",
            needed / 1e6,
            rate / 1e9,
            8.0 * rate / needed,
        );
        println!(
            "  reached: {:.1} % of best by best; by round {:.1} %, quartiles {:.1}-{:.1} %",
            100.0 * batch.best() * needed / 8.0 / rate,
            quantile(&shares, 0.5),
            quantile(&shares, 0.25),
            quantile(&shares, 0.75),
        );
    }
}

/// Shows what a call with fewer messages than a batch holds costs.
fn partial(bits: usize, rounds: usize) {
    let key = key(bits);
    let load = |name: &str| {
        let registry = Registry::compiled();
        registry
            .get(name)
            .unwrap()
            .load(&key, Algorithm::Rs256)
            .unwrap()
    };
    let (signer, library) = (load("batch"), load(REFERENCE));
    let mut arms: Vec<Arm> = (1..=8)
        .map(|count| Arm::new("batch", signer.clone(), count))
        .collect();
    arms.push(Arm::new(REFERENCE, library, 1));
    alternate(&mut arms, rounds);
    let (reference, sizes) = arms.split_last().unwrap();
    println!("\n  messages   a second   x best   a call, best and median");
    for arm in sizes {
        let call = |speed: f64| 1e6 * arm.together as f64 / speed;
        println!(
            "  {:>8}   {:>8.0}   {:>6.2}   {:>6.0} {:>6.0} us",
            arm.together,
            arm.best(),
            arm.best() / reference.best(),
            call(arm.best()),
            call(quantile(&arm.speeds, 0.5)),
        );
    }
}

fn print_machine() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split(':').nth(1))
            .map_or("unknown", str::trim)
    };
    println!(
        "{}, family {} model {}; path: {}",
        field("model name"),
        field("cpu family"),
        field("model"),
        Batch::detect().path()
    );
}

fn key(bits: usize) -> PrivateKey {
    let path = format!(
        "{}/tests/fixtures/batch/rsa{bits}.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    PrivateKey::from_pkcs8_der(pem::parse(text).unwrap().contents()).unwrap()
}

/// Returns a quantile of the values, by the nearest rank.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
