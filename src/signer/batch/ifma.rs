//! How are eight numbers multiplied modulo eight others, in vector registers?
//!
//! Montgomery multiplication and squaring for AVX-512 IFMA, whose two
//! instructions add the low or the high 52 bits of eight products of 52-bit
//! digits to eight 64-bit sums. With R = 2^(520·K) and every modulus p below
//! R/256, the result is congruent to a·b/R and below a·b/R + 2·p; the caller
//! sees to a·b < R·(R − 2·p). Nothing here knows of RSA.
//!
//! The work goes by columns of ten digits, with 21 sums that never leave the
//! registers. What costs time beside the multiplications are stores, so only
//! the digits of the quotient and of the result are stored. A sum takes at
//! most 4·N + 2 addends of 52 bits and cannot overflow 64 (N = 80 digits).
//! There is no branch and no index that depends on a digit.
//!
//! Two things are unusual:
//!
//! - *Stepped reduction.* A common row of Montgomery's reduction multiplies
//!   the last digit d by −p⁻¹ to find the multiple of p to add. With k =
//!   −p⁻¹ mod 2^52 the number k·p ends in the digit 2^52 − 1, so that d itself
//!   is the multiple of k·p: (x + d·k·p)/2^52 = ⌊x/2^52⌋ + d·(k·p + 1)/2^52.
//!   That takes one multiplication out of the chain of dependent instructions.
//!   As k·p is a digit longer than p, the last row is a common one.
//! - *Doubling by digits.* A square needs 2·aᵢ·aⱼ for i < j. The doubled
//!   digits are carried, cᵢ being the carry out of 2·aᵢ, so that they fit the
//!   multiplier again; for the products that this leaves out, cᵢ·aᵢ₊₁ is added
//!   at the place of aᵢ₊₁².

#![expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "the assembly is empty and touches no memory"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_load_si512, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_add_epi64, _mm512_mask_blend_epi64, _mm512_mask_mov_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_store_si512,
    _mm512_test_epi64_mask,
};

use zeroize::{Zeroize, Zeroizing};

use super::kernel::{Kernel, Pick};
use super::lanes::{BLOCK, DIGIT_MASK, ENTRIES, Eight, Lanes, Number, WINDOW};
use super::natural::Natural;

/// Proof that the processor has the features of this module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ifma(());

impl Kernel for Ifma {
    type Lanes = Eight;
    type Modulus<const K: usize> = Modulus<K>;
    type Field<'a, const K: usize> = Field<'a, K>;

    fn missing() -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !is_x86_feature_detected!("avx512f") {
            missing.push("avx512f");
        }
        if !is_x86_feature_detected!("avx512ifma") {
            missing.push("avx512ifma");
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
        modulus.field()
    }

    fn multiply<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Eight, K>,
        a: &Number<Eight, K>,
        b: &Number<Eight, K>,
    ) {
        // SAFETY: there is an `Ifma` only where the features were detected.
        unsafe { field.multiply(out, a, b) }
    }

    fn square<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Eight, K>,
        a: &Number<Eight, K>,
    ) {
        // SAFETY: as above.
        unsafe { field.square(out, a) }
    }

    fn square_and_pick<const K: usize>(
        self,
        field: &mut Field<'_, K>,
        out: &mut Number<Eight, K>,
        a: &Number<Eight, K>,
        pick: Pick<'_, Eight>,
    ) {
        // SAFETY: as above.
        unsafe { field.square_and_pick(out, a, pick) }
    }

    fn choose(self, pick: Pick<'_, Eight>) {
        // SAFETY: as above.
        unsafe { choose(pick) }
    }

    fn multiply_add<const K: usize, const D: usize>(
        self,
        out: &mut Number<Eight, D>,
        a: &Number<Eight, K>,
        b: &Number<Eight, K>,
        c: &Number<Eight, K>,
    ) {
        // SAFETY: as above.
        unsafe { multiply_add(out, a, b, c) }
    }
}

/// Eight odd moduli and what their reduction needs.
pub(super) struct Modulus<const K: usize> {
    /// (k·p + 1)/2^52.
    stepped: Number<Eight, K>,
    /// p without its last digit, for the last row.
    upper: Number<Eight, K>,
    /// The last digit of p.
    last: Eight,
    /// k = −p⁻¹ mod 2^52.
    negated_inverse: Eight,
}

