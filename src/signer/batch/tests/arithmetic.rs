//! Is the arithmetic that of num-bigint, at the edges and in between?

use std::slice::from_ref;

use num_bigint::BigUint;
use proptest::prelude::*;

use super::super::Path;
use super::super::avx2::Avx2;
use super::super::ifma::Ifma;
use super::super::kernel::{Kernel, Pick};
use super::super::lanes::{ENTRIES, Eight, Four, Lanes, Number, WINDOW};
use super::super::natural::Natural;
use super::super::power::{Exponents, power};
use super::{Random, big, natural, number, values, vector_paths};

/// Calls a function for each kernel that this processor has.
macro_rules! on_each_kernel {
    ($function:ident::<_ $(, $n:literal)?>($($argument:expr),*)) => {
        for path in vector_paths() {
            match path {
                Path::Ifma => {
                    let kernel = Ifma::detect().expect("the path is available");
                    $function::<Ifma $(, $n)?>(kernel $(, $argument)*);
                }
                Path::Avx2 => {
                    let kernel = Avx2::detect().expect("the path is available");
                    $function::<Avx2 $(, $n)?>(kernel $(, $argument)*);
                }
                Path::Portable => unreachable!("it has no vectors"),
            }
        }
    };
}

/// Moduli of `bits` bits at which something is extreme.
fn edge_moduli(bits: usize) -> Vec<BigUint> {
    let one = BigUint::from(1_u8);
    let top = &one << bits;
    vec![
        &top - 1_u8,
        // The last digit is 1, and 2^52 − 1 with zeros above it.
        (&top >> 1) + 1_u8,
        (&top >> 1) + ((&one << 52) - 1_u8),
        // All digits but the last are full.
        &top - (&one << 52) + 1_u8,
        &top - 0x1235_u32,
    ]
}

/// Operands for a modulus p and R = 2^`r_bits` at which something is extreme.
fn edge_operands(p: &BigUint, r_bits: usize) -> Vec<BigUint> {
    let one = BigUint::from(1_u8);
    let r = &one << r_bits;
    vec![
        BigUint::ZERO,
        one.clone(),
        p - 1_u8,
        p.clone(),
        p + 1_u8,
        p * 2_u8,
        p * 3_u8 - 1_u8,
        &r % p,
        // Every digit is full up to the length of p.
        (&one << p.bits()) - 1_u8,
        // Digits that carry when they are doubled, and those that do not.
        (0..r_bits / 104).fold(BigUint::ZERO, |x, _| (x << 104) + (1_u64 << 51)) % p,
        (&one << 52) - 1_u8,
        &one << 51,
    ]
}

/// Multiplies and squares in all lanes and compares with num-bigint.
fn check<A: Kernel, const K: usize>(
    kernel: A,
    moduli: [&BigUint; 2],
    pairs: &[(BigUint, BigUint)],
) {
    let modulus = kernel.modulus::<K>(&natural(moduli[0]), &natural(moduli[1]));
    let of_lane = |lane: usize| moduli[lane / A::Lanes::HALF];
    let r_bits = 520 * K;
    for together in pairs.chunks(A::Lanes::COUNT) {
        let (a, b): (Vec<_>, Vec<_>) = together.iter().cloned().unzip();
        let mut product = Number::zero();
        let mut square = Number::zero();
        let mut field = kernel.field(&modulus);
        kernel.multiply(&mut field, &mut product, &number(&a), &number(&b));
        kernel.square(&mut field, &mut square, &number(&a));
        let found = values(&product).into_iter().zip(values(&square));
        for (lane, ((product, square), (a, b))) in found.zip(together).enumerate() {
            let p = of_lane(lane);
            for (found, b) in [(product, b), (square, a)] {
                assert!(
                    found < ((a * b) >> r_bits) + p * 2_u8 + 1_u8,
                    "{a:x} · {b:x} mod {p:x} is too large"
                );
                let expected = a * b % p;
                assert!(
                    (found << r_bits) % p == expected,
                    "{a:x} · {b:x} mod {p:x} is wrong"
                );
            }
        }
    }
}

