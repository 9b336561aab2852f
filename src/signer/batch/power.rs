//! How are numbers raised to secret exponents without telling which?
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

use super::kernel::{Kernel, Pick};
use super::lanes::{ENTRIES, Lanes, Number, WINDOW};
use super::natural::Natural;

/// Exponents of the same length, one for each lane.
///
/// For each bit, most significant first, there are the lanes in which it is
/// set. The number of bits is a multiple of [`WINDOW`].
pub(super) struct Exponents(Zeroizing<Vec<u8>>);

impl Exponents {
    /// Takes `lower` for the lower half of the lanes and `upper` for the upper.
    ///
    /// Both have at most `bits` bits, and how many is not told apart later.
    pub(super) fn halves<L: Lanes>(lower: &Natural, upper: &Natural, bits: usize) -> Self {
        let lower_lanes: u8 = (1 << L::HALF) - 1;
        let bits = bits.next_multiple_of(WINDOW);
        let mask = |exponent: &Natural, place| exponent.bit(place).wrapping_neg().to_le_bytes()[0];
        Self(Zeroizing::new(
            (0..bits)
                .rev()
                .map(|place| mask(lower, place) & lower_lanes | mask(upper, place) & !lower_lanes)
                .collect(),
        ))
    }
}

/// Raises each number of `base` to its exponent, all in Montgomery's form.
///
/// `one` is R modulo each modulus. `base` is below three times its modulus,
/// and so is the result. The table has a row for each digit; it is overwritten
/// and left zeroized.
pub(super) fn power<A: Kernel, const K: usize>(
    kernel: A,
    base: &mut Number<A::Lanes, K>,
    exponents: &Exponents,
    one: &Number<A::Lanes, K>,
    field: &mut A::Field<'_, K>,
    table: &mut [[A::Lanes; ENTRIES]],
) {
    fill(kernel, table, base, one, field);
    let mut chosen = Zeroizing::new(Number::zero());
    let mut other = Zeroizing::new(Number::zero());
    let mut windows = exponents.0.as_chunks::<WINDOW>().0.iter();
    if let Some(bits) = windows.next() {
        kernel.choose(Pick {
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
        kernel.square_and_pick(field, &mut other, base, picks.next().unwrap_or_default());
        kernel.square_and_pick(field, base, &other, picks.next().unwrap_or_default());
        kernel.square_and_pick(field, &mut other, base, picks.next().unwrap_or_default());
        kernel.square_and_pick(field, base, &other, picks.next().unwrap_or_default());
        kernel.square_and_pick(field, &mut other, base, picks.next().unwrap_or_default());
        kernel.multiply(field, base, &other, &chosen);
    }
    table.as_flattened_mut().zeroize();
}

/// Fills the table with the powers 0 to 31 of `base`.
fn fill<A: Kernel, const K: usize>(
    kernel: A,
    table: &mut [[A::Lanes; ENTRIES]],
    base: &Number<A::Lanes, K>,
    one: &Number<A::Lanes, K>,
    field: &mut A::Field<'_, K>,
) {
    put(table, 0, one);
    put(table, 1, base);
    let mut even = Zeroizing::new(Number::zero());
    let mut odd = Zeroizing::new(Number::zero());
    for half in 1..ENTRIES / 2 {
        take(table, half, &mut odd);
        kernel.square(field, &mut even, &odd);
        put(table, 2 * half, &even);
        kernel.multiply(field, &mut odd, &even, base);
        put(table, 2 * half + 1, &odd);
    }
}

fn put<L: Lanes, const K: usize>(table: &mut [[L; ENTRIES]], entry: usize, number: &Number<L, K>) {
    for (row, digit) in table.iter_mut().zip(number.digits()) {
        row[entry] = *digit;
    }
}

fn take<L: Lanes, const K: usize>(table: &[[L; ENTRIES]], entry: usize, number: &mut Number<L, K>) {
    for (row, digit) in table.iter().zip(number.digits_mut()) {
        *digit = row[entry];
    }
}
