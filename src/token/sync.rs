//! Which lock, atomics and cells does a slot stand on?
//!
//! Those of every day are named here, once. The model checker compiles
//! [`super::slot`] against its own, so that it may interleave their uses.

pub(super) use std::sync::OnceLock;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) use arc_swap::ArcSwapOption;
pub(super) use parking_lot::Mutex;
pub(super) use tokio::sync::Notify;
