//! A real Prometheus, and every query of the dashboard.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mintmark::record::RunDocument;
use mintmark::record::buckets::BOUNDS_NS;
use serde_json::Value;

use super::{Running, ask, metrics_url, record_in, wait_for};
use crate::stage::program;

const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana/mintmark.json");

/// A load whose kept tokens find some calls, and of whose requests some fail.
const SCENARIO: &str = r#"
name = "watched"
[target]
broker = { users = 20, rate_limit = { per_s = 60, burst = 20 } }
[load]
open = { per_s = 300 }
cache = { hits = 0.7 }
connections = 16
calibrate = "0s"
warm_up = "200ms"
measure = "12s"
slice = "500ms"
"#;

/// Starts a Prometheus that scrapes `targets`; returns its address.
fn prometheus(folder: &Path, targets: &[(&str, &str)]) -> Option<(Running, String)> {
    let mut config = "global:\n  scrape_interval: 500ms\nscrape_configs:\n".to_owned();
    for (job, url) in targets {
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches("/metrics");
        let job = format!("- job_name: {job}\n  static_configs:\n  - targets: ['{address}']\n");
        config.push_str(&job);
    }
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    // A free port, which nobody takes in the moment between.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let child: std::io::Result<Child> = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={port}"))
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        println!("skipped: there is no Prometheus (package prometheus)");
        return None;
    };
    let running = Running(child);
    wait_for("Prometheus", || std::net::TcpStream::connect(port).ok());
    Some((running, format!("http://{port}")))
}

/// Asks Prometheus; returns the figures of an instant, those that are none
/// left out.
fn query(prometheus: &str, expression: &str) -> Vec<f64> {
    let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let (head, body) = ask("GET", &format!("{prometheus}/api/v1/query?query={encoded}"));
    assert!(
        head.starts_with("HTTP/1.1 200"),
        "{expression}: {head}\n{body}"
    );
    // The body may come in chunks, of which only the text between braces counts.
    let (first, last) = (body.find('{').unwrap(), body.rfind('}').unwrap());
    let answer: Value = serde_json::from_str(&body[first..=last]).unwrap();
    let figures = answer["data"]["result"].as_array().unwrap().iter();
    figures
        .filter_map(|one| one["value"][1].as_str()?.parse::<f64>().ok())
        .filter(|figure| figure.is_finite())
        .collect()
}

/// Returns each query of the dashboard with the panel that it is of.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap_or(&Vec::new()) {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("$__rate_interval", "6s")
                .replace("$job", ".*");
            assert!(!expression.contains('$'), "{expression}");
            found.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    found
}

#[test]
fn every_query_of_the_dashboard_finds_something_and_p99_is_that_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("watched.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let results = folder.path().join("results");
    let (mut broker, broker_metrics) = watched(
        program()
            .args(["broker", "--metrics", "0", "--user", "7", "--write-config"])
            .arg(folder.path().join("app.json")),
    );
    let mut url = String::new();
    BufReader::new(broker.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let (run, run_metrics) = watched(
        program()
            .args(["run", scenario.to_str().unwrap(), "--metrics", "0"])
            .args(["--metrics-linger", "100s", "--results"])
            .arg(&results),
    );
    let targets = [("load", &*run_metrics), ("broker", &*broker_metrics)];
    let Some((_running, prometheus)) = prometheus(folder.path(), &targets) else {
        return;
    };
    let mut missing = queries();
    assert!(missing.len() > 20, "{}", missing.len());
    let token_url = format!("{}/oauth2/token", url.trim_end());
    wait_for("figure for each query", || {
        // Something for the broker by itself to answer, and to refuse.
        let granted = program()
            .args(["token", "--user", "7", "--url", url.trim_end(), "--config"])
            .arg(folder.path().join("app.json"))
            .output()
            .unwrap();
        assert!(granted.status.success());
        ask("POST", &token_url);
        missing.retain(|(panel, expression)| {
            let found = query(&prometheus, expression);
            if found.is_empty() {
                println!("not yet: {panel}: {expression}");
            }
            found.is_empty()
        });
        missing.is_empty().then_some(())
    });
    let record = record_in(&results);
    let p99 = scraped_p99(&prometheus, &record);
    let recorded = record.steps[0].open.as_ref().unwrap();
    let answered = mintmark::load::open::merged(
        recorded
            .outcomes
            .iter()
            .filter(|of| matches!(of.outcome.as_str(), "answered" | "cached" | "joined"))
            .map(|of| &of.stages.response),
    );
    let exact = answered.quantile(0.99).unwrap().as_secs_f64();
    let bounds = BOUNDS_NS.map(|ns| ns as f64 / 1e9);
    let upper = bounds.iter().position(|bound| exact <= *bound).unwrap();
    let lower = if upper == 0 { 0.0 } else { bounds[upper - 1] };
    assert!(
        (lower..=bounds[upper] * 1.001).contains(&p99),
        "{p99} s by Prometheus, {exact} s in the record, in the bucket {lower} to {}",
        bounds[upper]
    );
    run.terminate();
}

/// Waits until Prometheus has scraped what the record holds, and asks it for
/// p99 over all of it.
fn scraped_p99(prometheus: &str, record: &RunDocument) -> f64 {
    let accounts = record.steps[0].open.as_ref().unwrap().accounts;
    wait_for("last scrape", || {
        let counted = query(
            prometheus,
            "sum(mintmark_requests_total{outcome=~\"answered|cached|joined\"})",
        );
        (counted == [accounts.answered as f64]).then_some(())
    });
    query(
        prometheus,
        "histogram_quantile(0.99, mintmark_response_duration_seconds_bucket{result=\"answered\"})",
    )[0]
}

/// Starts the program; returns where its metrics are.
fn watched(command: &mut Command) -> (Running, String) {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let url = metrics_url(&mut stderr);
    // Lines that nobody reads would block the child at some time.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    (running, url)
}