impl<const K: usize> Modulus<K> {
    /// Prepares `lower` as the modulus of the lower four lanes and `upper` as
    /// that of the upper four.
    fn halves(lower: &Natural, upper: &Natural) -> Self {
        let stepped = |p: &Natural| {
            p.multiply_add(p.negated_inverse_digit(), 1)
                .without_last_digit()
                .digits(K)
        };
        let rest = |p: &Natural| p.without_last_digit().digits(K);
        Self {
            stepped: Number::halves(&stepped(lower), &stepped(upper)),
            upper: Number::halves(&rest(lower), &rest(upper)),
            last: Eight::halves(lower.limbs()[0] & DIGIT_MASK, upper.limbs()[0] & DIGIT_MASK),
            negated_inverse: Eight::halves(
                lower.negated_inverse_digit(),
                upper.negated_inverse_digit(),
            ),
        }
    }

    /// Begins arithmetic modulo these numbers.
    fn field(&self) -> Field<'_, K> {
        Field {
            modulus: self,
            quotient: Zeroizing::new(Number::zero()),
        }
    }
}

impl<const K: usize> Zeroize for Modulus<K> {
    fn zeroize(&mut self) {
        self.stepped.zeroize();
        self.upper.zeroize();
        self.last.zeroize();
        self.negated_inverse.zeroize();
    }
}

/// Arithmetic modulo eight numbers, with the memory that it needs.
pub(super) struct Field<'a, const K: usize> {
    modulus: &'a Modulus<K>,
    /// The digits of the quotient of a reduction.
    quotient: Zeroizing<Number<Eight, K>>,
}

/// The powers that are looked at where there is no choice to make.
static NO_POWERS: [Eight; ENTRIES] = [Eight([0; 8]); ENTRIES];

