//! How do agents and coordinator reach each other over NATS?
//!
//! Two streams of a JetStream server: a bucket of keys with what was laid down
//! for a run, and the frames of what was measured. Core messages are beats,
//! clock readings and hints that a key has changed; nothing depends on them
//! arriving. Keys are polled and frames are fetched in batches: a subscription
//! that stalls without a word cannot be relied on after a server has
//! restarted. Nothing here knows what the messages mean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Subscriber};
use hyper::body::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::access::Access;
use super::access::connect;
pub use super::frames::Frames;
use super::message::{MessageError, of_json, to_json};

/// How long a server may take to answer; then the question is asked again.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long keys of runs are kept.
const KEYS_LAST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long a server remembers the IDs of messages.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A connection to the servers.
#[derive(Clone)]
pub struct Bus {
    /// For core messages alone: a server that hangs while it stores what came
    /// over a connection reads nothing more of that one.
    talk: Client,
    pub(super) jetstream: Context,
    pub(super) fleet: String,
    /// What the server said last, unasked.
    complaint: Arc<Mutex<Option<String>>>,
    /// The room and the replicas of the streams, where this side makes them.
    room: Arc<Mutex<Option<(i64, usize)>>>,
    store: Arc<tokio::sync::Mutex<Option<Store>>>,
}

impl Bus {
    /// Connects, and waits for a server as long as `access` says.
    ///
    /// # Errors
    ///
    /// No server could be reached in time, or it does not let this program in.
    pub async fn connect(access: &Access, who: &str) -> Result<Self, BusError> {
        let complaint: Arc<Mutex<Option<String>>> = Arc::default();
        let client = connect(access, who, &complaint).await?;
        let talk = connect(access, who, &complaint).await?;
        let mut jetstream = jetstream::new(client);
        jetstream.set_timeout(PATIENCE);
        Ok(Self {
            talk,
            jetstream,
            fleet: access.fleet.clone(),
            complaint,
            room: Arc::default(),
            store: Arc::default(),
        })
    }

    /// Makes the streams if they are missing, the one of frames with room for
    /// `most_bytes`, each on `replicas` servers.
    ///
    /// # Errors
    ///
    /// The server refuses, for instance since it has no room.
    pub async fn prepare(&self, most_bytes: i64, replicas: usize) -> Result<(), BusError> {
        *self.room.lock() = Some((most_bytes, replicas));
        self.prepare_again().await
    }

    /// Makes the streams again that a server has lost.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`].
    pub async fn prepare_again(&self) -> Result<(), BusError> {
        let Some((most_bytes, replicas)) = *self.room.lock() else {
            return Ok(());
        };
        let bucket = Config {
            name: self.bucket_name(),
            subjects: vec![format!("$KV.{}.>", self.fleet)],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            max_age: KEYS_LAST,
            ..Config::default()
        };
        let frames = Config {
            name: self.frames_name(),
            subjects: vec![format!("{}.data.>", self.fleet)],
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: replicas,
            duplicate_window: DUPLICATE_WINDOW,
            max_bytes: most_bytes,
            ..Config::default()
        };
        for config in [bucket, frames] {
            let name = config.name.clone();
            if self.jetstream.get_stream(&name).await.is_err() {
                let made = self.jetstream.create_stream(config).await;
                made.map_err(|source| self.failed("make the stream", &name, source))?;
            }
        }
        *self.store.lock().await = None;
        Ok(())
    }

    /// Removes the frames of all earlier runs.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub async fn forget_frames(&self) -> Result<(), BusError> {
        let name = self.frames_name();
        let stream = self.jetstream.get_stream(&name).await;
        let stream = stream.map_err(|source| self.failed("find the stream", &name, source))?;
        let purged = stream.purge().await;
        purged.map_err(|source| self.failed("empty the stream", &name, source))?;
        Ok(())
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// The server does not answer, or the value is no such message.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, BusError> {
        let store = self.store().await?;
        let entry = store.entry(key).await;
        let Some(entry) = entry.map_err(|source| self.failed("read the key", key, source))? else {
            return Ok(None);
        };
        if entry.operation != jetstream::kv::Operation::Put {
            return Ok(None);
        }
        let value = of_json(&entry.value).map_err(|source| BusError::Message {
            key: key.to_owned(),
            source,
        })?;
        Ok(Some((value, entry.revision)))
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// The server does not acknowledge it.
    pub async fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<u64, BusError> {
        let store = self.store().await?;
        let put = store.put(key, to_json(value).into()).await;
        put.map_err(|source| self.failed("write the key", key, source))
    }