fn check_edges<A: Kernel, const K: usize>(kernel: A) {
    let bits = 512 * K;
    for p in edge_moduli(bits) {
        let operands = edge_operands(&p, 520 * K);
        let pairs: Vec<_> = operands
            .iter()
            .flat_map(|a| operands.iter().map(|b| (a.clone(), b.clone())))
            .collect();
        check::<A, K>(kernel, [&p, &p], &pairs);
    }
}

#[test]
fn products_and_squares_are_right_at_the_edges() {
    on_each_kernel!(check_edges::<_, 2>());
    on_each_kernel!(check_edges::<_, 3>());
    on_each_kernel!(check_edges::<_, 4>());
    on_each_kernel!(check_edges::<_, 8>());
}

fn check_full_digits<A: Kernel>(kernel: A) {
    // The largest factor that has digits at all: all of them are 2^52 − 1.
    // Its partner is as large as the bound a·b < R·(R − 2·p) lets it be.
    let one = BigUint::from(1_u8);
    let r = &one << 1040;
    let full: BigUint = &r - 1_u8;
    for p in edge_moduli(1024) {
        let partner = &r - &p * 2_u8 - 1_u8;
        let pairs = vec![(full.clone(), partner), (full.clone(), p.clone())];
        let modulus = kernel.modulus::<2>(&natural(&p), &natural(&p));
        for (a, b) in pairs {
            let mut product = Number::zero();
            let (x, y) = (number::<_, 2>(from_ref(&a)), number::<_, 2>(from_ref(&b)));
            kernel.multiply(&mut kernel.field(&modulus), &mut product, &x, &y);
            let found = &values(&product)[0];
            assert!((found << 1040_usize) % &p == &a * &b % &p, "{p:x}");
        }
    }
}

#[test]
fn full_digits_everywhere_carry_all_the_way() {
    on_each_kernel!(check_full_digits::<_>());
}

fn check_random<A: Kernel>(kernel: A, seed: u64, blocks: usize) {
    let mut random = Random(seed);
    let bits = 512 * blocks;
    let (p, q) = (random.modulus(bits), random.modulus(bits));
    let count = A::Lanes::COUNT;
    let pairs: Vec<_> = (0..2 * count)
        .map(|lane| {
            let p = [&p, &q][lane % count / A::Lanes::HALF];
            let mut operand = || random.number(bits + 2) % (p * 3_u8);
            (operand(), operand())
        })
        .collect();
    match blocks {
        2 => check::<A, 2>(kernel, [&p, &q], &pairs),
        3 => check::<A, 3>(kernel, [&p, &q], &pairs),
        4 => check::<A, 4>(kernel, [&p, &q], &pairs),
        5 => check::<A, 5>(kernel, [&p, &q], &pairs),
        6 => check::<A, 6>(kernel, [&p, &q], &pairs),
        7 => check::<A, 7>(kernel, [&p, &q], &pairs),
        _ => check::<A, 8>(kernel, [&p, &q], &pairs),
    }
}

