//! Was this modulus made by a generator whose keys can be broken?
//!
//! A library of smart cards made primes of the form `k·M + (65537^a mod M)`,
//! `M` being the product of the first primes (Nemec and others, "The Return
//! of Coppersmith's Attack", 2017; CVE-2017-15361). The product of two of
//! them is, modulo each of those primes, a power of 65537. A modulus of
//! another origin is that by chance only.

use std::sync::LazyLock;

/// The largest of the first 126 primes, which make up `M` for keys from 1984
/// bits on. For longer keys there are more; these suffice to tell.
const LAST_PRIME: u32 = 701;

/// The generator of the powers.
const GENERATOR: u32 = 65_537;

/// A prime, and which remainders are powers of the generator.
struct Residues {
    prime: u32,
    are_powers: Vec<bool>,
}

/// Does the modulus, given in big-endian bytes, bear the generator's mark?
pub(super) fn has_mark(modulus: &[u8]) -> bool {
    static RESIDUES: LazyLock<Vec<Residues>> = LazyLock::new(residues);
    RESIDUES.iter().all(|residues| {
        let rest = remainder(modulus, residues.prime);
        residues
            .are_powers
            .get(rest)
            .is_some_and(|is_power| *is_power)
    })
}

fn remainder(number: &[u8], prime: u32) -> usize {
    let rest = number
        .iter()
        .fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
    usize::try_from(rest).unwrap_or(usize::MAX)
}

/// Lists the powers for every odd prime up to [`LAST_PRIME`].
fn residues() -> Vec<Residues> {
    let is_prime = |n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (3..=LAST_PRIME)
        .filter(is_prime)
        .map(|prime| {
            let mut are_powers = vec![false; usize::try_from(prime).unwrap_or_default()];
            let mut power = 1;
            while let Some(seen) = are_powers.get_mut(usize::try_from(power).unwrap_or_default())
                && !*seen
            {
                *seen = true;
                power = power * (GENERATOR % prime) % prime;
            }
            Residues { prime, are_powers }
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use num_bigint::BigUint;
    use pkcs1::RsaPublicKeyRef;
    use pkcs1::der::Decode;

    use super::*;
    use crate::signer::PrivateKey;

    /// Makes a modulus of 2048 bits as the library would, except that its
    /// factors are not looked at for being prime.
    pub(in crate::broker) fn marked_modulus() -> Vec<u8> {
        let product: BigUint = residues()
            .iter()
            .map(|residues| BigUint::from(residues.prime))
            .chain([BigUint::from(2_u32)])
            .product();
        let factor = |k: u64, a: u32| {
            let power = BigUint::from(GENERATOR).modpow(&BigUint::from(a), &product);
            BigUint::from(k) * &product + power
        };
        // Other small factors would be found before.
        let has_no_small_factor =
            |n: &BigUint| (3_u32..1 << 16).step_by(2).all(|d| n % d != BigUint::ZERO);
        let find = |a: u32| {
            // The product has 971 bits.
            (0..10_000)
                .map(|i| factor((1 << 52) + (1 << 51) + i, a))
                .find(has_no_small_factor)
                .unwrap()
        };
        let modulus = find(12_345) * find(67_890);
        assert_eq!(modulus.bits(), 2048);
        modulus.to_bytes_be()
    }

    #[test]
    fn what_the_generator_made_bears_its_mark() {
        let mut modulus = marked_modulus();
        assert!(has_mark(&modulus));
        // A neighbour that is odd as well does not.
        let last = modulus.last_mut().unwrap();
        *last = last.wrapping_add(2);
        assert!(!has_mark(&modulus));
    }

    #[test]
    fn sound_keys_do_not() {
        for der in [
            &include_bytes!("../../tests/fixtures/broker_a.pk8")[..],
            include_bytes!("../../tests/fixtures/broker_b.pk8"),
            include_bytes!("../../tests/fixtures/backends/rsa-8192.pk8"),
        ] {
            let key = PrivateKey::from_pkcs8_der(der).unwrap();
            let key = RsaPublicKeyRef::from_der(key.public_key().unwrap().inner()).unwrap();
            assert!(!has_mark(key.modulus.as_bytes()));
        }
    }

    #[test]
    fn some_primes_tell_and_others_do_not() {
        let residues = residues();
        assert_eq!(residues.len(), 125);
        let powers = |prime| {
            let found = residues.iter().find(|one| one.prime == prime).unwrap();
            found
                .are_powers
                .iter()
                .filter(|is_power| **is_power)
                .count()
        };
        assert_eq!((powers(3), powers(5), powers(7)), (2, 4, 6));
        assert_eq!((powers(11), powers(13), powers(17)), (2, 6, 8));
        for one in &residues {
            let order = powers(one.prime);
            assert_eq!(usize::try_from(one.prime - 1).unwrap() % order, 0);
        }
    }
}
