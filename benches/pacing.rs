//! How late is a request sent, and is the rate kept, from 1,000 to 100,000 a
//! second against a target that does nothing?
//!
//! One thread sends, another answers; an assertion is repeated, so that
//! nothing is signed. The lag is that from the intended start until the
//! generator noticed, the send that until the request was in the kernel.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::credential::{PassphraseSource, Source, load};
use mintmark::load::arrival::{Arrival, Rate, Spacing};
use mintmark::load::assertions::Mode;
use mintmark::load::calibrate::NullTarget;
use mintmark::load::open::{Model, OpenPlan, merged, run_open};
use mintmark::load::population::{Member, Population};
use mintmark::oauth::Profile;
use mintmark::record::{Packed, Stages};
use mintmark::signer::{Algorithm, Registry};
use mintmark::token::App;

fn main() {
    let population = population();
    let seconds = std::env::var("SECONDS_EACH").map_or(3, |text| text.parse().unwrap());
    let measure = Duration::from_secs(seconds);
    println!(
        "{:>9} {:>8} {:>22} {:>22} {:>10} {:>8}",
        "rate/s", "spacing", "lag p50/p90/p99 µs", "send p50/p90/p99 µs", "rate error", "CPU"
    );
    for per_s in [1_000.0, 5_000.0, 20_000.0, 50_000.0, 100_000.0] {
        for spacing in [Spacing::Even, Spacing::Poisson] {
            let target = NullTarget::start().unwrap();
            let plan = OpenPlan {
                connections: 64,
                warm_up: Duration::from_millis(500),
                measure,
                drain: Duration::from_secs(2),
                slice: measure,
                signing: Mode::Repeat,
                ..OpenPlan::new(Model::Open(Arrival::Drawn {
                    rate: Rate::constant(per_s, measure).after_warm_up(Duration::from_millis(500)),
                    spacing,
                    seed: 1,
                }))
            };
            let stop = AtomicBool::new(false);
            let url = target.url();
            let measured = run_open(&plan, &url, &population, &[], &stop, |_| ()).unwrap();
            let of = |part: fn(&Stages) -> &Packed| {
                let all = merged(measured.outcomes.iter().map(|of| part(&of.stages)));
                let at = |q| all.quantile(q).unwrap_or_default().as_secs_f64() * 1e6;
                [at(0.5), at(0.9), at(0.99)]
            };
            let (lag, wait) = (of(|s| &s.generator_lag), of(|s| &s.connection_wait));
            let three = |v: [f64; 3]| format!("{:.0}/{:.0}/{:.0}", v[0], v[1], v[2]);
            let error = measured.sent_per_s / measured.offered_per_s - 1.0;
            println!(
                "{per_s:>9} {:>8} {:>22} {:>22} {:>9.3}% {:>7.0}%",
                format!("{spacing:?}").to_lowercase(),
                three(lag),
                three([lag[0] + wait[0], lag[1] + wait[1], lag[2] + wait[2]]),
                error * 100.0,
                measured.cpu.client_ns as f64 / measured.phases.measured_ns as f64 * 100.0
            );
        }
    }
}

fn population() -> Arc<Population> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/keys/app-config.json"
    );
    let (credential, _) = load(&Source::Config {
        path: path.into(),
        passphrase: PassphraseSource::Config,
    })
    .unwrap();
    let app = App::new(
        &credential,
        &Profile::built_in("box").unwrap(),
        &BTreeMap::new(),
        Algorithm::Rs256,
        "http://127.0.0.1/oauth2/token",
    )
    .unwrap();
    let key = credential.key.open().unwrap();
    let signer = Registry::compiled()
        .get("aws-lc-rs")
        .unwrap()
        .load(&key, Algorithm::Rs256)
        .unwrap();
    Arc::new(Population::new(
        vec![Member {
            app,
            signer,
            subjects: [Subject::user("1000000")].into(),
            weight: 1.0,
        }],
        None,
        1,
    ))
}
