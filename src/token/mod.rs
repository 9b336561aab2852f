//! How does a program get a token, and keep it?
//!
//! | module | answers |
//! |---|---|
//! | [`app`], [`exchange`], [`client`] | what a token request is, how one ends, when another is worth it |
//! | [`signing_key`], [`keys`], [`watch`] | which key signs, and how it is replaced under load |
//! | [`cache`], [`handle`], [`policy`], [`metrics`] | how many workers share their tokens |
//! | [`purpose`], [`source`] | what a token is good for, and where it comes from |
//! | [`shelf`] | how processes share their tokens |
//!
//! Each can be used without the others, and without the rest of this crate:
//! a [`Cache`] takes any [`Source`], a [`Client`] is one. A failing request is
//! data here ([`Answer`]); only a client that has given up returns an error.
//!
//! # Example
//!
//! A program with many workers makes one client and one cache; each worker
//! asks the cache before every call. The endpoint here is the embedded one,
//! and so is the app. `docs/token.md` has more, and what it costs.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use mintmark::assertion::Subject;
//! use mintmark::broker::{AppRegistration, Broker, BrokerConfig, UserRegistration};
//! use mintmark::clock::SystemClock;
//! use mintmark::credential::generate::{self, RsaBits};
//! use mintmark::oauth::Profile;
//! use mintmark::signer::{Algorithm, Registry};
//! use mintmark::token::{App, Cache, Client, Exchange, KeyRing, Retry, SigningKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let credential = generate::app_config(RsaBits::B2048, None)?.credential()?;
//! let key = credential.key.open()?;
//! # let public = key.public_key().cloned().ok_or("no public half")?;
//! # let secret = credential.client_secret.as_ref().map(|secret| secret.expose().to_owned());
//! # let broker = Broker::start(BrokerConfig {
//! #     apps: vec![
//! #         AppRegistration::new(&credential.client_id, secret.unwrap_or_default(), "1")
//! #             .with_key(credential.key_id.clone().unwrap_or_default(), public),
//! #     ],
//! #     users: vec![UserRegistration::of_app("4711", &credential.client_id)],
//! #     ..BrokerConfig::default()
//! # })?;
//! # let url = broker.token_url();
//! // Once: the key is parsed and the request is laid out.
//! let registry = Registry::compiled();
//! let ring = Arc::new(KeyRing::new(SigningKey::load(
//!     &key,
//!     credential.key_id.as_deref(),
//!     &**registry.get("aws-lc-rs")?,
//!     Algorithm::Rs256,
//! )?));
//! let profile = Profile::built_in("box")?;
//! let app = App::new(&credential, &profile, &BTreeMap::new(), Algorithm::Rs256, &url)?;
//! let exchange = Exchange::new(&url, app.form().clone(), Duration::from_secs(10))?;
//! let client = Client::with_keys(
//!     app,
//!     exchange,
//!     ring,
//!     Arc::new(SystemClock::new()),
//!     Retry::AT_ONCE,
//! );
//! let purpose = client.purpose().clone();
//! let cache = Cache::new(client);
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! // Any number of workers: one of them causes the request.
//! let subject = Subject::user("4711");
//! let workers: Vec<_> = (0..100)
//!     .map(|_| {
//!         let (cache, purpose, subject) = (cache.clone(), purpose.clone(), subject.clone());
//!         tokio::spawn(async move { cache.get(&purpose, &subject).await.map(drop) })
//!     })
//!     .collect();
//! for worker in workers {
//!     worker.await??;
//! }
//!
//! // A worker that stays with one subject holds a handle.
//! let mut handle = cache.handle(&purpose, &subject);
//! let header = format!("Bearer {}", handle.get().await?.expose());
//! assert!(header.len() > 7);
//!
//! let metrics = cache.metrics();
//! assert_eq!((metrics.fetches, metrics.hits + metrics.waits), (1, 100));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # assert_eq!(broker.stats().granted, 1);
//! # Ok(())
//! # }
//! ```

pub mod app;
pub mod cache;
pub mod client;
pub mod exchange;
pub mod handle;
pub mod keys;
pub mod metrics;
pub mod policy;
pub mod purpose;
pub mod shelf;
pub mod signing_key;
pub mod source;
pub mod watch;

mod flight;
mod slot;
mod sync;
mod table;
mod token_file;

pub use self::app::{App, AppError};
pub use self::cache::{Cache, CacheBuilder, CacheError, Held};
pub use self::client::{Client, FetchError, Retry};
pub use self::exchange::{Answer, Exchange, ExchangeError, Token};
pub use self::handle::Handle;
pub use self::keys::{KeyRing, KeyStore, Retired};
pub use self::metrics::{AgeClass, Metrics};
pub use self::policy::{Policy, Refresh};
pub use self::purpose::Purpose;
pub use self::shelf::Shelf;
pub use self::signing_key::SigningKey;
pub use self::source::{Clients, Fault, Source, Wanted};
pub use self::token_file::ShelfError;
pub use self::watch::{Change, KeyFile, KeyWatch, WatchError};

/// The programs of the guide, which are compiled and run as those above.
#[cfg(doctest)]
#[doc = include_str!("../../docs/token.md")]
struct Guide;
