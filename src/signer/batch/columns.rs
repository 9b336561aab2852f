//! How are the products of digits added up, in doubles?
//!
//! A product of two numbers is the sums of its columns, one a digit, and these
//! are not carried here. The way is that of Emmart, Zheng and Weems (2018),
//! changed for rounding to the nearest, which is the mode that Rust relies on.
//!
//! For digits x and y below 2^52, the sum x·y + 2^104 rounds to a multiple of
//! 2^52, whose fraction is the high digit h, as an integer. With
//! 2^104 − 3·2^51 less that sum, which is exact, a second multiply-add leaves
//! l − 3·2^51 for the low part l = x·y − h·2^52. As l is between −2^51 and
//! 2^51, that is between −2^53 and −2^52, exact, and its bits are a constant
//! less l. So the bits are added up as integers, and the constants are taken
//! off beforehand, in what the sums begin with. Signs are no trouble since
//! every sum begins with 2^62 as well, which is carried along and taken off in
//! the next one.
//!
//! A sum takes at most 4·N + 2 addends of 52 bits (N = 80 digits). Operands of
//! the multiplier are zero or between 1 and 2^52, and sums above 2^51: there
//! are no subnormal numbers, which alone make additions and multiplications of
//! doubles wait. There is no branch and no index that depends on a digit.

#![expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "the assembly is empty and touches no memory"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __m256d, __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_castpd_si256, _mm256_castsi256_pd,
    _mm256_fmadd_pd, _mm256_load_pd, _mm256_load_si256, _mm256_or_si256, _mm256_set1_epi64x,
    _mm256_set1_pd, _mm256_srli_epi64, _mm256_store_pd, _mm256_store_si256, _mm256_sub_epi64,
    _mm256_sub_pd,
};

use zeroize::Zeroize;

use super::lanes::{BLOCK, DIGIT_BITS, DIGIT_MASK, Four, Number};

/// The digits that are worked on at once; half a block.
pub(super) const STEP: usize = 5;

/// Half blocks in a block.
pub(super) const STEPS: usize = BLOCK / STEP;

/// The bits of a digit, for a shift.
pub(super) const DIGIT_SHIFT: i32 = 52;

/// The bits of 2^104, whose last place is 2^52.
const HIGH_BITS: u64 = (1023 + 104) << 52;

/// The bits of −3·2^51, whose last place is 1.
const LOW_BITS: u64 = 1 << 63 | (1023 + 52) << 52 | 1 << 51;

/// The bits of 2^52, whose last place is 1.
const UNIT_BITS: u64 = (1023 + 52) << 52;

/// 2^104, and 2^104 − 3·2^51.
const SPLITS: [f64; 2] = [f64::from_bits(HIGH_BITS), f64::from_bits(HIGH_BITS - 3)];

/// What every sum begins with, so as not to be negative, and what that carries.
const BIAS: u64 = 1 << 62;
const CARRIED_BIAS: u64 = BIAS >> DIGIT_BITS;

/// The columns of a product of two numbers of `K` blocks, by half blocks.
#[derive(Zeroize)]
pub(super) struct Columns<const K: usize>(pub(super) [[[Four; STEP]; 2 * STEPS]; K]);

impl<const K: usize> Columns<K> {
    pub(super) fn zero() -> Self {
        Self([[[Four::default(); STEP]; 2 * STEPS]; K])
    }
}

/// What the sums of the columns begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A product that is carried as it is.
    Product,
    /// A product that is reduced.
    Reduced,
    /// As `Reduced`, halved: the sums are doubled before the reduction.
    Doubled,
}

