//! Looking on while a run goes on: what is shown, scraped and logged.

mod lines;
#[cfg(feature = "otlp")]
mod otlp;
mod prometheus;
mod scraped;
pub(crate) mod terminal;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr};
use std::time::{Duration, Instant};

use mintmark::record::{RunDocument, store};

/// What a child may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Asks it to end, as a service manager does.
    fn terminate(&self) {
        let pid = i32::try_from(self.0.id()).unwrap();
        terminate(pid);
    }
}

fn terminate(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// Reads the lines of a child's standard error up to the one that tells where
/// metrics are, and returns that address.
fn metrics_url(lines: &mut BufReader<ChildStderr>) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        let count = lines.read_line(&mut line).unwrap();
        assert!(count > 0, "it ended without metrics: {seen}");
        if let Some((_, url)) = line.trim_end().split_once("metrics are at ") {
            return url.trim_end_matches("\"}").to_owned();
        }
        seen += &line;
    }
}

/// Asks for a page; returns its head and its body.
pub(crate) fn ask(method: &str, url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Asks until `found` finds what it looks for.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "there was no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for the one record in a folder of results.
pub(crate) fn record_in(results: &Path) -> RunDocument {
    wait_for("record", || {
        let mut runs = std::fs::read_dir(results).ok()?;
        let run = runs.find_map(|entry| {
            let path = entry.ok()?.path();
            let is_hidden = path.file_name()?.to_str()?.starts_with('.');
            (!is_hidden).then_some(path)
        })?;
        store::read(&run).ok()
    })
}

/// Returns the figure of a series, which is named with its labels.
pub(crate) fn figure(exposition: &str, series: &str) -> Option<f64> {
    exposition
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
