//! Which key signs an app's assertions, and when is an old one gone?
//!
//! A [`KeyRing`] holds the keys of one app: the current one, which is read
//! without a lock, and those that were replaced and still have users. A user
//! holds a key from before it signs until it has its answer, so that the
//! endpoint may drop the public half as soon as [`Retired::gone`] has
//! returned. A [`KeyStore`] finds rings by app.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::signing_key::{Fate, SigningKey};

/// The keys of one app.
pub struct KeyRing {
    current: ArcSwap<SigningKey>,
    /// Keys that were replaced, as far as they still have users.
    former: Mutex<Vec<Weak<SigningKey>>>,
}

impl KeyRing {
    /// Makes a ring of one key.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self {
            current: ArcSwap::from_pointee(key),
            former: Mutex::new(Vec::new()),
        }
    }

    /// Returns the key to sign with. Hold it until the endpoint has answered.
    ///
    /// It takes no lock: a counter goes up, and down when the key is dropped.
    #[must_use]
    pub fn current(&self) -> Arc<SigningKey> {
        self.current.load_full()
    }

    /// Returns the key with this ID, if it is current or still has users.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<Arc<SigningKey>> {
        let current = self.current();
        if current.kid() == Some(kid) {
            return Some(current);
        }
        self.former
            .lock()
            .iter()
            .rev()
            .filter_map(Weak::upgrade)
            .find(|key| key.kid() == Some(kid))
    }

    /// Signs with `key` from now on and lets the users of the one before
    /// finish.
    ///
    /// The endpoint has to know the new public key before this, and the old
    /// one until [`Retired::gone`].
    pub fn rotate(&self, key: SigningKey) -> Retired {
        let former = self.current.swap(Arc::new(key));
        let mut list = self.former.lock();
        list.retain(|key| key.strong_count() > 0);
        list.push(Arc::downgrade(&former));
        drop(list);
        Retired {
            kid: former.kid().map(str::to_owned),
            fate: Arc::clone(former.fate()),
        }
    }

    /// Returns how many replaced keys still have users.
    #[must_use]
    pub fn draining(&self) -> usize {
        let mut list = self.former.lock();
        list.retain(|key| key.strong_count() > 0);
        list.len()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

/// A key that was replaced, seen from afar: this does not keep it alive.
#[derive(Clone)]
pub struct Retired {
    kid: Option<String>,
    fate: Arc<Fate>,
}

impl Retired {
    /// Returns the key's ID.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Has the last user let go of the key?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.fate.is_gone()
    }

    /// Waits until the last user has let go of the key, and its signer with
    /// it.
    pub async fn gone(&self) {
        self.fate.gone().await;
    }
}

impl fmt::Debug for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retired")
            .field("kid", &self.kid)
            .field("is_gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

/// The rings of several apps.
#[derive(Default)]
pub struct KeyStore {
    /// Looked into when a client is made, not when it signs.
    rings: RwLock<HashMap<String, Arc<KeyRing>>>,
}

impl KeyStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `key` the current one of the app, whose ring is returned.
    pub fn put(&self, app: &str, key: SigningKey) -> Arc<KeyRing> {
        let mut rings = self.rings.write();
        if let Some(ring) = rings.get(app) {
            ring.rotate(key);
            return Arc::clone(ring);
        }
        let ring = Arc::new(KeyRing::new(key));
        rings.insert(app.to_owned(), Arc::clone(&ring));
        ring
    }

    /// Returns the ring of an app, by its client ID.
    #[must_use]
    pub fn ring(&self, app: &str) -> Option<Arc<KeyRing>> {
        self.rings.read().get(app).cloned()
    }

    /// Returns a key by app and ID, if it is current or still has users.
    #[must_use]
    pub fn get(&self, app: &str, kid: &str) -> Option<Arc<SigningKey>> {
        self.ring(app)?.get(kid)
    }

    /// Removes an app; its key goes with the last user of the ring.
    pub fn remove(&self, app: &str) -> Option<Arc<KeyRing>> {
        self.rings.write().remove(app)
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.rings.read().iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::signer::{Algorithm, SignError, Signer};

    /// Says when it is dropped.
    struct Told(Arc<AtomicBool>);

    impl Signer for Told {
        fn signature_len(&self) -> usize {
            0
        }

        fn sign(&self, _: &[u8], _: &mut [u8]) -> Result<(), SignError> {
            Ok(())
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn key(kid: &str) -> (SigningKey, Arc<AtomicBool>) {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let signer = Arc::new(Told(Arc::clone(&is_dropped)));
        let key = SigningKey::of_signer(signer, Some(kid), Algorithm::Rs256);
        (key, is_dropped)
    }

    #[tokio::test]
    async fn a_replaced_key_lives_until_its_last_user_lets_go() {
        let (first, is_dropped) = key("one");
        let ring = KeyRing::new(first);
        let user = ring.current();
        let retired = ring.rotate(key("two").0);
        assert_eq!(ring.current().kid(), Some("two"));
        assert_eq!(retired.kid(), Some("one"));
        assert!(!retired.is_gone());
        assert_eq!(ring.draining(), 1);
        assert_eq!(ring.get("one").unwrap().kid(), Some("one"));

        let waiting = {
            let retired = retired.clone();
            tokio::spawn(async move { retired.gone().await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(!is_dropped.load(Ordering::SeqCst));
        drop(user);
        waiting.await.unwrap();
        assert!(is_dropped.load(Ordering::SeqCst));
        assert!(ring.get("one").is_none());
        assert_eq!(ring.draining(), 0);
        retired.gone().await;
    }

    #[test]
    fn a_key_without_users_goes_when_it_is_replaced() {
        let (first, is_dropped) = key("one");
        let ring = KeyRing::new(first);
        assert!(ring.rotate(key("two").0).is_gone());
        assert!(is_dropped.load(Ordering::SeqCst));
    }

    #[test]
    fn keys_are_found_by_app_and_id() {
        let store = KeyStore::new();
        store.put("a", key("1").0);
        let ring = store.put("b", key("1").0);
        let held = ring.current();
        assert!(Arc::ptr_eq(&ring, &store.put("b", key("2").0)));
        assert!(store.get("a", "1").is_some());
        assert!(store.get("a", "2").is_none());
        assert!(Arc::ptr_eq(&store.get("b", "1").unwrap(), &held));
        assert!(store.get("b", "2").is_some());
        assert!(store.ring("c").is_none());
        assert!(store.remove("a").is_some());
        assert!(store.get("a", "1").is_none());
    }
}
