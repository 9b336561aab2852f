//! How does a CI server that knows JUnit see a gate?
//!
//! One test case for each case: a regression is a failure, what was not
//! decided is skipped, and the figures are properties.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::gate_load;
use super::gate_words::{bounds, change};
use crate::gate::targets::{LoadResult, ObjectiveResult};
use crate::gate::{CaseResult, GateRecord, GateVerdict};
use crate::record::search::Decision;
use crate::stats::Estimate;

/// Renders a gate as JUnit's XML.
///
/// # Errors
///
/// A text cannot be written as XML.
pub fn gate_junit(record: &GateRecord) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("mintmark gate");
    suite.set_time(Duration::from_nanos(record.took_ns));
    for (name, value) in [
        ("baseline", record.baseline.as_str()),
        ("candidate", record.candidate.as_str()),
        ("host", record.host.cpu_model.as_str()),
        ("verdict", record.verdict.name()),
    ] {
        suite.add_property(Property::new(name, value));
    }
    for case in &record.cases {
        suite.add_test_case(test_case(case));
    }
    for saved in &record.saved {
        let verdict = if record.trusts_saved || saved.verdict != GateVerdict::Regressed {
            saved.verdict
        } else {
            GateVerdict::Inconclusive
        };
        let reason = saved.reason.clone().unwrap_or_else(|| {
            format!(
                "{:.1} µs now, {:.1} µs saved",
                saved.candidate_floor_ns.unwrap_or(f64::NAN) / 1e3,
                saved.baseline_floor_ns / 1e3
            )
        });
        let mut case = TestCase::new(format!("saved: {}", saved.name), status(verdict, &reason));
        case.set_classname("mintmark.gate");
        suite.add_test_case(case);
    }
    if let Some(load) = &record.load {
        suite.add_test_case(load_case(load));
        suite.add_test_cases(load.objective().as_ref().map(objective_case));
    }
    let mut report = Report::new("mintmark gate");
    report.add_test_suite(suite);
    report.to_string()
}

fn test_case(result: &CaseResult) -> TestCase {
    let last = result.confirmation.as_ref().or(result.attempt.as_ref());
    let floor = last.and_then(|attempt| attempt.floor);
    let mean = last.and_then(|attempt| attempt.mean);
    let mut words = vec![result.verdict.name().to_owned()];
    words.extend(result.reason.clone());
    for (channel, estimate) in [("floor", floor), ("mean", mean)] {
        if let Some(estimate) = estimate {
            words.push(format!(
                "{channel} {} ({})",
                change(&estimate),
                bounds(&estimate)
            ));
        }
    }
    let mut case = TestCase::new(
        result.name.clone(),
        status(result.verdict, &words.join("; ")),
    );
    case.set_classname("mintmark.gate");
    if let Some(attempt) = &result.attempt {
        case.set_time(Duration::from_nanos(attempt.spent_ns));
    }
    case.add_property(Property::new("verdict", result.verdict.name()));
    for (channel, estimate) in [("floor", floor), ("mean", mean)] {
        add_estimate(&mut case, channel, estimate);
    }
    case
}

fn add_estimate(case: &mut TestCase, channel: &str, estimate: Option<Estimate>) {
    let Some(estimate) = estimate else {
        return;
    };
    for (what, log) in [
        ("change", estimate.log_ratio),
        ("lower", estimate.lower),
        ("upper", estimate.upper),
    ] {
        let name = format!("{channel}_{what}_percent");
        let value = format!("{:.4}", 100.0 * log.exp_m1());
        case.add_property(Property::new(name, value));
    }
}

fn load_case(load: &LoadResult) -> TestCase {
    let mut words = vec![load.verdict.name().to_owned()];
    words.extend(load.reason.clone());
    let channels = load.last().map(|last| gate_load::channels(load, last));
    for (channel, estimate, _) in channels.iter().flatten() {
        if let Some(estimate) = estimate {
            words.push(format!(
                "{channel} {} ({})",
                change(estimate),
                bounds(estimate)
            ));
        }
    }
    let mut case = TestCase::new(
        format!("load: {}", load.scenario),
        status(load.verdict, &words.join("; ")),
    );
    case.set_classname("mintmark.gate");
    let spent: u64 = [&load.attempt, &load.confirmation]
        .into_iter()
        .flatten()
        .map(|attempt| attempt.spent_ns)
        .sum();
    case.set_time(Duration::from_nanos(spent));
    case.add_property(Property::new("verdict", load.verdict.name()));
    for (channel, (_, estimate, _)) in ["p50", "p99", "goodput"]
        .into_iter()
        .zip(channels.into_iter().flatten())
    {
        add_estimate(&mut case, channel, estimate);
    }
    case
}

fn objective_case(found: &ObjectiveResult) -> TestCase {
    let status = match found.decision {
        Decision::Pass => TestCaseStatus::success(),
        Decision::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type("missed")
                .set_message(gate_load::objective(found));
            status
        }
        Decision::Undecided => {
            let mut status = TestCaseStatus::skipped();
            status
                .set_type("undecided")
                .set_message(gate_load::objective(found));
            status
        }
    };
    let mut case = TestCase::new(format!("objective: {}", found.objective), status);
    case.set_classname("mintmark.gate");
    case
}

fn status(verdict: GateVerdict, message: &str) -> TestCaseStatus {
    match verdict {
        GateVerdict::Unchanged | GateVerdict::Improved => TestCaseStatus::success(),
        GateVerdict::Regressed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("regressed").set_message(message);
            status
        }
        GateVerdict::Inconclusive | GateVerdict::NotComparable => {
            let mut status = TestCaseStatus::skipped();
            status.set_type(verdict.name()).set_message(message);
            status
        }
    }
}