fn check_powers<A: Kernel>(kernel: A, seed: u64) {
    let mut random = Random(seed);
    let half = A::Lanes::HALF;
    let (p, q) = (random.modulus(1024), random.modulus(1024));
    let powers = [random.number(1024), random.number(1024)];
    let [lower, upper] = powers.each_ref().map(natural);
    let exponents = Exponents::halves::<A::Lanes>(&lower, &upper, 1024);
    let modulus = kernel.modulus::<2>(&natural(&p), &natural(&q));
    let bases: Vec<_> = (0..A::Lanes::COUNT)
        .map(|lane| random.number(1026) % ([&p, &q][lane / half] * 3_u8))
        .collect();
    let r = BigUint::from(1_u8) << 1040;
    let one = Number::halves(
        &natural(&(&r % &p)).digits(2),
        &natural(&(&r % &q)).digits(2),
    );
    let forms: Vec<_> = bases
        .iter()
        .enumerate()
        .map(|(lane, base)| base * &r % [&p, &q][lane / half])
        .collect();
    let mut result = number::<A::Lanes, 2>(&forms);
    let mut table = vec![[A::Lanes::default(); ENTRIES]; 20];
    let mut field = kernel.field(&modulus);
    power(
        kernel,
        &mut result,
        &exponents,
        &one,
        &mut field,
        &mut table,
    );
    for (lane, found) in values(&result).into_iter().enumerate() {
        let (p, d) = ([&p, &q][lane / half], &powers[lane / half]);
        assert!(
            found % p == bases[lane].modpow(d, p) * &r % p,
            "lane {lane}"
        );
    }
    let zero = A::Lanes::default();
    assert!(table.as_flattened().iter().all(|digit| *digit == zero));
}

fn check_sums_of_products<A: Kernel>(kernel: A, seed: u64) {
    let mut random = Random(seed);
    let mut several = || {
        let numbers = (0..A::Lanes::COUNT).map(|_| random.number(1040));
        numbers.collect::<Vec<_>>()
    };
    let (a, b, c) = (several(), several(), several());
    let mut out = Number::<A::Lanes, 4>::zero();
    kernel.multiply_add(
        &mut out,
        &number::<_, 2>(&a),
        &number::<_, 2>(&b),
        &number::<_, 2>(&c),
    );
    for (lane, found) in values(&out).into_iter().enumerate() {
        assert!(found == &a[lane] * &b[lane] + &c[lane], "lane {lane}");
    }
}

