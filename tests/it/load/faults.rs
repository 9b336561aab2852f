//! Whatever happens, a run ends on time with every request accounted for.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::load::assertions::Mode;
use mintmark::load::observe::Told;
use mintmark::load::open::{Model, OpenPlan, Retries, run_open};
use mintmark::load::transport::Limits;
use mintmark::record::RunDocument;
use rustix::process::{Pid, Signal, kill_process};

use super::target::{Act, Target, answer, ok};
use super::{CONFIG, all, counts, plan, population, run};

#[test]
fn an_endpoint_that_dies_and_returns_is_an_outage_and_not_the_end() {
    let target = Target::new(Act::Write(ok()));
    let address = target.address;
    let url = target.url();
    let plan = plan(200.0, Duration::from_millis(1_500));
    let outage = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        drop(target);
        thread::sleep(Duration::from_millis(400));
        let back = Target::start(address, Act::Write(ok()), None);
        thread::sleep(Duration::from_millis(1_500));
        drop(back);
    });
    let measured = run(&plan, &url);
    outage.join().unwrap();
    let counts = counts(&measured);
    assert_eq!(measured.accounts.scheduled, 300);
    assert_eq!(measured.accounts.unfinished, 0);
    assert!(counts["connect_refused"] > 10, "{counts:?}");
    // Before and after the outage.
    let answered_late = measured
        .slices
        .iter()
        .rev()
        .take(2)
        .any(|slice| slice.outcomes.iter().any(|of| of.outcome == "answered"));
    assert!(answered_late && counts["answered"] > 100, "{counts:?}");
}

#[test]
fn an_endpoint_that_never_answers_is_left_when_the_drain_ends() {
    let target = Target::new(Act::Silence);
    let plan = OpenPlan {
        drain: Duration::from_millis(200),
        ..plan(100.0, Duration::from_millis(300))
    };
    let begun = Instant::now();
    let measured = run(&plan, &target.url());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(measured.accounts.scheduled, 30);
    assert_eq!(measured.accounts.unfinished, 30);
}

#[test]
fn what_is_late_is_sent_late_or_dropped_as_the_plan_says() {
    let slow = Act::Drip(ok(), Duration::from_millis(1));
    let target = Target::new(slow);
    let base = OpenPlan {
        connections: 1,
        ..plan(100.0, Duration::from_millis(500))
    };
    let kept = run(&base, &target.url());
    assert_eq!(kept.accounts.answered, 50);
    // Each answer takes more than 100 ms; the last waited for all others.
    assert!(all(&kept, |stages| &stages.response).max().unwrap() > Duration::from_secs(3));
    let dropping = OpenPlan {
        drop_after: Some(Duration::from_millis(150)),
        ..base
    };
    let dropped = run(&dropping, &target.url());
    assert!(dropped.accounts.dropped > 20, "{:?}", dropped.accounts);
    assert_eq!(dropped.accounts.answered + dropped.accounts.dropped, 50);
}

