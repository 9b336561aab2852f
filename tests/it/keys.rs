//! Keys made for tests, once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mintmark::credential::generate::{RsaBits, rsa_key};
use mintmark::signer::PrivateKey;

/// Returns the RSA key of a usual size that all tests share.
pub fn rsa(bits: usize) -> Arc<PrivateKey> {
    static KEYS: Mutex<Option<HashMap<usize, Arc<PrivateKey>>>> = Mutex::new(None);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = keys.get_or_insert_with(HashMap::new);
    Arc::clone(keys.entry(bits).or_insert_with(|| {
        let der = rsa_key(RsaBits::try_from(bits).unwrap()).unwrap();
        Arc::new(PrivateKey::from_pkcs8_der(&der).unwrap())
    }))
}

/// Reads a key from `tests/fixtures/backends`.
pub fn fixture(name: &str) -> Arc<PrivateKey> {
    let path = format!(
        "{}/tests/fixtures/backends/{name}.pk8",
        env!("CARGO_MANIFEST_DIR")
    );
    let der = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Arc::new(PrivateKey::from_pkcs8_der(&der).unwrap())
}

/// Returns the public half as verification takes it.
pub fn public_half(key: &PrivateKey) -> Vec<u8> {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    if let Some(public) = key.public_key() {
        return public.inner().to_vec();
    }
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.pkcs8_der()).unwrap();
    pair.public_key().as_ref().to_vec()
}
