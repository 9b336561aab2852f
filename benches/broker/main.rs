//! What does a token cost the broker, and what does it cost to remember?
//!
//! Two questions, each with a goal. `cost`: the processor time of a token
//! over keep-alive connections, against that of one RSA verification and 1.25
//! times that of a bare handler on the same HTTP library that answers with
//! the same bytes; all three in turn, so that the neighbours of a shared
//! machine weigh on all alike. `replay`: time and memory of the replay cache
//! at 100 000 assertions a second, on one thread and on two. `stages` shows
//! where the rest goes, without a goal.
//!
//! `cargo bench --bench broker` asks all; `-- cost replay stages` some of
//! them, `--quick` takes fewer rounds. A goal that is missed ends in exit
//! code 1.
#![allow(missing_docs, clippy::print_stdout)]

mod cost;
mod replay;
mod requests;
mod stages;

use std::process::ExitCode;

use mintmark::record::Host;
use mintmark::record::host::QualityWatch;

fn main() -> ExitCode {
    let mut asked = Vec::new();
    let mut is_quick = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => is_quick = true,
            flag if flag.starts_with('-') => {}
            name => asked.push(name.to_owned()),
        }
    }
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
    let watch = QualityWatch::start();
    println!("{:#?}", Host::detect());
    let mut meets_goals = true;
    if is_asked("cost") {
        meets_goals &= cost::measure(is_quick);
    }
    if is_asked("replay") {
        meets_goals &= replay::measure(is_quick);
    }
    if is_asked("stages") {
        stages::measure(is_quick);
    }
    println!("\n{:#?}", watch.finish());
    if meets_goals {
        ExitCode::SUCCESS
    } else {
        println!("a goal was missed");
        ExitCode::FAILURE
    }
}
