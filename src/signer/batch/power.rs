//! How are eight numbers raised to secret exponents without telling which?
//!
//! A fixed window: the table holds the first 32 powers of each base, and for
//! every five bits of an exponent there are five squarings and one
//! multiplication by a power from the table. The power is chosen by looking at
//! all 32; that happens inside of the squarings, whose multiplications leave
//! the load ports and the other half of the vector units idle. Instructions
//! and addresses are the same for every exponent and every base.
//!
//! A window of six would save 2 % of the multiplications for primes of 1536
//! and 2048 bits, and 0.6 % for 1024, with a table twice as large.

use zeroize::{Zeroize, Zeroizing};

use super::ifma::{Field, Pick, choose};
use super::lanes::{ENTRIES, HALF, Lanes, Number, WINDOW};
use super::natural::Natural;

/// Eight exponents of the same length.
///
/// For each bit, most significant first, there are the lanes in which it is
/// set. The number of bits is a multiple of [`WINDOW`].
pub(super) struct Exponents(Zeroizing<Vec<u8>>);

impl Exponents {
    /// Takes `lower` for the lower four lanes and `upper` for the upper four.
    ///
    /// Both have at most `bits` bits, and how many is not told apart later.
    pub(super) fn halves(lower: &Natural, upper: &Natural, bits: usize) -> Self {
        const LOWER: u8 = (1 << HALF) - 1;
        let bits = bits.next_multiple_of(WINDOW);
        let mask = |exponent: &Natural, place| exponent.bit(place).wrapping_neg().to_le_bytes()[0];
        Self(Zeroizing::new(
            (0..bits)
                .rev()
                .map(|place| mask(lower, place) & LOWER | mask(upper, place) & !LOWER)
                .collect(),
        ))
    }
}

/// Raises each number of `base` to its exponent, all in Montgomery's form.
///
/// `one` is R modulo each modulus. `base` is below three times its modulus,
/// and so is the result. The table has a row for each digit; it is overwritten
/// and left zeroized.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn power<const K: usize>(
    base: &mut Number<K>,
    exponents: &Exponents,
    one: &Number<K>,
    field: &mut Field<'_, K>,
    table: &mut [[Lanes; ENTRIES]],
) {
    fill(table, base, one, field);
    let mut chosen = Zeroizing::new(Number::ZERO);
    let mut other = Zeroizing::new(Number::ZERO);
    let mut windows = exponents.0.as_chunks::<WINDOW>().0.iter();
    if let Some(bits) = windows.next() {
        choose(Pick {
            rows: table,
            bits: *bits,
            digits: base.digits_mut(),
        });
    }
    for bits in windows {
        let rounds = table.chunks(2 * K);
        let mut picks = rounds
            .zip(chosen.digits_mut().chunks_mut(2 * K))
            .map(|(rows, digits)| Pick {
                rows,
                bits: *bits,
                digits,
            });
        // Five rounds of 2·K digits make a number.
        field.square_and_pick(&mut other, base, picks.next().unwrap_or_default());
        field.square_and_pick(base, &other, picks.next().unwrap_or_default());
        field.square_and_pick(&mut other, base, picks.next().unwrap_or_default());
        field.square_and_pick(base, &other, picks.next().unwrap_or_default());
        field.square_and_pick(&mut other, base, picks.next().unwrap_or_default());
        field.multiply(base, &other, &chosen);
    }
    table.as_flattened_mut().zeroize();
}

/// Fills the table with the powers 0 to 31 of `base`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fill<const K: usize>(
    table: &mut [[Lanes; ENTRIES]],
    base: &Number<K>,
    one: &Number<K>,
    field: &mut Field<'_, K>,
) {
    put(table, 0, one);
    put(table, 1, base);
    let mut even = Zeroizing::new(Number::ZERO);
    let mut odd = Zeroizing::new(Number::ZERO);
    for half in 1..ENTRIES / 2 {
        take(table, half, &mut odd);
        field.square(&mut even, &odd);
        put(table, 2 * half, &even);
        field.multiply(&mut odd, &even, base);
        put(table, 2 * half + 1, &odd);
    }
}

fn put<const K: usize>(table: &mut [[Lanes; ENTRIES]], entry: usize, number: &Number<K>) {
    for (row, digit) in table.iter_mut().zip(number.digits()) {
        row[entry] = *digit;
    }
}

fn take<const K: usize>(table: &[[Lanes; ENTRIES]], entry: usize, number: &mut Number<K>) {
    for (row, digit) in table.iter().zip(number.digits_mut()) {
        *digit = row[entry];
    }
}
