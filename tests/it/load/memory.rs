//! What a connection costs in memory, and that a longer run costs no more.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::CONFIG;
use super::target::{Act, Target, ok};

/// Runs a load over `connections` and returns the most memory that it had at
/// once, in bytes.
fn peak(target: &Target, connections: usize, duration: &str) -> u64 {
    let results = tempfile::tempdir().unwrap();
    let connections = connections.to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .args(["load", "--saturate", "--signing", "repeat", "--json"])
        .args(["--warm-up", "0s", "--calibrate", "0s", "--slice", "1h"])
        .args(["--duration", duration, "--user", "1000000"])
        .args(["--connections", &connections])
        .args(["--url", &target.url(), "--config", CONFIG, "--results"])
        .arg(results.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(peak.unwrap_or_default() * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(most > 0);
    most
}

#[test]
fn a_connection_costs_ten_kilobytes_at_most() {
    const FEW: usize = 50;
    const MANY: usize = 450;
    let target = Target::new(Act::Write(ok()));
    // The first 50 have been counted with what every run needs. What else there
    // is at once depends on who runs when, and only ever adds.
    let each = (0..3)
        .map(|_| {
            let few = peak(&target, FEW, "1s");
            let many = peak(&target, MANY, "1s");
            many.saturating_sub(few) / (MANY - FEW) as u64
        })
        .find(|each| *each <= 10_000);
    assert!(each.is_some(), "a connection costs more, three times over");
}
