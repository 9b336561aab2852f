//! What did the generator's threads go through while they measured?
//!
//! The scheduler's own account of each thread, what the hypervisor took, what
//! the control group held back, and whether the wall clock was stepped. It is
//! read at the beginning and at the end of the measured phase.

use std::fs;
use std::time::Duration;

use super::pacer::{now_ns, wall_ns};
use crate::record::GeneratorHealth;
use crate::record::host::QualityWatch;

/// Watches the threads of a load.
pub(super) struct HealthWatch {
    tids: Vec<i32>,
    began_ns: u64,
    threads: Vec<ThreadAccount>,
    throttled: u64,
    quality: QualityWatch,
    wall_offset: i128,
    wall_step_ns: u64,
}

/// What the scheduler did with a thread, in nanoseconds (`schedstat`).
#[derive(Clone, Copy, Debug, Default)]
struct ThreadAccount {
    ran: u64,
    waited: u64,
}

impl HealthWatch {
    /// Starts watching the threads that send.
    pub fn start(tids: &[i32]) -> Self {
        Self {
            tids: tids.to_vec(),
            began_ns: now_ns(),
            threads: tids.iter().map(|tid| ThreadAccount::read(*tid)).collect(),
            throttled: throttled(),
            quality: QualityWatch::start(),
            wall_offset: wall_offset(),
            wall_step_ns: 0,
        }
    }

    /// Looks at the clocks; to be called every now and then.
    pub fn look(&mut self) {
        let offset = wall_offset();
        let step = (offset - self.wall_offset).unsigned_abs();
        self.wall_offset = offset;
        self.wall_step_ns = self
            .wall_step_ns
            .max(u64::try_from(step).unwrap_or(u64::MAX));
    }

    /// Returns what was seen since the start.
    pub fn finish(&self) -> GeneratorHealth {
        let elapsed = now_ns().saturating_sub(self.began_ns).max(1) as f64;
        let mut ran: f64 = 0.0;
        let mut waited: f64 = 0.0;
        for (tid, before) in self.tids.iter().zip(&self.threads) {
            let after = ThreadAccount::read(*tid);
            ran = ran.max(after.ran.saturating_sub(before.ran) as f64 / elapsed);
            waited = waited.max(after.waited.saturating_sub(before.waited) as f64 / elapsed);
        }
        GeneratorHealth {
            run_queue_share: waited,
            busy_share: ran,
            steal_share: self.quality.finish().steal_share,
            throttled: throttled().saturating_sub(self.throttled),
            wall_step_ns: self.wall_step_ns,
        }
    }
}

impl ThreadAccount {
    fn read(tid: i32) -> Self {
        let text =
            fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap_or_default();
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        Self {
            ran: numbers.next().unwrap_or_default(),
            waited: numbers.next().unwrap_or_default(),
        }
    }
}

/// Wall time less monotonic time, in nanoseconds.
fn wall_offset() -> i128 {
    let before = now_ns();
    let wall = wall_ns();
    let after = now_ns();
    i128::from(wall) - i128::from(before.midpoint(after))
}

/// Counts how often the control group of this process was held back.
fn throttled() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut files: Vec<String> = own
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            match controllers {
                "" => Some(format!("/sys/fs/cgroup{path}/cpu.stat")),
                names if names.split(',').any(|name| name == "cpu") => {
                    Some(format!("/sys/fs/cgroup/{names}{path}/cpu.stat"))
                }
                _ => None,
            }
        })
        .collect();
    files.push("/sys/fs/cgroup/cpu.stat".to_owned());
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("nr_throttled "))
                .and_then(|number| number.trim().parse().ok())
        })
        .unwrap_or_default()
}

/// Returns the time for which the threads `tids` have run.
pub(super) fn ran(tids: &[i32]) -> Duration {
    crate::record::host::threads_cpu(tids)
}
