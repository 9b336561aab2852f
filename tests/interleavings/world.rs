//! A cache of one key, small enough to be looked at in every order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use shuttle::future::{JoinHandle, spawn, yield_now};

use crate::slot::{Entry, Kept, Lead, Outcome, Slot};

/// When a test begins.
const START: u64 = 1_000;
/// When the first token is due for replacement.
pub const DUE: u64 = 1_080;

type Place = Slot<(), u32, &'static str>;

/// What the callers of a test share. Its own counters are no points at which
/// the checker switches.
pub struct World {
    /// Stands for the map: the slot that the key leads to.
    slot: std::sync::Mutex<Arc<Place>>,
    now: AtomicU64,
    fetches: AtomicU32,
    under_way: AtomicU32,
    fails: bool,
    refreshes: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Self::of(false)
    }

    pub fn failing() -> Arc<Self> {
        Self::of(true)
    }

    fn of(fails: bool) -> Arc<Self> {
        Arc::new(Self {
            slot: std::sync::Mutex::new(Arc::new(Slot::new(()))),
            now: AtomicU64::new(START),
            fetches: AtomicU32::new(0),
            under_way: AtomicU32::new(0),
            fails,
            refreshes: std::sync::Mutex::default(),
        })
    }

    pub fn slot(&self) -> Arc<Place> {
        Arc::clone(&self.slot.lock().unwrap())
    }

    pub fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::SeqCst)
    }

    pub fn set_time(&self, now: u64) {
        self.now.store(now, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Gets a token as the library's callers do, fetching within the future.
    pub async fn get(self: &Arc<Self>) -> Result<u32, &'static str> {
        loop {
            let slot = self.slot();
            let wait = match slot.enter(self.now(), false) {
                Entry::Fresh(kept) | Entry::Stale(kept) => return Ok(*kept.token),
                Entry::Failed(reason) => return Err(reason),
                Entry::Retired => {
                    // The map is not a point of interest: it leads elsewhere
                    // once the evicting caller has come to that.
                    yield_now().await;
                    continue;
                }
                Entry::Wait(wait) => wait,
                Entry::Lead(lead) | Entry::Refresh(_, lead) => {
                    let wait = lead.wait();
                    self.fetch(lead).await;
                    wait
                }
            };
            match wait.outcome().await {
                Outcome::Landed(kept) => return Ok(*kept.token),
                Outcome::Failed { reason, .. } => return Err(reason),
                Outcome::Superseded(_) | Outcome::Abandoned => {}
            }
        }
    }

    /// Gets a token, refreshing it in a task if it is due; says whether that
    /// had to be waited for.
    pub async fn get_or_refresh(self: &Arc<Self>) -> (u32, bool) {
        let slot = self.slot();
        match slot.enter(self.now(), true) {
            Entry::Fresh(kept) | Entry::Stale(kept) => (*kept.token, false),
            Entry::Refresh(kept, lead) => {
                let world = Arc::clone(self);
                let task = spawn(async move { world.fetch(lead).await });
                self.refreshes.lock().unwrap().push(task);
                (*kept.token, false)
            }
            _ => (self.get().await.unwrap(), true),
        }
    }

    pub async fn finish_refreshes(&self) {
        let tasks = std::mem::take(&mut *self.refreshes.lock().unwrap());
        for task in tasks {
            task.await.unwrap();
        }
    }

    pub fn refuse(&self, token: u32) {
        self.slot()
            .refuse(self.now(), 0, "refused", |kept| *kept == token, |_| 0);
    }

    /// Replaces the slot if it may go, as the cache does when it is full.
    pub fn evict(&self) {
        let slot = self.slot();
        if slot.retire() {
            *self.slot.lock().unwrap() = Arc::new(Slot::new(()));
        }
    }

    pub fn pin(&self) -> Arc<Place> {
        loop {
            let slot = self.slot();
            if slot.pin() {
                return slot;
            }
            shuttle::thread::yield_now();
        }
    }

    async fn fetch(&self, lead: Lead<(), u32, &'static str>) {
        let under_way = UnderWay::begin(&self.under_way);
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        yield_now().await;
        yield_now().await;
        drop(under_way);
        if self.fails {
            lead.fail("down", true, |_| u64::MAX);
        } else {
            let since = self.now();
            lead.land(Kept {
                token: Arc::new(number),
                since,
                due: since + 80,
                fresh_until: since + 90,
                stale_until: since + 100,
                early_scale: 0.0,
            });
        }
    }
}

/// A fetch under way; there may be one at a time.
struct UnderWay<'a>(&'a AtomicU32);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicU32) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two fetch at once");
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A future that is dropped after so many polls.
pub struct Cut<F>(Option<Pin<Box<F>>>, u32);

impl<F> Cut<F> {
    pub fn new(future: Pin<Box<F>>, polls: u32) -> Self {
        Self(Some(future), polls)
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            self.0 = None;
        }
        self.1 = self.1.saturating_sub(1);
        let Some(future) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = future.as_mut().poll(context).map(Some);
        // Polled again even if nobody else does it, so that it is cut in time.
        context.waker().wake_by_ref();
        polled
    }
}
