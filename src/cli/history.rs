//! `mintmark history`: how did a figure go from one run to the next?

use std::path::PathBuf;

use clap::Args;

use super::report::write;
use super::{Exit, Failure, print_json};
use crate::record::RunDocument;
use crate::record::library::{Entry, Library};
use crate::report::history::{History, Metric, Pick, history_csv, history_text};

/// Draws a figure over the runs of a scenario and marks where it changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark history steady\n  \
    mintmark history steady --metric p50 --last 50 --csv steady.csv\n  \
    mintmark history bench --metric signatures --backend aws-lc-rs --json\n\n\
    Runs of other machines, systems or kinds of build are drawn apart.\n\
    Exit codes: 0 done, 2 there is no such series, 3 something cannot be written.")]
pub(super) struct Flags {
    /// The scenario; the only one there is unless given.
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,

    /// The figure: p50, p90, p99, p999, goodput, cpu-per-call, signatures or
    /// capacity. Unless given, p99 of loads, the capacity of searches, and the
    /// signatures of comparisons of backends.
    #[arg(long, value_name = "FIGURE")]
    metric: Option<Metric>,

    /// The step, where runs have several.
    #[arg(long, value_name = "NAME")]
    step: Option<String>,

    /// The backend, for signatures.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,

    /// Take the latest of this number only.
    #[arg(long, value_name = "NUMBER")]
    last: Option<usize>,

    /// The chance that a marked change is none, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    level: f64,

    /// The folder of results.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// Print the series as JSON.
    #[arg(long)]
    json: bool,

    /// Write the series as CSV as well.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    if !(0.1..=50.0).contains(&flags.level) {
        return Err(Failure::usage(format!(
            "--level is {}, expected 0.1 to 50 percent",
            flags.level
        )));
    }
    let entries = Library::at(&flags.results).runs().map_err(Failure::usage)?;
    let scenario = scenario(flags, &entries)?;
    let pick = Pick {
        metric: flags.metric,
        step: flags.step.clone(),
        backend: flags.backend.clone(),
    };
    let history = History::of(&entries, &scenario, &pick, flags.level / 100.0, flags.last)
        .map_err(Failure::usage)?;
    if let Some(path) = &flags.csv {
        write(Some(path), history_csv(&history).as_bytes())?;
    }
    if flags.json {
        print_json(&history)?;
    } else {
        print!("{}", history_text(&history));
    }
    Ok(Exit::Success)
}

/// Finds the scenario that is meant.
fn scenario(flags: &Flags, entries: &[Entry]) -> Result<String, Failure> {
    let mut names: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.document.as_ref().ok())
        .map(RunDocument::scenario_name)
        .collect();
    names.sort_unstable();
    names.dedup();
    match (&flags.scenario, names.as_slice()) {
        (_, []) => Err(Failure::usage(format!(
            "no results in {}, expected --results with a folder of runs",
            flags.results.display()
        ))),
        (Some(name), _) if names.contains(&name.as_str()) => Ok(name.clone()),
        (None, [one]) => Ok((*one).to_owned()),
        (given, _) => Err(Failure::usage(format!(
            "{} in {}, expected one of {}",
            given.as_ref().map_or_else(
                || "there are several scenarios".to_owned(),
                |name| format!("no run of a scenario {name:?}")
            ),
            flags.results.display(),
            names.join(", ")
        ))),
    }
}
