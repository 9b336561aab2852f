//! What does the picture of a fleet say in one line?
//!
//! The same as that of one machine, with who is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::agents::census;
use super::model::FleetPicture;
use crate::live::lines::{object, quantiles};
use crate::units::{Grouped, Shown};

/// Says it in text, once agents have said something.
#[must_use]
pub fn text(picture: &FleetPicture) -> Option<String> {
    let progress = picture.progress.filter(|_| picture.has_begun())?;
    let run = &picture.run;
    let time = |found: Option<Duration>| {
        found.map_or_else(|| "–".to_owned(), |found| Shown(found).to_string())
    };
    let rate = |found: Option<f64>| {
        found.map_or_else(
            || "–".to_owned(),
            |found| Grouped(found.round()).to_string(),
        )
    };
    let rates = run.counted.rates;
    let line = format!(
        "mintmark: {:>5.1} s, {} of {} agents send, {}/s offered, {}/s answered, {} failed, \
         p50 {}, p99 {}",
        run.elapsed.as_secs_f64(),
        progress.running,
        progress.running + progress.lost,
        rate(rates.map(|rates| rates.offered_per_s)),
        rate(rates.map(|rates| rates.goodput_per_s)),
        Grouped(progress.failed as f64),
        time(picture.so_far.p50),
        time(picture.so_far.p99),
    );
    Some(if picture.changes.is_empty() {
        line
    } else {
        format!("{line}, {}", picture.pace())
    })
}

/// Says it in JSON: the object of one machine, and what a fleet has beyond.
#[must_use]
pub fn json(picture: &FleetPicture) -> Option<String> {
    let progress = picture.progress.filter(|_| picture.has_begun())?;
    let mut line = object(&picture.run);
    let states: serde_json::Map<String, Value> = census(picture.agents.iter())
        .into_iter()
        .map(|(state, count)| (state.word().to_owned(), count.into()))
        .collect();
    let deltas = picture.deltas;
    line["fleet"] = json!({
        "agents": states,
        "factor": picture.factor_ppm() as f64 / 1e6,
        "pending": picture.pending().map(|(factor_ppm, within)| json!({
            "factor": factor_ppm as f64 / 1e6,
            "within_s": within.as_secs_f64(),
        })),
        "answered": progress.answered,
        "failed": progress.failed,
        "covered": picture.covered,
        "so_far": quantiles(&picture.so_far),
        "beats_age_s": picture.beats_age.map(|age| age.as_secs_f64()),
        "slices_age_s": picture.slices_age.map(|age| age.as_secs_f64()),
        "messages": {
            "merged": deltas.merged,
            "duplicate": deltas.duplicate,
            "stale": deltas.stale,
            "rejected": deltas.rejected,
            "waiting": progress.waiting,
        },
        "trouble": picture.trouble,
    });
    Some(line.to_string())
}