/// What a choice keeps in registers while it is made.
struct Picker<'a> {
    row: &'a [Eight; ENTRIES],
    bits: [u8; WINDOW],
    /// The choice among four powers, among the lower sixteen and among the
    /// upper sixteen.
    four: __m512i,
    lower: __m512i,
    upper: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(digit: &Eight) -> __m512i {
    // SAFETY: an `Eight` has 64 bytes, all initialized, and is aligned to 64.
    unsafe { _mm512_load_si512((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(digit: &mut Eight, value: __m512i) {
    // SAFETY: an `Eight` has 64 bytes, is aligned to 64 and borrowed for
    // writing, and every pattern of bits is one.
    unsafe { _mm512_store_si512((&raw mut *digit).cast(), value) }
}

impl<const K: usize> Field<'_, K> {
    /// Sets `out` to a·b/R.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(&mut self, out: &mut Number<Eight, K>, a: &Number<Eight, K>, b: &Number<Eight, K>) {
        let (a, b, out, quotient) = (&a.0, &b.0, &mut out.0, &mut self.quotient.0);
        let modulus = self.modulus;
        let rows = &modulus.stepped.0;
        let mut sums = [_mm512_setzero_si512(); 21];
        for column in 0..2 * K - 1 {
            let first = (column + 1).saturating_sub(K);
            for i in first..K.min(column + 1) {
                product!(sums, &a[i], &b[column - i]);
            }
            for i in first..K.min(column) {
                let row = &rows[column - i];
                let last = if i + 1 < K {
                    row
                } else {
                    &modulus.upper.0[column - i]
                };
                reduce!(sums, &quotient[i], row, last);
            }
            if column < K {
                let digits = &mut quotient[column];
                let mut row = &rows[0];
                step!(sums, digits, row, (), 0 1 2 3 4 5 6 7 8);
                if column + 1 < K {
                    step!(sums, digits, row, (), 9);
                } else {
                    last_step!(sums, digits, modulus);
                }
                let _ = row;
            } else {
                carry!(sums, &mut out[column - K]);
            }
            advance!(sums);
        }
        carry!(sums, &mut out[K - 1]);
    }

    /// Sets `out` to a²/R.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square(&mut self, out: &mut Number<Eight, K>, a: &Number<Eight, K>) {
        self.square_beside::<false>(out, a, Pick::default());
    }

    /// Sets `out` to a²/R, and chooses from a table beside it.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square_and_pick(
        &mut self,
        out: &mut Number<Eight, K>,
        a: &Number<Eight, K>,
        pick: Pick<'_, Eight>,
    ) {
        self.square_beside::<true>(out, a, pick);
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square_beside<const PICK: bool>(
        &mut self,
        out: &mut Number<Eight, K>,
        a: &Number<Eight, K>,
        pick: Pick<'_, Eight>,
    ) {
        let (a, out, quotient) = (&a.0, &mut out.0, &mut self.quotient.0);
        let modulus = self.modulus;
        let rows = &modulus.stepped.0;
        let zero = _mm512_setzero_si512();
        let mut sums = [zero; 21];
        let mut picker = Picker {
            row: &NO_POWERS,
            bits: pick.bits,
            four: zero,
            lower: zero,
            upper: zero,
        };
        // Every block that is worked beside a choice chooses one digit; that
        // makes 3·K − 2 blocks, of which 2·K are needed.
        let mut choices = pick.rows.iter().zip(pick.digits);
        for column in 0..2 * K - 1 {
            let first = (column + 1).saturating_sub(K);
            for i in first..=column / 2 {
                let before = match i {
                    0 => zero,
                    _ => load(&a[i - 1][9]),
                };
                if i + i < column {
                    doubled_product!(sums, &a[i], before, &a[column - i]);
                } else {
                    square!(sums, &a[i], before);
                }
            }
            for i in first..K.min(column) {
                let row = &rows[column - i];
                let last = if i + 1 < K {
                    row
                } else {
                    &modulus.upper.0[column - i]
                };
                if PICK && i == first {
                    let choice = choices.next();
                    if let Some((powers, _)) = &choice {
                        picker.row = powers;
                    }
                    reduce!(sums, &quotient[i], row, last, picker);
                    if let Some((_, digit)) = choice {
                        store(digit, picker.lower);
                    }
                } else {
                    reduce!(sums, &quotient[i], row, last);
                }
            }
            if column < K {
                let digits = &mut quotient[column];
                let mut row = &rows[0];
                if PICK {
                    let choice = choices.next();
                    if let Some((powers, _)) = &choice {
                        picker.row = powers;
                    }
                    step!(sums, digits, row, (picker), 0 1 2 3 4 5 6 7 8);
                    if let Some((_, digit)) = choice {
                        store(digit, picker.lower);
                    }
                } else {
                    step!(sums, digits, row, (), 0 1 2 3 4 5 6 7 8);
                }
                if column + 1 < K {
                    step!(sums, digits, row, (), 9);
                } else {
                    last_step!(sums, digits, modulus);
                }
                let _ = row;
            } else {
                carry!(sums, &mut out[column - K]);
            }
            advance!(sums);
        }
        carry!(sums, &mut out[K - 1]);
    }
}

/// Sets `out` to a·b + c, which has `D` = 2·`K` blocks.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_add<const K: usize, const D: usize>(
    out: &mut Number<Eight, D>,
    a: &Number<Eight, K>,
    b: &Number<Eight, K>,
    c: &Number<Eight, K>,
) {
    const { assert!(D == 2 * K, "a product is twice as long as its factors") };
    let mut sums = [_mm512_setzero_si512(); 21];
    for column in 0..2 * K {
        for i in (column + 1).saturating_sub(K)..K.min(column + 1) {
            product!(sums, &a.0[i], &b.0[column - i]);
        }
        if let Some(block) = c.0.get(column) {
            add!(sums, block, 0 1 2 3 4 5 6 7 8 9);
        }
        carry!(sums, &mut out.0[column]);
        advance!(sums);
    }
}

/// Chooses from a table with nothing beside it.
#[target_feature(enable = "avx512f")]
fn choose(pick: Pick<'_, Eight>) {
    let lanes = |entry: usize| {
        pick.bits
            .iter()
            .enumerate()
            .fold(0xff, |lanes, (bit, set)| {
                lanes
                    & if entry >> (WINDOW - 1 - bit) & 1 == 1 {
                        *set
                    } else {
                        !*set
                    }
            })
    };
    let lanes: [u8; ENTRIES] = std::array::from_fn(lanes);
    for (row, digit) in pick.rows.iter().zip(pick.digits) {
        let mut chosen = _mm512_setzero_si512();
        for (power, lanes) in row.iter().zip(lanes) {
            chosen = _mm512_mask_mov_epi64(chosen, lanes, load(power));
        }
        store(digit, chosen);
    }
}
