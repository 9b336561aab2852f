//! `mintmark bench`: which backend signs fastest here, and how sure is that?

use std::collections::BTreeSet;
use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::key_flags::KeyFlags;
use super::matrix_flags::MatrixFlags;
use super::{Exit, Failure, print_json, stop};
use crate::bench::keys::generated;
use crate::bench::record::SCHEMA_VERSION;
use crate::bench::self_test::{self, BARE_BACKEND, Experiment};
use crate::bench::{self, BenchRecord, Progress, Question, SigningKey};
use crate::clock::SystemClock;
use crate::record::Folder;
use crate::record::host::QualityWatch;
use crate::report::{bench_csv, bench_text, self_test_text};
use crate::signer::{KeyKind, Registry};
use crate::stats::Verdict;
use crate::units::Span;

/// Compares signing backends in paired blocks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark bench\n  \
    mintmark bench --key app.json --threads 1,2,4 --budget 60s\n  \
    mintmark bench --algorithms RS256,PS256,ES256,EdDSA --backends ring,aws-lc-rs,graviola\n  \
    mintmark bench --key-policies reused,parsed-per-call,decrypted-per-call --csv bench.csv\n  \
    mintmark bench --self-test aa --trials 300\n\n\
    Exit codes: 0 done, 1 a self-test missed its goal, 2 the flags cannot be used,\n  \
    3 nothing could be measured or the run was stopped, 4 the control found a difference.")]
pub(super) struct Flags {
    /// The backends to compare; all that can run here if not given.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    backends: Vec<String>,

    #[command(flatten)]
    matrix: MatrixFlags,

    #[command(flatten)]
    keys: KeyFlags,

    /// The backend that others are compared with.
    #[arg(long, value_name = "NAME", default_value = bench::REFERENCE)]
    reference: String,

    /// The time for everything that is timed.
    #[arg(long, value_name = "SPAN", default_value = "20s")]
    budget: Span,

    /// The seed of the order of blocks.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Spend no time on comparing the reference with itself.
    #[arg(long)]
    no_control: bool,

    /// Print the record as JSON.
    #[arg(long)]
    json: bool,

    /// Measure nothing, and show a record that --json printed.
    #[arg(long, value_name = "FILE", conflicts_with = "self_test")]
    from: Option<PathBuf>,

    /// Write the cases as CSV as well.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Keep the record in a folder of its own within this one.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "self_test"])]
    results: Option<PathBuf>,

    /// Try the method itself: is a known effect found, and none where there is none?
    #[arg(long, value_name = "EXPERIMENT")]
    self_test: Option<SelfTest>,

    /// The comparisons of a self-test, of 2 to 16 seconds each.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 20,
        requires = "self_test"
    )]
    trials: usize,

    /// The effect of a self-test, in percent: of every signature's time for
    /// `uniform`, of the signatures that take three times as long for `rare`.
    #[arg(long, value_name = "PERCENT", requires = "self_test")]
    effect: Option<f64>,
}

/// What a self-test does to the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SelfTest {
    /// Nothing: it must be found unchanged.
    Aa,
    /// Nothing, and the usual rule of micro-benchmarks is asked as well.
    Beside,
    /// Every signature takes 3 % longer.
    Uniform,
    /// Two signatures in a hundred take three times as long.
    Rare,
    /// Nothing but this program's own cost, against the bare library.
    Cost,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let registry = Registry::compiled();
    for name in flags.backends.iter().chain([&flags.reference]) {
        registry.get(name).map_err(Failure::usage)?;
    }
    if flags.matrix.threads.contains(&0) {
        return Err(Failure::usage(
            "--threads is 0, expected a number from 1 on",
        ));
    }
    if let Some(experiment) = flags.self_test {
        return run_self_test(flags, experiment);
    }
    if let Some(path) = &flags.from {
        let record = read_record(path)?;
        show_record(flags, &record)?;
        return Ok(Exit::Success);
    }
    let keys = keys(flags)?;
    let backends = if flags.backends.is_empty() {
        registry.names()
    } else {
        flags.backends.clone()
    };
    let request = bench::Request {
        registry: &registry,
        keys: &keys,
        backends: &backends,
        algorithms: &flags.matrix.algorithms,
        threads: &flags.matrix.threads,
        key_policies: &flags.matrix.key_policies,
        claims_bytes: &flags.matrix.claims_bytes,
        reference: &flags.reference,
        budget: flags.budget.0,
        seed: flags.seed,
        has_null_control: !flags.no_control,
    };
    let started = jiff::Timestamp::now();
    let watch = QualityWatch::start();
    let folder = flags
        .results
        .as_deref()
        .map(|root| {
            Folder::create(
                root,
                &format!("{}-bench", started.strftime("%Y%m%dT%H%M%SZ")),
            )
        })
        .transpose()
        .map_err(Failure::failed)?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = progress_bar(flags.budget.0);
    let record = bench::run(&request, &SystemClock::new(), &stop, &mut |progress| {
        show(&bar, progress);
    })
    .map_err(Failure::failed)?;
    bar.finish_and_clear();
    show_record(flags, &record)?;
    if let Some(folder) = folder {
        let run = folder.run();
        let document = record
            .clone()
            .into_document(run, started.to_string(), watch.finish());
        let path = folder.write(&document).map_err(Failure::failed)?;
        eprintln!("mintmark: the record is in {}", path.display());
    }
    let control_differs = record.comparisons.iter().any(|comparison| {
        comparison.question == Question::NullControl
            && matches!(comparison.verdict, Verdict::Regressed | Verdict::Improved)
    });
    Ok(if record.is_stopped {
        Exit::Failed
    } else if control_differs {
        Exit::Inconclusive
    } else {
        Exit::Success
    })
}

