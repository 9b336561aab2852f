//! Does every caller get its own answer, and does nobody wait for nothing?

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::signer::Job;

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
        lone: LoneCaller::HandsOver,
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
        while mint.desk.in_flight.load(Ordering::SeqCst) < 1
            || mint.desk.queued.load(Ordering::SeqCst) > 0
        {
            thread::yield_now();
        }
        let rest: Vec<_> = (1..=11)
            .map(|number| {
                let mint = &mint;
                scope.spawn(move || mint.sign_blocking(message(number), Vec::new(), None))
            })
            .collect();
        while mint.desk.queued.load(Ordering::SeqCst) < 11 {
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
        while mint.desk.places.available_permits() > 0 {
            thread::yield_now();
        }
        assert!(mint.desk.in_flight.load(Ordering::SeqCst) <= 2);
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
        while mint.desk.in_flight.load(Ordering::SeqCst) < 1
            || mint.desk.queued.load(Ordering::SeqCst) > 0
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
    assert_eq!(mint.desk.in_flight.load(Ordering::SeqCst), 0);
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
            let place = Arc::clone(&mint.desk.places).acquire_owned().await.unwrap();
            answers.push(mint.desk.submit(
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

#[tokio::test]
async fn a_lone_awaiting_caller_signs_by_itself_if_it_may() {
    let echo = Arc::new(Echo::new(8));
    let signer = Arc::clone(&echo) as Arc<dyn Signer>;
    let mint = Mint::start(Arc::clone(&signer), MintConfig::with_threads(1)).unwrap();
    let blocking_only = MintConfig {
        lone: LoneCaller::SignsIfBlocking,
        ..MintConfig::with_threads(1)
    };
    let other = Mint::start(signer, blocking_only).unwrap();
    for number in 0..10 {
        let signed = mint.sign(message(number), Vec::new(), None).await.unwrap();
        assert!(is_of(&signed, number));
        let signed = other.sign(message(number), Vec::new(), None).await.unwrap();
        assert!(is_of(&signed, number));
    }
    assert_eq!((mint.stats().lent, mint.stats().signed()), (10, 0));
    assert_eq!((other.stats().lent, other.stats().signed()), (0, 10));
}

#[test]
fn tasks_of_one_thread_that_ask_together_are_signed_together() {
    let (echo, open) = Echo::gated(8);
    let echo = Arc::new(echo);
    let mint = Mint::start(
        Arc::clone(&echo) as Arc<dyn Signer>,
        MintConfig::with_threads(1),
    )
    .unwrap();
    let mint = Arc::new(mint);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    // Nothing is signed before the gate is open, which it would have to be if
    // the first task signed by itself.
    runtime.block_on(async {
        let tasks: Vec<_> = (0..9)
            .map(|number| {
                let mint = Arc::clone(&mint);
                tokio::spawn(async move { mint.sign(message(number), Vec::new(), None).await })
            })
            .collect();
        while mint.desk.in_flight.load(Ordering::SeqCst) < 9 {
            tokio::task::yield_now().await;
        }
        drop(open);
        for task in tasks {
            assert!(task.await.unwrap().is_ok());
        }
    });
    assert_eq!((mint.stats().lent, mint.stats().signed()), (0, 9));
}

#[test]
fn a_lone_caller_that_goes_away_leaves_the_mint_idle() {
    let mint = Mint::start(Arc::new(Echo::new(8)), MintConfig::with_threads(1)).unwrap();
    let mut asking = Box::pin(mint.sign(message(0), Vec::new(), None));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asking.as_mut().poll(&mut context).is_pending());
    assert_eq!(mint.desk.in_flight.load(Ordering::SeqCst), 1);
    drop(asking);
    assert_eq!(mint.desk.in_flight.load(Ordering::SeqCst), 0);
}

#[test]
fn a_lone_caller_whose_deadline_has_passed_is_not_signed_for() {
    let echo = Arc::new(Echo::new(8));
    let mint = Mint::start(
        Arc::clone(&echo) as Arc<dyn Signer>,
        MintConfig::with_threads(1),
    )
    .unwrap();
    let past = Instant::now();
    let answer = mint.sign_blocking(message(0), Vec::new(), Some(past));
    assert!(matches!(answer, Err(MintError::Deadline)));
    assert_eq!(echo.singles.load(Ordering::SeqCst), 0);
    assert_eq!(mint.stats().skipped, 1);
}
