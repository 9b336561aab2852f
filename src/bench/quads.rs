//! In which order do the blocks of several arms run, and when is it enough?
//!
//! Two arms are compared in quads, ABBA or BAAB by the toss of a coin, so that
//! both meet the same moments of a machine that other people use as well.
//! The pair that had the least time is next; at each planned look a pair is
//! judged, and one that is settled leaves its time to the others. Neither
//! what an arm does nor what its figures mean is known here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::arm::{Arm, Block};
use super::tally::Tally;
use super::warm_up::warm_up;
use crate::clock::Clock;
pub use crate::record::case::TimedBy;
use crate::signer::SignError;
use crate::stats::order::quantile_of;
use crate::stats::paired::Quad;
use crate::stats::{Comparison, Estimate, Looks, Random, Tolerance, Verdict};

/// Two arms that are compared, by their places in the list of arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The arm that is compared with.
    pub baseline: usize,
    /// The arm that is judged.
    pub candidate: usize,
    /// The clock that decides, if it is not left to what the arms do.
    pub by: Option<TimedBy>,
}

/// How long and how surely to compare.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When a pair is judged, and the error shared by all judgements.
    pub looks: Looks,
    /// The time for all pairs together.
    pub limit: Duration,
    /// The smallest changes worth a verdict.
    pub tolerance: Tolerance,
    /// How narrow bounds must be, besides a verdict, before a pair leaves its
    /// time to the others; `None` asks for the verdict alone.
    pub precision: Option<Tolerance>,
    /// The seed of the order.
    pub seed: u64,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Time since the start.
    pub elapsed: Duration,
    /// The most time that is left.
    pub left: Duration,
    /// Pairs that are settled.
    pub settled: usize,
    /// All pairs.
    pub pairs: usize,
}

/// What was found about one pair.
#[derive(Clone, Debug)]
pub struct PairOutcome {
    /// The pair.
    pub pair: Pair,
    /// The clock that decided.
    pub by: TimedBy,
    /// Every quad.
    pub comparison: Comparison,
    /// The floor channel at the last look.
    pub floor: Option<Estimate>,
    /// The mean channel at the last look.
    pub mean: Option<Estimate>,
    /// The verdict at the last look.
    pub verdict: Verdict,
    /// How often the pair was judged.
    pub looks: usize,
    /// The time that its quads took.
    pub spent: Duration,
}

/// What was found about all pairs and arms.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// One entry for each pair, in the order given.
    pub pairs: Vec<PairOutcome>,
    /// One entry for each arm, in the order given.
    pub tallies: Vec<Tally>,
    /// Timed operations of each block.
    pub operations: usize,
    /// Was the comparison stopped before its time?
    pub is_stopped: bool,
}

