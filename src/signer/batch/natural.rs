//! What must be known of a key before the first signature, and how is it got?
//!
//! A [`Natural`] is a number of any length for what is computed once per key:
//! Montgomery constants and powers of two. It is slow and simple; lengths are
//! public, and no branch or index depends on a value. The limbs are zeroized
//! on drop.

use std::hint::black_box;

use zeroize::Zeroizing;

use super::lanes::{BLOCK, DIGIT_BITS, DIGIT_MASK, digits_of};

/// A number in little-endian limbs of 64 bits.
#[derive(Clone)]
pub(super) struct Natural(Zeroizing<Vec<u64>>);

impl Natural {
    /// Reads big-endian bytes.
    pub(super) fn from_be_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(
            bytes
                .rchunks(8)
                .map(|chunk| {
                    chunk
                        .iter()
                        .fold(0, |limb, byte| limb << 8 | u64::from(*byte))
                })
                .collect(),
        ))
    }

    /// Takes little-endian limbs.
    pub(super) fn from_limbs(limbs: &[u64]) -> Self {
        Self(Zeroizing::new(limbs.to_vec()))
    }

    /// Returns the limbs, least significant first.
    pub(super) fn limbs(&self) -> &[u64] {
        &self.0
    }

    /// Returns how many bits the number has; this is not kept secret.
    pub(super) fn bits(&self) -> usize {
        let used = self.0.iter().rposition(|limb| *limb != 0);
        used.map_or(0, |last| {
            64 * (last + 1) - self.0[last].leading_zeros() as usize
        })
    }

    /// Returns bit `place`, counted from the least significant.
    pub(super) fn bit(&self, place: usize) -> u64 {
        self.0
            .get(place / 64)
            .map_or(0, |limb| limb >> (place % 64) & 1)
    }

    /// Returns `count` bits from bit `place` on; they lie in one limb.
    pub(super) fn bits_at(&self, place: usize, count: usize) -> u64 {
        self.0
            .get(place / 64)
            .map_or(0, |limb| limb >> (place % 64) & ((1 << count) - 1))
    }

    /// Returns the digits of 52 bits that fill `blocks` blocks.
    pub(super) fn digits(&self, blocks: usize) -> Zeroizing<Vec<u64>> {
        let mut digits = Zeroizing::new(vec![0; blocks * BLOCK]);
        digits_of(&self.0, &mut digits);
        digits
    }

    /// Returns the number shifted right by one digit.
    pub(super) fn without_last_digit(&self) -> Self {
        let mut limbs = Zeroizing::new(Vec::with_capacity(self.0.len()));
        for (place, limb) in self.0.iter().enumerate() {
            let next = self.0.get(place + 1).copied().unwrap_or(0);
            limbs.push(limb >> DIGIT_BITS | next << (64 - DIGIT_BITS));
        }
        Self(limbs)
    }

    /// Returns `self · factor + addend`.
    pub(super) fn multiply_add(&self, factor: u64, addend: u64) -> Self {
        let mut limbs = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        let mut carry = u128::from(addend);
        for limb in self.0.iter() {
            carry += u128::from(*limb) * u128::from(factor);
            limbs.push(low(carry));
            carry >>= 64;
        }
        limbs.push(low(carry));
        Self(limbs)
    }

    /// Returns `self + other`.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let at = |number: &Self, place: usize| number.0.get(place).copied().unwrap_or(0);
        let longest = self.0.len().max(other.0.len());
        let mut limbs = Zeroizing::new(Vec::with_capacity(longest + 1));
        let mut carry = 0;
        for place in 0..longest {
            carry += u128::from(at(self, place)) + u128::from(at(other, place));
            limbs.push(low(carry));
            carry >>= 64;
        }
        limbs.push(low(carry));
        Self(limbs)
    }

    /// Returns the digits of k = −`self`⁻¹ modulo 2^(52·`COUNT`), and
    /// (k·`self` + 1)/2^(52·`COUNT`); `self` is odd.
    pub(super) fn clear_digits<const COUNT: usize>(&self) -> (Zeroizing<[u64; COUNT]>, Self) {
        let inverse = self.negated_inverse_digit();
        let mut digits = Zeroizing::new([0; COUNT]);
        let mut rest = Self::from_limbs(&[1]);
        for digit in digits.iter_mut() {
            // This multiple clears the last digit of what is left.
            *digit = rest.0[0].wrapping_mul(inverse) & DIGIT_MASK;
            rest = rest
                .plus(&self.multiply_add(*digit, 0))
                .without_last_digit();
        }
        (digits, rest)
    }

    /// Returns `self · other`.
    pub(super) fn multiply(&self, other: &Self) -> Self {
        let mut limbs = Zeroizing::new(vec![0; self.0.len() + other.0.len()]);
        for (place, x) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (slot, y) in limbs[place..].iter_mut().zip(other.0.iter().chain(&[0])) {
                carry += u128::from(*x) * u128::from(*y) + u128::from(*slot);
                *slot = low(carry);
                carry >>= 64;
            }
        }
        Self(limbs)
    }

    /// Are the two numbers equal?
    pub(super) fn equals(&self, other: &Self) -> bool {
        let at = |number: &Self, place: usize| number.0.get(place).copied().unwrap_or(0);
        let longest = self.0.len().max(other.0.len());
        (0..longest).fold(0, |found, place| {
            found | (at(self, place) ^ at(other, place))
        }) == 0
    }

    /// Is `self` the smaller number?
    pub(super) fn is_below(&self, other: &Self) -> bool {
        let at = |number: &Self, place: usize| number.0.get(place).copied().unwrap_or(0);
        let longest = self.0.len().max(other.0.len());
        (0..longest).fold(0, |borrow, place| {
            borrow_of(at(self, place), at(other, place), borrow).1
        }) == 1
    }

    /// Returns `self − 2`; `self` is odd and above 1.
    pub(super) fn minus_two(mut self) -> Self {
        let mut borrow = 2;
        for limb in self.0.iter_mut() {
            let (difference, wrapped) = limb.overflowing_sub(borrow);
            (*limb, borrow) = (difference, u64::from(wrapped));
        }
        self
    }

    /// Returns `self · 2^bits` modulo `modulus`; `self` is below `modulus`.
    pub(super) fn shifted(&self, bits: usize, modulus: &Self) -> Self {
        let mut limbs = Zeroizing::new(vec![0; modulus.0.len()]);
        for (slot, limb) in limbs.iter_mut().zip(self.0.iter()) {
            *slot = *limb;
        }
        for _ in 0..bits {
            let mut carry = 0;
            for limb in limbs.iter_mut() {
                let out = *limb >> 63;
                *limb = *limb << 1 | carry;
                carry = out;
            }
            subtract_if(&mut limbs, &modulus.0, carry);
        }
        Self(limbs)
    }

    /// Returns 2^`exponent` modulo `self`, which is odd and above 1.
    pub(super) fn power_of_two(&self, exponent: usize) -> Self {
        // The first power below the modulus needs no arithmetic.
        let first = (self.bits() - 1).min(exponent);
        let mut limbs = vec![0; self.0.len()];
        limbs[first / 64] = 1 << (first % 64);
        Self::from_limbs(&limbs).shifted(exponent - first, self)
    }

    /// Returns −`self`⁻¹ modulo 2^64; `self` is odd.
    ///
    /// Newton's iteration doubles the right bits: 5, 10, 20, 40, 80.
    pub(super) fn negated_inverse(&self) -> u64 {
        let odd = self.0[0];
        let mut inverse = odd.wrapping_mul(3) ^ 2;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        inverse.wrapping_neg()
    }

    /// Returns −`self`⁻¹ modulo 2^52.
    pub(super) fn negated_inverse_digit(&self) -> u64 {
        self.negated_inverse() & DIGIT_MASK
    }
}

