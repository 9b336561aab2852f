//! How is a signature slowed down by a known amount, or timed with nothing
//! around it?
//!
//! The candidates of the self-test. Nothing here is part of a comparison that
//! anybody quotes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::arm::{Arm, Block, SignerArm};
use super::self_test::BARE_BACKEND;
use crate::clock::thread_cpu;
use crate::signer::{SignError, Signer};
use crate::stats::Random;
use crate::stats::order::quantile_of;

/// Signs and then works on for nothing.
pub(super) struct Worked {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) rounds: u32,
}

impl Signer for Worked {
    fn signature_len(&self) -> usize {
        self.signer.signature_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.signer.sign(message, signature)?;
        work(self.rounds);
        Ok(())
    }
}

/// Makes some of the signatures several times.
pub(super) struct Repeated {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) share: f64,
    pub(super) factor: u32,
    pub(super) random: Mutex<Random>,
}

impl Signer for Repeated {
    fn signature_len(&self) -> usize {
        self.signer.signature_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        let is_slow = self.random.lock().unit() < self.share;
        for _ in 0..if is_slow { self.factor } else { 1 } {
            self.signer.sign(message, signature)?;
        }
        Ok(())
    }
}

/// Hashes `rounds` times, each depending on the one before.
///
/// It is never inlined: what is calibrated and what is injected must be the
/// same code, not two copies that are optimised apart by a fifth.
#[inline(never)]
fn work(rounds: u32) {
    let mut state = [0_u8; 32];
    for _ in 0..rounds {
        state = Sha256::digest(state).into();
    }
    black_box(state);
}

/// Returns how many rounds of [`work`] make a signature take `share` longer,
/// and the change that they were seen to make.
///
/// Short runs of plain and slowed signatures alternate, and their lowest tenths
/// are compared: what the machine does besides lifts single timings and not
/// the lowest ones. It is another statistic than the one under test.
pub(super) fn calibrate(signer: &dyn Signer, message: &[u8], share: f64) -> (u32, f64) {
    const TRIES: u32 = 4;
    let mut rounds = 200;
    let mut change = change_by(signer, message, rounds);
    for _ in 0..TRIES {
        let better = f64::from(rounds) * share / change.max(share / 10.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let better = better.round().max(1.0) as u32;
        rounds = better;
        change = change_by(signer, message, rounds);
    }
    (rounds, change)
}

/// Measures the change that `rounds` of work make.
fn change_by(signer: &dyn Signer, message: &[u8], rounds: u32) -> f64 {
    const RUNS: usize = 400;
    let mut signature = vec![0; signer.signature_len()];
    let mut times = [Vec::new(), Vec::new()];
    for run in 0..2 * RUNS {
        let is_slowed = run % 2 == 1;
        for at in 0..5 {
            let started = Instant::now();
            // A failure shows when the arms themselves sign.
            let _ = signer.sign(black_box(message), &mut signature);
            if is_slowed {
                work(rounds);
            }
            // The first of a run still feels what ran before: work makes the
            // signature after it slower, too, and that belongs to the effect.
            if at > 0 {
                times[usize::from(is_slowed)].push(started.elapsed().as_nanos() as f64);
            }
        }
    }
    let [plain, slowed] = times.map(|mut times| quantile_of(&mut times, 0.1).unwrap_or(1.0));
    slowed / plain.max(1.0) - 1.0
}

/// Calls AWS-LC in a bare loop, as a program would that measures nothing.
pub(super) struct Bare {
    pub(super) pair: RsaKeyPair,
    pub(super) messages: Arc<[Vec<u8>]>,
    pub(super) signature: Vec<u8>,
    pub(super) per_operation: usize,
}

impl Arm for Bare {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        let signatures = operations * self.per_operation;
        let started = Instant::now();
        let cpu = thread_cpu();
        for at in 0..signatures {
            let message = &self.messages[at % self.messages.len()];
            self.pair
                .sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    black_box(message),
                    black_box(&mut self.signature),
                )
                .map_err(|_| SignError::Backend {
                    backend: BARE_BACKEND,
                })?;
        }
        block.add(
            signatures,
            thread_cpu().saturating_sub(cpu),
            started.elapsed(),
        );
        Ok(())
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        self.per_operation = signatures;
    }
}

/// Times an arm from the outside, with everything that it does besides.
pub(super) struct Around(pub(super) SignerArm, pub(super) Block);

impl Arm for Around {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        let started = Instant::now();
        let cpu = thread_cpu();
        self.1.clear();
        self.0.run(operations, &mut self.1)?;
        let signatures = usize::try_from(self.1.signatures).unwrap_or(usize::MAX);
        block.add(
            signatures,
            thread_cpu().saturating_sub(cpu),
            started.elapsed(),
        );
        Ok(())
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        self.0.set_signatures_per_operation(signatures);
    }
}