#[test]
fn a_stop_ends_the_schedule_and_keeps_what_there_is() {
    let target = Target::new(Act::Write(ok()));
    let plan = plan(200.0, Duration::from_secs(600));
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let measured = run_open(&plan, &target.url(), &population(), &[], &stop, |told| {
        if let Told::Progress(progress) = told
            && progress.answered > 50
        {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(measured.was_stopped && measured.accounts.balance());
    assert!(measured.accounts.answered > 50);
}

#[test]
fn retries_sign_anew_and_are_part_of_the_response_time() {
    let target = Target::new(Act::Write(answer("503 Busy", "", "")));
    let plan = OpenPlan {
        signing: Mode::Inline,
        retries: Some(Retries {
            attempts: 3,
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(1),
            honours_retry_after: true,
        }),
        ..plan(50.0, Duration::from_millis(100))
    };
    let measured = run(&plan, &target.url());
    assert_eq!(counts(&measured)["http_503"], 5);
    let response = all(&measured, |stages| &stages.response);
    assert!(response.quantile(0.0).unwrap() >= Duration::from_millis(30));
    let requests = target.requests.lock().unwrap();
    let distinct: std::collections::BTreeSet<_> = requests.iter().collect();
    assert_eq!(distinct.len(), requests.len());
}

#[test]
fn every_signing_mode_and_several_threads_account_for_every_request() {
    let target = Target::new(Act::Write(ok()));
    for signing in [Mode::Inline, Mode::Mint, Mode::Preminted, Mode::Repeat] {
        let plan = OpenPlan {
            threads: 2,
            signing,
            signing_threads: 2,
            ..plan(200.0, Duration::from_millis(500))
        };
        let measured = run(&plan, &target.url());
        assert_eq!(measured.accounts.answered, 100, "{signing:?}");
        let signed = all(&measured, |stages| &stages.signing).count();
        let expected = if signing == Mode::Repeat { 2 } else { 100 };
        assert_eq!(signed, expected, "{signing:?}");
    }
}

#[test]
fn a_count_ends_the_load_after_so_many_requests() {
    let target = Target::new(Act::Write(ok()));
    let plan = OpenPlan {
        count: Some(30),
        threads: 2,
        ..plan(300.0, Duration::from_secs(30))
    };
    let begun = Instant::now();
    for model in [
        plan.model.clone(),
        Model::Closed {
            think: Duration::ZERO,
        },
    ] {
        for warm_up in [0, 100] {
            let plan = OpenPlan {
                model: model.clone(),
                warm_up: Duration::from_millis(warm_up),
                ..plan.clone()
            };
            let measured = run(&plan, &target.url());
            assert_eq!(measured.accounts.scheduled, 30, "{model:?}, {warm_up}");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(25));
}

#[test]
fn no_descriptor_left_is_an_outcome_of_its_own() {
    let target = Target::new(Act::Silence);
    let results = tempfile::tempdir().unwrap();
    // The limit is the child's alone.
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 40 && exec \"$@\"")
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_mintmark"))
        .args([
            "load",
            "--rate",
            "200",
            "--duration",
            "1s",
            "--warm-up",
            "0s",
        ])
        .args([
            "--connections",
            "100",
            "--signing",
            "repeat",
            "--calibrate",
            "0s",
        ])
        .args(["--timeout", "2s", "--user", "1000000", "--json"])
        .args(["--url", &target.url(), "--config", CONFIG, "--results"])
        .arg(results.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: RunDocument = serde_json::from_slice(&output.stdout).unwrap();
    let open = document.steps[0].open.as_ref().unwrap();
    assert!(open.accounts.balance());
    assert!(document.steps[0].outcomes["no_descriptor"] > 0);
    let exhausted = open
        .soundness
        .findings
        .iter()
        .any(|finding| finding.warning.code == "exhausted");
    assert!(exhausted, "{:?}", open.soundness);
}

#[test]
fn signals_end_a_run_with_a_readable_record() {
    for signal in [Signal::INT, Signal::TERM] {
        let target = Target::new(Act::Write(ok()));
        let results = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mintmark"))
            .args([
                "load",
                "--rate",
                "100",
                "--duration",
                "10m",
                "--warm-up",
                "0s",
            ])
            .args(["--signing", "repeat", "--calibrate", "0s", "--json"])
            .args([
                "--user",
                "1000000",
                "--url",
                &target.url(),
                "--config",
                CONFIG,
            ])
            .arg("--results")
            .arg(results.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The signal comes once there is something to keep.
        while target.requests.lock().unwrap().len() < 10 {
            thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let document: RunDocument = serde_json::from_slice(&output.stdout).unwrap();
        assert!(document.partial.is_some());
        let open = document.steps[0].open.as_ref().unwrap();
        assert!(open.accounts.balance() && open.accounts.answered > 0);
        let kept = std::fs::read_dir(results.path()).unwrap().count();
        assert_eq!(kept, 1);
    }
}

#[test]
fn a_peer_that_speaks_no_tls_is_a_failure_of_tls() {
    let target = Target::new(Act::Write(ok()));
    let plan = OpenPlan {
        limits: Limits::each(Duration::from_secs(5)),
        ..plan(50.0, Duration::from_millis(200))
    };
    let url = target.url().replace("http:", "https:");
    // The target waits for a request that never comes, and closes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let closing = thread::spawn(move || {
        for _ in 0..10 {
            use std::io::{Read, Write};
            let (mut stream, _) = silent.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let measured = run(
        &plan,
        &url.replace(&target.address.to_string(), &address.to_string()),
    );
    closing.join().unwrap();
    assert_eq!(counts(&measured)["tls_failed"], 10);
}
