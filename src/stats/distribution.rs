//! How likely is a value under the beta, binomial and Student distributions?
//!
//! All three are the regularised incomplete beta function in different
//! clothes, so that there is one numerical routine to trust. Quantiles are
//! found by bisection: they are asked for a few hundred times a run, and
//! bisection cannot diverge.

use std::f64::consts::PI;

/// Returns the logarithm of the gamma function for `x > 0`.
///
/// Lanczos' approximation with the coefficients of g = 7; the relative error
/// is below 1e-13.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = SERIES[1..]
        .iter()
        .zip(1_u32..)
        .fold(SERIES[0], |sum, (c, i)| sum + c / (x + f64::from(i)));
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Returns the regularised incomplete beta function `I_x(a, b)`, the chance
/// that a Beta(a, b) variable is at most `x`.
///
/// `a` and `b` are positive; `x` is cut to 0..=1. The continued fraction is
/// evaluated after Lentz (DLMF 8.17.22).
#[must_use]
pub fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast only on this side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(b, a, 1.0 - x);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    (front * beta_fraction(a, b, x)).clamp(0.0, 1.0)
}

/// Returns the `x` below which a Beta(a, b) variable lies with chance `p`.
#[must_use]
pub fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_cdf(a, b, x) < p)
}

/// Returns the chance of at most `k` successes in `n` trials of chance `p`.
#[must_use]
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    beta_cdf((n - k) as f64, k as f64 + 1.0, 1.0 - p)
}

/// Returns the chance that a Student variable with `df` degrees of freedom
/// exceeds `t`.
#[must_use]
pub fn student_upper(t: f64, df: f64) -> f64 {
    let tail = 0.5 * beta_cdf(df / 2.0, 0.5, df / t.mul_add(t, df));
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// Returns the `t` that a Student variable with `df` degrees of freedom
/// exceeds with chance `tail`, for `tail` in 0..=0.5.
#[must_use]
pub fn student_quantile(tail: f64, df: f64) -> f64 {
    let mut high = 1.0;
    while student_upper(high, df) > tail {
        high *= 2.0;
        if high > 1e12 {
            return f64::INFINITY;
        }
    }
    bisect(0.0, high, |t| student_upper(t, df) > tail)
}

/// Finds where `is_below` turns from true to false.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    // Enough halvings for the last bit of a double in any bracket used here.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Evaluates the continued fraction of the incomplete beta function.
#[allow(clippy::many_single_char_names)] // The names of DLMF 8.17.22.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const PRECISE: f64 = 1e-15;
    let off_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / off_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // The number of terms grows with the root of the larger parameter.
    for m in 1_u32..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / off_zero(1.0 + even * d);
        c = off_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / off_zero(1.0 + odd * d);
        c = off_zero(1.0 + odd / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < PRECISE {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(found: f64, expected: f64, relative: f64) {
        assert!(
            (found - expected).abs() <= relative * expected.abs().max(1e-300),
            "found {found}, expected {expected}"
        );
    }

    #[test]
    fn gamma_of_integers_is_the_factorial() {
        let mut factorial = 1.0;
        for n in 1..=20 {
            assert_close(ln_gamma(f64::from(n)).exp(), factorial, 1e-11);
            factorial *= f64::from(n);
        }
        assert_close(ln_gamma(0.5).exp(), PI.sqrt(), 1e-12);
    }

    #[test]
    fn beta_has_its_closed_forms() {
        for x in [0.01, 0.2, 0.5, 0.77, 0.999] {
            assert_close(beta_cdf(1.0, 1.0, x), x, 1e-12);
            assert_close(beta_cdf(3.0, 1.0, x), x.powi(3), 1e-12);
            assert_close(beta_cdf(1.0, 4.0, x), 1.0 - (1.0 - x).powi(4), 1e-12);
            assert_close(beta_cdf(0.5, 0.5, x), 2.0 / PI * x.sqrt().asin(), 1e-11);
        }
    }

    #[test]
    fn the_binomial_is_the_sum_of_its_terms() {
        let (n, p) = (25_u64, 0.3_f64);
        let mut sum = 0.0;
        let mut term = (1.0 - p).powi(25);
        for k in 0..n {
            sum += term;
            assert_close(binomial_cdf(k, n, p), sum, 1e-11);
            term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        assert_close(binomial_cdf(n, n, p), 1.0, 0.0);
        // Half of a symmetric distribution, also where terms underflow.
        assert_close(binomial_cdf(50_000, 100_001, 0.5), 0.5, 1e-9);
    }

    #[test]
    fn student_has_its_closed_forms() {
        for t in [-3.0_f64, -0.5, 0.0, 0.7, 2.0, 31.0] {
            // One degree of freedom is Cauchy; two have an algebraic form.
            assert_close(student_upper(t, 1.0), 0.5 - t.atan() / PI, 1e-10);
            let two = 0.5 - t / (2.0 * (2.0 + t * t).sqrt());
            assert_close(student_upper(t, 2.0), two, 1e-9);
        }
        // Tabulated: the 97.5 % point for 10 degrees, and the normal limit.
        assert_close(student_quantile(0.025, 10.0), 2.228_138_852, 1e-8);
        assert_close(student_quantile(0.025, 1e7), 1.959_964, 1e-6);
    }

    proptest! {
        #[test]
        fn quantiles_undo_the_distribution(a in 0.6_f64..300.0, b in 0.6_f64..300.0, p in 0.001_f64..0.999) {
            prop_assert!((beta_cdf(a, b, beta_quantile(a, b, p)) - p).abs() < 1e-8);
        }

        #[test]
        fn the_t_quantile_has_its_tail(tail in 1e-7_f64..0.4, df in 1.0_f64..2_000.0) {
            let t = student_quantile(tail, df);
            prop_assert!((student_upper(t, df) / tail - 1.0).abs() < 1e-6);
        }
    }
}
