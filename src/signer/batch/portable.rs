//! How is one signature made where the processor has no vector multiplier?
//!
//! The same steps as in [`super::crt`], one message at a time, in limbs of 64
//! bits: Montgomery multiplication limb by limb, a fixed window of four bits,
//! the Chinese remainder theorem, and the check with the public exponent. It
//! is plain Rust without a branch or an index that depends on the key or the
//! message. It keeps the behaviour and the tests alive everywhere; a library's
//! assembly is several times as fast.

use zeroize::{Zeroize, Zeroizing};

use super::Components;
use super::natural::{Natural, borrow_of, low, mask_of, subtract_if};

/// The limbs of the largest modulus, of 4096 bits, and of its primes.
const MAX_LIMBS: usize = 64;
const MAX_PRIME_LIMBS: usize = MAX_LIMBS / 2;

/// The bits of an exponent that are worked off at once.
const WINDOW: usize = 4;

/// A key in limbs of 64 bits.
pub(super) struct PortableKey {
    p: Field,
    q: Field,
    n: Field,
    dp: Natural,
    dq: Natural,
    /// q⁻¹·R modulo p.
    inverse: Natural,
    q_value: Natural,
    e: Natural,
}

/// Arithmetic modulo an odd number m, with R = 2^(64·limbs).
struct Field {
    modulus: Natural,
    /// −m⁻¹ modulo 2^64.
    negated_inverse: u64,
    /// R² and R³ modulo m.
    squared: Natural,
    cubed: Natural,
}

/// A number of up to 4096 bits that leaves no trace.
struct Limbs(Zeroizing<[u64; MAX_LIMBS]>);

impl PortableKey {
    /// Prepares a key whose primes are equally long.
    pub(super) fn new(key: &Components) -> Self {
        let p = Field::new(&key.p);
        let bits = 64 * p.limbs();
        Self {
            inverse: key.qinv.shifted(bits, &key.p),
            p,
            q: Field::new(&key.q),
            n: Field::new(&key.n),
            dp: key.dp.clone(),
            dq: key.dq.clone(),
            q_value: key.q.clone(),
            e: key.e.clone(),
        }
    }

    /// Signs a padded message in place.
    ///
    /// `block` is as long as the modulus and represents a number below it.
    /// Returns whether the signature was checked; if not, `block` holds zeros.
    pub(super) fn sign_one(&self, block: &mut [u8]) -> bool {
        let message = Limbs::from_be_bytes(block);
        let s_p = Self::residue(&self.p, &message, &self.dp);
        let s_q = Self::residue(&self.q, &message, &self.dq);

        // h = (s_p − s_q)·q⁻¹ mod p; both primes are equally long, q < 2·p.
        let width = self.p.limbs();
        let p = self.p.modulus.limbs();
        let mut h = Limbs::zero();
        h.0[..width].copy_from_slice(&s_q.0[..width]);
        subtract_if(&mut h.0[..width], p, 0);
        let mut borrow = 0;
        for (x, y) in h.0[..width].iter_mut().zip(s_p.0.iter()) {
            (*x, borrow) = borrow_of(*y, *x, borrow);
        }
        let mask = mask_of(borrow);
        let mut carry = 0;
        for (x, y) in h.0[..width].iter_mut().zip(p) {
            carry += u128::from(*x) + u128::from(*y & mask);
            *x = low(carry);
            carry >>= 64;
        }
        let difference = h.0.clone();
        self.p
            .multiply(&mut h.0, &difference[..], self.inverse.limbs());

        // s = s_q + q·h.
        let mut signature = s_q;
        for (place, y) in self.q_value.limbs().iter().enumerate() {
            let mut carry = 0;
            for (slot, x) in signature.0[place..].iter_mut().zip(&h.0[..=width]) {
                carry += u128::from(*x) * u128::from(*y) + u128::from(*slot);
                *slot = low(carry);
                carry >>= 64;
            }
        }

        let verified = self.verify(&signature, &message);
        if verified {
            signature.to_be_bytes(block);
        } else {
            block.fill(0);
        }
        verified
    }

    /// Raises a message modulo a prime.
    fn residue(prime: &Field, message: &Limbs, exponent: &Natural) -> Limbs {
        let width = prime.limbs();
        let mut low = Limbs::zero();
        let mut high = Limbs::zero();
        prime.multiply(&mut low.0, &message.0[..width], prime.squared.limbs());
        prime.multiply(&mut high.0, &message.0[width..], prime.cubed.limbs());
        prime.add(&mut low.0, &high.0[..]);
        let mut result = prime.power(&low, exponent);
        prime.leave(&mut result);
        result
    }

    /// Is `signature` to the public exponent the message? All are public by
    /// then, and so is the answer.
    fn verify(&self, signature: &Limbs, message: &Limbs) -> bool {
        let n = &self.n;
        let mut form = Limbs::zero();
        n.multiply(&mut form.0, &signature.0[..], n.squared.limbs());
        let mut power = Limbs(form.0.clone());
        for place in (0..self.e.bits() - 1).rev() {
            n.square(&mut power);
            if self.e.bit(place) == 1 {
                let x = power.0.clone();
                n.multiply(&mut power.0, &x[..], &form.0[..]);
            }
        }
        n.leave(&mut power);
        power.0 == message.0
    }
}

