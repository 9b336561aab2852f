//! May the figures of a run be believed, and whose fault was lateness?
//!
//! A load generator that has too little processor time measures itself. The
//! rules here look at what the generator added to each reported quantile, at
//! what the system did to its threads, and at what this machine can do at all,
//! and say VALID, SUSPECT or INVALID with the culprit. They never change a
//! figure.

use std::time::Duration;

use super::open::{OpenMeasured, merged};
use crate::record::{
    Blame, Calibration, Culprit, Finding, Histogram, Soundness, Stages, Validity, Warning,
};
use crate::units::{Grouped, Shown};

/// The share of a response time beyond which the generator's own part makes a
/// quantile worthless. At twice as much, half of a tail could be invented.
const INVALID_LAG: f64 = 0.10;

/// The share from which on a quantile is doubtful.
const SUSPECT_LAG: f64 = 0.03;

/// What a generator on a free processor adds anyway; below it no lag counts.
const LAG_FLOOR: Duration = Duration::from_micros(100);

/// The share of the summed response time from which on a mean tells more of
/// the generator than of its target.
const MOST_GENERATOR: f64 = 0.50;

/// The share of the offered requests that have to be sent in time.
const LEAST_SENT: f64 = 0.995;

/// The share of requests that may wait for a signature.
const MOST_UNDER_RUNS: f64 = 0.001;

/// The share of time that threads may wait for a processor.
const MOST_RUN_QUEUE: f64 = 0.01;

/// The same, beyond which response times below a millisecond are not measured.
const MUCH_RUN_QUEUE: f64 = 0.10;

/// The share of time that the hypervisor may take.
const MOST_STEAL: f64 = 0.005;

/// The share of time for which a sending thread may run: beyond, its queue
/// shows in what it measures.
const MOST_BUSY: f64 = 0.80;

/// The share of this machine's ceiling that may be offered.
const MOST_OF_CEILING: f64 = 0.60;

/// A step of the wall clock that is worth a remark.
const WALL_STEP: Duration = Duration::from_millis(100);

/// The quantiles that reports show.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Judges a run. `calibration` is what this machine can do.
#[must_use]
pub fn judge(measured: &OpenMeasured, calibration: Option<&Calibration>) -> Soundness {
    let mut findings = Vec::new();
    findings.extend(nothing(measured));
    lag(measured, &mut findings);
    mean(measured, &mut findings);
    rate(measured, &mut findings);
    signing(measured, &mut findings);
    system(measured, &mut findings);
    if let Some(calibration) = calibration {
        ceiling(measured, calibration, &mut findings);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.validity));
    Soundness {
        validity: findings
            .first()
            .map_or(Validity::Valid, |finding| finding.validity),
        culprit: culprit(measured),
        findings,
    }
}

/// Says what holds most of the response time.
fn culprit(measured: &OpenMeasured) -> Culprit {
    let failed_on_the_way: u64 = measured
        .outcomes
        .iter()
        .filter(|of| {
            matches!(
                of.outcome.as_str(),
                "connect_failed" | "timed_out_connect" | "timed_out_tls" | "tls_failed"
            )
        })
        .map(|of| of.count)
        .sum();
    if 2 * failed_on_the_way > measured.accounts.scheduled {
        return Culprit::Network;
    }
    let Blame {
        target,
        connections,
        signing,
        generator,
    } = measured.blame;
    [
        (target, Culprit::Target),
        (connections, Culprit::Connections),
        (signing, Culprit::Signing),
        (generator, Culprit::GeneratorCpu),
    ]
    .into_iter()
    .max_by(|a, b| a.0.total_cmp(&b.0))
    .map_or(Culprit::Target, |(_, culprit)| culprit)
}

/// Was there anything to measure?
fn nothing(measured: &OpenMeasured) -> Option<Finding> {
    (measured.accounts.scheduled == 0).then(|| Finding {
        validity: Validity::Invalid,
        culprit: Culprit::GeneratorCpu,
        warning: Warning::new(
            "nothing-due",
            "no request was due in the measured phase".to_owned(),
            "raise the rate or measure for longer; a pause of a fleet leaves its starts out",
        ),
    })
}

