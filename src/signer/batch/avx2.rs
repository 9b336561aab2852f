//! How are four numbers multiplied modulo four others, in doubles?
//!
//! Montgomery multiplication and squaring for AVX2, whose integer multiplier
//! takes 32 bits. Its fused multiply-add takes fractions of 53 bits, rounds
//! once, and does a third more work in the same time. Nothing here knows of
//! RSA; what [`Kernel`] promises is kept.
//!
//! - *Splitting a product* (after Emmart, Zheng, Weems 2018). For digits x and
//!   y below 2^52, the sum x·y + 2^104 rounds to a multiple of 2^52, whose
//!   fraction is the high digit h, as an integer. With 2^104 − 3·2^51 less that
//!   sum, which is exact, a second multiply-add leaves l − 3·2^51 for the low
//!   part l = x·y − h·2^52. As rounding is to the nearest, l is between −2^51
//!   and 2^51; the number is between −2^53 and −2^52, exact, and its bits are
//!   a constant less l. So the bits are added up as integers, and the constants
//!   are taken off beforehand, in what the sums begin with. Signs are no
//!   trouble since every sum begins with 2^62 as well, which is carried along
//!   and taken off in the next one.
//! - *Reduction by five digits.* With k = −p⁻¹ mod 2^260 the number k·p + 1 is
//!   S·2^260, so that five digits d are cleared by adding d·S above them. As
//!   k·p is five digits longer than p, the last five are cleared by d·k mod
//!   2^260 times p, as usual.
//!
//! A sum takes at most 4·N + 2 addends of 52 bits (N = 80 digits). Operands of
//! the multiplier are zero or between 1 and 2^53; there are no subnormal
//! numbers, which alone make additions and multiplications of doubles wait.
//! There is no branch and no index that depends on a digit. The mode of
//! rounding is that which Rust relies on.

#![expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "the assembly is empty and touches no memory"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __m256d, __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_pd, _mm256_castpd_si256,
    _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_fmadd_pd, _mm256_load_pd, _mm256_load_si256,
    _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_set1_pd, _mm256_setzero_si256,
    _mm256_srli_epi64, _mm256_store_pd, _mm256_store_si256, _mm256_sub_epi64, _mm256_sub_pd,
};

use zeroize::{Zeroize, Zeroizing};

use super::kernel::{Kernel, Pick};
use super::lanes::{BLOCK, DIGIT_BITS, DIGIT_MASK, ENTRIES, Four, Number, WINDOW};
use super::natural::Natural;

/// The digits that are worked on at once; half a block.
const STEP: usize = 5;

/// Half blocks in a block.
const STEPS: usize = BLOCK / STEP;

/// The bits of a digit, for a shift.
const DIGIT_SHIFT: i32 = 52;

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

/// Proof that the processor has the features of this module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

/// Four odd moduli and what their reduction needs, all as doubles.
#[derive(Zeroize)]
pub(super) struct Modulus<const K: usize> {
    /// p.
    value: Number<Four, K>,
    /// (k·p + 1)/2^260.
    stepped: Number<Four, K>,
    /// k = −p⁻¹ mod 2^260.
    negated_inverse: [Four; STEP],
}

impl<const K: usize> Modulus<K> {
    /// Prepares `lower` as the modulus of the lower two lanes and `upper` as
    /// that of the upper two.
    fn halves(lower: &Natural, upper: &Natural) -> Self {
        let steps = [lower, upper].map(|p| p.clear_digits::<STEP>());
        let doubles = |lower: &[u64], upper: &[u64]| {
            let mut number = Number::<Four, K>::halves(lower, upper);
            for digit in number.digits_mut() {
                // Digits have 52 bits and are exact as doubles.
                digit.0 = digit.0.map(|digit| (digit as f64).to_bits());
            }
            number
        };
        let inverse: Zeroizing<Number<Four, K>> =
            Zeroizing::new(doubles(&*steps[0].0, &*steps[1].0));
        let mut negated_inverse = [Four::default(); STEP];
        negated_inverse.copy_from_slice(&inverse.digits()[..STEP]);
        Self {
            value: doubles(&lower.digits(K), &upper.digits(K)),
            stepped: doubles(&steps[0].1.digits(K), &steps[1].1.digits(K)),
            negated_inverse,
        }
    }
}

