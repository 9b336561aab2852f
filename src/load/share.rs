//! Which starts of a whole schedule does one machine make?
//!
//! Every machine of a fleet walks the whole sequence of starts and makes those
//! that are its own. Whose a start is depends on its number, the shares and
//! the way of dealing alone: each start has exactly one owner, so that the
//! union over machines is the sequence of one machine. Nothing is sent about
//! it while a load goes on, unless a machine is lost: from a moment of the
//! schedule on, its starts are then dealt out to others ([`Handover`]).

use std::fmt;
use std::ops::Range;
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
    handovers: Arc<[Handover]>,
}

/// A machine's starts go to others, in equal parts, each under a number of its
/// own: whoever takes a part keeps apart what it does in the lost one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The machine that makes no more starts.
    pub lost: usize,
    /// From when on, in nanoseconds of the schedule as planned.
    pub from_ns: u64,
    /// The numbers under which others make them.
    pub heirs: Range<usize>,
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
            handovers: Arc::default(),
        }
    }

    /// Makes the share of machine `own` after the given handovers, in order;
    /// it may be an heir.
    ///
    /// A machine is lost once at most, and heirs are lost after they came.
    #[must_use]
    pub fn after(self, handovers: Arc<[Handover]>, own: usize) -> Self {
        Self {
            own,
            handovers,
            ..self
        }
    }

    /// Is start `index`, planned for `due_ns` from the beginning, this
    /// machine's?
    #[must_use]
    pub fn owns(&self, index: u64, due_ns: u64) -> bool {
        let is_alone = self.bounds.len() == 1 && self.handovers.is_empty();
        is_alone || self.owner(index, due_ns) == self.own
    }

    /// Returns the machine that makes start `index`, planned for `due_ns` from
    /// the beginning.
    #[must_use]
    pub fn owner(&self, index: u64, due_ns: u64) -> usize {
        let (mut owner, mut inside) = match &self.dealt {
            Dealt::InTurns => self.turn(index),
            Dealt::ByLot(seed) => self.at(mixed(
                (seed ^ index.wrapping_mul(GOLDEN)).wrapping_add(GOLDEN),
            )),
            Dealt::BySubject(population) => self.turn(population.subject_number(index)),
        };
        for handover in &*self.handovers {
            if handover.lost == owner && due_ns >= handover.from_ns {
                let heirs = handover.heirs.len();
                inside *= heirs as f64;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let heir = (inside as usize).min(heirs.saturating_sub(1));
                inside -= heir as f64;
                owner = handover.heirs.start + heir;
            }
        }
        owner
    }

    /// Finds whose turn it is, and where in the unit interval the turn lies
    /// among that machine's own ones.
    fn turn(&self, number: u64) -> (usize, f64) {
        let machines = self.bounds.len() as u64;
        if self.is_equal {
            (
                usize::try_from(number % machines).unwrap_or_default(),
                fraction((number / machines).wrapping_mul(GOLDEN)),
            )
        } else {
            self.at(number.wrapping_mul(GOLDEN))
        }
    }

    /// Finds whose part of the unit interval a point lies in, given times 2⁶⁴,
    /// and where in that part.
    fn at(&self, point: u64) -> (usize, f64) {
        let point = fraction(point);
        let owner = self
            .bounds
            .partition_point(|bound| *bound <= point)
            .min(self.bounds.len() - 1);
        let below = owner
            .checked_sub(1)
            .map_or(0.0, |before| self.bounds[before]);
        (owner, (point - below) / (self.bounds[owner] - below))
    }
}

/// Divides by 2⁶⁴; the upper 53 bits are a fraction without rounding.
fn fraction(point: u64) -> f64 {
    (point >> 11) as f64 / (1_u64 << 53) as f64
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
