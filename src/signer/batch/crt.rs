//! How do eight RSA signatures come from two exponentiations?
//!
//! By the Chinese remainder theorem (RFC 8017 §5.1.2): the lower four lanes
//! work modulo p and the upper four modulo q, so that one exponentiation
//! serves four messages and two serve eight. Recombination and the check with
//! the public exponent are made for all eight together. A signature whose
//! check fails is not handed out, since it would give away the factors of the
//! modulus (Boneh, DeMillo, Lipton 1997).
//!
//! This module does not pad, hash, or choose between itself and a library.
//! What depends on the private key is zeroized before a call returns.

use std::cell::RefCell;

use zeroize::{Zeroize, Zeroizing};

use super::blinding::Blinding;
use super::ifma::{Field, Modulus, multiply_add};
use super::lanes::{DIGIT_BITS, ENTRIES, HALF, LANES, Lanes, Number, digits_of, limbs_of};
use super::natural::Natural;
use super::power::{Exponents, power};
use super::{Components, Verified};

/// The limbs of the largest modulus, of 4096 bits.
const MAX_LIMBS: usize = 64;

/// The digits of the largest modulus, and then some to fill a block.
const MAX_DIGITS: usize = 80;

thread_local! {
    /// The table of powers, kept so that signing allocates nothing. It holds
    /// zeros between calls.
    static TABLE: RefCell<Vec<[Lanes; ENTRIES]>> = const { RefCell::new(Vec::new()) };
}

/// A key in vector form: primes of 512·K bits, a modulus of 512·D with D = 2·K.
pub(super) struct VectorKey<const K: usize, const D: usize> {
    private: PrivatePart<K>,
    public: PublicPart<D>,
    exponents: Exponents,
    blinding: Option<Blinding<D>>,
}

impl<const K: usize, const D: usize> VectorKey<K, D> {
    /// Prepares a key whose primes have 512·K bits each.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn new(key: &Components, blinded: bool) -> Self {
        Self {
            private: PrivatePart::new(key),
            public: PublicPart::new(key),
            exponents: Exponents::halves(&key.dp, &key.dq, 512 * K),
            blinding: blinded.then(|| Blinding::new(key)),
        }
    }

    /// Signs up to eight padded messages in place.
    ///
    /// Each block is as long as the modulus and represents a number below it.
    /// Returns the blocks that hold a signature that was checked; the others
    /// hold zeros.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified {
        let mut message = Number::ZERO;
        for (lane, block) in blocks.iter().enumerate() {
            read_block(block, &mut message, lane);
        }
        let mut signature = Zeroizing::new(Number::ZERO);
        let (private, public, exponents) = (&self.private, &self.public, &self.exponents);
        let count = blocks.len();
        let made = match &self.blinding {
            None => {
                private.raise(&message, exponents, count, &mut signature);
                true
            }
            Some(blinding) => {
                blinding.raise(private, public, &message, exponents, count, &mut signature)
            }
        };
        let verified = if made {
            public.check(&signature, &message)
        } else {
            Verified::default()
        };
        for (lane, block) in blocks.iter_mut().enumerate() {
            if verified.contains(lane) {
                write_block(&signature, lane, block);
            } else {
                block.fill(0);
            }
        }
        verified
    }
}

/// What the primes need, R being 2^(520·K).
pub(super) struct PrivatePart<const K: usize> {
    /// p in the lower lanes, q in the upper.
    primes: Modulus<K>,
    primes_value: Number<K>,
    /// R, R² and R³ modulo the primes.
    one: Number<K>,
    squared: Number<K>,
    cubed: Number<K>,
    /// p, 2·p, q⁻¹·R modulo p, and q, in all lanes.
    p: Modulus<K>,
    p_value: Number<K>,
    p_doubled: Number<K>,
    inverse: Number<K>,
    q_value: Number<K>,
}

