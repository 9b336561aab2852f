//! The gate between two endpoints: real loads on brokers that are told how
//! slow to be.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use mintmark::broker::Orders;
use mintmark::broker::orders::ServiceTime;
use serde_json::Value;

use crate::stage::{USER, broker_under, generated_app, program, text};

/// Two quads of segments of two seconds: enough for a change of a third, and for
/// nothing smaller.
const SCENARIO: &str = r#"
name = "two"
[target]
users = ["USER"]
[credentials]
config = "app.json"
[load]
open = { per_s = 100 }
warm_up = "300ms"
measure = "2s"
slice = "100ms"
"#;

/// Compares two brokers that take so long for a request.
fn gate(folder: &Path, times_ms: [u64; 2], flags: &[&str]) -> (Output, Value) {
    let app = generated_app();
    std::fs::write(folder.join("app.json"), app.to_json()).unwrap();
    std::fs::write(folder.join("two.toml"), SCENARIO.replace("USER", USER)).unwrap();
    let brokers = times_ms.map(|ms| {
        broker_under(
            &app,
            Orders {
                service_time: Some(ServiceTime::Constant(Duration::from_millis(ms))),
                ..Orders::default()
            },
        )
    });
    let output = program()
        .current_dir(folder)
        .args(["gate", "--baseline-url", &brokers[0].url()])
        .args(["--candidate-url", &brokers[1].url()])
        .args(["--scenario", "two.toml", "--most", "20s", "--json"])
        .args(flags)
        .output()
        .unwrap();
    let record = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output, record)
}

#[test]
fn an_endpoint_that_takes_a_third_longer_fails_the_build() {
    let here = tempfile::tempdir().unwrap();
    let (output, record) = gate(here.path(), [21, 28], &["--markdown", "gate.md"]);
    let load = &record["load"];
    // A machine that is too busy for the load, or for the control, decides
    // nothing and says so.
    match load["verdict"].as_str().unwrap() {
        "regressed" => {
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(load["attempt"]["segments"].as_array().unwrap().len(), 8);
            assert!(!load["confirmation"].is_null());
            let p50 = load["attempt"]["effects"]["p50"]["log_ratio"].as_f64();
            assert!((0.15..0.4).contains(&p50.unwrap()), "{p50:?}");
            let markdown = std::fs::read_to_string(here.path().join("gate.md")).unwrap();
            assert!(markdown.contains("| p50 |"), "{markdown}");
        }
        "not_comparable" => assert_eq!(output.status.code(), Some(5)),
        other => {
            assert_eq!(other, "inconclusive", "{load}");
            assert_eq!(output.status.code(), Some(4));
        }
    }
}

#[test]
fn equal_endpoints_are_no_regression_and_may_still_miss_an_objective() {
    let here = tempfile::tempdir().unwrap();
    let (output, record) = gate(
        here.path(),
        [20, 20],
        &["--objective", "p90<5ms", "--junit", "gate.xml"],
    );
    let load = &record["load"];
    let verdict = load["verdict"].as_str().unwrap();
    assert!(!matches!(verdict, "regressed" | "improved"), "{load}");
    if verdict != "not_comparable" {
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(load["attempt"]["objective"]["decision"], "fail");
        let xml = std::fs::read_to_string(here.path().join("gate.xml")).unwrap();
        assert!(xml.contains("type=\"missed\""), "{xml}");
        // Both sides of a quad met the same starts.
        let segments = load["attempt"]["segments"].as_array().unwrap();
        for quad in segments.chunks(4) {
            assert!(
                quad.iter()
                    .all(|segment| segment["seed"] == quad[0]["seed"])
            );
        }
    }
}

#[test]
fn a_load_without_a_schedule_or_without_time_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let app = generated_app();
    std::fs::write(here.path().join("app.json"), app.to_json()).unwrap();
    let refused = |scenario: &str, most: &str| {
        std::fs::write(here.path().join("two.toml"), scenario.replace("USER", USER)).unwrap();
        let output = program()
            .current_dir(here.path())
            .args(["gate", "--baseline-url", "http://127.0.0.1:9"])
            .args(["--candidate-url", "http://127.0.0.1:9"])
            .args(["--scenario", "two.toml", "--most", most])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    let closed = SCENARIO.replace("open = { per_s = 100 }", "closed = { workers = 2 }");
    assert!(refused(&closed, "20s").contains("`open`"));
    let short = refused(SCENARIO, "5s");
    assert!(short.contains("expected at least"), "{short}");
}
