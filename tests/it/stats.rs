//! The arithmetic holds what it promises, on data like those of a bench.

use std::time::Duration;

use mintmark::stats::multiple::holm;
use mintmark::stats::paired::{CHANNELS, Quad};
use mintmark::stats::share::share_bounds;
use mintmark::stats::{Comparison, Looks, Random, Tolerance, Verdict};

/// Times of a shared machine: a level that wanders by a third, noise of one
/// side, and operations that were disturbed.
struct Noise {
    random: Random,
    level: f64,
}

impl Noise {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            level: 1.0,
        }
    }

    /// Returns the lower quartile and the mean of a block of four.
    fn block(&mut self, factor: f64) -> (f64, f64) {
        if self.random.unit() < 0.03 {
            self.level = 1.0 + 0.3 * self.random.unit();
        }
        let mut times = [0.0; 4];
        for time in &mut times {
            let noise = 1.0 - 0.01 * (1.0 - self.random.unit()).ln();
            let disturbed = if self.random.unit() < 0.02 { 1.3 } else { 1.0 };
            *time = 400_000.0 * factor * self.level * noise * disturbed;
        }
        times.sort_by(f64::total_cmp);
        (
            times[0] + 0.75 * (times[1] - times[0]),
            times.iter().sum::<f64>() / 4.0,
        )
    }

    fn quad(&mut self, factor: f64) -> Quad {
        let (a, b, c, d) = (
            self.block(1.0),
            self.block(factor),
            self.block(factor),
            self.block(1.0),
        );
        Quad {
            floor_ns: [[a.0, d.0], [b.0, c.0]],
            mean_ns: [[a.1, d.1], [b.1, c.1]],
        }
    }
}

#[test]
fn a_family_with_looks_errs_no_more_often_than_it_says() {
    // No tolerance and no effect: every bound that leaves zero is an error.
    const FAMILIES: u64 = 300;
    const CASES: u64 = 4;
    let alpha = 0.05;
    let looks = Looks::new(
        [1, 2, 4].map(Duration::from_secs).to_vec(),
        alpha,
        CHANNELS,
        4,
    );
    let mut wrong = 0;
    for family in 0..FAMILIES {
        let errs = (0..CASES).any(|case| {
            let mut noise = Noise::new(family * CASES + case);
            let mut comparison = Comparison::default();
            (0..3).any(|look| {
                for _ in 0..60 << look {
                    comparison.add(&noise.quad(1.0));
                }
                let excludes_zero = |estimate: mintmark::stats::Estimate| {
                    estimate.lower > 0.0 || estimate.upper < 0.0
                };
                excludes_zero(comparison.floor(looks.tail()).unwrap())
                    || excludes_zero(comparison.mean(looks.tail()).unwrap())
            })
        });
        wrong += u64::from(errs);
    }
    let (low, _) = share_bounds(wrong, FAMILIES, 0.001);
    assert!(low <= alpha, "{wrong} of {FAMILIES} families erred");
}

#[test]
fn bounds_contain_an_effect_and_mirror_it() {
    let tail = 0.005;
    let mut missed = 0;
    for seed in 0..200 {
        let effect = 1.0 + 0.02 * (seed % 5) as f64;
        let mut noise = Noise::new(seed);
        let mut comparison = Comparison::default();
        let mut mirrored = Comparison::default();
        for _ in 0..150 {
            let quad = noise.quad(effect);
            comparison.add(&quad);
            mirrored.add(&Quad {
                floor_ns: [quad.floor_ns[1], quad.floor_ns[0]],
                mean_ns: [quad.mean_ns[1], quad.mean_ns[0]],
            });
        }
        let (floor, mean) = (
            comparison.floor(tail).unwrap(),
            comparison.mean(tail).unwrap(),
        );
        let contains = |lower: f64, upper: f64| (lower..=upper).contains(&effect.ln());
        missed += u32::from(!contains(floor.lower, floor.upper));
        missed += u32::from(!contains(mean.lower, mean.upper));
        let back = mirrored.floor(tail).unwrap();
        assert!((back.log_ratio + floor.log_ratio).abs() < 1e-12);
        assert!((back.upper + floor.lower).abs() < 1e-12);
        assert_eq!(
            mirrored.verdict(Tolerance::default(), tail),
            comparison.verdict(Tolerance::default(), tail).mirrored()
        );
    }
    // Four sides of half a percent over 200 comparisons: four are expected.
    assert!(missed <= 14, "{missed} of 400 intervals missed the effect");
}

#[test]
fn more_data_decide_what_few_cannot() {
    let verdict = |quads: usize| {
        let mut noise = Noise::new(5);
        let mut comparison = Comparison::default();
        for _ in 0..quads {
            comparison.add(&noise.quad(1.013));
        }
        comparison.verdict(Tolerance::default(), 0.001)
    };
    assert_eq!(verdict(8), Verdict::Inconclusive);
    assert_eq!(verdict(4_000), Verdict::Regressed);
}

#[test]
fn holm_finds_what_bonferroni_leaves_open() {
    // Two clear findings free their share of the error for the third.
    let p = [0.000_1, 0.000_2, 0.009, 0.8];
    let adjusted = holm(&p);
    assert!(p[2] * 4.0 > 0.02 && adjusted[2] <= 0.02, "{adjusted:?}");
    assert!(adjusted[3] > 0.02);
}
