//! How does one thread send what is due, over the connections that it has?
//!
//! A pacer releases starts when they are due, whether a connection is free or
//! not; a free connection takes the one that has waited longest. A start is
//! never dropped unless the plan asks for it. Everything here runs on one
//! thread and takes no lock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::iter::Peekable;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::arrival::{Start, Starts};
use super::assertions::Source;
use super::cached::Caching;
use super::counters::Live;
use super::pace::Warp;
use super::pacer::{Pacer, now_ns};
use super::population::Population;
use super::retry::{Retries, Tried};
use super::tally::{Parts, Tally};
use super::transport::AnyTransport;
use super::turn::Turn;
use super::writer::Writer;
use crate::record::Outcome;

/// The longest pause of a connection before it tries an endpoint again that it
/// cannot reach. Half a hundred connections then notice its return within a
/// millisecond, and a dead endpoint is not measured for how fast it refuses.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The longest sleep of a thread whose rate may be changed, in nanoseconds: a
/// sixth of the time by which changes are told ahead.
const LONGEST_SLEEP: u64 = 50_000_000;

/// One thread's share of a load.
pub(super) struct Lane {
    pub origin_ns: u64,
    pub population: Arc<Population>,
    pub drop_after: Option<Duration>,
    pub think: Duration,
    pub retries: Option<Retries>,
    /// The tokens that are kept, if the load keeps any.
    pub caching: Option<Arc<Caching>>,
    pub queue: RefCell<Queue>,
    pub source: Turn<Source>,
    /// Signs for retries, whatever the source is.
    pub again: RefCell<Writer>,
    pub tally: RefCell<Tally>,
    pub live: Arc<Live>,
}

/// What is due and who waits for it.
pub(super) struct Queue {
    work: Work,
    /// Nothing that is due at this time or later is begun.
    ends_ns: u64,
    /// Has that time passed?
    has_ended: bool,
    /// When starts are due that the schedule has at another time.
    warp: Warp,
    /// When the last one was due: times never go back, even if a change was
    /// heard of late.
    last_due_ns: u64,
    ready: VecDeque<Job>,
    idle: VecDeque<Rc<Seat>>,
    /// Requests that rest before another attempt.
    pub resting: usize,
}

/// Where starts come from.
pub(super) enum Work {
    /// They are due at given times, in nanoseconds from the beginning.
    Scheduled(Box<Peekable<Starts>>),
    /// They are due when a connection is free: the closed model.
    Closed {
        next: u64,
        step: u64,
        /// Requests begun so far.
        begun: u64,
        /// Requests still to come, of those that count.
        left: u64,
    },
}

/// A request that is due.
pub(super) struct Job {
    pub start: Start,
    pub observed_ns: u64,
    /// What earlier attempts came to, if there were any.
    pub tried: Option<Box<Tried>>,
}

/// Where a free connection waits.
#[derive(Default)]
struct Seat {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    pub fn new(work: Work, ends_ns: u64, warp: Warp) -> Self {
        Self {
            work,
            ends_ns,
            has_ended: false,
            warp,
            last_due_ns: 0,
            ready: VecDeque::new(),
            idle: VecDeque::new(),
            resting: 0,
        }
    }

    /// Gives a request to the connection that has been free for longest.
    pub fn give(&mut self, job: Job) {
        match self.idle.pop_front() {
            Some(seat) => {
                seat.job.set(Some(job));
                seat.wake();
            }
            None => self.ready.push_back(job),
        }
    }

    /// Is there nothing more to come?
    pub fn is_over(&mut self) -> bool {
        self.resting == 0 && self.next_due().is_none()
    }

    /// Do requests start on a schedule?
    pub fn is_scheduled(&self) -> bool {
        matches!(self.work, Work::Scheduled(_))
    }

    /// Returns when the next start is due, in nanoseconds from the beginning.
    ///
    /// As long as the rate may be changed, a start that would be due after the
    /// end may yet be due before it: the end is what comes next then.
    fn next_due(&mut self) -> Option<u64> {
        let Work::Scheduled(starts) = &mut self.work else {
            return None;
        };
        if self.has_ended {
            return None;
        }
        let due = self.warp.due_ns(starts.peek()?.due_ns);
        if self.warp.may_change() {
            return Some(due.min(self.ends_ns));
        }
        Some(due).filter(|due| *due < self.ends_ns)
    }

    /// Takes the next start if it is due `since` the beginning.
    fn take_due(&mut self, since: u64) -> Option<Start> {
        let Work::Scheduled(starts) = &mut self.work else {
            return None;
        };
        let (warp, ends_ns) = (&mut self.warp, self.ends_ns);
        let mut due_ns = 0;
        let start = starts.next_if(|start| {
            due_ns = warp.due_ns(start.due_ns).max(self.last_due_ns);
            due_ns <= since && due_ns < ends_ns
        });
        let Some(start) = start else {
            self.has_ended |= since >= ends_ns;
            return None;
        };
        self.last_due_ns = due_ns;
        Some(Start { due_ns, ..start })
    }

