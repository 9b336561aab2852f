//! How do several results compare, figure by figure?
//!
//! Figures stand beside each other and nothing is decided: the gate decides.
//! Results of other machines or programs are said to be so.

use serde::Serialize;

use super::Summary;
use crate::record::RunDocument;
use crate::units::{Grouped, Shown};

/// Results beside each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SideBySide {
    /// The runs, one a column.
    pub runs: Vec<String>,
    /// Figures: a name, and a text for each run; `–` where there is none.
    pub rows: Vec<(String, Vec<String>)>,
    /// What makes the columns hard to compare.
    pub differences: Vec<String>,
}

/// Puts results beside each other.
#[must_use]
pub fn side_by_side(documents: &[RunDocument], summaries: &[Summary]) -> SideBySide {
    let mut rows = Vec::new();
    let mut add = |name: String, of: &dyn Fn(&Summary) -> Option<String>| {
        let texts: Vec<_> = summaries
            .iter()
            .map(|summary| of(summary).unwrap_or_else(|| "–".to_owned()))
            .collect();
        if texts.iter().any(|text| text != "–") {
            rows.push((name, texts));
        }
    };
    add("worst verdict".into(), &|one| {
        let worst = one.verdicts.first()?;
        Some(format!("{}: {}", worst.subject, worst.word))
    });
    add("began".into(), &|one| {
        // To the second.
        let second = one.started_at.split('.').next().unwrap_or_default();
        Some(second.trim_end_matches('Z').replace('T', " "))
    });
    for step in names(summaries, |one| {
        one.steps.iter().map(|step| step.name.clone()).collect()
    }) {
        let find = |one: &Summary| one.steps.iter().find(|other| other.name == step).cloned();
        let time =
            |ns: Option<u64>| ns.map(|ns| Shown(std::time::Duration::from_nanos(ns)).to_string());
        add(format!("{step}: answered"), &|one| {
            Some(format!("{}/s", Grouped(find(one)?.goodput_per_s)))
        });
        add(format!("{step}: p50"), &|one| {
            time(find(one)?.response?.p50_ns)
        });
        add(format!("{step}: p99"), &|one| {
            time(find(one)?.response?.p99_ns)
        });
        add(format!("{step}: max"), &|one| {
            time(Some(find(one)?.response?.max_ns))
        });
        add(format!("{step}: CPU a call"), &|one| {
            time(find(one)?.client_cpu_per_call_ns)
        });
        add(format!("{step}: failed"), &|one| {
            Some(Grouped(find(one)?.failed as f64).to_string())
        });
    }
    for backend in names(summaries, |one| {
        one.backends.iter().map(|line| line.name.clone()).collect()
    }) {
        add(format!("{backend}: signatures per CPU second"), &|one| {
            let line = one.backends.iter().find(|line| line.name == backend)?;
            Some(Grouped(line.per_core_per_s).to_string())
        });
    }
    add("capacity".into(), &|one| one.capacity.clone());
    SideBySide {
        runs: summaries.iter().map(|one| one.run.clone()).collect(),
        rows,
        differences: differences(documents),
    }
}

/// Lists names in the order in which they first occur.
fn names(summaries: &[Summary], of: impl Fn(&Summary) -> Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in summaries.iter().flat_map(of) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn differences(documents: &[RunDocument]) -> Vec<String> {
    let Some(first) = documents.first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut note = |differs: &dyn Fn(&RunDocument) -> bool, sentence: &str| {
        if documents.iter().any(differs) {
            found.push(sentence.to_owned());
        }
    };
    note(
        &|other| other.host != first.host,
        "the results come from different machines or builds: ratios within one result hold, those between results may not",
    );
    note(
        &|other| other.tool.version != first.tool.version,
        "the results come from different versions of the program",
    );
    note(
        &|other| other.scenario_name() != first.scenario_name(),
        "the results are those of different scenarios",
    );
    note(
        &|other| {
            let busy = |one: &RunDocument| one.quality.load_average / one.host.cpus.max(1) as f64;
            (busy(other) - busy(first)).abs() > 1.0
        },
        "the machine was not equally busy",
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn a_figure_that_one_result_lacks_is_a_dash_there() {
        let whole = sample::document();
        let mut less = sample::document();
        less.run = "less".into();
        less.steps.remove(0);
        less.host.cpu_model = "Another".into();
        let documents = [whole, less];
        let summaries: Vec<_> = documents.iter().map(Summary::of).collect();
        let table = side_by_side(&documents, &summaries);
        assert_eq!(table.runs, ["20261120T100000Z-sample", "less"]);
        let (_, row) = table
            .rows
            .iter()
            .find(|(name, _)| name == "first step: answered")
            .unwrap();
        assert_eq!(row, &["400/s", "–"]);
        assert_eq!(table.differences.len(), 1);
    }

    #[test]
    fn results_of_one_kind_have_no_differences() {
        let documents = [sample::document(), sample::document()];
        let summaries: Vec<_> = documents.iter().map(Summary::of).collect();
        assert!(side_by_side(&documents, &summaries).differences.is_empty());
    }
}
