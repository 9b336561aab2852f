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
