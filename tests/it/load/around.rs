//! What happens around a run does not keep it from ending on time, with every
//! request accounted for and a record that can be read.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintmark::load::open::OpenPlan;
use mintmark::load::transport::{Kind, Limits};
use mintmark::record::{OpenRecord, RunDocument};
use rustix::process::{Pid, Signal, kill_process};

use super::target::{Act, Target, ok};
use super::{CONFIG, counts, plan, run};
use crate::files::files;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mintmark");

/// A load of 200 requests a second against `url`, as flags.
fn flags(url: &str, duration: &str, results: &Path) -> Vec<String> {
    flags_at(200, url, duration, results)
}

fn flags_at(rate: u32, url: &str, duration: &str, results: &Path) -> Vec<String> {
    let results = results.to_str().unwrap();
    let words = format!(
        "load --rate {rate} --even --duration {duration} --warm-up 0s --connections 8 \
         --calibrate 0s --timeout 500ms --drain 2s --user 1000000 --json --url {url} \
         --config {CONFIG} --results {results}"
    );
    words.split(' ').map(str::to_owned).collect()
}

/// Reads what a run printed, and sees that every request is accounted for.
fn document(output: &Output) -> (RunDocument, OpenRecord) {
    let document: RunDocument = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let open = document.steps[0].open.as_deref().unwrap().clone();
    assert!(open.accounts.balance(), "{:?}", open.accounts);
    (document, open)
}

fn broker(listen: &str) -> (Child, String) {
    let mut child = Command::new(PROGRAM)
        .args(["broker", "--json", "--app", CONFIG, "--user", "1000000"])
        .args(["--listen", listen])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    told.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = told["url"].as_str().unwrap().to_owned();
    (child, url)
}

#[test]
fn a_broker_that_is_killed_and_started_again_is_an_outage() {
    let (mut first, url) = broker("127.0.0.1:0");
    let results = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let load = Command::new(PROGRAM)
        .args(flags_at(50, &url, "6s", results.path()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1_500));
    first.kill().unwrap();
    first.wait().unwrap();
    thread::sleep(Duration::from_millis(500));
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let (mut second, _) = broker(address);
    let output = load.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    second.kill().unwrap();
    second.wait().unwrap();
    let (document, open) = document(&output);
    assert_eq!(open.accounts.scheduled, 300);
    assert!(document.partial.is_none());
    let outcomes = &document.steps[0].outcomes;
    assert!(outcomes["connect_refused"] >= 8, "{outcomes:?}");
    let was_answered = |slice: usize| {
        let slice = &open.slices[slice];
        slice.outcomes.iter().any(|of| of.outcome == "answered")
    };
    assert!(
        was_answered(0) && was_answered(open.slices.len() - 1),
        "{outcomes:?}"
    );
}

/// Runs a shell script as root of namespaces of its own, if that is allowed.
fn apart(script: &str, arguments: &[&str]) -> Option<Output> {
    let can = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", "ip link set lo up"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: there are no namespaces here, or no ip");
        return None;
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-euc", script, "sh"])
        .args(arguments)
        .output()
        .unwrap();
    Some(output)
}

#[test]
fn a_peer_that_vanishes_is_found_out_by_the_time_outs() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    // The interface goes down under open connections: nothing is sent back,
    // not even a reset.
    let script = r#"
        ip link set lo up
        program=$1 config=$2 told=$3; shift 3
        "$program" broker --json --app "$config" --user 1000000 --listen 127.0.0.1:18080 >"$told" &
        broker=$!
        until [ -s "$told" ]; do sleep 0.02; done
        ( sleep 1; ip link set lo down; sleep 1; ip link set lo up; sleep 10 ) &
        "$program" "$@" || echo "exit $?" >&2
        kill $broker
    "#;
    let told = folder.path().join("told");
    let flags = flags("http://127.0.0.1:18080/oauth2/token", "3s", &results);
    let mut arguments = vec![PROGRAM, CONFIG, told.to_str().unwrap()];
    arguments.extend(flags.iter().map(String::as_str));
    let begun = Instant::now();
    let Some(output) = apart(script, &arguments) else {
        return;
    };
    assert!(begun.elapsed() < Duration::from_secs(30));
    let (document, open) = document(&output);
    assert_eq!(open.accounts.scheduled, 600);
    let outcomes = &document.steps[0].outcomes;
    let timed_out: u64 = outcomes
        .iter()
        .filter(|(name, _)| name.starts_with("timed_out"))
        .map(|(_, count)| count)
        .sum();
    // Each of the eight connections found it out.
    assert!(timed_out >= 8, "{outcomes:?}");
    assert!(outcomes["answered"] > 100, "{outcomes:?}");
    let last = open.slices.last().unwrap();
    let recovered = last.outcomes.iter().any(|of| of.outcome == "answered");
    assert!(recovered, "{outcomes:?}");
}

