//! What does the picture of a run look like on a terminal?
//!
//! Drawn from a [`Picture`] alone, so that the same picture always looks the
//! same. Whatever does not fit is left out from the bottom up: charts first,
//! figures last. Colour only repeats what a word or a sign says already.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::model::Picture;
use super::recent::{Quantiles, Recent};
use crate::units::{Grouped, Shown};

/// The width of the rates, left of the latencies.
const RATES_WIDTH: u16 = 24;

/// The narrowest screen on which latencies stand beside the rates.
const WIDE: u16 = 72;

/// The most failures by class that are listed; the rest is a sum.
const MOST_CLASSES: usize = 6;

/// The most warnings that are shown.
const MOST_WARNINGS: usize = 3;

/// The most log lines that are shown.
const MOST_NOTES: usize = 5;

/// The most rows of both charts, with a caption each.
const CHARTS_ROWS: u16 = 18;

/// The least rows of both charts that show anything.
const LEAST_CHARTS_ROWS: u16 = 4;

/// May colours be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Colours are welcome.
    pub has_colour: bool,
}

impl Palette {
    /// Follows the environment variable NO_COLOR: any text in it means none.
    #[must_use]
    pub fn of_environment() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            has_colour: !is_unwanted,
        }
    }

    fn style(self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// Draws `picture`; `notes` are the latest log lines, the newest last.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture, notes: &[String], palette: Palette) {
    let area = frame.area();
    let beside = area.width >= WIDE;
    let figures = if beside { 7 } else { 12 };
    let mut lists = failures(picture, palette);
    lists.extend(warnings(picture, palette));
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
    draw_head(frame, head, picture, palette);
    frame.render_widget(
        Paragraph::new(gauge_text(picture.share(), gauge.width)).style(palette.style(Color::Cyan)),
        gauge,
    );
    draw_figures(frame, figures_area, picture, beside);
    draw_charts(frame, charts, picture, palette);
    frame.render_widget(Paragraph::new(lists), lists_area);
    draw_foot(frame, foot, picture, usize::from(lists_rows) < all_rows);
}

/// Draws the last line; it names the warnings if those do not all fit.
fn draw_foot(frame: &mut Frame<'_>, area: Rect, picture: &Picture, is_cut: bool) {
    let warnings = picture.warnings();
    let text = if is_cut && !warnings.is_empty() {
        let codes: Vec<_> = warnings.iter().map(|one| one.code.as_str()).collect();
        format!("! {}; q stops", codes.join(", "))
    } else if picture.is_stopping {
        "stopping: the last requests are waited for".to_owned()
    } else {
        "q or Ctrl-C stops the run; what was measured until then is kept".to_owned()
    };
    frame.render_widget(Paragraph::new(text).style(dim()), area);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, picture: &Picture, palette: Palette) {
    let mut left = format!("mintmark  {}", picture.title);
    if !picture.step.is_empty() {
        left.push_str("  ");
        left.push_str(&picture.step);
    }
    let times = if picture.planned.is_zero() {
        String::new()
    } else {
        format!(
            "  {:.1} of {:.1} s",
            picture.elapsed.as_secs_f64(),
            picture.planned.as_secs_f64()
        )
    };
    let right = format!("{}{times}", picture.phase.word());
    let right_width = u16::try_from(right.chars().count()).unwrap_or(u16::MAX);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(right_width)]).areas(area);
    frame.render_widget(
        Paragraph::new(left).style(Style::new().add_modifier(Modifier::BOLD)),
        left_area,
    );
    frame.render_widget(
        Paragraph::new(right).style(palette.style(Color::Cyan)),
        right_area,
    );
}

fn gauge_text(share: f64, width: u16) -> String {
    let label = format!(" {:>3.0} %", share * 100.0);
    let width = usize::from(width).saturating_sub(label.chars().count());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1 of a width.
    let full = (share * width as f64).round() as usize;
    format!(
        "{}{}{label}",
        "█".repeat(full),
        "░".repeat(width - full.min(width))
    )
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, picture: &Picture, beside: bool) {
    let rates = rates_lines(picture);
    let latencies = latency_lines(picture.recent.as_ref());
    if beside {
        let [left, right] =
            Layout::horizontal([Constraint::Length(RATES_WIDTH), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(rates), left);
        frame.render_widget(Paragraph::new(latencies), right);
    } else {
        let mut lines = rates;
        lines.extend(latencies);
        frame.render_widget(Paragraph::new(lines), area);
    }
}

fn rates_lines(picture: &Picture) -> Vec<Line<'static>> {
    let rates = picture.readings.rates();
    let shown =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| Grouped(value).to_string());
    let row = |name: &str, value: String| Line::from(format!("{name:<10}{value:>10}"));
    vec![
        title(format!("{:<10}{:>10}", "rate", "per second")),
        row("offered", shown(rates.map(|rates| rates.offered_per_s))),
        row("achieved", shown(rates.map(|rates| rates.achieved_per_s))),
        row("goodput", shown(rates.map(|rates| rates.goodput_per_s))),
        row("failed", shown(rates.map(|rates| rates.failed_per_s))),
        Line::from(format!(
            "{} in flight, {} wait",
            Grouped(picture.readings.in_flight() as f64),
            Grouped(picture.readings.waiting() as f64)
        )),
    ]
}

