//! What do agents and coordinator say to each other, and how is it written?
//!
//! Control is plain JSON in keys of a bucket; what was measured travels in
//! frames with a digest. Both carry the version of the protocol, and whoever
//! reads another one says so. A frame is checked before anything in it sizes
//! an allocation: its length by the server's limit, its histograms by
//! [`crate::record::encoded`]. `docs/fleet.md` describes every field.

mod control;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::control::{
    Beat, Begin, Card, Control, Dealing, Done, FileDigest, Handover, Hint, Leader, Refusal, Sealed,
    Spec, State, Want,
};
use crate::load::observe::PassedSlice;
use crate::record::stages::PARTS;
use crate::record::{
    Blame, CacheFacts, Calibration, ConnectionFacts, CpuTime, GeneratorHealth, OpenSlice,
    OutcomeStages, Packed, Phases, RetryFacts, SigningFacts, Soundness, Stages,
};

/// The version of everything in this module. It rises with every change.
pub const PROTOCOL: u32 = 1;

/// The first bytes of a frame; the last one is the version.
const MAGIC: [u8; 4] = *b"MMF1";

/// The part of the SHA-256 of a frame's body that stands before it.
const DIGEST: usize = 8;

/// The longest frame: what a server accepts by default.
pub const MOST_FRAME: usize = 1 << 20;

/// What one agent measured in some slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Whose it is.
    pub of: Sender,
    /// Its number among the agent's messages, from 1.
    pub seq: u64,
    /// The slices.
    pub slices: Vec<Slice>,
}

/// Who sent a frame, and for which run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The run.
    pub run: String,
    /// The agent's slot.
    pub slot: usize,
    /// Who it is.
    pub incarnation: String,
}

/// One slice of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Its beginning from that of the measured phase, in nanoseconds.
    pub start_ns: u64,
    /// Its length in nanoseconds.
    pub length_ns: u64,
    /// Starts that were due within it.
    pub scheduled: u64,
    /// What became of them.
    pub outcomes: Vec<Part>,
}

/// The requests of a slice that ended in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The outcome's name.
    pub outcome: String,
    /// How many there were.
    pub count: u64,
    /// Their histograms in written form, in the order of
    /// [`Stages::parts`]; empty texts for empty ones.
    pub parts: [String; PARTS],
}

/// What an agent measured in the whole, when it has come to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Whose it is.
    pub of: Sender,
    /// The number of its last delta.
    pub last_seq: u64,
    /// Messages that it published more than once.
    pub resent: u64,
    /// Why it could not go on, if it could not.
    pub failed: Option<String>,
    /// What it measured, if it began.
    pub totals: Option<Box<Totals>>,
}

impl End {
    /// Did the agent end before its share was made?
    #[must_use]
    pub fn is_early(&self) -> bool {
        let totals = self.totals.as_ref();
        totals.is_none_or(|totals| totals.was_stopped)
    }
}

/// The account of a whole load of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// How its time was spent.
    pub phases: Phases,
    /// Starts of the measured phase.
    pub scheduled: u64,
    /// All of its requests, by outcome.
    pub outcomes: Vec<Part>,
    /// Whose fault the time was.
    pub blame: Blame,
    /// The time of which these are the shares.
    pub blamed_ns: u64,
    /// The rate at which it sent.
    pub sent_per_s: f64,
    /// What was opened on the way.
    pub opened: ConnectionFacts,
    /// How assertions came to be.
    pub signing: SigningFacts,
    /// What repeating came to.
    pub retries: Option<RetryFacts>,
    /// What was found in its cache.
    pub cache: Option<CacheFacts>,
    /// What its threads went through.
    pub health: GeneratorHealth,
    /// Its processor time.
    pub cpu: CpuTime,
    /// How much later than agreed it began.
    pub began_late_ns: u64,
    /// What its machine does against a target that does nothing.
    pub calibration: Option<Calibration>,
    /// Its verdict on itself.
    pub soundness: Soundness,
    /// Was it stopped before its time?
    pub was_stopped: bool,
    /// How long after it should have taken effect it heard of a change of rate,
    /// at most, in nanoseconds.
    pub heard_late_ns: u64,
    /// The changes of rate that it heard of.
    pub changes_heard: usize,
    /// Starts of the measured phase by agent, where only agents can know them:
    /// where they are dealt out by subject.
    pub planned: Option<Vec<u64>>,
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Some slices.
    Delta(Delta),
    /// The end of an agent.
    End(End),
}

