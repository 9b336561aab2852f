//! How is a search for the highest rate shown on a terminal?

use std::fmt::{self, Write};
use std::time::Duration;

use crate::record::Calibration;
use crate::record::search::{Answer, Confidence, Decision, Rung, SearchRecord};
use crate::units::{Grouped, Shown};

/// Writes every rate that was tried and what was found.
pub(super) fn capacity_text(out: &mut String, search: &SearchRecord) -> fmt::Result {
    writeln!(
        out,
        "\nThe highest rate with {}; this machine sends up to {}/s",
        search.objective,
        Grouped(search.calibration.ceiling_per_s)
    )?;
    for rung in &search.answer.rungs {
        writeln!(out, "{}", rung_line(rung))?;
    }
    writeln!(
        out,
        "  {}",
        capacity_sentence(&search.answer, &search.calibration)
    )
}

/// Says in a line what was tried and decided.
#[must_use]
pub fn rung_line(rung: &Rung) -> String {
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

/// Says in a sentence what a search found.
#[must_use]
pub fn capacity_sentence(answer: &Answer, calibration: &Calibration) -> String {
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
