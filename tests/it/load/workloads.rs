//! What is asked for: tokens that are kept, requests that are repeated, keys
//! that change, and apps that share a load.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{AppRegistration, Broker, BrokerConfig, UserRegistration};
use mintmark::credential::generate::{self, RsaBits};
use mintmark::load::assertions::Mode;
use mintmark::load::open::{Model, OpenMeasured, OpenPlan, Retries, run_open};
use mintmark::load::population::{Member, Population};
use mintmark::load::{Ages, CachePlan};
use mintmark::record::{OpenRecord, RunDocument};
use mintmark::scenario::{Scenario, ScenarioError, run as run_plan};

use super::target::{Act, Target, answer, ok};
use super::{counts, plan, population, run};

/// The population of the other tests, with more subjects.
fn many(subjects: usize) -> Arc<Population> {
    let subjects = (0..subjects)
        .map(|id| Subject::user((1_000_000 + id).to_string()))
        .collect();
    let member = Member {
        subjects,
        ..population().members()[0].clone()
    };
    Arc::new(Population::new(vec![member], None, 1))
}

fn run_for(population: &Arc<Population>, plan: &OpenPlan, url: &str) -> OpenMeasured {
    let stop = AtomicBool::new(false);
    let measured = run_open(plan, url, population, &[], &stop, |_| ()).unwrap();
    assert!(measured.accounts.balance(), "{:?}", measured.accounts);
    measured
}

#[test]
fn kept_tokens_are_found_at_the_given_ratio_and_the_others_are_asked_for() {
    for signing in [Mode::Inline, Mode::Mint] {
        let target = Target::new(Act::Write(ok()));
        let plan = OpenPlan {
            signing,
            signing_threads: 2,
            threads: 2,
            cache: Some(CachePlan {
                hits: 0.8,
                token_life: Duration::from_secs(3_600),
                ages: Ages::Equal,
                seed: 5,
            }),
            ..plan(1_000.0, Duration::from_millis(1_500))
        };
        let measured = run_for(&many(300), &plan, &target.url());
        let cache = measured.cache.unwrap();
        assert_eq!(measured.accounts.answered, 1_500);
        assert_eq!(cache.found + cache.joined + cache.fetched, 1_500);
        // Five deviations of a binomial count, and those that joined.
        assert!((cache.hit_ratio() - 0.8).abs() < 0.055, "{cache:?}");
        assert_eq!(target.served.lock().unwrap().len() as u64, cache.fetched);
        assert_eq!(measured.signing.signed, cache.fetched, "{signing:?}");
        let counts = counts(&measured);
        assert_eq!(counts["cached"], cache.found);
        assert_eq!(counts["answered"], cache.fetched);
    }
}

#[test]
fn a_token_that_others_forget_while_it_is_fetched_is_fetched_again() {
    // An answer takes its time, and half of the calls forget the one token.
    let target = Target::new(Act::Drip(ok(), Duration::from_micros(20)));
    let plan = OpenPlan {
        signing: Mode::Mint,
        connections: 32,
        cache: Some(CachePlan {
            hits: 0.5,
            token_life: Duration::from_secs(3_600),
            ages: Ages::Equal,
            seed: 5,
        }),
        ..plan(500.0, Duration::from_secs(1))
    };
    let measured = run_for(&many(1), &plan, &target.url());
    let counts = counts(&measured);
    assert_eq!(measured.accounts.answered, 500, "{counts:?}");
    assert!(counts["joined"] > 0, "{counts:?}");
}

#[test]
fn tokens_of_one_age_end_together_and_each_is_fetched_once() {
    const SUBJECTS: u64 = 40;
    let target = Target::new(Act::Write(ok()));
    let plan = OpenPlan {
        signing: Mode::Inline,
        connections: 64,
        cache: Some(CachePlan {
            hits: 1.0,
            token_life: Duration::from_secs(2),
            ages: Ages::Equal,
            seed: 5,
        }),
        ..plan(800.0, Duration::from_millis(2_600))
    };
    let measured = run_for(
        &many(usize::try_from(SUBJECTS).unwrap()),
        &plan,
        &target.url(),
    );
    let cache = measured.cache.unwrap();
    // Their life less a tenth is 1.8 s; a second herd would come after 3.6 s.
    assert_eq!(cache.fetched, SUBJECTS, "{cache:?}");
    for slice in &measured.slices {
        let asked = slice.outcomes.iter().any(|of| of.outcome == "answered");
        if slice.start_ns + slice.length_ns < 1_600_000_000 {
            assert!(!asked, "nobody had to ask at {} ns", slice.start_ns);
        }
    }
}

#[test]
fn a_request_that_rests_before_another_attempt_holds_no_connection() {
    let refused = answer("429 Too Many Requests", "retry-after: 1\r\n", "");
    // Every twentieth is refused, and only one connection is there.
    let target = Target::new(Act::Alternate(20, refused, ok()));
    let plan = OpenPlan {
        connections: 1,
        signing: Mode::Inline,
        retries: Some(Retries {
            attempts: 2,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_secs(5),
            honours_retry_after: true,
        }),
        ..plan(100.0, Duration::from_secs(1))
    };
    let measured = run(&plan, &target.url());
    let retries = measured.retries.unwrap();
    assert!((4..=6).contains(&retries.requests), "{retries:?}");
    assert_eq!(retries.attempts, retries.requests);
    assert_eq!(
        target.served.lock().unwrap().len() as u64,
        measured.accounts.scheduled + retries.attempts
    );
    assert_eq!(
        measured.signing.signed,
        measured.accounts.scheduled + retries.attempts
    );
    let waited_long = measured
        .outcomes
        .iter()
        .map(|of| {
            let response = of.stages.response.open();
            response.count_above(Duration::from_millis(900))
        })
        .sum::<u64>();
    // Had they held the connection, everybody would have waited a second.
    assert_eq!(waited_long, retries.requests);
}