impl Field {
    fn new(modulus: &Natural) -> Self {
        let bits = 64 * modulus.limbs().len();
        let squared = modulus.power_of_two(2 * bits);
        Self {
            negated_inverse: modulus.negated_inverse(),
            cubed: squared.shifted(bits, modulus),
            squared,
            modulus: modulus.clone(),
        }
    }

    fn limbs(&self) -> usize {
        self.modulus.limbs().len()
    }

    /// Sets `out` to a·b/R modulo m; a·b is below R·m.
    ///
    /// Coarsely integrated operand scanning (Koç, Acar, Kaliski 1996).
    fn multiply(&self, out: &mut [u64; MAX_LIMBS], a: &[u64], b: &[u64]) {
        let modulus = self.modulus.limbs();
        let width = modulus.len();
        let mut sums = Zeroizing::new([0; MAX_LIMBS + 2]);
        for y in &b[..width] {
            let mut carry = 0;
            for (sum, x) in sums.iter_mut().zip(&a[..width]) {
                carry += u128::from(*x) * u128::from(*y) + u128::from(*sum);
                *sum = low(carry);
                carry >>= 64;
            }
            carry += u128::from(sums[width]);
            sums[width] = low(carry);
            sums[width + 1] = low(carry >> 64);

            let multiple = sums[0].wrapping_mul(self.negated_inverse);
            let mut carry = u128::from(multiple) * u128::from(modulus[0]) + u128::from(sums[0]);
            carry >>= 64;
            for place in 1..width {
                carry +=
                    u128::from(multiple) * u128::from(modulus[place]) + u128::from(sums[place]);
                sums[place - 1] = low(carry);
                carry >>= 64;
            }
            carry += u128::from(sums[width]);
            sums[width - 1] = low(carry);
            sums[width] = sums[width + 1] + low(carry >> 64);
        }
        let carry = sums[width];
        subtract_if(&mut sums[..width], modulus, carry);
        out.fill(0);
        out[..width].copy_from_slice(&sums[..width]);
    }

    fn square(&self, x: &mut Limbs) {
        let copy = x.0.clone();
        self.multiply(&mut x.0, &copy[..], &copy[..]);
    }

    /// Takes a number out of Montgomery's form.
    fn leave(&self, x: &mut Limbs) {
        let mut one = [0; MAX_LIMBS];
        one[0] = 1;
        let copy = x.0.clone();
        self.multiply(&mut x.0, &copy[..], &one);
    }

    /// Adds `other` to `x`; both are below m.
    fn add(&self, x: &mut [u64; MAX_LIMBS], other: &[u64]) {
        let width = self.limbs();
        let mut carry = 0;
        for (x, y) in x[..width].iter_mut().zip(other) {
            carry += u128::from(*x) + u128::from(*y);
            *x = low(carry);
            carry >>= 64;
        }
        subtract_if(&mut x[..width], self.modulus.limbs(), low(carry));
    }

    /// Raises `base` to a secret exponent, both in Montgomery's form.
    ///
    /// The exponent is taken to be as long as the modulus.
    fn power(&self, base: &Limbs, exponent: &Natural) -> Limbs {
        let width = self.limbs();
        let mut table = Zeroizing::new([[0; MAX_PRIME_LIMBS]; 1 << WINDOW]);
        // R = R²·1/R is one in Montgomery's form.
        let mut entry = Limbs::zero();
        entry.0[..width].copy_from_slice(self.squared.limbs());
        self.leave(&mut entry);
        for row in table.iter_mut() {
            row[..width].copy_from_slice(&entry.0[..width]);
            let copy = entry.0.clone();
            self.multiply(&mut entry.0, &copy[..], &base.0[..]);
        }

        let mut power = Limbs::zero();
        power.0[..width].copy_from_slice(&table[0][..width]);
        for window in (0..64 * width / WINDOW).rev() {
            for _ in 0..WINDOW {
                self.square(&mut power);
            }
            let bits = exponent.bits_at(window * WINDOW, WINDOW);
            entry.0.zeroize();
            for (value, row) in (0..).zip(table.iter()) {
                let mask = equal_mask(value, bits);
                for (slot, limb) in entry.0.iter_mut().zip(&row[..width]) {
                    *slot |= limb & mask;
                }
            }
            let copy = power.0.clone();
            self.multiply(&mut power.0, &copy[..], &entry.0[..]);
        }
        power
    }
}

impl Limbs {
    fn zero() -> Self {
        Self(Zeroizing::new([0; MAX_LIMBS]))
    }

    fn from_be_bytes(bytes: &[u8]) -> Self {
        let mut limbs = Self::zero();
        for (limb, bytes) in limbs.0.iter_mut().zip(bytes.rchunks(8)) {
            *limb = bytes
                .iter()
                .fold(0, |limb, byte| limb << 8 | u64::from(*byte));
        }
        limbs
    }

    fn to_be_bytes(&self, bytes: &mut [u8]) {
        for (limb, bytes) in self.0.iter().zip(bytes.rchunks_mut(8)) {
            let at = 8 - bytes.len();
            bytes.copy_from_slice(&limb.to_be_bytes()[at..]);
        }
    }
}

/// Returns all ones if the small numbers are equal, and else zero.
fn equal_mask(x: u64, y: u64) -> u64 {
    mask_of((x ^ y).wrapping_sub(1) >> 63)
}
