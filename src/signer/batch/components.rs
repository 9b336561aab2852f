//! Is an RSA key one that the engine can use, and what are its numbers?

use super::super::PrivateKey;
use super::natural::Natural;

/// The sizes of a modulus, in bits: a prime is two, three or four blocks.
const SIZES: [usize; 3] = [2048, 3072, 4096];

/// The numbers of an RSA key with two primes of the same length (RFC 8017
/// §3.2).
pub(super) struct Components {
    pub(super) n: Natural,
    pub(super) e: Natural,
    pub(super) p: Natural,
    pub(super) q: Natural,
    pub(super) dp: Natural,
    pub(super) dq: Natural,
    pub(super) qinv: Natural,
}

impl Components {
    /// Takes the numbers of `key`, or says why the engine has no use for it.
    ///
    /// What is checked is what the arithmetic relies on; that the exponents
    /// belong together is left to whoever signs with them first.
    pub(super) fn of(key: &PrivateKey) -> Result<Self, String> {
        let parts = key.rsa_components().ok_or("it is not an RSA key")?;
        if parts.other_prime_infos.is_some() {
            return Err("it has more than two primes, expected two".into());
        }
        let bits = key.bits();
        if !SIZES.contains(&bits) {
            return Err(format!(
                "its modulus has {bits} bits, expected 2048, 3072 or 4096"
            ));
        }
        let number = |part: pkcs1::UintRef<'_>| Natural::from_be_bytes(part.as_bytes());
        let this = Self {
            n: number(parts.modulus),
            e: number(parts.public_exponent),
            p: number(parts.prime1),
            q: number(parts.prime2),
            dp: number(parts.exponent1),
            dq: number(parts.exponent2),
            qinv: number(parts.coefficient),
        };
        let half = bits / 2;
        if this.p.bits() != half || this.q.bits() != half {
            return Err(format!(
                "its primes have {} and {} bits, expected {half} each",
                this.p.bits(),
                this.q.bits()
            ));
        }
        let consistent = this.p.multiply(&this.q).equals(&this.n)
            && this.dp.is_below(&this.p)
            && this.dq.is_below(&this.q)
            && this.qinv.is_below(&this.p)
            && this.e.is_below(&this.n)
            && this.n.bit(0) == 1;
        if !consistent {
            return Err("its numbers do not belong together".into());
        }
        Ok(this)
    }

    /// The length of the modulus, in bytes.
    pub(super) fn length(&self) -> usize {
        self.n.bits() / 8
    }

    /// The blocks of ten digits that a prime takes.
    pub(super) fn blocks(&self) -> usize {
        self.p.bits() / 512
    }
}
