//! How did a figure go from one run to the next?
//!
//! A series has one figure of each run of a scenario, in the order of time.
//! Runs of different machines, systems or kinds of build are series apart:
//! nothing is joined that cannot be compared. Where the scenario itself was
//! changed, the series says so. Changes are marked where a permutation test
//! finds them ([`crate::stats::change_points`]).

mod csv;
mod metric;
mod text;

use serde::Serialize;

pub use self::csv::history_csv;
pub use self::metric::{Metric, MetricError, Pick, PickError};
pub use self::text::history_text;
use crate::gate::Fingerprint;
use crate::record::library::Entry;
use crate::record::{RunDocument, Validity};
use crate::stats::change_points::change_points;

/// The version of the shape of [`History`] as JSON.
pub const HISTORY_VERSION: u32 = 1;

/// A figure over the runs of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// [`HISTORY_VERSION`].
    pub history_version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The figure.
    pub metric: Metric,
    /// The step or the backend that it is of, if there are several.
    pub of: Option<String>,
    /// The chance that a change is none.
    pub level: f64,
    /// The series, one for each machine and kind of build.
    pub series: Vec<Series>,
    /// Runs without such a figure, or whose figure is not to be believed.
    pub left_out: Vec<LeftOut>,
}

/// The runs that can be compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// On what they ran.
    pub machine: String,
    /// How that differs from the machine of the first series.
    pub differences: Vec<String>,
    /// The figures, the oldest first.
    pub points: Vec<Point>,
    /// Where they changed.
    pub changes: Vec<Change>,
}

/// One run's figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The run.
    pub run: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// The version of the program that measured.
    pub tool_version: String,
    /// The figure, in [`Metric::unit`].
    pub value: f64,
    /// Was the scenario another one than in the run before?
    pub is_other_scenario: bool,
}

/// A place where a series changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The place of the first figure after it.
    pub at: usize,
    /// The first run after it.
    pub run: String,
    /// The median before.
    pub before: f64,
    /// The median after.
    pub after: f64,
    /// The relative change.
    pub change: f64,
    /// Is it for the worse?
    pub is_worse: bool,
    /// The share of shuffled series that can be cut as well.
    pub p_value: f64,
}

/// A run that is in no series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The run.
    pub run: String,
    /// Why.
    pub reason: String,
}

impl History {
    /// Gathers the figure that `pick` asks for from the runs of `scenario`.
    ///
    /// `last` limits each series to the latest so many runs.
    ///
    /// # Errors
    ///
    /// `pick` does not say which step or backend is meant.
    pub fn of(
        entries: &[Entry],
        scenario: &str,
        pick: &Pick,
        level: f64,
        last: Option<usize>,
    ) -> Result<Self, PickError> {
        let documents: Vec<&RunDocument> = entries
            .iter()
            .filter_map(|entry| entry.document.as_ref().ok())
            .filter(|document| document.scenario_name() == scenario)
            .collect();
        let (metric, of) = pick.resolve(&documents)?;
        let mut groups: Vec<(Fingerprint, Vec<&RunDocument>, Vec<f64>)> = Vec::new();
        let mut left_out = Vec::new();
        for document in documents {
            match figure(document, metric, of.as_deref()) {
                Ok(value) => {
                    // Another version is what a history is about.
                    let machine = Fingerprint::of(&document.host, "");
                    match groups.iter_mut().find(|(known, ..)| *known == machine) {
                        Some((_, documents, values)) => {
                            documents.push(document);
                            values.push(value);
                        }
                        None => groups.push((machine, vec![document], vec![value])),
                    }
                }
                Err(reason) => left_out.push(LeftOut {
                    run: document.run.clone(),
                    reason,
                }),
            }
        }
        let first = groups.first().map(|(machine, ..)| machine.clone());
        let series = groups
            .into_iter()
            .map(|(machine, documents, values)| {
                let skipped = last.map_or(0, |last| values.len().saturating_sub(last));
                let differences = first
                    .as_ref()
                    .map(|first| machine.differences(first))
                    .unwrap_or_default();
                Series::of(
                    &documents[skipped..],
                    &values[skipped..],
                    metric,
                    level,
                    differences,
                )
            })
            .collect();
        Ok(Self {
            history_version: HISTORY_VERSION,
            scenario: scenario.to_owned(),
            metric,
            of,
            level,
            series,
            left_out,
        })
    }
}

impl Series {
    fn of(
        documents: &[&RunDocument],
        values: &[f64],
        metric: Metric,
        level: f64,
        differences: Vec<String>,
    ) -> Self {
        let points: Vec<Point> = documents
            .iter()
            .zip(values)
            .enumerate()
            .map(|(at, (document, value))| Point {
                run: document.run.clone(),
                started_at: document.started_at.clone(),
                tool_version: document.tool.version.clone(),
                value: *value,
                is_other_scenario: at > 0 && documents[at - 1].scenario != document.scenario,
            })
            .collect();
        // Logarithms, since a machine's noise is a share of what it disturbs.
        let logs: Vec<f64> = values
            .iter()
            .map(|value| value.max(f64::MIN_POSITIVE).ln())
            .collect();
        let changes = change_points(&logs, level, 1)
            .into_iter()
            .map(|found| {
                let (before, after) = (found.before.exp(), found.after.exp());
                Change {
                    at: found.at,
                    run: points[found.at].run.clone(),
                    before,
                    after,
                    change: after / before - 1.0,
                    is_worse: (after > before) == metric.more_is_worse(),
                    p_value: found.p_value,
                }
            })
            .collect();
        let host = documents.last().map(|document| &document.host);
        Self {
            machine: host.map_or_else(String::new, |host| {
                format!(
                    "{}, {} processors, {} {}{}",
                    host.cpu_model,
                    host.cpus,
                    host.os,
                    host.kernel,
                    if host.is_optimised {
                        ""
                    } else {
                        ", UNOPTIMISED"
                    }
                )
            }),
            differences,
            points,
            changes,
        }
    }
}

