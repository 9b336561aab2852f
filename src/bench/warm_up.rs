//! How many signatures make an operation, and how many operations a block?
//!
//! Before arms are compared they run for some milliseconds, which fills caches
//! and pools, and from which their speed is read, and which clock tells the
//! truth about them. What was measured here is not used otherwise.

use std::time::Duration;

use super::arm::{Arm, Block, LEAST_OPERATION};
use super::quads::TimedBy;
use crate::signer::SignError;
use crate::stats::order::quantile_of;

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
pub(super) const WARM_UP_BLOCKS: usize = 4;

/// Finds out whether an arm's signatures wait for something.
///
/// Two things together tell it: even the fastest operation spends a fifth of
/// its time off the processor, and the thread gave the processor up by itself
/// in half of them. A long operation on a busy machine only has the first.
fn nature(block: &mut Block, given_up: Option<u64>) -> TimedBy {
    let operations = block.cpu_ns.len() as u64;
    let cpu = quantile_of(&mut block.cpu_ns, 0.0).unwrap_or(1.0);
    let wall = quantile_of(&mut block.wall_ns, 0.0).unwrap_or(1.0);
    let gives_up = given_up.is_none_or(|switches| switches >= operations.div_ceil(2));
    if cpu < 0.8 * wall && gives_up {
        TimedBy::Wall
    } else {
        TimedBy::ThreadCpu
    }
}

/// Warms every arm up, fits its operations to the clocks and finds out which
/// clock tells the truth about it.
pub(super) fn warm_up(
    arms: &mut [Box<dyn Arm + '_>],
) -> Result<(usize, Vec<TimedBy>), (usize, SignError)> {
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
        let mut given_up = Some(0);
        for _ in 0..WARM_UP_BLOCKS {
            let more = arm.run_alone_counted(2, &mut block).map_err(failed)?;
            given_up = given_up.zip(more).map(|(sum, more)| sum + more);
        }
        natures.push(nature(&mut block, given_up));
    }
    let fitting = (MOST_BLOCK.as_nanos() as f64 / longest).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let operations = (fitting as usize).clamp(1, MOST_OPERATIONS);
    Ok((operations, natures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(cpu_us: u64, wall_us: u64) -> Block {
        let mut block = Block::default();
        for _ in 0..8 {
            block.add(
                1,
                Duration::from_micros(cpu_us),
                Duration::from_micros(wall_us),
            );
        }
        block
    }

    #[test]
    fn what_waits_is_timed_by_the_wall_clock() {
        assert_eq!(nature(&mut block(40, 5_000), Some(8)), TimedBy::Wall);
        assert_eq!(nature(&mut block(40, 5_000), None), TimedBy::Wall);
    }

    #[test]
    fn what_is_preempted_does_not_wait() {
        // Seven milliseconds of work never get through in one slice.
        assert_eq!(
            nature(&mut block(7_000, 11_000), Some(0)),
            TimedBy::ThreadCpu
        );
        assert_eq!(nature(&mut block(500, 510), Some(9)), TimedBy::ThreadCpu);
    }
}
