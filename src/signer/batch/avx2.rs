//! How are four numbers multiplied modulo four others, in doubles?
//!
//! Montgomery multiplication and squaring for AVX2, whose integer multiplier
//! takes 32 bits. Its fused multiply-add takes fractions of 53 bits, rounds
//! once, and multiplies half as much again in the same time; [`super::columns`]
//! says how. Nothing here knows of RSA; what [`Kernel`] promises is kept.
//!
//! The reduction works by five digits. With k = −p⁻¹ mod 2^260 the number
//! k·p + 1 is S·2^260, so that five digits d are cleared by adding d·S above
//! them. As k·p is five digits longer than p, the last five are cleared by
//! d·k mod 2^260 times p, as usual.

#![expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "the assembly is empty and touches no memory"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __m256d, __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_pd, _mm256_castpd_si256,
    _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_fmadd_pd, _mm256_set_epi64x,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_srli_epi64, _mm256_sub_epi64, _mm256_sub_pd,
};
use std::cmp::Ordering;

use zeroize::{Zeroize, Zeroizing};

use super::columns::{
    Columns, DIGIT_SHIFT, Purpose, STEP, STEPS, TRIANGLE, all, beginnings, convert, load,
    load_double, lower_half, multiply_columns, splits, square_columns, steps, store, store_double,
};
use super::kernel::{Kernel, Pick};
use super::lanes::{DIGIT_MASK, ENTRIES, Four, Number, WINDOW};
use super::natural::Natural;

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
        let steps = [lower, upper].map(Natural::clear_digits::<STEP>);
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
            match (column + 1).cmp(&count) {
                Ordering::Less => {
                    let digits = &mut quotient[column];
                    carry_column!(sums, |place: usize, digit| store_double(
                        &mut digits[place],
                        digit
                    ));
                }
                Ordering::Equal => {
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
                }
                Ordering::Greater => {
                    if let Some(digits) = value.get(column + 1 - count) {
                        term_block!(sums, splits, &quotient[count - 1], digits);
                    }
                    let digits = &mut out[column - count];
                    carry_column!(sums, |place: usize, digit| store(&mut digits[place], digit));
                }
            }
            match columns.get(column + 2) {
                Some(next) => next_column!(sums, |place: usize| load(&next[place])),
                None => next_column!(sums, |_| _mm256_setzero_si256()),
            }
        }
    }
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
