//! Keys: replaced under load and from files, gone with their last user.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{AppRegistration, Broker, BrokerConfig};
use mintmark::clock::SystemClock;
use mintmark::credential::generate::{RsaBits, rsa_key};
use mintmark::credential::{Credential, PassphraseSource, SealedKey, Source, plain};
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, Backend, MintConfig, PrivateKey, Registry};
use mintmark::token::{
    App, Change, Client, Exchange, KeyFile, KeyRing, KeyStore, Retry, SigningKey,
};
use zeroize::Zeroizing;

const CLIENT: &str = "client0a";

fn backend(name: &str) -> Arc<dyn Backend> {
    Arc::clone(Registry::compiled().get(name).unwrap())
}

fn loaded(key: &PrivateKey, kid: &str) -> SigningKey {
    SigningKey::load(key, Some(kid), &*backend("aws-lc-rs"), Algorithm::Rs256).unwrap()
}

fn fresh_key() -> PrivateKey {
    PrivateKey::from_pkcs8_der(&rsa_key(RsaBits::B2048).unwrap()).unwrap()
}

fn pem(key: &PrivateKey) -> String {
    plain(key.pkcs8_der()).expose().to_owned()
}

/// A client of an app that signs with the keys of `ring`.
fn client(broker: &Broker, ring: Arc<KeyRing>) -> Client {
    let credential = Credential {
        client_id: CLIENT.into(),
        client_secret: Some("secret".into()),
        key_id: None,
        enterprise_id: Some("900100".into()),
        user_id: None,
        token_url: None,
        key: SealedKey::new(Zeroizing::new(pem(&fresh_key()).into_bytes()), None).unwrap(),
    };
    let profile = Profile::built_in("box").unwrap();
    let url = broker.token_url();
    let app = App::new(
        &credential,
        &profile,
        &BTreeMap::new(),
        Algorithm::Rs256,
        &url,
    )
    .unwrap();
    let exchange = Exchange::new(&url, app.form().clone(), Duration::from_secs(20)).unwrap();
    Client::with_keys(
        app,
        exchange,
        ring,
        Arc::new(SystemClock::new()),
        Retry::NEVER,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_under_load_without_a_failed_request() {
    replace_under_load(|key| key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_behind_mints_are_replaced_under_load_without_a_failed_request() {
    replace_under_load(|key| key.minted(MintConfig::with_threads(1)).unwrap()).await;
}

async fn replace_under_load(as_used: impl Fn(SigningKey) -> SigningKey) {
    let keys: Vec<PrivateKey> = (0..4).map(|_| fresh_key()).collect();
    let mut app = AppRegistration::new(CLIENT, "secret", "900100");
    for (number, key) in keys.iter().enumerate() {
        app = app.with_key(format!("key{number}"), key.public_key().unwrap().clone());
    }
    let broker = Broker::start(BrokerConfig {
        apps: vec![app],
        ..BrokerConfig::default()
    })
    .unwrap();
    let store = KeyStore::new();
    let ring = store.put(CLIENT, as_used(loaded(&keys[0], "key0")));
    let client = Arc::new(client(&broker, Arc::clone(&ring)));
    let stop = Arc::new(AtomicBool::new(false));
    let fetched = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            let fetched = Arc::clone(&fetched);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.fetch(&Subject::enterprise("900100")).await.unwrap();
                    fetched.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for (number, key) in keys.iter().enumerate().skip(1) {
        // Each key signs for a while.
        let until = fetched.load(Ordering::Relaxed) + 20;
        while fetched.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let retired = ring.rotate(as_used(loaded(key, &format!("key{number}"))));
        tokio::time::timeout(Duration::from_secs(20), retired.gone())
            .await
            .expect("the old key is let go");
        assert_eq!(ring.draining(), 0);
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let stats = broker.stats();
    assert_eq!(stats.refused_total(), 0);
    assert_eq!(stats.granted, fetched.load(Ordering::Relaxed));
    assert_eq!(store.get(CLIENT, "key3").unwrap().kid(), Some("key3"));
}

fn source(path: &Path) -> Source {
    Source::Key {
        path: path.to_owned(),
        passphrase: PassphraseSource::None,
        client_id: CLIENT.into(),
        client_secret: None,
        key_id: Some("only".into()),
        enterprise_id: None,
        user_id: None,
    }
}

#[test]
fn a_new_key_in_the_file_replaces_the_old_one_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let (first, second) = (fresh_key(), fresh_key());
    fs::write(&path, pem(&first)).unwrap();
    let ring = Arc::new(KeyRing::new(loaded(&first, "only")));
    let mut file = KeyFile::new(
        source(&path),
        Arc::clone(&ring),
        backend("aws-lc-rs"),
        Algorithm::Rs256,
    );
    assert!(file.check().unwrap().is_none());
    let text = pem(&second);
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(file.check().is_err());
    assert_eq!(
        ring.current().fingerprint(),
        Some(&first.public_key().unwrap().fingerprint())
    );
    // Moved into place, as careful programs write.
    let whole = folder.path().join("new.pem");
    fs::write(&whole, &text).unwrap();
    fs::rename(&whole, &path).unwrap();
    let Some(Change::Rotated { kid, retired }) = file.check().unwrap() else {
        panic!("the new key is not seen");
    };
    assert_eq!(kid.as_deref(), Some("only"));
    assert!(retired.is_gone());
    assert_eq!(
        ring.current().fingerprint(),
        Some(&second.public_key().unwrap().fingerprint())
    );
    assert!(file.check().unwrap().is_none());
    fs::remove_file(&path).unwrap();
    assert!(file.check().is_err());
}

#[test]
fn a_watch_tells_of_each_change_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let (first, second) = (fresh_key(), fresh_key());
    fs::write(&path, "nonsense").unwrap();
    let ring = Arc::new(KeyRing::new(loaded(&first, "only")));
    let file = KeyFile::new(
        source(&path),
        Arc::clone(&ring),
        backend("aws-lc-rs"),
        Algorithm::Rs256,
    );
    let (tell, told) = mpsc::channel();
    let watch = file
        .watch(Duration::from_millis(2), move |change| {
            let _ = tell.send(change);
        })
        .unwrap();
    let patience = Duration::from_secs(30);
    assert!(matches!(
        told.recv_timeout(patience).unwrap(),
        Change::Unusable(_)
    ));
    let whole = folder.path().join("new.pem");
    fs::write(&whole, pem(&second)).unwrap();
    fs::rename(&whole, &path).unwrap();
    assert!(matches!(
        told.recv_timeout(patience).unwrap(),
        Change::Rotated { .. }
    ));
    drop(watch);
    assert!(told.recv().is_err(), "it told more than once");
}