fn latency_lines(recent: Option<&Recent>) -> Vec<Line<'static>> {
    let cell =
        |value: Option<Duration>| value.map_or("–".to_owned(), |value| Shown(value).to_string());
    let none = Quantiles::default();
    let row = |name: &str, of: fn(&Recent) -> &Quantiles| {
        let quantiles = recent.map_or(&none, of);
        Line::from(format!(
            "{name:<14}{:>9}{:>9}{:>9}{:>9}",
            cell(quantiles.p50),
            cell(quantiles.p90),
            cell(quantiles.p99),
            cell(quantiles.max)
        ))
    };
    vec![
        title(format!(
            "{:<14}{:>9}{:>9}{:>9}{:>9}",
            "latency now", "p50", "p90", "p99", "max"
        )),
        row("response", |recent| &recent.response),
        row("service", |recent| &recent.service),
        row("generator lag", |recent| &recent.lag),
        row("signing", |recent| &recent.signing),
        Line::from(recent.map_or_else(
            || "no slice is over yet".to_owned(),
            |recent| {
                format!(
                    "of {} answered requests, due within {}",
                    Grouped(recent.answered as f64),
                    Shown(recent.length)
                )
            },
        ))
        .style(dim()),
    ]
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, picture: &Picture, palette: Palette) {
    if area.height < LEAST_CHARTS_ROWS || picture.past.is_empty() {
        return;
    }
    let [upper, lower] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let shown = picture.past.len().min(usize::from(area.width));
    let past = || picture.past.iter().skip(picture.past.len() - shown);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Counts in a chart.
    let goodput: Vec<_> = past()
        .map(|past| past.rates.goodput_per_s.max(0.0) as u64)
        .collect();
    let most = goodput.iter().copied().max().unwrap_or_default();
    let caption = format!(
        "goodput, a column a second, up to {}/s",
        Grouped(most as f64)
    );
    draw_chart(frame, upper, caption, &goodput, palette.style(Color::Green));
    let p99: Vec<_> = past()
        .map(|past| past.p99.unwrap_or_default())
        .map(|p99| u64::try_from(p99.as_nanos()).unwrap_or(u64::MAX))
        .collect();
    let caption = match p99.iter().copied().max().unwrap_or_default() {
        0 => "p99 of response times: fewer than ten requests a slice are beyond it".to_owned(),
        most => format!(
            "p99 of response times, up to {}",
            Shown(Duration::from_nanos(most))
        ),
    };
    draw_chart(frame, lower, caption, &p99, palette.style(Color::Magenta));
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, caption: String, data: &[u64], style: Style) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(title(caption)), head);
    frame.render_widget(Sparkline::default().data(data).style(style), body);
}

fn failures(picture: &Picture, palette: Palette) -> Vec<Line<'static>> {
    if picture.failures.is_empty() {
        return Vec::new();
    }
    let mut classes: Vec<_> = picture.failures.iter().collect();
    classes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    let mut lines = vec![title("failures by class".to_owned())];
    let row = |name: &str, count: u64| {
        Line::from(vec![
            Span::styled("× ", palette.style(Color::Red)),
            Span::raw(format!(
                "{name:<32}{:>12}",
                Grouped(count as f64).to_string()
            )),
        ])
    };
    for (name, count) in classes.iter().take(MOST_CLASSES) {
        lines.push(row(name, **count));
    }
    let rest: u64 = classes
        .iter()
        .skip(MOST_CLASSES)
        .map(|(_, count)| **count)
        .sum();
    if rest > 0 {
        lines.push(row("others", rest));
    }
    lines
}

fn warnings(picture: &Picture, palette: Palette) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for warning in picture.warnings().iter().take(MOST_WARNINGS) {
        lines.push(Line::from(vec![
            Span::styled(
                "! ",
                palette.style(Color::Yellow).add_modifier(Modifier::BOLD),
            ),
            Span::raw(format!("{}: {}", warning.code, warning.message)),
        ]));
        lines.push(Line::from(format!("  {}", warning.hint)).style(dim()));
    }
    lines
}

fn notes_lines(notes: &[String]) -> Vec<Line<'static>> {
    let first = notes.len().saturating_sub(MOST_NOTES);
    notes[first..]
        .iter()
        .map(|note| Line::from(format!("· {}", note.trim_end())).style(dim()))
        .collect()
}

fn title(text: String) -> Line<'static> {
    Line::from(text).style(Style::new().add_modifier(Modifier::UNDERLINED))
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
