//! How is a history drawn on a terminal?

use std::fmt::{self, Write};

use super::{History, Metric, Series};
use crate::report::table::Columns;

/// The rows of a chart.
const HEIGHT: usize = 12;

/// The columns of a chart; with its labels at most a hundred.
const WIDTH: usize = 80;

/// The latest runs that are listed below a chart.
const LISTED: usize = 12;

/// Renders a history as charts and tables.
#[must_use]
pub fn history_text(history: &History) -> String {
    let mut out = String::new();
    write_all(&mut out, history).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, history: &History) -> fmt::Result {
    write!(out, "{}: {}", history.scenario, history.metric)?;
    if let Some(of) = &history.of {
        write!(out, ", {of}")?;
    }
    writeln!(out)?;
    if history.series.len() > 1 {
        writeln!(
            out,
            "{} machines or kinds of build, which are not joined",
            history.series.len()
        )?;
    }
    for series in &history.series {
        series_part(out, history, series)?;
    }
    for left in &history.left_out {
        writeln!(out, "left out: {}, {}", left.run, left.reason)?;
    }
    Ok(())
}

fn series_part(out: &mut String, history: &History, series: &Series) -> fmt::Result {
    writeln!(out, "\n{}", series.machine)?;
    for difference in &series.differences {
        writeln!(out, "  {difference}")?;
    }
    if series.points.is_empty() {
        return Ok(());
    }
    for line in chart(series, history.metric) {
        writeln!(out, "{line}")?;
    }
    let mut table = Columns::new(&["run", "version", "figure", ""], 2);
    let hidden = series.points.len().saturating_sub(LISTED);
    for (at, point) in series.points.iter().enumerate().skip(hidden) {
        let mut remarks = Vec::new();
        if series.changes.iter().any(|change| change.at == at) {
            remarks.push("changed");
        }
        if point.is_other_scenario {
            remarks.push("another scenario");
        }
        table.row([
            point.run.clone(),
            point.tool_version.clone(),
            history.metric.show(point.value),
            remarks.join(", "),
        ]);
    }
    write!(out, "{table}")?;
    if hidden > 0 {
        writeln!(out, "  and {hidden} before")?;
    }
    let level = 100.0 * history.level;
    if series.changes.is_empty() {
        writeln!(out, "  no change is seen at a level of {level} %")?;
    }
    for change in &series.changes {
        writeln!(
            out,
            "  {} at {}: {:+.1} %, from {} to {} (p = {:.3})",
            if change.is_worse { "worse" } else { "better" },
            change.run,
            100.0 * change.change,
            history.metric.show(change.before),
            history.metric.show(change.after),
            change.p_value
        )?;
    }
    Ok(())
}

/// Draws points as `●`, the medians between changes as `─`, changes as `│`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Small and not negative.
fn chart(series: &Series, metric: Metric) -> Vec<String> {
    let values = series.points.iter().map(|point| point.value);
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(0.0, f64::max);
    // A series that does not move is a line in the middle.
    let margin = (0.05 * (high - low)).max(0.002 * high);
    let (low, high) = (low - margin, high + margin);
    let row = |value: f64| {
        let share = (high - value) / (high - low);
        ((share * HEIGHT as f64) as usize).min(HEIGHT - 1)
    };
    let count = series.points.len();
    let column = |at: usize| {
        if count < 2 {
            WIDTH / 2
        } else {
            at * (WIDTH - 1) / (count - 1)
        }
    };
    let mut cells = vec![[' '; WIDTH]; HEIGHT];
    let mut edges = vec![0];
    edges.extend(series.changes.iter().map(|change| change.at));
    edges.push(count);
    for (number, edge) in edges.windows(2).enumerate() {
        let level = match (number, series.changes.first()) {
            (_, None) => continue,
            (0, Some(first)) => first.before,
            _ => series.changes[number - 1].after,
        };
        for cell in &mut cells[row(level)][column(edge[0])..=column(edge[1] - 1)] {
            *cell = '─';
        }
    }
    for change in &series.changes {
        // Between the last point before and the first one after.
        let at = usize::midpoint(column(change.at - 1), column(change.at));
        for line in &mut cells {
            line[at] = '│';
        }
    }
    for (at, point) in series.points.iter().enumerate() {
        cells[row(point.value)][column(at)] = '●';
    }
    cells
        .iter()
        .enumerate()
        .map(|(at, line)| {
            let label = match at {
                0 => metric.show(high),
                _ if at == HEIGHT - 1 => metric.show(low),
                _ => String::new(),
            };
            let line: String = line.iter().collect();
            format!("{label:>10} ┤{}", line.trim_end())
        })
        .collect()
}
