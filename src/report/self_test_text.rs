//! How are the trials of a self-test shown on a terminal?

use std::fmt::{self, Write};

use crate::bench::self_test::{Experiment, SelfTestRecord, Trial};
use crate::stats::Verdict;
use crate::units::Shown;

/// Renders a series of trials as some ten lines of text.
#[must_use]
pub fn self_test_text(record: &SelfTestRecord) -> String {
    let mut out = String::new();
    write_all(&mut out, record).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, record: &SelfTestRecord) -> fmt::Result {
    let host = &record.host;
    writeln!(
        out,
        "host        {} ({}), {} processor{}{}, {} {}, {} build",
        host.cpu_model,
        host.cpu_signature,
        host.cpus,
        if host.cpus == 1 { "" } else { "s" },
        if host.is_virtual { ", virtual" } else { "" },
        host.os,
        host.kernel,
        if host.is_optimised {
            "optimised"
        } else {
            "UNOPTIMISED"
        }
    )?;
    writeln!(
        out,
        "experiment  {}",
        match record.experiment {
            Experiment::Nothing | Experiment::Beside =>
                "nothing is done to the candidate".to_owned(),
            Experiment::Uniform(share) =>
                format!("every signature takes {:.1} % longer", 100.0 * share),
            Experiment::Rare(share, factor) => format!(
                "{:.1} % of the signatures take {factor} times as long, {:+.1} % in the mean",
                100.0 * share,
                100.0 * share * (f64::from(factor) - 1.0)
            ),
            Experiment::OwnCost => "Mintmark's own cost over the bare library".to_owned(),
        }
    )?;
    writeln!(
        out,
        "signing     {} {}, RS256, {} bits, seed {}",
        record.backend, record.backend_version, record.key_bits, record.seed
    )?;
    writeln!(
        out,
        "quality     load {:.1}, steal {:.2} %, {:.1} % of operations preempted",
        record.quality.load_1m.unwrap_or(f64::NAN),
        100.0 * record.quality.steal_share.unwrap_or(f64::NAN),
        100.0 * record.quality.preempted_share
    )?;
    if let Some(change) = record.calibrated_change {
        writeln!(
            out,
            "calibrated  {:+.3} % by the lowest tenths of single timings",
            100.0 * change
        )?;
    }
    let trials = record.trials.len();
    writeln!(
        out,
        "trials      {trials}, {} each in the mean",
        Shown(record.mean_spent())
    )?;
    for (name, verdict) in [
        ("unchanged", Verdict::Unchanged),
        ("regressed", Verdict::Regressed),
        ("improved", Verdict::Improved),
        ("undecided", Verdict::Inconclusive),
    ] {
        counted(out, record, name, record.count(verdict))?;
    }
    if record.experiment.expected_change().is_some_and(|c| c > 0.0) {
        let name = format!("found in {} s", record.experiment.in_time().as_secs());
        counted(out, record, &name, record.found_in_time())?;
    }
    if record.experiment == Experiment::Beside {
        let alarms = record.sequential_alarms();
        counted(out, record, "sequential", alarms)?;
        writeln!(
            out,
            "               called different by the usual rule: one side after the other, wall time,"
        )?;
        writeln!(
            out,
            "               bootstrapped t test with p < 5 %, change of the mean beyond ±1 %"
        )?;
    }
    estimates(out, record, "floor", |trial| trial.floor_change)?;
    estimates(out, record, "mean", |trial| trial.mean_change)
}

fn counted(out: &mut String, record: &SelfTestRecord, name: &str, count: usize) -> fmt::Result {
    let (low, high) = record.bounds(count);
    writeln!(
        out,
        "  {name:<12} {count:>4}  {:>5.1} %  (95 % bounds {:.1} and {:.1} %)",
        100.0 * count as f64 / (record.trials.len() as f64).max(1.0),
        100.0 * low,
        100.0 * high
    )
}

fn estimates(
    out: &mut String,
    record: &SelfTestRecord,
    name: &str,
    of: fn(&Trial) -> Option<f64>,
) -> fmt::Result {
    let Some((lowest, median, highest)) = record.estimates(of) else {
        return Ok(());
    };
    writeln!(
        out,
        "  {name:<12} estimated {:+.3} % in the median, {:+.3} to {:+.3} %",
        100.0 * median,
        100.0 * lowest,
        100.0 * highest
    )
}