/// Arithmetic modulo four numbers, with the memory that it needs.
pub(super) struct Field<'a, const K: usize> {
    modulus: &'a Modulus<K>,
    memory: Zeroizing<Memory<K>>,
}

#[derive(Zeroize)]
struct Memory<const K: usize> {
    /// The operands as doubles.
    a: Number<Four, K>,
    b: Number<Four, K>,
    /// What the columns of a product add up to, not yet carried.
    columns: Columns<K>,
    /// The digits of the quotient of a reduction, as doubles.
    quotient: Number<Four, K>,
    /// The last five digits that are reduced, as integers and as doubles.
    last: [Four; STEP],
    last_doubles: [Four; STEP],
}

/// The columns of a product of two numbers of `K` blocks, by half blocks.
#[derive(Zeroize)]
struct Columns<const K: usize>([[[Four; STEP]; 2 * STEPS]; K]);

impl<const K: usize> Columns<K> {
    fn zero() -> Self {
        Self([[[Four::default(); STEP]; 2 * STEPS]; K])
    }
}

/// What the sums of the columns begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A product that is carried as it is.
    Product,
    /// A product that is reduced.
    Reduced,
    /// As `Reduced`, halved: the sums are doubled before the reduction.
    Doubled,
}

/// Returns what the sums of `K` blocks begin with: the bias, less what exponents
/// add up to.
const fn beginnings<const K: usize>(purpose: Purpose) -> [[[u64; STEP]; 2 * STEPS]; K] {
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
const TRIANGLE: [u64; STEP] = {
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
fn load(digit: &Four) -> __m256i {
    // SAFETY: a `Four` has 32 bytes, all initialized, and is aligned to 32.
    unsafe { _mm256_load_si256((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_double(digit: &Four) -> __m256d {
    // SAFETY: as in `load`; every pattern of bits is a double.
    unsafe { _mm256_load_pd((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(digit: &mut Four, value: __m256i) {
    // SAFETY: a `Four` has 32 bytes, is aligned to 32 and borrowed for
    // writing, and every pattern of bits is one.
    unsafe { _mm256_store_si256((&raw mut *digit).cast(), value) }
}

/// Stores digits of 52 bits as doubles.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_double(digit: &mut Four, value: __m256i) {
    let unit = _mm256_set1_epi64x(UNIT_BITS.cast_signed());
    let shifted = _mm256_castsi256_pd(_mm256_or_si256(value, unit));
    let double = _mm256_sub_pd(shifted, _mm256_castsi256_pd(unit));
    // SAFETY: as in `store`.
    unsafe { _mm256_store_pd((&raw mut *digit).cast(), double) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn all(value: u64) -> __m256i {
    _mm256_set1_epi64x(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splits() -> [__m256d; 2] {
    [_mm256_set1_pd(SPLITS[0]), _mm256_set1_pd(SPLITS[1])]
}

/// Returns the half blocks of a number.
#[inline]
fn steps<const K: usize>(number: &Number<Four, K>) -> &[[Four; STEP]] {
    number.digits().as_chunks().0
}

/// Turns digits into doubles.
#[target_feature(enable = "avx2,fma")]
fn convert<const K: usize>(out: &mut Number<Four, K>, number: &Number<Four, K>) {
    for (double, digit) in out.digits_mut().iter_mut().zip(number.digits()) {
        store_double(double, load(digit));
    }
}

/// Adds up the columns of a·b.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn multiply_columns<const K: usize>(
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
fn square_columns<const K: usize>(columns: &mut Columns<K>, a: &Number<Four, K>) {
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

impl<const K: usize> Field<'_, K> {
    #[target_feature(enable = "avx2,fma")]
    fn multiply(&mut self, out: &mut Number<Four, K>, a: &Number<Four, K>, b: &Number<Four, K>) {
        let memory = &mut *self.memory;
        convert(&mut memory.a, a);
        convert(&mut memory.b, b);
        let begin = const { &beginnings::<K>(Purpose::Reduced) };
        multiply_columns(&mut memory.columns, &memory.a, &memory.b, begin);
        self.reduce(out);
    }

    #[target_feature(enable = "avx2,fma")]
    fn square(&mut self, out: &mut Number<Four, K>, a: &Number<Four, K>) {
        let memory = &mut *self.memory;
        convert(&mut memory.a, a);
        square_columns(&mut memory.columns, &memory.a);
        self.reduce(out);
    }

    /// Divides the number in the columns by R.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    fn reduce(&mut self, out: &mut Number<Four, K>) {
        let memory = &mut *self.memory;
        let columns = memory.columns.0.as_flattened();
        let quotient = memory.quotient.digits_mut().as_chunks_mut::<STEP>().0;
        let stepped = steps(&self.modulus.stepped);
        let value = steps(&self.modulus.value);
        let out = out.digits_mut().as_chunks_mut::<STEP>().0;
        let count = STEPS * K;
        let mut splits = splits();
        let mut sums: [__m256i; 2 * STEP] =
            std::array::from_fn(|place| load(&columns[place / STEP][place % STEP]));
        for column in 0..2 * count {
            for i in column.saturating_sub(count)..column.min(count - 1) {
                term_block!(sums, splits, &quotient[i], &stepped[column - 1 - i]);
            }
            if column + 1 < count {
                let digits = &mut quotient[column];
                carry_column!(sums, |place: usize, digit| store_double(
                    &mut digits[place],
                    digit
                ));
            } else if column + 1 == count {
                let (digits, doubles) = (&mut memory.last, &mut memory.last_doubles);
                carry_column!(sums, |place: usize, digit| {
                    store(&mut digits[place], digit);
                    store_double(&mut doubles[place], digit);
                });
                let multiple = &mut quotient[column];
                lower_half(multiple, doubles, &self.modulus.negated_inverse);
                for (place, digit) in digits.iter().enumerate() {
                    sums[place] = _mm256_add_epi64(load(digit), all(TRIANGLE[place]));
                }
                term_block!(sums, splits, multiple, &value[0]);
                // The digits are zero.
                carry_column!(sums, |_: usize, _| ());
            } else {
                if let Some(digits) = value.get(column + 1 - count) {
                    term_block!(sums, splits, &quotient[count - 1], digits);
                }
                let digits = &mut out[column - count];
                carry_column!(sums, |place: usize, digit| store(&mut digits[place], digit));
            }
            match columns.get(column + 2) {
                Some(next) => next_column!(sums, |place: usize| load(&next[place])),
                None => next_column!(sums, |_| _mm256_setzero_si256()),
            }
        }
    }
}

/// Sets `out` to the last five digits of a·b; all are doubles.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn lower_half(out: &mut [Four; STEP], mut a: &[Four; STEP], mut b: &[Four; STEP]) {
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

/// Sets `out` to a·b + c, which has `D` = 2·`K` blocks.
#[target_feature(enable = "avx2,fma")]
fn multiply_add<const K: usize, const D: usize>(
    out: &mut Number<Four, D>,
    a: &Number<Four, K>,
    b: &Number<Four, K>,
    c: &Number<Four, K>,
) {
    const { assert!(D == 2 * K, "a product is twice as long as its factors") };
    let mut doubles = Zeroizing::new([Number::zero(), Number::zero()]);
    let mut columns = Zeroizing::new(Columns::zero());
    let [a_doubles, b_doubles] = &mut *doubles;
    convert(a_doubles, a);
    convert(b_doubles, b);
    let begin = const { &beginnings::<K>(Purpose::Product) };
    multiply_columns(&mut columns, a_doubles, b_doubles, begin);
    let mut addends = c.digits().iter();
    let mut carry = _mm256_setzero_si256();
    for (digit, sum) in out
        .digits_mut()
        .iter_mut()
        .zip(columns.0.as_flattened().as_flattened())
    {
        let addend = addends
            .next()
            .map_or(_mm256_setzero_si256(), |digit| load(digit));
        let sum = _mm256_add_epi64(_mm256_add_epi64(load(sum), addend), carry);
        store(digit, _mm256_and_si256(sum, all(DIGIT_MASK)));
        carry = _mm256_srli_epi64::<DIGIT_SHIFT>(sum);
    }
}

/// Chooses from a table by halving.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn choose(pick: Pick<'_, Four>) {
    let lanes = _mm256_set_epi64x(8, 4, 2, 1);
    let bits: [__m256d; WINDOW] = pick.bits.map(|bits| {
        let set = _mm256_and_si256(all(bits.into()), lanes);
        _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, lanes))
    });
    for (row, digit) in pick.rows.iter().zip(pick.digits) {
        let two =
            |e: usize| _mm256_blendv_pd(load_double(&row[e]), load_double(&row[e + 1]), bits[4]);
        let four = |e| _mm256_blendv_pd(two(e), two(e + 2), bits[3]);
        let eight = |e| _mm256_blendv_pd(four(e), four(e + 4), bits[2]);
        let sixteen = |e| _mm256_blendv_pd(eight(e), eight(e + 8), bits[1]);
        let chosen = _mm256_blendv_pd(sixteen(0), sixteen(ENTRIES / 2), bits[0]);
        store(digit, _mm256_castpd_si256(chosen));
    }
}

/// Multiplies blocks for a while with nothing in between, and returns how many
/// products of digits were made in each lane.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn burst() -> usize {
    const ROUNDS: usize = 1024;
    let digits = std::hint::black_box([Four([0x432f_edcb_a987_6543; 4]); STEP]);
    let mut splits = splits();
    let mut sums = [_mm256_setzero_si256(); 2 * STEP];
    for _ in 0..ROUNDS {
        term_block!(sums, splits, &digits, &digits);
    }
    std::hint::black_box(sums);
    ROUNDS * STEP * STEP
}

impl Kernel for Avx2 {
    type Lanes = Four;
    type Modulus<const K: usize> = Modulus<K>;
    type Field<'a, const K: usize> = Field<'a, K>;

    fn missing() -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !is_x86_feature_detected!("avx2") {
            missing.push("avx2");
        }
        if !is_x86_feature_detected!("fma") {
            missing.push("fma");
        }
        missing
    }

    fn detect() -> Option<Self> {
        Self::missing().is_empty().then_some(Self(()))
    }

    fn modulus<const K: usize>(self, lower: &Natural, upper: &Natural) -> Modulus<K> {
        Modulus::halves(lower, upper)
    }

    fn field<const K: usize>(self, modulus: &Modulus<K>) -> Field<'_, K> {
        Field {
            modulus,
            memory: Zeroizing::new(Memory {
                a: Number::zero(),
                b: Number::zero(),
                columns: Columns::zero(),
                quotient: Number::zero(),
                last: [Four::default(); STEP],
                last_doubles: [Four::default(); STEP],
            }),
        }
    }

    fn multiply<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Four, K>,
        a: &Number<Four, K>,
        b: &Number<Four, K>,
    ) {
        // SAFETY: there is an `Avx2` only where the features were detected.
        unsafe { field.multiply(out, a, b) }
    }

    fn square<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Four, K>,
        a: &Number<Four, K>,
    ) {
        // SAFETY: as above.
        unsafe { field.square(out, a) }
    }

    fn square_and_pick<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Four, K>,
        a: &Number<Four, K>,
        pick: Pick<'_, Four>,
    ) {
        self.choose(pick);
        self.square(field, out, a);
    }

    fn choose(self, pick: Pick<'_, Four>) {
        // SAFETY: as above.
        unsafe { choose(pick) }
    }

    fn multiply_add<const K: usize, const D: usize>(
        self,
        out: &mut Number<Four, D>,
        a: &Number<Four, K>,
        b: &Number<Four, K>,
        c: &Number<Four, K>,
    ) {
        // SAFETY: as above.
        unsafe { multiply_add(out, a, b, c) }
    }
}
