//! `mintmark capacity`: the highest rate that an endpoint sustains.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::run::Progress;
use super::{Exit, Failure, print_json, stop};
use crate::capacity::{Answer, Confidence, Decision, LoadTrial, Rung, Search, find};
use crate::load::calibrate::calibrate;
use crate::load::objective::Objective;
use crate::record::document::SCHEMA_VERSION;
use crate::record::{Calibration, Folder, Host, Tool, store};
use crate::scenario::{Plan, Prepared, Scenario};
use crate::units::{Grouped, Shown};

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

    /// Print the answer as JSON in place of the table.
    #[arg(long)]
    json: bool,
}

/// The file of a search within its folder.
const FILE: &str = "capacity.json";

/// What a search leaves behind: every rate that was tried, with its slices.
#[derive(Serialize)]
struct Found {
    schema_version: u32,
    run: String,
    tool: Tool,
    host: Host,
    scenario: Plan,
    search: Search,
    objective: Objective,
    signed_by: String,
    calibration: Calibration,
    /// The ceiling of this machine over the answer.
    headroom: Option<f64>,
    answer: Answer,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
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
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let mut progress = Progress::new();
    let prepared =
        Prepared::set(&plan, &mut |event| progress.show(event)).map_err(Failure::failed)?;
    progress.clear();
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
    };
    if !flags.json {
        println!(
            "{}: {objective}, signed by {}; this machine sends up to {}/s",
            plan.name,
            prepared.signed_by,
            Grouped(calibration.ceiling_per_s)
        );
    }
    let answer = find(&search, &mut trial, &mut |rung| {
        if !flags.json {
            println!("{}", line(rung));
        }
    })
    .map_err(|error| {
        // There is no answer, and an empty folder tells nothing.
        let _ = std::fs::remove_dir(folder.path());
        Failure::failed(error)
    })?;
    let headroom = answer
        .sustains_per_s
        .map(|rate| calibration.ceiling_per_s / rate);
    let exit = if answer.confidence == Confidence::BoundedBelow || answer.sustains_per_s.is_none() {
        Exit::Inconclusive
    } else {
        Exit::Success
    };
    if !flags.json {
        println!("{}", sentence(&answer, &calibration));
    }
    let found = Found {
        schema_version: SCHEMA_VERSION,
        run: folder.run(),
        tool: Tool::this(),
        host: Host::detect(),
        scenario: plan,
        search,
        objective,
        signed_by: prepared.signed_by.clone(),
        calibration,
        headroom,
        answer,
    };
    let bytes = serde_json::to_vec_pretty(&found).map_err(Failure::failed)?;
    let path = folder.path().join(FILE);
    let written = store::write_atomically(&path, &bytes);
    if flags.json {
        print_json(&found)?;
    }
    written.map_err(Failure::failed)?;
    eprintln!("mintmark: the evidence is in {}", path.display());
    Ok(exit)
}

fn line(rung: &Rung) -> String {
    format!(
        "  {:>10}/s  {:<7} {:<9} {:.3} % over, {:.3} % failed, {} slices in {}{}{}",
        Grouped(rung.per_s).to_string(),
        format!("{:?}", rung.stage).to_lowercase(),
        match rung.decision {
            Decision::Pass => "met",
            _ => "missed",
        },
        rung.share_over * 100.0,
        rung.share_failed * 100.0,
        rung.slices.len(),
        Shown(Duration::from_nanos(rung.tried_ns)),
        match rung.spoiled {
            0 => String::new(),
            spoiled => format!(", {spoiled} more left out"),
        },
        match (rung.is_generator_limited, rung.is_forced) {
            (true, _) => ", generator limited",
            (false, true) => ", by its estimate",
            (false, false) => "",
        }
    )
}

fn sentence(answer: &Answer, calibration: &Calibration) -> String {
    let sure = match answer.confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Estimated => "estimated",
        Confidence::BoundedBelow => "bounded below: the generator or the limit came first",
    };
    match (answer.sustains_per_s, answer.refuses_per_s) {
        (Some(low), Some(high)) => format!(
            "sustains {}/s, does not sustain {}/s ({sure}); this machine sends {:.1} times as much",
            Grouped(low),
            Grouped(high),
            calibration.ceiling_per_s / low
        ),
        (Some(low), None) => format!("sustains at least {}/s ({sure})", Grouped(low)),
        (None, Some(high)) => format!(
            "does not sustain {}/s, nor any lower rate that was tried",
            Grouped(high)
        ),
        (None, None) => "no rate could be tried; the generator gave up at the first".to_owned(),
    }
}
