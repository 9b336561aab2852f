//! `mintmark gate`: did a change make signing or an endpoint slower?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::gate_saved::{self, InitFlags};
use super::gate_targets;
use super::key_flags::KeyFlags;
use super::matrix_flags::MatrixFlags;
use super::{Exit, Failure, print_json, stop};
use crate::bench::SigningKey;
use crate::clock::SystemClock;
use crate::gate::config::{Config, Side};
use crate::gate::{
    Backends, Builds, Cells, Contest, GateRecord, Keys, OnInconclusive, Plan, Watched,
    run as run_gate,
};
use crate::load::objective::Objective;
use crate::report::{gate_junit, gate_markdown, gate_text};
use crate::signer::{KeyKind, Registry};
use crate::stats::Tolerance;
use crate::units::Span;

/// Decides whether a change made signing or an endpoint slower.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    mintmark gate --baseline ring --candidate aws-lc-rs\n  \
    mintmark gate --baseline-bin old/mintmark --candidate-bin new/mintmark --backends aws-lc-rs,batch\n  \
    mintmark gate --baseline-url http://old:8080 --candidate-url http://new:8080 --scenario load.toml\n  \
    mintmark gate --config gate.toml --junit gate.xml --markdown gate.md\n  \
    mintmark gate init\n\n\
    Exit codes: 0 pass, 1 regressed or objective missed, 2 the flags or the file cannot be used, 3 stopped,\n  \
    4 inconclusive, 5 not comparable."
)]
pub(super) struct Flags {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The backend that is compared with.
    #[arg(long, value_name = "NAME", requires = "candidate")]
    baseline: Option<String>,

    /// The backend that is judged.
    #[arg(long, value_name = "NAME", requires = "baseline")]
    candidate: Option<String>,

    /// The build that is compared with: a mintmark program.
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    baseline_bin: Option<PathBuf>,

    /// The build that is judged; this one if not given.
    #[arg(long, value_name = "FILE", requires = "baseline_bin")]
    candidate_bin: Option<PathBuf>,

    /// The endpoint that is compared with.
    #[arg(long, value_name = "URL", requires_all = ["candidate_url", "scenario"], conflicts_with_all = ["baseline", "baseline_bin", "backends", "key"])]
    baseline_url: Option<String>,

    /// The endpoint that is judged.
    #[arg(long, value_name = "URL", requires = "baseline_url")]
    candidate_url: Option<String>,

    /// The load that both endpoints get: a scenario of the open model.
    #[arg(long, value_name = "FILE", requires = "baseline_url")]
    scenario: Option<PathBuf>,

    /// What the judged endpoint is to achieve; the scenario's own unless given.
    #[arg(long, value_name = "OBJECTIVE", requires = "baseline_url")]
    objective: Option<Objective>,

    /// Saved figures to compare with, as `mintmark gate init` makes them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "baseline_bin", "baseline_url"])]
    saved: Option<PathBuf>,

    /// Let saved figures decide the exit code.
    #[arg(long)]
    trust_saved: bool,

    /// A family of cases: baseline, candidate, cases and tolerances.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "baseline_bin", "baseline_url", "saved"])]
    config: Option<PathBuf>,

    /// The backends to measure where builds or saved figures are compared.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    backends: Vec<String>,

    #[command(flatten)]
    matrix: MatrixFlags,

    #[command(flatten)]
    keys: KeyFlags,

    /// The smallest change of a signature's time that is told, in percent; 1
    /// unless given. Those of endpoints are in the configuration.
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["baseline_url", "config"])]
    tolerance: Option<f64>,

    /// The longest time for one case: 16s, and 12m for two endpoints.
    #[arg(long, value_name = "SPAN")]
    most: Option<Span>,

    /// What an undecided gate does: report (exit code 4), pass (0) or fail (1).
    #[arg(long, value_name = "WHAT")]
    on_inconclusive: Option<WhenUndecided>,

    /// The seed of the order of blocks.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Print the record as JSON.
    #[arg(long)]
    json: bool,

    /// Write the record as JSON to a file as well.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write JUnit's XML as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write Markdown for a job's summary as well.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Saves figures of this build, and writes a configuration that compares
    /// with them.
    Init(InitFlags),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenUndecided {
    Report,
    Pass,
    Fail,
}

