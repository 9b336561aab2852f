//! Do neighbouring measurements depend on each other?
//!
//! Bounds that assume independence are too narrow when they do: consecutive
//! timings on a shared machine are, paired ratios are not. The number is
//! shown beside the bounds, so that a reader can check the assumption.

/// Returns the lag-1 autocorrelation, from -1 to 1; 0 of fewer than three
/// values or of values that are all alike.
#[must_use]
pub fn lag1(values: &[f64]) -> f64 {
    if values.len() < 3 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let total: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let neighbours: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    neighbours / total
}

/// Returns how large |lag-1| may be by chance among `count` independent
/// values, exceeded once in about a thousand (3.3 standard errors).
#[must_use]
pub fn lag1_by_chance(count: usize) -> f64 {
    3.3 / (count.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;

    #[test]
    fn independent_values_have_none() {
        let mut random = Random::new(3);
        let values: Vec<f64> = (0..5_000).map(|_| random.normal()).collect();
        assert!(lag1(&values).abs() < lag1_by_chance(values.len()));
    }

    #[test]
    fn a_smoothed_series_has_its_coefficient() {
        let mut random = Random::new(5);
        let mut level = 0.0;
        let values: Vec<f64> = (0..20_000)
            .map(|_| {
                level = 0.7 * level + random.normal();
                level
            })
            .collect();
        assert!((lag1(&values) - 0.7).abs() < 0.03, "{}", lag1(&values));
    }

    #[test]
    fn alternation_is_negative_and_a_constant_has_none() {
        let zigzag: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        assert!(lag1(&zigzag) < -0.9);
        assert!(lag1(&[4.0; 50]).abs() < f64::EPSILON);
    }
}
