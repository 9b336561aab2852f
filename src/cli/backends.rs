//! `mintmark backends`: what can sign in this build, and what to know of it.

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, print_json};
use crate::signer::registry::Absent;
use crate::signer::{Algorithm, Facts, Registry};

/// Lists the signing backends: those that can run, and why others cannot.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark backends\n  \
    mintmark backends --json | jq -r '.compiled[].facts.name'\n\n\
    The pkcs11 backend takes its module, token, PIN and key from the environment:\n  \
    MINTMARK_PKCS11_MODULE, _TOKEN or _SLOT, _PIN or _PIN_FILE, _KEY, _IMPORT.")]
pub(super) struct Flags {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    compiled: Vec<Compiled>,
    absent: Vec<Absent>,
}

#[derive(Serialize)]
struct Compiled {
    facts: Facts,
    /// Why it cannot run here, if it cannot.
    unavailable: Option<String>,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let listing = Listing {
        compiled: Registry::compiled()
            .iter()
            .map(|backend| Compiled {
                facts: backend.facts(),
                unavailable: backend.unavailable(),
            })
            .collect(),
        absent: Registry::absent(),
    };
    if flags.json {
        print_json(&listing)?;
        return Ok(Exit::Success);
    }
    for compiled in &listing.compiled {
        show(compiled);
    }
    for absent in &listing.absent {
        println!(
            "{}\n  absent       build with --features {}\n  needs        {}",
            absent.name, absent.feature, absent.needs
        );
    }
    Ok(Exit::Success)
}

fn show(compiled: &Compiled) {
    let facts = &compiled.facts;
    println!("{} {}", facts.name, facts.version);
    if let Some(reason) = &compiled.unavailable {
        println!("  unavailable  {reason}");
    }
    let algorithms: Vec<&str> = facts
        .algorithms
        .iter()
        .copied()
        .map(Algorithm::name)
        .collect();
    for (name, text) in [
        ("library", facts.library.as_str()),
        ("licence", &facts.licence),
        ("linkage", &facts.linkage),
        ("algorithms", &algorithms.join(" ")),
        ("processor", &facts.cpu_features.join(" ")),
        ("blinding", &facts.blinding),
        ("fault check", &facts.fault_check),
    ] {
        if !text.is_empty() {
            println!("  {name:<11}  {text}");
        }
    }
    if let Some(threads) = &facts.hidden_threads {
        println!("  threads      {threads}");
    }
    for advisory in &facts.advisories {
        println!("  advisory     {advisory}");
    }
    for caveat in &facts.caveats {
        println!("  note         {caveat}");
    }
}