/// Subtracts `other` from `limbs` if `limbs`, with `carry` as one more limb,
/// is not below it.
pub(super) fn subtract_if(limbs: &mut [u64], other: &[u64], carry: u64) {
    let mut borrow = 0;
    for (x, y) in limbs.iter().zip(other) {
        borrow = borrow_of(*x, *y, borrow).1;
    }
    // Zero if the difference is negative, else all ones.
    let mask = mask_of(borrow & (carry ^ 1) ^ 1);
    let mut borrow = 0;
    for (x, y) in limbs.iter_mut().zip(other) {
        (*x, borrow) = borrow_of(*x, *y & mask, borrow);
    }
}

/// Subtracts with borrow: the difference, and 1 if it has wrapped round.
#[inline]
pub(super) fn borrow_of(x: u64, y: u64, borrow: u64) -> (u64, u64) {
    let wide = u128::from(x)
        .wrapping_sub(u128::from(y))
        .wrapping_sub(u128::from(borrow));
    (low(wide), low(wide >> 64) & 1)
}

/// Returns all ones for 1 and zero for 0.
///
/// An optimizer that sees that there are but two masks may branch on which it
/// is, and has done so; hence the black box.
#[inline]
pub(super) fn mask_of(bit: u64) -> u64 {
    black_box(bit).wrapping_neg()
}

/// Returns the lower half of a double limb.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
#[inline]
pub(super) const fn low(wide: u128) -> u64 {
    wide as u64
}
