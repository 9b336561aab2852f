//! What was decided about a run?
//!
//! Verdicts come first in every format. They restate what the document holds,
//! or judge its counts by its own objective; no new threshold is made here.

use serde::Serialize;

use crate::load::objective::{Counts, Objective};
use crate::record::search::Confidence;
use crate::record::{RunDocument, StepRecord, Validity};
use crate::report::capacity_text::capacity_sentence;
use crate::stats::Verdict;
use crate::units::Grouped;

/// How good or bad something is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As it should be.
    Good,
    /// Not to be relied on.
    Doubtful,
    /// Missed or failed.
    Bad,
}

impl Standing {
    /// Returns the word by which pages and styles call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good or bad it is.
    pub standing: Standing,
    /// What was judged.
    pub subject: String,
    /// The verdict, in a word or two.
    pub word: String,
    /// The evidence, in a sentence.
    pub sentence: String,
}

/// Lists what was decided, the worst first.
pub(super) fn verdicts(document: &RunDocument) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(reason) = &document.partial {
        found.push(finding(
            Standing::Bad,
            "the run",
            "partial",
            format!("{reason}; the figures cover what was measured until then"),
        ));
    }
    let objective: Option<Objective> = document.scenario["objective"]
        .as_str()
        .and_then(|text| text.parse().ok());
    for step in &document.steps {
        found.extend(of_step(step, objective.as_ref()));
    }
    found.extend(of_search(document));
    found.extend(of_signing(document));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.standing));
    found
}

fn of_step(step: &StepRecord, objective: Option<&Objective>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(open) = &step.open {
        if let Some(objective) = objective {
            let counts: Vec<Counts> = open
                .slices
                .iter()
                .map(|slice| objective.count(slice))
                .collect();
            let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>() as f64;
            let requests = sum(|one| one.requests).max(1.0);
            let is_met = objective.is_met(&counts);
            // Figures that are the generator's say nothing of the target.
            let is_told = open.soundness.validity != Validity::Invalid;
            found.push(finding(
                match (is_told, is_met) {
                    (true, true) => Standing::Good,
                    (true, false) => Standing::Bad,
                    (false, _) => Standing::Doubtful,
                },
                &format!("objective {objective}"),
                match (is_told, is_met) {
                    (true, true) => "met",
                    (true, false) => "missed",
                    (false, true) => "met, by a measurement that is invalid",
                    (false, false) => "missed, by a measurement that is invalid",
                },
                format!(
                    "{} of {} requests took longer or failed, {} failed or did not end",
                    share(sum(|one| one.over) / requests),
                    Grouped(requests),
                    share(sum(|one| one.failed) / requests),
                ),
            ));
        }
        let soundness = &open.soundness;
        let mut sentence = match soundness.validity {
            Validity::Valid => "the figures are those of the target".to_owned(),
            Validity::Suspect => "some of the figures are partly the generator's".to_owned(),
            Validity::Invalid => "the figures are the generator's, not the target's".to_owned(),
        };
        for doubt in &soundness.findings {
            sentence.push_str("; ");
            sentence.push_str(&doubt.warning.message);
        }
        found.push(finding(
            match soundness.validity {
                Validity::Valid => Standing::Good,
                Validity::Suspect => Standing::Doubtful,
                Validity::Invalid => Standing::Bad,
            },
            &format!("measurement of {}", step.name),
            &soundness.validity.to_string().to_lowercase(),
            sentence,
        ));
    } else {
        let (calls, failed) = (step.calls(), step.failed());
        found.push(finding(
            if failed == 0 {
                Standing::Good
            } else {
                Standing::Doubtful
            },
            &format!("step {}", step.name),
            if failed == 0 {
                "no failures"
            } else {
                "failures"
            },
            format!(
                "{} calls, {} failed ({})",
                Grouped(calls as f64),
                Grouped(failed as f64),
                share(failed as f64 / calls.max(1) as f64)
            ),
        ));
    }
    found
}

