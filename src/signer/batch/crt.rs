//! How do as many RSA signatures as there are lanes come from two
//! exponentiations?
//!
//! By the Chinese remainder theorem (RFC 8017 §5.1.2): the lower half of the
//! lanes works modulo p and the upper half modulo q, so that one exponentiation
//! serves half as many messages as there are lanes. Recombination and the check
//! with the public exponent are made for all lanes together. A signature whose
//! check fails is not handed out, since it would give away the factors of the
//! modulus (Boneh, DeMillo, Lipton 1997).
//!
//! This module does not pad, hash, or choose between itself and a library.
//! What depends on the private key is zeroized before a call returns.

use zeroize::{Zeroize, Zeroizing};

use super::blinding::Blinding;
use super::engine::Together;
use super::kernel::Kernel;
use super::lanes::{DIGIT_BITS, Lanes, Number, digits_of, limbs_of};
use super::natural::Natural;
use super::power::{Exponents, power};
use super::{Components, Verified};

/// The limbs of the largest modulus, of 4096 bits.
const MAX_LIMBS: usize = 64;

/// The digits of the largest modulus, and then some to fill a block.
const MAX_DIGITS: usize = 80;

/// A key in vector form: primes of 512·K bits, a modulus of 512·D with D = 2·K.
pub(super) struct VectorKey<A: Kernel, const K: usize, const D: usize> {
    private: PrivatePart<A, K>,
    public: PublicPart<A, D>,
    exponents: Exponents,
    blinding: Option<Blinding<A::Lanes, D>>,
}

impl<A: Kernel, const K: usize, const D: usize> VectorKey<A, K, D> {
    /// Prepares a key whose primes have 512·K bits each.
    pub(super) fn new(kernel: A, key: &Components, blinded: bool) -> Self {
        Self {
            private: PrivatePart::new(kernel, key),
            public: PublicPart::new(kernel, key),
            exponents: Exponents::halves::<A::Lanes>(&key.dp, &key.dq, 512 * K),
            blinding: blinded.then(|| Blinding::new(key)),
        }
    }
}