/// Returns a run's figure, or why it has none.
fn figure(document: &RunDocument, metric: Metric, of: Option<&str>) -> Result<f64, String> {
    if let Some(reason) = &document.partial {
        return Err(format!("it is partial: {reason}"));
    }
    let invalid = document
        .steps
        .iter()
        .filter(|step| of.is_none_or(|of| step.name == of))
        .filter_map(|step| step.open.as_deref())
        .any(|open| open.soundness.validity == Validity::Invalid);
    if invalid && metric.is_of_steps() {
        return Err("it is INVALID by its own measure".to_owned());
    }
    metric
        .of(document, of)
        .filter(|value| value.is_finite() && *value > 0.0)
        .ok_or_else(|| format!("it has no {}", metric.name()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::record::sample;

    /// A run of the sample whose rate of answers is `goodput` per second.
    fn entry(number: u32, machine: &str, answered: u64) -> Entry {
        let mut document = sample::document();
        document.run = format!("run-{number:02}");
        document.host.cpu_model = machine.to_owned();
        document.steps.truncate(1);
        let step = &mut document.steps[0];
        step.outcomes = [("answered".to_owned(), answered)].into();
        Entry {
            run: document.run.clone(),
            path: PathBuf::new(),
            bytes: 0,
            document: Ok(document),
        }
    }

    fn pick(metric: Metric) -> Pick {
        Pick {
            metric: Some(metric),
            step: None,
            backend: None,
        }
    }

    #[test]
    fn a_drop_is_marked_where_it_was_and_called_worse() {
        let entries: Vec<Entry> = (0..20)
            .map(|number| {
                let level = if number < 12 { 1_000 } else { 900 };
                entry(number, "A", level + u64::from(number * 7 % 5))
            })
            .collect();
        let history = History::of(&entries, "sample", &pick(Metric::Goodput), 0.01, None).unwrap();
        assert_eq!(history.series.len(), 1);
        let changes = &history.series[0].changes;
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!((changes[0].at, changes[0].run.as_str()), (12, "run-12"));
        assert!(changes[0].is_worse && (changes[0].change + 0.1).abs() < 0.01);
        let late = History::of(&entries, "sample", &pick(Metric::Goodput), 0.01, Some(8)).unwrap();
        assert_eq!(late.series[0].points.len(), 8);
        assert!(late.series[0].changes.is_empty());
    }

    #[test]
    fn machines_are_series_apart_and_say_how_they_differ() {
        let entries: Vec<Entry> = (0..20)
            .map(|number| match number % 2 {
                0 => entry(number, "A", 1_000),
                _ => entry(number, "B", 500),
            })
            .collect();
        let history = History::of(&entries, "sample", &pick(Metric::Goodput), 0.01, None).unwrap();
        assert_eq!(history.series.len(), 2);
        assert!(
            history
                .series
                .iter()
                .all(|series| series.points.len() == 10)
        );
        assert!(
            history
                .series
                .iter()
                .all(|series| series.changes.is_empty())
        );
        assert!(history.series[0].differences.is_empty());
        assert!(history.series[1].differences[0].contains("processor"));
    }

    #[test]
    fn what_is_partial_or_of_another_scenario_is_not_joined() {
        let mut entries: Vec<Entry> = (0..4).map(|n| entry(n, "A", 1_000)).collect();
        let change = |entry: &mut Entry, change: fn(&mut RunDocument)| {
            change(entry.document.as_mut().unwrap());
        };
        change(&mut entries[0], |document| {
            document.partial = Some("it was stopped".into());
        });
        change(&mut entries[1], |document| {
            document.scenario["name"] = "another".into();
        });
        change(&mut entries[3], |document| {
            document.scenario["objective"] = "p99<1s".into();
        });
        let history = History::of(&entries, "sample", &pick(Metric::Goodput), 0.01, None).unwrap();
        let points = &history.series[0].points;
        assert_eq!(points.len(), 2);
        assert!(!points[0].is_other_scenario && points[1].is_other_scenario);
        assert_eq!(history.left_out.len(), 1);
        assert!(history.left_out[0].reason.contains("stopped"));
    }

    #[test]
    fn every_form_shows_the_same_figures() {
        let entries: Vec<Entry> = (0..12)
            .map(|number| entry(number, "A", if number < 6 { 1_000 } else { 1_200 }))
            .collect();
        let history = History::of(&entries, "sample", &pick(Metric::Goodput), 0.01, None).unwrap();
        let csv = history_csv(&history);
        assert_eq!(csv.lines().count(), 13);
        let value = history.series[0].points[6].value;
        assert!(csv.contains(&format!(",{value},")), "{csv}");
        let text = history_text(&history);
        assert!(
            text.contains("+20.0 %") && text.contains("run-06"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }

    #[test]
    fn a_figure_is_read_by_its_word_alone() {
        for metric in Metric::ALL {
            assert_eq!(metric.word().parse(), Ok(metric));
        }
        let error = "latency".parse::<Metric>().unwrap_err().to_string();
        assert!(
            error.contains("p99") && error.contains("capacity"),
            "{error}"
        );
    }

    #[test]
    fn a_step_has_to_be_named_where_there_are_several() {
        let mut entries = vec![entry(0, "A", 1)];
        let two = sample::document();
        entries[0].document = Ok(two.clone());
        let error = History::of(&entries, "sample", &pick(Metric::P99), 0.01, None).unwrap_err();
        let names = two.steps.iter().map(|step| step.name.clone());
        for name in names {
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}
