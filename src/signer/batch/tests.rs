//! Are the signatures the only ones there can be, on every path?

#[cfg(target_arch = "x86_64")]
mod arithmetic;
mod signatures;

use std::panic::Location;

use num_bigint::BigUint;

use super::Path;
use super::lanes::{Lanes, Number};
use super::natural::Natural;

/// The paths that run on this machine; the reason is printed for others.
#[track_caller]
fn paths() -> Vec<Path> {
    let caller = Location::caller();
    let is_there = |path: &Path| match path.unavailable() {
        None => true,
        Some(reason) => {
            println!("{path} skipped at {caller}: {reason}");
            false
        }
    };
    Path::ALL.into_iter().filter(is_there).collect()
}

/// The vector paths that run on this machine.
#[track_caller]
fn vector_paths() -> Vec<Path> {
    let all = paths().into_iter();
    all.filter(|path| *path != Path::Portable).collect()
}

fn natural(x: &BigUint) -> Natural {
    Natural::from_limbs(&x.to_u64_digits())
}

fn big(x: &Natural) -> BigUint {
    let bytes: Vec<u8> = x.limbs().iter().flat_map(|x| x.to_le_bytes()).collect();
    BigUint::from_bytes_le(&bytes)
}

/// Puts a number into each lane.
fn number<L: Lanes, const K: usize>(values: &[BigUint]) -> Number<L, K> {
    let mut number = Number::zero();
    for (lane, value) in values.iter().enumerate() {
        assert!(value.bits() <= 520 * K as u64, "the number fits");
        number.set_lane(lane, &natural(value).digits(K));
    }
    number
}

/// Reads the number of each lane.
fn values<L: Lanes, const K: usize>(number: &Number<L, K>) -> Vec<BigUint> {
    (0..L::COUNT)
        .map(|lane| {
            let digits = number.digits().iter().rev();
            digits.fold(BigUint::ZERO, |value, digit| {
                assert!(digit[lane] >> 52 == 0, "a digit has 52 bits");
                (value << 52) + digit[lane]
            })
        })
        .collect()
}

/// A small generator whose numbers a failed test can repeat (splitmix64).
struct Random(u64);

impl Random {
    fn limb(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number of at most `bits` bits, in one of three textures:
    /// random, long runs of ones and zeros, or nearly all ones.
    fn number(&mut self, bits: usize) -> BigUint {
        let texture = self.limb() % 3;
        let bytes: Vec<u8> = (0..bits.div_ceil(64))
            .flat_map(|_| {
                let limb = match texture {
                    0 => self.limb(),
                    1 if self.limb() & 1 == 1 => u64::MAX,
                    1 => 0,
                    _ => !(self.limb() & self.limb() & self.limb() & self.limb()),
                };
                limb.to_le_bytes()
            })
            .collect();
        BigUint::from_bytes_le(&bytes) & ((BigUint::from(1_u8) << bits) - 1_u8)
    }

    /// Returns an odd number of exactly `bits` bits.
    fn modulus(&mut self, bits: usize) -> BigUint {
        let mut modulus = self.number(bits);
        modulus.set_bit(0, true);
        modulus.set_bit(bits as u64 - 1, true);
        modulus
    }
}
