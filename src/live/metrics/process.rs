//! What does this process use?
//!
//! Under the names that Prometheus' own clients have for it.

use std::fs;

use super::instrument::{Instrument, Value};
use crate::clock::process_cpu;

/// Returns processor time and memory of this process, and what it is.
pub(super) fn instruments() -> Vec<Instrument> {
    let mut all = vec![
        Instrument::of(
            "mintmark_build_info",
            "The program that is measured with; always 1.",
            vec![(
                vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
                Value::Gauge(1.0),
            )],
        ),
        Instrument::single(
            "process_cpu_seconds",
            "Processor time of the whole process, an embedded broker included.",
            Value::Counter(process_cpu().as_secs_f64()),
        ),
    ];
    if let Some(bytes) = resident_bytes() {
        all.push(Instrument::single(
            "process_resident_memory_bytes",
            "Memory of the process that is in place.",
            Value::Gauge(bytes as f64),
        ));
    }
    all
}

/// Returns the resident set, which the kernel counts in pages.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_memory() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
