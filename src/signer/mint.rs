//! How do many tasks that want one signature each fill a batch?
//!
//! A [`Mint`] is a signer on threads of its own, apart from any runtime.
//! Callers hand it a message and get the signature back, awaited or blocking;
//! a thread takes what has gathered, up to a full batch, and signs it at once.
//!
//! It does not wait for a batch to fill unless waiting is known to pay: a
//! thread that has just signed `n` requests together expects their callers to
//! come back, and lingers until that many are there again or
//! [`MintConfig::linger`] has passed. A lone caller therefore never waits for
//! anyone. The queue is bounded: a caller beyond it waits for a place.
//!
//! Invariants: a request is answered exactly once, also when the mint is
//! dropped; a request whose caller has gone, or whose deadline has passed, is
//! not signed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::thread::gettid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Job, SignError, Signer, check_buffer};

/// How a mint works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintConfig {
    /// Threads that sign.
    pub threads: usize,
    /// Requests that may be queued or in the works; a caller beyond them waits.
    pub queue: usize,
    /// The longest wait for callers that are expected back. 5 % of the time
    /// that a full batch takes adds as much to the latency at most and is
    /// enough for eight tasks to be woken and to ask again; ten times as much
    /// would be felt, a tenth would send out half-empty batches.
    pub linger: Duration,
    /// How long an idle thread looks for work before it sleeps. Waking a
    /// sleeper costs 5 to 50 µs on a virtual machine; a spinning thread costs
    /// a processor, so this is short.
    pub spin: Duration,
    /// May a blocking caller sign by itself while nothing else is asked for?
    /// It saves the hand-over, and nobody else is there to share a batch with.
    pub lends_idle_callers: bool,
}

impl MintConfig {
    /// Returns the usual settings for so many threads.
    #[must_use]
    pub fn with_threads(threads: usize) -> Self {
        Self {
            threads,
            queue: 1024,
            linger: Duration::from_micros(50),
            spin: Duration::from_micros(20),
            lends_idle_callers: true,
        }
    }
}

/// Signs for many callers, in batches, on threads of its own.
pub struct Mint {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    thread_ids: Vec<i32>,
}

struct Shared {
    signer: Arc<dyn Signer>,
    config: MintConfig,
    /// Places in the queue; a request holds one until it is answered.
    places: Arc<Semaphore>,
    queue: Mutex<VecDeque<Request>>,
    has_work: Condvar,
    /// The length of the queue, to look at without the lock.
    queued: AtomicUsize,
    /// Requests that were accepted and are not answered.
    in_flight: AtomicUsize,
    is_closed: AtomicBool,
    stats: Vec<Mutex<MintStats>>,
}

struct Request {
    message: Vec<u8>,
    signature: Vec<u8>,
    deadline: Option<Instant>,
    asked: Instant,
    answer: oneshot::Sender<Result<Signed, MintError>>,
    _place: OwnedSemaphorePermit,
}

/// A message and its signature, in buffers that may be used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The message as it was given.
    pub message: Vec<u8>,
    /// Its signature, as [`Signer::sign`] makes it.
    pub signature: Vec<u8>,
}

/// What a mint has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MintStats {
    /// Batches that were signed, by the number of requests in them; the
    /// index is the number.
    pub batches: Vec<u64>,
    /// Requests that were signed by their own callers.
    pub lent: u64,
    /// Requests that were not signed: caller gone or deadline passed.
    pub skipped: u64,
    /// The time from the request to the beginning of its signature, summed
    /// over all requests that a thread signed, in nanoseconds.
    pub gathering_ns: u64,
    /// The longest of those times, in nanoseconds.
    pub longest_gathering_ns: u64,
}

impl MintStats {
    /// Returns how many requests threads have signed.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.batches
            .iter()
            .enumerate()
            .map(|(width, count)| width as u64 * count)
            .sum()
    }

    /// Returns the mean number of requests in a batch.
    #[must_use]
    pub fn mean_width(&self) -> Option<f64> {
        let batches: u64 = self.batches.iter().sum();
        (batches > 0).then(|| self.signed() as f64 / batches as f64)
    }

    /// Returns the mean time from a request to the beginning of its signature.
    #[must_use]
    pub fn mean_gathering(&self) -> Option<Duration> {
        self.gathering_ns
            .checked_div(self.signed())
            .map(Duration::from_nanos)
    }

    fn add(&mut self, other: &Self) {
        if self.batches.len() < other.batches.len() {
            self.batches.resize(other.batches.len(), 0);
        }
        for (own, count) in self.batches.iter_mut().zip(&other.batches) {
            *own += count;
        }
        self.lent += other.lent;
        self.skipped += other.skipped;
        self.gathering_ns += other.gathering_ns;
        self.longest_gathering_ns = self.longest_gathering_ns.max(other.longest_gathering_ns);
    }
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The signer failed.
    #[error("the mint could not sign")]
    Sign(#[from] SignError),
    /// The deadline passed before a thread was free.
    #[error("the mint was not free before the deadline")]
    Deadline,
    /// The mint was dropped.
    #[error("the mint is closed")]
    Closed,
}

