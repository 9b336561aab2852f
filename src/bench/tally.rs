//! What did one case do over a whole session?
//!
//! Every block is added once, whichever comparison it served. Floors are kept
//! for each block, latencies in a histogram; single operations are not kept.

use std::time::Duration;

use super::arm::Block;
use crate::record::Histogram;
use crate::stats::order::{quantile, quantile_of, sort};

/// The figures of one case, gathered over its blocks.
#[derive(Clone, Debug)]
pub struct Tally {
    threads: usize,
    cpu_floors_ns: Vec<f64>,
    wall_floors_ns: Vec<f64>,
    latency: Histogram,
    signatures: u64,
    operations: u64,
    preempted: u64,
    thread_cpu_ns: f64,
    process_cpu_ns: f64,
    elapsed_ns: f64,
}

impl Tally {
    /// Makes an empty tally of a case with `threads` threads.
    #[must_use]
    pub fn of(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            cpu_floors_ns: Vec::new(),
            wall_floors_ns: Vec::new(),
            latency: Histogram::new(),
            signatures: 0,
            operations: 0,
            preempted: 0,
            thread_cpu_ns: 0.0,
            process_cpu_ns: 0.0,
            elapsed_ns: 0.0,
        }
    }

    /// Adds a block.
    pub fn add(&mut self, block: &Block) {
        self.cpu_floors_ns
            .extend(quantile_of(&mut block.cpu_ns.clone(), 0.25));
        self.wall_floors_ns
            .extend(quantile_of(&mut block.wall_ns.clone(), 0.25));
        for latency in &block.latency_ns {
            self.latency.record(Duration::from_nanos(*latency));
        }
        self.signatures += block.signatures;
        self.operations += block.cpu_ns.len() as u64 * self.threads as u64;
        self.preempted += block.preempted;
        self.thread_cpu_ns += block.thread_cpu_ns;
        self.process_cpu_ns += block.process_cpu_ns;
        self.elapsed_ns += block.elapsed_ns;
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.cpu_floors_ns.len()
    }

    /// Returns the number of signatures.
    #[must_use]
    pub fn signatures(&self) -> u64 {
        self.signatures
    }

    /// Returns the number of timed operations.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Returns the threads that signed at once.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns CPU time a signature at the floor, in ns: the median block's
    /// lower quartile.
    #[must_use]
    pub fn cpu_floor_ns(&self) -> Option<f64> {
        quantile_of(&mut self.cpu_floors_ns.clone(), 0.5)
    }

    /// Returns wall time a signature on its thread at the floor, in ns.
    #[must_use]
    pub fn wall_floor_ns(&self) -> Option<f64> {
        quantile_of(&mut self.wall_floors_ns.clone(), 0.5)
    }

    /// Returns the 10th and 90th percentile of the blocks' CPU floors, in ns:
    /// how much the machine itself wandered.
    #[must_use]
    pub fn cpu_floor_spread_ns(&self) -> Option<(f64, f64)> {
        let mut sorted = self.cpu_floors_ns.clone();
        sort(&mut sorted);
        Some((quantile(&sorted, 0.1)?, quantile(&sorted, 0.9)?))
    }

    /// Returns the blocks' CPU floors in the order of measurement, in ns.
    #[must_use]
    pub fn cpu_floors_ns(&self) -> &[f64] {
        &self.cpu_floors_ns
    }

    /// Returns the latencies of single signatures.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Returns the mean CPU time of a signature on the signing threads, in ns.
    #[must_use]
    pub fn mean_cpu_ns(&self) -> f64 {
        self.thread_cpu_ns / self.signatures.max(1) as f64
    }

    /// Returns the mean CPU time of a signature in the whole process, in ns.
    #[must_use]
    pub fn mean_process_cpu_ns(&self) -> f64 {
        self.process_cpu_ns / self.signatures.max(1) as f64
    }

    /// Returns the signatures made in a second of wall time, all threads
    /// together, as it went and with whatever else the machine did.
    #[must_use]
    pub fn achieved_per_s(&self) -> f64 {
        if self.elapsed_ns > 0.0 {
            self.signatures as f64 * 1e9 / self.elapsed_ns
        } else {
            0.0
        }
    }

    /// Returns the share of a processor that each signing thread had.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let available = self.elapsed_ns * self.threads as f64;
        if available > 0.0 {
            self.thread_cpu_ns / available
        } else {
            0.0
        }
    }

    /// Returns the share of operations that lost their processor.
    #[must_use]
    pub fn preempted_share(&self) -> f64 {
        self.preempted as f64 / self.operations.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up_its_blocks() {
        let mut tally = Tally::of(1);
        for cpu in [100, 300] {
            let mut block = Block::default();
            for _ in 0..4 {
                block.add(2, Duration::from_micros(cpu), Duration::from_micros(400));
            }
            block.latency_ns = vec![200_000; 8];
            block.process_cpu_ns = block.thread_cpu_ns;
            tally.add(&block);
        }
        assert_eq!(tally.signatures(), 16);
        assert_eq!(tally.operations(), 8);
        assert_eq!(tally.blocks(), 2);
        // Floors of 50 and 150 us; the mean is the same here.
        assert!((tally.cpu_floor_ns().unwrap() - 100_000.0).abs() < 1.0);
        assert!((tally.mean_cpu_ns() - 100_000.0).abs() < 1.0);
        assert!((tally.achieved_per_s() - 5_000.0).abs() < 1e-6);
        assert!((tally.utilisation() - 0.5).abs() < 1e-9);
        assert!((tally.preempted_share() - 0.5).abs() < 1e-9);
        assert_eq!(tally.latency().count(), 16);
    }
}
