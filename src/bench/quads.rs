//! In which order do the blocks of several arms run, and when is it enough?
//!
//! Two arms are compared in quads, ABBA or BAAB by the toss of a coin, so that
//! both meet the same moments of a machine that other people use as well.
//! The pair that had the least time is next; at each planned look a pair is
//! judged, and one that is settled leaves its time to the others. Neither
//! what an arm does nor what its figures mean is known here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::arm::{Arm, Block, LEAST_OPERATION};
use super::tally::Tally;
use crate::clock::Clock;
use crate::signer::SignError;
use crate::stats::order::quantile_of;
use crate::stats::paired::Quad;
use crate::stats::{Comparison, Estimate, Looks, Random, Tolerance, Verdict};

/// The most time of one block.
///
/// A neighbour comes and goes within tens of milliseconds; the four blocks of
/// a quad must be over before that. A single slower operation is a block.
pub const MOST_BLOCK: Duration = Duration::from_millis(10);

/// The most timed operations of one block.
///
/// A lower quartile needs four; more would only make quads fewer.
pub const MOST_OPERATIONS: usize = 4;

/// Blocks from which an arm's speed and nature are read before it is measured.
const WARM_UP_BLOCKS: usize = 4;

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

/// The clock that decides a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimedBy {
    /// CPU time of the signing threads: blind to preemption by others.
    ThreadCpu,
    /// CPU time of the whole process, for a library that is known to work on
    /// threads of its own. It counts what other threads of the program do.
    ProcessCpu,
    /// Wall time, for signatures that wait for something, and for what
    /// several threads do to each other.
    Wall,
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

