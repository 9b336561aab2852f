//! What does a cached token cost, and what does its expiry?
//!
//! Four questions, each with a goal: the price of a hit, the requests of a
//! herd that starts together, the latency of reads while tokens expire, and
//! the memory of a million subjects. Prices are processor time of the thread
//! that hits, in short windows of all arms in turn, so that the neighbours of
//! a shared machine weigh on all arms alike. The load average is told.
//!
//! `cargo bench --bench token` asks all; `-- hits herd expiry memory` some of
//! them, `--json FILE` writes the figures down, `--quick` takes fewer windows.
//! A goal that is missed ends in exit code 1. On a machine with other work,
//! two threads seldom run at the same time; `chrt --fifo 1` in front of the
//! command has them do so.
#![allow(missing_docs, clippy::print_stdout, unsafe_code)]

mod counting;
mod expiry;
mod herd;
mod hits;
mod memory;
mod stage;

use std::process::ExitCode;

use mintmark::record::Host;
use mintmark::record::host::QualityWatch;
use serde_json::{Map, Value, json};

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;

/// What a question found.
pub struct Found {
    figures: Value,
    goals: Goals,
}

/// Whether goals are met; of several, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goals {
    Met,
    /// The machine gave too little to say: no goal was missed.
    Unjudged,
    Missed,
}

impl Goals {
    fn met_if(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Missed }
    }

    fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

fn main() -> ExitCode {
    let mut asked = Vec::new();
    let mut json_path = None;
    let mut is_quick = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json_path = arguments.next(),
            "--quick" => is_quick = true,
            name if !name.starts_with('-') => asked.push(name.to_owned()),
            // Cargo's own flags.
            _ => {}
        }
    }
    let watch = QualityWatch::start();
    let host = Host::detect();
    println!("{}, {} processors", host.cpu_model, host.cpus);
    let mut figures = Map::new();
    let mut goals = Goals::Met;
    for name in ["hits", "herd", "expiry", "memory"] {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            println!("\n{name}");
            let found = match name {
                "hits" => hits::ask(is_quick),
                "herd" => herd::ask(is_quick),
                "expiry" => expiry::ask(is_quick),
                _ => memory::ask(),
            };
            figures.insert(name.to_owned(), found.figures);
            goals = goals.and(found.goals);
        }
    }
    let quality = watch.finish();
    println!(
        "\nload average {:.2}, stolen {:.2} %, goals {}",
        quality.load_average,
        quality.steal_share * 100.0,
        match goals {
            Goals::Met => "met",
            Goals::Unjudged => "met as far as the machine gave enough to say",
            Goals::Missed => "missed",
        }
    );
    if let Some(path) = json_path {
        let document = json!({
            "host": host,
            "quality": quality,
            "figures": figures,
            "goals": goals,
        });
        let text = serde_json::to_string_pretty(&document).expect("plain values are JSON");
        if let Err(error) = std::fs::write(&path, text + "\n") {
            println!("cannot write {path}: {error}");
            return ExitCode::FAILURE;
        }
    }
    if goals == Goals::Missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