fn read_record(path: &Path) -> Result<BenchRecord, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read {}: {error}, expected what `mintmark bench --json` prints",
            path.display()
        ))
    };
    let text = fs::read(path).map_err(|error| unusable(&error))?;
    let record: BenchRecord = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    if record.schema_version > SCHEMA_VERSION {
        return Err(unusable(&format!(
            "its schema version is {}, this program reads up to {SCHEMA_VERSION}",
            record.schema_version
        )));
    }
    Ok(record)
}

fn show_record(flags: &Flags, record: &BenchRecord) -> Result<(), Failure> {
    if let Some(path) = &flags.csv {
        fs::write(path, bench_csv(record)).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    if flags.json {
        print_json(record)?;
    } else {
        print!("{}", bench_text(record));
    }
    Ok(())
}

/// Reads the keys that were given and generates those that are missing.
fn keys(flags: &Flags) -> Result<Vec<SigningKey>, Failure> {
    let mut keys = flags.keys.read()?;
    let kinds: BTreeSet<KeyKind> = flags
        .matrix
        .algorithms
        .iter()
        .map(|algorithm| algorithm.key_kind())
        .collect();
    for kind in kinds {
        let has = |bits: Option<usize>| {
            keys.iter().any(|key: &SigningKey| {
                key.key.kind() == kind && bits.is_none_or(|bits| key.key.bits() == bits)
            })
        };
        let wanted: Vec<usize> = match (kind, flags.matrix.bits.as_slice()) {
            _ if kind != KeyKind::Rsa && has(None) => Vec::new(),
            (KeyKind::Rsa, []) if has(None) => Vec::new(),
            (KeyKind::Rsa, []) => vec![2048],
            (KeyKind::Rsa, bits) => bits.iter().copied().filter(|b| !has(Some(*b))).collect(),
            _ => vec![0],
        };
        for bits in wanted {
            keys.push(generated(kind, bits).map_err(Failure::usage)?);
        }
    }
    Ok(keys)
}

fn run_self_test(flags: &Flags, test: SelfTest) -> Result<Exit, Failure> {
    let effect = |default: f64| flags.effect.map_or(default, |percent| percent / 100.0);
    let experiment = match test {
        SelfTest::Aa => Experiment::Nothing,
        SelfTest::Beside => Experiment::Beside,
        SelfTest::Uniform => Experiment::Uniform(effect(0.03)),
        SelfTest::Rare => Experiment::Rare(effect(0.02), 3),
        SelfTest::Cost => Experiment::OwnCost,
    };
    let backend = match (test, flags.backends.as_slice()) {
        (SelfTest::Cost, _) => BARE_BACKEND,
        (_, []) => bench::REFERENCE,
        (_, [one]) => one,
        (_, several) => {
            return Err(Failure::usage(format!(
                "--backends names {} backends, expected one for a self-test",
                several.len()
            )));
        }
    };
    let keys = keys(flags)?;
    let key = keys
        .iter()
        .find(|key| key.key.kind() == KeyKind::Rsa)
        .ok_or_else(|| Failure::usage("a self-test signs RS256, expected an RSA key"))?;
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = ProgressBar::with_draw_target(Some(flags.trials as u64), target());
    bar.set_style(style("{bar:30} {pos} of {len}, {eta} left"));
    let record = self_test::run(
        experiment,
        backend,
        &key.key,
        flags.trials,
        flags.seed,
        &SystemClock::new(),
        &stop,
        &mut |_| bar.inc(1),
    )
    .map_err(Failure::failed)?;
    bar.finish_and_clear();
    if flags.json {
        print_json(&record)?;
    } else {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
        print!("{now}\n{}", self_test_text(&record));
    }
    Ok(if record.is_stopped {
        Exit::Failed
    } else if record.meets_goal() {
        Exit::Success
    } else {
        Exit::Missed
    })
}

/// Draws on a terminal and nowhere else.
fn target() -> ProgressDrawTarget {
    if stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(5)
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn progress_bar(budget: Duration) -> ProgressBar {
    let length = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(length), target());
    bar.set_style(style("comparing {bar:30} {msg}"));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
    bar.set_message(format!(
        "{} of {} questions settled, at most {} s left",
        progress.settled,
        progress.pairs,
        progress.left.as_secs() + 1
    ));
}