/// Warms every arm up, fits its operations to the clocks and finds out which
/// clock tells the truth about it.
fn warm_up(arms: &mut [Box<dyn Arm + '_>]) -> Result<(usize, Vec<TimedBy>), (usize, SignError)> {
    let mut natures = Vec::with_capacity(arms.len());
    let mut longest = 1.0_f64;
    for (at, arm) in arms.iter_mut().enumerate() {
        let failed = |error| (at, error);
        let mut block = Block::default();
        arm.set_signatures_per_operation(arm.least_signatures());
        // The first signatures fill caches, tables and blinding pools.
        arm.run(2, &mut block).map_err(failed)?;
        let mut lowest = |arm: &mut Box<dyn Arm + '_>, operations| {
            block.clear();
            // Somebody else may have the processor during a whole block.
            for _ in 0..WARM_UP_BLOCKS {
                arm.run(operations, &mut block)?;
            }
            let lowest = |values: &mut [f64]| quantile_of(values, 0.0).unwrap_or(1.0).max(1.0);
            Ok((lowest(&mut block.cpu_ns), lowest(&mut block.wall_ns)))
        };
        let (_, signature) = lowest(arm, 1).map_err(failed)?;
        let wanted = (LEAST_OPERATION.as_nanos() as f64 / signature).ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let signatures = (wanted as usize).max(arm.least_signatures());
        arm.set_signatures_per_operation(signatures);
        let (_, wall) = lowest(arm, 2).map_err(failed)?;
        longest = longest.max(wall * signatures as f64);
        block.clear();
        for _ in 0..WARM_UP_BLOCKS {
            arm.run_alone(2, &mut block).map_err(failed)?;
        }
        let cpu = quantile_of(&mut block.cpu_ns, 0.0).unwrap_or(1.0);
        let wall = quantile_of(&mut block.wall_ns, 0.0).unwrap_or(1.0);
        // Preemption lifts single operations, waiting lifts the fastest too.
        natures.push(if cpu < 0.8 * wall {
            TimedBy::Wall
        } else {
            TimedBy::ThreadCpu
        });
    }
    let fitting = (MOST_BLOCK.as_nanos() as f64 / longest).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let operations = (fitting as usize).clamp(1, MOST_OPERATIONS);
    Ok((operations, natures))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bench::fake::{InventedArm, Machine};

    fn schedule(seed: u64) -> Schedule {
        Schedule {
            looks: Looks::new(
                [2, 4, 8, 16].map(Duration::from_secs).to_vec(),
                0.01,
                crate::stats::paired::CHANNELS,
                1,
            ),
            limit: Duration::from_secs(20),
            tolerance: Tolerance::default(),
            precision: None,
            seed,
        }
    }

    const FIRST: Pair = Pair {
        baseline: 0,
        candidate: 1,
        by: None,
    };

    fn run(
        machine: &Arc<Machine>,
        arms: Vec<InventedArm>,
        pairs: &[Pair],
        schedule: &Schedule,
    ) -> Outcome {
        let mut arms: Vec<Box<dyn Arm>> = arms
            .into_iter()
            .map(|arm| Box::new(arm) as Box<dyn Arm>)
            .collect();
        compare(
            &mut arms,
            pairs,
            schedule,
            &machine.clock,
            &AtomicBool::new(false),
            &mut |_| {},
        )
        .unwrap()
    }

    fn two(seed: u64, candidate: impl Fn(InventedArm) -> InventedArm, base_ns: f64) -> PairOutcome {
        let machine = Machine::new(seed);
        let arms = vec![
            InventedArm::new(&machine, 0, 555_000.0),
            candidate(InventedArm::new(&machine, 1, base_ns)),
        ];
        run(&machine, arms, &[FIRST], &schedule(seed))
            .pairs
            .remove(0)
    }

    #[test]
    fn identical_arms_are_unchanged_three_hundred_times() {
        for seed in 0..300 {
            let outcome = two(seed, |arm| arm, 555_000.0);
            assert_eq!(outcome.verdict, Verdict::Unchanged, "seed {seed}");
        }
    }

    #[test]
    fn a_three_percent_slowdown_is_found_within_eight_seconds() {
        for seed in 0..100 {
            let outcome = two(seed, |arm| arm, 1.03 * 555_000.0);
            assert_eq!(outcome.verdict, Verdict::Regressed, "seed {seed}");
            assert!(outcome.spent < Duration::from_millis(8_200));
            let floor = outcome.floor.unwrap();
            assert!((floor.change() - 0.03).abs() < 0.003, "{floor:?}");
        }
    }

    #[test]
    fn a_rare_slowdown_is_found_within_eight_seconds() {
        let found = (0..100)
            .filter(|seed| {
                let outcome = two(*seed, |arm| arm.rarely_slow(0.02, 3.0), 555_000.0);
                outcome.verdict == Verdict::Regressed
                    && outcome.spent < Duration::from_millis(8_200)
            })
            .count();
        assert!(found >= 95, "{found} of 100");
    }

    #[test]
    fn quads_are_abba_or_baab_and_both_occur() {
        let machine = Machine::new(1);
        let arms = vec![
            InventedArm::new(&machine, 0, 555_000.0),
            InventedArm::new(&machine, 1, 555_000.0),
        ];
        let outcome = run(&machine, arms, &[FIRST], &schedule(1));
        let journal = machine.journal.lock();
        // Both arms are warmed up first.
        let quads: Vec<_> = journal[2 * (1 + 3 * WARM_UP_BLOCKS)..]
            .chunks(4)
            .map(<[usize]>::to_vec)
            .collect();
        assert_eq!(quads.len(), outcome.pairs[0].comparison.len());
        let abba = quads.iter().filter(|quad| **quad == [0, 1, 1, 0]).count();
        let baab = quads.iter().filter(|quad| **quad == [1, 0, 0, 1]).count();
        assert_eq!(abba + baab, quads.len());
        assert!(abba > quads.len() / 3 && baab > quads.len() / 3);
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let order = |seed| {
            let machine = Machine::new(4);
            let arms = vec![
                InventedArm::new(&machine, 0, 555_000.0),
                InventedArm::new(&machine, 1, 555_000.0),
            ];
            run(&machine, arms, &[FIRST], &schedule(seed));
            let journal = machine.journal.lock();
            journal.clone()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn pairs_share_the_time_evenly_whatever_their_speed() {
        let machine = Machine::new(1);
        let arms = vec![
            InventedArm::new(&machine, 0, 555_000.0),
            InventedArm::new(&machine, 1, 231_000.0),
            InventedArm::new(&machine, 2, 2_200_000.0),
        ];
        let pairs = [
            FIRST,
            Pair {
                candidate: 2,
                ..FIRST
            },
        ];
        let mut schedule = schedule(1);
        schedule.precision = Some(Tolerance {
            floor: 0.0,
            mean: 0.0,
        });
        schedule.limit = Duration::from_secs(4);
        let outcome = run(&machine, arms, &pairs, &schedule);
        let spent: Vec<_> = outcome.pairs.iter().map(|pair| pair.spent).collect();
        assert!(
            spent[0].abs_diff(spent[1]) < Duration::from_millis(150),
            "{spent:?}"
        );
        let fast = outcome.pairs[0].floor.unwrap();
        assert!((fast.log_ratio - (231.0_f64 / 555.0).ln()).abs() < 0.005);
        let slow = outcome.pairs[1].floor.unwrap();
        assert!((slow.log_ratio - (2_200.0_f64 / 555.0).ln()).abs() < 0.005);
    }

    #[test]
    fn a_settled_pair_leaves_its_time_to_the_others() {
        let machine = Machine::new(1);
        let arms = vec![
            InventedArm::new(&machine, 0, 555_000.0),
            InventedArm::new(&machine, 1, 231_000.0),
            InventedArm::new(&machine, 2, 1.01 * 555_000.0),
        ];
        let pairs = [
            FIRST,
            Pair {
                candidate: 2,
                ..FIRST
            },
        ];
        let mut schedule = schedule(1);
        schedule.limit = Duration::from_secs(12);
        let outcome = run(&machine, arms, &pairs, &schedule);
        assert_eq!(outcome.pairs[0].verdict, Verdict::Improved);
        assert!(outcome.pairs[0].spent < Duration::from_millis(2_200));
        // One percent is the tolerance itself: no amount of data decides.
        assert_eq!(outcome.pairs[1].verdict, Verdict::Inconclusive);
        assert!(outcome.pairs[1].spent > Duration::from_secs(9));
    }

    #[test]
    fn fast_signatures_are_timed_several_at_once() {
        let machine = Machine::new(1);
        let arms = vec![
            InventedArm::new(&machine, 0, 10_000.0),
            InventedArm::new(&machine, 1, 20_000.0),
        ];
        let mut schedule = schedule(1);
        schedule.limit = Duration::from_secs(1);
        let outcome = run(&machine, arms, &[FIRST], &schedule);
        let tally = &outcome.tallies[0];
        assert!(tally.signatures() >= 40 * tally.operations());
        assert_eq!(outcome.operations, MOST_OPERATIONS);
    }

    #[test]
    fn a_stop_ends_it_at_the_next_quad() {
        let machine = Machine::new(1);
        let mut arms: Vec<Box<dyn Arm>> = vec![
            Box::new(InventedArm::new(&machine, 0, 555_000.0)),
            Box::new(InventedArm::new(&machine, 1, 555_000.0)),
        ];
        let stop = AtomicBool::new(false);
        let mut quads = 0;
        let outcome = compare(
            &mut arms,
            &[FIRST],
            &schedule(1),
            &machine.clock,
            &stop,
            &mut |_| {
                quads += 1;
                stop.store(quads > 10, Ordering::Relaxed);
            },
        )
        .unwrap();
        assert!(outcome.is_stopped);
        assert_eq!(outcome.pairs[0].comparison.len(), 10);
    }
}
