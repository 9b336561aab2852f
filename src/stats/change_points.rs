//! Where did a series of figures change, and is that more than chance?
//!
//! E-divisive means (Matteson and James, *A nonparametric approach for multiple
//! change point analysis of multivariate data*, JASA 109, 2014, with their
//! α = 1): a series is cut where the energy distance between the two parts is
//! largest, if a shuffled series is hardly ever cut as well; then the parts are
//! cut in the same way. Nothing is assumed of the distribution. A change is
//! seen only when there are [`LEAST`] figures after it, and better with more.

use super::Random;
use super::order::quantile_of;

/// The fewest figures on either side of a change. With fewer, one odd run
/// would be a change.
pub const LEAST: usize = 3;

/// How often a series is shuffled; the smallest p-value is one in a thousand.
const SHUFFLES: usize = 999;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// The place of the first figure after it.
    pub at: usize,
    /// The share of shuffled series that can be cut as well.
    pub p_value: f64,
    /// The median of the figures from the change before.
    pub before: f64,
    /// The median of the figures up to the next change.
    pub after: f64,
}

/// Finds the changes of a series, in order, each with a chance of at most
/// `level` that there is none.
///
/// The same series and seed give the same changes; a series of other units
/// gives the same places.
#[must_use]
pub fn change_points(values: &[f64], level: f64, seed: u64) -> Vec<ChangePoint> {
    let mut random = Random::new(seed);
    let mut cuts: Vec<(usize, f64)> = Vec::new();
    loop {
        let mut edges: Vec<usize> = cuts.iter().map(|(at, _)| *at).collect();
        edges.extend([0, values.len()]);
        edges.sort_unstable();
        let Some((at, distance)) = best_cut(values, &edges) else {
            break;
        };
        let mut shuffled = values.to_vec();
        let mut as_well = 0;
        for _ in 0..SHUFFLES {
            for edge in edges.windows(2) {
                random.shuffle(&mut shuffled[edge[0]..edge[1]]);
            }
            let found = best_cut(&shuffled, &edges);
            as_well += usize::from(found.is_some_and(|(_, chance)| chance >= distance));
            // What cannot become significant any more is not counted out.
            if (as_well + 1) as f64 > level * (SHUFFLES + 1) as f64 {
                break;
            }
        }
        let p_value = (as_well + 1) as f64 / (SHUFFLES + 1) as f64;
        if p_value > level {
            break;
        }
        cuts.push((at, p_value));
    }
    cuts.sort_unstable_by_key(|(at, _)| *at);
    (0..cuts.len())
        .map(|i| {
            let (at, p_value) = cuts[i];
            let from = if i == 0 { 0 } else { cuts[i - 1].0 };
            let to = cuts.get(i + 1).map_or(values.len(), |next| next.0);
            ChangePoint {
                at,
                p_value,
                before: median(&values[from..at]),
                after: median(&values[at..to]),
            }
        })
        .collect()
}

/// Finds the cut with the largest distance, within the parts between edges.
fn best_cut(values: &[f64], edges: &[usize]) -> Option<(usize, f64)> {
    edges
        .windows(2)
        .filter_map(|edge| {
            let (at, distance) = best_cut_of(&values[edge[0]..edge[1]])?;
            Some((edge[0] + at, distance))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Finds the best cut of one part. One figure after the other goes from the
/// right side to the left, and the sums of distances with it.
fn best_cut_of(part: &[f64]) -> Option<(usize, f64)> {
    let n = part.len();
    if n < 2 * LEAST {
        return None;
    }
    let to = |value: f64, others: &[f64]| -> f64 {
        others.iter().map(|other| (value - other).abs()).sum()
    };
    let (mut left, mut between) = (0.0, 0.0);
    let mut right: f64 = (0..n).map(|i| to(part[i], &part[..i])).sum();
    let mut best: Option<(usize, f64)> = None;
    for at in 1..=n - LEAST {
        let moved = part[at - 1];
        let (to_left, to_right) = (to(moved, &part[..at - 1]), to(moved, &part[at..]));
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        if at < LEAST {
            continue;
        }
        let (a, b) = (at as f64, (n - at) as f64);
        let pairs = |count: f64| count * (count - 1.0) / 2.0;
        let energy = 2.0 * between / (a * b) - left / pairs(a) - right / pairs(b);
        let distance = a * b / (a + b) * energy;
        if best.is_none_or(|(_, most)| distance > most) {
            best = Some((at, distance));
        }
    }
    best
}

fn median(values: &[f64]) -> f64 {
    quantile_of(&mut values.to_vec(), 0.5).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series with steps of the mean, and noise of one percent.
    fn series(seed: u64, parts: &[(usize, f64)]) -> Vec<f64> {
        let mut random = Random::new(seed);
        parts
            .iter()
            .flat_map(|(count, mean)| std::iter::repeat_n(*mean, *count))
            .map(|mean| mean * (1.0 + 0.01 * random.normal()))
            .collect()
    }

    fn places(values: &[f64]) -> Vec<usize> {
        change_points(values, 0.01, 1)
            .iter()
            .map(|change| change.at)
            .collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        for seed in 0..20 {
            let values = series(seed, &[(15, 100.0), (10, 105.0)]);
            let found = change_points(&values, 0.01, seed);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].at.abs_diff(15) <= 1, "{found:?}");
            let change = found[0].after / found[0].before - 1.0;
            assert!((change - 0.05).abs() < 0.015, "{found:?}");
        }
    }

    #[test]
    fn two_steps_are_found_and_told_apart() {
        let values = series(3, &[(20, 100.0), (20, 110.0), (20, 104.0)]);
        let found = change_points(&values, 0.01, 1);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].at.abs_diff(20) <= 1 && found[1].at.abs_diff(40) <= 1);
        assert!((found[1].before - found[0].after).abs() < 1e-9);
        assert!(found[0].after > found[0].before && found[1].after < found[1].before);
    }

    #[test]
    fn a_series_that_stays_the_same_is_hardly_ever_cut() {
        let mut wrong = 0;
        for seed in 0..600 {
            let mut random = Random::new(seed);
            // A tail as run times have it.
            let values: Vec<f64> = (0..24).map(|_| (0.2 * random.normal()).exp()).collect();
            wrong += usize::from(!change_points(&values, 0.05, seed).is_empty());
        }
        // 5 % are 30; four standard errors more are 51.
        assert!(wrong <= 51, "{wrong} of 600");
        assert!(wrong >= 9, "{wrong} of 600: the level is not used");
    }

    #[test]
    fn other_units_and_the_other_direction_give_the_same_places() {
        let values = series(5, &[(12, 100.0), (12, 107.0)]);
        let at = places(&values);
        assert_eq!(at.len(), 1);
        let scaled: Vec<f64> = values.iter().map(|value| 1e6 * value + 3.0).collect();
        assert_eq!(places(&scaled), at);
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        let back: Vec<usize> = places(&reversed).iter().map(|at| 24 - at).collect();
        assert_eq!(back, at);
    }

    #[test]
    fn one_odd_run_and_too_few_runs_are_no_change() {
        let mut values = series(6, &[(20, 100.0)]);
        values[9] = 300.0;
        assert!(places(&values).is_empty());
        for count in 0..6 {
            assert!(places(&vec![1.0; count]).is_empty());
        }
        assert!(places(&[1.0; 30]).is_empty());
    }
}
