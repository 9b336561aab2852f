//! Which starts of a whole schedule does one machine make?
//!
//! Every machine of a fleet walks the whole sequence of starts and makes those
//! that are its own. Whose a start is depends on its number, the shares and
//! the way of dealing alone: each start has exactly one owner, so that the
//! union over machines is the sequence of one machine. Nothing is sent about
//! it while a load goes on.

use std::fmt;
use std::sync::Arc;

use super::population::Population;
use crate::stats::random::{GOLDEN, mixed};

/// One machine's part of a schedule.
#[derive(Clone, Debug)]
pub struct Share {
    own: usize,
    /// The upper bound of each machine's part of the unit interval.
    bounds: Arc<[f64]>,
    is_equal: bool,
    dealt: Dealt,
}

/// How starts are dealt out to machines.
#[derive(Clone)]
pub enum Dealt {
    /// In turns, so that the starts of each machine are as even as the whole.
    InTurns,
    /// By lot, drawn from a seed and the start's number: a Poisson process
    /// that is thinned independently is a Poisson process (Lewis and Shedler
    /// 1979), and the parts are independent.
    ByLot(u64),
    /// By the subject whose token is asked for, so that no two machines ask
    /// for the same one.
    BySubject(Arc<Population>),
}

impl Share {
    /// Makes the share of a machine that works alone.
    #[must_use]
    pub fn whole() -> Self {
        Self::new(0, &[1.0], Dealt::InTurns)
    }

    /// Makes the share of machine `own` of as many as there are weights.
    ///
    /// # Panics
    ///
    /// `own` has no weight, or no weight is above zero.
    #[must_use]
    pub fn new(own: usize, weights: &[f64], dealt: Dealt) -> Self {
        let sum: f64 = weights.iter().map(|weight| weight.max(0.0)).sum();
        assert!(
            own < weights.len() && sum > 0.0,
            "a machine has a weight, and some weight is above zero"
        );
        let mut below = 0.0;
        let bounds: Vec<f64> = weights
            .iter()
            .map(|weight| {
                below += weight.max(0.0) / sum;
                below
            })
            .collect();
        Self {
            own,
            bounds: bounds.into(),
            is_equal: weights
                .windows(2)
                .all(|pair| pair[0].to_bits() == pair[1].to_bits()),
            dealt,
        }
    }

    /// Is start `index` this machine's?
    #[must_use]
    pub fn owns(&self, index: u64) -> bool {
        self.bounds.len() == 1 || self.owner(index) == self.own
    }

    /// Returns the machine that makes start `index`.
    #[must_use]
    pub fn owner(&self, index: u64) -> usize {
        let machines = self.bounds.len() as u64;
        let turn = |number: u64| {
            if self.is_equal {
                usize::try_from(number % machines).unwrap_or_default()
            } else {
                self.at(number.wrapping_mul(GOLDEN))
            }
        };
        match &self.dealt {
            Dealt::InTurns => turn(index),
            Dealt::ByLot(seed) => self.at(mixed(
                (seed ^ index.wrapping_mul(GOLDEN)).wrapping_add(GOLDEN),
            )),
            Dealt::BySubject(population) => turn(population.subject_number(index)),
        }
    }

    /// Finds whose part of the unit interval a point lies in, given times 2⁶⁴.
    fn at(&self, point: u64) -> usize {
        // The upper 53 bits are a fraction without rounding.
        let point = (point >> 11) as f64 / (1_u64 << 53) as f64;
        self.bounds
            .partition_point(|bound| *bound <= point)
            .min(self.bounds.len() - 1)
    }
}

impl fmt::Debug for Dealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InTurns => "InTurns",
            Self::ByLot(_) => "ByLot",
            // A population holds secrets.
            Self::BySubject(_) => "BySubject",
        })
    }
}

/// Deals connections or the like out to machines in turn; each gets at least
/// one.
#[must_use]
pub fn part_of(whole: usize, own: usize, machines: usize) -> usize {
    (whole / machines + usize::from(own < whole % machines)).max(1)
}

#[cfg(test)]
mod tests;
