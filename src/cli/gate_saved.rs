//! `mintmark gate init`, and a gate against what it saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Args;
use indicatif::ProgressBar;

use super::gate::{cells, spinner, usual_backends};
use super::matrix_flags::MatrixFlags;
use super::{Exit, Failure, stop};
use crate::bench::{Case, SigningKey};
use crate::clock::SystemClock;
use crate::gate::config::{Config, Side};
use crate::gate::{
    Fingerprint, GateRecord, GateVerdict, Keys, OnInconclusive, SAVED_SCHEMA_VERSION, Saved,
    compare_saved, measure_saved,
};
use crate::signer::Registry;
use crate::stats::Tolerance;

#[derive(Debug, Args)]
pub(super) struct InitFlags {
    /// The backends to measure.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    backends: Vec<String>,

    #[command(flatten)]
    matrix: MatrixFlags,

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

/// Measures the cases of saved figures and compares.
///
/// # Errors
///
/// The file is not what `gate init` writes, or a case cannot be measured.
pub(super) fn compare(
    path: &Path,
    keys: Vec<SigningKey>,
    is_trusted: bool,
    seed: u64,
    registry: &Registry,
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> Result<GateRecord, Failure> {
    let then = read(path)?;
    let cases: Vec<Case> = then.cases.iter().map(|saved| saved.case.clone()).collect();
    let started = Instant::now();
    let here = Fingerprint::here();
    // Nothing is measured that will not be compared.
    let now = if here.differences(&then.fingerprint).is_empty() {
        measure(registry, keys, &cases, stop, bar)?
    } else {
        Saved {
            fingerprint: here,
            cases: Vec::new(),
            ..then.clone()
        }
    };
    let mut record = GateRecord::of_saved(
        &path.display().to_string(),
        &then,
        compare_saved(&then, &now),
        started.elapsed(),
        seed,
    );
    record.trusts_saved = is_trusted;
    if !is_trusted {
        record.verdict = advice(record.verdict);
    }
    Ok(record)
}

/// What figures of another time may say unless they are trusted: nothing that
/// fails a build, except that they do not compare.
fn advice(verdict: GateVerdict) -> GateVerdict {
    match verdict {
        GateVerdict::Regressed => GateVerdict::Inconclusive,
        other => other,
    }
}

fn measure(
    registry: &Registry,
    keys: Vec<SigningKey>,
    cases: &[Case],
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> Result<Saved, Failure> {
    let keys = Keys::of(keys, cases).map_err(Failure::usage)?;
    let clock = SystemClock::new();
    measure_saved(registry, &keys, cases, &clock, stop, &mut |done, of| {
        bar.set_message(format!("visit {} of {of}", done + 1));
    })
    .map_err(Failure::failed)
}

fn read(path: &Path) -> Result<Saved, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot use {}: {error}, expected what `mintmark gate init` writes",
            path.display()
        ))
    };
    let text = fs::read(path).map_err(|error| unusable(&error))?;
    let saved: Saved = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    if saved.schema_version > SAVED_SCHEMA_VERSION {
        return Err(unusable(&format!(
            "its schema version is {}, this program reads up to {}",
            saved.schema_version, SAVED_SCHEMA_VERSION
        )));
    }
    Ok(saved)
}

/// Saves figures of this build, and writes a configuration that compares with
/// them.
///
/// # Errors
///
/// A file is there already, or a case cannot be measured.
pub(super) fn initialise(flags: &InitFlags) -> Result<Exit, Failure> {
    for path in [&flags.config, &flags.baseline] {
        if path.exists() && !flags.force {
            return Err(Failure::usage(format!(
                "{} is there already, expected --force to replace it",
                path.display()
            )));
        }
    }
    let registry = Registry::compiled();
    let tolerance = Tolerance::default().floor;
    let config = Config {
        baseline: Side::Saved(flags.baseline.clone()),
        candidate: Side::This,
        on_inconclusive: OnInconclusive::default(),
        most: None,
        scenario: None,
        objective: None,
        tolerance: None,
        cases: vec![cells(&flags.matrix, &flags.backends, tolerance, &[])],
    };
    let cases: Vec<Case> = config
        .gate_cases(&usual_backends(&registry))
        .into_iter()
        .map(|case| case.candidate)
        .collect();
    let stop = stop::on_signals().map_err(Failure::failed)?;
    let bar = spinner();
    let saved = measure(&registry, Vec::new(), &cases, &stop, &bar)?;
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