impl Told {
    /// Returns who sent it.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        match self {
            Self::Delta(delta) => &delta.of,
            Self::End(end) => &end.of,
        }
    }

    /// Writes the frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let body = to_json(self);
        let mut frame = MAGIC.to_vec();
        frame.extend(&Sha256::digest(&body)[..DIGEST]);
        frame.extend(body);
        frame
    }

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// It is too long, of another version, damaged, or holds something else.
    pub fn of_frame(frame: &[u8]) -> Result<Self, MessageError> {
        if frame.len() > MOST_FRAME {
            return Err(MessageError::Long(frame.len()));
        }
        let (head, body) = frame
            .split_at_checked(MAGIC.len() + DIGEST)
            .ok_or(MessageError::Frame)?;
        if head[..MAGIC.len()] != MAGIC {
            return Err(MessageError::Frame);
        }
        if head[MAGIC.len()..] != Sha256::digest(body)[..DIGEST] {
            return Err(MessageError::Damaged);
        }
        of_json(body)
    }
}

impl Slice {
    /// Packs a slice that has passed.
    #[must_use]
    pub fn of(passed: &PassedSlice<'_>) -> Self {
        Self {
            start_ns: passed.start_ns,
            length_ns: passed.length_ns,
            scheduled: passed.scheduled,
            outcomes: passed
                .outcomes()
                .map(|(name, sets)| Part::of(name, sets.response.count(), &sets.pack()))
                .collect(),
        }
    }

    /// Returns the end, in nanoseconds.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.length_ns)
    }
}

impl Part {
    /// Writes the requests that ended in one way.
    #[must_use]
    pub fn of(outcome: &str, count: u64, stages: &Stages) -> Self {
        Self {
            outcome: outcome.to_owned(),
            count,
            parts: stages.parts().map(|part| part.text().to_owned()),
        }
    }
}

impl From<&OutcomeStages> for Part {
    fn from(of: &OutcomeStages) -> Self {
        Self::of(&of.outcome, of.count, &of.stages)
    }
}

impl From<&OpenSlice> for Slice {
    fn from(slice: &OpenSlice) -> Self {
        Self {
            start_ns: slice.start_ns,
            length_ns: slice.length_ns,
            scheduled: slice.scheduled,
            outcomes: slice.outcomes.iter().map(Part::from).collect(),
        }
    }
}

/// Reads the histograms of a part into sums, as [`Packed`] has them.
impl TryFrom<&Part> for Stages {
    type Error = crate::record::histogram::EncodingError;

    fn try_from(part: &Part) -> Result<Self, Self::Error> {
        let mut parts: [Packed; PARTS] = Default::default();
        for (packed, text) in parts.iter_mut().zip(&part.parts) {
            *packed = Packed::of_text(text)?;
        }
        Ok(Self::of_parts(parts))
    }
}

/// Writes a message.
#[must_use]
pub fn to_json<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages hold what JSON can")
}

/// Reads a message.
///
/// # Errors
///
/// It is no such message; one of another version says so.
pub fn of_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
    serde_json::from_slice(bytes).map_err(|source| {
        #[derive(Deserialize)]
        struct Versioned {
            protocol: u32,
        }
        match serde_json::from_slice(bytes) {
            Ok(Versioned { protocol }) if protocol != PROTOCOL => MessageError::Version(protocol),
            _ => MessageError::Json(source),
        }
    })
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is longer than a server lets through.
    #[error("the message has {0} bytes, expected at most {MOST_FRAME}")]
    Long(usize),
    /// It is no frame.
    #[error("the message is no frame of version {PROTOCOL} of the fleet's protocol")]
    Frame,
    /// Its contents are not what its digest says.
    #[error("the message was damaged on its way")]
    Damaged,
    /// It speaks another version.
    #[error("the message is of version {0} of the fleet's protocol, expected {PROTOCOL}")]
    Version(u32),
    /// It is no such message.
    #[error("the message is not understood")]
    Json(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests;
