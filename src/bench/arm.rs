//! How is a short block of signatures timed?
//!
//! An [`Arm`] is one side of a comparison: it runs a few timed operations and
//! says what each cost, on the CPU clock of the thread and on the wall clock.
//! The schedule and the statistics see nothing else of it, so that tests put
//! arms there which invent durations.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

use crate::clock::{process_cpu, thread_cpu};
use crate::signer::{Job, SignError, Signer};

/// The least time of one timed operation.
///
/// Reading both clocks takes up to 0.7 µs; faster signatures are timed several
/// at once, so that reading them stays below 0.2 % of what is read. Halving it
/// doubles that share.
pub const LEAST_OPERATION: Duration = Duration::from_micros(500);

/// One side of a comparison.
pub trait Arm {
    /// Runs `operations` timed operations and appends them to `block`.
    ///
    /// # Errors
    ///
    /// A signature could not be made.
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError>;

    /// As [`Self::run`], on the calling thread alone: whether signatures wait
    /// for something cannot be told while several threads wait for processors.
    ///
    /// # Errors
    ///
    /// A signature could not be made.
    fn run_alone(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        self.run(operations, block)
    }

    /// As [`Self::run_alone`]; returns how often the thread that signed gave
    /// its processor up by itself meanwhile, where the system counts that.
    ///
    /// # Errors
    ///
    /// A signature could not be made.
    fn run_alone_counted(
        &mut self,
        operations: usize,
        block: &mut Block,
    ) -> Result<Option<u64>, SignError> {
        let before = voluntary_switches();
        self.run_alone(operations, block)?;
        Ok(before
            .zip(voluntary_switches())
            .map(|(before, after)| after.saturating_sub(before)))
    }

    /// Sets how many signatures each thread makes in one timed operation.
    fn set_signatures_per_operation(&mut self, signatures: usize);

    /// Returns how many threads sign at once.
    fn threads(&self) -> usize {
        1
    }

    /// Returns the fewest signatures that one operation can make.
    fn least_signatures(&self) -> usize {
        1
    }
}

/// Returns how often this thread gave its processor up by itself, where the
/// system counts that.
fn voluntary_switches() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/status")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
        .trim()
        .parse()
        .ok()
}

/// What the operations of one block cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// CPU time of a signature in each operation, in ns; with several threads
    /// the mean over them.
    pub cpu_ns: Vec<f64>,
    /// Wall time of a signature on its thread in each operation, in ns.
    pub wall_ns: Vec<f64>,
    /// Wall time of every single signature, in ns.
    pub latency_ns: Vec<u64>,
    /// Signatures made, by all threads.
    pub signatures: u64,
    /// Operations in which the thread was kept off its processor.
    pub preempted: u64,
    /// CPU time of the signing threads, in ns.
    pub thread_cpu_ns: f64,
    /// CPU time of the whole process meanwhile, in ns.
    pub process_cpu_ns: f64,
    /// Wall time of the block, in ns.
    pub elapsed_ns: f64,
}

impl Block {
    /// Empties the block and keeps its memory.
    pub fn clear(&mut self) {
        self.cpu_ns.clear();
        self.wall_ns.clear();
        self.latency_ns.clear();
        self.signatures = 0;
        self.preempted = 0;
        self.thread_cpu_ns = 0.0;
        self.process_cpu_ns = 0.0;
        self.elapsed_ns = 0.0;
    }

    /// Adds an operation of `signatures` that cost `cpu` and `wall` in all.
    pub fn add(&mut self, signatures: usize, cpu: Duration, wall: Duration) {
        let per_signature = 1.0 / signatures.max(1) as f64;
        let (cpu, wall) = (ns(cpu), ns(wall));
        self.cpu_ns.push(cpu * per_signature);
        self.wall_ns.push(wall * per_signature);
        self.signatures += signatures as u64;
        self.thread_cpu_ns += cpu;
        self.elapsed_ns += wall;
        // A preemption costs a scheduler's slice, milliseconds; what is
        // allowed here is the difference between two clocks that tick apart.
        if wall > 1.05 * cpu + 100_000.0 {
            self.preempted += 1;
        }
    }
}

