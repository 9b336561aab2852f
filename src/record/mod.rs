//! What does a run leave behind?
//!
//! Plain data: the document of a run with its conditions, histograms that
//! merge exactly, facts about the host, and warnings. Everything that a
//! report shows is computed from the document alone, so that a report can be
//! made again years later. Nothing here measures, decides or prints.

pub mod buckets;
pub mod case;
pub mod document;
pub mod encoded;
pub mod fleet;
pub mod hgrm;
pub mod histogram;
pub mod host;
pub mod interval_log;
pub mod library;
pub mod open;
pub mod outcome;
pub mod search;
pub mod signing;
pub mod stages;
pub mod store;
pub mod warning;

#[cfg(test)]
pub(crate) mod sample;

pub use self::buckets::{Buckets, SharedBuckets};
pub use self::document::{
    CpuTime, Gathered, Habits, Herds, KeyFacts, KeyHabit, Latencies, Phases, Refusal, RunDocument,
    Slice, StepRecord, TokenHabit, Tool,
};
pub use self::fleet::{FleetRecord, RateChange};
pub use self::histogram::Histogram;
pub use self::host::{Host, Quality};
pub use self::library::Library;
pub use self::open::{
    Accounts, Blame, CacheFacts, Calibration, ConnectionFacts, Culprit, Finding, GeneratorHealth,
    OpenRecord, OpenSlice, OutcomeStages, RetryFacts, RotationFacts, SigningFacts, Soundness,
    Validity,
};
pub use self::outcome::Outcome;
pub use self::search::SearchRecord;
pub use self::signing::BenchRecord;
pub use self::stages::{Packed, Stages};
pub use self::store::{Folder, StoreError};
pub use self::warning::Warning;
