//! The `openssl` backend: the system's OpenSSL, or one that is built along.
//!
//! The key object is shared and the signing context is kept, one for each
//! thread that signs at once: that is the fastest that OpenSSL offers.

use std::sync::Arc;

use openssl::hash::{MessageDigest, hash};
use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

use super::pool::Pool;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
    cpu,
};

const NAME: &str = "openssl";

pub(super) struct OpenSsl;

impl Backend for OpenSsl {
    fn facts(&self) -> Facts {
        // 3.0 has the IFMA code for 2048-bit keys alone (number 0xMNNFFPPS).
        let is_old = openssl::version::number() < 0x3010_0000;
        let mut caveats =
            vec!["keeps one signing context for each thread that signs at once".into()];
        if is_old {
            caveats.push(
                "below 3.1 it has no AVX-512 IFMA code for 3072 and 4096 bits, and threads share the key's blinding under a lock".into(),
            );
        }
        caveats.extend(cpu::mask_caveat());
        Facts {
            name: NAME.into(),
            library: openssl::version::version().into(),
            version: openssl::version::version()
                .split(' ')
                .nth(1)
                .unwrap_or("unknown")
                .into(),
            licence: "Apache-2.0".into(),
            linkage: if cfg!(feature = "openssl-vendored") {
                "static C and assembly"
            } else {
                "system library"
            }
            .into(),
            blinding: "base blinding, kept and updated per key".into(),
            fault_check: "every CRT result is checked; on a mismatch it computes without CRT"
                .into(),
            algorithms: Algorithm::ALL
                .into_iter()
                .filter(|algorithm| Scheme::of(*algorithm).is_some())
                .collect(),
            cpu_features: cpu::present(&[
                "bmi2",
                "adx",
                "avx",
                "avx2",
                "avx512vl",
                "avx512dq",
                "avx512ifma",
                "sha",
                "neon",
                "sha2",
            ]),
            caveats,
            ..Facts::default()
        }
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let scheme = Scheme::of(algorithm).ok_or(LoadError::Algorithm {
            backend: NAME,
            algorithm,
        })?;
        let key =
            PKey::private_key_from_pkcs8(key.pkcs8_der()).map_err(|error| LoadError::Key {
                backend: NAME,
                reason: error.to_string(),
            })?;
        Ok(Arc::new(RsaSigner {
            len: key.size(),
            key,
            scheme,
            contexts: Pool::new(),
        }))
    }
}

/// A hash and whether it is padded by PSS.
struct Scheme {
    digest: MessageDigest,
    md: &'static MdRef,
    is_pss: bool,
}

impl Scheme {
    fn of(algorithm: Algorithm) -> Option<Self> {
        let (digest, md) = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => (MessageDigest::sha256(), Md::sha256()),
            Algorithm::Rs384 | Algorithm::Ps384 => (MessageDigest::sha384(), Md::sha384()),
            Algorithm::Rs512 | Algorithm::Ps512 => (MessageDigest::sha512(), Md::sha512()),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
        };
        Some(Self {
            digest,
            md,
            is_pss: matches!(
                algorithm,
                Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512
            ),
        })
    }
}

struct RsaSigner {
    key: PKey<Private>,
    scheme: Scheme,
    contexts: Pool<PkeyCtx<Private>>,
    len: usize,
}

impl RsaSigner {
    fn context(&self) -> Result<PkeyCtx<Private>, openssl::error::ErrorStack> {
        let mut context = PkeyCtx::new(&self.key)?;
        context.sign_init()?;
        if self.scheme.is_pss {
            context.set_rsa_padding(Padding::PKCS1_PSS)?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
            context.set_rsa_mgf1_md(self.scheme.md)?;
        } else {
            context.set_rsa_padding(Padding::PKCS1)?;
        }
        context.set_signature_md(self.scheme.md)?;
        Ok(context)
    }
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let written = self
            .contexts
            .with(
                || self.context(),
                |context| {
                    let digest = hash(self.scheme.digest, message)?;
                    context.sign(&digest, Some(&mut *signature))
                },
            )
            .map_err(|_| SignError::Backend { backend: NAME })?;
        if written == self.len {
            Ok(())
        } else {
            Err(SignError::Backend { backend: NAME })
        }
    }
}
