//! How is a message hidden from the arithmetic that signs it?
//!
//! Base blinding (Kocher 1996): the message m is multiplied by r^e for a
//! random r, and the signature (m·r^e)^d = m^d·r by r⁻¹. The arithmetic is
//! constant-time without it, so that it is an option; what it defends against
//! are leaks that nobody knows of yet. Every lane has its own r.
//!
//! Factors are squared after each use and drawn anew after some uses. A pool
//! lets every thread use its own; the lock is held only to take factors out
//! or to put them back.

use std::sync::{Mutex, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use super::Components;
use super::crt::{PrivatePart, PublicPart};
use super::kernel::Kernel;
use super::lanes::{DIGIT_MASK, Lanes, MAX_LANES, Number};
use super::power::Exponents;

/// How often factors serve before new ones are drawn.
///
/// As in OpenSSL and AWS-LC. Drawing costs as much as signing a batch, so
/// that half the uses would make blinding 3 % of a signature dearer.
const USES: u32 = 32;

/// The blinding of one key, for a modulus of 512·D bits.
pub(super) struct Blinding<L: Lanes, const D: usize> {
    /// p − 2 and q − 2, the exponents that invert.
    invert: Exponents,
    pool: Mutex<Vec<Box<Factors<L, D>>>>,
}

/// For each lane r^e and r⁻¹ modulo n, in Montgomery's form.
struct Factors<L: Lanes, const D: usize> {
    blind: Number<L, D>,
    unblind: Number<L, D>,
    uses: u32,
}

impl<L: Lanes, const D: usize> Blinding<L, D> {
    pub(super) fn new(key: &Components) -> Self {
        Self {
            invert: Exponents::halves::<L>(
                &key.p.clone().minus_two(),
                &key.q.clone().minus_two(),
                key.p.bits(),
            ),
            pool: Mutex::default(),
        }
    }

    /// Raises `message` to the private exponents behind a blind.
    ///
    /// Returns false, with `out` unspecified, if the system has no random
    /// numbers.
    pub(super) fn raise<A: Kernel<Lanes = L>, const K: usize>(
        &self,
        private: &PrivatePart<A, K>,
        public: &PublicPart<A, D>,
        message: &Number<L, D>,
        exponents: &Exponents,
        count: usize,
        out: &mut Number<L, D>,
    ) -> bool {
        let kept = self.lock().pop();
        let Some(mut factors) = kept.or_else(|| self.draw(private, public)) else {
            return false;
        };
        let kernel = public.kernel;
        let mut field = public.field();
        let mut blinded = Zeroizing::new(Number::zero());
        let mut power = Zeroizing::new(Number::zero());
        kernel.multiply(&mut field, &mut blinded, message, &factors.blind);
        private.raise(&blinded, exponents, count, &mut power);
        kernel.multiply(&mut field, out, &power, &factors.unblind);
        public.reduce(out);

        factors.uses += 1;
        if factors.uses < USES {
            kernel.square(&mut field, &mut power, &factors.blind);
            std::mem::swap(&mut factors.blind, &mut power);
            kernel.square(&mut field, &mut power, &factors.unblind);
            std::mem::swap(&mut factors.unblind, &mut power);
            self.lock().push(factors);
        }
        true
    }

    /// Draws an r for each lane, if the system has random numbers.
    fn draw<A: Kernel<Lanes = L>, const K: usize>(
        &self,
        private: &PrivatePart<A, K>,
        public: &PublicPart<A, D>,
    ) -> Option<Box<Factors<L, D>>> {
        let mut bytes = Zeroizing::new([0; 8 * MAX_LANES]);
        let mut random = Zeroizing::new(Number::<L, D>::zero());
        for digit in random.digits_mut() {
            aws_lc_rs::rand::fill(&mut *bytes).ok()?;
            for (lane, bytes) in bytes.as_chunks().0.iter().enumerate().take(L::COUNT) {
                digit[lane] = u64::from_le_bytes(*bytes) & DIGIT_MASK;
            }
        }
        // The random number has 8·D bits more than n, and the residue that is
        // r is as good as uniform.
        let kernel = public.kernel;
        let mut field = public.field();
        let mut form = Zeroizing::new(Number::zero());
        kernel.multiply(&mut field, &mut form, &random, &public.squared);
        let blind = public.raise(&form, &mut field);
        kernel.multiply(&mut field, &mut random, &form, &Number::one());
        private.raise(&random, &self.invert, L::COUNT, &mut form);
        let mut factors = Box::new(Factors {
            blind: (*blind).clone(),
            unblind: Number::zero(),
            uses: 0,
        });
        kernel.multiply(&mut field, &mut factors.unblind, &form, &public.squared);
        Some(factors)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<Factors<L, D>>>> {
        // Factors are whole whenever they are in the pool.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Lanes, const D: usize> Drop for Factors<L, D> {
    fn drop(&mut self) {
        self.blind.zeroize();
        self.unblind.zeroize();
    }
}
