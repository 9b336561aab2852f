//! Is this public key fit to decide who gets a token?
//!
//! A key is judged once, when it is registered, and parsed into the form in
//! which a verification costs one public operation. Of weak generators only
//! the one is recognised that leaves its mark on the modulus; primes that lie
//! close together are not looked for.

use std::sync::LazyLock;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use pkcs1::RsaPublicKeyRef;
use pkcs1::der::Decode;

use super::jose::is_key_id;
use super::registration::{ALGORITHMS, KeyRegistration};
use super::roca;
use crate::signer::{Algorithm, KeyKind};

/// The public exponent that is accepted without a word (0x010001).
const F4: &[u8] = &[1, 0, 1];

/// The longest public exponent that is ever accepted, in bytes. Longer ones
/// slow verification down and have no use.
const MAX_EXPONENT: usize = 4;

/// The bound of the factors that are searched for. A sound modulus has
/// factors of a thousand bits.
const FACTOR_BOUND: u32 = 1 << 16;

/// A public key that was judged fit.
pub struct VerifyingKey {
    kid: String,
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a key is not registered.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The key ID is not one.
    #[error("the key ID {0:?} is not 1 to 64 letters, digits, dots, dashes and underscores")]
    KeyId(String),
    /// The key is of a kind that no accepted algorithm uses.
    #[error("the key is {0}, expected an RSA key")]
    Kind(KeyKind),
    /// There is no algorithm, or one that is not accepted.
    #[error("the key's algorithms must be one or more of RS256, RS384 and RS512")]
    Algorithms,
    /// The public exponent is another one than 65537.
    #[error("the public exponent is not 65537; allow small exponents to accept an odd one from 3")]
    Exponent,
    /// The modulus has a small factor.
    #[error("the modulus is divisible by {0}, so the key is broken")]
    SmallFactor(u32),
    /// The modulus was made by a generator whose keys can be broken.
    #[error(
        "the modulus bears the mark of a broken generator (CVE-2017-15361); make a new key pair"
    )]
    BrokenGenerator,
    /// The library that verifies refuses the key.
    #[error("the key cannot be parsed for {0}")]
    Parse(Algorithm),
}

impl VerifyingKey {
    /// Judges a key.
    ///
    /// The size needs no check: a [`PublicKey`](crate::signer::PublicKey) has
    /// 2048 to 8192 bits and an odd exponent from 3 on.
    ///
    /// # Errors
    ///
    /// What is wrong with the key.
    pub fn admit(key: &KeyRegistration) -> Result<Self, AdmissionError> {
        if !is_key_id(&key.kid) {
            return Err(AdmissionError::KeyId(key.kid.clone()));
        }
        if key.public_key.kind() != KeyKind::Rsa {
            return Err(AdmissionError::Kind(key.public_key.kind()));
        }
        let are_known = key.algorithms.iter().all(|one| ALGORITHMS.contains(one));
        if key.algorithms.is_empty() || !are_known {
            return Err(AdmissionError::Algorithms);
        }
        let der = key.public_key.inner();
        let parse_error = || AdmissionError::Parse(key.algorithms[0]);
        let rsa = RsaPublicKeyRef::from_der(der).map_err(|_| parse_error())?;
        let exponent = rsa.public_exponent.as_bytes();
        let is_allowed = exponent == F4
            || (key.allow_small_exponent
                && exponent.len() <= MAX_EXPONENT
                && exponent.last().is_some_and(|low| low & 1 == 1)
                && exponent != [1]);
        if !is_allowed {
            return Err(AdmissionError::Exponent);
        }
        if let Some(factor) = small_factor(rsa.modulus.as_bytes()) {
            return Err(AdmissionError::SmallFactor(factor));
        }
        if roca::has_mark(rsa.modulus.as_bytes()) {
            return Err(AdmissionError::BrokenGenerator);
        }
        let parsed = key
            .algorithms
            .iter()
            .map(|&algorithm| {
                let with = verification(algorithm).ok_or(AdmissionError::Algorithms)?;
                ParsedPublicKey::new(with, der)
                    .map(|parsed| (algorithm, parsed))
                    .map_err(|_| AdmissionError::Parse(algorithm))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            kid: key.kid.clone(),
            parsed,
        })
    }

