//! What do more threads yield, and where does it stop?

use super::case::{Case, Question};
use super::record::{CaseRecord, ComparisonRecord};
pub use crate::record::signing::{Scaling, ScalingPoint};

/// The least share of a lone thread's rate that one more thread must add.
///
/// Above a half, a processor more is worth its price; below, threads wait for
/// each other or share an execution unit. Hyper-threads add about a third.
pub const WORTHWHILE: f64 = 0.5;

/// Gathers the cases that differ by their threads alone.
#[must_use]
pub fn scalings(cases: &[CaseRecord], comparisons: &[ComparisonRecord]) -> Vec<Scaling> {
    let mut found: Vec<Scaling> = Vec::new();
    for (at, record) in cases.iter().enumerate() {
        let efficiency = comparisons
            .iter()
            .find(|one| one.question == Question::Threads && one.candidate == at)
            .and_then(|one| one.efficiency);
        let point = ScalingPoint {
            threads: record.case.threads,
            total_per_s: record.total_per_s,
            efficiency,
            utilisation: record.utilisation,
        };
        let same = found.iter_mut().find(|scaling| {
            Case {
                threads: record.case.threads,
                ..scaling.case.clone()
            } == record.case
        });
        match same {
            Some(scaling) => scaling.points.push(point),
            None => found.push(Scaling {
                case: record.case.clone(),
                points: vec![point],
                stops_at_threads: None,
            }),
        }
    }
    found.retain(|scaling| scaling.points.len() > 1);
    for scaling in &mut found {
        scaling.points.sort_by_key(|point| point.threads);
        scaling.stops_at_threads = stop(&scaling.points);
    }
    found
}

/// Finds the first point after which another thread is surely not worthwhile.
///
/// Totals are counted in threads of the first point; the later of two points
/// is given the benefit of its bounds, so that noise does not look like a lock.
fn stop(points: &[ScalingPoint]) -> Option<usize> {
    let total = |point: &ScalingPoint, efficiency: f64| point.threads as f64 * efficiency;
    let mut before = total(points.first()?, 1.0);
    for pair in points.windows(2) {
        let efficiency = pair[1].efficiency?;
        let more = (pair[1].threads - pair[0].threads) as f64;
        if total(&pair[1], efficiency.upper) - before < WORTHWHILE * more {
            return Some(pair[0].threads);
        }
        before = total(&pair[1], efficiency.ratio);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::signing::Bounded;

    /// Makes points of totals in signatures a second, with bounds of `off`.
    fn points(totals: &[(usize, f64)], off: f64) -> Vec<ScalingPoint> {
        let (threads, total) = totals[0];
        let alone = total / threads as f64;
        totals
            .iter()
            .enumerate()
            .map(|(at, (threads, total_per_s))| {
                let ratio = total_per_s / alone / *threads as f64;
                ScalingPoint {
                    threads: *threads,
                    total_per_s: *total_per_s,
                    efficiency: (at > 0).then_some(Bounded {
                        ratio,
                        lower: ratio - off,
                        upper: ratio + off,
                    }),
                    utilisation: 1.0,
                }
            })
            .collect()
    }

    #[test]
    fn it_stops_where_threads_add_little() {
        let sure = |totals| stop(&points(totals, 0.01));
        assert_eq!(sure(&[(1, 100.0), (2, 198.0), (4, 390.0)]), None);
        assert_eq!(
            sure(&[(1, 100.0), (2, 198.0), (4, 260.0), (8, 262.0)]),
            Some(2)
        );
        assert_eq!(sure(&[(1, 100.0), (2, 90.0)]), Some(1));
        assert_eq!(sure(&[(1, 100.0)]), None);
    }

    #[test]
    fn noise_is_no_lock() {
        let totals = [(1, 100.0), (2, 140.0)];
        assert_eq!(stop(&points(&totals, 0.01)), Some(1));
        assert_eq!(stop(&points(&totals, 0.2)), None);
        let mut unknown = points(&totals, 0.01);
        unknown[1].efficiency = None;
        assert_eq!(stop(&unknown), None);
    }

    #[test]
    fn the_first_point_may_have_several_threads() {
        // A lone thread then makes 100, and two more must add 100 at least.
        assert_eq!(stop(&points(&[(2, 200.0), (4, 310.0)], 0.001)), None);
        assert_eq!(stop(&points(&[(2, 200.0), (4, 290.0)], 0.001)), Some(2));
    }
}
