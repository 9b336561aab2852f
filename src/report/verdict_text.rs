//! How are verdicts shown on a terminal, before the figures?

use std::fmt::Write;

use super::summary::{SideBySide, Standing, Summary};
use super::table::Columns;

/// Renders what was decided about a run, a line each.
#[must_use]
pub fn verdict_text(summary: &Summary) -> String {
    let mut out = String::new();
    for verdict in &summary.verdicts {
        let sign = match verdict.standing {
            Standing::Good => "ok  ",
            Standing::Doubtful => "?   ",
            Standing::Bad => "FAIL",
        };
        writeln!(
            out,
            "{sign}  {}: {}\n      {}",
            verdict.subject, verdict.word, verdict.sentence
        )
        .expect("writing to a string does not fail");
    }
    out
}

/// Renders figures of several results beside each other.
#[must_use]
pub fn side_by_side_text(beside: &SideBySide) -> String {
    let mut headings = vec![""];
    headings.extend(beside.runs.iter().map(String::as_str));
    let mut table = Columns::new(&headings, 1);
    for (name, texts) in &beside.rows {
        let mut row = vec![name.clone()];
        row.extend(texts.clone());
        table.row(row);
    }
    let mut out = String::new();
    for difference in &beside.differences {
        out.push_str("Mind: ");
        out.push_str(difference);
        out.push('\n');
    }
    out + &table.to_string()
}
