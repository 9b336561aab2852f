//! The embedded broker, dressed as each provider, against each profile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{AppRegistration, Broker, BrokerConfig, Dress, Provider};
use mintmark::credential::{Credential, PassphraseSource, Source, load};
use mintmark::load::assertions::Mode;
use mintmark::load::open::{OpenMeasured, OpenPlan, run_open};
use mintmark::load::population::{Member, Population};
use mintmark::load::transport::Kind;
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, PrivateKey, Registry};
use mintmark::token::App;

use super::{CONFIG, counts, plan};

/// What a user of the provider would set.
fn variables(provider: Provider) -> BTreeMap<String, String> {
    let pairs: &[(&str, &str)] = match provider {
        Provider::Okta => &[("domain", "okta.example")],
        Provider::Auth0 => &[("domain", "tenant.auth0.example"), ("api", "https://api/")],
        Provider::Entra => &[("tenant", "tenant"), ("thumbprint", "dGh1bWI")],
        Provider::GitHub => &[("installation", "7")],
        _ => &[],
    };
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn algorithm(provider: Provider) -> Algorithm {
    match provider {
        Provider::Entra | Provider::Auth0 => Algorithm::Ps256,
        _ => Algorithm::Rs256,
    }
}

fn credential() -> (Credential, PrivateKey) {
    let (credential, _) = load(&Source::Config {
        path: CONFIG.into(),
        passphrase: PassphraseSource::Config,
    })
    .unwrap();
    let key = credential.key.open().unwrap();
    (credential, key)
}

fn dressed_as(provider: Provider) -> Broker {
    let (credential, key) = credential();
    let public = key.public_key().unwrap().clone();
    let secret = credential.client_secret.as_ref().unwrap().expose();
    Broker::start(BrokerConfig {
        apps: vec![
            AppRegistration::new(&credential.client_id, secret, "1")
                .with_key("m4x7tq2e", public.clone()),
        ],
        dress: Some(Dress {
            provider,
            keys: vec![(credential.client_id, public)],
        }),
        ..BrokerConfig::default()
    })
    .unwrap()
}

/// Asks a broker as a client of `provider` does; `change` spoils the app.
fn ask(
    broker: &Broker,
    provider: Provider,
    kind: Kind,
    requests: u64,
    change: impl Fn(App) -> App,
) -> OpenMeasured {
    let (credential, key) = credential();
    let url = broker.dressed_url().unwrap();
    let profile = Profile::built_in(provider.profile()).unwrap();
    let algorithm = algorithm(provider);
    let app = App::new(&credential, &profile, &variables(provider), algorithm, &url).unwrap();
    let registry = Registry::compiled();
    let signer = registry.get("aws-lc-rs").unwrap().load(&key, algorithm);
    let population = Arc::new(Population::new(
        vec![Member {
            app: change(app),
            signer: signer.unwrap(),
            subjects: [Subject::user("1000000")].into(),
            weight: 1.0,
        }],
        None,
        1,
    ));
    let plan = OpenPlan {
        count: Some(requests),
        transport: kind,
        signing: Mode::Inline,
        token_field: profile.response.token,
        ..plan(100.0, Duration::from_millis(10 * requests))
    };
    let stop = AtomicBool::new(false);
    run_open(&plan, &url, &population, &[], &stop, |_| ()).unwrap()
}

#[test]
fn each_profile_suits_the_broker_dressed_as_its_provider() {
    for provider in Provider::ALL {
        let broker = dressed_as(provider);
        for kind in [Kind::Lean, Kind::Hyper] {
            let measured = ask(&broker, provider, kind, 5, |app| app);
            assert_eq!(
                measured.accounts.answered,
                5,
                "{provider:?}: {:?}",
                counts(&measured)
            );
        }
        assert_eq!(broker.stats().granted, 10, "{provider:?}");
    }
}

#[test]
fn no_profile_suits_another_provider() {
    for dressed in Provider::ALL {
        let broker = dressed_as(dressed);
        for provider in Provider::ALL.into_iter().filter(|one| *one != dressed) {
            let measured = ask(&broker, provider, Kind::Lean, 1, |app| app);
            assert_eq!(measured.accounts.answered, 0, "{provider:?} at {dressed:?}");
        }
        assert_eq!(broker.stats().granted, 0, "{dressed:?}");
    }
}

#[test]
fn no_assertion_lives_longer_than_its_provider_lets_it() {
    for (provider, longest_s) in [
        (Provider::Box, 60),
        (Provider::Google, 3_600),
        (Provider::Salesforce, 180),
        (Provider::DocuSign, 3_600),
        (Provider::Okta, 3_600),
        (Provider::Auth0, 300),
        (Provider::Entra, 600),
        (Provider::GitHub, 600),
    ] {
        let broker = dressed_as(provider);
        for (life_s, answered) in [(longest_s - 5, 1), (longest_s + 90, 0)] {
            let measured = ask(&broker, provider, Kind::Lean, 1, |app| {
                app.with_lifetime(Duration::from_secs(life_s))
            });
            assert_eq!(
                measured.accounts.answered, answered,
                "{provider:?}, {life_s} s"
            );
        }
    }
}
