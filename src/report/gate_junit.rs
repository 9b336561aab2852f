//! How does a CI server that knows JUnit see a gate?
//!
//! One test case for each case: a regression is a failure, what was not
//! decided is skipped, and the figures are properties.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::gate_words::{bounds, change};
use crate::gate::{CaseResult, GateRecord, GateVerdict};

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
        if let Some(estimate) = estimate {
            let mut add = |what: &str, log: f64| {
                let name = format!("{channel}_{what}_percent");
                let value = format!("{:.4}", 100.0 * log.exp_m1());
                case.add_property(Property::new(name, value));
            };
            add("change", estimate.log_ratio);
            add("lower", estimate.lower);
            add("upper", estimate.upper);
        }
    }
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