impl Mint {
    /// Starts a mint around `signer`.
    ///
    /// # Errors
    ///
    /// The system gives no thread. At least one is started otherwise, however
    /// few the configuration asks for.
    pub fn start(signer: Arc<dyn Signer>, config: MintConfig) -> io::Result<Self> {
        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            signer,
            config,
            places: Arc::new(Semaphore::new(config.queue.max(1))),
            queue: Mutex::new(VecDeque::with_capacity(config.queue.max(1))),
            has_work: Condvar::new(),
            queued: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            // One for each thread, and one for the callers that were lent.
            stats: (0..=count).map(|_| Mutex::default()).collect(),
        });
        let mut mint = Self {
            shared,
            threads: Vec::new(),
            thread_ids: Vec::new(),
        };
        let (report, reports) = mpsc::channel();
        for index in 0..count {
            let (shared, report) = (Arc::clone(&mint.shared), report.clone());
            // If this fails, dropping the mint ends those that did start.
            let thread = thread::Builder::new()
                .name(format!("mint-{index}"))
                .spawn(move || {
                    let _ = report.send(gettid().as_raw_nonzero().get());
                    // The mint waits until every thread has let go of it.
                    drop(report);
                    shared.work(index);
                })?;
            mint.threads.push(thread);
        }
        drop(report);
        mint.thread_ids = reports.into_iter().collect();
        Ok(mint)
    }

    /// Signs `message`, awaiting a place and the signature.
    ///
    /// `signature` is a buffer to write into, of any length; both come back
    /// in the answer. After `deadline` a thread does not begin to sign.
    /// Dropping the future withdraws the request.
    ///
    /// # Errors
    ///
    /// The signer failed, the deadline passed, or the mint was dropped.
    pub async fn sign(
        &self,
        message: Vec<u8>,
        signature: Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Signed, MintError> {
        let asked = Instant::now();
        let place = Arc::clone(&self.shared.places)
            .acquire_owned()
            .await
            .map_err(|_| MintError::Closed)?;
        let answer = self
            .shared
            .submit(message, signature, deadline, asked, place);
        answer.await.map_err(|_| MintError::Closed)?
    }

    /// Signs `message`, blocking the calling thread.
    ///
    /// As [`Self::sign`]. Within a runtime it holds up the runtime's thread, as
    /// a signature made there would.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_blocking(
        &self,
        message: Vec<u8>,
        signature: Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Signed, MintError> {
        let asked = Instant::now();
        if self.shared.config.lends_idle_callers && self.shared.is_idle() {
            return self.shared.sign_lent(message, signature);
        }
        let place = match Arc::clone(&self.shared.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => pollster::block_on(Arc::clone(&self.shared.places).acquire_owned())
                .map_err(|_| MintError::Closed)?,
        };
        let answer = self
            .shared
            .submit(message, signature, deadline, asked, place);
        pollster::block_on(answer).map_err(|_| MintError::Closed)?
    }

    /// Returns what the mint has done so far.
    #[must_use]
    pub fn stats(&self) -> MintStats {
        let mut total = MintStats::default();
        for stats in &self.shared.stats {
            total.add(&stats.lock());
        }
        total
    }

    /// Returns the kernel's numbers of the threads that sign, by which their
    /// processor time can be read.
    #[must_use]
    pub fn thread_ids(&self) -> &[i32] {
        &self.thread_ids
    }

    /// Returns the signer that the mint works with.
    #[must_use]
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.shared.signer
    }
}

