//! `mintmark gate`: did a change make signing slower?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::{Exit, Failure, print_json, stop};
use crate::bench::{Case, KeyPolicy, USUAL_CLAIMS_BYTES};
use crate::clock::SystemClock;
use crate::gate::config::{Config, Side};
use crate::gate::{
    Backends, Builds, Cells, Contest, GateCase, GateRecord, GateVerdict, Keys, OnInconclusive,
    Plan, Saved, Watched, compare_saved, measure_saved, run as run_gate,
};
use crate::report::{gate_junit, gate_markdown, gate_text};
use crate::signer::{Algorithm, Registry};
use crate::stats::Tolerance;
use crate::units::Span;

/// Decides whether a change made signing slower.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    mintmark gate --baseline ring --candidate aws-lc-rs\n  \
    mintmark gate --baseline-bin old/mintmark --candidate-bin new/mintmark --backends aws-lc-rs,batch\n  \
    mintmark gate --config gate.toml --junit gate.xml --markdown gate.md\n  \
    mintmark gate init\n\n\
    Exit codes: 0 pass, 1 regressed, 2 the flags or the file cannot be used, 3 stopped,\n  \
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

    /// Saved figures to compare with, as `mintmark gate init` makes them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "baseline_bin"])]
    saved: Option<PathBuf>,

    /// Let saved figures decide the exit code.
    #[arg(long)]
    trust_saved: bool,

    /// A family of cases: baseline, candidate, cases and tolerances.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "baseline_bin", "saved"])]
    config: Option<PathBuf>,

    #[command(flatten)]
    cells: CellFlags,

    /// The smallest change that is told, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    tolerance: f64,

    /// The longest time for one case.
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

/// The cases, as flags.
#[derive(Debug, Args)]
struct CellFlags {
    /// The backends to measure where builds or saved figures are compared.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    backends: Vec<String>,

    /// The signature algorithms.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "RS256"
    )]
    algorithms: Vec<Algorithm>,

    /// The sizes of RSA keys.
    #[arg(
        long,
        value_name = "BITS",
        value_delimiter = ',',
        default_value = "2048"
    )]
    bits: Vec<usize>,

    /// The numbers of threads.
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1"
    )]
    threads: Vec<usize>,

    /// What is done about the key for each signature.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "reused"
    )]
    key_policies: Vec<KeyPolicy>,

    /// The sizes of the claims, in bytes.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [USUAL_CLAIMS_BYTES])]
    claims_bytes: Vec<usize>,
}

impl CellFlags {
    fn cells(&self, tolerance: f64) -> Cells {
        Cells {
            backends: self.backends.clone(),
            algorithms: self.algorithms.clone(),
            bits: self.bits.clone(),
            threads: self.threads.clone(),
            key_policies: self.key_policies.clone(),
            claims_bytes: self.claims_bytes.clone(),
            tolerance: Tolerance {
                floor: tolerance,
                mean: tolerance,
            },
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Saves figures of this build, and writes a configuration that compares
    /// with them.
    Init(InitFlags),
}

#[derive(Debug, Args)]
struct InitFlags {
    #[command(flatten)]
    cells: CellFlags,

    /// The configuration file to write.
    #[arg(long, value_name = "FILE", default_value = "gate.toml")]
    config: PathBuf,

    /// The file for the saved figures.
    #[arg(long, value_name = "FILE", default_value = "gate-baseline.json")]
    baseline: PathBuf,

    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenUndecided {
    Report,
    Pass,
    Fail,
}

/// The error that all verdicts of a gate share.
const ALPHA: f64 = 0.01;

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    if let Some(Verb::Init(init)) = &flags.verb {
        return initialise(init);
    }
    let config = config(flags)?;
    let registry = Registry::compiled();
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = spinner();
    let record = match (&config.baseline, &config.candidate) {
        (Side::Saved(path), Side::This) => {
            let mut record = against_saved(flags, &config, &registry, path, &stop, &bar)?;
            record.trusts_saved = flags.trust_saved;
            if !flags.trust_saved {
                record.verdict = advice(record.verdict);
            }
            record
        }
        _ => contest(flags, &config, &registry, &stop, &bar)?,
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

/// What figures of another time may say unless they are trusted: nothing that
/// fails a build, except that they do not compare.
fn advice(verdict: GateVerdict) -> GateVerdict {
    match verdict {
        GateVerdict::Regressed => GateVerdict::Inconclusive,
        other => other,
    }
}

fn config(flags: &Flags) -> Result<Config, Failure> {
    if let Some(path) = &flags.config {
        return Config::read(path).map_err(Failure::usage);
    }
    if !(flags.tolerance > 0.0 && flags.tolerance < 100.0) {
        return Err(Failure::usage(format!(
            "--tolerance is {}, expected a percentage above 0",
            flags.tolerance
        )));
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
                "nothing to compare, expected --baseline and --candidate, --baseline-bin, --saved or --config",
            ));
        }
    };
    Ok(Config {
        baseline,
        candidate,
        on_inconclusive: OnInconclusive::default(),
        most: None,
        cases: vec![flags.cells.cells(flags.tolerance / 100.0)],
    })
}

fn contest(
    flags: &Flags,
    config: &Config,
    registry: &Registry,
    stop: &std::sync::atomic::AtomicBool,
    bar: &ProgressBar,
) -> Result<GateRecord, Failure> {
    let cases = config.gate_cases(&usual_backends(registry));
    let sides = cases
        .iter()
        .flat_map(|case| [&case.baseline, &case.candidate]);
    let keys = Arc::new(Keys::of(Vec::new(), sides).map_err(Failure::usage)?);
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
                "the sides do not match, expected two backends, two binaries, or saved figures as the baseline and `this` as the candidate",
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
            bar.set_message(format!(
                "{} of {}: {}",
                watched.done + 1,
                watched.of,
                watched.case
            ));
            bar.tick();
        },
    )
    .map_err(Failure::usage)
}

