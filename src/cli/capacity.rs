//! `mintmark capacity`: the highest rate that an endpoint sustains.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log::LogFlags;
use super::watch::{Watch, WatchFlags};
use super::{Exit, Failure, print_json, stop};
use crate::capacity::{Confidence, LoadTrial, Search, find};
use crate::live::Model;
use crate::load::calibrate::calibrate;
use crate::load::objective::Objective;
use crate::record::{Folder, SearchRecord};
use crate::report::{capacity_sentence, rung_line};
use crate::scenario::{Event, Prepared, Scenario, SearchWatch};
use crate::units::Grouped;
use clap::Args;
use parking_lot::Mutex;

/// Searches for the highest rate that meets an objective.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark capacity scenarios/capacity.toml\n  \
    mintmark capacity scenarios/steady.toml --objective 'p99<50ms,errors<0.1%' --quick\n\n\
    The scenario's own rate is not used, everything else of it is.\n\
    Exit codes: 0 found, 2 usage, 3 failed or stopped, 4 the generator gave up first.")]
pub(super) struct Flags {
    /// The scenario file, of the open model.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,

    /// What the endpoint is to achieve; the scenario's own unless given.
    #[arg(long, value_name = "OBJECTIVE")]
    objective: Option<Objective>,

    /// Look at each rate for half as long, and call the answer an estimate.
    #[arg(long)]
    quick: bool,

    /// The rate to begin with, per second.
    #[arg(long, value_name = "PER_S", default_value_t = 50.0)]
    start: f64,

    /// The highest rate to try, per second.
    #[arg(long, value_name = "PER_S", default_value_t = 1e6)]
    limit: f64,

    /// The seed of starts: another one asks again with other arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Shrink all times by this factor, to try a scenario out.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, hide = true)]
    shorten: f64,

    /// The folder in which the search's own folder is made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// Print the record as JSON in place of the table.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    watch: WatchFlags,
}

pub(super) fn run(flags: &Flags, log: LogFlags) -> Result<Exit, Failure> {
    let plan = Scenario::read(&flags.scenario)
        .and_then(|scenario| scenario.plan())
        .map_err(Failure::usage)?;
    let objective = flags.objective.or(plan.objective).ok_or_else(|| {
        Failure::usage("the scenario has no objective, expected --objective 'p99<50ms,errors<0.1%'")
    })?;
    let is_factor = flags.shorten > 0.0 && flags.shorten <= 1.0;
    if !is_factor || flags.start <= 0.0 || flags.limit < flags.start {
        return Err(Failure::usage(
            "--start has to be above 0, --limit at least as high, and --shorten above 0 and at most 1",
        ));
    }
    let conditions = SearchWatch::start();
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let model = Arc::new(Mutex::new(Model::new(&plan.name)));
    let watch = RefCell::new(Watch::start(&flags.watch, log, &model, &stop, |_| ())?);
    let hear = |event: Event<'_>| watch.borrow().hear(&event);
    let prepared = Prepared::set(&plan, &mut |event| hear(event)).map_err(Failure::failed)?;
    hear(Event::Calibrating);
    let calibration = calibrate(
        &prepared.engine,
        &prepared.population,
        Duration::from_secs(2).mul_f64(flags.shorten),
        &stop,
    )
    .map_err(Failure::failed)?;
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    // A folder that cannot be made is found out before the search, not after.
    let folder = Folder::create(&flags.results, &format!("{now}-capacity-{}", plan.name))
        .map_err(Failure::failed)?;
    let mut search = Search {
        start_per_s: flags.start,
        limit_per_s: flags.limit,
        ..Search::new(objective)
    };
    if flags.quick {
        search = search.quick();
    }
    search = search.shortened(flags.shorten);
    let mut trial = LoadTrial {
        plan: prepared.engine.clone(),
        url: prepared.url(),
        population: &prepared.population,
        broker_tids: prepared.broker_threads(),
        objective,
        calibration: Some(calibration),
        stop: &stop,
        seed: flags.seed,
        trials: 0,
        tell: &mut |event| hear(event),
    };
    let print = |line: String| {
        if !flags.json {
            watch.borrow_mut().print(line);
        }
    };
    print(format!(
        "{}: {objective}, signed by {}; this machine sends up to {}/s",
        plan.name,
        prepared.signed_by,
        Grouped(calibration.ceiling_per_s)
    ));
    let answer = find(&search, &mut trial, &mut |rung| print(rung_line(rung)));
    watch.borrow_mut().end_show();
    let answer = answer.map_err(Failure::failed)?;
    let exit = if answer.confidence == Confidence::BoundedBelow || answer.sustains_per_s.is_none() {
        Exit::Inconclusive
    } else {
        Exit::Success
    };
    if !flags.json {
        println!("{}", capacity_sentence(&answer, &calibration));
    }
    let run = folder.run();
    let found = SearchRecord {
        objective: objective.into(),
        settings: serde_json::to_value(&search).map_err(Failure::failed)?,
        seed: flags.seed,
        calibration,
        answer,
    };
    let document = conditions
        .finish(&plan, &run, prepared, found)
        .map_err(Failure::failed)?;
    let written = folder.write(&document);
    if flags.json {
        print_json(&document)?;
    }
    let path = written.map_err(Failure::failed)?;
    if flags.json {
        log.say(&format!("the record is in {}", path.display()));
    } else {
        println!("\nThe record is in {}", path.display());
    }
    watch.into_inner().linger(&stop);
    Ok(exit)
}