impl<A: Kernel, const K: usize, const D: usize> Together for VectorKey<A, K, D> {
    fn sign(&self, blocks: &mut [&mut [u8]]) -> Verified {
        let mut message = Number::zero();
        for (lane, block) in blocks.iter().enumerate() {
            read_block(block, &mut message, lane);
        }
        let mut signature = Zeroizing::new(Number::zero());
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
pub(super) struct PrivatePart<A: Kernel, const K: usize> {
    kernel: A,
    /// p in the lower lanes, q in the upper.
    primes: A::Modulus<K>,
    primes_value: Number<A::Lanes, K>,
    /// R, R² and R³ modulo the primes.
    one: Number<A::Lanes, K>,
    squared: Number<A::Lanes, K>,
    cubed: Number<A::Lanes, K>,
    /// p, 2·p, q⁻¹·R modulo p, and q, in all lanes.
    p: A::Modulus<K>,
    p_value: Number<A::Lanes, K>,
    p_doubled: Number<A::Lanes, K>,
    inverse: Number<A::Lanes, K>,
    q_value: Number<A::Lanes, K>,
}

impl<A: Kernel, const K: usize> PrivatePart<A, K> {
    fn new(kernel: A, key: &Components) -> Self {
        let (p, q) = (&key.p, &key.q);
        let bits = Number::<A::Lanes, K>::DIGITS * DIGIT_BITS;
        let halves =
            |of: &dyn Fn(&Natural) -> Natural| Number::halves(&of(p).digits(K), &of(q).digits(K));
        let mut this = Self {
            kernel,
            primes: kernel.modulus(p, q),
            primes_value: halves(&Natural::clone),
            one: halves(&|prime| prime.power_of_two(bits)),
            squared: halves(&|prime| prime.power_of_two(2 * bits)),
            cubed: Number::zero(),
            p: kernel.modulus(p, p),
            p_value: Number::splat(&p.digits(K)),
            p_doubled: Number::splat(&p.multiply_add(2, 0).digits(K)),
            inverse: Number::splat(&key.qinv.shifted(bits, p).digits(K)),
            q_value: Number::splat(&q.digits(K)),
        };
        let squared = &this.squared;
        let mut field = kernel.field(&this.primes);
        kernel.multiply(&mut field, &mut this.cubed, squared, squared);
        drop(field);
        this
    }

    /// Raises the first `count` numbers of `message` to exponents modulo p
    /// and q, and joins the results to numbers below p·q.
    pub(super) fn raise<const D: usize>(
        &self,
        message: &Number<A::Lanes, D>,
        exponents: &Exponents,
        count: usize,
        out: &mut Number<A::Lanes, D>,
    ) {
        let mut s_p = Zeroizing::new(Number::<A::Lanes, K>::zero());
        let mut s_q = Zeroizing::new(Number::<A::Lanes, K>::zero());
        for first in (0..count).step_by(A::Lanes::HALF) {
            let residues = self.residues(message, first, exponents);
            for (place, digit) in residues.digits().iter().enumerate() {
                for lane in 0..A::Lanes::HALF {
                    s_p.digits_mut()[place][first + lane] = digit[lane];
                    s_q.digits_mut()[place][first + lane] = digit[A::Lanes::HALF + lane];
                }
            }
        }
        // h = (s_p − s_q)·q⁻¹ mod p, with 2·p added so as not to be negative:
        // both primes are equally long, hence q < 2·p.
        s_p.add(&self.p_doubled);
        s_p.subtract(&s_q);
        let mut h = Zeroizing::new(Number::zero());
        self.kernel
            .multiply(&mut self.kernel.field(&self.p), &mut h, &s_p, &self.inverse);
        h.reduce_twice(&self.p_value);
        self.kernel.multiply_add(out, &h, &self.q_value, &s_q);
    }

    /// Raises half as many numbers of `message` as there are lanes, from lane
    /// `first` on, modulo p in the
    /// lower lanes and modulo q in the upper.
    fn residues<const D: usize>(
        &self,
        message: &Number<A::Lanes, D>,
        first: usize,
        exponents: &Exponents,
    ) -> Zeroizing<Number<A::Lanes, K>> {
        // The message is high·R + low, and high·R³/R + low·R²/R its form.
        let mut low = Zeroizing::new(Number::<A::Lanes, K>::zero());
        let mut high = Zeroizing::new(Number::zero());
        let parts = low.digits_mut().iter_mut().chain(high.digits_mut());
        for (part, digit) in parts.zip(message.digits()) {
            for lane in 0..A::Lanes::HALF {
                part[lane] = digit[first + lane];
                part[A::Lanes::HALF + lane] = digit[first + lane];
            }
        }
        let kernel = self.kernel;
        let mut field = kernel.field(&self.primes);
        let mut base = Zeroizing::new(Number::zero());
        kernel.multiply(&mut field, &mut base, &low, &self.squared);
        kernel.multiply(&mut field, &mut low, &high, &self.cubed);
        base.add(&low);
        A::Lanes::with_table(Number::<A::Lanes, K>::DIGITS, |table| {
            power(kernel, &mut base, exponents, &self.one, &mut field, table);
        });
        kernel.multiply(&mut field, &mut low, &base, &Number::one());
        low.reduce_twice(&self.primes_value);
        low
    }
}

impl<A: Kernel, const K: usize> Drop for PrivatePart<A, K> {
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
pub(super) struct PublicPart<A: Kernel, const D: usize> {
    pub(super) kernel: A,
    n: A::Modulus<D>,
    value: Number<A::Lanes, D>,
    /// S² modulo n, by which numbers enter Montgomery's form.
    pub(super) squared: Number<A::Lanes, D>,
    /// S^e modulo n.
    power: Number<A::Lanes, D>,
    /// The bits of the public exponent e but the first, which is set.
    exponent: Vec<bool>,
}

impl<A: Kernel, const D: usize> PublicPart<A, D> {
    fn new(kernel: A, key: &Components) -> Self {
        let (n, e) = (&key.n, &key.e);
        let bits = Number::<A::Lanes, D>::DIGITS * DIGIT_BITS;
        let mut this = Self {
            kernel,
            n: kernel.modulus(n, n),
            value: Number::splat(&n.digits(D)),
            squared: Number::splat(&n.power_of_two(2 * bits).digits(D)),
            power: Number::zero(),
            exponent: (0..e.bits() - 1)
                .rev()
                .map(|place| e.bit(place) == 1)
                .collect(),
        };
        // S² stands for S in Montgomery's form, so its power stands for S^e.
        let mut field = kernel.field(&this.n);
        let power = this.raise(&this.squared, &mut field);
        kernel.multiply(&mut field, &mut this.power, &power, &Number::one());
        drop(field);
        this
    }

    /// Begins arithmetic modulo n.
    pub(super) fn field(&self) -> A::Field<'_, D> {
        self.kernel.field(&self.n)
    }

    /// Raises `x` to the public exponent e; the result is x^e/S^(e−1) modulo n
    /// and below 3·n.
    pub(super) fn raise(
        &self,
        x: &Number<A::Lanes, D>,
        field: &mut A::Field<'_, D>,
    ) -> Zeroizing<Number<A::Lanes, D>> {
        let mut power = Zeroizing::new(x.clone());
        let mut other = Zeroizing::new(Number::zero());
        for bit in &self.exponent {
            self.kernel.square(field, &mut other, &power);
            if *bit {
                self.kernel.multiply(field, &mut power, &other, x);
            } else {
                std::mem::swap(&mut power, &mut other);
            }
        }
        power
    }

    /// Reduces numbers below 3·n to numbers below n.
    #[inline]
    pub(super) fn reduce(&self, number: &mut Number<A::Lanes, D>) {
        number.reduce_twice(&self.value);
    }

    /// Says in which lanes `signature` to the public exponent is `message`.
    fn check(&self, signature: &Number<A::Lanes, D>, message: &Number<A::Lanes, D>) -> Verified {
        let mut field = self.field();
        let power = self.raise(signature, &mut field);
        let mut found = Zeroizing::new(Number::zero());
        self.kernel
            .multiply(&mut field, &mut found, &power, &self.power);
        self.reduce(&mut found);
        let mut wrong = A::Lanes::default();
        for (x, y) in found.digits().iter().zip(message.digits()) {
            for lane in 0..A::Lanes::COUNT {
                wrong[lane] |= x[lane] ^ y[lane];
            }
        }
        let mut verified = Verified::default();
        (0..A::Lanes::COUNT)
            .filter(|lane| wrong[*lane] == 0)
            .for_each(|lane| verified.set(lane));
        verified
    }
}

/// Reads big-endian bytes into a lane.
fn read_block<L: Lanes, const D: usize>(block: &[u8], number: &mut Number<L, D>, lane: usize) {
    let mut limbs = [0; MAX_LIMBS];
    let mut digits = [0; MAX_DIGITS];
    for (limb, bytes) in limbs.iter_mut().zip(block.rchunks_exact(8)) {
        *limb = u64::from_be_bytes(bytes.try_into().unwrap_or_default());
    }
    digits_of(&limbs, &mut digits[..Number::<L, D>::DIGITS]);
    number.set_lane(lane, &digits[..Number::<L, D>::DIGITS]);
}

/// Writes the number of a lane as big-endian bytes.
fn write_block<L: Lanes, const D: usize>(number: &Number<L, D>, lane: usize, block: &mut [u8]) {
    let mut limbs = [0; MAX_LIMBS];
    limbs_of(number.digits().iter().map(|digit| digit[lane]), &mut limbs);
    for (limb, bytes) in limbs.iter().zip(block.rchunks_exact_mut(8)) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
}
