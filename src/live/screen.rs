//! What does the picture of a run look like on a terminal?
//!
//! Drawn from a [`Picture`] alone, so that the same picture always looks the
//! same. Whatever does not fit is left out from the bottom up: charts first,
//! figures last. Colour only repeats what a word or a sign says already.

pub(super) mod parts;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

pub use self::parts::Palette;
use self::parts::{
    CHARTS_ROWS, LEAST_CHARTS_ROWS, WIDE, charts_of, dim, draw_charts, draw_figures, draw_gauge,
    draw_head, failures, fitted, latency_lines, notes_lines, rates_lines, rows, warnings,
};
use super::model::Picture;
use super::recent::Recent;
use crate::record::Warning;
use crate::units::{Grouped, Shown};

/// Draws `picture`; `notes` are the latest log lines, the newest last.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture, notes: &[String], palette: Palette) {
    let area = frame.area();
    let beside = area.width >= WIDE;
    let figures = if beside { 7 } else { 13 };
    let remarks = picture.warnings();
    let mut lists = failures(picture, palette);
    lists.extend(warnings(&remarks, palette));
    lists.extend(notes_lines(notes));
    if !lists.is_empty() {
        lists.insert(0, Line::default());
    }
    let all_rows = lists.len();
    let lists_rows = rows(all_rows);
    // Head, gauge, figures and the last line are always there.
    let left = area.height.saturating_sub(3 + figures);
    let lists_rows = lists_rows.min(left);
    let charts_rows = match left - lists_rows {
        rows if rows >= LEAST_CHARTS_ROWS => rows.min(CHARTS_ROWS) / 2 * 2,
        _ => 0,
    };
    let [head, gauge, figures_area, charts, lists_area, _, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(figures),
        Constraint::Length(charts_rows),
        Constraint::Length(lists_rows),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, picture, &picture.step, palette);
    draw_gauge(frame, gauge, picture, palette);
    let recent = picture.recent.as_ref();
    let latencies = [
        ("response", recent.map(|recent| &recent.response)),
        ("service", recent.map(|recent| &recent.service)),
        ("generator lag", recent.map(|recent| &recent.lag)),
        ("signing", recent.map(|recent| &recent.signing)),
    ];
    let caption = recent.map_or_else(|| "no slice is over yet".to_owned(), caption);
    let rates = rates_lines(&picture.counted);
    let latencies = latency_lines(&latencies, caption);
    draw_figures(frame, figures_area, rates, latencies, beside);
    draw_charts(frame, charts, &charts_of(picture), picture, palette);
    frame.render_widget(Paragraph::new(fitted(lists, area.width)), lists_area);
    let is_cut = usize::from(lists_rows) < all_rows;
    draw_foot(frame, foot, picture, is_cut.then_some(&remarks));
}

fn caption(recent: &Recent) -> String {
    format!(
        "of {} answered requests, due within {}",
        Grouped(recent.answered as f64),
        Shown(recent.length)
    )
}

/// Draws the last line; it names the warnings if those do not all fit.
fn draw_foot(frame: &mut Frame<'_>, area: Rect, picture: &Picture, cut: Option<&Vec<Warning>>) {
    let text = if let Some(remarks) = cut.filter(|remarks| !remarks.is_empty()) {
        format!("! {}; q stops", parts::codes(remarks))
    } else if picture.is_stopping {
        parts::STOPPING.to_owned()
    } else {
        "q or Ctrl-C stops the run; what was measured until then is kept".to_owned()
    };
    frame.render_widget(Paragraph::new(text).style(dim()), area);
}

#[cfg(test)]
mod tests;