fn of_search(document: &RunDocument) -> Option<Finding> {
    let search = document.capacity.as_ref()?;
    let answer = &search.answer;
    let (standing, word) = match (answer.sustains_per_s, answer.confidence) {
        (None, _) => (Standing::Bad, "none found".to_owned()),
        (Some(rate), Confidence::Confirmed) => {
            (Standing::Good, format!("{}/s confirmed", Grouped(rate)))
        }
        (Some(rate), Confidence::Estimated) => {
            (Standing::Doubtful, format!("{}/s estimated", Grouped(rate)))
        }
        (Some(rate), Confidence::BoundedBelow) => {
            (Standing::Doubtful, format!("at least {}/s", Grouped(rate)))
        }
    };
    Some(finding(
        standing,
        &format!("capacity for {}", search.objective),
        &word,
        capacity_sentence(answer, &search.calibration),
    ))
}

fn of_signing(document: &RunDocument) -> Option<Finding> {
    let record = document.signing.as_ref()?;
    let control_differs = record.comparisons.iter().any(|comparison| {
        comparison.question == crate::record::case::Question::NullControl
            && matches!(comparison.verdict, Verdict::Regressed | Verdict::Improved)
    });
    if control_differs {
        return Some(finding(
            Standing::Bad,
            "comparison of backends",
            "not to be trusted",
            "the control found a difference between a backend and itself".to_owned(),
        ));
    }
    let fastest = record.fastest();
    Some(finding(
        Standing::Good,
        "comparison of backends",
        &fastest.join(", "),
        match fastest.len() {
            0 => "nothing was compared".to_owned(),
            1 => "signs fastest here, by CPU time".to_owned(),
            _ => "sign fastest here, by CPU time; they cannot be told apart".to_owned(),
        },
    ))
}

fn finding(standing: Standing, subject: &str, word: &str, sentence: String) -> Finding {
    Finding {
        standing,
        subject: subject.to_owned(),
        word: word.to_owned(),
        sentence,
    }
}

/// Shows a share as percent, with three significant digits.
pub(in crate::report) fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.001 => "< 0.001 %".to_owned(),
        percent if percent < 0.1 => format!("{percent:.3} %"),
        percent if percent < 9.995 => format!("{percent:.2} %"),
        percent => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    fn of<'a>(found: &'a [Finding], subject: &str) -> &'a Finding {
        found
            .iter()
            .find(|finding| finding.subject.starts_with(subject))
            .unwrap_or_else(|| panic!("{subject} in {found:?}"))
    }

    #[test]
    fn the_worst_comes_first_and_each_has_its_standing() {
        let found = verdicts(&sample::document());
        assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.standing)));
        // 5 of 1000 failed, where a thousandth may.
        assert_eq!(of(&found, "objective").standing, Standing::Bad);
        assert_eq!(of(&found, "objective").word, "missed");
        assert_eq!(
            of(&found, "measurement of open").standing,
            Standing::Doubtful
        );
        assert_eq!(of(&found, "step first step").standing, Standing::Doubtful);
        assert_eq!(of(&found, "capacity").word, "1,000/s confirmed");
    }

    #[test]
    fn an_objective_that_is_met_is_good() {
        let mut document = sample::document();
        document.scenario["objective"] = "p90<500ms,errors<1%".into();
        let found = verdicts(&document);
        assert_eq!(of(&found, "objective").standing, Standing::Good);
    }

    #[test]
    fn an_invalid_measurement_decides_nothing_about_an_objective() {
        for objective in ["p90<500ms,errors<1%", "p99<1us"] {
            let mut document = sample::document();
            document.scenario["objective"] = objective.into();
            let open = document.steps[1].open.as_mut().unwrap();
            open.soundness.validity = Validity::Invalid;
            let found = verdicts(&document);
            assert_eq!(of(&found, "objective").standing, Standing::Doubtful);
            assert_eq!(of(&found, "measurement of open").standing, Standing::Bad);
        }
    }

    #[test]
    fn a_partial_run_is_bad_whatever_else_it_is() {
        let mut document = sample::document();
        document.partial = Some("it was stopped".into());
        let found = verdicts(&document);
        assert_eq!(of(&found, "the run").standing, Standing::Bad);
    }

    #[test]
    fn shares_keep_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_000_1, "< 0.001 %"),
            (0.000_5, "0.050 %"),
            (0.012_34, "1.23 %"),
            (0.5, "50.0 %"),
        ] {
            assert_eq!(share(value), text);
        }
    }
}
