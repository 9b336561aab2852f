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

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_load_si512, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_add_epi64, _mm512_mask_blend_epi64, _mm512_mask_mov_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_store_si512,
    _mm512_test_epi64_mask,
};

use zeroize::{Zeroize, Zeroizing};

use super::lanes::{BLOCK, DIGIT_MASK, Lanes, Number};
use super::natural::Natural;

/// The bits of an exponent that are worked off at once.
pub(super) const WINDOW: usize = 5;

/// The powers of a table: one for each value of a window.
pub(super) const ENTRIES: usize = 1 << WINDOW;

/// Eight odd moduli and what their reduction needs.
pub(super) struct Modulus<const K: usize> {
    /// (k·p + 1)/2^52.
    stepped: Number<K>,
    /// p without its last digit, for the last row.
    upper: Number<K>,
    /// The last digit of p.
    last: Lanes,
    /// k = −p⁻¹ mod 2^52.
    negated_inverse: Lanes,
}

impl<const K: usize> Modulus<K> {
    /// Prepares `lower` as the modulus of the lower four lanes and `upper` as
    /// that of the upper four.
    pub(super) fn halves(lower: &Natural, upper: &Natural) -> Self {
        let stepped = |p: &Natural| {
            p.multiply_add(p.negated_inverse_digit(), 1)
                .without_last_digit()
                .digits(K)
        };
        let rest = |p: &Natural| p.without_last_digit().digits(K);
        let single = |lower: u64, upper: u64| {
            let mut lanes = [lower; 8];
            lanes[4..].fill(upper);
            Lanes(lanes)
        };
        Self {
            stepped: Number::halves(&stepped(lower), &stepped(upper)),
            upper: Number::halves(&rest(lower), &rest(upper)),
            last: single(lower.limbs()[0] & DIGIT_MASK, upper.limbs()[0] & DIGIT_MASK),
            negated_inverse: single(lower.negated_inverse_digit(), upper.negated_inverse_digit()),
        }
    }

    /// Prepares one modulus for all lanes.
    pub(super) fn splat(p: &Natural) -> Self {
        Self::halves(p, p)
    }

    /// Begins arithmetic modulo these numbers.
    pub(super) fn field(&self) -> Field<'_, K> {
        Field {
            modulus: self,
            quotient: Zeroizing::new(Number::ZERO),
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
    quotient: Zeroizing<Number<K>>,
}

/// A choice from a table of powers, made a few digits at a time while the
/// multipliers are busy with a squaring.
#[derive(Default)]
pub(super) struct Pick<'a> {
    /// For each digit, that digit of every power; 2·K digits.
    pub(super) rows: &'a [[Lanes; ENTRIES]],
    /// For each bit of the window, the lanes in which it is set; the most
    /// significant bit comes first.
    pub(super) bits: [u8; WINDOW],
    /// The digits chosen, as many as there are rows.
    pub(super) digits: &'a mut [Lanes],
}

/// The powers that are looked at where there is no choice to make.
static NO_POWERS: [Lanes; ENTRIES] = [Lanes([0; 8]); ENTRIES];

