//! How does a request get from its caller to a thread, and back?
//!
//! The desk holds the queue and knows how many requests are under way. What a
//! caller may do by itself, and what to tell whom, is decided in the parent.
//!
//! Invariant: a request is under way from before it can be seen in the queue
//! until just before its answer, so that a caller with an answer in its hands
//! finds the desk idle if nobody else has asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{MintConfig, MintError, MintStats, Signed};
use crate::signer::{Job, Signer};

/// What the callers and the threads of a mint share.
pub(super) struct Desk {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) config: MintConfig,
    /// Places in the queue; a request holds one until it is answered.
    pub(super) places: Arc<Semaphore>,
    queue: Mutex<VecDeque<Request>>,
    has_work: Condvar,
    /// The length of the queue, to look at without the lock.
    pub(super) queued: AtomicUsize,
    /// Requests that were accepted and are not answered.
    pub(super) in_flight: AtomicUsize,
    is_closed: AtomicBool,
    /// One for each thread, and the last for callers that sign by themselves.
    pub(super) stats: Vec<Mutex<MintStats>>,
}

struct Request {
    message: Vec<u8>,
    signature: Vec<u8>,
    deadline: Option<Instant>,
    asked: Instant,
    answer: oneshot::Sender<Result<Signed, MintError>>,
    _place: OwnedSemaphorePermit,
}

/// A caller that was let in while nothing else was under way.
///
/// It counts as under way until it is dropped, so that whoever comes next is
/// sent to a thread.
pub(super) struct Alone<'a> {
    desk: &'a Desk,
}

impl Alone<'_> {
    /// Has nobody else come since?
    pub(super) fn is_alone(&self) -> bool {
        self.desk.in_flight.load(Ordering::SeqCst) == 1
    }

    /// Signs on the caller's own thread, unless the deadline has passed.
    pub(super) fn sign(
        self,
        message: Vec<u8>,
        mut signature: Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Signed, MintError> {
        let desk = self.desk;
        let is_late = deadline.is_some_and(|deadline| Instant::now() > deadline);
        let outcome = if is_late {
            Err(MintError::Deadline)
        } else {
            signature.resize(desk.signer.signature_len(), 0);
            let signed = desk.signer.sign(&message, &mut signature);
            signed.map_err(MintError::from)
        };
        drop(self);
        if let Some(stats) = desk.stats.last() {
            let mut stats = stats.lock();
            if is_late {
                stats.skipped += 1;
            } else if outcome.is_ok() {
                stats.lent += 1;
            }
        }
        outcome.map(|()| Signed { message, signature })
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.desk.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    /// Opens a desk for so many threads.
    pub(super) fn new(signer: Arc<dyn Signer>, config: MintConfig, threads: usize) -> Self {
        let places = config.queue.max(1);
        Self {
            signer,
            config,
            places: Arc::new(Semaphore::new(places)),
            queue: Mutex::new(VecDeque::with_capacity(places)),
            has_work: Condvar::new(),
            queued: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            stats: (0..=threads).map(|_| Mutex::default()).collect(),
        }
    }

    /// Lets the threads end once the queue is empty. Callers that wait for a
    /// place learn that there will be none; what is queued is still signed.
    pub(super) fn close(&self) {
        self.places.close();
        {
            let _queue = self.queue.lock();
            self.is_closed.store(true, Ordering::SeqCst);
        }
        self.has_work.notify_all();
    }

    /// Queues a request and wakes a thread.
    pub(super) fn submit(
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

    /// Lets the caller in if nothing else is under way.
    pub(super) fn enter_alone(&self) -> Option<Alone<'_>> {
        self.in_flight
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
            .ok()
            .map(|_| Alone { desk: self })
    }

    /// Signs what is asked for until the desk is closed.
    pub(super) fn work(&self, index: usize) {
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
            stats.gathering.record(waited);
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
