//! Of which parts is a screen made, whatever goes on?
//!
//! Each draws one thing in the room that it is given: the head, rates and
//! latencies, charts, lists. Which of them there are, and how much room each
//! has, is the screen's.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::super::model::{Past, Picture};
use super::super::rates::{Counted, Rates};
use super::super::recent::Quantiles;
use crate::record::Warning;
use crate::units::{Grouped, Shown};

/// The width of the rates, left of the latencies.
const RATES_WIDTH: u16 = 24;

/// The narrowest screen on which latencies stand beside the rates.
pub const WIDE: u16 = 78;

/// The most failures by class that are listed; the rest is a sum.
const MOST_CLASSES: usize = 6;

/// The most warnings that are shown.
const MOST_WARNINGS: usize = 3;

/// The most log lines that are shown.
const MOST_NOTES: usize = 5;

/// The most rows of charts, with a caption each.
pub const CHARTS_ROWS: u16 = 18;

/// The least rows of charts that show anything.
pub const LEAST_CHARTS_ROWS: u16 = 4;

/// What the last line says once the end was asked for.
pub const STOPPING: &str = "stopping: the last requests are waited for";

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

    /// Returns the style of a colour, if colours may be used.
    pub fn style(self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// Draws the first line: what is run, `detail` of it, and how far it is.
pub fn draw_head(
    frame: &mut Frame<'_>,
    area: Rect,
    picture: &Picture,
    detail: &str,
    palette: Palette,
) {
    let mut left = format!("mintmark  {}", picture.title);
    if !detail.is_empty() {
        left.push_str("  ");
        left.push_str(detail);
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

/// Draws how much of the planned time has passed.
pub fn draw_gauge(frame: &mut Frame<'_>, area: Rect, picture: &Picture, palette: Palette) {
    let text = gauge_text(picture.share(), area.width);
    frame.render_widget(Paragraph::new(text).style(palette.style(Color::Cyan)), area);
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

/// Draws rates and latencies, beside or below each other.
pub fn draw_figures(
    frame: &mut Frame<'_>,
    area: Rect,
    rates: Vec<Line<'static>>,
    latencies: Vec<Line<'static>>,
    beside: bool,
) {
    if beside {
        let [left, right] =
            Layout::horizontal([Constraint::Length(RATES_WIDTH), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(rates), left);
        frame.render_widget(Paragraph::new(latencies), right);
    } else {
        let lines: Vec<_> = rates.into_iter().chain(latencies).collect();
        frame.render_widget(Paragraph::new(lines), area);
    }
}

/// Says how many requests a second were due, sent and ended, and how many are
/// on the way.
pub fn rates_lines(counted: &Counted) -> Vec<Line<'static>> {
    let row = |name: &str, value: Option<f64>| {
        let value = value.map_or("–".to_owned(), |value| Grouped(value).to_string());
        Line::from(format!("{name:<10}{value:>10}"))
    };
    let rates = counted.rates;
    vec![
        title(format!("{:<10}{:>10}", "requests", "now")),
        row("offered/s", rates.map(|rates| rates.offered_per_s)),
        row("achieved/s", rates.map(|rates| rates.achieved_per_s)),
        row("goodput/s", rates.map(|rates| rates.goodput_per_s)),
        row("failed/s", rates.map(|rates| rates.failed_per_s)),
        row("in flight", Some(counted.in_flight as f64)),
        row("waiting", Some(counted.waiting as f64)),
    ]
}

/// Says how long parts of requests take, by name, and what that is of.
pub fn latency_lines(parts: &[(&str, Option<&Quantiles>)], caption: String) -> Vec<Line<'static>> {
    let cell =
        |value: Option<Duration>| value.map_or("–".to_owned(), |value| Shown(value).to_string());
    let mut lines = vec![title(format!(
        "{:<14}{:>8}{:>8}{:>8}{:>8}{:>8}",
        "latency now", "p50", "p90", "p99", "p99.9", "max"
    ))];
    for (name, quantiles) in parts {
        let of = quantiles.copied().unwrap_or_default();
        lines.push(Line::from(format!(
            "{name:<14}{:>8}{:>8}{:>8}{:>8}{:>8}",
            cell(of.p50),
            cell(of.p90),
            cell(of.p99),
            cell(of.p999),
            cell(of.max)
        )));
    }
    lines.push(Line::from(caption).style(dim()));
    lines
}

/// What a chart shows, a column a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// Requests that were due.
    Offered,
    /// Requests that got a token, on the scale of those that were due.
    Goodput,
    /// Requests that did not.
    Failed,
    /// The 99th percentile of response times.
    P99,
}

/// Returns the charts that have something to show.
#[must_use]
pub fn charts_of(picture: &Picture) -> Vec<Chart> {
    let mut charts = vec![Chart::Goodput];
    if !picture.failures.is_empty() {
        charts.push(Chart::Failed);
    }
    if picture.past.iter().any(|past| past.p99.is_some()) {
        charts.push(Chart::P99);
    }
    charts
}

/// Draws charts one below the other, as many as there is room for.
pub fn draw_charts(
    frame: &mut Frame<'_>,
    area: Rect,
    charts: &[Chart],
    picture: &Picture,
    palette: Palette,
) {
    if area.height < LEAST_CHARTS_ROWS || picture.past.is_empty() {
        return;
    }
    let most = usize::from(area.height / 2).min(charts.len());
    let areas = Layout::vertical(vec![Constraint::Fill(1); most]).split(area);
    for (chart, area) in charts.iter().zip(areas.iter()) {
        chart.draw(frame, *area, &picture.past, palette);
    }
}

impl Chart {
    fn draw(self, frame: &mut Frame<'_>, area: Rect, past: &VecDeque<Past>, palette: Palette) {
        let shown = past.len().min(usize::from(area.width));
        let past = || past.iter().skip(past.len() - shown);
        let data: Vec<_> = past().map(|past| self.value(past)).collect();
        let most = |data: &[Option<u64>]| data.iter().flatten().copied().max().unwrap_or_default();
        let highest = most(&data);
        let scale = match self {
            Self::Goodput => {
                let offered: Vec<_> = past().map(|past| Self::Offered.value(past)).collect();
                most(&offered).max(highest)
            }
            _ => highest,
        };
        let [head, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(title(self.caption(highest))), head);
        let line = Sparkline::default()
            .data(data)
            .max(scale)
            .absent_value_symbol(" ")
            .style(palette.style(self.colour()));
        frame.render_widget(line, body);
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Counts in a chart.
    fn value(self, past: &Past) -> Option<u64> {
        let rate = |of: fn(&Rates) -> f64| Some(of(past.rates.as_ref()?).max(0.0).round() as u64);
        match self {
            Self::Offered => rate(|rates| rates.offered_per_s),
            Self::Goodput => rate(|rates| rates.goodput_per_s),
            Self::Failed => rate(|rates| rates.failed_per_s),
            Self::P99 => past
                .p99
                .map(|p99| u64::try_from(p99.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    fn caption(self, highest: u64) -> String {
        let per_s = Grouped(highest as f64);
        match self {
            Self::Offered => format!("offered, a column a second, up to {per_s}/s"),
            Self::Goodput => format!("goodput, a column a second, up to {per_s}/s"),
            Self::Failed => format!("failed, up to {per_s}/s"),
            Self::P99 => {
                let highest = Shown(Duration::from_nanos(highest));
                format!("p99 of response times, up to {highest}")
            }
        }
    }

    fn colour(self) -> Color {
        match self {
            Self::Offered => Color::Cyan,
            Self::Goodput => Color::Green,
            Self::Failed => Color::Red,
            Self::P99 => Color::Magenta,
        }
    }
}

/// Lists failed requests by class.
pub fn failures(picture: &Picture, palette: Palette) -> Vec<Line<'static>> {
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

/// Lists remarks, each with what can be done about it.
pub fn warnings(remarks: &[Warning], palette: Palette) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for warning in remarks.iter().take(MOST_WARNINGS) {
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

/// Names remarks that there is no room for.
pub fn codes(remarks: &[Warning]) -> String {
    let codes: Vec<_> = remarks.iter().map(|one| one.code.as_str()).collect();
    codes.join(", ")
}

/// Lists the latest log lines.
pub fn notes_lines(notes: &[String]) -> Vec<Line<'static>> {
    let first = notes.len().saturating_sub(MOST_NOTES);
    notes[first..]
        .iter()
        .map(|note| Line::from(format!("· {}", note.trim_end())).style(dim()))
        .collect()
}

/// Cuts lines that are wider than the screen so that it shows.
pub fn fitted(lines: Vec<Line<'static>>, width: u16) -> Vec<Line<'static>> {
    lines.into_iter().map(|line| cut(line, width)).collect()
}

/// Cuts a line that is wider than `width`, with a sign of it.
pub fn cut(mut line: Line<'static>, width: u16) -> Line<'static> {
    let mut left = usize::from(width);
    if line.width() <= left {
        return line;
    }
    left = left.saturating_sub(1);
    for span in &mut line.spans {
        // Only ASCII and signs of one column stand in lists.
        let kept: String = span.content.chars().take(left).collect();
        left -= kept.chars().count();
        span.content = kept.into();
    }
    line.push_span("…");
    line
}

/// Marks what stands above figures.
pub fn title(text: String) -> Line<'static> {
    Line::from(text).style(Style::new().add_modifier(Modifier::UNDERLINED))
}

/// Marks what explains figures.
pub fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Counts rows of a screen.
pub fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