#[test]
fn a_name_that_moves_is_followed_by_whoever_asks_again() {
    // In a folder of its own: the names of a machine are its own affair.
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        ip link set lo up
        program=$1 config=$2 folder=$3; shift 3
        printf '127.0.0.2 endpoint.test\n' >"$folder/hosts"
        mount --bind "$folder/hosts" /etc/hosts
        for host in 2 3; do
            "$program" broker --json --app "$config" --user 1000000 \
                --listen 127.0.0.$host:18080 >"$folder/told$host" 2>/dev/null &
            brokers="${brokers:-} $!"
            until [ -s "$folder/told$host" ]; do sleep 0.02; done
        done
        ( sleep 1; printf '127.0.0.3 endpoint.test\n' >"$folder/hosts" ) &
        "$program" "$@" || true
        # Who was asked by whom is what the connections left behind.
        cat /proc/net/tcp >"$folder/tcp"
        kill $brokers
    "#;
    let mut counts = Vec::new();
    for asks_again in [true, false] {
        let own = folder.path().join(asks_again.to_string());
        fs::create_dir(&own).unwrap();
        let mut flags = flags(
            "http://endpoint.test:18080/oauth2/token",
            "2s",
            &own.join("r"),
        );
        flags.push("--no-keep-alive".into());
        if asks_again {
            flags.push("--resolve-each-time".into());
        }
        let mut arguments = vec![PROGRAM, CONFIG, own.to_str().unwrap()];
        arguments.extend(flags.iter().map(String::as_str));
        let Some(output) = apart(script, &arguments) else {
            return;
        };
        let (_, open) = document(&output);
        assert_eq!(open.accounts.scheduled, 400);
        assert_eq!(open.opened.connections, 400);
        let left = fs::read_to_string(own.join("tcp")).unwrap();
        // Addresses stand there in hexadecimal, last byte first.
        counts.push(left.matches("0300007F:46A0").count());
    }
    assert!(counts[0] > 50, "asked again: {counts:?}");
    assert!(
        counts[1] <= 1,
        "asked once, but for who listens: {counts:?}"
    );
}

#[test]
fn results_that_the_disk_does_not_take_are_still_printed() {
    let target = Target::new(Act::Write(ok()));
    let results = tempfile::tempdir().unwrap();
    let older = results.path().join("older");
    fs::create_dir(&older).unwrap();
    fs::write(older.join("result.json"), "{\"schema_version\": 1}").unwrap();
    // The system refuses files of more than two blocks of 512 bytes.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2; exec \"$@\"",
            "sh",
            PROGRAM,
        ])
        .args(flags(&target.url(), "500ms", results.path()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (_, open) = document(&output);
    assert_eq!(open.accounts.scheduled, 100);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("result.json"), "{words}");
    let litter: Vec<_> = files(results.path())
        .into_iter()
        .filter(|path| !path.ends_with("older/result.json"))
        .collect();
    assert!(litter.is_empty(), "{litter:?}");
    let kept = fs::read_to_string(older.join("result.json")).unwrap();
    assert_eq!(kept, "{\"schema_version\": 1}");
}

#[test]
fn a_full_disk_is_found_out_and_the_record_is_still_printed() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        ip link set lo up
        program=$1 config=$2 folder=$3; shift 3
        mount -t tmpfs -o size=4k tmpfs "$folder"
        "$program" broker --json --app "$config" --user 1000000 --listen 127.0.0.1:18080 >/dev/shm/told.$$ &
        broker=$!
        until [ -s /dev/shm/told.$$ ]; do sleep 0.02; done
        rm /dev/shm/told.$$
        "$program" "$@" || echo "exit $?" >&2
        find "$folder" -type f -name '*.tmp' >&2
        kill $broker
    "#;
    let flags = flags(
        "http://127.0.0.1:18080/oauth2/token",
        "500ms",
        folder.path(),
    );
    let mut arguments = vec![PROGRAM, CONFIG, folder.path().to_str().unwrap()];
    arguments.extend(flags.iter().map(String::as_str));
    let Some(output) = apart(script, &arguments) else {
        return;
    };
    let (_, open) = document(&output);
    assert_eq!(open.accounts.answered, 100);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("exit 3") && words.contains("result.json"),
        "{words}"
    );
    let is_clean = words
        .lines()
        .all(|line| Path::new(line).extension().is_none_or(|end| end != "tmp"));
    assert!(is_clean, "{words}");
}

