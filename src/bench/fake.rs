//! What stands in for cryptography when the engine itself is tested?
//!
//! Arms that invent durations and turn a clock by hand, and a signer that
//! counts. Nothing here is built into the program.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;

use super::arm::{Arm, Block};
use crate::clock::ManualClock;
use crate::signer::{Job, SignError, Signer};
use crate::stats::Random;

/// Counts what it is asked to sign.
pub(crate) struct CountingSigner {
    width: usize,
    count: AtomicUsize,
    batches: AtomicUsize,
    threads: Mutex<HashSet<ThreadId>>,
}

impl Default for CountingSigner {
    fn default() -> Self {
        Self::of_width(1)
    }
}

impl CountingSigner {
    pub(crate) fn of_width(width: usize) -> Self {
        Self {
            width,
            count: AtomicUsize::new(0),
            batches: AtomicUsize::new(0),
            threads: Mutex::default(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn batches(&self) -> usize {
        self.batches.load(Ordering::SeqCst)
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.lock().len()
    }
}

impl Signer for CountingSigner {
    fn signature_len(&self) -> usize {
        4
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.threads.lock().insert(std::thread::current().id());
        signature.copy_from_slice(message);
        Ok(())
    }

    fn sign_batch(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        for job in jobs {
            self.sign(job.message, job.signature)?;
        }
        Ok(())
    }

    fn batch_width(&self) -> usize {
        self.width
    }
}

/// A machine whose speed wanders, shared by the arms that run on it.
pub(crate) struct Machine {
    pub(crate) clock: ManualClock,
    random: Mutex<Random>,
    level: Mutex<f64>,
    /// The names of the blocks that were run, in order.
    pub(crate) journal: Mutex<Vec<usize>>,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            clock: ManualClock::default(),
            random: Mutex::new(Random::new(seed)),
            level: Mutex::new(1.0),
            journal: Mutex::default(),
        })
    }
}

/// An arm that invents what its operations cost.
pub(crate) struct InventedArm {
    machine: Arc<Machine>,
    id: usize,
    base_ns: f64,
    /// The share of operations that are slower, and how much.
    slow: (f64, f64),
    per_operation: usize,
}

impl InventedArm {
    pub(crate) fn new(machine: &Arc<Machine>, id: usize, base_ns: f64) -> Self {
        Self {
            machine: Arc::clone(machine),
            id,
            base_ns,
            slow: (0.0, 1.0),
            per_operation: 1,
        }
    }

    pub(crate) fn rarely_slow(mut self, share: f64, factor: f64) -> Self {
        self.slow = (share, factor);
        self
    }
}

impl Arm for InventedArm {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        self.machine.journal.lock().push(self.id);
        let mut random = self.machine.random.lock();
        let mut level = self.machine.level.lock();
        // A busy neighbour slows everything by up to a third, for a while.
        if random.unit() < 0.02 {
            *level = 1.0 + 0.3 * random.unit();
        }
        for _ in 0..operations {
            let mut cpu = 0.0;
            for _ in 0..self.per_operation {
                let (share, factor) = self.slow;
                let slow = if random.unit() < share { factor } else { 1.0 };
                cpu += self.base_ns * *level * slow * (1.0 + 0.02 * random.unit());
            }
            // One operation in ten waits for a scheduler's slice.
            let wall = if random.unit() < 0.1 { cpu + 4e6 } else { cpu };
            let wall = Duration::from_secs_f64(wall / 1e9);
            block.add(self.per_operation, Duration::from_secs_f64(cpu / 1e9), wall);
            self.machine.clock.advance(wall);
        }
        block.process_cpu_ns = block.thread_cpu_ns;
        Ok(())
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        self.per_operation = signatures;
    }
}
