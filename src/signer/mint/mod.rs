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
//! anyone, and [`LoneCaller`] says on which thread its signature is made. The queue is bounded: a caller beyond it waits for a place.
//!
//! Invariants: a request is answered exactly once, also when the mint is
//! dropped; a request whose caller has gone, or whose deadline has passed, is
//! not signed.

mod desk;
mod stats;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::gettid;

use self::desk::Desk;
pub use self::stats::MintStats;
use super::{SignError, Signer, check_buffer};

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
    /// Who may sign on its own thread while nothing else is asked for.
    pub lone: LoneCaller,
}

/// What becomes of a request that is the only one.
///
/// Nobody is there to share a batch with, and the hand-over to a thread costs
/// two wake-ups, 20 µs and more on a virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoneCaller {
    /// The caller signs by itself, also within a runtime: it first lets the
    /// runtime's other tasks run, and if none of them asks as well, it holds
    /// up the runtime's thread for one signature.
    #[default]
    Signs,
    /// A caller that blocks its thread anyway signs by itself; one that awaits
    /// hands over. For runtimes whose tasks can't bear one signature's time.
    SignsIfBlocking,
    /// Every request is signed by the mint's threads.
    HandsOver,
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
            lone: LoneCaller::Signs,
        }
    }
}

/// Signs for many callers, in batches, on threads of its own.
///
/// ```
/// use mintmark::credential::generate::{RsaBits, rsa_key};
/// use mintmark::signer::{Algorithm, Mint, MintConfig, PrivateKey, Registry};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let key = PrivateKey::from_pkcs8_der(&rsa_key(RsaBits::B2048)?)?;
/// let registry = Registry::compiled();
/// let backend = registry.get("batch")?;
/// let mint = Mint::start(backend.load(&key, Algorithm::Rs256)?, MintConfig::with_threads(1))?;
/// let ask = |text: &str| mint.sign(text.as_bytes().to_vec(), Vec::new(), None);
/// let (first, second) = tokio::try_join!(ask("header.claims"), ask("another.one"))?;
/// assert_eq!((first.signature.len(), second.signature.len()), (256, 256));
/// assert_eq!(mint.stats().signed(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mint {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
    thread_ids: Vec<i32>,
}

/// A message and its signature, in buffers that may be used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The message as it was given.
    pub message: Vec<u8>,
    /// Its signature, as [`Signer::sign`] makes it.
    pub signature: Vec<u8>,
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
        let desk = Arc::new(Desk::new(signer, config, count));
        let mut mint = Self {
            desk,
            threads: Vec::new(),
            thread_ids: Vec::new(),
        };
        let (report, reports) = mpsc::channel();
        for index in 0..count {
            let (desk, report) = (Arc::clone(&mint.desk), report.clone());
            // If this fails, dropping the mint ends those that did start.
            let thread = thread::Builder::new()
                .name(format!("mint-{index}"))
                .spawn(move || {
                    let _ = report.send(gettid().as_raw_nonzero().get());
                    // The mint waits until every thread has let go of it.
                    drop(report);
                    desk.work(index);
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
        if self.desk.config.lone == LoneCaller::Signs
            && let Some(alone) = self.desk.enter_alone()
        {
            // On a runtime of one thread no task could ask while this one
            // signs: those that would like to must be heard first.
            others_first().await;
            if alone.is_alone() {
                return alone.sign(message, signature, deadline);
            }
        }
        let place = Arc::clone(&self.desk.places)
            .acquire_owned()
            .await
            .map_err(|_| MintError::Closed)?;
        let answer = self.desk.submit(message, signature, deadline, asked, place);
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
        if self.desk.config.lone != LoneCaller::HandsOver
            && let Some(alone) = self.desk.enter_alone()
        {
            return alone.sign(message, signature, deadline);
        }
        let place = match Arc::clone(&self.desk.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => pollster::block_on(Arc::clone(&self.desk.places).acquire_owned())
                .map_err(|_| MintError::Closed)?,
        };
        let answer = self.desk.submit(message, signature, deadline, asked, place);
        pollster::block_on(answer).map_err(|_| MintError::Closed)?
    }

    /// Returns what the mint has done so far.
    #[must_use]
    pub fn stats(&self) -> MintStats {
        let mut total = MintStats::default();
        for stats in &self.desk.stats {
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
        &self.desk.signer
    }
}

/// A mint is a signer for callers that have a thread to block: what they ask
/// for at the same time is signed together.
impl Signer for Mint {
    fn signature_len(&self) -> usize {
        self.desk.signer.signature_len()
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

/// Lets every task that is ready run once before the caller goes on.
async fn others_first() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Drop for Mint {
    fn drop(&mut self) {
        self.desk.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has dropped its requests, whose callers
            // see a closed mint.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
