//! What is scraped is what is recorded.

use std::io::BufReader;
use std::process::Stdio;
use std::time::Duration;

use mintmark::record::{Buckets, Histogram};

use super::{Running, ask, figure, metrics_url, record_in};
use crate::stage::program;

/// Does a series of buckets hold exactly what a histogram does?
fn assert_same(exposition: &str, name: &str, labels: &str, histogram: &Histogram) {
    let mut buckets = Buckets::default();
    buckets.add(histogram);
    let count = format!("{name}_count{}", braced(labels));
    assert_eq!(
        figure(exposition, &count),
        Some(histogram.count() as f64),
        "{count}"
    );
    let mut below = 0;
    for (bound, count) in buckets.parts() {
        below += count;
        let le = bound.map_or("+Inf".to_owned(), |bound: Duration| {
            format!("{:?}", bound.as_secs_f64())
        });
        // Small figures are written with an exponent.
        let found = exposition.lines().find_map(|line| {
            let rest = line.strip_prefix(&format!("{name}_bucket{{le=\""))?;
            let (bound, rest) = rest.split_once('"')?;
            let is_same = bound == le || bound.parse::<f64>().ok() == le.parse::<f64>().ok();
            let rest = rest.trim_start_matches(',');
            (is_same && rest.starts_with(labels)).then(|| rest.rsplit(' ').next()?.parse().ok())?
        });
        assert_eq!(found, Some(below as f64), "{name} up to {le}");
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

#[test]
fn the_last_scrape_of_a_load_is_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Running(
        program()
            .args([
                "load",
                "--rate",
                "300",
                "--duration",
                "3s",
                "--calibrate",
                "0s",
            ])
            .args(["--metrics", "0", "--metrics-linger", "100s", "--results"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let url = metrics_url(&mut stderr);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    // Lines that nobody reads would block the child at some time.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let record = record_in(folder.path());
    let (head, exposition) = ask("GET", &url);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    let step = &record.steps[0];
    let open = step.open.as_ref().unwrap();
    let accounts = open.accounts;
    assert!(
        accounts.balance() && accounts.answered > 500,
        "{accounts:?}"
    );
    let figure = |series: &str| figure(&exposition, series);
    assert_eq!(
        figure("mintmark_offered_total"),
        Some(accounts.scheduled as f64)
    );
    assert_eq!(
        figure("mintmark_requests_total{outcome=\"answered\"}"),
        Some(accounts.answered as f64)
    );
    assert_eq!(figure("mintmark_in_flight"), Some(0.0));
    let answered = open.outcomes.iter().find(|of| of.outcome == "answered");
    let stages = &answered.unwrap().stages;
    for (name, labels, packed) in [
        (
            "mintmark_response_duration_seconds",
            "result=\"answered\"",
            &stages.response,
        ),
        (
            "mintmark_service_duration_seconds",
            "result=\"answered\"",
            &stages.service,
        ),
        ("mintmark_send_lag_seconds", "", &stages.generator_lag),
        ("mintmark_sign_duration_seconds", "", &stages.signing),
    ] {
        assert_same(&exposition, name, labels, &packed.open());
    }
    child.terminate();
    assert!(
        child
            .0
            .wait()
            .unwrap()
            .code()
            .is_some_and(|code| [0, 4].contains(&code))
    );
}

#[test]
fn the_endpoint_serves_one_page_and_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Running(
        program()
            .args(["broker", "--metrics", "127.0.0.1:0", "--write-config"])
            .arg(folder.path().join("app.json"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let url = metrics_url(&mut stderr);
    let base = url.strip_suffix("/metrics").unwrap();
    for (method, page, status) in [
        ("GET", "/metrics", "200"),
        ("HEAD", "/metrics", "200"),
        ("POST", "/metrics", "405"),
        ("GET", "/", "404"),
        ("GET", "/oauth2/token", "404"),
    ] {
        let (head, body) = ask(method, &format!("{base}{page}"));
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{method} {page}: {head}"
        );
        assert_eq!(method == "HEAD", body.is_empty());
    }
    // The token endpoint is elsewhere, and serves no metrics.
    let mut line = String::new();
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let (head, _) = ask("GET", &format!("{}/metrics", line.trim_end()));
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, _) = ask("POST", &format!("{}/oauth2/token", line.trim_end()));
    assert!(head.starts_with("HTTP/1.1 4"), "{head}");
    let (_, exposition) = ask("GET", &url);
    let of = |endpoint: &str, outcome: &str| {
        let labels = format!("{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}");
        figure(
            &exposition,
            &format!("mintmark_broker_requests_total{labels}"),
        )
        .unwrap()
    };
    assert!(
        (of("token", "refused") + of("head", "refused") - 1.0).abs() < 1e-9,
        "{exposition}"
    );
    assert!((of("other", "refused") - 1.0).abs() < 1e-9, "{exposition}");
    assert!(
        exposition.contains("mintmark_broker_refusals_total{reason=\""),
        "{exposition}"
    );
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_begins() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = crate::stage::mintmark(&["load", "--rate", "10", "--metrics", &address]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = crate::stage::text(&output.stderr);
    assert!(stderr.contains("expected a free address"), "{stderr}");
    assert!(output.stdout.is_empty());
}
