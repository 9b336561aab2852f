//! The scenario that compares the habits of parallel workers.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mintmark::record::{Herds, KeyHabit, RunDocument, StepRecord, TokenHabit};
use mintmark::report::run_text;
use mintmark::scenario::{Scenario, run};

/// Ends with the steps' table; tokens live for a second.
const SCENARIO: &str = r#"
name = "habits"
[target]
broker = { users = 1, token_life = "1s" }
[signing]
backend = "aws-lc-rs"
[load]
closed = { workers = 16, think = "2ms" }
warm_up = "100ms"
measure = "2500ms"
"#;

fn steps(of: &[(&str, &str)]) -> Vec<StepRecord> {
    document(of).steps
}

fn document(of: &[(&str, &str)]) -> RunDocument {
    let mut text = SCENARIO.to_owned();
    for (key, token) in of {
        let step = format!("name = \"{key} {token}\"\nkey = \"{key}\"\ntoken = \"{token}\"\n");
        text.push_str("[[step]]\n");
        text.push_str(&step);
    }
    let plan = Scenario::from_toml(&text, Path::new("habits.toml"))
        .unwrap()
        .plan()
        .unwrap();
    let document = run(&plan, "habits", &AtomicBool::new(false), &mut |_| ()).unwrap();
    let broker = document.broker.as_ref().unwrap();
    let signed: u64 = document
        .steps
        .iter()
        .map(|step| step.assertions_signed)
        .sum();
    // Warm-up is not counted, and nothing else is left out.
    assert!(signed <= broker["granted"]);
    document
}

fn herds(step: &StepRecord) -> Herds {
    assert_eq!(step.failed(), 0, "{}: {:?}", step.name, step.outcomes);
    assert!(step.cpu.calls_ns.unwrap() > 0);
    step.herds.unwrap()
}

#[test]
fn without_single_flight_a_herd_fetches_and_with_it_one() {
    let [alone, shared] = &steps(&[("reuse", "cache-no-single-flight"), ("reuse", "cache")])[..]
    else {
        panic!("two steps");
    };
    let each = herds(alone);
    assert!(each.first_largest > 1, "{each:?}");
    assert!(each.later > 0, "{each:?}");
    let one = herds(shared);
    assert_eq!((one.first_largest, one.later_largest), (1, 1));
    assert!(one.later >= 2 && one.waits > 0, "{one:?}");
    assert_eq!(one.later_mean(), Some(1.0));
    assert_eq!(shared.requests_sent, shared.assertions_signed);
}

#[test]
fn with_refresh_ahead_one_fetches_in_the_background() {
    let [ahead] = &steps(&[("reuse", "cache-refresh-ahead")])[..] else {
        panic!("one step");
    };
    let herds = herds(ahead);
    assert_eq!((herds.first_largest, herds.later_largest), (1, 1));
    assert!(herds.refreshes > 0, "{herds:?}");
    assert!(ahead.assertions_signed > 0);
    assert_eq!(ahead.requests_sent, ahead.assertions_signed);
    // No call of a worker fetched.
    assert_eq!(ahead.latencies.exchange.count(), 0);
}

#[test]
fn table_and_picture_of_the_habits_fit_a_terminal_of_80_columns() {
    let document = document(&[("reuse", "cache-no-single-flight")]);
    let mut document = RunDocument {
        warnings: Vec::new(),
        ..document
    };
    document.steps[0].name = "key decrypted".to_owned();
    let report = run_text(&document);
    let (_, shown) = report.split_once("Tokens for").unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for heading in ["p99.9", "signed", "sent", "CPU time", "token expires"] {
        assert!(shown.contains(heading), "{heading}\n{shown}");
    }
}

#[test]
fn the_scenario_of_the_library_has_every_habit() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/workers.toml");
    let plan = Scenario::read(Path::new(path)).unwrap().plan().unwrap();
    let has = |key: KeyHabit, token: TokenHabit| {
        plan.steps
            .iter()
            .any(|step| step.habits.key == key && step.habits.token == token)
    };
    for key in [
        KeyHabit::DecryptPerCall,
        KeyHabit::ParsePerCall,
        KeyHabit::Reuse,
    ] {
        assert!(has(key, TokenHabit::FetchPerCall));
    }
    for token in [
        TokenHabit::CacheNoSingleFlight,
        TokenHabit::Cache,
        TokenHabit::CacheRefreshAhead,
    ] {
        assert!(has(KeyHabit::Reuse, token));
    }
}