    pub fn wake_idle(&mut self) {
        for seat in self.idle.drain(..) {
            seat.wake();
        }
    }
}

impl Seat {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Lane {
    /// Releases what is due at `now_ns`, of the clock, to free connections.
    pub fn release(&self, now: u64) {
        let since = now.saturating_sub(self.origin_ns);
        let mut queue = self.queue.borrow_mut();
        while let Some(start) = queue.take_due(since) {
            self.tally.borrow_mut().schedule(start.due_ns);
            self.live.is_due();
            let job = Job {
                start,
                observed_ns: now,
                tried: None,
            };
            queue.give(job);
        }
    }

    /// Releases starts when they are due until there are no more.
    ///
    /// # Errors
    ///
    /// The system refuses the timer.
    pub async fn pace(&self, pacer: &Pacer) -> std::io::Result<()> {
        loop {
            let next = self.queue.borrow_mut().next_due();
            let Some(due) = next else {
                let mut queue = self.queue.borrow_mut();
                if queue.is_over() {
                    queue.wake_idle();
                }
                return Ok(());
            };
            let mut at = self.origin_ns + due;
            let now = now_ns();
            if self.queue.borrow().warp.may_change() {
                at = at.min(now + LONGEST_SLEEP);
            }
            if at > now {
                pacer.wait_until(at).await?;
            } else {
                // Behind the schedule: let the connections work as well.
                tokio::task::yield_now().await;
            }
            self.release(now_ns());
        }
    }

    /// Begins nothing more that is due at `at_ns` of the clock or later.
    pub fn finish(&self, at_ns: u64) {
        self.release(now_ns());
        let mut queue = self.queue.borrow_mut();
        let since = at_ns.saturating_sub(self.origin_ns);
        queue.ends_ns = queue.ends_ns.min(since);
        queue.has_ended = true;
        queue.wake_idle();
    }

    /// Sends over one connection until there is nothing more to send.
    pub async fn serve(self: Rc<Self>, mut transport: AnyTransport) {
        let seat = Rc::new(Seat::default());
        let mut failures = 0_u32;
        while let Some(job) = poll_fn(|cx| self.poll_next(&seat, cx)).await {
            if job.tried.is_none() {
                self.live.is_sent();
            }
            if let Some(late) = self.too_late(&job) {
                self.discard(&job.start).await;
                self.record(
                    &job,
                    &Outcome::Dropped,
                    &Parts {
                        response: late,
                        generator_lag: job
                            .observed_ns
                            .saturating_sub(self.origin_ns + job.start.due_ns),
                        ..Parts::default()
                    },
                );
                continue;
            }
            let outcome = match &self.caching {
                Some(caching) => self.call_through(caching, &job, &mut transport).await,
                None => self.call(job, &mut transport).await,
            };
            if outcome.is_unreachable() {
                failures += 1;
                // The first failure may be a connection that had grown old.
                if failures > 1 {
                    let pause = Duration::from_millis(1 << failures.min(10)).min(LONGEST_PAUSE);
                    tokio::time::sleep(pause).await;
                }
            } else {
                failures = 0;
            }
            if !self.think.is_zero() {
                tokio::time::sleep(self.think).await;
            }
        }
    }

    /// Returns how late a request is that is to be given up for it.
    fn too_late(&self, job: &Job) -> Option<u64> {
        let limit = self.drop_after.filter(|_| job.tried.is_none())?;
        let late = now_ns().saturating_sub(self.origin_ns + job.start.due_ns);
        (u128::from(late) > limit.as_nanos()).then_some(late)
    }

    fn poll_next(&self, seat: &Rc<Seat>, cx: &mut Context<'_>) -> Poll<Option<Job>> {
        if let Some(job) = seat.job.take() {
            return Poll::Ready(Some(job));
        }
        let now = now_ns();
        self.release(now);
        let mut queue = self.queue.borrow_mut();
        if let Some(job) = queue.ready.pop_front() {
            return Poll::Ready(Some(job));
        }
        let ends_ns = queue.ends_ns;
        if let Work::Closed {
            next,
            step,
            begun,
            left,
        } = &mut queue.work
        {
            let due_ns = now.saturating_sub(self.origin_ns);
            if due_ns >= ends_ns || *left == 0 {
                return Poll::Ready(None);
            }
            *left -= u64::from(self.tally.borrow().counts(due_ns));
            let start = Start {
                index: *next,
                nth: *begun,
                due_ns,
            };
            *next += *step;
            *begun += 1;
            self.tally.borrow_mut().schedule(due_ns);
            self.live.is_due();
            return Poll::Ready(Some(Job {
                start,
                observed_ns: now,
                tried: None,
            }));
        }
        if queue.is_over() {
            return Poll::Ready(None);
        }
        let has_waited = seat
            .waker
            .borrow_mut()
            .replace(cx.waker().clone())
            .is_some();
        if !has_waited {
            queue.idle.push_back(Rc::clone(seat));
        }
        Poll::Pending
    }
}