    /// Removes all keys that a pattern names, with their values.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub async fn remove(&self, pattern: &str) -> Result<(), BusError> {
        let name = self.bucket_name();
        let stream = self.jetstream.get_stream(&name).await;
        let stream = stream.map_err(|source| self.failed("find the stream", &name, source))?;
        let purge = stream.purge();
        let purged = purge.filter(format!("$KV.{}.{pattern}", self.fleet)).await;
        purged.map_err(|source| self.failed("remove the keys", pattern, source))?;
        Ok(())
    }

    /// Has the server lost the bucket? Not if it does not say so.
    pub async fn is_lost(&self) -> bool {
        match self.jetstream.get_stream(self.bucket_name()).await {
            Ok(_) => false,
            Err(error) => matches!(
                error.kind(),
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND
            ),
        }
    }

    /// Writes a key that must not exist; says whether it did not.
    ///
    /// # Errors
    ///
    /// The server does not acknowledge it.
    pub async fn create<T: Serialize>(&self, key: &str, value: &T) -> Result<bool, BusError> {
        let store = self.store().await?;
        match store.create(key, to_json(value).into()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(self.failed("write the key", key, source)),
        }
    }

    /// Writes a key if nobody else has written it since `revision`; returns
    /// the new revision, or `None` if somebody has.
    ///
    /// # Errors
    ///
    /// The server does not acknowledge it.
    pub async fn replace<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        revision: u64,
    ) -> Result<Option<u64>, BusError> {
        let store = self.store().await?;
        match store.update(key, to_json(value).into(), revision).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(source) => Err(self.failed("write the key", key, source)),
        }
    }

    /// Publishes a frame and waits until the server has it. A frame of an ID
    /// that the server remembers is not stored twice.
    ///
    /// # Errors
    ///
    /// The server does not acknowledge it in time.
    pub async fn publish(
        &self,
        run: &str,
        slot: usize,
        id: &str,
        frame: Bytes,
    ) -> Result<(), BusError> {
        let subject = format!("{}.data.{run}.{slot}", self.fleet);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let sent = async {
            let published = self
                .jetstream
                .publish_with_headers(subject.clone(), headers, frame);
            published.await?.await
        };
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(self.failed("publish on", &subject, source)),
            Err(elapsed) => Err(self.failed("publish on", &subject, elapsed)),
        }
    }

    /// Sends a core message, which may be lost.
    pub async fn tell<T: Serialize>(&self, what: &str, run: &str, message: &T) {
        // Whoever misses it finds the key, or hears the next one.
        self.send(what, run, &to_json(message)).await;
    }

    /// Sends a frame as a core message, which may be lost and is not stored.
    pub async fn send(&self, what: &str, run: &str, frame: &[u8]) {
        let subject = format!("{}.{what}.{run}", self.fleet);
        let _ = self.talk.publish(subject, frame.to_vec().into()).await;
    }

    /// Waits until what was told has left this machine.
    pub async fn flush(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.talk.flush()).await;
    }

    /// Listens to core messages.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn listen(&self, what: &str, run: &str) -> Result<Subscriber, BusError> {
        let subject = format!("{}.{what}.{run}", self.fleet);
        let subscribed = self.talk.subscribe(subject.clone()).await;
        subscribed.map_err(|source| self.failed("listen to", &subject, source))
    }

    /// Asks a question of whoever listens.
    ///
    /// # Errors
    ///
    /// Nobody answers in time, or not with such a message.
    pub async fn ask<T: DeserializeOwned>(&self, what: &str, run: &str) -> Result<T, BusError> {
        let subject = format!("{}.{what}.{run}", self.fleet);
        let asked = self.talk.request(subject.clone(), Bytes::new());
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(source)) => return Err(self.failed("ask on", &subject, source)),
            Err(elapsed) => return Err(self.failed("ask on", &subject, elapsed)),
        };
        of_json(&answer.payload).map_err(|source| BusError::Message {
            key: subject,
            source,
        })
    }

    /// Answers a question.
    pub async fn answer<T: Serialize>(&self, question: &async_nats::Message, answer: &T) {
        if let Some(reply) = &question.reply {
            // Whoever does not hear it asks again.
            let _ = self
                .talk
                .publish(reply.clone(), to_json(answer).into())
                .await;
            let _ = self.talk.flush().await;
        }
    }

    /// Is there a connection now?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.talk.connection_state() == async_nats::connection::State::Connected
    }

    fn bucket_name(&self) -> String {
        format!("KV_{}", self.fleet)
    }

    pub(super) fn frames_name(&self) -> String {
        format!("{}_data", self.fleet)
    }

    async fn store(&self) -> Result<Store, BusError> {
        let mut store = self.store.lock().await;
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let found = self.jetstream.get_key_value(&self.fleet).await;
        let found = found.map_err(|source| self.failed("open the bucket", &self.fleet, source))?;
        Ok(store.insert(found).clone())
    }

    pub(super) fn failed(
        &self,
        act: &'static str,
        on: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> BusError {
        BusError::Failed {
            act,
            on: on.to_owned(),
            complaint: self
                .complaint
                .lock()
                .clone()
                .map(|said| format!("; the server said: {said}"))
                .unwrap_or_default(),
            source: source.into(),
        }
    }
}

/// Why the servers could not be reached, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection.
    #[error("cannot connect to NATS at {servers}")]
    Connect {
        /// The addresses.
        servers: String,
        /// Why.
        #[source]
        source: Box<async_nats::ConnectError>,
    },
    /// An address is none.
    #[error(
        "{address:?} is no address of a NATS server, expected one such as nats://127.0.0.1:4222"
    )]
    Address {
        /// What it is.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of credentials cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of a login holds none.
    #[error("{} holds no login, expected user:password", path.display())]
    Login {
        /// The file.
        path: PathBuf,
    },
    /// The server did not do something.
    #[error("cannot {act} {on:?}{complaint}")]
    Failed {
        /// What.
        act: &'static str,
        /// On which stream, key or subject.
        on: String,
        /// What the server said last.
        complaint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A message is not what it has to be.
    #[error("{key:?} cannot be read")]
    Message {
        /// The key or subject.
        key: String,
        /// Why.
        #[source]
        source: MessageError,
    },
}
