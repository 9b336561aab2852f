//! How do eight numbers lie side by side, so that one instruction advances all?
//!
//! A [`Number`] holds eight numbers of 520·K bits, each in its own lane: digit
//! `d` of all eight is one [`Lanes`], the size of a vector register and of a
//! cache line. Digits have 52 bits, as the multipliers of AVX-512 IFMA do, and
//! are gathered in blocks of ten, as the kernel works through them.
//!
//! Everything here is plain arithmetic on arrays, without a branch or an index
//! that depends on a digit; the compiler vectorises it where it is inlined
//! into vector code. The rule that others rely on: every digit that is stored
//! is below 2^52.

#![expect(
    clippy::needless_range_loop,
    reason = "arrays of lanes are walked side by side"
)]

use std::hint::black_box;

use zeroize::{DefaultIsZeroes, Zeroize, Zeroizing};

/// How many numbers are worked on at once: 512 bits by 64.
pub(super) const LANES: usize = 8;

/// The bits of a digit.
pub(super) const DIGIT_BITS: usize = 52;

/// The digits of a block.
pub(super) const BLOCK: usize = 10;

/// The lanes of one prime, and so the messages of one exponentiation.
pub(super) const HALF: usize = LANES / 2;

/// The bits of an exponent that are worked off at once.
pub(super) const WINDOW: usize = 5;

/// The powers of a table: one for each value of a window.
pub(super) const ENTRIES: usize = 1 << WINDOW;

/// The largest digit.
pub(super) const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// One digit of eight numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [u64; LANES]);

impl DefaultIsZeroes for Lanes {}

/// Eight numbers of 10·K digits, least significant digit first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Number<const K: usize>(pub(super) [[Lanes; BLOCK]; K]);

impl<const K: usize> Number<K> {
    /// The digits of each number.
    pub(super) const DIGITS: usize = BLOCK * K;

    /// Eight zeros.
    pub(super) const ZERO: Self = Self([[Lanes([0; LANES]); BLOCK]; K]);

    /// Eight ones.
    pub(super) const ONE: Self = {
        let mut one = Self::ZERO;
        one.0[0][0] = Lanes([1; LANES]);
        one
    };

    /// Puts one number into all lanes.
    pub(super) fn splat(digits: &[u64]) -> Self {
        Self::halves(digits, digits)
    }

    /// Puts one number into the lower four lanes and one into the upper four.
    pub(super) fn halves(lower: &[u64], upper: &[u64]) -> Self {
        let mut number = Self::ZERO;
        for lane in 0..LANES {
            number.set_lane(lane, if lane < LANES / 2 { lower } else { upper });
        }
        number
    }

    /// Sets the number of one lane; digits that are not given are zero.
    #[inline]
    pub(super) fn set_lane(&mut self, lane: usize, digits: &[u64]) {
        for (place, digit) in self.digits_mut().iter_mut().enumerate() {
            digit.0[lane] = digits.get(place).copied().unwrap_or(0);
        }
    }

    /// Returns the digits as a slice.
    #[inline]
    pub(super) fn digits(&self) -> &[Lanes] {
        self.0.as_flattened()
    }

    /// Returns the digits as a slice to write to.
    #[inline]
    pub(super) fn digits_mut(&mut self) -> &mut [Lanes] {
        self.0.as_flattened_mut()
    }

    /// Adds `other` to each number; a carry out of the last digit is lost.
    #[inline]
    pub(super) fn add(&mut self, other: &Self) {
        let mut carry = [0; LANES];
        for (x, y) in self.digits_mut().iter_mut().zip(other.digits()) {
            for lane in 0..LANES {
                let sum = x.0[lane] + y.0[lane] + carry[lane];
                x.0[lane] = sum & DIGIT_MASK;
                carry[lane] = sum >> DIGIT_BITS;
            }
        }
    }

    /// Subtracts `other` from each number.
    ///
    /// Returns all ones in the lanes where `other` was the greater number;
    /// these have wrapped round.
    #[inline]
    pub(super) fn subtract(&mut self, other: &Self) -> [u64; LANES] {
        let mut borrow = [0; LANES];
        for (x, y) in self.digits_mut().iter_mut().zip(other.digits()) {
            for lane in 0..LANES {
                // A borrow shows in bit 63, which no digit reaches.
                let difference = x.0[lane].wrapping_sub(y.0[lane]).wrapping_sub(borrow[lane]);
                x.0[lane] = difference & DIGIT_MASK;
                borrow[lane] = difference >> 63;
            }
        }
        // As in `mask_of`.
        black_box(borrow).map(u64::wrapping_neg)
    }

    /// Reduces numbers below three times `modulus` to numbers below it.
    #[inline]
    pub(super) fn reduce_twice(&mut self, modulus: &Self) {
        let mut reduced = Zeroizing::new(self.clone());
        for _ in 0..2 {
            let keep = reduced.subtract(modulus);
            for (x, y) in self.digits_mut().iter_mut().zip(reduced.digits_mut()) {
                for lane in 0..LANES {
                    x.0[lane] = (x.0[lane] & keep[lane]) | (y.0[lane] & !keep[lane]);
                }
                *y = *x;
            }
        }
    }
}

impl<const K: usize> Zeroize for Number<K> {
    fn zeroize(&mut self) {
        self.digits_mut().zeroize();
    }
}

/// Cuts little-endian 64-bit limbs into 52-bit digits.
#[inline]
pub(super) fn digits_of(limbs: &[u64], digits: &mut [u64]) {
    for (place, digit) in digits.iter_mut().enumerate() {
        let (limb, shift) = (place * DIGIT_BITS / 64, place * DIGIT_BITS % 64);
        let at = |index: usize| limbs.get(index).copied().unwrap_or(0);
        // A shift by 64 would overflow, so that by one is apart.
        let high = (at(limb + 1) << 1) << (63 - shift);
        *digit = ((at(limb) >> shift) | high) & DIGIT_MASK;
    }
}

/// Joins 52-bit digits to little-endian 64-bit limbs.
#[inline]
pub(super) fn limbs_of(digits: impl Iterator<Item = u64>, limbs: &mut [u64]) {
    limbs.fill(0);
    for (place, digit) in digits.enumerate() {
        let (limb, shift) = (place * DIGIT_BITS / 64, place * DIGIT_BITS % 64);
        if let Some(low) = limbs.get_mut(limb) {
            *low |= digit << shift;
        }
        if let Some(high) = limbs.get_mut(limb + 1) {
            *high |= (digit >> 1) >> (63 - shift);
        }
    }
}
