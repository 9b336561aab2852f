//! How does a history look to a spreadsheet?

use super::History;
use crate::report::run_csv::cell;

const HEADINGS: &str = "scenario,metric,unit,of,series,run,started_at,tool_version,value,\
is_other_scenario,change_before,change_after,p_value";

/// Renders one row for each run, with the change that begins there (RFC 4180).
#[must_use]
pub fn history_csv(history: &History) -> String {
    let mut out = format!("{HEADINGS}\r\n");
    for (number, series) in history.series.iter().enumerate() {
        for (at, point) in series.points.iter().enumerate() {
            let change = series.changes.iter().find(|change| change.at == at);
            let of_change = |value: fn(&super::Change) -> f64| {
                change.map_or_else(String::new, |change| value(change).to_string())
            };
            let fields = [
                cell(&history.scenario),
                history.metric.word().to_owned(),
                history.metric.unit().to_owned(),
                cell(history.of.as_deref().unwrap_or_default()),
                (number + 1).to_string(),
                cell(&point.run),
                point.started_at.clone(),
                point.tool_version.clone(),
                point.value.to_string(),
                point.is_other_scenario.to_string(),
                of_change(|change| change.before),
                of_change(|change| change.after),
                of_change(|change| change.p_value),
            ];
            out.push_str(&fields.join(","));
            out.push_str("\r\n");
        }
    }
    out
}