/// The error that all verdicts of a gate share.
pub(super) const ALPHA: f64 = 0.01;

/// The smallest change of a signature's time that is told, in percent.
const USUAL_TOLERANCE: f64 = 1.0;

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    if let Some(Verb::Init(init)) = &flags.verb {
        return gate_saved::initialise(init);
    }
    let keys = flags.keys.read()?;
    let config = config(flags, &keys)?;
    let registry = Registry::compiled();
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = spinner();
    let record = match (&config.baseline, &config.candidate) {
        (Side::Saved(path), Side::This) => gate_saved::compare(
            path,
            keys,
            flags.trust_saved,
            flags.seed,
            &registry,
            &stop,
            &bar,
        )?,
        (Side::Url(baseline), Side::Url(candidate)) => {
            let urls = [baseline.as_str(), candidate.as_str()];
            gate_targets::compare(urls, &config, flags.most, flags.seed, &stop, &bar)?
        }
        _ => contest(flags, &config, keys, &registry, &stop, &bar)?,
    };
    bar.finish_and_clear();
    show(flags, &record)?;
    Ok(record.exit(match flags.on_inconclusive {
        None => config.on_inconclusive,
        Some(WhenUndecided::Report) => OnInconclusive::Report,
        Some(WhenUndecided::Pass) => OnInconclusive::Pass,
        Some(WhenUndecided::Fail) => OnInconclusive::Fail,
    }))
}

fn config(flags: &Flags, keys: &[SigningKey]) -> Result<Config, Failure> {
    if let Some(path) = &flags.config {
        return Config::read(path).map_err(Failure::usage);
    }
    let tolerance = flags.tolerance.unwrap_or(USUAL_TOLERANCE);
    if !(tolerance > 0.0 && tolerance < 100.0) {
        return Err(Failure::usage(format!(
            "--tolerance is {tolerance}, expected a percentage above 0"
        )));
    }
    if let (Some(baseline), Some(candidate)) = (&flags.baseline_url, &flags.candidate_url) {
        return Ok(Config {
            baseline: Side::Url(baseline.clone()),
            candidate: Side::Url(candidate.clone()),
            on_inconclusive: OnInconclusive::default(),
            most: None,
            scenario: flags.scenario.clone(),
            objective: flags.objective,
            tolerance: None,
            cases: Vec::new(),
        });
    }
    let (baseline, candidate) = match (
        &flags.baseline,
        &flags.candidate,
        &flags.baseline_bin,
        &flags.saved,
    ) {
        (Some(baseline), Some(candidate), ..) => (
            Side::Backend(baseline.clone()),
            Side::Backend(candidate.clone()),
        ),
        (_, _, Some(baseline), _) => (
            Side::Binary(baseline.clone()),
            flags.candidate_bin.clone().map_or(Side::This, Side::Binary),
        ),
        (.., Some(saved)) => (Side::Saved(saved.clone()), Side::This),
        _ => {
            return Err(Failure::usage(
                "nothing to compare, expected --baseline and --candidate, --baseline-bin, --baseline-url, --saved or --config",
            ));
        }
    };
    Ok(Config {
        baseline,
        candidate,
        on_inconclusive: OnInconclusive::default(),
        most: None,
        scenario: None,
        objective: None,
        tolerance: None,
        cases: vec![cells(
            &flags.matrix,
            &flags.backends,
            tolerance / 100.0,
            keys,
        )],
    })
}

/// Makes the block of cases that flags describe, given the keys that were
/// brought.
pub(super) fn cells(
    matrix: &MatrixFlags,
    backends: &[String],
    tolerance: f64,
    keys: &[SigningKey],
) -> Cells {
    let mut bits = matrix.bits.clone();
    if bits.is_empty() {
        let rsa = keys.iter().filter(|key| key.key.kind() == KeyKind::Rsa);
        bits.extend(rsa.map(|key| key.key.bits()));
        bits.sort_unstable();
        bits.dedup();
    }
    if bits.is_empty() {
        bits.push(2048);
    }
    Cells {
        backends: backends.to_vec(),
        algorithms: matrix.algorithms.clone(),
        bits,
        threads: matrix.threads.clone(),
        key_policies: matrix.key_policies.clone(),
        claims_bytes: matrix.claims_bytes.clone(),
        tolerance: Tolerance {
            floor: tolerance,
            mean: tolerance,
        },
    }
}