/// The backends that are compared between builds if none are named: those
/// that load tests sign with.
fn usual_backends(registry: &Registry) -> Vec<String> {
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

fn saved_cases(config: &Config, registry: &Registry) -> Vec<Case> {
    config
        .gate_cases(&usual_backends(registry))
        .into_iter()
        .map(|case: GateCase| case.candidate)
        .collect()
}

fn against_saved(
    flags: &Flags,
    config: &Config,
    registry: &Registry,
    path: &Path,
    stop: &std::sync::atomic::AtomicBool,
    bar: &ProgressBar,
) -> Result<GateRecord, Failure> {
    let then = read_saved(path)?;
    let cases: Vec<Case> = then.cases.iter().map(|saved| saved.case.clone()).collect();
    let started = std::time::Instant::now();
    let here = crate::gate::Fingerprint::here();
    // Nothing is measured that will not be compared.
    let now = if here.differences(&then.fingerprint).is_empty() {
        let keys = Keys::of(Vec::new(), &cases).map_err(Failure::usage)?;
        measure_saved(
            registry,
            &keys,
            &cases,
            &SystemClock::new(),
            stop,
            &mut |done, of| bar.set_message(format!("visit {} of {of}", done + 1)),
        )
        .map_err(Failure::failed)?
    } else {
        Saved {
            fingerprint: here,
            cases: Vec::new(),
            ..then.clone()
        }
    };
    let _ = config;
    Ok(GateRecord::of_saved(
        &path.display().to_string(),
        &then,
        compare_saved(&then, &now),
        started.elapsed(),
        flags.seed,
    ))
}

fn read_saved(path: &Path) -> Result<Saved, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot use {}: {error}, expected what `mintmark gate init` writes",
            path.display()
        ))
    };
    let text = fs::read(path).map_err(|error| unusable(&error))?;
    let saved: Saved = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    if saved.schema_version > crate::gate::SAVED_SCHEMA_VERSION {
        return Err(unusable(&format!(
            "its schema version is {}, this program reads up to {}",
            saved.schema_version,
            crate::gate::SAVED_SCHEMA_VERSION
        )));
    }
    Ok(saved)
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

fn initialise(flags: &InitFlags) -> Result<Exit, Failure> {
    for path in [&flags.config, &flags.baseline] {
        if path.exists() && !flags.force {
            return Err(Failure::usage(format!(
                "{} is there already, expected --force to replace it",
                path.display()
            )));
        }
    }
    let registry = Registry::compiled();
    let config = Config {
        baseline: Side::Saved(flags.baseline.clone()),
        candidate: Side::This,
        on_inconclusive: OnInconclusive::default(),
        most: None,
        cases: vec![flags.cells.cells(Tolerance::default().floor)],
    };
    let cases = saved_cases(&config, &registry);
    let keys = Keys::of(Vec::new(), &cases).map_err(Failure::usage)?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = spinner();
    let saved = measure_saved(
        &registry,
        &keys,
        &cases,
        &SystemClock::new(),
        &stop,
        &mut |done, of| bar.set_message(format!("visit {} of {of}", done + 1)),
    )
    .map_err(Failure::failed)?;
    bar.finish_and_clear();
    let write = |path: &Path, text: String| {
        fs::write(path, text)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
    };
    let json = serde_json::to_string_pretty(&saved).map_err(Failure::failed)?;
    write(&flags.baseline, json)?;
    write(&flags.config, template(&config)?)?;
    for case in &saved.cases {
        println!("{:>9.1} µs  {}", case.floor_ns / 1e3, case.case);
    }
    println!(
        "wrote {} and {}; compare with `mintmark gate --config {}`",
        flags.baseline.display(),
        flags.config.display(),
        flags.config.display()
    );
    Ok(Exit::Success)
}

fn template(config: &Config) -> Result<String, Failure> {
    let body = toml::to_string_pretty(config).map_err(Failure::failed)?;
    Ok(format!(
        "# What `mintmark gate --config` compares. Saved figures are advice, and only on\n\
         # the machine that they came from. To let a gate decide, keep the old program\n\
         # and set it against the new one:\n\
         #\n\
         #   baseline = {{ binary = \"old/mintmark\" }}\n\
         #   candidate = \"this\"\n\
         #\n\
         # or two backends:\n\
         #\n\
         #   baseline = {{ backend = \"ring\" }}\n\
         #   candidate = {{ backend = \"aws-lc-rs\" }}\n\n{body}"
    ))
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar
}
