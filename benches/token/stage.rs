//! What several questions play on: a source that never fails, and an app
//! with a broker that knows its users.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{AppRegistration, Broker, BrokerConfig, UserRegistration};
use mintmark::clock::SystemClock;
use mintmark::credential::generate::{self, RsaBits};
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, Registry, SignError, Signer};
use mintmark::token::{
    App, Client, Exchange, Fault, FetchError, KeyRing, Purpose, Retry, SigningKey, Source, Token,
    Wanted,
};

/// A token of usual length that lives for `life`.
pub fn token(number: u64, life: Duration) -> Arc<Token> {
    Arc::new(Token::new(format!("{number:032}"), "bearer".into(), life))
}

/// Keeps the calling thread on one processor, where that may be chosen.
pub fn pin_to(processor: usize) {
    pin(None, processor);
}

/// Keeps a thread of this process on one processor.
pub fn pin(thread: Option<rustix::thread::Pid>, processor: usize) {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor % count);
    // Where it is not allowed, the figures are noisier, and as true.
    let _ = rustix::thread::sched_setaffinity(thread, &set);
}

/// Never fails, and is asked for nothing.
#[derive(Debug)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl Fault for Never {
    fn is_transient(&self) -> bool {
        match *self {}
    }

    fn retry_after(&self) -> Option<Duration> {
        match *self {}
    }
}

/// Answers at once.
pub struct AtOnce;

impl Source for AtOnce {
    type Error = Never;

    async fn fetch(&self, _: Wanted<'_>) -> Result<Arc<Token>, Never> {
        Ok(token(0, Duration::from_secs(3_600)))
    }

    async fn revoke(&self, _: &Purpose, _: &Token) -> Result<(), Never> {
        Ok(())
    }
}

/// Counts the signatures of another signer.
struct Counted(Arc<dyn Signer>, Arc<AtomicU64>);

impl Signer for Counted {
    fn signature_len(&self) -> usize {
        self.0.signature_len()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sign(message, signature)
    }
}

/// A broker and a client that signs in earnest.
pub struct Stage {
    pub broker: Broker,
    pub signed: Arc<AtomicU64>,
    pub subjects: Vec<Subject>,
    app: App,
    ring: Arc<KeyRing>,
}

impl Stage {
    /// Sets a stage with so many users.
    pub fn new(users: usize) -> Self {
        let credential = generate::app_config(RsaBits::B2048, None)
            .expect("a key is generated")
            .credential()
            .expect("a generated app is complete");
        let key = credential.key.open().expect("a generated key opens");
        let secret = credential
            .client_secret
            .as_ref()
            .map(|secret| secret.expose().to_owned());
        let enterprise = credential.enterprise_id.clone().unwrap_or_default();
        let kid = credential.key_id.clone().unwrap_or_default();
        let public = key.public_key().expect("an RSA key has one").clone();
        let ids: Vec<String> = (0..users).map(|i| (1_000_000 + i).to_string()).collect();
        let broker = Broker::start(BrokerConfig {
            apps: vec![
                AppRegistration::new(
                    &credential.client_id,
                    secret.unwrap_or_default(),
                    enterprise,
                )
                .with_key(&kid, public),
            ],
            users: ids
                .iter()
                .map(|id| UserRegistration::of_app(id, &credential.client_id))
                .collect(),
            ..BrokerConfig::default()
        })
        .expect("a broker starts on a free port");
        let profile = Profile::built_in("box").expect("the profile is compiled in");
        let app = App::new(
            &credential,
            &profile,
            &BTreeMap::new(),
            Algorithm::Rs256,
            &broker.token_url(),
        )
        .expect("a generated app fits its profile");
        let signer = Registry::compiled()
            .get("aws-lc-rs")
            .expect("the backend is compiled in")
            .load(&key, Algorithm::Rs256)
            .expect("the backend takes an RSA key");
        let signed = Arc::new(AtomicU64::new(0));
        let counted = Arc::new(Counted(signer, Arc::clone(&signed)));
        let key = SigningKey::of_signer(counted, Some(&kid), Algorithm::Rs256);
        Self {
            broker,
            signed,
            subjects: ids.iter().map(Subject::user).collect(),
            app,
            ring: Arc::new(KeyRing::new(key)),
        }
    }

    /// Makes a client with connections of its own.
    pub fn client(&self) -> Client {
        let exchange = Exchange::new(
            &self.broker.token_url(),
            self.app.form().clone(),
            Duration::from_secs(30),
        )
        .expect("the broker's address is a URL");
        Client::with_keys(
            self.app.clone(),
            exchange,
            Arc::clone(&self.ring),
            Arc::new(SystemClock::new()),
            Retry::NEVER,
        )
    }
}

/// A client whose tokens live for a while that the bench chooses.
pub struct Living(pub Client, pub Duration);

impl Source for Living {
    type Error = FetchError;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, FetchError> {
        let token = self.0.fetch(wanted.subject).await?;
        let text = token.expose().to_owned();
        let kind = token.token_type().to_owned();
        Ok(Arc::new(Token::new(text, kind, self.1)))
    }

    async fn revoke(&self, _: &Purpose, token: &Token) -> Result<(), FetchError> {
        self.0.revoke(token).await
    }
}
