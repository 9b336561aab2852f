//! What is the least time that a batch can take on this machine?
//!
//! The arithmetic is bound by the multiplications of pairs of 52-bit digits, one
//! pair a lane. This module counts how many of them a batch needs as the
//! algorithm is written, and measures how many the processor can do in a second
//! when nothing else is in the way. The quotient is the bound that
//! a benchmark holds the engine against.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm512_madd52lo_epu64, _mm512_set1_epi64, _mm512_setzero_si512};
use std::hint::black_box;
use std::time::Duration;

use super::Path;
use super::lanes::{BLOCK, ENTRIES, WINDOW};
use crate::clock::thread_cpu;

/// Returns the multiplications of a full batch of signatures on a path, each
/// checked with the public exponent 65537, for a modulus of `bits` bits.
///
/// On the path of AVX-512 IFMA it counts instructions of eight lanes; on that
/// of AVX2, products of two digits in four lanes, which are two instructions.
/// Other paths have no bound, and it returns `None`.
#[must_use]
pub fn multiplications(path: Path, bits: usize) -> Option<usize> {
    let product = |digits| match path {
        Path::Ifma => ifma_product(digits),
        _ => avx2_product(digits),
    };
    let square = |digits| match path {
        Path::Ifma => ifma_square(digits),
        _ => avx2_square(digits),
    };
    if path == Path::Portable {
        return None;
    }
    let prime = BLOCK * bits / 1024;
    let windows = (bits / 2).div_ceil(WINDOW);
    let table = ENTRIES / 2 - 1;
    // Every window but the first; the table; into Montgomery's form and out.
    let squares = WINDOW * (windows - 1) + table;
    let products = (windows - 1) + table + 3;
    let exponentiation = squares * square(prime) + products * product(prime);
    let unreduced = product(prime) / 2;
    let joining = product(prime) + unreduced;
    let check = 16 * square(2 * prime) + 2 * product(2 * prime);
    Some(2 * exponentiation + joining + check)
}

/// The low and high halves of the products of all pairs of digits, as many for
/// the reduction, and one more for its last row.
const fn ifma_product(digits: usize) -> usize {
    4 * digits * digits + 1
}

/// As [`ifma_product`], with each pair of different digits multiplied once.
const fn ifma_square(digits: usize) -> usize {
    digits * (digits + 1) + 2 * digits * digits + 1
}

/// The products of all pairs of digits, as many for the reduction, and the
/// lower half of a product of five digits by five.
const fn avx2_product(digits: usize) -> usize {
    2 * digits * digits + 15
}

/// As [`avx2_product`], with each pair of different digits multiplied once.
const fn avx2_square(digits: usize) -> usize {
    digits * (digits + 1) / 2 + digits * digits + 15
}

/// Measures how many such multiplications one core does in a second of
/// processor time: the best of `windows` windows of `window` each.
///
/// Returns `None` where the path has no bound, or the processor not the path.
#[must_use]
pub fn multiplier_rate(path: Path, window: Duration, windows: usize) -> Option<f64> {
    if path == Path::Portable || path.unavailable().is_some() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let burst = || match path {
            // SAFETY: the processor has the features, as was just checked.
            Path::Avx2 => unsafe { super::avx2::burst() },
            // SAFETY: as above.
            _ => unsafe { burst() },
        };
        let best = (0..windows).map(|_| {
            let started = thread_cpu();
            let mut done = 0;
            loop {
                done += burst();
                let spent = thread_cpu() - started;
                if spent >= window {
                    return done as f64 / spent.as_secs_f64();
                }
            }
        });
        best.reduce(f64::max)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Does many multiplications that do not wait for each other, and returns how
/// many.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn burst() -> usize {
    const ROUNDS: usize = 4096;
    // The compiler must not know the values, or it computes them itself.
    let x = black_box(_mm512_set1_epi64(0x000f_edcb_a987_6543));
    // Sixteen chains hide a latency of four cycles on two units.
    let mut sums = black_box([_mm512_setzero_si512(); 16]);
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_madd52lo_epu64(*sum, x, x);
        }
    }
    black_box(sums);
    ROUNDS * sums.len()
}
