//! What must a vector unit be able to do to make signatures?
//!
//! A [`Kernel`] multiplies the numbers of all lanes modulo as many others. The
//! exponentiation, the Chinese remainder theorem and blinding are written over
//! it once; a kernel knows nothing of them, nor of RSA.
//!
//! A value of a kernel's type is proof that the processor has the features
//! which the kernel is compiled for, so that its methods are safe to call.

use zeroize::Zeroize;

use super::lanes::{ENTRIES, Lanes, Number, WINDOW};
use super::natural::Natural;

/// Arithmetic in the lanes of vector registers.
///
/// With R = 2^(520·K) and every modulus p below R/256, a product or square is
/// congruent to a·b/R and below a·b/R + 2·p; the caller sees to
/// a·b < R·(R − 2·p). No method has a branch or an index that depends on a
/// digit.
pub(super) trait Kernel: Copy + Send + Sync + 'static {
    /// A digit of all lanes.
    type Lanes: Lanes;

    /// Odd moduli and what their reduction needs.
    type Modulus<const K: usize>: Zeroize + Send + Sync;

    /// Arithmetic modulo some numbers, with the memory that it needs.
    type Field<'a, const K: usize>;

    /// Names the features that the processor, or its system, lacks.
    fn missing() -> Vec<&'static str>;

    /// Returns the proof that the processor has the features, if it has.
    fn detect() -> Option<Self>;

    /// Prepares `lower` as the modulus of the lower half of the lanes and
    /// `upper` as that of the upper.
    fn modulus<const K: usize>(self, lower: &Natural, upper: &Natural) -> Self::Modulus<K>;

    /// Begins arithmetic modulo these numbers.
    fn field<const K: usize>(self, modulus: &Self::Modulus<K>) -> Self::Field<'_, K>;

    /// Sets `out` to a·b/R.
    fn multiply<const K: usize>(
        self,
        field: &mut Self::Field<'_, K>,
        out: &mut Number<Self::Lanes, K>,
        a: &Number<Self::Lanes, K>,
        b: &Number<Self::Lanes, K>,
    );

    /// Sets `out` to a²/R.
    fn square<const K: usize>(
        self,
        field: &mut Self::Field<'_, K>,
        out: &mut Number<Self::Lanes, K>,
        a: &Number<Self::Lanes, K>,
    );

    /// Sets `out` to a²/R, and chooses from a table.
    fn square_and_pick<const K: usize>(
        self,
        field: &mut Self::Field<'_, K>,
        out: &mut Number<Self::Lanes, K>,
        a: &Number<Self::Lanes, K>,
        pick: Pick<'_, Self::Lanes>,
    );

    /// Chooses from a table with nothing beside it.
    fn choose(self, pick: Pick<'_, Self::Lanes>);

    /// Sets `out` to a·b + c, which has `D` = 2·`K` blocks.
    fn multiply_add<const K: usize, const D: usize>(
        self,
        out: &mut Number<Self::Lanes, D>,
        a: &Number<Self::Lanes, K>,
        b: &Number<Self::Lanes, K>,
        c: &Number<Self::Lanes, K>,
    );
}

/// A choice from a table of powers, of a few digits.
pub(super) struct Pick<'a, L> {
    /// For each digit, that digit of every power; 2·K digits at most.
    pub(super) rows: &'a [[L; ENTRIES]],
    /// For each bit of the window, the lanes in which it is set; the most
    /// significant bit comes first.
    pub(super) bits: [u8; WINDOW],
    /// The digits chosen, as many as there are rows.
    pub(super) digits: &'a mut [L],
}

impl<L> Default for Pick<'_, L> {
    fn default() -> Self {
        Self {
            rows: &[],
            bits: [0; WINDOW],
            digits: &mut [],
        }
    }
}
