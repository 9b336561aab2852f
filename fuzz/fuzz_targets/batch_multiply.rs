//! Does the vector arithmetic of the batch engine agree with num-bigint on
//! whatever the fuzzer thinks of?
//!
//! The input is cut into a modulus for each half of the lanes and two operands
//! for each lane; what is missing is zero. The kernel's files are compiled in
//! as they are, so that its private parts can be reached.
//!
//! `cargo fuzz run batch_multiply` in this folder's parent; a processor with
//! AVX-512 IFMA is needed.
#![no_main]
#![allow(dead_code, unused_macros)]

#[path = "../../src/signer/batch/lanes.rs"]
mod lanes;
#[path = "../../src/signer/batch/natural.rs"]
mod natural;
#[macro_use]
#[path = "../../src/signer/batch/rows.rs"]
mod rows;
#[path = "../../src/signer/batch/ifma.rs"]
mod ifma;

use ifma::Modulus;
use lanes::{HALF, LANES, Number};
use libfuzzer_sys::fuzz_target;
use natural::Natural;
use num_bigint::BigUint;

fuzz_target!(|input: &[u8]| {
    assert!(
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma"),
        "this processor has no AVX-512 IFMA"
    );
    match input.split_first() {
        Some((0, rest)) => check::<2>(rest),
        Some((1, rest)) => check::<3>(rest),
        Some((2, rest)) => check::<4>(rest),
        _ => {}
    }
});

fn check<const K: usize>(input: &[u8]) {
    let bits = 512 * K;
    let mut rest = input;
    let mut next = |bits: usize| {
        let (bytes, later) = rest.split_at(rest.len().min(bits.div_ceil(8)));
        rest = later;
        BigUint::from_bytes_le(bytes) & ((BigUint::from(1_u8) << bits) - 1_u8)
    };
    let mut modulus = || {
        let mut modulus = next(bits);
        modulus.set_bit(0, true);
        modulus.set_bit(bits as u64 - 1, true);
        modulus
    };
    let moduli = [modulus(), modulus()];
    let mut operands = || -> Vec<BigUint> {
        (0..LANES)
            .map(|lane| next(bits + 2) % (&moduli[lane / HALF] * 3_u8))
            .collect()
    };
    let (a, b) = (operands(), operands());

    let prepared = Modulus::<K>::halves(&natural(&moduli[0]), &natural(&moduli[1]));
    let mut product = Number::ZERO;
    let mut square = Number::ZERO;
    // SAFETY: the features were detected.
    unsafe {
        let mut field = prepared.field();
        field.multiply(&mut product, &number::<K>(&a), &number::<K>(&b));
        field.square(&mut square, &number::<K>(&a));
    }
    for lane in 0..LANES {
        let p = &moduli[lane / HALF];
        for (found, b) in [(value(&product, lane), &b[lane]), (value(&square, lane), &a[lane])] {
            assert!(found < p * 3_u8, "the result is too large");
            assert_eq!((found << (520 * K)) % p, &a[lane] * b % p);
        }
    }
}

fn natural(x: &BigUint) -> Natural {
    Natural::from_limbs(&x.to_u64_digits())
}

fn number<const K: usize>(values: &[BigUint]) -> Number<K> {
    let mut number = Number::ZERO;
    for (lane, value) in values.iter().enumerate() {
        number.set_lane(lane, &natural(value).digits(K));
    }
    number
}

fn value<const K: usize>(number: &Number<K>, lane: usize) -> BigUint {
    let digits = number.digits().iter().rev();
    digits.fold(BigUint::ZERO, |value, digit| (value << 52) + digit.0[lane])
}
