//! How disturbed was the machine while it was measured?
//!
//! The facts explain wide bounds and warn of figures that another hour would
//! not repeat; they never change a verdict. Where the system does not tell, a
//! fact is absent, not zero.

use std::fs;

pub use crate::record::signing::QualityFacts;

/// Counters that only grow, read before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    steal_and_total: Option<(u64, u64)>,
    pressure_us: Option<u64>,
    involuntary: Option<u64>,
}

impl Counters {
    /// Reads the counters of this moment.
    #[must_use]
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        Self {
            steal_and_total: read("/proc/stat").as_deref().and_then(parse_stat),
            pressure_us: read("/proc/pressure/cpu")
                .as_deref()
                .and_then(parse_pressure),
            involuntary: involuntary_of_all_threads(),
        }
    }

    /// Turns two readings and the time between them into facts.
    #[must_use]
    pub fn since(&self, before: &Self, elapsed: std::time::Duration) -> QualityFacts {
        let steal_share =
            self.steal_and_total
                .zip(before.steal_and_total)
                .and_then(|(now, then)| {
                    let total = now.1.checked_sub(then.1).filter(|total| *total > 0)?;
                    Some(now.0.saturating_sub(then.0) as f64 / total as f64)
                });
        let cpu_pressure_share = self
            .pressure_us
            .zip(before.pressure_us)
            .filter(|_| !elapsed.is_zero())
            .map(|(now, then)| now.saturating_sub(then) as f64 / elapsed.as_micros() as f64);
        QualityFacts {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            load_1m: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok()),
            steal_share,
            cpu_pressure_share,
            involuntary_switches: self
                .involuntary
                .zip(before.involuntary)
                .map(|(now, then)| now.saturating_sub(then)),
            clock_read_ns: clock_read_ns(),
            ..QualityFacts::default()
        }
    }
}

/// Finds stolen and total ticks of all processors in `/proc/stat`.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time, which
    // follows, is part of user time already.
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

/// Finds the microseconds in which some task waited, in `/proc/pressure/cpu`.
fn parse_pressure(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split("total=").nth(1)?.trim().parse().ok()
}

fn involuntary_of_all_threads() -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let path = task.ok()?.path().join("status");
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        sum += text
            .lines()
            .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))
            .and_then(|count| count.trim().parse::<u64>().ok())?;
    }
    Some(sum)
}

/// Measures one reading of the thread CPU clock, in ns.
fn clock_read_ns() -> f64 {
    const READS: u32 = 2_000;
    let before = crate::clock::thread_cpu();
    for _ in 0..READS {
        std::hint::black_box(crate::clock::thread_cpu());
    }
    let spent = crate::clock::thread_cpu().saturating_sub(before);
    spent.as_nanos() as f64 / f64::from(READS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steal_is_the_eighth_column() {
        let text = "cpu  10 20 30 40 50 60 70 80 5 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_stat(text), Some((80, 360)));
        assert_eq!(parse_stat("intr 1\n"), None);
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 total=9\n";
        assert_eq!(parse_pressure(text), Some(1_234));
    }

    #[test]
    fn shares_are_of_the_interval() {
        let before = Counters {
            steal_and_total: Some((100, 1_000)),
            pressure_us: Some(500_000),
            involuntary: Some(3),
        };
        let after = Counters {
            steal_and_total: Some((150, 2_000)),
            pressure_us: Some(1_500_000),
            involuntary: Some(10),
        };
        let facts = after.since(&before, Duration::from_secs(10));
        assert_eq!(facts.steal_share, Some(0.05));
        assert_eq!(facts.cpu_pressure_share, Some(0.1));
        assert_eq!(facts.involuntary_switches, Some(7));
        let unknown = Counters::default().since(&before, Duration::from_secs(10));
        assert_eq!(unknown.steal_share, None);
        assert_eq!(unknown.involuntary_switches, None);
    }
}