/// What a choice keeps in registers while it is made.
struct Picker<'a> {
    row: &'a [Lanes; ENTRIES],
    bits: [u8; WINDOW],
    /// The choice among four powers, among the lower sixteen and among the
    /// upper sixteen.
    four: __m512i,
    lower: __m512i,
    upper: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(digit: &Lanes) -> __m512i {
    // SAFETY: a `Lanes` has 64 bytes, all initialized, and is aligned to 64.
    unsafe { _mm512_load_si512((&raw const *digit).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(digit: &mut Lanes, value: __m512i) {
    // SAFETY: a `Lanes` has 64 bytes, is aligned to 64 and borrowed for
    // writing, and every pattern of bits is one.
    unsafe { _mm512_store_si512((&raw mut *digit).cast(), value) }
}

// Functions with target features cannot be forced inline, and a call would
// spill the sums; hence macros.

/// Adds the products of `$x` with the digits `$j` of `$row` to the sums, from
/// column `$at` on.
macro_rules! row {
    ($sums:ident, $at:expr, $x:expr, $row:expr, $($j:literal)*) => {{
        let _x = $x;
        let _row = $row;
        $(
            let y = load(&_row[$j]);
            $sums[$at + $j] = _mm512_madd52lo_epu64($sums[$at + $j], _x, y);
            $sums[$at + $j + 1] = _mm512_madd52hi_epu64($sums[$at + $j + 1], _x, y);
        )*
    }};
    ($sums:ident, $at:expr, $x:expr, $row:expr) => {
        row!($sums, $at, $x, $row, 0 1 2 3 4 5 6 7 8 9)
    };
}

/// Keeps the compiler from moving arithmetic over this point, and from keeping
/// digits of `$row` in registers that the sums need.
macro_rules! pin {
    ($sums:ident, $row:ident) => {
        pin!($sums, $row, "", )
    };
    ($sums:ident, $row:ident, $picker:ident) => {{
        let mut powers: *const [Lanes; ENTRIES] = $picker.row;
        pin!(
            $sums, $row, "{powers} {b0} {b1} {b2}",
            powers = inout(reg) powers,
            b0 = inout(zmm_reg) $picker.four,
            b1 = inout(zmm_reg) $picker.lower,
            b2 = inout(zmm_reg) $picker.upper,
        );
        // SAFETY: `powers` has kept its value, and that was a reference.
        $picker.row = unsafe { &*powers };
    }};
    ($sums:ident, $row:ident, $names:literal, $($operands:tt)*) => {{
        let mut row: *const [Lanes; BLOCK] = $row;
        // SAFETY: the assembly is empty (a comment), so that every operand
        // keeps its value, and `row` was a reference.
        unsafe {
            asm!(
                "/* {row} {a0} {a1} {a2} {a3} {a4} {a5} {a6} {a7} {a8} {a9} {a10} {a11} {a12} {a13} {a14} {a15} {a16} {a17} {a18} {a19} {a20}",
                $names,
                "*/",
                row = inout(reg) row,
                a0 = inout(zmm_reg) $sums[0],
                a1 = inout(zmm_reg) $sums[1],
                a2 = inout(zmm_reg) $sums[2],
                a3 = inout(zmm_reg) $sums[3],
                a4 = inout(zmm_reg) $sums[4],
                a5 = inout(zmm_reg) $sums[5],
                a6 = inout(zmm_reg) $sums[6],
                a7 = inout(zmm_reg) $sums[7],
                a8 = inout(zmm_reg) $sums[8],
                a9 = inout(zmm_reg) $sums[9],
                a10 = inout(zmm_reg) $sums[10],
                a11 = inout(zmm_reg) $sums[11],
                a12 = inout(zmm_reg) $sums[12],
                a13 = inout(zmm_reg) $sums[13],
                a14 = inout(zmm_reg) $sums[14],
                a15 = inout(zmm_reg) $sums[15],
                a16 = inout(zmm_reg) $sums[16],
                a17 = inout(zmm_reg) $sums[17],
                a18 = inout(zmm_reg) $sums[18],
                a19 = inout(zmm_reg) $sums[19],
                a20 = inout(zmm_reg) $sums[20],
                $($operands)*
                options(pure, nomem, nostack, preserves_flags)
            );
            $row = &*row;
        }
    }};
}

/// Adds the product of two blocks.
macro_rules! product {
    ($sums:ident, $a:expr, $b:expr) => {{
        let a = $a;
        let mut b = $b;
        product!($sums, a, b, 0 1 2 3 4 5 6 7 8 9);
        let _ = b;
    }};
    ($sums:ident, $a:ident, $b:ident, $($r:literal)*) => {
        $( pin!($sums, $b); row!($sums, $r, load(&$a[$r]), $b); )*
    };
}

/// Adds the product of a block with the doubled block before it, whose digits
/// are doubled on the way; `$before` is the digit before `$a`.
macro_rules! doubled_product {
    ($sums:ident, $a:expr, $before:expr, $b:expr) => {{
        let a = $a;
        let mut b = $b;
        let mut before = $before;
        doubled_product!($sums, a, before, b, 0 1 2 3 4 5 6 7 8 9);
        let _ = (before, b);
    }};
    ($sums:ident, $a:ident, $before:ident, $b:ident, $($r:literal)*) => { $(
        pin!($sums, $b);
        let digit = load(&$a[$r]);
        let carry = _mm512_srli_epi64::<51>($before);
        let doubled = _mm512_add_epi64(_mm512_add_epi64(digit, digit), carry);
        row!($sums, $r, doubled, $b);
        $before = digit;
    )* };
}

/// Adds the square of a block.
macro_rules! square {
    ($sums:ident, $a:expr, $before:expr) => {{
        let mut a = $a;
        let mut before = $before;
        square!($sums, a, before, 0, 1 2 3 4 5 6 7 8 9);
        square!($sums, a, before, 1, 2 3 4 5 6 7 8 9);
        square!($sums, a, before, 2, 3 4 5 6 7 8 9);
        square!($sums, a, before, 3, 4 5 6 7 8 9);
        square!($sums, a, before, 4, 5 6 7 8 9);
        square!($sums, a, before, 5, 6 7 8 9);
        square!($sums, a, before, 6, 7 8 9);
        square!($sums, a, before, 7, 8 9);
        square!($sums, a, before, 8, 9);
        square!($sums, a, before, 9,);
        let _ = (before, a);
    }};
    ($sums:ident, $a:ident, $before:ident, $r:literal, $($j:literal)*) => {
        pin!($sums, $a);
        let digit = load(&$a[$r]);
        let carry = _mm512_srli_epi64::<51>($before);
        let doubled = _mm512_add_epi64(_mm512_add_epi64(digit, digit), carry);
        let carried = _mm512_test_epi64_mask(carry, carry);
        $sums[2 * $r] = _mm512_mask_add_epi64($sums[2 * $r], carried, $sums[2 * $r], digit);
        $sums[2 * $r] = _mm512_madd52lo_epu64($sums[2 * $r], digit, digit);
        $sums[2 * $r + 1] = _mm512_madd52hi_epu64($sums[2 * $r + 1], digit, digit);
        row!($sums, $r, doubled, $a, $($j)*);
        $before = digit;
    };
}

/// Adds the product of a block of the quotient with one of the modulus, whose
/// last row is apart.
macro_rules! reduce {
    ($sums:ident, $quotient:expr, $row:expr, $last:expr $(, $picker:ident)?) => {{
        let quotient = $quotient;
        let mut row = $row;
        reduce!(rows $sums, quotient, row, ($($picker)?), 0 1 2 3 4 5 6 7 8);
        row = $last;
        reduce!(rows $sums, quotient, row, (), 9);
        let _ = row;
    }};
    (rows $sums:ident, $quotient:ident, $row:ident, $picker:tt, $($r:tt)*) => {
        $( reduce!(row $sums, $quotient, $row, $picker, $r); )*
    };
    (row $sums:ident, $quotient:ident, $row:ident, ($($picker:ident)?), $r:tt) => {
        pin!($sums, $row $(, $picker)?);
        row!($sums, $r + 1, load(&$quotient[$r]), $row);
        $( pick!($picker, $r); )?
    };
}

/// Finds a block of the quotient: clears digits of the sums by stepped rows.
macro_rules! step {
    ($sums:ident, $quotient:ident, $row:ident, $picker:tt, $($r:tt)*) => {
        $( step!(row $sums, $quotient, $row, $picker, $r); )*
    };
    (row $sums:ident, $quotient:ident, $row:ident, ($($picker:ident)?), $r:tt) => {
        let digit = $sums[$r];
        store(&mut $quotient[$r], digit);
        $sums[$r + 1] = _mm512_add_epi64($sums[$r + 1], _mm512_srli_epi64::<52>(digit));
        pin!($sums, $row $(, $picker)?);
        row!($sums, $r + 1, digit, $row);
        $( pick!($picker, $r); )?
    };
}

/// Clears the tenth digit by the common row of Montgomery's reduction.
macro_rules! last_step {
    ($sums:ident, $quotient:ident, $modulus:expr) => {{
        let modulus = $modulus;
        let zero = _mm512_setzero_si512();
        let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
        let one = _mm512_set1_epi64(1);
        let digit = $sums[9];
        let multiple = _mm512_madd52lo_epu64(zero, digit, load(&modulus.negated_inverse));
        store(&mut $quotient[9], multiple);
        $sums[10] = _mm512_add_epi64($sums[10], _mm512_srli_epi64::<52>(digit));
        // The low digits cancel, and carry one unless they were both zero.
        let carried = _mm512_test_epi64_mask(digit, mask);
        $sums[10] = _mm512_mask_add_epi64($sums[10], carried, $sums[10], one);
        $sums[10] = _mm512_madd52hi_epu64($sums[10], multiple, load(&modulus.last));
        let mut row = &modulus.upper.0[0];
        pin!($sums, row);
        row!($sums, 10, multiple, row);
    }};
}

/// Carries the sums of a column of blocks and stores their digits.
macro_rules! carry {
    ($sums:ident, $digits:expr) => {{
        let digits = $digits;
        let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
        carry!($sums, digits, mask, 0 1 2 3 4 5 6 7 8 9);
    }};
    ($sums:ident, $digits:ident, $mask:ident, $($r:literal)*) => { $(
        store(&mut $digits[$r], _mm512_and_si512($sums[$r], $mask));
        $sums[$r + 1] = _mm512_add_epi64($sums[$r + 1], _mm512_srli_epi64::<52>($sums[$r]));
    )* };
}

/// Adds the digits of a block.
macro_rules! add {
    ($sums:ident, $block:ident, $($r:literal)*) => {
        $( $sums[$r] = _mm512_add_epi64($sums[$r], load(&$block[$r])); )*
    };
}

/// Moves on to the next column of blocks.
macro_rules! advance {
    ($sums:ident) => {
        advance!($sums, 0 1 2 3 4 5 6 7 8 9);
        $sums[10] = $sums[20];
        advance!(zero $sums, 11 12 13 14 15 16 17 18 19 20);
    };
    (zero $sums:ident, $($r:literal)*) => { $( $sums[$r] = _mm512_setzero_si512(); )* };
    ($sums:ident, $($r:literal)*) => { $( $sums[$r] = $sums[$r + 10]; )* };
}

/// Chooses one digit from a row of a table by halving, four powers beside each
/// of the rows 0 to 7 of a block.
macro_rules! pick {
    ($picker:ident, 0) => { $picker.four = pick!($picker, four 0); };
    ($picker:ident, 1) => { $picker.lower = pick!($picker, eight 4); };
    ($picker:ident, 2) => { $picker.four = pick!($picker, four 8); };
    ($picker:ident, 3) => {
        let eight = pick!($picker, eight 12);
        $picker.lower = pick!($picker, 1, $picker.lower, eight);
    };
    ($picker:ident, 4) => { $picker.four = pick!($picker, four 16); };
    ($picker:ident, 5) => { $picker.upper = pick!($picker, eight 20); };
    ($picker:ident, 6) => { $picker.four = pick!($picker, four 24); };
    ($picker:ident, 7) => {
        let eight = pick!($picker, eight 28);
        $picker.upper = pick!($picker, 1, $picker.upper, eight);
    };
    ($picker:ident, 8) => { $picker.lower = pick!($picker, 0, $picker.lower, $picker.upper); };
    ($picker:ident, eight $e:literal) => {{
        let four = pick!($picker, four $e);
        pick!($picker, 2, $picker.four, four)
    }};
    ($picker:ident, four $e:literal) => {{
        let row = $picker.row;
        let two = pick!($picker, 4, load(&row[$e]), load(&row[$e + 1]));
        pick!($picker, 3, two, pick!($picker, 4, load(&row[$e + 2]), load(&row[$e + 3])))
    }};
    ($picker:ident, $bit:literal, $clear:expr, $set:expr) => {
        _mm512_mask_blend_epi64($picker.bits[$bit], $clear, $set)
    };
}

impl<const K: usize> Field<'_, K> {
    /// Sets `out` to a·b/R.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn multiply(&mut self, out: &mut Number<K>, a: &Number<K>, b: &Number<K>) {
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
    pub(super) fn square(&mut self, out: &mut Number<K>, a: &Number<K>) {
        self.square_beside::<false>(out, a, Pick::default());
    }

    /// Sets `out` to a²/R, and chooses from a table beside it.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn square_and_pick(&mut self, out: &mut Number<K>, a: &Number<K>, pick: Pick<'_>) {
        self.square_beside::<true>(out, a, pick);
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square_beside<const PICK: bool>(
        &mut self,
        out: &mut Number<K>,
        a: &Number<K>,
        pick: Pick<'_>,
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
pub(super) fn multiply_add<const K: usize, const D: usize>(
    out: &mut Number<D>,
    a: &Number<K>,
    b: &Number<K>,
    c: &Number<K>,
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
pub(super) fn choose(pick: Pick<'_>) {
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