/// Returns what the sums of `K` blocks begin with: the bias, less what exponents
/// add up to.
pub(super) const fn beginnings<const K: usize>(purpose: Purpose) -> [[[u64; STEP]; 2 * STEPS]; K] {
    const MAX: usize = 2 * 80;
    let digits = K * BLOCK;
    let mut low = [0_u64; MAX + STEP + 1];
    let mut high = [0_u64; MAX + STEP + 1];
    let mut i = 0;
    while i < digits {
        let mut j = 0;
        while j < digits {
            low[i + j] += 1;
            high[i + j + 1] += 1;
            if !matches!(purpose, Purpose::Product) {
                // The quotient's last five digits are multiplied with p. Their
                // first column is apart; the sums begin anew for it.
                let is_last = i >= digits - STEP;
                let at = if is_last { i + j } else { i + j + STEP };
                low[at] += (!is_last || at >= digits) as u64;
                high[at + 1] += (!is_last || at + 1 >= digits) as u64;
            }
            j += 1;
        }
        i += 1;
    }
    let mut sums = [[[0; STEP]; 2 * STEPS]; K];
    let mut place = 0;
    while place < 2 * digits {
        // The column before the middle one is carried twice.
        let carried = if place == 0 {
            0
        } else if place == digits && !matches!(purpose, Purpose::Product) {
            2 * CARRIED_BIAS
        } else {
            CARRIED_BIAS
        };
        let sum = beginning(low[place], high[place], carried);
        sums[place / STEP / (2 * STEPS)][place / STEP % (2 * STEPS)][place % STEP] =
            if matches!(purpose, Purpose::Doubled) {
                sum / 2
            } else {
                sum
            };
        place += 1;
    }
    sums
}

/// Returns what a sum of so many low and high parts begins with.
const fn beginning(low: u64, high: u64, carried: u64) -> u64 {
    low.wrapping_mul(LOW_BITS)
        .wrapping_sub(high.wrapping_mul(HIGH_BITS))
        .wrapping_add(BIAS)
        .wrapping_sub(carried)
}

