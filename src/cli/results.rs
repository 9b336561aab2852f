//! `mintmark results`: what was measured, kept, named, exported and removed.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::report::{read, write};
use super::{Exit, Failure, print_json};
use crate::record::hgrm::hgrm;
use crate::record::interval_log::interval_log;
use crate::record::library::{Library, Rule};
use crate::record::{Histogram, RunDocument, StepRecord};
use crate::report::{Summary, export_database, results_text, run_text, slices_csv, step_times};
use crate::units::{Grouped, Span};

/// Lists, shows, names, exports and prunes results.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark results list\n  \
    mintmark results show 20261124T102209Z-quickstart\n  \
    mintmark results name 20261124T102209Z-quickstart release-1\n  \
    mintmark results export release-1 --format hgrm --step naive -o naive.hgrm\n  \
    mintmark results prune --keep 20 --older-than 30d\n\n\
    Exit codes: 0 done, 2 a result cannot be read, 3 something cannot be written.")]
pub(super) struct Flags {
    #[command(subcommand)]
    what: What,

    /// The folder of results.
    #[arg(
        long = "results",
        value_name = "DIR",
        default_value = "results",
        global = true
    )]
    library: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the runs, the oldest first.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one run.
    Show {
        /// A run's or baseline's name, a folder, or a result.json.
        #[arg(value_name = "RESULT")]
        result: String,

        /// Print the document as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Names a run as a baseline, which prune spares.
    Name {
        /// The run.
        #[arg(value_name = "RUN")]
        run: String,

        /// The baseline's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Removes old runs, if told so with --yes; else says which it would.
    Prune {
        /// Keep the latest of this number.
        #[arg(long, value_name = "NUMBER", required_unless_present = "older_than")]
        keep: Option<usize>,

        /// Keep what began less long ago, such as 30d or 12h.
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Option<Duration>,

        /// Do remove them.
        #[arg(long)]
        yes: bool,

        /// Print what was, or would be, removed as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes results for other programs.
    Export {
        /// Results: a run's or baseline's name, a folder, or a result.json.
        #[arg(value_name = "RESULT", required = true)]
        results: Vec<String>,

        /// The format.
        #[arg(long, value_enum)]
        format: Format,

        /// The file to write; standard output unless given.
        #[arg(short, long, value_name = "FILE", required_if_eq("format", "sqlite"))]
        output: Option<PathBuf>,

        /// The step, for hgrm.
        #[arg(long, value_name = "NAME")]
        step: Option<String>,

        /// The times, for hgrm.
        #[arg(long, value_enum, default_value_t = Times::Response)]
        times: Times,
    },
    /// Prints the JSON Schema of result documents.
    Schema,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A row for each slice.
    Csv,
    /// An HdrHistogram interval log of one result.
    Hlog,
    /// The percentile distribution of one step of one result.
    Hgrm,
    /// Tables of a database; runs that are there already are replaced.
    Sqlite,
}

/// Which times of a step.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Times {
    /// From the intended start.
    Response,
    /// From sending.
    Service,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let library = Library::at(&flags.library);
    match &flags.what {
        What::List { json } => list(&library, *json)?,
        What::Show { result, json } => {
            let documents = read(&library, std::slice::from_ref(result))?;
            for document in &documents {
                if *json {
                    print_json(document)?;
                } else {
                    print!("{}", run_text(document));
                }
            }
        }
        What::Name { run, name } => {
            library.name(run, name).map_err(Failure::usage)?;
            println!("{name} is {run}");
        }
        What::Prune {
            keep,
            older_than,
            yes,
            json,
        } => {
            let rule = Rule {
                keep: *keep,
                older_than: *older_than,
            };
            prune(&library, rule, *yes, *json)?;
        }
        What::Export {
            results,
            format,
            output,
            step,
            times,
        } => {
            let documents = read(&library, results)?;
            let bytes = match format {
                Format::Csv => slices_csv(&documents).into_bytes(),
                Format::Hlog => log(&documents)?,
                Format::Hgrm => {
                    let histogram = chosen(&documents, step.as_deref(), *times)?;
                    hgrm(&histogram).into_bytes()
                }
                Format::Sqlite => {
                    let path = output.as_deref().ok_or_else(|| {
                        Failure::usage("a database needs a file, expected --output FILE")
                    })?;
                    export_database(path, &documents).map_err(Failure::failed)?;
                    return Ok(Exit::Success);
                }
            };
            write(output.as_deref(), &bytes)?;
        }
        What::Schema => print_json(&RunDocument::schema())?,
    }
    Ok(Exit::Success)
}

fn list(library: &Library, as_json: bool) -> Result<(), Failure> {
    let runs = library.runs().map_err(Failure::usage)?;
    let baselines = library.baselines().map_err(Failure::usage)?;
    if !as_json {
        print!("{}", results_text(&runs, &baselines));
        return Ok(());
    }
    let list: Vec<_> = runs
        .iter()
        .map(|entry| {
            let names: Vec<_> = baselines
                .iter()
                .filter(|(_, run)| **run == entry.run)
                .map(|(name, _)| name)
                .collect();
            match &entry.document {
                Ok(document) => {
                    let summary = Summary::of(document);
                    json!({
                        "run": entry.run,
                        "path": entry.path,
                        "bytes": entry.bytes,
                        "baselines": names,
                        "started_at": summary.started_at,
                        "scenario": summary.scenario,
                        "standing": summary.standing(),
                        "verdicts": summary.verdicts,
                    })
                }
                Err(error) => json!({
                    "run": entry.run,
                    "path": entry.path,
                    "bytes": entry.bytes,
                    "baselines": names,
                    "error": crate::error::Chain(error).to_string(),
                }),
            }
        })
        .collect();
    print_json(&list)
}

fn prune(library: &Library, rule: Rule, yes: bool, as_json: bool) -> Result<(), Failure> {
    let pruning = library
        .pruning(rule, SystemTime::now())
        .map_err(Failure::usage)?;
    if yes {
        pruning.carry_out().map_err(Failure::failed)?;
    }
    if as_json {
        let paths: Vec<_> = pruning.doomed.iter().map(|(path, _)| path).collect();
        return print_json(&json!({
            "removed": yes,
            "folders": paths,
            "spared_baselines": pruning.spared,
        }));
    }
    let verb = if yes { "removed" } else { "would remove" };
    for (path, bytes) in &pruning.doomed {
        println!(
            "{verb} {} ({} KB)",
            path.display(),
            Grouped((bytes / 1_000) as f64)
        );
    }
    for name in &pruning.spared {
        println!("kept the baseline {name}");
    }
    if pruning.doomed.is_empty() {
        println!("nothing to remove");
    } else if !yes {
        println!("nothing was removed; --yes does it");
    }
    Ok(())
}

fn only(documents: &[RunDocument]) -> Result<&RunDocument, Failure> {
    match documents {
        [one] => Ok(one),
        several => Err(Failure::usage(format!(
            "this format holds one result, {} were given",
            several.len()
        ))),
    }
}

fn log(documents: &[RunDocument]) -> Result<Vec<u8>, Failure> {
    let document = only(documents)?;
    interval_log(document)
        .map_err(Failure::failed)?
        .ok_or_else(|| Failure::usage(format!("{} has no slices to log", document.run)))
}

fn chosen(
    documents: &[RunDocument],
    step: Option<&str>,
    times: Times,
) -> Result<Histogram, Failure> {
    let document = only(documents)?;
    let names: Vec<_> = document.steps.iter().map(|step| &*step.name).collect();
    let found: Option<&StepRecord> = match (step, document.steps.as_slice()) {
        (None, [one]) => Some(one),
        (None, _) => None,
        (Some(name), steps) => steps.iter().find(|step| step.name == name),
    };
    let step = found.ok_or_else(|| {
        Failure::usage(format!(
            "{} has the steps {names:?}, expected --step with one of them",
            document.run
        ))
    })?;
    let (response, service) = step_times(step);
    match times {
        Times::Response => Ok(response),
        Times::Service => service
            .ok_or_else(|| Failure::usage(format!("the step {:?} sent no request", step.name))),
    }
}

/// Reads an age: a span, or a number of days.
fn age(text: &str) -> Result<Duration, String> {
    if let Some(days) = text.strip_suffix('d') {
        return days
            .trim()
            .parse::<u32>()
            .map(|days| Duration::from_secs(u64::from(days) * 86_400))
            .map_err(|_| format!("{text:?} is no age, expected one such as 30d or 12h"));
    }
    text.parse::<Span>()
        .map(|span| span.0)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_days_or_spans() {
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("12h"), Ok(Duration::from_secs(12 * 3_600)));
        assert!(age("soon").is_err());
        assert!(age("1.5d").is_err());
    }
}
