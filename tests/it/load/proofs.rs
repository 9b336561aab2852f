//! Two proofs: a target's freeze is the target's, a generator's its own.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::load::open::OpenPlan;
use mintmark::load::verdict::judge;
use mintmark::record::{Culprit, RunDocument, Validity};
use rustix::process::{Pid, Signal, kill_process};

use super::target::{Act, Target, ok};
use super::{CONFIG, all, plan, run};

const PERIOD: Duration = Duration::from_secs(1);
const FREEZE: Duration = Duration::from_millis(200);
const PER_S: f64 = 250.0;

/// The response time that a share `1 - q` of requests exceeds, if requests
/// come evenly over `span` and wait for the end of the freeze they come in.
fn truth(freezes: &[Duration], span: Duration, q: f64) -> Duration {
    let beyond = |limit: f64| {
        let late: f64 = freezes
            .iter()
            .map(|length| (length.as_secs_f64() - limit).max(0.0))
            .sum();
        late / span.as_secs_f64()
    };
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > 1.0 - q {
            low = middle;
        } else {
            high = middle;
        }
    }
    Duration::from_secs_f64(low)
}

#[test]
fn a_target_that_freezes_yields_the_computed_quantiles() {
    let target = Target::freezing(PERIOD, FREEZE);
    let measure = Duration::from_secs(5);
    let plan = OpenPlan {
        connections: 16,
        ..plan(PER_S, measure)
    };
    let begun = Instant::now();
    let measured = run(&plan, &target.url());
    let freezes: Vec<Duration> = target
        .freezes
        .lock()
        .unwrap()
        .iter()
        .filter(|(at, length)| *at + *length > begun && *at < begun + measure)
        .map(|(_, length)| *length)
        .collect();
    assert!(freezes.len() >= 4);
    let (response, lag) = (
        all(&measured, |stages| &stages.response),
        all(&measured, |stages| &stages.generator_lag),
    );
    assert_eq!(measured.accounts.answered, 1_250);
    for q in [0.9, 0.95, 0.99] {
        let expected = truth(&freezes, measure, q);
        let found = response.quantile(q).unwrap();
        // What a busy machine adds is known: the lag, and the usual service.
        let added = lag.quantile(q).unwrap()
            + all(&measured, |stages| &stages.service)
                .quantile(0.5)
                .unwrap();
        assert!(
            found
                >= expected
                    .mul_f64(0.97)
                    .saturating_sub(Duration::from_millis(4)),
            "p{q}: {found:?} is below {expected:?}"
        );
        assert!(
            found.saturating_sub(added) <= expected.mul_f64(1.03) + Duration::from_millis(4),
            "p{q}: {found:?} is above {expected:?} and {added:?}"
        );
    }
    // Requests waited for a frozen target, with or without a connection.
    let blame = measured.blame;
    assert!(blame.target + blame.connections > 0.9, "{blame:?}");
}

#[test]
fn a_generator_that_is_frozen_blames_itself() {
    let target = Target::new(Act::Write(ok()));
    let results = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .args([
            "load",
            "--rate",
            "250",
            "--duration",
            "4s",
            "--warm-up",
            "500ms",
        ])
        .args([
            "--connections",
            "16",
            "--signing",
            "repeat",
            "--calibrate",
            "0s",
        ])
        .args(["--user", "1000000", "--json", "--url", &target.url()])
        .args(["--config", CONFIG, "--results"])
        .arg(results.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let pid = Pid::from_child(&child);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(PERIOD - FREEZE);
        // It may have ended meanwhile.
        if child.try_wait().unwrap().is_none() {
            kill_process(pid, Signal::STOP).unwrap();
            thread::sleep(FREEZE);
            kill_process(pid, Signal::CONT).unwrap();
        }
    };
    assert_eq!(status.code(), Some(4));
    let document: RunDocument = serde_json::from_str(&reading.join().unwrap()).unwrap();
    let open = document.steps[0].open.as_ref().unwrap();
    assert!(open.accounts.balance());
    assert_eq!(open.soundness.validity, Validity::Invalid);
    assert_eq!(open.soundness.culprit, Culprit::GeneratorCpu);
    let stages = open.answered().unwrap();
    let response = stages.response.open();
    assert!(
        response.quantile(0.95).unwrap() > FREEZE / 4,
        "the freeze shows"
    );
    // Lateness is what goes beyond the usual service.
    let usual = stages.service.open().quantile(0.5).unwrap().as_secs_f64();
    let whole = response.mean().unwrap().as_secs_f64();
    let blamed = open.blame.generator * whole / (whole - usual);
    assert!(blamed >= 0.95, "{blamed} of the lateness: {:?}", open.blame);
}

#[test]
fn the_verdict_of_a_run_does_not_change_its_figures() {
    let target = Target::new(Act::Write(ok()));
    let measured = run(&plan(100.0, Duration::from_millis(300)), &target.url());
    let before = format!("{:?}", measured.outcomes);
    let _ = judge(&measured, None);
    assert_eq!(before, format!("{:?}", measured.outcomes));
}
