//! The load engine against targets that misbehave on purpose.

mod around;
mod dressed;
mod faults;
mod memory;
mod profiles;
mod proofs;
mod scenarios;
mod searches;
mod secure;
pub mod target;
mod transports;
mod ways;
mod workloads;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::credential::{PassphraseSource, Source, load};
use mintmark::load::arrival::{Arrival, Rate, Spacing};
use mintmark::load::assertions::Mode;
use mintmark::load::open::{Model, OpenMeasured, OpenPlan, run_open};
use mintmark::load::population::{Member, Population};
use mintmark::load::transport::Limits;
use mintmark::oauth::Profile;
use mintmark::record::Histogram;
use mintmark::signer::{Algorithm, Registry};
use mintmark::token::App;

/// An app of the fixtures, whose key is opened once.
const CONFIG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/keys/app-config.json"
);

fn population() -> Arc<Population> {
    static POPULATION: OnceLock<Arc<Population>> = OnceLock::new();
    Arc::clone(POPULATION.get_or_init(|| population_of("box", &BTreeMap::new())))
}

/// The app with another provider's profile.
fn population_of(profile: &str, variables: &BTreeMap<String, String>) -> Arc<Population> {
    let (credential, _) = load(&Source::Config {
        path: CONFIG.into(),
        passphrase: PassphraseSource::Config,
    })
    .unwrap();
    let app = App::new(
        &credential,
        &Profile::built_in(profile).unwrap(),
        variables,
        Algorithm::Rs256,
        "http://127.0.0.1/oauth2/token",
    )
    .unwrap();
    let key = credential.key.open().unwrap();
    let registry = Registry::compiled();
    let member = Member {
        app,
        signer: registry
            .get("aws-lc-rs")
            .unwrap()
            .load(&key, Algorithm::Rs256)
            .unwrap(),
        subjects: [Subject::user("1000000")].into(),
        weight: 1.0,
    };
    Arc::new(Population::new(vec![member], None, 1))
}

/// A short load at an even rate; nothing is signed twice.
fn plan(per_s: f64, measure: Duration) -> OpenPlan {
    OpenPlan {
        connections: 8,
        warm_up: Duration::ZERO,
        measure,
        drain: Duration::from_secs(20),
        slice: Duration::from_millis(200),
        limits: Limits::each(Duration::from_secs(20)),
        signing: Mode::Repeat,
        ..OpenPlan::new(Model::Open(Arrival::Drawn {
            rate: Rate::constant(per_s, measure),
            spacing: Spacing::Even,
            seed: 1,
        }))
    }
}

fn run(plan: &OpenPlan, url: &str) -> OpenMeasured {
    let stop = AtomicBool::new(false);
    let measured = run_open(plan, url, &population(), &[], &stop, |_| ()).unwrap();
    assert!(measured.accounts.balance(), "{:?}", measured.accounts);
    measured
}

fn counts(measured: &OpenMeasured) -> BTreeMap<String, u64> {
    measured
        .outcomes
        .iter()
        .map(|of| (of.outcome.clone(), of.count))
        .collect()
}

/// The parts of the time of all requests, whatever their outcome.
fn all(
    measured: &OpenMeasured,
    of: fn(&mintmark::record::Stages) -> &mintmark::record::Packed,
) -> Histogram {
    mintmark::load::open::merged(measured.outcomes.iter().map(|outcome| of(&outcome.stages)))
}
