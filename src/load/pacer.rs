//! How does a thread wake up when a request is due, and not a millisecond later?
//!
//! An absolute timer of the kernel (`timerfd_create(2)`) behind the runtime's
//! own readiness, with the thread's timer slack set to the smallest. The
//! runtime's timers are a millisecond coarse and serve time-outs alone.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use rustix::thread::set_current_timer_slack;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns the monotonic time of the system, in nanoseconds.
///
/// It is the clock of the pacer's timer, which [`std::time::Instant`] hides.
#[must_use]
pub fn now_ns() -> u64 {
    as_ns(clock_gettime(ClockId::Monotonic))
}

/// Returns the wall time of the system since the Unix epoch, in nanoseconds;
/// it is the clock by which the kernel stamps what it receives. It may be
/// stepped, and nothing is measured by it.
#[must_use]
pub fn wall_ns() -> u64 {
    // Through the C library, as other programs ask: a library that is loaded
    // before it may tell another time.
    nix::time::ClockId::CLOCK_REALTIME.now().map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or_default()
    })
}

/// Wakes one thread at moments of the monotonic clock.
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// Makes a pacer for the calling thread, whose timer slack it sets to a
    /// nanosecond; within a runtime.
    ///
    /// # Errors
    ///
    /// The system gives no timer, or no descriptor for it.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // A kernel that refuses leaves its 50 µs; the lag shows in the record.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        // An owned descriptor stays open as long as it is registered, which is
        // what the newer constructor asks its callers to promise by `unsafe`.
        #[expect(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Waits until the monotonic clock shows `at_ns`.
    ///
    /// # Errors
    ///
    /// The system refuses the timer.
    pub async fn wait_until(&self, at_ns: u64) -> io::Result<()> {
        let at = Timespec {
            tv_sec: i64::try_from(at_ns / 1_000_000_000).unwrap_or(i64::MAX),
            // A time of zero would disarm the timer.
            tv_nsec: i64::try_from(at_ns % 1_000_000_000)
                .unwrap_or_default()
                .max(1),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: at,
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            // Setting the timer takes back what it told before, so that there
            // is nothing to read: readiness alone counts.
            self.timer.readable().await?.clear_ready();
            if now_ns() >= at_ns {
                return Ok(());
            }
        }
    }
}

fn as_ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early_and_wakes_for_the_past_at_once() {
        let pacer = Pacer::new().unwrap();
        let mut late = Vec::new();
        for _ in 0..20 {
            let at = now_ns() + 700_000;
            pacer.wait_until(at).await.unwrap();
            let now = now_ns();
            assert!(now >= at);
            late.push(now - at);
        }
        late.sort_unstable();
        // A timer of a millisecond's grain would be 300 µs late at best.
        assert!(late[0] < 250_000, "{late:?}");
        pacer.wait_until(now_ns() - 1_000_000_000).await.unwrap();
    }
}
