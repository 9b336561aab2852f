//! How are frames read from a stream that may vanish and come back?
//!
//! In batches, from the number behind the last one on. Whatever goes wrong, the
//! consumer is made anew; a stream that has fewer messages than were read was
//! lost, and is read from its beginning.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::StreamExt;
use hyper::body::Bytes;

use super::bus::{Bus, BusError, PATIENCE};

/// Frames fetched at once.
const BATCH: usize = 256;

/// Frames in the order of the stream.
pub struct Frames {
    subject: String,
    consumer: Option<PullConsumer>,
    next: u64,
    looked: Instant,
}

impl Bus {
    /// Reads the frames of a run from the beginning.
    #[must_use]
    pub fn frames(&self, run: &str) -> Frames {
        Frames {
            subject: format!("{}.data.{run}.>", self.fleet),
            consumer: None,
            next: 1,
            looked: Instant::now(),
        }
    }

    /// Returns the frames that have come since.
    ///
    /// After an error the next call asks for what is missing. A store that was
    /// lost is read from its beginning.
    ///
    /// # Errors
    ///
    /// The server does not answer.
    pub async fn fetch(&self, frames: &mut Frames) -> Result<Vec<Bytes>, BusError> {
        let found = self.try_fetch(frames).await;
        let is_quiet = found.as_ref().map_or(true, Vec::is_empty);
        if found.is_err() {
            frames.consumer = None;
        }
        if is_quiet && frames.looked.elapsed() > PATIENCE {
            frames.looked = Instant::now();
            if let Ok(stream) = self.jetstream.get_stream(self.frames_name()).await {
                let last = stream.cached_info().state.last_sequence;
                if last + 1 < frames.next {
                    frames.next = 1;
                }
                if last + 1 != frames.next {
                    frames.consumer = None;
                }
            }
        }
        found
    }

    async fn try_fetch(&self, frames: &mut Frames) -> Result<Vec<Bytes>, BusError> {
        let name = self.frames_name();
        let consumer = if let Some(consumer) = &frames.consumer {
            consumer
        } else {
            let config = pull::Config {
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: frames.next,
                },
                ack_policy: AckPolicy::None,
                filter_subject: frames.subject.clone(),
                inactive_threshold: Duration::from_secs(30),
                ..pull::Config::default()
            };
            let made = self
                .jetstream
                .create_consumer_on_stream(config, &name)
                .await;
            let made = made.map_err(|source| self.failed("read the stream", &name, source))?;
            frames.consumer.insert(made)
        };
        let mut found = Vec::new();
        loop {
            let batch = consumer.fetch().max_messages(BATCH).messages();
            let batch = tokio::time::timeout(PATIENCE, batch).await;
            let mut batch = batch
                .map_err(|elapsed| self.failed("read the stream", &name, elapsed))?
                .map_err(|source| self.failed("read the stream", &name, source))?;
            let before = found.len();
            while let Some(message) = tokio::time::timeout(PATIENCE, batch.next())
                .await
                .map_err(|elapsed| self.failed("read the stream", &name, elapsed))?
            {
                let message =
                    message.map_err(|source| self.failed("read the stream", &name, source))?;
                if let Ok(info) = message.info() {
                    frames.next = info.stream_sequence + 1;
                }
                found.push(message.message.payload);
            }
            if found.len() - before < BATCH {
                return Ok(found);
            }
        }
    }
}
