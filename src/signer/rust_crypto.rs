//! The `rsa` and `rsa-unblinded` backends: RustCrypto's portable code.
//!
//! The crate blinds when it is given randomness and does not otherwise. The
//! difference is most of its cost, so that it is two rows and never a silent
//! choice.

use std::sync::Arc;

use getrandom::SysRng;
use rsa::pkcs8::AssociatedOid;
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::digest::FixedOutputReset;
use rsa::sha2::{Digest, Sha256, Sha384, Sha512};
use rsa::traits::{PublicKeyParts, SignatureScheme};
use rsa::{BoxedUint, Pkcs1v15Sign, Pss};

use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

/// RustCrypto's RSA, with or without blinding.
pub(super) struct RustCrypto {
    pub(super) is_blinded: bool,
}

impl RustCrypto {
    fn name(&self) -> &'static str {
        if self.is_blinded {
            "rsa"
        } else {
            "rsa-unblinded"
        }
    }
}

impl Backend for RustCrypto {
    fn facts(&self) -> Facts {
        let mut caveats = vec![
            "keys with more than two primes work, without the Chinese remainder theorem".into(),
        ];
        if !self.is_blinded {
            caveats.push("for comparison only: do not sign like this".into());
        }
        Facts {
            name: self.name().into(),
            library: "rsa (RustCrypto)".into(),
            version: locked_version("rsa").into(),
            licence: "MIT OR Apache-2.0".into(),
            linkage: "rust".into(),
            blinding: if self.is_blinded {
                "base, exponent and modulus blinding from the system's random source"
            } else {
                "none; the exponentiation is constant-time"
            }
            .into(),
            fault_check: "every signature is verified".into(),
            algorithms: self.algorithms(),
            cpu_features: cpu::present(&["sha", "sha2"]),
            advisories: vec![
                "RUSTSEC-2023-0071 (Marvin) names every version as vulnerable; the crate's changelog calls it resolved in 0.10"
                    .into(),
            ],
            caveats,
            ..Facts::default()
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let sign = self.function(algorithm).ok_or(LoadError::Algorithm {
            backend: self.name(),
            algorithm,
        })?;
        let key = parsed(key).map_err(|reason| LoadError::Key {
            backend: self.name(),
            reason,
        })?;
        Ok(Arc::new(RsaSigner {
            key,
            sign,
            name: self.name(),
        }))
    }
}

impl RustCrypto {
    fn algorithms(&self) -> Vec<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.function(*algorithm).is_some())
            .collect()
    }

    /// Returns the function that signs, if there is one.
    fn function(&self, algorithm: Algorithm) -> Option<SignFn> {
        Some(match (algorithm, self.is_blinded) {
            (Algorithm::Rs256, true) => rsa::PrivateKey::pkcs1v15_sign::<Sha256>,
            (Algorithm::Rs384, true) => rsa::PrivateKey::pkcs1v15_sign::<Sha384>,
            (Algorithm::Rs512, true) => rsa::PrivateKey::pkcs1v15_sign::<Sha512>,
            (Algorithm::Rs256, false) => unblinded_pkcs1::<Sha256>,
            (Algorithm::Rs384, false) => unblinded_pkcs1::<Sha384>,
            (Algorithm::Rs512, false) => unblinded_pkcs1::<Sha512>,
            (Algorithm::Ps256, true) => rsa::PrivateKey::pss_sign::<Sha256>,
            (Algorithm::Ps384, true) => rsa::PrivateKey::pss_sign::<Sha384>,
            (Algorithm::Ps512, true) => rsa::PrivateKey::pss_sign::<Sha512>,
            (Algorithm::Ps256, false) => unblinded_pss::<Sha256>,
            (Algorithm::Ps384, false) => unblinded_pss::<Sha384>,
            (Algorithm::Ps512, false) => unblinded_pss::<Sha512>,
            _ => return None,
        })
    }
}

type SignFn = fn(&rsa::PrivateKey, &[u8]) -> rsa::Result<Vec<u8>>;

/// Parses a key, from its parts if it has more than two primes: the crate
/// signs with such a key and does not read it.
fn parsed(key: &PrivateKey) -> Result<rsa::PrivateKey, String> {
    let parts = key.rsa_components().ok_or("no RSA key")?;
    let Some(others) = &parts.other_prime_infos else {
        return rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).map_err(|error| error.to_string());
    };
    let size = u32::try_from(key.bits().next_multiple_of(8)).unwrap_or(u32::MAX);
    let number =
        |bytes: &[u8]| BoxedUint::from_be_slice(bytes, size).map_err(|error| error.to_string());
    let mut primes = vec![
        number(parts.prime1.as_bytes())?,
        number(parts.prime2.as_bytes())?,
    ];
    for other in others {
        primes.push(number(other.prime.as_bytes())?);
    }
    rsa::PrivateKey::from_components(
        number(parts.modulus.as_bytes())?,
        BoxedUint::from_be_slice_vartime(parts.public_exponent.as_bytes()),
        number(parts.private_exponent.as_bytes())?,
        primes,
    )
    .map_err(|error| error.to_string())
}

/// Signs without giving the crate anything to blind with.
fn unblinded_pkcs1<D>(key: &rsa::PrivateKey, message: &[u8]) -> rsa::Result<Vec<u8>>
where
    D: Digest + AssociatedOid,
{
    Pkcs1v15Sign::new::<D>().sign(None::<&mut SysRng>, key, &D::digest(message))
}

/// Signs with a random salt and without blinding.
fn unblinded_pss<D>(key: &rsa::PrivateKey, message: &[u8]) -> rsa::Result<Vec<u8>>
where
    D: Digest + FixedOutputReset,
{
    let mut scheme = Pss::<D>::new();
    scheme.blinded = false;
    scheme.sign(Some(&mut SysRng), key, &D::digest(message))
}

struct RsaSigner {
    key: rsa::PrivateKey,
    sign: SignFn,
    name: &'static str,
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.key.size()
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.signature_len())?;
        let made = (self.sign)(&self.key, message)
            .map_err(|_| SignError::Backend { backend: self.name })?;
        signature.copy_from_slice(&made);
        Ok(())
    }
}
