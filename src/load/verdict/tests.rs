//! Does a run blame who is to blame?

use super::*;
use crate::record::{
    Accounts, ConnectionFacts, CpuTime, GeneratorHealth, Latencies, OutcomeStages, Packed, Phases,
    SigningFacts,
};

fn of(values_us: &[(u64, usize)]) -> Histogram {
    let mut histogram = Histogram::new();
    for (us, count) in values_us {
        for _ in 0..*count {
            histogram.record(Duration::from_micros(*us));
        }
    }
    histogram
}

fn run(response: &Histogram, lag: &Histogram) -> OpenMeasured {
    OpenMeasured {
        phases: Phases::default(),
        accounts: Accounts {
            scheduled: response.count(),
            answered: response.count(),
            ..Accounts::default()
        },
        outcomes: vec![OutcomeStages {
            outcome: "answered".into(),
            count: response.count(),
            stages: Stages {
                response: Packed::of(response),
                generator_lag: Packed::of(lag),
                ..Stages::default()
            },
        }],
        slices: Vec::new(),
        blame: Blame {
            target: 1.0,
            ..Blame::default()
        },
        blamed_ns: 0,
        began_late_ns: 0,
        opened: ConnectionFacts::default(),
        signing: SigningFacts::default(),
        retries: None,
        cache: None,
        health: GeneratorHealth::default(),
        latencies: Latencies {
            response: response.clone(),
            ..Latencies::default()
        },
        cpu: CpuTime::default(),
        offered_per_s: 1_000.0,
        sent_per_s: 1_000.0,
        was_stopped: false,
    }
}

#[test]
fn a_quiet_generator_is_valid_however_slow_the_target() {
    let measured = run(&of(&[(500, 9_000), (180_000, 1_000)]), &of(&[(40, 10_000)]));
    let soundness = judge(&measured, None);
    assert_eq!(soundness.validity, Validity::Valid, "{soundness:?}");
    assert_eq!(soundness.culprit, Culprit::Target);
}

#[test]
fn a_lag_counts_against_the_quantile_that_it_is_in() {
    let response = of(&[(2_000, 9_800), (180_000, 200)]);
    for (lag, validity) in [
        (of(&[(40, 9_800), (170_000, 200)]), Validity::Invalid),
        (of(&[(40, 9_800), (9_000, 200)]), Validity::Suspect),
        (of(&[(40, 9_800), (5_000, 200)]), Validity::Valid),
        // A twentieth of the median.
        (of(&[(110, 10_000)]), Validity::Suspect),
        (of(&[(90, 10_000)]), Validity::Valid),
    ] {
        let soundness = judge(&run(&response, &lag), None);
        assert_eq!(soundness.validity, validity, "{lag:?} {soundness:?}");
    }
}

#[test]
fn each_disturbance_has_its_finding_and_its_culprit() {
    let quiet = run(&of(&[(2_000, 10_000)]), &of(&[(10, 10_000)]));
    let check = |change: &dyn Fn(&mut OpenMeasured), code: &str, validity, culprit| {
        let mut measured = quiet.clone();
        change(&mut measured);
        let soundness = judge(&measured, None);
        let finding = &soundness.findings[0];
        assert_eq!(finding.warning.code, code);
        assert_eq!(
            (finding.validity, finding.culprit, soundness.validity),
            (validity, culprit, validity)
        );
    };
    let (cpu, suspect) = (Culprit::GeneratorCpu, Validity::Suspect);
    check(
        &|m| m.health.run_queue_share = 0.2,
        "run-queue",
        suspect,
        cpu,
    );
    check(&|m| m.health.steal_share = 0.02, "steal", suspect, cpu);
    check(&|m| m.health.throttled = 1, "throttled", suspect, cpu);
    check(&|m| m.health.busy_share = 0.9, "busy-thread", suspect, cpu);
    check(
        &|m| m.health.wall_step_ns = 7_000_000_000,
        "wall-clock-step",
        suspect,
        cpu,
    );
    check(
        &|m| m.sent_per_s = 900.0,
        "rate-missed",
        Validity::Invalid,
        cpu,
    );
    check(
        &|m| {
            m.sent_per_s = 900.0;
            m.blame.connections = 0.6;
        },
        "rate-missed",
        suspect,
        Culprit::Connections,
    );
    check(
        &|m| m.signing.under_runs = 11,
        "signing-late",
        suspect,
        Culprit::Signing,
    );
    check(
        &|m| m.blame.generator = 0.6,
        "generator-share",
        suspect,
        cpu,
    );
    check(
        &|m| m.outcomes[0].outcome = "no_port".into(),
        "exhausted",
        Validity::Invalid,
        Culprit::Connections,
    );
}

#[test]
fn a_rate_near_the_ceiling_of_the_machine_is_suspect() {
    let measured = run(&of(&[(2_000, 10_000)]), &of(&[(10, 10_000)]));
    let calibration = |ceiling_per_s| Calibration {
        ceiling_per_s,
        ..Calibration::default()
    };
    let judged = |ceiling| judge(&measured, Some(&calibration(ceiling))).validity;
    assert_eq!(judged(1_500.0), Validity::Suspect);
    assert_eq!(judged(2_000.0), Validity::Valid);
}

#[test]
fn the_culprit_is_what_holds_most_of_the_time() {
    let mut measured = run(&of(&[(2_000, 1_000)]), &of(&[(10, 1_000)]));
    measured.blame = Blame {
        target: 0.2,
        connections: 0.1,
        signing: 0.6,
        generator: 0.1,
    };
    assert_eq!(judge(&measured, None).culprit, Culprit::Signing);
    measured.outcomes[0].outcome = "timed_out_connect".into();
    assert_eq!(judge(&measured, None).culprit, Culprit::Network);
}