/// A mint is a signer for callers that have a thread to block: what they ask
/// for at the same time is signed together.
impl Signer for Mint {
    fn signature_len(&self) -> usize {
        self.shared.signer.signature_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.signature_len())?;
        match self.sign_blocking(message.to_vec(), Vec::new(), None) {
            Ok(signed) => {
                signature.copy_from_slice(&signed.signature);
                Ok(())
            }
            Err(MintError::Sign(error)) => Err(error),
            // Without a deadline, and with the mint borrowed, only a thread
            // that panicked can have left the request unanswered.
            Err(MintError::Deadline | MintError::Closed) => {
                Err(SignError::Backend { backend: "mint" })
            }
        }
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        // Callers that wait for a place learn that there will be none; what
        // is queued is still signed.
        self.shared.places.close();
        {
            let _queue = self.shared.queue.lock();
            self.shared.is_closed.store(true, Ordering::SeqCst);
        }
        self.shared.has_work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has dropped its requests, whose callers
            // see a closed mint.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn submit(
        &self,
        message: Vec<u8>,
        signature: Vec<u8>,
        deadline: Option<Instant>,
        asked: Instant,
        place: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Result<Signed, MintError>> {
        let (sender, receiver) = oneshot::channel();
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        queue.push_back(Request {
            message,
            signature,
            deadline,
            asked,
            answer: sender,
            _place: place,
        });
        self.queued.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        self.has_work.notify_one();
        receiver
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) == 0
    }

    fn sign_lent(&self, message: Vec<u8>, mut signature: Vec<u8>) -> Result<Signed, MintError> {
        // Counted as in flight, so that the next caller goes to a thread.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        signature.resize(self.signer.signature_len(), 0);
        let outcome = self.signer.sign(&message, &mut signature);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        outcome?;
        // The last of the statistics is the callers'.
        if let Some(stats) = self.stats.last() {
            stats.lock().lent += 1;
        }
        Ok(Signed { message, signature })
    }

    fn work(&self, index: usize) {
        let width = self.signer.batch_width().max(1);
        let mut batch: Vec<Request> = Vec::with_capacity(width);
        let mut expected = 1;
        while self.gather(&mut batch, width, expected) {
            expected = batch.len();
            self.sign_batch(index, &mut batch);
        }
    }

    /// Takes up to `width` requests; returns whether there will be any.
    fn gather(&self, batch: &mut Vec<Request>, width: usize, expected: usize) -> bool {
        if self.queued.load(Ordering::SeqCst) == 0 {
            spin_until(self.config.spin, || self.queued.load(Ordering::SeqCst) > 0);
        }
        if expected > 1 && !self.config.linger.is_zero() {
            let wanted = expected.min(width);
            if (1..wanted).contains(&self.queued.load(Ordering::SeqCst)) {
                spin_until(self.config.linger, || {
                    self.queued.load(Ordering::SeqCst) >= wanted
                });
            }
        }
        let mut queue = self.queue.lock();
        while queue.is_empty() {
            if self.is_closed.load(Ordering::SeqCst) {
                return false;
            }
            self.has_work.wait(&mut queue);
        }
        let share = queue.len().min(width);
        batch.extend(queue.drain(..share));
        self.queued.store(queue.len(), Ordering::SeqCst);
        true
    }

    fn sign_batch(&self, index: usize, batch: &mut Vec<Request>) {
        let taken = Instant::now();
        let len = self.signer.signature_len();
        let mut dropped = Vec::new();
        let mut next = 0;
        while let Some(request) = batch.get_mut(next) {
            let is_late = request.deadline.is_some_and(|deadline| taken > deadline);
            if is_late || request.answer.is_closed() {
                dropped.push(batch.swap_remove(next));
            } else {
                request.signature.resize(len, 0);
                next += 1;
            }
        }
        let mut jobs: Vec<Job<'_>> = batch
            .iter_mut()
            .map(|request| Job {
                message: &request.message,
                signature: &mut request.signature,
            })
            .collect();
        let together = match jobs.len() {
            0 => Ok(()),
            1 => self.signer.sign(jobs[0].message, jobs[0].signature),
            _ => self.signer.sign_batch(&mut jobs),
        };
        drop(jobs);
        self.count(index, batch, taken, dropped.len() as u64);
        for request in dropped {
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            // Nobody listens if the caller has gone.
            let _ = request.answer.send(Err(MintError::Deadline));
        }
        for mut request in batch.drain(..) {
            let outcome = match &together {
                Ok(()) => Ok(()),
                // One bad request must not fail its neighbours.
                Err(_) => self.signer.sign(&request.message, &mut request.signature),
            };
            // Before the answer: a caller that has it may look whether the
            // mint is idle.
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            let _ = request
                .answer
                .send(outcome.map_err(MintError::from).map(|()| Signed {
                    message: request.message,
                    signature: request.signature,
                }));
        }
    }

    fn count(&self, index: usize, batch: &[Request], taken: Instant, dropped: u64) {
        let mut stats = self.stats[index].lock();
        stats.skipped += dropped;
        if batch.is_empty() {
            return;
        }
        if stats.batches.len() <= batch.len() {
            stats.batches.resize(batch.len() + 1, 0);
        }
        stats.batches[batch.len()] += 1;
        for request in batch {
            let waited = taken.saturating_duration_since(request.asked);
            let ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            stats.gathering_ns += ns;
            stats.longest_gathering_ns = stats.longest_gathering_ns.max(ns);
        }
    }
}

