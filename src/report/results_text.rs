//! How is a list of results shown on a terminal?

use std::collections::BTreeMap;
use std::fmt::Write;

use super::summary::{Standing, Summary};
use super::table::Columns;
use crate::error::Chain;
use crate::record::library::Entry;
use crate::units::Grouped;

/// Renders a list of runs, a row each.
#[must_use]
pub fn results_text(runs: &[Entry], baselines: &BTreeMap<String, String>) -> String {
    if runs.is_empty() {
        return "no results yet; `mintmark run scenarios/quickstart.toml` makes some\n".to_owned();
    }
    let mut table = Columns::new(&["run", "scenario", "verdict", "baseline", "KB"], 4);
    let mut unreadable = String::new();
    for entry in runs {
        let names: Vec<_> = baselines
            .iter()
            .filter(|(_, run)| **run == entry.run)
            .map(|(name, _)| name.as_str())
            .collect();
        let (scenario, verdict) = match &entry.document {
            Ok(document) => {
                let summary = Summary::of(document);
                // The worst comes first; one line has room for no more.
                let verdict = summary.verdicts.first().map_or_else(String::new, |first| {
                    let sign = match first.standing {
                        Standing::Good => "ok",
                        Standing::Doubtful => "?",
                        Standing::Bad => "FAIL",
                    };
                    format!("{sign} {}: {}", first.subject, first.word)
                });
                (summary.scenario, verdict)
            }
            Err(error) => {
                writeln!(unreadable, "  {}", Chain(error))
                    .expect("writing to a string does not fail");
                ("–".to_owned(), "cannot be read".to_owned())
            }
        };
        table.row([
            entry.run.clone(),
            scenario,
            verdict,
            names.join(", "),
            Grouped((entry.bytes / 1_000) as f64).to_string(),
        ]);
    }
    table.to_string() + &unreadable
}