/// What did the generator add to each quantile?
fn lag(measured: &OpenMeasured, findings: &mut Vec<Finding>) {
    let all = |of: fn(&Stages) -> &crate::record::Packed| {
        merged(measured.outcomes.iter().map(|outcome| of(&outcome.stages)))
    };
    let response = all(|stages| &stages.response);
    findings.extend(lateness(&response, &all(|stages| &stages.generator_lag)));
    findings.extend(added(
        &response,
        &all(|stages| &stages.receive_lag),
        ("receive-lag", "read late"),
        "the kernel had answers that the generator did not read; lower the rate or add threads",
    ));
}

/// What did it add to the response times of some requests that the generator
/// noticed late that they were due?
#[must_use]
pub fn lateness(response: &Histogram, generator_lag: &Histogram) -> Option<Finding> {
    added(
        response,
        generator_lag,
        ("generator-lag", "noticed late"),
        "give the generator a processor of its own, lower the rate or add threads",
    )
}

fn added(
    response: &Histogram,
    part: &Histogram,
    (code, name): (&str, &str),
    hint: &str,
) -> Option<Finding> {
    let (validity, q, added, whole) = worst(response, part)?;
    Some(Finding {
        validity,
        culprit: Culprit::GeneratorCpu,
        warning: Warning::new(
            code,
            format!(
                "at the quantile {q}, requests were {name} by {}, of a response time of {}",
                Shown(added),
                Shown(whole)
            ),
            hint,
        ),
    })
}

/// Is the mean the target's?
///
/// Few requests that were very late show in no quantile that is reported, but
/// in the mean and the maximum.
fn mean(measured: &OpenMeasured, findings: &mut Vec<Finding>) {
    let generator = measured.blame.generator;
    let whole = merged(measured.outcomes.iter().map(|of| &of.stages.response)).mean();
    let is_much = whole.is_some_and(|mean| mean.mul_f64(generator) > LAG_FLOOR);
    if generator > MOST_GENERATOR && is_much {
        findings.push(Finding {
            validity: Validity::Suspect,
            culprit: Culprit::GeneratorCpu,
            warning: Warning::new(
                "generator-share",
                format!(
                    "the generator's own part is {:.0} % of the summed response time",
                    generator * 100.0
                ),
                "quantiles stand as far as nothing else is remarked; mean and maximum are the generator's",
            ),
        });
    }
}

/// Finds the quantile at which `added` weighs most in `response`.
fn worst(response: &Histogram, added: &Histogram) -> Option<(Validity, f64, Duration, Duration)> {
    QUANTILES
        .into_iter()
        .filter(|q| (1.0 - q) * response.count() as f64 >= 10.0)
        .filter_map(|q| {
            let (whole, added) = (response.quantile(q)?, added.quantile(q)?);
            let share = added.as_secs_f64() / whole.as_secs_f64();
            let validity = match share {
                _ if added <= LAG_FLOOR => return None,
                share if share > INVALID_LAG => Validity::Invalid,
                share if share > SUSPECT_LAG => Validity::Suspect,
                _ => return None,
            };
            Some((validity, q, added, whole, share))
        })
        .max_by(|a, b| a.4.total_cmp(&b.4))
        .map(|(validity, q, added, whole, _)| (validity, q, added, whole))
}

/// Was the rate that was asked for sent?
fn rate(measured: &OpenMeasured, findings: &mut Vec<Finding>) {
    if measured.offered_per_s <= 0.0 || measured.was_stopped {
        return;
    }
    let share = measured.sent_per_s / measured.offered_per_s;
    if share < LEAST_SENT {
        let has_waited = measured.blame.connections > measured.blame.generator;
        findings.push(Finding {
            validity: if has_waited {
                Validity::Suspect
            } else {
                Validity::Invalid
            },
            culprit: if has_waited {
                Culprit::Connections
            } else {
                Culprit::GeneratorCpu
            },
            warning: Warning::new(
                "rate-missed",
                format!(
                    "{}/s of {}/s were sent in time",
                    Grouped(measured.sent_per_s),
                    Grouped(measured.offered_per_s)
                ),
                if has_waited {
                    "all connections were busy: the endpoint is beyond its capacity, or more connections are needed"
                } else {
                    "the generator did not keep up; lower the rate or add threads"
                },
            ),
        });
    }
    let exhausted: u64 = measured
        .outcomes
        .iter()
        .filter(|of| matches!(of.outcome.as_str(), "no_descriptor" | "no_port"))
        .map(|of| of.count)
        .sum();
    if exhausted > 0 {
        findings.push(Finding {
            validity: Validity::Invalid,
            culprit: Culprit::Connections,
            warning: Warning::new(
                "exhausted",
                format!(
                    "{} requests found no file descriptor or no port",
                    Grouped(exhausted as f64)
                ),
                "raise `ulimit -n`, keep connections alive, or use fewer of them",
            ),
        });
    }
}

