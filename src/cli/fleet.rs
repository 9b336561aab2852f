//! `mintmark fleet`: a scenario, run by many machines at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::access_flags::AccessFlags;
use super::fleet_control::{self, RateFlags, SteerFlags};
use super::fleet_watch::Looker;
use super::log::LogFlags;
use super::run::{exit_of, keep};
use super::watch::WatchFlags;
use super::{Exit, Failure, stop};
use crate::error::Chain;
use crate::fleet::coordinator::{Coordinator, FleetPlan, Led, Weights};
use crate::fleet::identity::Recipient;
use crate::fleet::local::LocalServer;
use crate::record::Folder;
use crate::scenario::many::{Gathered, Hosted, ManyWatch};
use crate::scenario::{Plan, Scenario, TargetPlan};
use crate::units::Span;

/// Runs a scenario on many machines at once, over NATS JetStream.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark fleet local 4 scenarios/open.toml\n  \
    mintmark fleet run steady.toml --agents 8 --nats nats://10.0.0.5:4222\n  \
    mintmark fleet rate 0.5 --nats nats://10.0.0.5:4222\n  \
    mintmark fleet pause --nats nats://10.0.0.5:4222\n\n\
    Exit codes: 0 done, 1 the objective was missed, 2 usage, 3 the run failed or was stopped,\n\
    4 the result is invalid: more than 1 % of the starts were lost, or the load measured itself.")]
pub(super) struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Waits for agents, runs a scenario with them and reports.
    Run(RunFlags),
    /// Takes over a run whose coordinator has died, and reports.
    Resume(ResumeFlags),
    /// Lets no more starts be due, until the run goes on.
    Pause(SteerFlags),
    /// Goes on at the scenario's own rate.
    Continue(SteerFlags),
    /// Goes on at a multiple of the scenario's own rate.
    Rate(RateFlags),
    /// Ends a run; its coordinator reports what was measured.
    Stop(SteerFlags),
    /// Starts a server, agents and a coordinator on this machine alone.
    Local(LocalFlags),
}

#[derive(Debug, Args)]
struct RunFlags {
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,

    /// How many agents to wait for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    agents: u32,

    /// How long to wait for them.
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    join_timeout: Span,

    /// Forget a run that was left without a result.
    #[arg(long)]
    discard: bool,

    /// Send the keys, sealed for the agents whose public keys the file lists.
    #[arg(long, value_name = "FILE")]
    send_keys_to: Option<PathBuf>,

    #[command(flatten)]
    leading: LeadingFlags,

    #[command(flatten)]
    access: AccessFlags,
}

#[derive(Debug, Args)]
struct ResumeFlags {
    /// How long to wait for agents, if the run had not begun.
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    join_timeout: Span,

    #[command(flatten)]
    leading: LeadingFlags,

    #[command(flatten)]
    access: AccessFlags,
}

#[derive(Debug, Args)]
struct LocalFlags {
    /// How many agents to start.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    agents: u32,

    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,

    #[command(flatten)]
    leading: LeadingFlags,
}

/// Flags of all ways to lead a fleet.
#[derive(Debug, Args)]
struct LeadingFlags {
    /// How large the agents' shares are.
    #[arg(long, value_enum, default_value_t = By::Equal)]
    weights: By,

    /// After which silence an agent counts as lost.
    #[arg(long, value_name = "SPAN", default_value = "8s")]
    lost_after: Span,

    /// The room for measurements at the server, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    room: u32,

    /// On how many servers of a cluster everything is kept.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,

    /// The folder in which the run's own folder is made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// Print the record as JSON in place of the tables.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    watch: WatchFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// All alike.
    Equal,
    /// By the rates at which agents sign, with all of their processors.
    Measured,
}

pub(super) fn run(flags: &Flags, log: LogFlags) -> Result<Exit, Failure> {
    match &flags.verb {
        Verb::Run(flags) => run_fleet(flags, log),
        Verb::Resume(flags) => resume(flags, log),
        Verb::Pause(flags) => fleet_control::pause(flags, log),
        Verb::Continue(flags) => fleet_control::go_on(flags, log),
        Verb::Rate(flags) => fleet_control::rate(flags, log),
        Verb::Stop(flags) => fleet_control::stop(flags, log),
        Verb::Local(flags) => local(flags, log),
    }
}

impl LeadingFlags {
    fn plan(
        &self,
        access: crate::fleet::bus::Access,
        agents: u32,
        patience: Duration,
        discards: bool,
    ) -> FleetPlan {
        FleetPlan {
            access,
            agents: agents as usize,
            weights: match self.weights {
                By::Equal => Weights::Equal,
                By::Measured => Weights::Measured,
            },
            patience,
            lost_after: self.lost_after.0,
            most_bytes: i64::from(self.room) << 20,
            replicas: self.replicas.into(),
            discards,
            recipients: Vec::new(),
        }
    }
}

fn read(path: &Path) -> Result<(Scenario, Plan), Failure> {
    let scenario = Scenario::read(path).map_err(Failure::usage)?;
    let plan = scenario.plan().map_err(Failure::usage)?;
    Ok((scenario, plan))
}

fn folder(results: &Path, name: &str) -> Result<Folder, Failure> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Folder::create(results, &format!("{now}-{name}")).map_err(Failure::failed)
}

