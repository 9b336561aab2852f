//! Who is fastest, and who cannot be told apart?
//!
//! Two cases are ordered only if neither their floors' nor their means' bounds
//! overlap and both say the same. Whoever cannot be told apart shares a rank,
//! and so does whoever is linked by a chain of such pairs.

use crate::stats::Estimate;

/// Times of one case relative to a common baseline, in both channels.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The floor channel.
    pub floor: Estimate,
    /// The mean channel.
    pub mean: Estimate,
}

impl Standing {
    /// The baseline itself: it differs from itself by nothing.
    #[must_use]
    pub fn baseline() -> Self {
        Self::from_channels(Some(point(0.0)), Some(point(0.0)))
    }

    /// Takes both channels; an absent one has no bounds.
    #[must_use]
    pub fn from_channels(floor: Option<Estimate>, mean: Option<Estimate>) -> Self {
        let unknown = Estimate {
            log_ratio: 0.0,
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
        };
        Self {
            floor: floor.unwrap_or(unknown),
            mean: mean.unwrap_or(unknown),
        }
    }

    /// Is this case surely faster than the other?
    #[must_use]
    pub fn is_faster_than(&self, other: &Self) -> bool {
        self.floor.upper < other.floor.lower && self.mean.upper < other.mean.lower
    }
}

/// Ranks cases from 1, fastest first; returns a rank for each.
///
/// A rank counts the cases that are surely faster than all of this rank.
#[must_use]
pub fn ranks(standings: &[Standing]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_unstable_by(|a, b| {
        let key = |at: &usize| standings[*at].floor.log_ratio;
        key(a).total_cmp(&key(b))
    });
    let mut ranks = vec![1; standings.len()];
    let mut rank = 1;
    for place in 1..order.len() {
        let (before, from) = order.split_at(place);
        let is_border = before.iter().all(|faster| {
            from.iter()
                .all(|slower| standings[*faster].is_faster_than(&standings[*slower]))
        });
        if is_border {
            rank = place + 1;
        }
        ranks[order[place]] = rank;
    }
    ranks
}

fn point(log_ratio: f64) -> Estimate {
    Estimate {
        log_ratio,
        lower: log_ratio,
        upper: log_ratio,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(floor: (f64, f64), mean: (f64, f64)) -> Standing {
        let estimate = |(lower, upper): (f64, f64)| Estimate {
            log_ratio: f64::midpoint(lower, upper),
            lower,
            upper,
        };
        Standing::from_channels(Some(estimate(floor)), Some(estimate(mean)))
    }

    #[test]
    fn separate_bounds_are_ordered() {
        let slow = standing((0.5, 0.6), (0.4, 0.7));
        let fast = standing((-0.9, -0.8), (-1.0, -0.7));
        assert_eq!(ranks(&[slow, Standing::baseline(), fast]), [3, 2, 1]);
    }

    #[test]
    fn overlap_in_either_channel_shares_a_rank() {
        let a = standing((-0.9, -0.8), (-1.0, -0.5));
        let b = standing((-0.7, -0.6), (-0.6, -0.4));
        assert_eq!(ranks(&[a, b, Standing::baseline()]), [1, 1, 3]);
    }

    #[test]
    fn a_chain_of_overlaps_shares_one_rank() {
        let a = standing((0.10, 0.20), (0.10, 0.20));
        let b = standing((0.15, 0.30), (0.15, 0.30));
        let c = standing((0.25, 0.40), (0.25, 0.40));
        assert_eq!(ranks(&[a, b, c]), [1, 1, 1]);
    }

    #[test]
    fn unknown_bounds_overlap_with_everything() {
        let unknown = Standing::from_channels(None, None);
        assert_eq!(ranks(&[Standing::baseline(), unknown]), [1, 1]);
        assert!(ranks(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_two_cases_are_ordered_whose_bounds_overlap(
            raw in prop::collection::vec(((-1.0_f64..1.0, 0.0_f64..0.3), (-1.0_f64..1.0, 0.0_f64..0.3)), 1..8)
        ) {
            let standings: Vec<_> = raw
                .iter()
                .map(|((f, fw), (m, mw))| standing((*f, f + fw), (*m, m + mw)))
                .collect();
            let ranks = ranks(&standings);
            for (a, one) in standings.iter().enumerate() {
                for (b, other) in standings.iter().enumerate() {
                    if ranks[a] < ranks[b] {
                        prop_assert!(one.is_faster_than(other));
                    }
                }
            }
        }
    }
}