    /// Returns the key ID.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// May the key be used with `algorithm`?
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.parsed.iter().any(|(one, _)| *one == algorithm)
    }

    /// Is `signature` one of `message` under this key and `algorithm`?
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.parsed
            .iter()
            .find(|(one, _)| *one == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

/// Finds a prime factor below [`FACTOR_BOUND`] by trial division.
fn small_factor(modulus: &[u8]) -> Option<u32> {
    static PRIMES: LazyLock<Vec<u32>> = LazyLock::new(primes);
    let mut digits = Vec::with_capacity(modulus.len().div_ceil(4));
    for digit in modulus.rchunks(4).rev() {
        digits.push(
            digit
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        );
    }
    PRIMES.iter().copied().find(|&prime| {
        let remainder = digits
            .iter()
            .fold(0, |rest, digit| (rest << 32 | digit) % u64::from(prime));
        remainder == 0
    })
}

/// Lists the primes below [`FACTOR_BOUND`].
fn primes() -> Vec<u32> {
    let mut primes: Vec<u32> = vec![2];
    for candidate in (3..FACTOR_BOUND).step_by(2) {
        let is_prime = primes
            .iter()
            .take_while(|&&prime| prime * prime <= candidate)
            .all(|prime| candidate % prime != 0);
        if is_prime {
            primes.push(candidate);
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use pkcs1::der::Encode;
    use pkcs1::der::asn1::UintRef;

    use super::*;
    use crate::signer::{PrivateKey, PublicKey};

    fn good() -> PublicKey {
        PrivateKey::from_pkcs8_der(include_bytes!("../../tests/fixtures/broker_a.pk8"))
            .unwrap()
            .public_key()
            .unwrap()
            .clone()
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> PublicKey {
        let key = pkcs1::RsaPublicKey {
            modulus: UintRef::new(modulus).unwrap(),
            public_exponent: UintRef::new(exponent).unwrap(),
        };
        PublicKey::from_pkcs1_der(&key.to_der().unwrap()).unwrap()
    }

    fn good_with_exponent(exponent: &[u8]) -> PublicKey {
        let good = good();
        let key = RsaPublicKeyRef::from_der(good.inner()).unwrap();
        rsa(key.modulus.as_bytes(), exponent)
    }

    fn admit(key: PublicKey) -> Result<VerifyingKey, AdmissionError> {
        VerifyingKey::admit(&KeyRegistration::new("kid", key))
    }

    #[test]
    fn a_sound_key_is_admitted_for_its_algorithms() {
        let key = admit(good()).unwrap();
        assert_eq!(key.kid(), "kid");
        for algorithm in Algorithm::ALL {
            assert_eq!(key.allows(algorithm), ALGORITHMS.contains(&algorithm));
        }
        assert!(!key.verifies(Algorithm::Rs256, b"message", &[1; 256]));
        assert!(!key.verifies(Algorithm::Ps256, b"message", &[1; 256]));
    }

    #[test]
    fn other_exponents_have_to_be_allowed() {
        for exponent in [&[3][..], &[17], &[1, 0, 3], &[1, 0, 0, 0, 1]] {
            let refused = admit(good_with_exponent(exponent));
            assert!(
                matches!(refused, Err(AdmissionError::Exponent)),
                "{exponent:?}"
            );
        }
        let allowed = |exponent: &[u8]| {
            VerifyingKey::admit(&KeyRegistration {
                allow_small_exponent: true,
                ..KeyRegistration::new("kid", good_with_exponent(exponent))
            })
        };
        assert!(allowed(&[3]).is_ok());
        assert!(allowed(&[1, 0, 1]).is_ok());
        assert!(
            matches!(allowed(&[1, 0, 0, 0, 1]), Err(AdmissionError::Exponent)),
            "too long"
        );
    }

    #[test]
    fn a_modulus_with_a_small_factor_is_refused() {
        // 2^2048 - 1 is divisible by 3.
        let refused = admit(rsa(&[0xff; 256], F4));
        assert!(matches!(refused, Err(AdmissionError::SmallFactor(3))));
        let mut even = [0xff; 256];
        even[255] = 0xfe;
        let refused = admit(rsa(&even, F4));
        assert!(matches!(refused, Err(AdmissionError::SmallFactor(2))));
    }

    #[test]
    fn a_modulus_of_a_broken_generator_is_refused() {
        let refused = admit(rsa(&roca::tests::marked_modulus(), F4));
        assert!(matches!(refused, Err(AdmissionError::BrokenGenerator)));
    }

    #[test]
    fn what_is_no_key_is_refused_before_it_is_judged() {
        let parse = |modulus: &[u8], exponent: &[u8]| {
            let key = pkcs1::RsaPublicKey {
                modulus: UintRef::new(modulus).unwrap(),
                public_exponent: UintRef::new(exponent).unwrap(),
            };
            PublicKey::from_pkcs1_der(&key.to_der().unwrap())
        };
        let good = good();
        let good = RsaPublicKeyRef::from_der(good.inner()).unwrap();
        let modulus = good.modulus.as_bytes();
        assert!(parse(modulus, F4).is_ok());
        for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[0xff; 300]] {
            let is_refused = parse(modulus, exponent).map_or(true, |key| admit(key).is_err());
            assert!(is_refused, "{exponent:?}");
        }
        for bytes in [0, 1, 64, 128, 255, 1025] {
            let mut short = vec![0xff; bytes];
            short.push(0xfd);
            short.truncate(bytes.max(1));
            assert!(parse(&short, F4).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn keys_of_other_kinds_and_algorithms_are_refused() {
        // RFC 8410, section 10.1.
        let ed25519 = [
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x19, 0xbf,
            0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96,
            0xc8, 0x50, 0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31,
            0x66, 0xe1,
        ];
        let refused = admit(PublicKey::from_spki_der(&ed25519).unwrap());
        assert!(matches!(
            refused,
            Err(AdmissionError::Kind(KeyKind::Ed25519))
        ));
        for algorithms in [vec![], vec![Algorithm::Ps256], vec![Algorithm::EdDsa]] {
            let refused = VerifyingKey::admit(&KeyRegistration {
                algorithms,
                ..KeyRegistration::new("kid", good())
            });
            assert!(matches!(refused, Err(AdmissionError::Algorithms)));
        }
    }

    #[test]
    fn a_key_id_is_a_name() {
        for kid in ["", "a b", "../x", "é", &"k".repeat(65)] {
            let refused = VerifyingKey::admit(&KeyRegistration::new(kid, good()));
            assert!(matches!(refused, Err(AdmissionError::KeyId(_))), "{kid:?}");
        }
    }

    #[test]
    fn small_primes_are_found_as_factors() {
        assert_eq!(primes().len(), 6542);
        // 2^128 + 1 = 59649589127497217 * 5704689200685129054721.
        let mut fermat = [0; 17];
        fermat[0] = 1;
        fermat[16] = 1;
        assert_eq!(small_factor(&fermat), None);
        // 2^32 + 1 = 641 * 6700417.
        assert_eq!(small_factor(&[1, 0, 0, 0, 1]), Some(641));
        assert_eq!(small_factor(&[0, 0, 6]), Some(2));
    }
}
