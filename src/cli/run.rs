//! `mintmark run`: a scenario, end to end.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Exit, Failure, print_json, stop};
use crate::record::{Folder, RunDocument, Validity};
use crate::report::run_text;
use crate::scenario::{Event, Plan, Scenario, run as run_plan};
use crate::units::Grouped;

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
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let plan = Scenario::read(&flags.scenario)
        .and_then(|scenario| scenario.plan())
        .map_err(Failure::usage)?;
    run_and_keep(&plan, &flags.results, flags.json)
}

/// Runs a plan, keeps its record under `results` and prints it.
pub(super) fn run_and_keep(plan: &Plan, results: &Path, json: bool) -> Result<Exit, Failure> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    // A folder that cannot be made is found out before the load, not after.
    let folder =
        Folder::create(results, &format!("{now}-{}", plan.name)).map_err(Failure::failed)?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let mut progress = Progress::new();
    let outcome = run_plan(plan, &folder.run(), &stop, &mut |event| {
        progress.show(event);
    });
    progress.clear();
    let document = match outcome {
        Ok(document) => document,
        Err(error) => return Err(Failure::failed(error)),
    };
    keep(folder, &document, json)?;
    Ok(exit_of(plan, &document))
}

/// Keeps a record in its folder and prints it, the latter in any case.
pub(super) fn keep(folder: Folder, document: &RunDocument, json: bool) -> Result<(), Failure> {
    let written = folder.write(document);
    if json {
        print_json(document)?;
    } else {
        print!("{}", run_text(document));
    }
    let path = written.map_err(Failure::failed)?;
    if json {
        eprintln!("mintmark: the record is in {}", path.display());
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

/// A line on the terminal that says what goes on; silent when piped.
pub(super) struct Progress {
    bar: ProgressBar,
    step: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        bar.set_style(
            ProgressStyle::with_template("{prefix:<20} {bar:30} {msg}")
                .expect("the template is a constant that the crate accepts"),
        );
        Self {
            bar,
            step: String::new(),
        }
    }

    pub(super) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Generating { bits } => {
                self.phase("key pair", &format!("making one of {bits} bits"));
            }
            Event::Calibrating => self.phase("calibration", "what this machine can do"),
            Event::BrokerStarted { url } => self.phase("broker", &format!("listens on {url}")),
            Event::Comparing { elapsed, budget } => {
                self.phase("backends", "comparing");
                self.reach(elapsed.as_millis(), budget.as_millis());
            }
            Event::StepBegan { name } => {
                self.step = name;
                let step = self.step.clone();
                self.phase(&step, "");
            }
            Event::Step(progress) => {
                self.reach(progress.elapsed.as_millis(), progress.planned.as_millis());
                let failed = match progress.failed {
                    0 => String::new(),
                    failed => format!(", {} failed", Grouped(failed as f64)),
                };
                let answered = Grouped(progress.answered as f64);
                self.bar.set_message(format!("{answered} calls{failed}"));
            }
            Event::Compared | Event::Slice(_) | Event::StepEnded(_) => {}
        }
    }

    fn phase(&self, name: &str, message: &str) {
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message(message.to_owned());
        self.reach(0, 1);
    }

    fn reach(&self, position: u128, length: u128) {
        let narrow = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        self.bar.set_length(narrow(length.max(1)));
        self.bar.set_position(narrow(position.min(length)));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
