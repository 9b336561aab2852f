//! In which rows is a comparison of two endpoints shown?

use std::time::Duration;

use super::gate_words::{bounds, change};
use crate::gate::targets::{LoadAttempt, LoadResult, ObjectiveResult};
use crate::record::Validity;
use crate::record::search::Decision;
use crate::stats::Estimate;
use crate::units::{Grouped, Shown};

/// The heads of [`rows`].
pub(super) const HEADS: [&str; 6] = ["", "baseline", "candidate", "change", "bounds", "±"];

/// A channel's name, its estimate and its tolerance.
pub(super) type Channel = (&'static str, Option<Estimate>, f64);

/// Lists the channels of an attempt.
pub(super) fn channels(load: &LoadResult, attempt: &LoadAttempt) -> [Channel; 3] {
    let (effects, tolerance) = (&attempt.effects, &load.tolerance);
    [
        ("p50", effects.p50, tolerance.p50),
        ("p99", effects.p99, tolerance.p99),
        ("answered/s", effects.goodput, tolerance.goodput),
    ]
}

/// Renders one row for each channel of the last attempt.
pub(super) fn rows(load: &LoadResult) -> Vec<[String; 6]> {
    let Some(attempt) = load.last() else {
        return Vec::new();
    };
    channels(load, attempt)
        .into_iter()
        .enumerate()
        .map(|(at, (name, estimate, tolerance))| {
            let side = |side: usize| {
                let figures = &attempt.figures[side];
                let time = |ns: Option<f64>| {
                    ns.map_or_else(
                        || "–".to_owned(),
                        |ns| Shown(Duration::from_secs_f64(ns / 1e9)).to_string(),
                    )
                };
                match at {
                    0 => time(figures.p50_ns),
                    1 => time(figures.p99_ns),
                    _ => Grouped(figures.goodput_per_s).to_string(),
                }
            };
            [
                name.to_owned(),
                side(0),
                side(1),
                estimate.as_ref().map_or_else(|| "–".into(), change),
                estimate.as_ref().map_or_else(|| "–".into(), bounds),
                format!("{} %", (tolerance * 10_000.0).round() / 100.0),
            ]
        })
        .collect()
}

/// Says on what the last attempt rests, and what is not as it should be.
pub(super) fn notes(load: &LoadResult) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(load.reason.clone());
    if let Some(attempt) = load.last() {
        let spoiled = match attempt.spoiled {
            0 => String::new(),
            quads => format!("; {} set aside, since the generator was late", 4 * quads),
        };
        notes.push(format!(
            "{} pairs of slices from {} segments{spoiled}",
            attempt.slices,
            attempt.segments.len()
        ));
        let doubtful = attempt.segments.iter();
        let doubtful = doubtful.filter(|segment| segment.validity != Validity::Valid);
        let doubtful = doubtful.count();
        if doubtful > 0 {
            notes.push(format!(
                "{doubtful} of them are SUSPECT by their own measure: some of the time was the generator's"
            ));
        }
        let [before, after] = attempt.figures.map(|figures| 100.0 * figures.failed_share);
        if before > 0.0 || after > 0.0 {
            notes.push(format!(
                "not answered: {before:.2} % of the baseline's requests, {after:.2} % of the candidate's"
            ));
        }
        notes.push(format!(
            "control: the baseline against itself is {}",
            crate::gate::GateVerdict::from(attempt.control)
        ));
    }
    notes.extend(load.objective().as_ref().map(objective));
    notes
}

/// Says whether an objective was met.
pub(super) fn objective(found: &ObjectiveResult) -> String {
    format!(
        "the objective {} was {}: {:.2} % took too long or failed, {:.2} % failed, in {} slices",
        found.objective,
        match found.decision {
            Decision::Pass => "met",
            Decision::Fail => "missed",
            Decision::Undecided => "neither met nor missed beyond doubt",
        },
        100.0 * found.share_over,
        100.0 * found.share_failed,
        found.slices
    )
}