/// Were signatures there in time?
fn signing(measured: &OpenMeasured, findings: &mut Vec<Finding>) {
    let scheduled = measured.accounts.scheduled.max(1) as f64;
    let share = measured.signing.under_runs as f64 / scheduled;
    if share > MOST_UNDER_RUNS {
        findings.push(Finding {
            validity: if measured.blame.signing > INVALID_LAG {
                Validity::Invalid
            } else {
                Validity::Suspect
            },
            culprit: Culprit::Signing,
            warning: Warning::new(
                "signing-late",
                format!(
                    "{:.2} % of requests waited for their signature",
                    share * 100.0
                ),
                "add signing threads, use a faster backend or algorithm, or mint before the load",
            ),
        });
    }
    if measured.signing.mode == "inline" && measured.blame.signing > INVALID_LAG {
        findings.push(Finding {
            validity: Validity::Suspect,
            culprit: Culprit::Signing,
            warning: Warning::new(
                "signing-inline",
                format!(
                    "signing on the sending thread is {:.0} % of the response time",
                    measured.blame.signing * 100.0
                ),
                "sign by the mint, unless its cost is what is measured",
            ),
        });
    }
}

/// What did the system do to the threads?
fn system(measured: &OpenMeasured, findings: &mut Vec<Finding>) {
    let health = &measured.health;
    let is_fast = measured
        .latencies
        .response
        .quantile(0.5)
        .is_some_and(|median| median < Duration::from_millis(1));
    let mut add = |validity, code: &str, message: String, hint: &str| {
        findings.push(Finding {
            validity,
            culprit: Culprit::GeneratorCpu,
            warning: Warning::new(code, message, hint),
        });
    };
    if health.run_queue_share > MOST_RUN_QUEUE {
        add(
            if health.run_queue_share > MUCH_RUN_QUEUE && is_fast {
                Validity::Invalid
            } else {
                Validity::Suspect
            },
            "run-queue",
            format!(
                "a sending thread waited for a processor {:.1} % of the time",
                health.run_queue_share * 100.0
            ),
            "stop other programs, or put the target on another machine",
        );
    }
    if health.steal_share > MOST_STEAL {
        add(
            Validity::Suspect,
            "steal",
            format!(
                "the hypervisor took {:.1} % of the processor time away",
                health.steal_share * 100.0
            ),
            "use a machine of your own",
        );
    }
    if health.throttled > 0 {
        add(
            Validity::Suspect,
            "throttled",
            format!(
                "the control group held the process back {} times",
                health.throttled
            ),
            "raise the processor quota of the container",
        );
    }
    if health.busy_share > MOST_BUSY {
        add(
            Validity::Suspect,
            "busy-thread",
            format!(
                "a sending thread ran {:.0} % of the time",
                health.busy_share * 100.0
            ),
            "add threads, or lower the rate",
        );
    }
    if health.wall_step_ns > u64::try_from(WALL_STEP.as_nanos()).unwrap_or(u64::MAX) {
        add(
            Validity::Suspect,
            "wall-clock-step",
            format!(
                "the wall clock was stepped by {}",
                Shown(Duration::from_nanos(health.wall_step_ns))
            ),
            "intervals are not affected; assertions signed ahead may have been refused",
        );
    }
}

/// Is this machine able to offer that rate?
fn ceiling(measured: &OpenMeasured, calibration: &Calibration, findings: &mut Vec<Finding>) {
    let share = measured.offered_per_s / calibration.ceiling_per_s.max(1.0);
    if share > MOST_OF_CEILING {
        findings.push(Finding {
            validity: Validity::Suspect,
            culprit: Culprit::GeneratorCpu,
            warning: Warning::new(
                "near-ceiling",
                format!(
                    "{}/s is {:.0} % of what this machine sends to a target that does nothing",
                    Grouped(measured.offered_per_s),
                    share * 100.0
                ),
                "use a larger machine, or several",
            ),
        });
    }
}

#[cfg(test)]
pub(super) mod tests;
