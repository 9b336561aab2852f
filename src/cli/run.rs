//! `mintmark run`: a scenario, end to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;

use super::log::LogFlags;
use super::watch::{Watch, WatchFlags};
use super::{Exit, Failure, print_json, stop};
use crate::live::Model;
use crate::record::{Folder, RunDocument, Validity};
use crate::report::run_text;
use crate::scenario::{Plan, Scenario, run as run_plan};

/// Runs a scenario file and leaves a folder of results.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark run scenarios/quickstart.toml\n  \
    mintmark run scenarios/quickstart.toml --json | jq .steps[].outcomes\n\n\
    Exit codes: 0 done, 1 the objective was missed, 2 the scenario cannot be used,\n\
    3 the run failed or was stopped early, 4 the run measured the generator more than its target.")]
pub(super) struct Flags {
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,

    /// The folder in which the run's own folder is made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// Print the record as JSON in place of the tables.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    watch: WatchFlags,
}

pub(super) fn run(flags: &Flags, log: LogFlags) -> Result<Exit, Failure> {
    let plan = Scenario::read(&flags.scenario)
        .and_then(|scenario| scenario.plan())
        .map_err(Failure::usage)?;
    run_and_keep(&plan, &flags.results, flags.json, (&flags.watch, log))
}

/// Runs a plan, keeps its record under `results` and prints it.
pub(super) fn run_and_keep(
    plan: &Plan,
    results: &Path,
    json: bool,
    (watch, log): (&WatchFlags, LogFlags),
) -> Result<Exit, Failure> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    // A folder that cannot be made is found out before the load, not after.
    let folder =
        Folder::create(results, &format!("{now}-{}", plan.name)).map_err(Failure::failed)?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let model = Arc::new(Mutex::new(Model::new(&plan.name)));
    let mut watch = Watch::start(watch, log, &model, &stop, |_| ())?;
    let outcome = run_plan(plan, &folder.run(), &stop, &mut |event| watch.hear(&event));
    watch.end_show();
    let document = match outcome {
        Ok(document) => document,
        Err(error) => return Err(Failure::failed(error)),
    };
    keep(folder, &document, json, log)?;
    watch.linger(&stop);
    Ok(exit_of(plan, &document))
}

/// Keeps a record in its folder and prints it, the latter in any case.
pub(super) fn keep(
    folder: Folder,
    document: &RunDocument,
    json: bool,
    log: LogFlags,
) -> Result<(), Failure> {
    let written = folder.write(document);
    if json {
        print_json(document)?;
    } else {
        print!("{}", run_text(document));
    }
    let path = written.map_err(Failure::failed)?;
    if json {
        log.say(&format!("the record is in {}", path.display()));
    } else {
        println!("\nThe record is in {}", path.display());
    }
    Ok(())
}

/// Says what a run came to: what was measured has to be whole and sound
/// before an objective is looked at.
pub(super) fn exit_of(plan: &Plan, document: &RunDocument) -> Exit {
    if document.partial.is_some() {
        return Exit::Failed;
    }
    let open = document
        .steps
        .iter()
        .filter_map(|step| step.open.as_deref());
    if open
        .clone()
        .any(|open| open.soundness.validity == Validity::Invalid)
    {
        return Exit::Inconclusive;
    }
    let is_missed = plan.objective.is_some_and(|objective| {
        open.clone().any(|open| {
            let counts: Vec<_> = open
                .slices
                .iter()
                .map(|slice| objective.count(slice))
                .collect();
            !objective.is_met(&counts)
        })
    });
    if is_missed {
        Exit::Missed
    } else {
        Exit::Success
    }
}
