//! Reports: the same figures in every format, and a page that a browser draws.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mintmark::record::{RunDocument, store};
use mintmark::report::run_html;
use serde_json::Value;

use crate::stage::{mintmark, text};

const EVIL: &str = "</script><img src=x onerror=\"document.title='broken'\">";

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/results"
    ))
    .join(name)
}

fn documents() -> Vec<RunDocument> {
    let mut found: Vec<_> = fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
        .iter()
        .map(|path| store::read(path).unwrap())
        .collect()
}

/// Returns a browser, or says why a test is skipped.
fn browser() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
    if found.is_none() {
        println!("skipped: no chromium on this machine");
    }
    found
}

/// Opens a page with the browser and returns what it says of it.
fn open(browser: &str, folder: &Path, page: &str, more: &[String]) -> String {
    let file = folder.join("report.html");
    fs::write(&file, page).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // Nothing but the page itself can be reached.
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=10000",
            "--window-size=1200,2400",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .args(more)
        .arg(format!("file://{}", file.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    text(&output.stdout)
}

/// Puts a text for a name everywhere where one comes from outside.
fn renamed(mut document: RunDocument, name: &str) -> RunDocument {
    document.scenario["name"] = name.into();
    document.run = name.into();
    for step in &mut document.steps {
        step.name = name.into();
    }
    document
}

#[test]
fn a_browser_draws_every_chart_of_every_kind_of_result() {
    let Some(browser) = browser() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = run_html(&documents());
    let plots = page.matches("data-plot=\"").count();
    let dom = open(browser, folder.path(), &page, &["--dump-dom".into()]);
    // The script counts what it has drawn, at its end.
    assert!(
        dom.contains(&format!("data-drawn=\"{plots}\"")),
        "{plots} plots"
    );
    assert_eq!(dom.matches("<canvas").count(), plots);
}

#[test]
fn a_hostile_name_stays_a_text_in_a_browser() {
    let Some(browser) = browser() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = run_html(&[renamed(documents().remove(0), EVIL)]);
    let dom = open(browser, folder.path(), &page, &["--dump-dom".into()]);
    assert!(!dom.contains("<img"), "the name became an element");
    assert!(!dom.contains("<title>broken"), "the name ran");
    assert!(
        dom.contains("data-drawn="),
        "the script did not come to its end"
    );
}

#[test]
fn a_browser_prints_the_page() {
    let Some(browser) = browser() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let pdf = folder.path().join("report.pdf");
    let print = format!("--print-to-pdf={}", pdf.display());
    open(browser, folder.path(), &run_html(&documents()), &[print]);
    let bytes = fs::read(&pdf).unwrap();
    assert!(bytes.starts_with(b"%PDF"));
    // Charts are pictures in it; a page of text alone is far smaller.
    assert!(bytes.len() > 100_000, "{} bytes", bytes.len());
}

#[test]
fn the_end_of_the_file_name_tells_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let result = fixture("1-load.json");
    let made = |name: &str| {
        let path = folder.path().join(name);
        let output = mintmark(&[
            "report",
            result.to_str().unwrap(),
            "-o",
            path.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::read_to_string(path).unwrap()
    };
    assert!(made("a.html").starts_with("<!DOCTYPE html>"));
    assert!(made("a.md").starts_with("## load"));
    assert!(made("a.xml").starts_with("<?xml"));
    assert!(made("a.csv").starts_with("run,"));
    assert!(made("a.txt").contains("measurement of open"));
    let json: Value = serde_json::from_str(&made("a.json")).unwrap();
    assert_eq!(json[0]["scenario"], "load");
}

#[test]
fn formats_agree_about_a_figure() {
    let result = fixture("1-load.json");
    let document = store::read(&result).unwrap();
    let (response, _) = mintmark::report::step_times(&document.steps[0]);
    let p99 = u64::try_from(response.quantile(0.99).unwrap().as_nanos()).unwrap();
    let shown = mintmark::units::Shown(std::time::Duration::from_nanos(p99)).to_string();
    let made = |format: &str| {
        let output = mintmark(&["report", result.to_str().unwrap(), "--format", format]);
        assert!(output.status.success());
        text(&output.stdout)
    };
    for format in ["text", "markdown", "html"] {
        assert!(made(format).contains(&shown), "{shown} in {format}");
    }
    for format in ["json", "csv"] {
        assert!(made(format).contains(&p99.to_string()), "{p99} in {format}");
    }
}

#[test]
fn junit_of_real_results_is_xml_with_a_case_for_each_verdict() {
    let Ok(python) = Command::new("python3").arg("--version").output() else {
        println!("skipped: no Python");
        return;
    };
    assert!(python.status.success());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("junit.xml");
    let documents = [renamed(documents().remove(0), EVIL)];
    let summaries: Vec<_> = documents
        .iter()
        .map(mintmark::report::Summary::of)
        .collect();
    fs::write(&path, mintmark::report::run_junit(&summaries)).unwrap();
    let output = Command::new("python3")
        .args([
            "-c",
            "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); print(len(r.findall('.//testcase'))); print(r[0].get('name'))",
        ])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let mut lines = said.lines();
    assert_eq!(
        lines.next(),
        Some(&*summaries[0].verdicts.len().to_string())
    );
    assert_eq!(lines.next(), Some(EVIL));
}

#[test]
fn a_result_that_is_not_there_is_a_sentence() {
    let output = mintmark(&["report", "no-such-run", "--results", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("no-such-run") && said.contains("results list"),
        "{said}"
    );
}