/// What the sums of five columns begin with that take the lower half of a
/// product of five digits by five.
pub(super) const TRIANGLE: [u64; STEP] = {
    let mut sums = [0; STEP];
    let mut place = 0;
    while place < STEP {
        let carried = if place == 0 { 0 } else { CARRIED_BIAS };
        sums[place] = beginning(place as u64 + 1, place as u64, carried);
        place += 1;
    }
    sums
};

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load(digit: &Four) -> __m256i {
    // SAFETY: a `Four` has 32 bytes, all initialized, and is aligned to 32.
    unsafe { _mm256_load_si256((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load_double(digit: &Four) -> __m256d {
    // SAFETY: as in `load`; every pattern of bits is a double.
    unsafe { _mm256_load_pd((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn store(digit: &mut Four, value: __m256i) {
    // SAFETY: a `Four` has 32 bytes, is aligned to 32 and borrowed for
    // writing, and every pattern of bits is one.
    unsafe { _mm256_store_si256((&raw mut *digit).cast(), value) }
}

/// Stores digits of 52 bits as doubles.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn store_double(digit: &mut Four, value: __m256i) {
    let unit = _mm256_set1_epi64x(UNIT_BITS.cast_signed());
    let shifted = _mm256_castsi256_pd(_mm256_or_si256(value, unit));
    let double = _mm256_sub_pd(shifted, _mm256_castsi256_pd(unit));
    // SAFETY: as in `store`.
    unsafe { _mm256_store_pd((&raw mut *digit).cast(), double) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn all(value: u64) -> __m256i {
    _mm256_set1_epi64x(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn splits() -> [__m256d; 2] {
    [_mm256_set1_pd(SPLITS[0]), _mm256_set1_pd(SPLITS[1])]
}

/// Returns the half blocks of a number.
#[inline]
pub(super) fn steps<const K: usize>(number: &Number<Four, K>) -> &[[Four; STEP]] {
    number.digits().as_chunks().0
}

/// Turns digits into doubles.
#[target_feature(enable = "avx2,fma")]
pub(super) fn convert<const K: usize>(out: &mut Number<Four, K>, number: &Number<Four, K>) {
    for (double, digit) in out.digits_mut().iter_mut().zip(number.digits()) {
        store_double(double, load(digit));
    }
}

/// Adds up the columns of a·b.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply_columns<const K: usize>(
    columns: &mut Columns<K>,
    a: &Number<Four, K>,
    b: &Number<Four, K>,
    begin: &[[[u64; STEP]; 2 * STEPS]; K],
) {
    let (a, b) = (steps(a), steps(b));
    let begin = begin.as_flattened();
    let columns = columns.0.as_flattened_mut();
    let count = STEPS * K;
    let mut splits = splits();
    let mut sums: [__m256i; 2 * STEP] =
        std::array::from_fn(|place| all(begin[place / STEP][place % STEP]));
    for column in 0..2 * count {
        for i in (column + 1).saturating_sub(count)..count.min(column + 1) {
            term_block!(sums, splits, &a[i], &b[column - i]);
        }
        for (slot, sum) in columns[column].iter_mut().zip(sums) {
            store(slot, sum);
        }
        let next = begin.get(column + 2).unwrap_or(&[0; STEP]);
        next_column!(sums, |place: usize| all(next[place]));
    }
}

/// Adds up the columns of a².
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn square_columns<const K: usize>(columns: &mut Columns<K>, a: &Number<Four, K>) {
    let begin = const { beginnings::<K>(Purpose::Doubled) };
    let begin = begin.as_flattened();
    let digits = a.digits();
    let a = steps(a);
    let columns = columns.0.as_flattened_mut();
    let count = STEPS * K;
    let mut splits = splits();
    let mut sums: [__m256i; 2 * STEP] =
        std::array::from_fn(|place| all(begin[place / STEP][place % STEP]));
    for column in 0..2 * count {
        for i in (column + 1).saturating_sub(count)..column.div_ceil(2) {
            term_block!(sums, splits, &a[i], &a[column - i]);
        }
        if column % 2 == 0 {
            let mut x = &a[column / 2];
            let mut y = x;
            term_row!(sums, splits, x, y, 0, 1 2 3 4);
            term_row!(sums, splits, x, y, 1, 2 3 4);
            term_row!(sums, splits, x, y, 2, 3 4);
            term_row!(sums, splits, x, y, 3, 4);
            let _ = (x, y);
        }
        for (slot, sum) in columns[column].iter_mut().zip(sums) {
            store(slot, _mm256_add_epi64(sum, sum));
        }
        let next = begin.get(column + 2).unwrap_or(&[0; STEP]);
        next_column!(sums, |place: usize| all(next[place]));
    }
    let (pairs, _) = columns.as_flattened_mut().as_chunks_mut::<2>();
    for (pair, digit) in pairs.iter_mut().zip(digits) {
        let mut sums = pair.each_ref().map(|sum| load(sum));
        let digit = load_double(digit);
        term!(sums, splits, 0, digit, digit);
        store(&mut pair[0], sums[0]);
        store(&mut pair[1], sums[1]);
    }
}

/// Sets `out` to the last five digits of a·b; all are doubles.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn lower_half(out: &mut [Four; STEP], mut a: &[Four; STEP], mut b: &[Four; STEP]) {
    let mut splits = splits();
    let mut sums: [__m256i; 2 * STEP] =
        std::array::from_fn(|place| all(TRIANGLE.get(place).copied().unwrap_or(0)));
    term_row!(sums, splits, a, b, 0, 0 1 2 3 4);
    term_row!(sums, splits, a, b, 1, 0 1 2 3);
    term_row!(sums, splits, a, b, 2, 0 1 2);
    term_row!(sums, splits, a, b, 3, 0 1);
    term_row!(sums, splits, a, b, 4, 0);
    let _ = (a, b);
    carry_column!(sums, |place: usize, digit| store_double(
        &mut out[place],
        digit
    ));
}