impl<const K: usize> PrivatePart<K> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(key: &Components) -> Self {
        let (p, q) = (&key.p, &key.q);
        let bits = Number::<K>::DIGITS * DIGIT_BITS;
        let halves =
            |of: &dyn Fn(&Natural) -> Natural| Number::halves(&of(p).digits(K), &of(q).digits(K));
        let mut this = Self {
            primes: Modulus::halves(p, q),
            primes_value: halves(&Natural::clone),
            one: halves(&|prime| prime.power_of_two(bits)),
            squared: halves(&|prime| prime.power_of_two(2 * bits)),
            cubed: Number::ZERO,
            p: Modulus::splat(p),
            p_value: Number::splat(&p.digits(K)),
            p_doubled: Number::splat(&p.multiply_add(2, 0).digits(K)),
            inverse: Number::splat(&key.qinv.shifted(bits, p).digits(K)),
            q_value: Number::splat(&q.digits(K)),
        };
        let squared = &this.squared;
        this.primes
            .field()
            .multiply(&mut this.cubed, squared, squared);
        this
    }

    /// Raises the first `count` numbers of `message` to exponents modulo p
    /// and q, and joins the results to numbers below p·q.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn raise<const D: usize>(
        &self,
        message: &Number<D>,
        exponents: &Exponents,
        count: usize,
        out: &mut Number<D>,
    ) {
        let mut s_p = Zeroizing::new(Number::<K>::ZERO);
        let mut s_q = Zeroizing::new(Number::<K>::ZERO);
        for first in (0..count).step_by(HALF) {
            let residues = self.residues(message, first, exponents);
            for (place, digit) in residues.digits().iter().enumerate() {
                let (lower, upper) = digit.0.split_at(HALF);
                s_p.digits_mut()[place].0[first..][..HALF].copy_from_slice(lower);
                s_q.digits_mut()[place].0[first..][..HALF].copy_from_slice(upper);
            }
        }
        // h = (s_p − s_q)·q⁻¹ mod p, with 2·p added so as not to be negative:
        // both primes are equally long, hence q < 2·p.
        s_p.add(&self.p_doubled);
        s_p.subtract(&s_q);
        let mut h = Zeroizing::new(Number::ZERO);
        self.p.field().multiply(&mut h, &s_p, &self.inverse);
        h.reduce_twice(&self.p_value);
        multiply_add(out, &h, &self.q_value, &s_q);
    }

    /// Raises four numbers of `message`, from lane `first` on, modulo p in the
    /// lower lanes and modulo q in the upper.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn residues<const D: usize>(
        &self,
        message: &Number<D>,
        first: usize,
        exponents: &Exponents,
    ) -> Zeroizing<Number<K>> {
        // The message is high·R + low, and high·R³/R + low·R²/R its form.
        let mut low = Zeroizing::new(Number::ZERO);
        let mut high = Zeroizing::new(Number::ZERO);
        let parts = low.digits_mut().iter_mut().chain(high.digits_mut());
        for (part, digit) in parts.zip(message.digits()) {
            let four = &digit.0[first..][..HALF];
            part.0[..HALF].copy_from_slice(four);
            part.0[HALF..].copy_from_slice(four);
        }
        let mut field = self.primes.field();
        let mut base = Zeroizing::new(Number::ZERO);
        field.multiply(&mut base, &low, &self.squared);
        field.multiply(&mut low, &high, &self.cubed);
        base.add(&low);
        TABLE.with_borrow_mut(|table| {
            if table.len() < Number::<K>::DIGITS {
                table.resize(Number::<K>::DIGITS, [Lanes::default(); ENTRIES]);
            }
            let table = &mut table[..Number::<K>::DIGITS];
            power(&mut base, exponents, &self.one, &mut field, table);
        });
        field.multiply(&mut low, &base, &Number::ONE);
        low.reduce_twice(&self.primes_value);
        low
    }
}

impl<const K: usize> Drop for PrivatePart<K> {
    fn drop(&mut self) {
        self.primes.zeroize();
        self.primes_value.zeroize();
        self.one.zeroize();
        self.squared.zeroize();
        self.cubed.zeroize();
        self.p.zeroize();
        self.p_value.zeroize();
        self.p_doubled.zeroize();
        self.inverse.zeroize();
        self.q_value.zeroize();
    }
}