/// Compares arms in pairs of randomised quads.
///
/// # Errors
///
/// A signature could not be made; the place of the arm goes with it.
pub fn compare(
    arms: &mut [Box<dyn Arm + '_>],
    pairs: &[Pair],
    schedule: &Schedule,
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Outcome, (usize, SignError)> {
    let started = clock.monotonic();
    let mut tallies: Vec<Tally> = arms.iter().map(|arm| Tally::of(arm.threads())).collect();
    let (operations, natures) = warm_up(arms)?;
    let mut random = Random::new(schedule.seed);
    let mut running: Vec<Running> = pairs
        .iter()
        .enumerate()
        .map(|(place, pair)| Running::new(place, *pair, &natures))
        .collect();
    random.shuffle(&mut running);
    let is_stopped = loop {
        let elapsed = clock.monotonic() - started;
        watch(Progress {
            elapsed,
            left: schedule.limit.saturating_sub(elapsed),
            settled: running.iter().filter(|pair| pair.is_settled).count(),
            pairs: running.len(),
        });
        if stop.load(Ordering::Relaxed) {
            break true;
        }
        if elapsed >= schedule.limit {
            break false;
        }
        let Some(next) = running
            .iter_mut()
            .filter(|pair| !pair.is_settled)
            .min_by_key(|pair| pair.spent)
        else {
            break false;
        };
        let before = clock.monotonic();
        next.quad(arms, &mut tallies, operations, random.coin())?;
        next.spent += clock.monotonic() - before;
        next.look_if_due(schedule);
    };
    for pair in &mut running {
        pair.look_at_the_end(schedule);
    }
    running.sort_unstable_by_key(|running| running.place);
    Ok(Outcome {
        pairs: running.into_iter().map(Running::outcome).collect(),
        tallies,
        operations,
        is_stopped,
    })
}

/// A pair while it is measured.
struct Running {
    place: usize,
    pair: Pair,
    by: TimedBy,
    comparison: Comparison,
    judged: Option<(Option<Estimate>, Option<Estimate>, Verdict)>,
    looks: usize,
    seen: usize,
    spent: Duration,
    is_settled: bool,
}

impl Running {
    fn new(place: usize, pair: Pair, natures: &[TimedBy]) -> Self {
        let by = pair.by.unwrap_or_else(|| {
            let (a, b) = (natures[pair.baseline], natures[pair.candidate]);
            // Both sides are read from one clock, the more inclusive one.
            if a == TimedBy::Wall || b == TimedBy::Wall {
                TimedBy::Wall
            } else {
                TimedBy::ThreadCpu
            }
        });
        Self {
            place,
            pair,
            by,
            comparison: Comparison::default(),
            judged: None,
            looks: 0,
            seen: 0,
            spent: Duration::ZERO,
            is_settled: false,
        }
    }

    /// Runs four blocks: ABBA, or BAAB if `is_swapped`.
    fn quad(
        &mut self,
        arms: &mut [Box<dyn Arm + '_>],
        tallies: &mut [Tally],
        operations: usize,
        is_swapped: bool,
    ) -> Result<(), (usize, SignError)> {
        let order = if is_swapped {
            [1, 0, 0, 1]
        } else {
            [0, 1, 1, 0]
        };
        let sides = [self.pair.baseline, self.pair.candidate];
        let mut quad = Quad {
            floor_ns: [[0.0; 2]; 2],
            mean_ns: [[0.0; 2]; 2],
        };
        let mut done = [0; 2];
        let mut block = Block::default();
        for side in order {
            let arm = sides[side];
            block.clear();
            arms[arm]
                .run(operations, &mut block)
                .map_err(|error| (arm, error))?;
            tallies[arm].add(&block);
            let (floor, mean) = summary(&mut block, self.by);
            quad.floor_ns[side][done[side]] = floor;
            quad.mean_ns[side][done[side]] = mean;
            done[side] += 1;
        }
        self.comparison.add(&quad);
        Ok(())
    }

    fn look_if_due(&mut self, schedule: &Schedule) {
        let due = schedule
            .looks
            .at()
            .iter()
            .filter(|at| self.spent >= **at)
            .count();
        if due > self.looks {
            // Looks that one long quad jumped over are spent with it.
            self.looks = due;
            self.look(schedule);
        }
    }

    /// Judges what a pair that never settled has gathered since its last look.
    fn look_at_the_end(&mut self, schedule: &Schedule) {
        let planned = schedule.looks.at().len();
        if !self.is_settled && self.comparison.len() > self.seen && self.looks < planned {
            self.looks += 1;
            self.look(schedule);
        }
    }

    fn look(&mut self, schedule: &Schedule) {
        let tail = schedule.looks.tail();
        let (floor, mean) = (self.comparison.floor(tail), self.comparison.mean(tail));
        let verdict = self.comparison.verdict(schedule.tolerance, tail);
        let is_precise = schedule
            .precision
            .is_none_or(|wanted| match (&floor, &mean) {
                (Some(floor), Some(mean)) => {
                    floor.half_width() <= wanted.floor && mean.half_width() <= wanted.mean
                }
                _ => false,
            });
        self.seen = self.comparison.len();
        self.is_settled = (verdict != Verdict::Inconclusive && is_precise)
            || self.looks >= schedule.looks.at().len();
        self.judged = Some((floor, mean, verdict));
    }

    fn outcome(self) -> PairOutcome {
        let (floor, mean, verdict) = self.judged.unwrap_or((None, None, Verdict::Inconclusive));
        PairOutcome {
            pair: self.pair,
            by: self.by,
            comparison: self.comparison,
            floor,
            mean,
            verdict,
            looks: self.looks,
            spent: self.spent,
        }
    }
}

/// Returns the lower quartile and the mean of a block's operations, in ns a
/// signature.
fn summary(block: &mut Block, by: TimedBy) -> (f64, f64) {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    match by {
        TimedBy::ThreadCpu => {
            let mean = mean(&block.cpu_ns);
            (quantile_of(&mut block.cpu_ns, 0.25).unwrap_or(mean), mean)
        }
        TimedBy::Wall => {
            let mean = mean(&block.wall_ns);
            (quantile_of(&mut block.wall_ns, 0.25).unwrap_or(mean), mean)
        }
        // Helper threads are read once a block; there is no quartile.
        TimedBy::ProcessCpu => {
            let mean = block.process_cpu_ns / (block.signatures.max(1)) as f64;
            (mean, mean)
        }
    }
}

#[cfg(test)]
mod tests;