/// Signs on the thread that asks.
pub struct SignerArm {
    signer: Arc<dyn Signer>,
    messages: Arc<[Vec<u8>]>,
    next: usize,
    signatures: Vec<u8>,
    per_operation: usize,
}

impl SignerArm {
    /// Makes an arm that signs `messages` in turn.
    ///
    /// There is at least one message; they are built before the clock starts.
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>, messages: Arc<[Vec<u8>]>) -> Self {
        let width = signer.batch_width().max(1);
        Self {
            signatures: vec![0; signer.signature_len() * width],
            per_operation: width,
            signer,
            messages,
            next: 0,
        }
    }

    fn step(&mut self) -> usize {
        let at = self.next;
        self.next = (at + 1) % self.messages.len();
        at
    }

    /// Signs as many messages as make a batch, one for most backends.
    fn sign(&mut self, width: usize) -> Result<(), SignError> {
        if width == 1 {
            let at = self.step();
            self.signer.sign(
                black_box(&self.messages[at]),
                black_box(&mut self.signatures),
            )?;
        } else {
            let first = self.next;
            let messages = Arc::clone(&self.messages);
            let len = self.signer.signature_len();
            let mut jobs: Vec<Job<'_>> = self
                .signatures
                .chunks_exact_mut(len)
                .zip(first..)
                .map(|(signature, at)| Job {
                    message: black_box(&messages[at % messages.len()]),
                    signature,
                })
                .collect();
            self.signer.sign_batch(&mut jobs)?;
            self.next = (first + width) % messages.len();
        }
        black_box(&self.signatures);
        Ok(())
    }

    fn timed(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        let width = self.least_signatures();
        let batches = self.per_operation.div_ceil(width);
        block.latency_ns.reserve(operations * batches * width);
        let mut wall = Instant::now();
        let mut cpu = thread_cpu();
        for _ in 0..operations {
            let mut last = wall;
            for _ in 0..batches {
                self.sign(width)?;
                let now = Instant::now();
                let waited = u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX);
                // Every message of a batch waits for the whole batch.
                for _ in 0..width {
                    block.latency_ns.push(waited);
                }
                last = now;
            }
            let cpu_now = thread_cpu();
            block.add(
                batches * width,
                cpu_now.saturating_sub(cpu),
                last.saturating_duration_since(wall),
            );
            (wall, cpu) = (last, cpu_now);
        }
        Ok(())
    }
}

impl Arm for SignerArm {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        let process = process_cpu();
        self.timed(operations, block)?;
        block.process_cpu_ns += ns(process_cpu().saturating_sub(process));
        Ok(())
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        self.per_operation = signatures.max(1);
    }

    fn least_signatures(&self) -> usize {
        self.signer.batch_width().max(1)
    }
}

/// Signs on several threads at once, which share one key object.
pub struct PooledArm {
    pool: ThreadPool,
    workers: Vec<Mutex<(SignerArm, Block)>>,
    start: Barrier,
}

impl PooledArm {
    /// Makes an arm of `threads` threads, at least one.
    ///
    /// # Errors
    ///
    /// The system starts no more threads.
    pub fn new(
        signer: &Arc<dyn Signer>,
        messages: &Arc<[Vec<u8>]>,
        threads: usize,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("bench-{index}"))
            .build()?;
        let workers = (0..threads)
            .map(|_| {
                let arm = SignerArm::new(Arc::clone(signer), Arc::clone(messages));
                Mutex::new((arm, Block::default()))
            })
            .collect();
        Ok(Self {
            pool,
            workers,
            start: Barrier::new(threads),
        })
    }
}