/// What the modulus n needs, S being 2^(520·D).
pub(super) struct PublicPart<const D: usize> {
    n: Modulus<D>,
    value: Number<D>,
    /// S² modulo n, by which numbers enter Montgomery's form.
    pub(super) squared: Number<D>,
    /// S^e modulo n.
    power: Number<D>,
    /// The bits of the public exponent e but the first, which is set.
    exponent: Vec<bool>,
}

impl<const D: usize> PublicPart<D> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(key: &Components) -> Self {
        let (n, e) = (&key.n, &key.e);
        let bits = Number::<D>::DIGITS * DIGIT_BITS;
        let mut this = Self {
            n: Modulus::splat(n),
            value: Number::splat(&n.digits(D)),
            squared: Number::splat(&n.power_of_two(2 * bits).digits(D)),
            power: Number::ZERO,
            exponent: (0..e.bits() - 1)
                .rev()
                .map(|place| e.bit(place) == 1)
                .collect(),
        };
        // S² stands for S in Montgomery's form, so its power stands for S^e.
        let mut field = this.n.field();
        let power = this.raise(&this.squared, &mut field);
        field.multiply(&mut this.power, &power, &Number::ONE);
        this
    }

    /// Begins arithmetic modulo n.
    pub(super) fn field(&self) -> Field<'_, D> {
        self.n.field()
    }

    /// Raises `x` to the public exponent e; the result is x^e/S^(e−1) modulo n
    /// and below 3·n.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn raise(&self, x: &Number<D>, field: &mut Field<'_, D>) -> Zeroizing<Number<D>> {
        let mut power = Zeroizing::new(x.clone());
        let mut other = Zeroizing::new(Number::ZERO);
        for bit in &self.exponent {
            field.square(&mut other, &power);
            if *bit {
                field.multiply(&mut power, &other, x);
            } else {
                std::mem::swap(&mut power, &mut other);
            }
        }
        power
    }

    /// Reduces numbers below 3·n to numbers below n.
    #[inline]
    pub(super) fn reduce(&self, number: &mut Number<D>) {
        number.reduce_twice(&self.value);
    }

    /// Says in which lanes `signature` to the public exponent is `message`.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn check(&self, signature: &Number<D>, message: &Number<D>) -> Verified {
        let mut field = self.field();
        let power = self.raise(signature, &mut field);
        let mut found = Zeroizing::new(Number::ZERO);
        field.multiply(&mut found, &power, &self.power);
        self.reduce(&mut found);
        let mut wrong = [0; LANES];
        for (x, y) in found.digits().iter().zip(message.digits()) {
            for ((wrong, x), y) in wrong.iter_mut().zip(x.0).zip(y.0) {
                *wrong |= x ^ y;
            }
        }
        let mut verified = Verified::default();
        (0..LANES)
            .filter(|lane| wrong[*lane] == 0)
            .for_each(|lane| verified.set(lane));
        verified
    }
}

/// Reads big-endian bytes into a lane.
fn read_block<const D: usize>(block: &[u8], number: &mut Number<D>, lane: usize) {
    let mut limbs = [0; MAX_LIMBS];
    let mut digits = [0; MAX_DIGITS];
    for (limb, bytes) in limbs.iter_mut().zip(block.rchunks_exact(8)) {
        *limb = u64::from_be_bytes(bytes.try_into().unwrap_or_default());
    }
    digits_of(&limbs, &mut digits[..Number::<D>::DIGITS]);
    number.set_lane(lane, &digits[..Number::<D>::DIGITS]);
}

/// Writes the number of a lane as big-endian bytes.
fn write_block<const D: usize>(number: &Number<D>, lane: usize, block: &mut [u8]) {
    let mut limbs = [0; MAX_LIMBS];
    limbs_of(
        number.digits().iter().map(|digit| digit.0[lane]),
        &mut limbs,
    );
    for (limb, bytes) in limbs.iter().zip(block.rchunks_exact_mut(8)) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
}
