//! Where does the assertion of a request come from, and what did it cost?
//!
//! *Inline*, the thread that sends signs. By the *mint*, threads of their own
//! sign ahead, in batches where the signer likes them, into a bounded ring for
//! each sending thread. *Pre-minted*, everything is signed before the load
//! begins. *Repeated*, one assertion serves as long as it lives, for endpoints
//! that allow it. In each case an assertion is dated with the moment for which
//! its request is scheduled.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::arrival::Start;
pub use super::mint::MintError;
use super::pacer::now_ns;
use super::population::Population;
use super::ring::{Ring, ring_of};
use super::writer::Writer;
use crate::token::SigningKey;

/// Where assertions come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The thread that sends signs.
    Inline,
    /// Threads of their own sign ahead.
    #[default]
    Mint,
    /// Everything is signed before the load begins.
    Preminted,
    /// One assertion serves as long as it lives.
    Repeat,
}

/// How much of a repeated assertion's life is used.
const REPEATED_LIFE: Duration = Duration::from_secs(20);

/// An assertion and what making it took.
#[derive(Debug)]
pub(super) struct Made {
    /// The number of its start.
    pub index: u64,
    /// The compact JWS; empty if nothing signed. A repeated one is shared.
    pub text: Bytes,
    /// The time for signing, in nanoseconds.
    pub signing_ns: u64,
    /// The time of the start that it is dated for, unless it serves more of
    /// them.
    pub due_ns: Option<u64>,
    /// The key, which has to be held until the endpoint has answered.
    pub key: Option<Arc<SigningKey>>,
}

/// A source of one thread's assertions.
pub(super) enum Source {
    /// Signs when asked.
    Inline(Writer),
    /// Takes what others have signed.
    ///
    /// There is one ring for each signing thread, which take turns.
    Rings(Vec<Ring>),
    /// Takes what was signed before, by the position among the own starts.
    Stock(Vec<Option<Made>>),
    /// Signs again when the last one has grown old.
    Repeat {
        writer: Writer,
        last: Vec<Option<(u64, Bytes)>>,
    },
}

impl Source {
    /// Takes the assertion of `start`, or `None` if it is not there yet:
    /// [`Self::wait`].
    pub fn take(&mut self, start: &Start, origin_ns: u64, population: &Population) -> Option<Made> {
        match self {
            Self::Inline(writer) => Some(writer.write(start, origin_ns, population)),
            Self::Stock(stock) => {
                let at = usize::try_from(start.nth).unwrap_or(usize::MAX);
                let made = stock.get_mut(at).and_then(Option::take);
                Some(made.unwrap_or_else(|| Made::nothing(start.index)))
            }
            Self::Rings(rings) => ring_of(rings, start).take(start.index),
            Self::Repeat { writer, last } => {
                let (member, _) = population.pick(start.index);
                let now = now_ns();
                if let Some((until, text)) = &last[member]
                    && now < *until
                {
                    return Some(Made {
                        index: start.index,
                        text: text.clone(),
                        signing_ns: 0,
                        due_ns: None,
                        key: None,
                    });
                }
                let made = writer.write(start, origin_ns, population);
                let life = u64::try_from(REPEATED_LIFE.as_nanos()).unwrap_or(u64::MAX);
                last[member] = Some((now + life, made.text.clone()));
                Some(made)
            }
        }
    }

    /// Waits for an assertion that was not there.
    pub async fn wait(&mut self, start: &Start) -> Made {
        match self {
            Self::Rings(rings) => ring_of(rings, start).wait(start.index).await,
            _ => Made::nothing(start.index),
        }
    }

    /// Throws the assertion of a start away.
    pub fn discard(&mut self, start: &Start) {
        match self {
            Self::Rings(rings) => ring_of(rings, start).discard(start.index),
            Self::Stock(stock) => {
                let at = usize::try_from(start.nth).unwrap_or(usize::MAX);
                drop(stock.get_mut(at).and_then(Option::take));
            }
            _ => {}
        }
    }
}

impl Made {
    /// Makes the assertion that could not be signed.
    pub fn nothing(index: u64) -> Self {
        Self {
            index,
            text: Bytes::new(),
            signing_ns: 0,
            due_ns: None,
            key: None,
        }
    }
}