impl Arm for PooledArm {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        let process = process_cpu();
        let started = Instant::now();
        let outcomes = self.pool.broadcast(|context| {
            // Nobody else holds the lock: each thread has a worker of its own.
            let mut worker = self.workers[context.index()].lock();
            let (arm, block) = &mut *worker;
            block.clear();
            // Threads that start apart would not disturb each other in full.
            self.start.wait();
            arm.timed(operations, block)
        });
        let elapsed = ns(started.elapsed());
        let process = ns(process_cpu().saturating_sub(process));
        outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
        let blocks: Vec<_> = self.workers.iter().map(Mutex::lock).collect();
        let share = 1.0 / blocks.len() as f64;
        for at in 0..operations {
            let mean = |of: fn(&Block) -> &Vec<f64>| {
                blocks.iter().map(|worker| of(&worker.1)[at]).sum::<f64>() * share
            };
            block.cpu_ns.push(mean(|block| &block.cpu_ns));
            block.wall_ns.push(mean(|block| &block.wall_ns));
        }
        for worker in &blocks {
            block.latency_ns.extend(&worker.1.latency_ns);
            block.signatures += worker.1.signatures;
            block.preempted += worker.1.preempted;
            block.thread_cpu_ns += worker.1.thread_cpu_ns;
        }
        block.process_cpu_ns += process;
        block.elapsed_ns += elapsed;
        Ok(())
    }

    fn run_alone(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        // A pool has a thread at least.
        self.workers[0].lock().0.run(operations, block)
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        for worker in &self.workers {
            worker.lock().0.set_signatures_per_operation(signatures);
        }
    }

    fn threads(&self) -> usize {
        self.workers.len()
    }

    fn least_signatures(&self) -> usize {
        self.workers
            .first()
            .map_or(1, |worker| worker.lock().0.least_signatures())
    }
}

pub(super) fn ns(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fake::CountingSigner;

    fn messages() -> Arc<[Vec<u8>]> {
        (0..3_u8).map(|i| vec![i; 4]).collect()
    }

    #[test]
    fn an_operation_makes_as_many_signatures_as_it_was_told() {
        let signer = Arc::new(CountingSigner::default());
        let mut arm = SignerArm::new(signer.clone(), messages());
        arm.set_signatures_per_operation(5);
        let mut block = Block::default();
        arm.run(4, &mut block).unwrap();
        assert_eq!(signer.count(), 20);
        assert_eq!(block.signatures, 20);
        assert_eq!(block.cpu_ns.len(), 4);
        assert_eq!(block.latency_ns.len(), 20);
        assert!(block.wall_ns.iter().all(|ns| *ns > 0.0));
    }

    #[test]
    fn a_batch_signer_is_given_whole_batches() {
        let signer = Arc::new(CountingSigner::of_width(8));
        let mut arm = SignerArm::new(signer.clone(), messages());
        arm.set_signatures_per_operation(9);
        let mut block = Block::default();
        arm.run(1, &mut block).unwrap();
        assert_eq!(block.signatures, 16);
        assert_eq!(signer.batches(), 2);
        assert_eq!(block.latency_ns.len(), 16);
    }

    #[test]
    fn every_thread_of_a_pool_signs_with_the_same_object() {
        let signer = Arc::new(CountingSigner::default());
        let shared: Arc<dyn Signer> = signer.clone();
        let mut arm = PooledArm::new(&shared, &messages(), 3).unwrap();
        arm.set_signatures_per_operation(2);
        let mut block = Block::default();
        arm.run(4, &mut block).unwrap();
        assert_eq!(signer.count(), 3 * 2 * 4);
        assert_eq!(signer.threads(), 3);
        assert_eq!(block.signatures, 24);
        assert_eq!(block.cpu_ns.len(), 4);
    }

    #[test]
    fn an_operation_off_the_processor_is_counted() {
        let mut block = Block::default();
        block.add(1, Duration::from_micros(500), Duration::from_micros(520));
        block.add(1, Duration::from_micros(500), Duration::from_micros(4_500));
        assert_eq!(block.preempted, 1);
    }
    #[test]
    #[cfg(target_os = "linux")]
    fn sleeping_gives_the_processor_up() {
        let before = voluntary_switches().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert!(voluntary_switches().unwrap() > before);
    }
}
