//! Is the arithmetic that of num-bigint, at the edges and in between?

use std::slice::from_ref;

use num_bigint::BigUint;
use proptest::prelude::*;

use super::super::ifma::{Modulus, Pick, choose, multiply_add};
use super::super::lanes::{ENTRIES, LANES, Lanes, Number, WINDOW};
use super::super::natural::Natural;
use super::super::power::{Exponents, power};
use super::{Random, big, has_vectors, natural, number, values};

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

/// Multiplies and squares in eight lanes and compares with num-bigint.
fn check<const K: usize>(moduli: [&BigUint; 2], pairs: &[(BigUint, BigUint)]) {
    let modulus = Modulus::<K>::halves(&natural(moduli[0]), &natural(moduli[1]));
    let of_lane = |lane: usize| moduli[2 * lane / LANES];
    let r_bits = 520 * K;
    for eight in pairs.chunks(LANES) {
        let (a, b): (Vec<_>, Vec<_>) = eight.iter().cloned().unzip();
        let mut product = Number::ZERO;
        let mut square = Number::ZERO;
        // SAFETY: callers have seen to the processor's features.
        unsafe {
            let mut field = modulus.field();
            field.multiply(&mut product, &number::<K>(&a), &number::<K>(&b));
            field.square(&mut square, &number::<K>(&a));
        }
        let found = values(&product).into_iter().zip(values(&square));
        for (lane, ((product, square), (a, b))) in found.zip(eight).enumerate() {
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

fn check_edges<const K: usize>() {
    let bits = 512 * K;
    for p in edge_moduli(bits) {
        let operands = edge_operands(&p, 520 * K);
        let pairs: Vec<_> = operands
            .iter()
            .flat_map(|a| operands.iter().map(|b| (a.clone(), b.clone())))
            .collect();
        check::<K>([&p, &p], &pairs);
    }
}

#[test]
fn products_and_squares_are_right_at_the_edges() {
    if has_vectors() {
        check_edges::<2>();
        check_edges::<3>();
        check_edges::<4>();
    }
}

#[test]
fn full_digits_everywhere_carry_all_the_way() {
    if !has_vectors() {
        return;
    }
    // The largest factor that has digits at all: all of them are 2^52 − 1.
    // Its partner is as large as the bound a·b < R·(R − 2·p) lets it be.
    let one = BigUint::from(1_u8);
    let r = &one << 1040;
    let full: BigUint = &r - 1_u8;
    for p in edge_moduli(1024) {
        let partner = &r - &p * 2_u8 - 1_u8;
        let pairs = vec![(full.clone(), partner), (full.clone(), p.clone())];
        let modulus = Modulus::<2>::splat(&natural(&p));
        for (a, b) in pairs {
            let mut product = Number::ZERO;
            // SAFETY: the features were detected.
            unsafe {
                let (a, b) = (number::<2>(from_ref(&a)), number::<2>(from_ref(&b)));
                modulus.field().multiply(&mut product, &a, &b);
            }
            let found = &values(&product)[0];
            assert!((found << 1040_usize) % &p == &a * &b % &p, "{p:x}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_and_squares_are_those_of_num_bigint(seed: u64, blocks in 2_usize..=8) {
        if has_vectors() {
            let mut random = Random(seed);
            let bits = 512 * blocks;
            let (p, q) = (random.modulus(bits), random.modulus(bits));
            let pairs: Vec<_> = (0..2 * LANES)
                .map(|lane| {
                    let p = [&p, &q][lane % LANES / (LANES / 2)];
                    let mut operand = || random.number(bits + 2) % (p * 3_u8);
                    (operand(), operand())
                })
                .collect();
            match blocks {
                2 => check::<2>([&p, &q], &pairs),
                3 => check::<3>([&p, &q], &pairs),
                4 => check::<4>([&p, &q], &pairs),
                5 => check::<5>([&p, &q], &pairs),
                6 => check::<6>([&p, &q], &pairs),
                7 => check::<7>([&p, &q], &pairs),
                _ => check::<8>([&p, &q], &pairs),
            }
        }
    }

    #[test]
    fn powers_are_those_of_num_bigint(seed: u64) {
        if has_vectors() {
            let mut random = Random(seed);
            let (p, q) = (random.modulus(1024), random.modulus(1024));
            let (d, f) = (random.number(1024), random.number(1024));
            let exponents = Exponents::halves(&natural(&d), &natural(&f), 1024);
            let modulus = Modulus::<2>::halves(&natural(&p), &natural(&q));
            let bases: Vec<_> = (0..LANES)
                .map(|lane| random.number(1026) % ([&p, &q][2 * lane / LANES] * 3_u8))
                .collect();
            let r = BigUint::from(1_u8) << 1040;
            let one = Number::halves(&natural(&(&r % &p)).digits(2), &natural(&(&r % &q)).digits(2));
            let forms: Vec<_> = bases
                .iter()
                .enumerate()
                .map(|(lane, base)| base * &r % [&p, &q][2 * lane / LANES])
                .collect();
            let mut result = number::<2>(&forms);
            let mut table = vec![[Lanes::default(); ENTRIES]; 20];
            // SAFETY: the features were detected.
            unsafe { power(&mut result, &exponents, &one, &mut modulus.field(), &mut table) };
            for (lane, found) in values(&result).into_iter().enumerate() {
                let (p, d) = [(&p, &d), (&q, &f)][2 * lane / LANES];
                prop_assert_eq!(found % p, bases[lane].modpow(d, p) * &r % p);
            }
            prop_assert!(table.as_flattened().iter().all(|digit| *digit == Lanes::default()));
        }
    }

    #[test]
    fn sums_of_products_are_those_of_num_bigint(seed: u64) {
        if has_vectors() {
            let mut random = Random(seed);
            let mut eight = || (0..LANES).map(|_| random.number(1040)).collect::<Vec<_>>();
            let (a, b, c) = (eight(), eight(), eight());
            let mut out = Number::<4>::ZERO;
            // SAFETY: the features were detected.
            unsafe { multiply_add(&mut out, &number::<2>(&a), &number::<2>(&b), &number::<2>(&c)) };
            for (lane, found) in values(&out).into_iter().enumerate() {
                prop_assert_eq!(found, &a[lane] * &b[lane] + &c[lane]);
            }
        }
    }

    #[test]
    fn sums_and_differences_are_those_of_num_bigint(seed: u64) {
        let mut random = Random(seed);
        let p = random.modulus(1024);
        let a: Vec<_> = (0..LANES).map(|_| random.number(1026) % (&p * 3_u8)).collect();
        let b: Vec<_> = (0..LANES).map(|_| random.number(1026)).collect();
        let mut sum = number::<2>(&a);
        sum.add(&number(&b));
        let mut difference = number::<2>(&a);
        let borrowed = difference.subtract(&number(&b));
        let mut reduced = number::<2>(&a);
        reduced.reduce_twice(&Number::splat(&natural(&p).digits(2)));
        let r = BigUint::from(1_u8) << 1040;
        for lane in 0..LANES {
            let (a, b) = (&a[lane], &b[lane]);
            prop_assert_eq!(&values(&sum)[lane], &(a + b));
            prop_assert_eq!(&values(&difference)[lane], &((&r + a - b) % &r));
            prop_assert_eq!(borrowed[lane], if a < b { u64::MAX } else { 0 });
            prop_assert_eq!(&values(&reduced)[lane], &(a % &p));
        }
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
        prop_assert_eq!(big(&natural(&x).multiply_add(factor, 3)), &x * factor + 3_u8);
        prop_assert_eq!(big(&natural(&x).without_last_digit()), &x >> 52);
        prop_assert_eq!(big(&big_m.clone().minus_two()), &m - 2_u8);
        prop_assert_eq!(natural(&x).is_below(&natural(&y)), x < y);
        prop_assert_eq!(natural(&x).bits() as u64, x.bits());
        let inverse = BigUint::from(big_m.negated_inverse());
        prop_assert_eq!((inverse * &m + 1_u8) % (BigUint::from(1_u8) << 64), BigUint::ZERO);
    }
}

#[test]
fn two_is_subtracted_across_limbs() {
    let x = BigUint::from(1_u8) << 128 | BigUint::from(1_u8);
    assert_eq!(big(&natural(&x).minus_two()), x - 2_u8);
}

#[test]
fn every_entry_of_a_table_can_be_chosen_in_every_lane() {
    if !has_vectors() {
        return;
    }
    let mut random = Random(7);
    let rows: Vec<[Lanes; ENTRIES]> = (0..4)
        .map(|_| std::array::from_fn(|_| Lanes(std::array::from_fn(|_| random.limb() >> 12))))
        .collect();
    let p = natural(&random.modulus(1024));
    let modulus = Modulus::<2>::splat(&p);
    let base = Number::splat(&p.digits(2));
    for shift in 0..ENTRIES {
        let wanted: [usize; LANES] = std::array::from_fn(|lane| (shift + 5 * lane) % ENTRIES);
        let bits = std::array::from_fn(|bit| {
            (0..LANES)
                .filter(|lane| wanted[*lane] >> (WINDOW - 1 - bit) & 1 == 1)
                .fold(0, |lanes, lane| lanes | 1 << lane)
        });
        let mut alone = [Lanes::default(); 4];
        let mut beside = [Lanes::default(); 4];
        let mut square = Number::ZERO;
        let pick = |digits| Pick {
            rows: &rows,
            bits,
            digits,
        };
        // SAFETY: the features were detected.
        unsafe {
            choose(pick(&mut alone));
            let mut field = modulus.field();
            field.square_and_pick(&mut square, &base, pick(&mut beside));
        }
        for (place, row) in rows.iter().enumerate() {
            for lane in 0..LANES {
                let expected = row[wanted[lane]].0[lane];
                assert_eq!(alone[place].0[lane], expected);
                assert_eq!(beside[place].0[lane], expected);
            }
        }
        assert_eq!(values(&square)[3].clone() % big(&p), BigUint::ZERO);
    }
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
