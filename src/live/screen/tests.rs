//! Does the screen say what the picture holds, at any size?

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::live::Model;
use crate::live::model::sample::{model, reading};
use crate::scenario::Event;

const NOTE: &str = "12.0s WARN requests end as http_503";

fn drawn(width: u16, height: u16, model: &Model, notes: &[String]) -> Vec<String> {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).unwrap();
    let palette = Palette { has_colour: false };
    terminal
        .draw(|frame| draw(frame, &model.picture, notes, palette))
        .unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            row.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_run_on_a_usual_terminal() {
    let screen = drawn(80, 24, &model(), &[NOTE.to_owned()]);
    let expected = include_str!("80x24.txt");
    assert_eq!(
        screen.join("\n"),
        expected.trim_end(),
        "\n{}",
        screen.join("\n")
    );
}

#[test]
fn a_run_on_a_large_terminal() {
    let screen = drawn(140, 40, &model(), &[NOTE.to_owned()]);
    let expected = include_str!("140x40.txt");
    assert_eq!(
        screen.join("\n"),
        expected.trim_end(),
        "\n{}",
        screen.join("\n")
    );
}

#[test]
fn any_size_is_drawn_and_figures_stay_for_longest() {
    let mut model = model();
    let mut stuck = reading(18_000, 2_000, 0);
    stuck.sent = 20_000;
    model.hear(&Event::Step(stuck));
    for width in [1, 5, 20, 40, 71, 72, 79, 200] {
        for height in [1, 2, 3, 5, 9, 10, 15, 23, 60] {
            let screen = drawn(width, height, &model, &[NOTE.to_owned()]);
            if width >= 20 && height >= 10 {
                let all = screen.join("\n");
                assert!(all.contains("goodput"), "{width}x{height}:\n{all}");
                assert!(all.contains("! backlog"), "{width}x{height}:\n{all}");
            }
        }
    }
}

#[test]
fn a_screen_without_colour_sets_none() {
    let backend = TestBackend::new(80, 24);
    let mut terminal = Terminal::new(backend).unwrap();
    let palette = Palette { has_colour: false };
    terminal
        .draw(|frame| draw(frame, &model().picture, &[], palette))
        .unwrap();
    let cells = terminal.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset));
    assert!(cells.iter().all(|cell| cell.bg == Color::Reset));
}

#[test]
fn what_has_not_happened_yet_is_a_dash_and_no_zero() {
    let mut model = Model::new("steady");
    model.hear(&Event::Calibrating);
    let screen = drawn(80, 24, &model, &[]).join("\n");
    assert!(screen.contains("calibrating this machine"), "{screen}");
    assert!(screen.contains("offered/s          –"), "{screen}");
    assert!(screen.contains("no slice is over yet"), "{screen}");
}