/// Looks for a condition without sleeping, for at most `limit`.
fn spin_until(limit: Duration, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() && begun.elapsed() < limit {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Signs by copying the message, and can be held up.
    struct Echo {
        width: usize,
        singles: AtomicU64,
        batches: Mutex<Vec<usize>>,
        /// A batch or signature begins only when it gets a permit.
        gate: Option<Mutex<mpsc::Receiver<()>>>,
    }

    impl Echo {
        fn new(width: usize) -> Self {
            Self {
                width,
                singles: AtomicU64::new(0),
                batches: Mutex::default(),
                gate: None,
            }
        }

        fn gated(width: usize) -> (Self, mpsc::Sender<()>) {
            let (open, gate) = mpsc::channel();
            let echo = Self {
                gate: Some(Mutex::new(gate)),
                ..Self::new(width)
            };
            (echo, open)
        }

        fn pass(&self) {
            if let Some(gate) = &self.gate {
                // A closed gate is an open one: the test is over.
                let _ = gate.lock().recv();
            }
        }

        fn copy(message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
            if message == b"bad" {
                return Err(SignError::Backend { backend: "echo" });
            }
            signature.fill(0);
            let len = message.len().min(signature.len());
            signature[..len].copy_from_slice(&message[..len]);
            Ok(())
        }
    }

    impl Signer for Echo {
        fn signature_len(&self) -> usize {
            16
        }

        fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
            self.pass();
            self.singles.fetch_add(1, Ordering::SeqCst);
            Self::copy(message, signature)
        }

        fn sign_batch(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
            self.pass();
            self.batches.lock().push(jobs.len());
            for job in jobs {
                Self::copy(job.message, job.signature)?;
            }
            Ok(())
        }

        fn batch_width(&self) -> usize {
            self.width
        }
    }

    fn config(threads: usize) -> MintConfig {
        MintConfig {
            lends_idle_callers: false,
            ..MintConfig::with_threads(threads)
        }
    }

    fn message(number: usize) -> Vec<u8> {
        format!("message {number:06}").into_bytes()
    }

    fn is_of(signed: &Signed, number: usize) -> bool {
        signed.message == message(number) && signed.signature[..14] == signed.message[..]
    }

    #[tokio::test]
    async fn every_caller_gets_the_signature_of_its_own_message() {
        let echo = Arc::new(Echo::new(8));
        let signer: Arc<dyn Signer> = Arc::clone(&echo) as _;
        let mint = Arc::new(Mint::start(signer, config(2)).unwrap());
        let callers: Vec<_> = (0..64)
            .map(|caller| {
                let mint = Arc::clone(&mint);
                tokio::spawn(async move {
                    for round in 0..50 {
                        let number = caller * 1_000 + round;
                        let signed = mint.sign(message(number), Vec::new(), None).await.unwrap();
                        assert!(is_of(&signed, number));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let stats = mint.stats();
        assert_eq!(stats.signed(), 64 * 50);
        assert_eq!(stats.skipped, 0);
        assert!(
            echo.batches
                .lock()
                .iter()
                .all(|width| (2..=8).contains(width))
        );
    }

    #[test]
    fn what_gathers_while_a_thread_is_busy_is_signed_together() {
        let (echo, open) = Echo::gated(8);
        let echo = Arc::new(echo);
        let mint = Mint::start(Arc::clone(&echo) as Arc<dyn Signer>, config(1)).unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| mint.sign_blocking(message(0), Vec::new(), None));
            // The thread is busy once it has taken the first from the queue.
            while mint.shared.in_flight.load(Ordering::SeqCst) < 1
                || mint.shared.queued.load(Ordering::SeqCst) > 0
            {
                thread::yield_now();
            }
            let rest: Vec<_> = (1..=11)
                .map(|number| {
                    let mint = &mint;
                    scope.spawn(move || mint.sign_blocking(message(number), Vec::new(), None))
                })
                .collect();
            while mint.shared.queued.load(Ordering::SeqCst) < 11 {
                thread::yield_now();
            }
            drop(open);
            assert!(first.join().unwrap().is_ok());
            for caller in rest {
                assert!(caller.join().unwrap().is_ok());
            }
        });
        assert_eq!(echo.singles.load(Ordering::SeqCst), 1);
        assert_eq!(*echo.batches.lock(), [8, 3]);
        assert_eq!(mint.stats().batches, [0, 1, 0, 1, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_lone_blocking_caller_signs_by_itself_if_it_may() {
        let echo = Arc::new(Echo::new(8));
        let mint = Mint::start(
            Arc::clone(&echo) as Arc<dyn Signer>,
            MintConfig::with_threads(1),
        )
        .unwrap();
        for number in 0..10 {
            let signed = mint
                .sign_blocking(message(number), Vec::new(), None)
                .unwrap();
            assert!(is_of(&signed, number));
        }
        assert_eq!(mint.thread_ids().len(), 1);
        assert_eq!(mint.stats().lent, 10);
        assert_eq!(mint.stats().signed(), 0);
    }

    #[test]
    fn a_caller_beyond_the_queue_waits_for_a_place() {
        let (echo, open) = Echo::gated(1);
        let mint = Mint::start(
            Arc::new(echo),
            MintConfig {
                queue: 2,
                ..config(1)
            },
        )
        .unwrap();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|number| {
                    let mint = &mint;
                    scope.spawn(move || mint.sign_blocking(message(number), Vec::new(), None))
                })
                .collect();
            while mint.shared.places.available_permits() > 0 {
                thread::yield_now();
            }
            assert!(mint.shared.in_flight.load(Ordering::SeqCst) <= 2);
            drop(open);
            for caller in callers {
                assert!(caller.join().unwrap().is_ok());
            }
        });
        assert_eq!(mint.stats().signed(), 3);
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_is_answered_without_a_signature() {
        let echo = Arc::new(Echo::new(8));
        let mint = Mint::start(Arc::clone(&echo) as Arc<dyn Signer>, config(1)).unwrap();
        let past = Instant::now();
        let answer = mint.sign(message(0), Vec::new(), Some(past)).await;
        assert!(matches!(answer, Err(MintError::Deadline)));
        assert_eq!(echo.singles.load(Ordering::SeqCst), 0);
        assert_eq!(mint.stats().skipped, 1);
    }

    #[test]
    fn a_request_whose_caller_has_gone_is_not_signed() {
        let (echo, open) = Echo::gated(8);
        let echo = Arc::new(echo);
        let mint = Mint::start(Arc::clone(&echo) as Arc<dyn Signer>, config(1)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| mint.sign_blocking(message(0), Vec::new(), None));
            while mint.shared.in_flight.load(Ordering::SeqCst) < 1
                || mint.shared.queued.load(Ordering::SeqCst) > 0
            {
                thread::yield_now();
            }
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = mint.sign(message(1), Vec::new(), None) => panic!("nothing is signed yet"),
                    () = tokio::task::yield_now() => {}
                }
            });
            drop(open);
            assert!(first.join().unwrap().is_ok());
        });
        while mint.stats().skipped == 0 {
            thread::yield_now();
        }
        assert_eq!(mint.stats().signed(), 1);
        assert!(mint.shared.is_idle());
    }

    #[test]
    fn a_bad_request_does_not_fail_its_neighbours() {
        let (echo, open) = Echo::gated(8);
        let mint = Mint::start(Arc::new(echo), config(1)).unwrap();
        let ready = Barrier::new(5);
        thread::scope(|scope| {
            let callers: Vec<_> = (0..5)
                .map(|number| {
                    let (mint, ready) = (&mint, &ready);
                    scope.spawn(move || {
                        ready.wait();
                        let text = if number == 2 {
                            b"bad".to_vec()
                        } else {
                            message(number)
                        };
                        mint.sign_blocking(text, Vec::new(), None)
                    })
                })
                .collect();
            drop(open);
            for (number, caller) in callers.into_iter().enumerate() {
                let answer = caller.join().unwrap();
                assert_eq!(answer.is_ok(), number != 2);
            }
        });
    }

    #[test]
    fn dropping_the_mint_answers_what_is_queued() {
        let (echo, open) = Echo::gated(2);
        let mint = Mint::start(Arc::new(echo), config(1)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let answers: Vec<_> = runtime.block_on(async {
            let mut answers = Vec::new();
            for number in 0..5 {
                let place = Arc::clone(&mint.shared.places)
                    .acquire_owned()
                    .await
                    .unwrap();
                answers.push(mint.shared.submit(
                    message(number),
                    Vec::new(),
                    None,
                    Instant::now(),
                    place,
                ));
            }
            answers
        });
        drop(open);
        drop(mint);
        for answer in answers {
            assert!(answer.blocking_recv().unwrap().is_ok());
        }
    }
}