#[test]
fn workers_of_a_closed_loop_wait_for_their_own_retries() {
    let refused = answer("503 Busy", "", "");
    let target = Target::new(Act::Alternate(2, refused, ok()));
    let plan = OpenPlan {
        connections: 1,
        signing: Mode::Inline,
        model: Model::Closed {
            think: Duration::from_millis(1),
        },
        retries: Some(Retries {
            attempts: 2,
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(1),
            honours_retry_after: false,
        }),
        ..plan(1.0, Duration::from_millis(400))
    };
    let measured = run(&plan, &target.url());
    let retries = measured.retries.unwrap();
    assert_eq!(retries.requests, measured.accounts.answered);
    assert_eq!(retries.recovered, retries.requests);
    assert!(measured.accounts.answered <= 20);
}

fn scenario(text: &str) -> Result<RunDocument, ScenarioError> {
    let plan = Scenario::from_toml(text, Path::new("test.toml"))?.plan()?;
    let stop = AtomicBool::new(false);
    Ok(run_plan(&plan, "test", &stop, &mut |_| ()).unwrap())
}

fn open_of(document: &RunDocument) -> &OpenRecord {
    document.steps[0].open.as_ref().unwrap()
}

const ROTATING: &str = r#"
name = "rotating"
[target]
broker = { users = 5 }
[credentials.generate]
rotate = { every = "250ms", drop_old = "when-unused" }
[signing]
mode = "mint"
[load]
open = { per_s = 200, arrival = "even" }
connections = 8
warm_up = "0s"
measure = "1500ms"
calibrate = "0s"
"#;

#[test]
fn keys_that_are_replaced_in_order_cost_no_request() {
    for (apps, mode) in [("1", "mint"), ("3", "inline")] {
        let text = ROTATING
            .replace("rotate =", &format!("apps = {apps}\nrotate ="))
            .replace("\"mint\"", &format!("{mode:?}"));
        let document = scenario(&text).unwrap();
        let open = open_of(&document);
        let rotation = open.rotation.as_ref().unwrap();
        assert!(!rotation.replaced_at_ns.is_empty(), "{rotation:?}");
        assert!(rotation.longest_drain_ns > 0 && !rotation.is_abrupt);
        assert_eq!(open.counts().keys().collect::<Vec<_>>(), ["answered"]);
        // The endpoint saw every kid and knew each when it came.
        assert_eq!(document.broker.as_ref().unwrap()["granted"], 300);
    }
}

#[test]
fn keys_that_are_dropped_at_once_cost_what_they_had_signed() {
    let document = scenario(&ROTATING.replace("when-unused", "at-once")).unwrap();
    let open = open_of(&document);
    let rotation = open.rotation.as_ref().unwrap();
    assert!(rotation.is_abrupt);
    // What the mint had signed ahead is refused each time.
    assert!(open.accounts.failed > 0, "{:?}", open.counts());
    assert!(open.accounts.answered > 0, "{:?}", open.counts());
    let refused: u64 = document
        .broker
        .as_ref()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("refused"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(refused, open.accounts.failed);
}

#[test]
fn apps_with_files_of_their_own_share_a_load_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let mut registered = Vec::new();
    let mut users = Vec::new();
    let mut tables = String::new();
    for (number, weight) in [(1, 3.0), (2, 1.0)] {
        let app = generate::app_config(RsaBits::B2048, None).unwrap();
        let path = folder.path().join(format!("{number}.json"));
        app.write(&path).unwrap();
        let key = app.credential().unwrap().key.open().unwrap();
        registered.push(
            AppRegistration::new(&app.client_id, app.client_secret.expose(), "1")
                .with_key(&app.public_key_id, key.public_key().unwrap().clone()),
        );
        let user = format!("100{number}");
        users.push(UserRegistration::of_app(&user, &app.client_id));
        let _ = writeln!(
            tables,
            "[[credentials.app]]\nconfig = {path:?}\nweight = {weight}\nusers = [{user:?}]"
        );
    }
    let broker = Broker::start(BrokerConfig {
        apps: registered,
        users,
        ..BrokerConfig::default()
    })
    .unwrap();
    let text = format!(
        "name = \"several\"\n[target]\nurl = {:?}\n{tables}[load]\nopen = {{ per_s = 200 }}\n\
         warm_up = \"0s\"\nmeasure = \"1s\"\ncalibrate = \"0s\"\n",
        broker.url()
    );
    let document = scenario(&text).unwrap();
    // An app that asked for the other's user would have been refused.
    let counts = open_of(&document).counts();
    assert_eq!(
        counts.keys().collect::<Vec<_>>(),
        ["answered"],
        "{counts:?}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    for (added, expected) in [
        (
            ("mode = \"mint\"", "mode = \"preminted\""),
            "credentials.generate.rotate",
        ),
        (
            ("every = \"250ms\"", "every = \"1ms\""),
            "credentials.generate.rotate.every",
        ),
        (
            ("connections = 8", "cache = { hits = 1.5 }"),
            "load.cache.hits",
        ),
        (
            (
                "connections = 8",
                "cache = { hits = 0.5, token_life = \"0s\" }",
            ),
            "load.cache.token_life",
        ),
        (
            (
                "[signing]",
                "[[credentials.app]]\nconfig = \"a.json\"\n[signing]",
            ),
            "credentials.app",
        ),
    ] {
        match scenario(&ROTATING.replace(added.0, added.1)) {
            Err(ScenarioError::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{added:?}: {other:?}"),
        }
    }
}
