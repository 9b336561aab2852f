//! What happens to a token endpoint when it is called?
//!
//! Two models. In the closed one ([`run_closed`]) each worker begins its next
//! call when the previous one has ended. A worker has a thread of its own, as
//! the programs have that it stands for, so that signing in one does not delay
//! the answer to another; what a call does is behind [`Caller`].
//!
//! In the open one ([`run_open`]) requests start on a schedule, whatever
//! happens: each is charged from the moment for which it was intended, and the
//! run says whose fault lateness was.
//!
//! | module | answers |
//! |---|---|
//! | [`arrival`], [`share`], [`pacer`] | when a request is due, on which machine, and how a thread wakes up for it |
//! | [`population`], [`assertions`] | whose token is asked for, and where the assertion comes from |
//! | [`CachePlan`], [`open::Retries`] | whether a token is kept, and a failure repeated |
//! | [`transport`] | how it travels |
//! | `lane`, `tally`, `collect`, `failures` | how a thread sends, counts, and hands over |
//! | [`observe`] | what is known of it while it runs |
//! | [`verdict`], [`calibrate`] | whether to believe it, and what this machine can do |
//!
//! A failing call is data.

pub mod arrival;
pub mod assertions;
mod cached;
pub mod calibrate;
pub mod caller;
mod closed;
mod collect;
mod counters;
mod crew;
mod failures;
mod health;
pub mod keeping;
mod lane;
mod measured;
mod mint;
pub mod objective;
pub mod observe;
pub mod open;
mod open_plan;
pub mod pace;
pub mod pacer;
pub mod population;
mod prepare;
mod recorder;
mod request;
mod retry;
mod ring;
mod sets;
pub mod share;
mod supervise;
mod tally;
pub mod transport;
mod turn;
pub mod verdict;
mod writer;

use std::future::Future;
use std::time::Duration;

pub use self::cached::{Ages, CachePlan};
pub use self::closed::{ClosedPlan, LoadError, Measured, OtherThreads, Progress, run_closed};
pub use self::open::{OpenMeasured, OpenPlan, run_open};
use crate::record::Outcome;

/// Makes one call after another, from one worker.
pub trait Caller {
    /// Makes one call, whatever becomes of it.
    fn call(&mut self) -> impl Future<Output = Call>;
}

/// What one call was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How it ended.
    pub outcome: Outcome,
    /// The time for opening the key and signing, if it did that.
    pub signing: Option<Duration>,
    /// The time from the request to the whole answer, if it sent one.
    pub exchange: Option<Duration>,
}
