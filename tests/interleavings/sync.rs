//! The lock, the atomics and the cells of the library, with a point before
//! each of their uses at which the model checker may switch.
//!
//! What the library takes from others, the swap of a pointer and the list of
//! those who wait, is taken here as well, and happens at once.

pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use std::sync::Arc;

use arc_swap::Guard;
use tokio::sync::futures::Notified;

/// A lock that is not poisoned.
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

/// Something whose every use is preceded by a point to switch at.
struct Watched<T> {
    value: T,
    point: AtomicBool,
}

impl<T> Watched<T> {
    fn new(value: T) -> Self {
        Self {
            value,
            point: AtomicBool::new(false),
        }
    }

    fn touch(&self) -> &T {
        self.point.load(Ordering::SeqCst);
        &self.value
    }
}

pub(super) struct OnceLock<T>(Watched<std::sync::OnceLock<T>>);

impl<T> OnceLock<T> {
    pub fn new() -> Self {
        Self(Watched::new(std::sync::OnceLock::new()))
    }

    pub fn get(&self) -> Option<&T> {
        self.0.touch().get()
    }

    pub fn set(&self, value: T) -> Result<(), T> {
        self.0.touch().set(value)
    }
}

pub(super) struct Notify(Watched<tokio::sync::Notify>);

impl Notify {
    pub fn new() -> Self {
        Self(Watched::new(tokio::sync::Notify::new()))
    }

    pub fn notified(&self) -> Notified<'_> {
        self.0.touch().notified()
    }

    pub fn notify_waiters(&self) {
        self.0.touch().notify_waiters();
    }
}

pub(super) struct ArcSwapOption<T>(Watched<arc_swap::ArcSwapOption<T>>);

impl<T> ArcSwapOption<T> {
    pub fn empty() -> Self {
        Self(Watched::new(arc_swap::ArcSwapOption::empty()))
    }

    pub fn load(&self) -> Guard<Option<Arc<T>>> {
        self.0.touch().load()
    }

    pub fn load_full(&self) -> Option<Arc<T>> {
        self.0.touch().load_full()
    }

    pub fn store(&self, value: Option<Arc<T>>) {
        self.0.touch().store(value);
    }

    pub fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        self.0.touch().swap(value)
    }
}