fn check_sums<L: Lanes>(seed: u64) {
    let mut random = Random(seed);
    let p = random.modulus(1024);
    let a: Vec<_> = (0..L::COUNT)
        .map(|_| random.number(1026) % (&p * 3_u8))
        .collect();
    let b: Vec<_> = (0..L::COUNT).map(|_| random.number(1026)).collect();
    let mut sum = number::<L, 2>(&a);
    sum.add(&number(&b));
    let mut difference = number::<L, 2>(&a);
    let borrowed = difference.subtract(&number(&b));
    let mut reduced = number::<L, 2>(&a);
    reduced.reduce_twice(&Number::splat(&natural(&p).digits(2)));
    let r = BigUint::from(1_u8) << 1040;
    for lane in 0..L::COUNT {
        let (a, b) = (&a[lane], &b[lane]);
        assert_eq!(&values(&sum)[lane], &(a + b));
        assert_eq!(&values(&difference)[lane], &((&r + a - b) % &r));
        assert_eq!(borrowed[lane], if a < b { u64::MAX } else { 0 });
        assert_eq!(&values(&reduced)[lane], &(a % &p));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_and_squares_are_those_of_num_bigint(seed: u64, blocks in 2_usize..=8) {
        on_each_kernel!(check_random::<_>(seed, blocks));
    }

    #[test]
    fn powers_are_those_of_num_bigint(seed: u64) {
        on_each_kernel!(check_powers::<_>(seed));
    }

    #[test]
    fn sums_of_products_are_those_of_num_bigint(seed: u64) {
        on_each_kernel!(check_sums_of_products::<_>(seed));
    }

    #[test]
    fn sums_and_differences_are_those_of_num_bigint(seed: u64) {
        check_sums::<Eight>(seed);
        check_sums::<Four>(seed);
    }

    #[test]
    fn naturals_compute_as_num_bigint_does(seed: u64) {
        let mut random = Random(seed);
        let (m, x) = (random.modulus(1024), random.number(1024));
        let (y, factor) = (random.number(512), random.limb());
        let (big_m, big_x) = (natural(&m), natural(&(&x % &m)));
        prop_assert_eq!(big(&big_m.power_of_two(1111)), (BigUint::from(1_u8) << 1111) % &m);
        prop_assert_eq!(big(&big_m.power_of_two(100)), BigUint::from(1_u8) << 100);
        prop_assert_eq!(big(&big_x.shifted(77, &big_m)), ((&x % &m) << 77) % &m);
        prop_assert_eq!(big(&natural(&x).multiply(&natural(&y))), &x * &y);
        prop_assert_eq!(big(&natural(&x).plus(&natural(&y))), &x + &y);
        prop_assert_eq!(big(&natural(&x).multiply_add(factor, 3)), &x * factor + 3_u8);
        prop_assert_eq!(big(&natural(&x).without_last_digit()), &x >> 52);
        prop_assert_eq!(big(&big_m.clone().minus_two()), &m - 2_u8);
        prop_assert_eq!(natural(&x).is_below(&natural(&y)), x < y);
        prop_assert_eq!(natural(&x).bits() as u64, x.bits());
        let inverse = BigUint::from(big_m.negated_inverse());
        prop_assert_eq!((inverse * &m + 1_u8) % (BigUint::from(1_u8) << 64), BigUint::ZERO);
        let (digits, rest) = big_m.clear_digits::<5>();
        let k = digits.iter().rev().fold(BigUint::ZERO, |k, digit| (k << 52) + *digit);
        prop_assert_eq!(k * &m + 1_u8, big(&rest) << 260);
    }
}

#[test]
fn two_is_subtracted_across_limbs() {
    let x = BigUint::from(1_u8) << 128 | BigUint::from(1_u8);
    assert_eq!(big(&natural(&x).minus_two()), x - 2_u8);
}

fn check_choices<A: Kernel>(kernel: A) {
    let count = A::Lanes::COUNT;
    let mut random = Random(7);
    let mut lanes = || {
        let mut lanes = A::Lanes::default();
        (0..count).for_each(|lane| lanes[lane] = random.limb() >> 12);
        lanes
    };
    let rows: Vec<[A::Lanes; ENTRIES]> = (0..4).map(|_| std::array::from_fn(|_| lanes())).collect();
    let p = natural(&Random(8).modulus(1024));
    let modulus = kernel.modulus::<2>(&p, &p);
    let base = Number::splat(&p.digits(2));
    for shift in 0..ENTRIES {
        let wanted = |lane: usize| (shift + 5 * lane) % ENTRIES;
        let bits = std::array::from_fn(|bit| {
            (0..count)
                .filter(|lane| wanted(*lane) >> (WINDOW - 1 - bit) & 1 == 1)
                .fold(0, |lanes, lane| lanes | 1 << lane)
        });
        let mut alone = [A::Lanes::default(); 4];
        let mut beside = [A::Lanes::default(); 4];
        let mut square = Number::zero();
        let pick = |digits| Pick {
            rows: &rows,
            bits,
            digits,
        };
        kernel.choose(pick(&mut alone));
        let mut field = kernel.field(&modulus);
        kernel.square_and_pick(&mut field, &mut square, &base, pick(&mut beside));
        for (place, row) in rows.iter().enumerate() {
            for lane in 0..count {
                let expected = row[wanted(lane)][lane];
                assert_eq!(alone[place][lane], expected);
                assert_eq!(beside[place][lane], expected);
            }
        }
        assert_eq!(values(&square)[3].clone() % big(&p), BigUint::ZERO);
    }
}

#[test]
fn every_entry_of_a_table_can_be_chosen_in_every_lane() {
    on_each_kernel!(check_choices::<_>());
}

#[test]
fn numbers_cross_between_limbs_and_digits() {
    let mut random = Random(3);
    for bits in [1, 51, 52, 53, 64, 104, 1024, 2048] {
        let x = random.number(bits);
        let digits = natural(&x).digits(4);
        let mut limbs = [0; 33];
        super::super::lanes::limbs_of(digits.iter().copied(), &mut limbs);
        assert_eq!(big(&Natural::from_limbs(&limbs)), x);
    }
}
