//! Does the vector arithmetic of the batch engine agree with num-bigint on
//! whatever the fuzzer thinks of?
//!
//! The input is cut into a modulus for each half of the lanes and two operands
//! for each lane; what is missing is zero. The kernel's files are compiled in
//! as they are, so that its private parts can be reached.
//!
//! `cargo fuzz run batch_multiply` in this folder's parent; a processor with
//! AVX-512 IFMA or AVX2 is needed.
#![no_main]
#![allow(dead_code, unused_macros)]

#[macro_use]
#[path = "../../src/signer/batch/terms.rs"]
mod terms;
#[path = "../../src/signer/batch/avx2.rs"]
mod avx2;
#[path = "../../src/signer/batch/columns.rs"]
mod columns;
#[path = "../../src/signer/batch/kernel.rs"]
mod kernel;
#[path = "../../src/signer/batch/lanes.rs"]
mod lanes;
#[path = "../../src/signer/batch/natural.rs"]
mod natural;
#[macro_use]
#[path = "../../src/signer/batch/rows.rs"]
mod rows;
#[path = "../../src/signer/batch/ifma.rs"]
mod ifma;

use avx2::Avx2;
use ifma::Ifma;
use kernel::Kernel;
use lanes::{Lanes, Number};
use libfuzzer_sys::fuzz_target;
use natural::Natural;
use num_bigint::BigUint;

fuzz_target!(|input: &[u8]| {
    let (ifma, avx2) = (Ifma::detect(), Avx2::detect());
    assert!(
        ifma.is_some() || avx2.is_some(),
        "this processor has neither AVX-512 IFMA nor AVX2"
    );
    if let Some(kernel) = ifma {
        run(kernel, input);
    }
    if let Some(kernel) = avx2 {
        run(kernel, input);
    }
});

fn run<A: Kernel>(kernel: A, input: &[u8]) {
    match input.split_first() {
        Some((0, rest)) => check::<A, 2>(kernel, rest),
        Some((1, rest)) => check::<A, 3>(kernel, rest),
        Some((2, rest)) => check::<A, 4>(kernel, rest),
        _ => {}
    }
}

fn check<A: Kernel, const K: usize>(kernel: A, input: &[u8]) {
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
    let (count, half) = (A::Lanes::COUNT, A::Lanes::HALF);
    let mut operands = || -> Vec<BigUint> {
        (0..count)
            .map(|lane| next(bits + 2) % (&moduli[lane / half] * 3_u8))
            .collect()
    };
    let (a, b) = (operands(), operands());

    let prepared = kernel.modulus::<K>(&natural(&moduli[0]), &natural(&moduli[1]));
    let mut product = Number::zero();
    let mut square = Number::zero();
    let mut field = kernel.field(&prepared);
    kernel.multiply(&mut field, &mut product, &number(&a), &number(&b));
    kernel.square(&mut field, &mut square, &number(&a));
    for lane in 0..count {
        let p = &moduli[lane / half];
        for (found, b) in [(value(&product, lane), &b[lane]), (value(&square, lane), &a[lane])] {
            assert!(found < p * 3_u8, "the result is too large");
            assert_eq!((found << (520 * K)) % p, &a[lane] * b % p);
        }
    }
}

fn natural(x: &BigUint) -> Natural {
    Natural::from_limbs(&x.to_u64_digits())
}

fn number<L: Lanes, const K: usize>(values: &[BigUint]) -> Number<L, K> {
    let mut number = Number::zero();
    for (lane, value) in values.iter().enumerate() {
        number.set_lane(lane, &natural(value).digits(K));
    }
    number
}

fn value<L: Lanes, const K: usize>(number: &Number<L, K>, lane: usize) -> BigUint {
    let digits = number.digits().iter().rev();
    digits.fold(BigUint::ZERO, |value, digit| (value << 52) + digit[lane])
}
