//! The cache in front of a real endpoint.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{
    AppRegistration, Behaviour, Broker, BrokerConfig, RateLimit, UserRegistration,
};
use mintmark::clock::{Clock, ManualClock};
use mintmark::credential::AppConfig;
use mintmark::oauth::{Profile, REVOKE_PATH};
use mintmark::signer::{Algorithm, Registry};
use mintmark::token::{
    App, Cache, CacheError, Client, Clients, Exchange, FetchError, Policy, Purpose, Retry, Token,
};

use crate::stage::generated_app;

/// Users of every app of these tests.
const USERS: [&str; 3] = ["3000001", "3000002", "3000003"];

struct Stage {
    broker: Broker,
    apps: Vec<AppConfig>,
    clock: Arc<ManualClock>,
}

impl Stage {
    fn new(apps: usize, behaviour: Behaviour) -> Self {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(1_800_000_000)));
        let apps: Vec<AppConfig> = (0..apps).map(|_| generated_app()).collect();
        let registrations = apps.iter().map(|app| {
            let key = app.credential().unwrap().key.open().unwrap();
            AppRegistration::new(
                &app.client_id,
                app.client_secret.expose(),
                app.enterprise_id.as_deref().unwrap(),
            )
            .with_key(&app.public_key_id, key.public_key().unwrap().clone())
        });
        let broker = Broker::start(BrokerConfig {
            apps: registrations.collect(),
            users: USERS
                .iter()
                .map(|id| UserRegistration::of_app(*id, &apps[0].client_id))
                .collect(),
            behaviour,
            clock: Arc::clone(&clock) as _,
            ..BrokerConfig::default()
        })
        .unwrap();
        Self {
            broker,
            apps,
            clock,
        }
    }

    fn client(&self, app: usize) -> Client {
        let credential = self.apps[app].credential().unwrap();
        let url = self.broker.token_url();
        let bound = App::new(
            &credential,
            &Profile::built_in("box").unwrap(),
            &BTreeMap::new(),
            Algorithm::Rs256,
            &url,
        )
        .unwrap();
        let exchange = Exchange::new(&url, bound.form().clone(), Duration::from_secs(20)).unwrap();
        let signer = Registry::compiled()
            .get("aws-lc-rs")
            .unwrap()
            .load(&credential.key.open().unwrap(), Algorithm::Rs256)
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Client::new(bound, exchange, signer, clock, Retry::NEVER)
            .with_revocation(format!("{}{REVOKE_PATH}", self.broker.url()))
    }

    fn cache(&self) -> (Cache<Client>, Purpose) {
        let client = self.client(0);
        let purpose = client.purpose().clone();
        let cache = Cache::builder(client)
            .clock(Arc::clone(&self.clock) as _)
            .policy(Policy {
                jitter: 0.0,
                ..Policy::default()
            })
            .build();
        (cache, purpose)
    }

    async fn works(&self, token: &Token) -> bool {
        reqwest::Client::new()
            .get(format!("{}/2.0/users/me", self.broker.url()))
            .bearer_auth(token.expose())
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_elsewhere_costs_one_request_more() {
    let stage = Stage::new(1, Behaviour::default());
    let (cache, purpose) = stage.cache();
    let subject = Subject::user(USERS[0]);
    let token = Arc::clone(cache.get(&purpose, &subject).await.unwrap().token());
    assert!(stage.works(&token).await);
    stage.client(0).revoke(&token).await.unwrap();
    assert!(!stage.works(&token).await);
    // It was in use for a while; else a pause would follow.
    stage.clock.advance(Duration::from_secs(60));
    // Many workers hear of it with the same token.
    for _ in 0..20 {
        cache.refuse(&purpose, &subject, &token);
        let next = cache.get(&purpose, &subject).await.unwrap();
        assert!(stage.works(&next).await);
    }
    assert_eq!(stage.broker.stats().granted, 2);
}

#[tokio::test]
async fn what_the_cache_revokes_is_revoked_at_the_endpoint() {
    let stage = Stage::new(1, Behaviour::default());
    let (cache, purpose) = stage.cache();
    let subject = Subject::user(USERS[0]);
    let token = Arc::clone(cache.get(&purpose, &subject).await.unwrap().token());
    cache.revoke(&purpose, &subject).await.unwrap();
    assert!(!stage.works(&token).await);
    let next = cache.get(&purpose, &subject).await.unwrap();
    assert!(stage.works(&next).await);
    // A subject without a token has nothing to revoke.
    cache
        .revoke(&purpose, &Subject::user("4000000"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_pause_gets_it() {
    let one = NonZeroU32::MIN;
    let stage = Stage::new(
        1,
        Behaviour {
            rate_limit: Some(RateLimit {
                per_s: one,
                burst: one,
            }),
            ..Behaviour::default()
        },
    );
    let (cache, purpose) = stage.cache();
    let subject = |i: usize| Subject::user(USERS[i]);
    cache.get(&purpose, &subject(0)).await.unwrap();
    let error = cache.get(&purpose, &subject(1)).await.unwrap_err();
    let CacheError::Fetch(error) = error else {
        panic!("{error:?}");
    };
    let FetchError::Refused {
        retry_after: Some(after),
        ..
    } = &*error
    else {
        panic!("{error:?}");
    };
    let asked = stage.broker.stats().requests;
    for _ in 0..50 {
        assert!(cache.get(&purpose, &subject(1)).await.is_err());
        // Others are not held back by it.
        assert!(cache.get(&purpose, &subject(0)).await.is_ok());
    }
    assert_eq!(stage.broker.stats().requests, asked);
    stage.clock.advance(*after);
    cache.get(&purpose, &subject(1)).await.unwrap();
    assert_eq!(stage.broker.stats().requests, asked + 1);
}

#[tokio::test]
async fn several_apps_share_a_cache() {
    let stage = Stage::new(2, Behaviour::default());
    let (first, second) = (stage.client(0), stage.client(1));
    let purposes = [first.purpose().clone(), second.purpose().clone()];
    assert_ne!(purposes[0], purposes[1]);
    let cache = Cache::new(Clients::new().with(first).with(second));
    for (app, purpose) in stage.apps.iter().zip(&purposes) {
        let enterprise = Subject::enterprise(app.enterprise_id.clone().unwrap());
        let token = cache.get(purpose, &enterprise).await.unwrap();
        assert!(stage.works(&token).await);
    }
    let unknown = purposes[0].clone().with_scopes(["more"]);
    let error = cache
        .get(&unknown, &Subject::user(USERS[0]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CacheError::Fetch(error) if matches!(**error, FetchError::Purpose(_))),
        "{error:?}"
    );
    assert_eq!(stage.broker.stats().granted, 2);
}
