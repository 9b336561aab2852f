//! Does the batch engine still agree with a library after a million signatures?
//!
//! Random messages of random lengths, in batches of random size, under keys
//! that are drawn anew every few thousand signatures; every signature is
//! compared byte for byte with AWS-LC's. It runs for minutes, so that it is no
//! test:
//! `cargo bench --bench batch_soak -- [--signatures N] [--seed N] [--path PATH]`,
//! the path being ifma, avx2 or portable, or else the fastest.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::time::Instant;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use mintmark::signer::batch::{Batch, Path};
use mintmark::signer::{Algorithm, Backend, Job, PrivateKey, Registry};

/// Signatures under one key, before the next is drawn.
const PER_KEY: u64 = 8192;

/// The sizes, and of how many keys in turn each is the size.
const TURNS: [KeySize; 8] = [
    KeySize::Rsa2048,
    KeySize::Rsa2048,
    KeySize::Rsa2048,
    KeySize::Rsa3072,
    KeySize::Rsa2048,
    KeySize::Rsa2048,
    KeySize::Rsa2048,
    KeySize::Rsa4096,
];

fn main() {
    let mut wanted = 1_000_000;
    let mut random = Random(Instant::now().elapsed().as_nanos() as u64 ^ 0x5eed);
    let mut path = Path::best();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--signatures" => wanted = arguments.next().unwrap().parse().unwrap(),
            "--seed" => random = Random(arguments.next().unwrap().parse().unwrap()),
            "--path" => path = arguments.next().unwrap().parse().unwrap(),
            // Cargo adds `--bench`.
            _ => {}
        }
    }
    println!("path {path}, {wanted} signatures, seed {}", random.0);
    let started = Instant::now();
    let mut done = [0_u64; 3];
    let mut turn = 0;
    while done.iter().sum::<u64>() < wanted {
        let (size, place) = match TURNS[turn % TURNS.len()] {
            KeySize::Rsa3072 => (KeySize::Rsa3072, 1),
            KeySize::Rsa4096 => (KeySize::Rsa4096, 2),
            _ => (KeySize::Rsa2048, 0),
        };
        done[place] += soak(path, size, &mut random);
        if turn % 8 == 7 {
            println!(
                "  {:>8} + {:>7} + {:>7} signatures of 2048, 3072, 4096 bits agree, {:.0} s",
                done[0],
                done[1],
                done[2],
                started.elapsed().as_secs_f64()
            );
        }
        turn += 1;
    }
    println!(
        "{} signatures agree byte for byte with AWS-LC: {} of 2048 bits, {} of 3072, {} of 4096",
        done.iter().sum::<u64>(),
        done[0],
        done[1],
        done[2]
    );
}

/// Draws a key and compares signatures under it; returns how many.
fn soak(path: Path, size: KeySize, random: &mut Random) -> u64 {
    let pair = KeyPair::generate(size).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = PrivateKey::from_pkcs8_der(der.as_ref()).unwrap();
    let algorithm = match random.next() % 3 {
        0 => Algorithm::Rs256,
        1 => Algorithm::Rs384,
        _ => Algorithm::Rs512,
    };
    let is_blinded = random.next().is_multiple_of(4) && path != Path::Portable;
    let backend = if is_blinded {
        Batch::on(path).blinded()
    } else {
        Batch::on(path)
    };
    let signer = backend.load(&key, algorithm).unwrap();
    let registry = Registry::compiled();
    let library = registry.get("aws-lc-rs").unwrap();
    let library = library.load(&key, algorithm).unwrap();

    let width = signer.batch_width();
    let length = signer.signature_len();
    let mut expected = vec![0; length];
    let mut signed = 0;
    while signed < PER_KEY {
        // Full batches mostly, as they are what is to be tried.
        let count = if random.next().is_multiple_of(4) {
            1 + random.next() as usize % (width + 1)
        } else {
            width
        };
        let messages: Vec<Vec<u8>> = (0..count).map(|_| random.message()).collect();
        let mut signatures = vec![vec![0; length]; count];
        let mut jobs: Vec<Job<'_>> = messages
            .iter()
            .zip(&mut signatures)
            .map(|(message, signature)| Job { message, signature })
            .collect();
        signer.sign_batch(&mut jobs).unwrap();
        for (message, signature) in messages.iter().zip(&signatures) {
            library.sign(message, &mut expected).unwrap();
            assert!(
                *signature == expected,
                "{algorithm} differs for {message:02x?} under {:02x?}",
                key.pkcs8_der()
            );
        }
        signed += count as u64;
    }
    signed
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
        let length = self.next() % 1024;
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
