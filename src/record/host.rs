//! On what was it measured, and how quiet was it there?
//!
//! [`Host`] holds categorical facts that make two results comparable or not;
//! frequencies and bogomips are left out, as they change across reboots.
//! [`Quality`] holds what disturbs a measurement: it explains a figure and
//! never flips a verdict.

use std::fs;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts about a machine and the build that ran on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The processor's model string.
    pub cpu_model: String,
    /// Family, model and stepping, where the system tells them.
    pub cpu_signature: String,
    /// Logical processors that this process may use.
    pub cpus: usize,
    /// Instruction-set extensions that signing backends look for and that are there.
    pub cpu_features: Vec<String>,
    /// Is this a virtual machine?
    pub is_virtual: bool,
    /// The operating system.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The architecture that the program was built for.
    pub arch: String,
    /// Was the program built with optimisation?
    pub is_optimised: bool,
}

/// The extensions of x86-64 and AArch64 that decide which code signs.
const FEATURES: [&str; 16] = [
    "adx",
    "aes",
    "avx",
    "avx2",
    "avx512_vbmi2",
    "avx512bw",
    "avx512dq",
    "avx512f",
    "avx512ifma",
    "avx512vl",
    "bmi2",
    "pclmulqdq",
    "sha_ni",
    "sha2",
    "sve",
    "vaes",
];

impl Host {
    /// Reads the facts of this machine.
    #[must_use]
    pub fn detect() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| field_of(&cpuinfo, name).unwrap_or_default().to_owned();
        let flags = field_of(&cpuinfo, "flags")
            .or_else(|| field_of(&cpuinfo, "Features"))
            .unwrap_or_default();
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let uname = rustix::system::uname();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kb: u64 = field_of(&meminfo, "MemTotal")
            .and_then(|text| text.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        Self {
            cpu_model: field("model name"),
            cpu_signature: format!(
                "family {} model {} stepping {}",
                field("cpu family"),
                field("model"),
                field("stepping")
            ),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_features: FEATURES
                .iter()
                .filter(|feature| flags.contains(*feature))
                .map(|feature| (*feature).to_owned())
                .collect(),
            is_virtual: flags.contains(&"hypervisor"),
            os: os_name(),
            kernel: uname.release().to_string_lossy().into_owned(),
            memory_bytes: memory_kb * 1024,
            arch: std::env::consts::ARCH.to_owned(),
            is_optimised: !cfg!(debug_assertions),
        }
    }
}

/// What disturbed a measurement, between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The one-minute load average at the start, in runnable tasks.
    pub load_average: f64,
    /// The share of processor time that the hypervisor took away, 0 to 1.
    pub steal_share: f64,
    /// The share of processor time that nobody used, 0 to 1.
    pub idle_share: f64,
    /// How often the process was taken off a processor against its will.
    pub involuntary_switches: u64,
    /// Time covered, in nanoseconds.
    pub measured_ns: u64,
}

/// Watches for disturbances from a moment on.
#[derive(Debug)]
pub struct QualityWatch {
    load_average: f64,
    ticks: CpuTicks,
    switches: u64,
    started: std::time::Instant,
}

impl QualityWatch {
    /// Starts watching.
    #[must_use]
    pub fn start() -> Self {
        Self {
            load_average: load_average(),
            ticks: CpuTicks::read(),
            switches: involuntary_switches(),
            started: std::time::Instant::now(),
        }
    }

    /// Returns what was seen since the start.
    #[must_use]
    pub fn finish(&self) -> Quality {
        let ticks = CpuTicks::read();
        let total = ticks.total.saturating_sub(self.ticks.total).max(1) as f64;
        Quality {
            load_average: self.load_average,
            steal_share: ticks.steal.saturating_sub(self.ticks.steal) as f64 / total,
            idle_share: ticks.idle.saturating_sub(self.ticks.idle) as f64 / total,
            involuntary_switches: involuntary_switches().saturating_sub(self.switches),
            measured_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Returns the processor time of the threads `tids` of this process, summed.
///
/// It is read from the scheduler's own account, with nanoseconds. A thread
/// that has ended is left out.
#[must_use]
pub fn threads_cpu(tids: &[i32]) -> Duration {
    tids.iter()
        .filter_map(|tid| fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

#[derive(Clone, Copy, Debug, Default)]
struct CpuTicks {
    total: u64,
    idle: u64,
    steal: u64,
}

impl CpuTicks {
    /// Reads the first line of `/proc/stat` (see `proc_stat(5)`).
    fn read() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|number| number.parse().ok())
            .collect();
        Self {
            total: ticks.iter().sum(),
            idle: ticks.get(3).copied().unwrap_or_default(),
            steal: ticks.get(7).copied().unwrap_or_default(),
        }
    }
}

fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

fn involuntary_switches() -> u64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| {
            field_of(&status, "nonvoluntary_ctxt_switches")?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

fn os_name() -> String {
    fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .map(|name| name.trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| std::env::consts::OS.to_owned())
}

/// Returns the first value of `name : value` in a file of such lines.
fn field_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: Some CPU: fast\n";
        assert_eq!(field_of(text, "model"), Some("17"));
        assert_eq!(field_of(text, "model name"), Some("Some CPU: fast"));
        assert_eq!(field_of(text, "name"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_a_processor_and_memory() {
        let host = Host::detect();
        assert!(host.cpus >= 1);
        assert!(host.memory_bytes > 1 << 20);
        assert!(!host.kernel.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_working_thread_is_accounted_for() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let before = threads_cpu(&[tid]);
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        assert!(threads_cpu(&[tid]) > before);
        assert_eq!(threads_cpu(&[-1]), Duration::ZERO);
    }
}
