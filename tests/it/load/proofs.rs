//! Two proofs: a target's freeze is the target's, a generator's its own.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::load::assertions::Mode;
use mintmark::load::open::{Model, OpenPlan};
use mintmark::load::verdict::judge;
use mintmark::record::{Culprit, Packed, RunDocument, Stages, Validity};
use rustix::process::{Pid, Signal, kill_process};

use super::target::{Act, Target, ok};
use super::{CONFIG, all, plan, run};

const PERIOD: Duration = Duration::from_secs(2);
const FREEZE: Duration = Duration::from_millis(200);
const PER_S: f64 = 2_000.0;

/// The response time that a share `1 - q` of requests exceeds, if requests
/// come evenly over `span` and wait for the end of the freeze they come in:
/// 100 ms for the 95th percentile and 180 ms for the 99th, if each freeze
/// lasts as long as it should.
fn closed_form(freezes: &[Duration], span: Duration, q: f64) -> Duration {
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

/// The same quantile from the target's own log: when it had each request,
/// less when that was due. What a freeze leaves behind takes time to be
/// worked off, which the closed form does not know.
fn seen(served: &[Instant], q: f64) -> Duration {
    let due = |number: usize| Duration::from_secs_f64(number as f64 / PER_S);
    // The beginning is told by the request that was served soonest.
    let origin = served
        .iter()
        .enumerate()
        .map(|(number, at)| *at - due(number))
        .min()
        .unwrap();
    let mut late: Vec<Duration> = served
        .iter()
        .enumerate()
        .map(|(number, at)| (*at - due(number)).duration_since(origin))
        .collect();
    late.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (late.len() as f64 * q).ceil() as usize;
    late[rank.max(1) - 1]
}

#[test]
fn a_target_that_freezes_yields_the_computed_quantiles() {
    // A machine that is busy with something else is no proof of anything: what
    // it adds to the target's freezes is the generator's, and told.
    let measure = Duration::from_secs(4);
    let target = Target::freezing(PERIOD, FREEZE);
    let plan = OpenPlan {
        connections: 16,
        ..plan(PER_S, measure)
    };
    let begun = Instant::now();
    let measured = run(&plan, &target.url());
    assert_eq!(measured.accounts.answered, 8_000);
    let freezes: Vec<Duration> = target
        .freezes
        .lock()
        .unwrap()
        .iter()
        .filter(|(at, length)| *at + *length > begun && *at < begun + measure)
        .map(|(_, length)| *length)
        .collect();
    assert!(freezes.len() >= 2, "{freezes:?}");
    let served = target.served.lock().unwrap().clone();
    let response = all(&measured, |stages| &stages.response);
    for q in [0.95, 0.99] {
        let found = response.quantile(q).unwrap();
        let least = closed_form(&freezes, measure, q);
        let seen = seen(&served, q);
        assert!(
            found >= least.mul_f64(0.97),
            "p{q}: {found:?} is below {least:?}"
        );
        assert!(
            (found.as_secs_f64() / seen.as_secs_f64() - 1.0).abs() <= 0.03,
            "p{q}: {found:?} is not {seen:?}, by {freezes:?}"
        );
    }
    // Requests waited for a frozen target, with or without a connection. What
    // a busy machine made the generator late by is its own, and known.
    let mean = |of: fn(&Stages) -> &Packed| {
        let all = all(&measured, of);
        all.mean().unwrap_or_default().as_secs_f64()
    };
    let late = mean(|stages| &stages.generator_lag) + mean(|stages| &stages.receive_lag);
    let own = late / mean(|stages| &stages.response);
    let blame = measured.blame;
    assert!(blame.generator <= own + 0.15, "{blame:?}, {own} late");
}

#[test]
fn a_generator_that_is_frozen_blames_itself() {
    // At a rate that a build without optimisation carries on a busy machine:
    // otherwise connections are short, freeze or not.
    let target = Target::new(Act::Write(ok()));
    let results = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintmark"))
        .args([
            "load",
            "--rate",
            "500",
            "--even",
            "--duration",
            "6s",
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

#[test]
fn a_load_that_ends_on_time_knows_what_its_threads_used() {
    // The kernel forgets a thread that has ended; figures of it were zero.
    let target = Target::new(Act::Write(ok()));
    let used = |plan: &OpenPlan| {
        let measured = run(plan, &target.url());
        let cpu = measured.cpu;
        assert!(cpu.client_ns > 1_000_000, "{cpu:?}");
        assert!(cpu.client_ns <= cpu.process_ns, "{cpu:?}");
        assert!(measured.health.busy_share > 0.001, "{:?}", measured.health);
        cpu.client_ns
    };
    let repeated = plan(2_000.0, Duration::from_millis(600));
    let minted = OpenPlan {
        signing: Mode::Mint,
        ..repeated.clone()
    };
    // The threads that sign are counted as well, though they end first.
    assert!(used(&minted) > used(&repeated));
    used(&OpenPlan {
        model: Model::Closed {
            think: Duration::ZERO,
        },
        ..repeated
    });
}
