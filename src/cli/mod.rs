//! How do flags become a library call and its outcome an exit code?
//!
//! One file a verb: flags in, a call of the library, a report out. This is
//! the only floor that prints: results go to standard output, everything
//! else to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "fleet")]
mod access_flags;
#[cfg(feature = "fleet")]
mod agent;
mod app;
mod app_flags;
mod backends;
mod bench;
mod broker;
mod broker_mail;
mod broker_orders;
mod broker_tls;
mod capacity;
#[cfg(feature = "fleet")]
mod fleet;
#[cfg(feature = "fleet")]
mod fleet_control;
#[cfg(feature = "fleet")]
mod fleet_watch;
mod gate;
mod gate_saved;
mod gate_targets;
mod gate_worker;
mod history;
mod key_flags;
mod load;
mod log;
mod matrix_flags;
mod report;
mod results;
mod run;
mod scenario;
mod sign;
mod stop;
mod token;
mod watch;

use std::error::Error;

use clap::{Parser, Subcommand};

use crate::error::{Chain, Exit};

/// Measures how fast signed tokens can be minted.
#[derive(Debug, Parser)]
#[command(name = "mintmark", version, about, max_term_width = 100)]
struct Flags {
    #[command(flatten)]
    log: log::LogFlags,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Flags),
    Load(Box<load::Flags>),
    Capacity(capacity::Flags),
    #[cfg(feature = "fleet")]
    Fleet(fleet::Flags),
    #[cfg(feature = "fleet")]
    Agent(agent::Flags),
    Report(report::Flags),
    Results(results::Flags),
    History(history::Flags),
    Scenario(scenario::Flags),
    Bench(Box<bench::Flags>),
    Gate(Box<gate::Flags>),
    /// Signs when a gate tells it to.
    #[command(hide = true)]
    GateWorker,
    Backends(backends::Flags),
    Broker(Box<broker::Flags>),
    App(app::Flags),
    Sign(sign::Flags),
    Token(token::Flags),
}

/// Runs the verb that the process was started with.
#[must_use]
pub fn main() -> Exit {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are no errors; clap prints them to stdout.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            };
            let _ = error.print();
            return exit;
        }
    };
    flags.log.start();
    let outcome = match &flags.verb {
        Verb::Run(verb) => run::run(verb, flags.log),
        Verb::Load(verb) => load::run(verb, flags.log),
        Verb::Capacity(verb) => capacity::run(verb, flags.log),
        #[cfg(feature = "fleet")]
        Verb::Fleet(verb) => fleet::run(verb, flags.log),
        #[cfg(feature = "fleet")]
        Verb::Agent(verb) => agent::run(verb),
        Verb::Report(flags) => report::run(flags),
        Verb::Results(flags) => results::run(flags),
        Verb::History(flags) => history::run(flags),
        Verb::Scenario(flags) => scenario::run(flags),
        Verb::Bench(flags) => bench::run(flags),
        Verb::Gate(flags) => gate::run(flags),
        Verb::GateWorker => gate_worker::run(),
        Verb::Backends(flags) => backends::run(flags),
        Verb::Broker(verb) => broker::run(verb, flags.log),
        Verb::App(flags) => app::run(flags),
        Verb::Sign(flags) => sign::run(flags),
        Verb::Token(flags) => token::run(flags),
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            flags.log.say(&Chain(&*failure.error).to_string());
            failure.exit
        }
    }
}

/// A verb that could not do its work, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: Box<dyn Error>,
}

impl Failure {
    /// The flags or a file that they name cannot be used.
    fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// The work was begun and failed.
    fn failed(error: impl Into<Box<dyn Error>>) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }
}

/// Writes a value as JSON, as every `--json` does.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    println!("{text}");
    Ok(())
}