#[test]
fn a_wall_clock_that_steps_moves_assertions_and_nothing_else() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(LIBRARY).exists() {
        println!("skipped: there is no libfaketime");
        return;
    }
    for (step, by) in [("-7s", -7_i64), ("+3600s", 3_600)] {
        let target = Target::new(Act::Write(ok()));
        let folder = tempfile::tempdir().unwrap();
        let clock = folder.path().join("clock");
        fs::write(&clock, "+0").unwrap();
        let begun = Instant::now();
        let load = Command::new(PROGRAM)
            .args(flags(&target.url(), "3s", &folder.path().join("results")))
            .args(["--signing", "inline"])
            .env("LD_PRELOAD", LIBRARY)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while target.served.lock().unwrap().len() < 100 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(5));
        }
        let next = folder.path().join("next");
        fs::write(&next, step).unwrap();
        fs::rename(&next, &clock).unwrap();
        let output = load.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        let (document, open) = document(&output);
        assert_eq!(open.accounts.scheduled, 600);
        assert!(open.accounts.answered > 300, "{:?}", open.accounts);
        let measured_ns = document.steps[0].phases.measured_ns;
        assert!(measured_ns <= 3_000_000_000, "{measured_ns}");
        let found = open
            .health
            .wall_step_ns
            .abs_diff(by.unsigned_abs() * 1_000_000_000);
        assert!(found < 500_000_000, "{:?}", open.health);
        let codes: Vec<_> = open
            .soundness
            .findings
            .iter()
            .map(|finding| finding.warning.code.as_str())
            .collect();
        assert!(codes.contains(&"wall-clock-step"), "{codes:?}");
        // No time is measured by the clock that was stepped.
        let response = open.answered().unwrap().response.open();
        assert!(response.max().unwrap() < Duration::from_secs(3));
        let lag = open.answered().unwrap().receive_lag.open();
        assert!(lag.max().is_none_or(|lag| lag < Duration::from_secs(3)));
        let expiries: Vec<i64> = target
            .last
            .lock()
            .unwrap()
            .iter()
            .map(|r| expiry(r))
            .collect();
        let first = expiry(&target.requests.lock().unwrap()[0]);
        let moved = expiries.last().unwrap() - first;
        assert!((by..by + 60).contains(&moved), "{moved} s, {by} s expected");
    }
}

/// When the assertion of a request expires, in seconds of Unix time.
fn expiry(request: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(request).into_owned();
    let assertion = text.split("assertion=").nth(1).unwrap();
    let claims = assertion.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["exp"].as_i64().unwrap()
}

/// Are interrupts ignored here, as the bit of signal 2 tells?
fn ignores_interrupts() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 0b10 != 0)
}

#[test]
fn signals_at_any_time_leave_a_record_that_can_be_read() {
    let mut kept = 0;
    for delay_ms in [0, 30, 120, 350, 700] {
        for signal in [Signal::INT, Signal::TERM] {
            let target = Target::new(Act::Write(ok()));
            let results = tempfile::tempdir().unwrap();
            // A shell that starts tests in the background has them ignore
            // interrupts, and so do their children until they listen.
            if signal == Signal::INT && delay_ms < 300 && ignores_interrupts() {
                println!("skipped: this process ignores interrupts");
                continue;
            }
            let child = Command::new(PROGRAM)
                .args(flags(&target.url(), "10m", results.path()))
                .args(["--signing", "repeat"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_millis(delay_ms));
            let begun = Instant::now();
            kill_process(Pid::from_child(&child), signal).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20));
            // A signal that comes before anyone listens ends the process.
            if output.status.code().is_none() {
                assert!(delay_ms < 100, "killed after {delay_ms} ms");
                continue;
            }
            assert_eq!(output.status.code(), Some(3));
            let (document, _) = document(&output);
            assert!(document.partial.is_some());
            let files = files(results.path());
            let records: Vec<_> = files
                .iter()
                .filter(|file| file.ends_with("result.json"))
                .collect();
            assert_eq!(records.len(), 1, "{files:?}");
            // Beside it there is the log of its slices at most.
            assert!(files.len() <= 2, "{files:?}");
            mintmark::record::store::read(records[0]).unwrap();
            kept += 1;
        }
    }
    assert!(kept >= 3);
}

#[test]
fn a_slow_body_does_not_slow_the_schedule_down() {
    let target = Target::new(Act::DripBody(ok(), Duration::from_millis(5)));
    for kind in [Kind::Lean, Kind::Hyper, Kind::Reqwest] {
        let plan = OpenPlan {
            transport: kind,
            connections: 8,
            drain: Duration::from_secs(3),
            limits: Limits {
                body: Duration::from_millis(100),
                ..Limits::each(Duration::from_secs(20))
            },
            ..plan(100.0, Duration::from_millis(500))
        };
        let begun = Instant::now();
        let measured = run(&plan, &target.url());
        assert!(begun.elapsed() < Duration::from_secs(15));
        assert_eq!(measured.accounts.scheduled, 50);
        let found = counts(&measured);
        assert_eq!(
            found.get("timed_out_body"),
            Some(&50),
            "{kind:?}: {found:?}"
        );
    }
}
