//! `mintmark scenario`: look at scenario files without running them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Failure, print_json};
use crate::scenario::Scenario;

/// Checks and shows scenario files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark scenario check scenarios/*.toml\n  \
    mintmark scenario show scenarios/steady.toml\n  \
    mintmark scenario schema > scenario.schema.json\n\n\
    Exit codes: 0 all can be used, 2 one cannot.")]
pub(super) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Says of each file whether it can be used, and if not, why.
    Check {
        /// The scenario files.
        #[arg(value_name = "SCENARIO", required = true)]
        files: Vec<PathBuf>,
    },
    /// Prints a scenario with its defaults resolved, as JSON.
    Show {
        /// The scenario file.
        #[arg(value_name = "SCENARIO")]
        file: PathBuf,
    },
    /// Prints the JSON Schema of scenario files.
    Schema,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    match &flags.what {
        What::Check { files } => {
            let mut exit = Exit::Success;
            for file in files {
                match Scenario::read(file).and_then(|scenario| scenario.plan()) {
                    Ok(plan) => println!("{}: {}", file.display(), plan.description),
                    Err(error) => {
                        eprintln!("mintmark: {}", crate::error::Chain(&error));
                        exit = Exit::Usage;
                    }
                }
            }
            Ok(exit)
        }
        What::Show { file } => {
            let plan = Scenario::read(file)
                .and_then(|scenario| scenario.plan())
                .map_err(Failure::usage)?;
            print_json(&plan)?;
            Ok(Exit::Success)
        }
        What::Schema => {
            print_json(&Scenario::schema())?;
            Ok(Exit::Success)
        }
    }
}
