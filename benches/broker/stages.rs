//! Where does the time of a request go, without HTTP?
//!
//! Three stages of the same request, in this process and on one thread: the
//! bare RSA verification, the strict parser with it, and the whole grant from
//! the form to the access token. HTTP is not in any of them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use mintmark::broker::admission::VerifyingKey;
use mintmark::broker::form::Form;
use mintmark::broker::grant::Grants;
use mintmark::broker::jose::{Compact, MAX_CLAIMS, MAX_HEADER, MAX_SIGNATURE};
use mintmark::broker::registry::Registry;
use mintmark::broker::{AppRegistration, Behaviour, KeyRegistration};
use mintmark::clock::SystemClock;
use mintmark::oauth::BOX_AUDIENCE;
use mintmark::signer::{Algorithm, PublicKey};

use crate::requests::{Signing, form};

/// How many assertions are signed before anything is timed; they are
/// presented to one fresh broker after another.
const ASSERTIONS: usize = 1000;

struct Bench {
    key: PublicKey,
    assertions: Vec<String>,
    forms: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let mut signing = Signing::new();
        // Far enough ahead for the run, as the grants' clock is the bench's.
        let assertions: Vec<String> = (0..ASSERTIONS)
            .map(|_| signing.assertion(NOW_S + 30))
            .collect();
        let forms = assertions.iter().map(|one| form(one)).collect();
        let key = signing.key;
        Self {
            key,
            assertions,
            forms,
        }
    }

    fn grants(&self) -> Grants {
        let app = AppRegistration::new("client0a", "secret0a", "900100")
            .with_key("kid0000a", self.key.clone());
        let registry = Registry::new(&[app], &[]).expect("the registration is sound");
        let behaviour = Behaviour {
            replay_capacity: 100_000,
            ..Behaviour::default()
        };
        Grants::new(
            Arc::new(registry),
            "http://127.0.0.1".to_owned(),
            vec![BOX_AUDIENCE.to_owned()],
            &behaviour,
            Arc::new(FrozenClock(SystemClock::new())),
        )
        .expect("the system has random bytes")
    }
}

/// What the wall clock shows throughout.
const NOW_S: u64 = 1_800_000_000;

/// A clock that costs what the system's does and shows one time.
struct FrozenClock(SystemClock);

impl mintmark::clock::Clock for FrozenClock {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix(&self) -> Duration {
        black_box(self.0.unix());
        Duration::from_secs(NOW_S)
    }
}

fn request(criterion: &mut Criterion) {
    let bench = Bench::new();
    let verifying = VerifyingKey::admit(&KeyRegistration::new("kid0000a", bench.key.clone()))
        .expect("the key is sound");
    let mut group = criterion.benchmark_group("request");

    let compact = Compact::split(&bench.assertions[0]).expect("the assertion is well formed");
    let mut buffer = [0; MAX_SIGNATURE];
    let signature = compact
        .signature(&mut buffer)
        .expect("the signature is well formed");
    group.bench_function("verify", |bencher| {
        bencher.iter(|| {
            assert!(verifying.verifies(
                Algorithm::Rs256,
                black_box(compact.signing_input()),
                black_box(signature)
            ));
        });
    });

    let parse = |assertion: &str| {
        let compact = Compact::split(assertion).expect("well formed");
        let mut header = [0; MAX_HEADER];
        black_box(compact.header(&mut header).expect("well formed"));
        let mut claims = [0; MAX_CLAIMS];
        black_box(compact.claims(&mut claims).expect("well formed"));
    };
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse(black_box(&bench.assertions[0])));
    });

    group.bench_function("form", |bencher| {
        bencher.iter(|| {
            black_box(Form::parse(black_box(bench.forms[0].as_bytes()))).expect("well formed")
        });
    });

    group.bench_function("grant", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut left = usize::try_from(iterations).expect("criterion counts in usize");
            let mut spent = Duration::ZERO;
            while left > 0 {
                // Every assertion is good once only.
                let grants = bench.grants();
                let forms = &bench.forms[..left.min(ASSERTIONS)];
                let started = Instant::now();
                for form in forms {
                    let form = Form::parse(form.as_bytes()).expect("well formed");
                    let issued = grants.token(&form).map_err(|refused| refused.refusal);
                    black_box(issued.expect("the assertion is good"));
                }
                spent += started.elapsed();
                left -= forms.len();
            }
            spent
        });
    });
    group.finish();
}

/// Shows what each stage of a request costs.
pub fn measure(is_quick: bool) {
    let time = if is_quick { 1 } else { 2 };
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(time));
    request(&mut criterion);
}
