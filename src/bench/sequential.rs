//! What would the usual rule of micro-benchmarks have said?
//!
//! That rule times one side, then the other, and calls them different if a
//! bootstrapped t test has p < 5 % and the 95 % interval of the change of the
//! mean lies beyond ±1 %: the defaults of criterion, whose sampling and
//! statistics are followed here. It is run beside the paired comparison to show
//! what that is for; no verdict that anybody gets rests on it.

use std::time::Duration;

use super::arm::{Arm, Block};
use crate::clock::Clock;
use crate::signer::SignError;
use crate::stats::order::{quantile, sort};
use crate::stats::{Random, Verdict};

/// The time for each side.
pub(super) const EACH: Duration = Duration::from_secs(2);

/// The samples of a side; the n-th has n times as many signatures as the first.
const SAMPLES: usize = 100;

/// How often is drawn again.
const RESAMPLES: usize = 10_000;

/// The significance level of the t test.
const LEVEL: f64 = 0.05;

/// The change below which nothing is called one.
const NOISE: f64 = 0.01;

/// Times one arm after the other and judges.
///
/// # Errors
///
/// A signature could not be made; the place of the arm goes with it.
pub(super) fn sequential(
    arms: &mut [Box<dyn Arm>],
    seed: u64,
    clock: &dyn Clock,
) -> Result<Verdict, (usize, SignError)> {
    let mut sides = Vec::with_capacity(2);
    for (at, arm) in arms.iter_mut().enumerate() {
        sides.push(samples(arm.as_mut(), clock).map_err(|error| (at, error))?);
    }
    Ok(judge(&sides[0], &sides[1], seed))
}

/// Returns the mean wall time of a signature in each sample.
fn samples(arm: &mut dyn Arm, clock: &dyn Clock) -> Result<Vec<f64>, SignError> {
    let mut block = Block::default();
    arm.set_signatures_per_operation(arm.least_signatures());
    // The warm-up, which also tells how many fit.
    let (begun, mut operations) = (clock.monotonic(), 0);
    while clock.monotonic() - begun < EACH / 4 {
        block.clear();
        arm.run(4, &mut block)?;
        operations += 4;
    }
    let each = (EACH / 4).as_secs_f64() / f64::from(operations);
    let steps = (SAMPLES * (SAMPLES + 1) / 2) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let first = (EACH.as_secs_f64() / (each * steps)).ceil() as usize;
    (1..=SAMPLES)
        .map(|number| {
            block.clear();
            arm.run(number * first, &mut block)?;
            Ok(block.wall_ns.iter().sum::<f64>() / block.wall_ns.len().max(1) as f64)
        })
        .collect()
}

fn judge(a: &[f64], b: &[f64], seed: u64) -> Verdict {
    let mut random = Random::new(seed);
    let observed = t(a, b).abs();
    let both: Vec<f64> = a.iter().chain(b).copied().collect();
    let mut drawn = |from: &[f64], count: usize| -> Vec<f64> {
        (0..count).map(|_| from[random.below(from.len())]).collect()
    };
    let mut as_far = 0;
    let mut changes = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mixed = drawn(&both, both.len());
        let (left, right) = mixed.split_at(a.len());
        as_far += usize::from(t(left, right).abs() >= observed);
        let (a, b) = (drawn(a, a.len()), drawn(b, b.len()));
        changes.push(mean(&b) / mean(&a) - 1.0);
    }
    sort(&mut changes);
    let bound = |q: f64| quantile(&changes, q).unwrap_or(0.0);
    let (lower, upper) = (bound(0.025), bound(0.975));
    if as_far as f64 / RESAMPLES as f64 >= LEVEL {
        Verdict::Unchanged
    } else if lower > NOISE {
        Verdict::Regressed
    } else if upper < -NOISE {
        Verdict::Improved
    } else {
        Verdict::Unchanged
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Welch's t.
fn t(a: &[f64], b: &[f64]) -> f64 {
    let of = |values: &[f64]| {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let n = values.len() as f64;
        (mean, squares / (n - 1.0) / n)
    };
    let ((a, var_a), (b, var_b)) = (of(a), of(b));
    (a - b) / (var_a + var_b).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(seed: u64, mean: f64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..SAMPLES)
            .map(|_| mean * (1.0 + 0.01 * random.normal()))
            .collect()
    }

    #[test]
    fn a_change_beyond_the_noise_is_told_with_its_direction() {
        let of = |factor: f64| judge(&side(1, 100.0), &side(2, 100.0 * factor), 3);
        assert_eq!(of(1.0), Verdict::Unchanged);
        assert_eq!(of(1.005), Verdict::Unchanged);
        assert_eq!(of(1.05), Verdict::Regressed);
        assert_eq!(of(0.95), Verdict::Improved);
    }
}
