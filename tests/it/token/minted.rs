//! Clients whose signatures are gathered by a mint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::Broker;
use mintmark::clock::SystemClock;
use mintmark::credential::AppConfig;
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, Job, MintConfig, Registry, SignError, Signer};
use mintmark::token::{App, Client, Exchange, FetchError, KeyRing, Retry, SigningKey};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::stage::{broker_for, generated_app};

/// Signs in batches of eight, each when the test lets it.
struct Gated {
    inner: Arc<dyn Signer>,
    begun: UnboundedSender<usize>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Gated {
    fn pass(&self, jobs: usize) {
        let _ = self.begun.send(jobs);
        // A gate that was dropped is open.
        let _ = self.gate.lock().unwrap().recv();
    }
}

impl Signer for Gated {
    fn signature_len(&self) -> usize {
        self.inner.signature_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.pass(1);
        self.inner.sign(message, signature)
    }

    fn sign_batch(&self, jobs: &mut [Job<'_>]) -> Result<(), SignError> {
        self.pass(jobs.len());
        self.inner.sign_batch(jobs)
    }

    fn batch_width(&self) -> usize {
        8
    }
}

/// A client whose key signs through a mint, and the ring of that key.
struct Stage {
    app: AppConfig,
    broker: Broker,
    client: Arc<Client>,
    ring: Arc<KeyRing>,
    /// The size of each batch that begins.
    begun: UnboundedReceiver<usize>,
    open: mpsc::Sender<()>,
}

impl Stage {
    fn new() -> Self {
        let app = generated_app();
        let broker = broker_for(&app);
        let credential = app.credential().unwrap();
        let key = credential.key.open().unwrap();
        let (begin, begun) = unbounded_channel();
        let (open, gate) = mpsc::channel();
        let signer = Gated {
            inner: Registry::compiled()
                .get("aws-lc-rs")
                .unwrap()
                .load(&key, Algorithm::Rs256)
                .unwrap(),
            begun: begin,
            gate: Mutex::new(gate),
        };
        let kid = credential.key_id.as_deref();
        let key = SigningKey::of_signer(Arc::new(signer), kid, Algorithm::Rs256)
            .minted(MintConfig::with_threads(1))
            .unwrap();
        let ring = Arc::new(KeyRing::new(key));
        let url = broker.token_url();
        let bound = App::new(
            &credential,
            &Profile::built_in("box").unwrap(),
            &BTreeMap::new(),
            Algorithm::Rs256,
            &url,
        )
        .unwrap();
        let exchange = Exchange::new(&url, bound.form().clone(), Duration::from_secs(20)).unwrap();
        let client = Client::with_keys(
            bound,
            exchange,
            Arc::clone(&ring),
            Arc::new(SystemClock::new()),
            Retry::NEVER,
        );
        Self {
            app,
            broker,
            client: Arc::new(client),
            ring,
            begun,
            open,
        }
    }

    fn fetch(&self) -> tokio::task::JoinHandle<Result<(), FetchError>> {
        let client = Arc::clone(&self.client);
        let subject = Subject::enterprise(self.app.enterprise_id.clone().unwrap());
        tokio::spawn(async move { client.fetch(&subject).await.map(drop) })
    }
}

/// Lets the tasks of this thread run until they wait for others.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_tasks_of_one_thread_ask_for_is_signed_together() {
    let mut stage = Stage::new();
    let first = stage.fetch();
    assert_eq!(stage.begun.recv().await, Some(1));
    // That signature is under way, and this thread is free for the rest.
    let rest: Vec<_> = (0..7).map(|_| stage.fetch()).collect();
    settle().await;
    assert!(!first.is_finished());
    drop(stage.open);
    for fetch in std::iter::once(first).chain(rest) {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(stage.begun.recv().await, Some(7));
    let key = stage.ring.current();
    assert_eq!(key.mint().unwrap().stats().mean_width(), Some(4.0));
    assert_eq!(stage.broker.stats().granted, 8);
}

#[tokio::test(flavor = "current_thread")]
async fn a_fetch_that_is_dropped_is_not_signed_for() {
    let mut stage = Stage::new();
    let first = stage.fetch();
    assert_eq!(stage.begun.recv().await, Some(1));
    let (dropped, last) = (stage.fetch(), stage.fetch());
    settle().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    drop(stage.open);
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
    let stats = stage.ring.current().mint().unwrap().stats();
    assert_eq!((stats.signed(), stats.skipped), (2, 1));
    assert_eq!(stage.broker.stats().requests, 2);
}

#[test]
fn a_key_has_one_mint() {
    let stage = Stage::new();
    drop(stage.open);
    let key = stage.ring.current();
    let mint = Arc::clone(key.mint().unwrap());
    let again = SigningKey::of_mint(Arc::clone(&mint), Some("kid"), Algorithm::Rs256)
        .minted(MintConfig::with_threads(1))
        .unwrap();
    assert!(Arc::ptr_eq(again.mint().unwrap(), &mint));
    assert_eq!(
        again.signer().batch_width(),
        1,
        "a mint is asked one by one"
    );
}
