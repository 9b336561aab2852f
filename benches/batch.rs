//! How fast does a core sign, and how near is that to what it could do?
//!
//! Every backend of this build signs the same message with the same key, in
//! short windows of about 2 ms of the thread's processor time, one backend
//! after the other and back again, so that a disturbance hits all of them. The
//! best window shows what the code can do, the median what it did, and the
//! ratios are taken within each round, so that both sides saw the same clock.
//!
//! Every vector path of the engine that the processor has is a row, whether it
//! is the one that would run or not. `OPENSSL_ia32cap=:~0x200000` takes AVX-512
//! IFMA away from AWS-LC, to see what the AVX2 path is worth where there is none.
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
use mintmark::signer::batch::{self, Batch, Path};
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
            for path in vector_paths() {
                partial(path, bits, rounds / 2);
            }
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
/// Returns how many multiplications a second the core did on each path in each
/// round.
fn alternate(arms: &mut [Arm], rounds: usize) -> Vec<Vec<f64>> {
    let mut rates = vec![Vec::new(); vector_paths().len()];
    for round in 0..rounds {
        for (path, rates) in vector_paths().into_iter().zip(&mut rates) {
            rates.extend(batch::multiplier_rate(path, WINDOW, 1));
        }
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
        .filter(|loaded| loaded.name != "batch")
        .map(|loaded| {
            let together = loaded.signer.batch_width();
            Arm::new(&loaded.name, loaded.signer.clone(), together)
        })
        .collect();
    for path in vector_paths() {
        for backend in [Batch::on(path), Batch::on(path).blinded()] {
            let name = if backend.is_blinded() {
                format!("{}, blinded", name(path))
            } else {
                name(path)
            };
            let signer = backend.load(&key, Algorithm::Rs256).unwrap();
            let together = signer.batch_width();
            arms.push(Arm::new(&name, signer, together));
        }
    }
    let rates = alternate(&mut arms, rounds);

    println!("\nRS256, {bits} bits, one thread, {rounds} rounds; signatures a second");
    println!(
        "  {:<20} {:>8} {:>8} {:>8}   {:>7} {:>7} {:>15}",
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
            "  {:<20} {:>8.0} {:>8.0} {:>8.0}   {:>7.2} {:>7.2} {:>7.2}-{:<7.2}",
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
        println!("  {:<20} refused: {}", refused.name, refused.reason);
    }
    for (path, rates) in vector_paths().into_iter().zip(&rates) {
        let batch = arms.iter().find(|arm| arm.name == name(path)).unwrap();
        bound(path, bits, batch, rates);
    }
}

/// Shows how near an arm came to what the multiplier allows.
fn bound(path: Path, bits: usize, arm: &Arm, rates: &[f64]) {
    let needed = batch::multiplications(path, bits).unwrap() as f64;
    let rate = rates.iter().copied().fold(0.0, f64::max);
    let together = arm.together as f64;
    let shares: Vec<f64> = arm
        .speeds
        .iter()
        .zip(rates)
        .map(|(speed, rate)| 100.0 * speed * needed / together / rate)
        .collect();
    let what = match path {
        Path::Ifma => "vpmadd52",
        _ => "products of four digits in doubles",
    };
    println!(
        "  {path} bound: {:.3} M {what} a batch of {together}, {:.2} G a second, {:.0} signatures a second",
        needed / 1e6,
        rate / 1e9,
        together * rate / needed,
    );
    println!(
        "  {path} reached: {:.1} % of best by best; by round {:.1} %, quartiles {:.1}-{:.1} %",
        100.0 * arm.best() * needed / together / rate,
        quantile(&shares, 0.5),
        quantile(&shares, 0.25),
        quantile(&shares, 0.75),
    );
}

/// Shows what a call with fewer messages than a batch holds costs.
fn partial(path: Path, bits: usize, rounds: usize) {
    let key = key(bits);
    let signer = Batch::on(path).load(&key, Algorithm::Rs256).unwrap();
    let registry = Registry::compiled();
    let library = registry.get(REFERENCE).unwrap();
    let library = library.load(&key, Algorithm::Rs256).unwrap();
    let mut arms: Vec<Arm> = (1..=signer.batch_width())
        .map(|count| Arm::new("batch", signer.clone(), count))
        .collect();
    arms.push(Arm::new(REFERENCE, library, 1));
    alternate(&mut arms, rounds);
    let (reference, sizes) = arms.split_last().unwrap();
    println!("\n  {path}, {bits} bits\n  messages   a second   x best   a call, best and median");
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
    if let Ok(mask) = std::env::var("OPENSSL_ia32cap") {
        println!("OPENSSL_ia32cap={mask}, which {REFERENCE} obeys");
    }
}

/// The vector paths that the processor has.
fn vector_paths() -> Vec<Path> {
    let all = Path::ALL.into_iter();
    all.filter(|path| *path != Path::Portable && path.unavailable().is_none())
        .collect()
}

/// The name of a path's row.
fn name(path: Path) -> String {
    match path {
        Path::Ifma => "batch".to_owned(),
        _ => format!("batch, {path}"),
    }
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
