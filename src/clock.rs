//! What time is it, and how much processor time was used?
//!
//! Three clocks are kept apart: *monotonic* time measures intervals, *wall*
//! time goes into claims and file names, and *CPU* time is what a thread or
//! the process has spent on a processor. Code that depends on the first two
//! takes a [`Clock`], so that tests turn the hands themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// A source of monotonic and wall time.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary but fixed origin; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since the Unix epoch; may be stepped by the system.
    fn unix(&self) -> Duration;

    /// Monotonic time to within a tick of the system, for the price of a few
    /// nanoseconds.
    ///
    /// It errs towards later: ahead of [`Self::monotonic`] by at most a tick,
    /// and behind it only while the kernel's own tick is overdue.
    fn coarse(&self) -> Duration {
        self.monotonic()
    }
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
    /// The origin on the kernel's own scale, less one tick: the coarse clock
    /// shows the last tick, which is at most one behind.
    coarse_origin: Duration,
}

impl SystemClock {
    /// Makes a clock whose monotonic origin is now.
    #[must_use]
    pub fn new() -> Self {
        let tick = from_timespec(clock_getres(ClockId::MonotonicCoarse));
        Self {
            // Read first: an earlier origin makes coarse time later.
            coarse_origin: from_timespec(clock_gettime(ClockId::Monotonic)).saturating_sub(tick),
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn unix(&self) -> Duration {
        // A system clock before 1970 reads as the epoch; every server
        // refuses such an assertion with a sentence of its own.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn coarse(&self) -> Duration {
        from_timespec(clock_gettime(ClockId::MonotonicCoarse)).saturating_sub(self.coarse_origin)
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    monotonic_ns: AtomicU64,
    unix_ns: AtomicU64,
}

impl ManualClock {
    /// Makes a clock that shows `unix` as wall time and zero as monotonic time.
    #[must_use]
    pub fn at(unix: Duration) -> Self {
        let clock = Self::default();
        clock.set_unix(unix);
        clock
    }

    /// Moves both hands forward.
    pub fn advance(&self, by: Duration) {
        let ns = as_ns(by);
        self.monotonic_ns.fetch_add(ns, Ordering::SeqCst);
        self.unix_ns.fetch_add(ns, Ordering::SeqCst);
    }

    /// Steps the wall clock, as an administrator or NTP would.
    pub fn set_unix(&self, unix: Duration) {
        self.unix_ns.store(as_ns(unix), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.load(Ordering::SeqCst))
    }

    fn unix(&self) -> Duration {
        Duration::from_nanos(self.unix_ns.load(Ordering::SeqCst))
    }
}

/// Returns the processor time that the calling thread has used.
///
/// A read costs about 0.1 to 0.6 µs: on most kernels it is a system call,
/// unlike the monotonic clock.
#[must_use]
pub fn thread_cpu() -> Duration {
    from_timespec(clock_gettime(ClockId::ThreadCPUTime))
}

/// Returns the processor time that all threads of the process have used.
#[must_use]
pub fn process_cpu() -> Duration {
    from_timespec(clock_gettime(ClockId::ProcessCPUTime))
}

fn from_timespec(time: rustix::time::Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(Duration::from_secs(1_000));
        assert_eq!(clock.monotonic(), Duration::ZERO);
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.monotonic(), Duration::from_millis(1_500));
        assert_eq!(clock.unix(), Duration::from_millis(1_001_500));
        clock.set_unix(Duration::from_secs(900));
        assert_eq!(clock.monotonic(), Duration::from_millis(1_500));
        assert_eq!(clock.unix(), Duration::from_secs(900));
    }

    #[test]
    fn coarse_time_is_of_the_same_origin_and_not_far_off() {
        let clock = SystemClock::new();
        let started = Instant::now();
        let mut is_later = 0;
        let mut readings = 0;
        while started.elapsed() < Duration::from_millis(50) {
            let before = clock.monotonic();
            let coarse = clock.coarse();
            let after = clock.monotonic();
            readings += 1;
            is_later += u32::from(coarse >= before);
            // A tick is 10 ms at the slowest rate that kernels are built with.
            assert!(coarse <= after + Duration::from_millis(11));
        }
        // A processor that is taken away may make the kernel miss some ticks.
        assert!(is_later > readings / 2, "{is_later} of {readings}");
    }

    #[test]
    fn cpu_time_grows_with_work_and_not_with_sleep() {
        let before = thread_cpu();
        std::thread::sleep(Duration::from_millis(30));
        let slept = thread_cpu() - before;
        let before = thread_cpu();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let worked = thread_cpu() - before;
        assert!(worked > slept, "worked {worked:?}, slept {slept:?}");
        assert!(process_cpu() >= worked);
    }
}
