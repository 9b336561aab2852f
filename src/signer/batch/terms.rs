//! What is done with one product of digits, or a block of them, in doubles?
//!
//! Functions that need features of the processor cannot be forced inline, and
//! a call would spill the sums; hence macros, which
//! [`super::columns`] and [`super::avx2`] put together. `$sums` is an array of ten registers: the sums of a column of five
//! digits, which begins at index 0, and of the one after it. `$splits` are the
//! two constants by which a product is split.
//!
//! The macros name their intrinsics as the module that uses them imports them.

/// Adds the product of two digits to the sums, its lower digit at `$at`.
///
/// The low part is subtracted with its sign turned; both parts bring the bits
/// of an exponent along, which the sums have been given less.
macro_rules! term {
    ($sums:ident, $splits:ident, $at:expr, $x:expr, $y:expr) => {{
        let (x, y) = ($x, $y);
        let high = _mm256_fmadd_pd(x, y, $splits[0]);
        let low = _mm256_fmadd_pd(x, y, _mm256_sub_pd($splits[1], high));
        $sums[$at] = _mm256_sub_epi64($sums[$at], _mm256_castpd_si256(low));
        $sums[$at + 1] = _mm256_add_epi64($sums[$at + 1], _mm256_castpd_si256(high));
    }};
}

/// Adds the products of digit `$r` of `$a` with the digits `$j` of `$b`.
macro_rules! term_row {
    ($sums:ident, $splits:ident, $a:ident, $b:ident, $r:literal, $($j:literal)*) => {
        hold!($sums, $splits, $a, $b);
        let x = load_double(&$a[$r]);
        $(
            term!($sums, $splits, $r + $j, x, load_double(&$b[$j]));
            in_turn!($sums, $b, $r + $j);
        )*
    };
}

/// Adds the product of two blocks of five digits.
macro_rules! term_block {
    ($sums:ident, $splits:ident, $a:expr, $b:expr) => {{
        let mut a: &[Four; STEP] = $a;
        let mut b: &[Four; STEP] = $b;
        term_row!($sums, $splits, a, b, 0, 0 1 2 3 4);
        term_row!($sums, $splits, a, b, 1, 0 1 2 3 4);
        term_row!($sums, $splits, a, b, 2, 0 1 2 3 4);
        term_row!($sums, $splits, a, b, 3, 0 1 2 3 4);
        term_row!($sums, $splits, a, b, 4, 0 1 2 3 4);
        let _ = (a, b);
    }};
}

/// Keeps the sums and the constants in registers, and the compiler from
/// reading digits before their row begins.
macro_rules! hold {
    ($sums:ident, $splits:ident, $a:ident, $b:ident) => {{
        let mut a: *const [Four; STEP] = $a;
        let mut b: *const [Four; STEP] = $b;
        // SAFETY: the assembly is empty (a comment), so that every operand
        // keeps its value, and the pointers were references.
        unsafe {
            asm!(
                "/* {a} {b} {c0} {c1} {s0} {s1} {s2} {s3} {s4} {s5} {s6} {s7} {s8} {s9} */",
                a = inout(reg) a,
                b = inout(reg) b,
                c0 = inout(ymm_reg) $splits[0],
                c1 = inout(ymm_reg) $splits[1],
                s0 = inout(ymm_reg) $sums[0],
                s1 = inout(ymm_reg) $sums[1],
                s2 = inout(ymm_reg) $sums[2],
                s3 = inout(ymm_reg) $sums[3],
                s4 = inout(ymm_reg) $sums[4],
                s5 = inout(ymm_reg) $sums[5],
                s6 = inout(ymm_reg) $sums[6],
                s7 = inout(ymm_reg) $sums[7],
                s8 = inout(ymm_reg) $sums[8],
                s9 = inout(ymm_reg) $sums[9],
                options(pure, nomem, nostack, preserves_flags)
            );
            $a = &*a;
            $b = &*b;
        }
    }};
}

/// Keeps the compiler from reading the next digit of `$b` before the product
/// at `$at` is added: it would run out of registers.
macro_rules! in_turn {
    ($sums:ident, $b:ident, $at:expr) => {{
        let mut b: *const [Four; STEP] = $b;
        // SAFETY: as in `hold`.
        unsafe {
            asm!(
                "/* {b} {low} {high} */",
                b = inout(reg) b,
                low = inout(ymm_reg) $sums[$at],
                high = inout(ymm_reg) $sums[$at + 1],
                options(pure, nomem, nostack, preserves_flags)
            );
            $b = &*b;
        }
    }};
}

/// Carries the sums of a column and hands each digit to `$put`.
macro_rules! carry_column {
    ($sums:ident, $put:expr) => {{
        let mask = _mm256_set1_epi64x(DIGIT_MASK.cast_signed());
        carry_column!($sums, $put, mask, 0 1 2 3 4);
    }};
    ($sums:ident, $put:expr, $mask:ident, $($r:literal)*) => { $(
        $put($r, _mm256_and_si256($sums[$r], $mask));
        $sums[$r + 1] = _mm256_add_epi64($sums[$r + 1], _mm256_srli_epi64::<DIGIT_SHIFT>($sums[$r]));
    )* };
}

/// Moves on to the next column; `$next` gives the sums of the one after it.
macro_rules! next_column {
    ($sums:ident, $next:expr) => {
        for r in 0..STEP {
            $sums[r] = $sums[r + STEP];
            $sums[r + STEP] = $next(r);
        }
    };
}
