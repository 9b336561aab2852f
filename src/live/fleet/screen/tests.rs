//! Does the screen of a fleet say what its picture holds, at any size?

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::fleet::event::Standing;
use crate::live::Subject;
use crate::live::fleet::model::sample::Fleet;

const SIZES: [(u16, u16); 3] = [(80, 20), (100, 32), (200, 50)];

fn drawn(width: u16, height: u16, picture: &FleetPicture, notes: &[String]) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let palette = Palette { has_colour: false };
    terminal
        .draw(|frame| draw(frame, picture, notes, palette))
        .unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            row.trim_end().to_owned()
        })
        .collect()
}

/// Makes the picture of a fleet after ten seconds, of which one agent was lost
/// and one could not go on.
fn troubled(agents: usize) -> FleetPicture {
    let mut fleet = Fleet::of(agents);
    fleet.begin();
    fleet.pass(0, 4_000);
    fleet.silence(agents - 1, Standing::Lost, 2_000);
    fleet.silence(agents - 2, Standing::Failed, 3_000);
    fleet.pass(4_500, 12_000);
    let now = fleet.begun + Duration::from_millis(12_200);
    fleet.model.picture(now, false)
}

/// Returns the row of an agent in the list, if it is shown.
fn row_of(screen: &[String], slot: usize) -> Option<&String> {
    let begins = format!("{slot:>5}  ");
    screen.iter().find(|row| row.starts_with(&begins))
}

#[test]
fn three_agents_are_all_shown_at_any_size_the_troubled_ones_first() {
    for (width, height) in SIZES {
        let screen = drawn(width, height, &troubled(3), &[]);
        let all = screen.join("\n");
        let place = |slot| {
            let row = row_of(&screen, slot).unwrap_or_else(|| panic!("{slot}:\n{all}"));
            screen.iter().position(|other| other == row).unwrap()
        };
        assert!(place(1) < place(2) && place(2) < place(0), "\n{all}");
        assert!(screen[place(1)].contains("  failed  "), "\n{all}");
        assert!(screen[place(2)].contains("10.2 s ago  !"), "\n{all}");
        for text in [
            "12.2 of 31.0 s",
            "offered/s        300",
            "goodput/s         99",
            "agents: 1 failed, 1 lost, 1 running; messages: 1,234 merged, 2 twice",
            "rates: beats, up to 0.4 s old; latencies: merged slices until 1.2 s ago",
            "× http_503",
            "p pauses, + and - change the rate by a tenth, q or Ctrl-C stops the run",
        ] {
            assert!(all.contains(text), "{width}x{height}, no {text:?}:\n{all}");
        }
        assert!(!all.contains("more:"), "\n{all}");
    }
}

#[test]
fn of_two_hundred_agents_those_in_trouble_are_shown_and_the_rest_counted() {
    for (width, height) in SIZES {
        let screen = drawn(width, height, &troubled(200), &[]);
        let all = screen.join("\n");
        for slot in [198, 199] {
            assert!(row_of(&screen, slot).is_some(), "{slot}:\n{all}");
        }
        let hosts = ["load-1.", "load-2.", "a-machine-"];
        let shown: usize = hosts.iter().map(|host| all.matches(host).count()).sum();
        let rest = format!("and {} more: {} running", 200 - shown, 200 - shown);
        assert!(all.contains(&rest), "{width}x{height}, no {rest:?}:\n{all}");
    }
}

#[test]
fn the_usual_terminal_and_the_large_one_look_like_this() {
    let note = "mintmark: agent 2 is silent, and lost unless it returns".to_owned();
    for ((width, height), expected) in SIZES.into_iter().zip([
        include_str!("80x20.txt"),
        include_str!("100x32.txt"),
        include_str!("200x50.txt"),
    ]) {
        let screen = drawn(width, height, &troubled(3), std::slice::from_ref(&note));
        let screen = screen.join("\n");
        assert_eq!(screen.trim_end(), expected.trim_end(), "\n{screen}");
    }
}

#[test]
fn any_size_is_drawn() {
    let pictures = [troubled(3), troubled(200)];
    for width in [1, 5, 20, 40, 71, 77, 78, 79, 130, 300] {
        for height in [1, 2, 3, 5, 9, 12, 13, 15, 17, 23, 60] {
            for picture in &pictures {
                let screen = drawn(width, height, picture, &["a note".to_owned()]);
                if width >= 20 && height >= 17 {
                    let all = screen.join("\n");
                    assert!(all.contains("goodput"), "{width}x{height}:\n{all}");
                }
            }
        }
    }
}

#[test]
fn before_the_beginning_places_are_shown_and_no_figure_is_made_up() {
    let mut fleet = Fleet::of(3);
    fleet.join(0);
    let picture = fleet.model.picture(fleet.begun, false);
    let screen = drawn(80, 20, &picture, &[]);
    let all = screen.join("\n");
    assert!(all.contains("waiting for agents, 1 of 3 joined"), "{all}");
    assert!(row_of(&screen, 0).unwrap().contains("joined"), "{all}");
    assert!(row_of(&screen, 2).unwrap().contains("awaited"), "{all}");
    assert!(all.contains("offered/s          –"), "{all}");
    assert!(all.contains("q or Ctrl-C ends the wait"), "{all}");
}

#[test]
fn an_agent_whose_clock_is_off_says_by_how_much() {
    let mut fleet = Fleet::of(3);
    fleet.begin();
    fleet.wall_offset_ns = -2_340_000_000;
    fleet.pass(0, 2_000);
    let picture = fleet
        .model
        .picture(fleet.begun + Duration::from_secs(2), false);
    let screen = drawn(80, 20, &picture, &[]);
    let row = row_of(&screen, 0).unwrap();
    assert!(row.ends_with("! clock -2.3 s"), "{row}");
    let head = screen.iter().position(|row| row.starts_with("agent  host"));
    assert_eq!(
        screen.iter().position(|other| other == row),
        head.map(|at| at + 1)
    );
}

#[test]
fn parts_of_a_lost_share_are_listed_and_are_no_agents() {
    let mut fleet = Fleet::of(4);
    fleet.begin();
    fleet.silence(1, Standing::Lost, 0);
    fleet.in_place_of[3] = Some(1);
    fleet.pass(0, 2_000);
    let picture = fleet
        .model
        .picture(fleet.begun + Duration::from_secs(2), false);
    let screen = drawn(80, 20, &picture, &[]);
    let all = screen.join("\n");
    let counts = "agents: 1 lost, 2 running, 1 part of a lost share";
    assert!(all.contains(counts), "{all}");
    assert!(
        row_of(&screen, 3).unwrap().ends_with("for agent 1"),
        "{all}"
    );
}

#[test]
fn what_is_wider_than_the_screen_is_cut_visibly() {
    let note = "mintmark: what agent 2 would start from 19.0 s on is started by 0, 1, 3".to_owned();
    let screen = drawn(60, 30, &troubled(3), &[note]);
    let found = screen.iter().find(|row| row.contains("what agent 2"));
    assert_eq!(
        found.map(String::as_str),
        Some("· mintmark: what agent 2 would start from 19.0 s on is star…")
    );
    assert!(
        screen
            .iter()
            .any(|row| row.starts_with("rates: ") && row.ends_with('…'))
    );
}