fn run_fleet(flags: &RunFlags, log: LogFlags) -> Result<Exit, Failure> {
    let access = flags.access.access()?;
    let (scenario, plan) = read(&flags.scenario)?;
    let recipients = flags.send_keys_to.as_deref().map(Recipient::read_all);
    let recipients = recipients.transpose().map_err(Failure::usage)?;
    let folder = folder(&flags.leading.results, &plan.name)?;
    let patience = flags.join_timeout.0;
    let fleet = FleetPlan {
        recipients: recipients.unwrap_or_default(),
        ..flags
            .leading
            .plan(access, flags.agents, patience, flags.discard)
    };
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let coordinator = Coordinator::connect(fleet).map_err(Failure::failed)?;
    let watch = ManyWatch::start();
    let mut looker = Looker::start(&flags.leading.watch, log, &coordinator, &stop)?;
    let led = coordinator.lead(&scenario, &folder.run(), &stop, &mut |event| {
        looker.hear(&event);
    });
    looker.end_show();
    let exit = finish(
        &coordinator,
        watch,
        &plan,
        folder,
        gathered(led.map_err(Failure::failed)?, &stop, None),
        (flags.leading.json, log),
    )?;
    looker.linger(&stop);
    Ok(exit)
}

fn resume(flags: &ResumeFlags, log: LogFlags) -> Result<Exit, Failure> {
    let access = flags.access.access()?;
    let patience = flags.join_timeout.0;
    let fleet = flags.leading.plan(access, 1, patience, false);
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let coordinator = Coordinator::connect(fleet).map_err(Failure::failed)?;
    let watch = ManyWatch::start();
    let mut looker = Looker::start(&flags.leading.watch, log, &coordinator, &stop)?;
    let led = coordinator.resume(&stop, &mut |event| looker.hear(&event));
    looker.end_show();
    let led = led.map_err(Failure::failed)?;
    let plan = led.scenario.plan().map_err(Failure::failed)?;
    let folder = Folder::create(&flags.leading.results, &led.run).map_err(Failure::failed)?;
    let exit = finish(
        &coordinator,
        watch,
        &plan,
        folder,
        gathered(led, &stop, None),
        (flags.leading.json, log),
    )?;
    looker.linger(&stop);
    Ok(exit)
}

fn local(flags: &LocalFlags, log: LogFlags) -> Result<Exit, Failure> {
    let (mut scenario, plan) = read(&flags.scenario)?;
    let folder = folder(&flags.leading.results, &plan.name)?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let server = LocalServer::start("local").map_err(Failure::failed)?;
    let hosted = match plan.target {
        TargetPlan::Broker { .. } => {
            let hosted = Hosted::start(&scenario, &plan, server.folder(), &mut |_| ());
            Some(hosted.map_err(Failure::failed)?)
        }
        TargetPlan::Url { .. } => None,
    };
    if let Some(hosted) = &hosted {
        scenario = hosted.scenario.clone();
    }
    // Agents that share a machine would measure each other's calibration.
    scenario.load.calibrate = Some(Span::from_millis(0));
    let patience = Duration::from_secs(60);
    let fleet = flags
        .leading
        .plan(server.access.clone(), flags.agents, patience, false);
    let coordinator = Coordinator::connect(fleet).map_err(Failure::failed)?;
    let agents = (0..flags.agents as usize)
        .map(|slot| server.start_agent(slot))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::failed)?;
    let watch = ManyWatch::start();
    let mut looker = Looker::start(&flags.leading.watch, log, &coordinator, &stop)?;
    let led = coordinator.lead(&scenario, &folder.run(), &stop, &mut |event| {
        looker.hear(&event);
    });
    looker.end_show();
    if led.is_err() {
        for slot in 0..agents.len() {
            let words = server.words_of(slot);
            if let Some(last) = words.lines().last() {
                log.say(&format!("agent {slot} said: {last}"));
            }
        }
    }
    let led = led.map_err(Failure::failed)?;
    let broker = hosted.and_then(Hosted::finish);
    let exit = finish(
        &coordinator,
        watch,
        &plan,
        folder,
        gathered(led, &stop, broker),
        (flags.leading.json, log),
    );
    drop(agents);
    let exit = exit?;
    looker.linger(&stop);
    Ok(exit)
}

/// Puts together what a run came to, with its own name.
fn gathered(
    led: Led,
    stop: &Arc<AtomicBool>,
    broker: Option<std::collections::BTreeMap<String, u64>>,
) -> (String, Gathered) {
    let was_stopped =
        stop.load(std::sync::atomic::Ordering::Relaxed) || led.outcome.measured.was_stopped;
    let gathered = Gathered {
        measured: led.outcome.measured,
        soundness: led.outcome.soundness,
        calibration: led.outcome.calibration,
        key: led.key,
        signed_by: led.signed_by,
        fleet: led.outcome.fleet,
        broker,
        partial: was_stopped.then(|| "it was stopped".to_owned()),
    };
    (led.run, gathered)
}

/// Keeps and prints the record, and lets the agents go once it is on the disk.
fn finish(
    coordinator: &Coordinator,
    watch: ManyWatch,
    plan: &Plan,
    folder: Folder,
    (led, gathered): (String, Gathered),
    (json, log): (bool, LogFlags),
) -> Result<Exit, Failure> {
    let run = folder.run();
    let document = watch
        .finish(plan, &run, gathered)
        .map_err(Failure::failed)?;
    keep(folder, &document, json, log)?;
    if let Err(error) = coordinator.done(&led) {
        // The record is there; agents end by themselves.
        log.say(&format!(
            "agents could not be told of the result: {}",
            Chain(&error)
        ));
    }
    Ok(exit_of(plan, &document))
}
