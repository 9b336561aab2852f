//! How do numbers lie side by side, so that one instruction advances all?
//!
//! A [`Number`] holds several numbers of 520·K bits, each in its own lane:
//! digit `d` of all of them is one [`Lanes`], the size of a vector register.
//! Digits have 52 bits, as the multipliers of AVX-512 IFMA do and the fractions
//! of doubles, and are gathered in blocks of ten.
//!
//! Everything here is plain arithmetic on arrays, without a branch or an index
//! that depends on a digit. The rule that others rely on: every digit that is
//! stored is below 2^52.

use std::cell::RefCell;
use std::hint::black_box;
use std::ops::{Index, IndexMut};

use zeroize::{DefaultIsZeroes, Zeroize, Zeroizing};

/// The most numbers that are worked on at once: 512 bits by 64.
pub(super) const MAX_LANES: usize = 8;

/// The bits of a digit.
pub(super) const DIGIT_BITS: usize = 52;

/// The digits of a block.
pub(super) const BLOCK: usize = 10;

/// The bits of an exponent that are worked off at once.
pub(super) const WINDOW: usize = 5;

/// The powers of a table: one for each value of a window.
pub(super) const ENTRIES: usize = 1 << WINDOW;

/// The largest digit.
pub(super) const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// One digit of several numbers.
///
/// The lower half of the lanes belongs to one prime and the upper half to the
/// other, so that an exponentiation serves half as many messages.
pub(super) trait Lanes:
    DefaultIsZeroes + PartialEq + Index<usize, Output = u64> + IndexMut<usize> + Send + Sync + 'static
{
    /// How many numbers there are.
    const COUNT: usize;

    /// The lanes of one prime, and so the messages of one exponentiation.
    const HALF: usize = Self::COUNT / 2;

    /// Puts a digit into the lower half of the lanes and one into the upper.
    fn halves(lower: u64, upper: u64) -> Self {
        let mut lanes = Self::default();
        for lane in 0..Self::COUNT {
            lanes[lane] = if lane < Self::HALF { lower } else { upper };
        }
        lanes
    }

    /// Lends the table of powers of this thread, of at least `rows` rows.
    ///
    /// It is kept so that signing allocates nothing, and holds zeros between
    /// calls.
    fn with_table<R>(rows: usize, work: impl FnOnce(&mut [[Self; ENTRIES]]) -> R) -> R;
}

/// Defines lanes of a width, and their table.
macro_rules! lanes {
    ($(#[$doc:meta])* $name:ident, $count:literal, $align:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        #[repr(C, align($align))]
        pub(super) struct $name(pub(super) [u64; $count]);

        impl DefaultIsZeroes for $name {}

        impl Index<usize> for $name {
            type Output = u64;

            #[inline]
            fn index(&self, lane: usize) -> &u64 {
                &self.0[lane]
            }
        }

        impl IndexMut<usize> for $name {
            #[inline]
            fn index_mut(&mut self, lane: usize) -> &mut u64 {
                &mut self.0[lane]
            }
        }

        impl Lanes for $name {
            const COUNT: usize = $count;

            fn with_table<R>(rows: usize, work: impl FnOnce(&mut [[Self; ENTRIES]]) -> R) -> R {
                thread_local! {
                    static TABLE: RefCell<Vec<[$name; ENTRIES]>> = const { RefCell::new(Vec::new()) };
                }
                TABLE.with_borrow_mut(|table| {
                    if table.len() < rows {
                        table.resize(rows, [Self::default(); ENTRIES]);
                    }
                    work(&mut table[..rows])
                })
            }
        }
    };
}

lanes!(
    /// A register of AVX-512, and a line of the cache.
    Eight, 8, 64
);
lanes!(
    /// A register of AVX2.
    Four, 4, 32
);

/// Several numbers of 10·K digits, least significant digit first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Number<L, const K: usize>(pub(super) [[L; BLOCK]; K]);

impl<L: Lanes, const K: usize> Number<L, K> {
    /// The digits of each number.
    pub(super) const DIGITS: usize = BLOCK * K;

    /// Zeros.
    pub(super) fn zero() -> Self {
        Self([[L::default(); BLOCK]; K])
    }

    /// Ones.
    pub(super) fn one() -> Self {
        Self::splat(&[1])
    }

    /// Puts one number into all lanes.
    pub(super) fn splat(digits: &[u64]) -> Self {
        Self::halves(digits, digits)
    }

    /// Puts one number into the lower half of the lanes and one into the upper.
    pub(super) fn halves(lower: &[u64], upper: &[u64]) -> Self {
        let mut number = Self::zero();
        for lane in 0..L::COUNT {
            number.set_lane(lane, if lane < L::HALF { lower } else { upper });
        }
        number
    }

    /// Sets the number of one lane; digits that are not given are zero.
    #[inline]
    pub(super) fn set_lane(&mut self, lane: usize, digits: &[u64]) {
        for (place, digit) in self.digits_mut().iter_mut().enumerate() {
            digit[lane] = digits.get(place).copied().unwrap_or(0);
        }
    }

    /// Returns the digits as a slice.
    #[inline]
    pub(super) fn digits(&self) -> &[L] {
        self.0.as_flattened()
    }

    /// Returns the digits as a slice to write to.
    #[inline]
    pub(super) fn digits_mut(&mut self) -> &mut [L] {
        self.0.as_flattened_mut()
    }

    /// Adds `other` to each number; a carry out of the last digit is lost.
    #[inline]
    pub(super) fn add(&mut self, other: &Self) {
        let mut carry = L::default();
        for (x, y) in self.digits_mut().iter_mut().zip(other.digits()) {
            for lane in 0..L::COUNT {
                let sum = x[lane] + y[lane] + carry[lane];
                x[lane] = sum & DIGIT_MASK;
                carry[lane] = sum >> DIGIT_BITS;
            }
        }
    }

    /// Subtracts `other` from each number.
    ///
    /// Returns all ones in the lanes where `other` was the greater number;
    /// these have wrapped round.
    #[inline]
    pub(super) fn subtract(&mut self, other: &Self) -> L {
        let mut borrow = L::default();
        for (x, y) in self.digits_mut().iter_mut().zip(other.digits()) {
            for lane in 0..L::COUNT {
                // A borrow shows in bit 63, which no digit reaches.
                let difference = x[lane].wrapping_sub(y[lane]).wrapping_sub(borrow[lane]);
                x[lane] = difference & DIGIT_MASK;
                borrow[lane] = difference >> 63;
            }
        }
        // As in `mask_of`.
        let mut masks = black_box(borrow);
        for lane in 0..L::COUNT {
            masks[lane] = masks[lane].wrapping_neg();
        }
        masks
    }

    /// Reduces numbers below three times `modulus` to numbers below it.
    #[inline]
    pub(super) fn reduce_twice(&mut self, modulus: &Self) {
        let mut reduced = Zeroizing::new(self.clone());
        for _ in 0..2 {
            let keep = reduced.subtract(modulus);
            for (x, y) in self.digits_mut().iter_mut().zip(reduced.digits_mut()) {
                for lane in 0..L::COUNT {
                    x[lane] = (x[lane] & keep[lane]) | (y[lane] & !keep[lane]);
                }
                *y = *x;
            }
        }
    }
}

impl<L: Lanes, const K: usize> Zeroize for Number<L, K> {
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
