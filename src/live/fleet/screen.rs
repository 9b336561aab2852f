//! What does the picture of a fleet look like on a terminal?
//!
//! As that of one machine, with its agents below. What does not fit is left
//! out: charts first, then agents without trouble, figures last.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::agents::in_words;
use super::model::FleetPicture;
use super::table::{draw_table, rows_wanted};
use crate::live::screen::Palette;
use crate::live::screen::parts::{
    CHARTS_ROWS, Chart, LEAST_CHARTS_ROWS, STOPPING, WIDE, charts_of, codes, cut, dim, draw_charts,
    draw_figures, draw_gauge, draw_head, failures, fitted, latency_lines, notes_lines, rates_lines,
    rows, warnings,
};
use crate::record::Warning;
use crate::units::Grouped;

/// The fewest rows of the list of agents: its head, two of them, and how many
/// are left out.
const LEAST_TABLE_ROWS: u16 = 4;

/// The fewest rows for charts and agents of which charts get half though not
/// all agents are shown.
const LONG: u16 = 14;

/// Draws `picture`; `notes` are the latest log lines, the newest last.
pub fn draw(frame: &mut Frame<'_>, picture: &FleetPicture, notes: &[String], palette: Palette) {
    let area = frame.area();
    let run = &picture.run;
    let beside = area.width >= WIDE;
    let figures = if beside { 7 } else { 14 };
    let remarks = picture.warnings();
    let mut lists = failures(run, palette);
    lists.extend(warnings(&remarks, palette));
    let all_rows = lists.len();
    let notes = notes_lines(notes);
    // Head, gauge, figures, what they are of, agents in a word, the last line.
    let left = area.height.saturating_sub(5 + figures);
    let wanted = rows(rows_wanted(&picture.agents));
    let least = wanted.min(LEAST_TABLE_ROWS).min(left);
    let lists_rows = rows(all_rows).min(left - least);
    let left = left - lists_rows;
    // The latest log line has its place, earlier ones where agents leave room.
    let spare = left
        .saturating_sub(wanted)
        .max(1)
        .min(left.saturating_sub(least));
    let notes_rows = rows(notes.len()).min(spare);
    let latest = notes.len() - usize::from(notes_rows);
    lists.truncate(usize::from(lists_rows));
    lists.extend(notes.into_iter().skip(latest));
    let left = left - notes_rows;
    // Charts get what agents leave; of a long list they take half.
    let charts_rows = match left.saturating_sub(wanted) {
        rest if rest >= LEAST_CHARTS_ROWS => rest.min(CHARTS_ROWS),
        _ if left >= LONG => (left / 2).min(CHARTS_ROWS),
        _ => 0,
    };
    let [
        head,
        gauge,
        figures_area,
        sources,
        charts,
        in_a_word,
        table,
        lists_area,
        _,
        foot,
    ] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(figures),
        Constraint::Length(1),
        Constraint::Length(charts_rows),
        Constraint::Length(1),
        Constraint::Length(wanted.min(left - charts_rows)),
        Constraint::Length(lists_rows + notes_rows),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let pace = picture.pace();
    draw_head(frame, head, run, &pace, palette);
    draw_gauge(frame, gauge, run, palette);
    draw_latencies(frame, figures_area, picture, beside);
    frame.render_widget(
        Paragraph::new(cut(picture.sources().into(), area.width)).style(dim()),
        sources,
    );
    let mut shown = vec![Chart::Offered];
    shown.extend(charts_of(run));
    draw_charts(frame, charts, &shown, run, palette);
    let style = match picture.trouble {
        Some(_) => palette.style(Color::Yellow),
        None => dim(),
    };
    frame.render_widget(
        Paragraph::new(cut(picture.in_a_word(), area.width)).style(style),
        in_a_word,
    );
    draw_table(frame, table, &picture.agents, palette);
    frame.render_widget(Paragraph::new(fitted(lists, area.width)), lists_area);
    let is_cut = usize::from(lists_rows) < all_rows;
    draw_foot(frame, foot, picture, is_cut.then_some(&remarks));
}

fn draw_latencies(frame: &mut Frame<'_>, area: Rect, picture: &FleetPicture, beside: bool) {
    let recent = picture.run.recent.as_ref();
    let so_far = &picture.so_far;
    let latencies = [
        ("response", recent.map(|recent| &recent.response)),
        ("  since begin", Some(so_far)),
        ("service", recent.map(|recent| &recent.service)),
        ("generator lag", recent.map(|recent| &recent.lag)),
        ("signing", recent.map(|recent| &recent.signing)),
    ];
    let caption = recent.map_or_else(
        || "all agents have told of no slice yet".to_owned(),
        |recent| {
            format!(
                "now: of {} answered; since begin: of {}",
                Grouped(recent.answered as f64),
                Grouped(so_far.count as f64)
            )
        },
    );
    let rates = rates_lines(&picture.run.counted);
    let latencies = latency_lines(&latencies, caption);
    draw_figures(frame, area, rates, latencies, beside);
}

fn draw_foot(
    frame: &mut Frame<'_>,
    area: Rect,
    picture: &FleetPicture,
    cut: Option<&Vec<Warning>>,
) {
    let text = if let Some(remarks) = cut.filter(|remarks| !remarks.is_empty()) {
        format!("! {}; q stops", codes(remarks))
    } else if picture.run.is_stopping {
        STOPPING.to_owned()
    } else if !picture.has_begun() {
        "q or Ctrl-C ends the wait".to_owned()
    } else if picture.factor_ppm() == 0 {
        "c goes on, q or Ctrl-C stops the run; what was measured is kept".to_owned()
    } else {
        "p pauses, + and - change the rate by a tenth, q or Ctrl-C stops the run".to_owned()
    };
    frame.render_widget(Paragraph::new(text).style(dim()), area);
}

impl FleetPicture {
    /// Returns what has to be remarked at this moment.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.run.warnings();
        // Slices of a fleet wait for the last agent, and for a pause to end.
        warnings.retain(|warning| warning.code != "open-slices");
        if let Some(trouble) = &self.trouble {
            warnings.push(Warning::new(
                "fleet-server",
                format!("the server does not answer: {trouble}"),
                "agents go on and keep what they measure; figures here stand still",
            ));
        }
        warnings
    }

    /// Says what figures are of, and how old they are.
    #[must_use]
    pub fn sources(&self) -> String {
        if !self.has_begun() {
            return String::new();
        }
        let rates = self.beats_age.map_or_else(
            || "rates: no agent is heard of".to_owned(),
            |age| format!("rates: beats, up to {:.1} s old", age.as_secs_f64()),
        );
        let latencies = self.slices_age.map_or_else(String::new, |age| {
            format!(
                "; latencies: merged slices until {:.1} s ago",
                age.as_secs_f64()
            )
        });
        format!("{rates}{latencies}")
    }

    /// Says who is there, and what became of messages.
    fn in_a_word(&self) -> Line<'static> {
        let agents = format!("agents: {}", in_words(self.agents.iter()));
        let waiting = self.progress.map_or(0, |progress| progress.waiting);
        let messages: Vec<_> = [
            (self.deltas.merged, "merged"),
            (self.deltas.duplicate, "twice"),
            (self.deltas.stale, "stale"),
            (self.deltas.rejected, "rejected"),
            (waiting, "untold"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", Grouped(count as f64)))
        .collect();
        Line::from(if messages.is_empty() {
            agents
        } else {
            format!("{agents}; messages: {}", messages.join(", "))
        })
    }
}

#[cfg(test)]
mod tests;
