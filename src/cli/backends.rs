//! `mintmark backends`: what can sign in this build, and what to know of it.

use clap::Args;

use super::{Exit, Failure, print_json};
use crate::signer::Registry;

/// Lists the signing backends of this build.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mintmark backends --json | jq -r '.[].name'")]
pub(super) struct Flags {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let facts: Vec<_> = Registry::compiled()
        .iter()
        .map(|backend| backend.facts())
        .collect();
    if flags.json {
        print_json(&facts)?;
        return Ok(Exit::Success);
    }
    for fact in facts {
        println!("{} {} ({})", fact.name, fact.version, fact.linkage);
        println!("  licence      {}", fact.licence);
        println!("  blinding     {}", fact.blinding);
        println!("  fault check  {}", fact.fault_check);
        for caveat in fact.caveats {
            println!("  note         {caveat}");
        }
    }
    Ok(Exit::Success)
}
