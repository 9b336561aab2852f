//! Where is a share, of which some of some trials were seen?

use super::distribution::beta_quantile;

/// Bounds a share after `events` of `trials`, each side with a chance of at
/// most `tail` of being wrong (Clopper and Pearson 1934; exact, never too
/// narrow).
#[must_use]
pub fn share_bounds(events: u64, trials: u64, tail: f64) -> (f64, f64) {
    let (x, n) = (events.min(trials) as f64, trials as f64);
    let lower = if events == 0 {
        0.0
    } else {
        beta_quantile(x, n - x + 1.0, tail)
    };
    let upper = if events >= trials {
        1.0
    } else {
        beta_quantile(x + 1.0, n - x, 1.0 - tail)
    };
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::distribution::binomial_cdf;

    #[test]
    fn no_event_has_the_closed_form() {
        // 1 - tail^(1/n): three hundred trials without an event leave 1 %.
        let (low, high) = share_bounds(0, 300, 0.05);
        assert!(low.abs() < f64::EPSILON);
        assert!((high - (1.0 - 0.05_f64.powf(1.0 / 300.0))).abs() < 1e-9);
        let (low, high) = share_bounds(300, 300, 0.05);
        assert!((low - 0.05_f64.powf(1.0 / 300.0)).abs() < 1e-9);
        assert!((high - 1.0).abs() < f64::EPSILON);
        assert_eq!(share_bounds(0, 0, 0.05), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn bounds_are_where_the_binomial_has_its_tails(n in 1_u64..400, share in 0.0_f64..1.0, tail in 0.001_f64..0.2) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let x = (share * n as f64) as u64;
            let (low, high) = share_bounds(x, n, tail);
            prop_assert!(low <= x as f64 / n as f64 && x as f64 / n as f64 <= high);
            if x < n {
                prop_assert!((binomial_cdf(x, n, high) - tail).abs() < 1e-7);
            }
            if x > 0 {
                prop_assert!((1.0 - binomial_cdf(x - 1, n, low) - tail).abs() < 1e-7);
            }
        }
    }
}
