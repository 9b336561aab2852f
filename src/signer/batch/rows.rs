//! What is done in one row, or one block of rows, of a multiplication?
//!
//! Functions that need features of the processor cannot be forced inline, and
//! a call would spill the sums; hence macros, which [`super::ifma`] puts
//! together. All of them work on `$sums`, an array of 21 registers: the sums
//! of a column of blocks, which begins at index 0, and of the one after it.
//!
//! The macros name their intrinsics as the module that uses them imports them.

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
        let mut powers: *const [Eight; ENTRIES] = $picker.row;
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
        let mut row: *const [Eight; BLOCK] = $row;
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
        let mask = _mm512_set1_epi64(DIGIT_MASK.cast_signed());
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
        let mask = _mm512_set1_epi64(DIGIT_MASK.cast_signed());
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
