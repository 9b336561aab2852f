//! `mintmark agent`: this machine as one of a fleet.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::access_flags::AccessFlags;
use super::{Exit, Failure, stop};
use crate::fleet::agent::{AgentPlan, Step, take_part};
use crate::fleet::identity::Identity;
use crate::units::Span;

/// Joins a fleet and makes its share of a load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark agent --nats nats://10.0.0.5:4222 --creds agent.creds\n  \
    mintmark agent --nats nats://10.0.0.5:4222 --again\n  \
    mintmark agent --new-identity ~/.config/mintmark-agent\n\n\
    Exit codes: 0 the run has a result, 2 usage, 3 the agent could not take part or the\n\
    coordinator came to no result.")]
pub(super) struct Flags {
    #[command(flatten)]
    access: AccessFlags,

    /// The only place to take, from 0; the first free one if not given.
    #[arg(long, value_name = "N", env = "JOB_COMPLETION_INDEX")]
    slot: Option<usize>,

    /// How long to wait for a run, and for its beginning.
    #[arg(long, value_name = "SPAN", default_value = "10m")]
    join_timeout: Span,

    /// How long to keep what was measured if the coordinator is silent.
    #[arg(long, value_name = "SPAN", default_value = "10m")]
    keep_for: Span,

    /// The file by which this agent gets keys that a coordinator sends.
    #[arg(long, value_name = "FILE", env = "MINTMARK_IDENTITY")]
    identity: Option<PathBuf>,

    /// Make such a file, print the public key for the coordinator's list, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    new_identity: Option<PathBuf>,

    /// Wait for the next run after each.
    #[arg(long)]
    again: bool,

    /// End with the process that started this one.
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    if flags.with_parent {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(Failure::failed)?;
    }
    if let Some(path) = &flags.new_identity {
        let made = Identity::create(path).map_err(Failure::failed)?;
        println!("{}", made.recipient());
        return Ok(Exit::Success);
    }
    let access = flags.access.access()?;
    let identity = flags.identity.as_deref().map(Identity::read);
    let identity = identity.transpose().map_err(Failure::usage)?;
    let plan = AgentPlan {
        access,
        slot: flags.slot,
        identity: identity.map(Arc::new),
        patience: flags.join_timeout.0,
        keep_for: flags.keep_for.0,
    };
    let stop = stop::on_signals().map_err(Failure::failed)?;
    loop {
        take_part(&plan, &stop, &mut |step| match step {
            Step::Waiting => eprintln!("mintmark: waits for a run of {}", plan.access.fleet),
            Step::Preparing(run) => eprintln!("mintmark: prepares {run}"),
            Step::Ready(slot) => eprintln!("mintmark: ready as agent {slot}"),
            Step::Running => eprintln!("mintmark: runs"),
            Step::Done => eprintln!("mintmark: done, the coordinator has a result"),
        })
        .map_err(Failure::failed)?;
        if !flags.again {
            return Ok(Exit::Success);
        }
    }
}
