//! How does an open load pass, seen from outside of its threads?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Progress;
use super::counters::Live;
use super::health::{HealthWatch, ran};
use super::observe::Told;
use super::open_plan::OpenPlan;
use super::pacer::now_ns;
use super::recorder::as_ns;
use crate::clock::process_cpu;
use crate::record::{CpuTime, GeneratorHealth, Phases};

/// How often progress is told and the stop flag looked at.
const TICK: Duration = Duration::from_millis(50);

/// What is watched while the threads work.
pub(super) struct Watch<'a> {
    pub plan: &'a OpenPlan,
    pub origin_ns: u64,
    pub live: &'a [Arc<Live>],
    pub tids: &'a [i32],
    pub mint_tids: &'a [i32],
    pub broker_tids: &'a [i32],
    pub stop: &'a AtomicBool,
}

/// What was seen meanwhile.
pub(super) struct Watched {
    pub phases: Phases,
    pub cpu: CpuTime,
    pub health: GeneratorHealth,
    pub was_stopped: bool,
}

impl Watch<'_> {
    /// Lets warm-up and measuring pass, unless `is_over` says that no thread has
    /// anything left to do.
    pub fn pass<T: FnMut(Told<'_>)>(
        &self,
        tell: &mut T,
        mut gather: impl FnMut(&mut T),
        is_over: impl Fn() -> bool,
    ) -> Watched {
        let warm_up = self.plan.warm_up;
        let planned = warm_up + self.plan.measure;
        let mut pass_until = |end: Duration, mut health: Option<&mut HealthWatch>| loop {
            let elapsed = self.elapsed();
            tell(Told::Progress(self.progress(elapsed)));
            gather(tell);
            if let Some(health) = &mut health {
                health.look();
            }
            if elapsed >= end || self.stop.load(Ordering::Relaxed) || is_over() {
                return elapsed;
            }
            thread::sleep(TICK.min(end - elapsed));
        };
        let client: Vec<i32> = self.tids.iter().chain(self.mint_tids).copied().collect();
        let read = || {
            let broker = (!self.broker_tids.is_empty()).then(|| as_ns(ran(self.broker_tids)));
            (as_ns(ran(&client)), broker, as_ns(process_cpu()))
        };
        let warmed = pass_until(warm_up, None).min(warm_up);
        let before = read();
        let mut health = HealthWatch::start(self.tids);
        let elapsed = pass_until(planned, Some(&mut health));
        let after = read();
        Watched {
            phases: Phases {
                warm_up_ns: as_ns(warmed),
                measured_ns: as_ns(elapsed.saturating_sub(warmed).min(self.plan.measure)),
                drain_ns: 0,
            },
            cpu: CpuTime {
                calls_ns: None,
                client_ns: after.0.saturating_sub(before.0),
                broker_ns: after
                    .1
                    .zip(before.1)
                    .map(|(after, before)| after.saturating_sub(before)),
                process_ns: after.2.saturating_sub(before.2),
            },
            health: health.finish(),
            was_stopped: self.stop.load(Ordering::Relaxed),
        }
    }

    /// Waits until `is_over` says that no thread has anything left to do, but
    /// not for longer than `longest`.
    pub fn drain<T: FnMut(Told<'_>)>(
        &self,
        longest: Duration,
        tell: &mut T,
        mut gather: impl FnMut(&mut T),
        is_over: impl Fn() -> bool,
    ) {
        let began = self.elapsed();
        let mut told = began;
        while !is_over() {
            let elapsed = self.elapsed();
            if elapsed - began >= longest {
                break;
            }
            if elapsed - told >= TICK {
                told = elapsed;
                tell(Told::Progress(self.progress(elapsed)));
            }
            gather(tell);
            thread::sleep(Duration::from_millis(1));
        }
        tell(Told::Progress(self.progress(self.elapsed())));
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(now_ns().saturating_sub(self.origin_ns))
    }

    fn progress(&self, elapsed: Duration) -> Progress {
        let live = self.live.iter().map(|live| &**live);
        Live::sum(&live, elapsed, (self.plan.warm_up, self.plan.measure))
    }
}