fn contest(
    flags: &Flags,
    config: &Config,
    keys: Vec<SigningKey>,
    registry: &Registry,
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> Result<GateRecord, Failure> {
    let cases = config.gate_cases(&usual_backends(registry));
    let sides = cases
        .iter()
        .flat_map(|case| [&case.baseline, &case.candidate]);
    let keys = Arc::new(Keys::of(keys, sides).map_err(Failure::usage)?);
    let mut contest: Box<dyn Contest + '_> = match (&config.baseline, &config.candidate) {
        (Side::Backend(baseline), Side::Backend(candidate)) => {
            for name in [baseline, candidate] {
                registry.get(name).map_err(Failure::usage)?;
            }
            Box::new(Backends::new(registry, keys, baseline, candidate))
        }
        (baseline @ (Side::Binary(_) | Side::This), candidate @ (Side::Binary(_) | Side::This)) => {
            Box::new(Builds::new(keys, &path_of(baseline)?, &path_of(candidate)?))
        }
        _ => {
            return Err(Failure::usage(
                "the sides do not match, expected two backends, two binaries, two URLs, or saved figures as the baseline and `this` as the candidate",
            ));
        }
    };
    let plan = Plan {
        cases,
        looks: looks(flags.most.or(config.most))?,
        alpha: ALPHA,
        seed: flags.seed,
    };
    run_gate(
        contest.as_mut(),
        &plan,
        &SystemClock::new(),
        stop,
        &mut |watched: &Watched<'_>| {
            watch(bar, watched);
        },
    )
    .map_err(Failure::usage)
}

/// The backends that are compared between builds if none are named: those
/// that load tests sign with.
pub(super) fn usual_backends(registry: &Registry) -> Vec<String> {
    registry
        .names()
        .into_iter()
        .filter(|name| ["aws-lc-rs", "batch", "ring"].contains(&name.as_str()))
        .collect()
}

fn path_of(side: &Side) -> Result<PathBuf, Failure> {
    match side {
        Side::Binary(path) => fs::canonicalize(path).map_err(|error| {
            Failure::usage(format!("cannot find the build {}: {error}", path.display()))
        }),
        _ => std::env::current_exe().map_err(Failure::failed),
    }
}

/// Returns the usual looks up to `most`, which is the last one.
fn looks(most: Option<Span>) -> Result<Vec<Duration>, Failure> {
    let Some(Span(most)) = most else {
        return Ok(Plan::LOOKS.to_vec());
    };
    if most < Duration::from_millis(500) {
        return Err(Failure::usage(
            "--most is below 500ms, expected time for a hundred quads at least",
        ));
    }
    let mut looks: Vec<Duration> = Plan::LOOKS.into_iter().filter(|at| *at < most).collect();
    looks.push(most);
    Ok(looks)
}

fn show(flags: &Flags, record: &GateRecord) -> Result<(), Failure> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
    };
    if let Some(path) = &flags.out {
        let text = serde_json::to_string_pretty(record).map_err(Failure::failed)?;
        write(path, &text)?;
    }
    if let Some(path) = &flags.junit {
        write(path, &gate_junit(record).map_err(Failure::failed)?)?;
    }
    if let Some(path) = &flags.markdown {
        write(path, &gate_markdown(record))?;
    }
    if flags.json {
        print_json(record)?;
    } else {
        print!("{}", gate_text(record));
    }
    Ok(())
}

/// Shows how far a gate is.
pub(super) fn watch(bar: &ProgressBar, watched: &Watched<'_>) {
    bar.set_message(format!(
        "{} of {}: {}",
        watched.done + 1,
        watched.of,
        watched.case
    ));
    bar.tick();
}

pub(super) fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar
}
