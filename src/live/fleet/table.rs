//! Which agents are listed, and how?
//!
//! Those in trouble first, then by slot; what does not fit is counted. Where
//! the screen is wide enough for it, the list goes on in further columns.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::agents::{AgentRow, State, in_words};
use crate::live::screen::Palette;
use crate::live::screen::parts::{dim, title};
use crate::units::Grouped;

/// The width of a row without its host.
const FIXED: usize = 60;

/// The room for a remark on an agent.
const REMARK: usize = 16;

/// The room for a host's name: the least, and the most.
const HOST: (usize, usize) = (4, 24);

/// The space between columns of a list that has several.
const GAP: u16 = 3;

/// Returns how many rows a whole list takes in one column.
pub(super) fn rows_wanted(agents: &[AgentRow]) -> usize {
    match agents.len() {
        0 => 0,
        count => count + 1,
    }
}

/// How a list is laid out.
struct Shape {
    host: usize,
    columns: usize,
}

impl Shape {
    fn of(agents: &[AgentRow], width: u16) -> Self {
        let longest = agents.iter().map(|row| row.host.chars().count()).max();
        let is_remarked = agents.iter().any(|row| remark(row).is_some());
        let fixed = FIXED + if is_remarked { REMARK } else { 0 };
        let room = usize::from(width).saturating_sub(fixed);
        let host = longest
            .unwrap_or_default()
            .clamp(HOST.0, HOST.1)
            .min(room.max(HOST.0));
        let columns = usize::from(width + GAP) / (fixed + host + usize::from(GAP));
        Self {
            host,
            columns: columns.max(1),
        }
    }
}

/// Draws as much of the list as there is room for.
pub(super) fn draw_table(frame: &mut Frame<'_>, area: Rect, agents: &[AgentRow], palette: Palette) {
    if area.height < 2 || agents.is_empty() {
        return;
    }
    let shape = Shape::of(agents, area.width);
    let mut sorted: Vec<_> = agents.iter().collect();
    sorted.sort_by_key(|row| (!row.is_in_trouble(), row.state(), row.slot));
    let room = usize::from(area.height - 1);
    let columns = sorted.len().div_ceil(room).min(shape.columns);
    // The last line says what is left out, if anything is.
    let (room, last) = if sorted.len() > room * columns {
        let shown = (room - 1) * columns;
        let rest = &sorted[shown..];
        let words = in_words(rest.iter().copied());
        (room - 1, Some(format!("and {} more: {words}", rest.len())))
    } else {
        (room, None)
    };
    let [body, foot] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(u16::from(last.is_some())),
    ])
    .areas(area);
    let widths = vec![Constraint::Fill(1); columns];
    let areas = Layout::horizontal(widths).spacing(GAP).split(body);
    for (number, area) in areas.iter().enumerate() {
        let rows = sorted.iter().skip(number * room).take(room);
        let lines: Vec<_> = std::iter::once(head(shape.host))
            .chain(rows.map(|row| line(row, shape.host, palette)))
            .collect();
        frame.render_widget(Paragraph::new(lines), *area);
    }
    frame.render_widget(Paragraph::new(last.unwrap_or_default()).style(dim()), foot);
}

fn head(host: usize) -> Line<'static> {
    title(format!(
        "{:>5}  {:<host$}  {:<10}{:>10}{:>8}{:>7}{:>11}  {:<3}",
        "agent", "host", "state", "answered/s", "failed", "untold", "heard", ""
    ))
}

fn line(row: &AgentRow, host: usize, palette: Palette) -> Line<'static> {
    let rates = row.counted.and_then(|counted| counted.rates);
    let answered = rates.map_or_else(
        || "–".to_owned(),
        |rates| Grouped(rates.goodput_per_s).to_string(),
    );
    let heard = match row.state() {
        State::Awaited | State::Joined | State::Ended | State::Failed => String::new(),
        _ => format!("{:.1} s ago", row.age.as_secs_f64()),
    };
    let style = match row.state() {
        State::Failed | State::Lost => palette.style(Color::Red),
        _ if row.is_in_trouble() => palette.style(Color::Yellow),
        _ => Style::new(),
    };
    let mut spans = vec![
        Span::raw(format!("{:>5}  {}  ", row.slot, fitted(&row.host, host))),
        Span::styled(format!("{:<10}", row.state().word()), style),
        Span::raw(format!(
            "{answered:>10}{:>8}{:>7}{heard:>11}",
            Grouped(row.failed as f64).to_string(),
            Grouped(row.messages as f64).to_string()
        )),
    ];
    if row.is_in_trouble() {
        spans.push(Span::styled("  !", style));
    }
    spans.extend(remark(row).map(|remark| Span::styled(remark, style)));
    Line::from(spans)
}

/// Says what else there is to say of an agent.
fn remark(row: &AgentRow) -> Option<String> {
    if let Some(lost) = row.in_place_of {
        return Some(format!("  for agent {lost}"));
    }
    let off_s = row.wall_offset_ns as f64 / 1e9;
    row.is_clock_off().then(|| format!(" clock {off_s:+.1} s"))
}

/// Pads a name, or cuts it visibly.
fn fitted(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return format!("{name:<width$}");
    }
    let kept: String = name.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}
