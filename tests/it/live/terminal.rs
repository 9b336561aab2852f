//! The screen, on a real terminal: how it comes and how it goes.
//!
//! `script` (package bsdutils) makes the terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use mintmark::live::terminal::Screen;

use super::{PATIENCE, terminate};

/// Marks the child that panics.
const CHILD: &str = "MINTMARK_TEST_PANICKING_SCREEN";

const UP: &str = "\x1b[?1049h";
const GONE: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

/// A program on a terminal of its own, 80 by 24.
pub(crate) struct OnTerminal {
    child: Child,
    pub(crate) keys: ChildStdin,
    output: ChildStdout,
    shown: String,
}

impl OnTerminal {
    /// Starts `command`, or says why the test is skipped.
    pub(crate) fn start(command: &str) -> Option<Self> {
        let wrapped = format!("stty rows 24 cols 80; {command}; echo \"ended with $?\"; stty -a");
        let child = Command::new("script")
            .args(["-qfec", &wrapped, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: there is no script (package bsdutils)");
            return None;
        };
        let (keys, output) = (child.stdin.take()?, child.stdout.take()?);
        Some(Self {
            child,
            keys,
            output,
            shown: String::new(),
        })
    }

    /// Reads until `text` was shown.
    fn until(&mut self, text: &str) {
        let begun = std::time::Instant::now();
        while !self.shown.contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no {text:?}");
            self.read_on(text);
        }
    }

    /// Has the screen drawn anew until `text` is on it: what has not changed
    /// is not drawn again by itself.
    #[cfg(feature = "fleet")]
    pub(crate) fn until_drawn(&mut self, text: &str) {
        let begun = std::time::Instant::now();
        let from = self.shown.len();
        while !self.shown[from..].contains(text) {
            assert!(
                begun.elapsed() < PATIENCE,
                "no {text:?} in {:?}",
                self.shown
            );
            self.keys.write_all(b"\x0c").unwrap();
            self.read_on(text);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Reads some more of what is shown.
    fn read_on(&mut self, awaited: &str) {
        let mut some = [0; 4096];
        let count = self.output.read(&mut some).unwrap();
        assert!(count > 0, "no {awaited:?} in {:?}", self.shown);
        self.shown += &String::from_utf8_lossy(&some[..count]);
    }

    /// Reads to the end, and checks that the terminal is as it was before.
    pub(crate) fn end(mut self) -> String {
        self.output.read_to_string(&mut self.shown).unwrap();
        self.child.wait().unwrap();
        let shown = self.shown;
        let (up, gone) = (shown.rfind(UP), shown.rfind(GONE));
        assert!(up.is_some() && gone > up, "{shown:?}");
        assert!(shown.rfind(CURSOR) > up, "the cursor is hidden: {shown:?}");
        let after = &shown[gone.unwrap()..];
        for modes in ["\nisig icanon ", " echo "] {
            assert!(after.contains(modes), "no {modes:?}: {after:?}");
        }
        shown
    }
}

fn load(results: &std::path::Path, more: &str) -> String {
    format!(
        "{} load --rate 100 --duration 60s --calibrate 0s {more} --results {}",
        env!("CARGO_BIN_EXE_mintmark"),
        results.display()
    )
}

#[test]
fn a_key_stops_the_run_and_the_terminal_is_as_before() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["q", "\x03"] {
        let Some(mut run) = OnTerminal::start(&load(folder.path(), "")) else {
            return;
        };
        run.until("goodput, a column a second");
        run.keys.write_all(key.as_bytes()).unwrap();
        let shown = run.end();
        assert!(shown.contains("ended with 3"), "{shown:?}");
        assert!(shown.contains("The record is in"), "{shown:?}");
    }
}

#[test]
fn a_signal_stops_the_run_and_the_terminal_is_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let command = format!(
        "sh -c 'echo $$ > {}; exec {}'",
        file.display(),
        load(folder.path(), "")
    );
    let Some(mut run) = OnTerminal::start(&command) else {
        return;
    };
    run.until("goodput, a column a second");
    let pid = std::fs::read_to_string(&file).unwrap();
    terminate(pid.trim().parse().unwrap());
    let shown = run.end();
    assert!(shown.contains("ended with 3"), "{shown:?}");
}

#[test]
fn an_error_in_the_middle_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    // The file is read when the run has begun.
    let more = "--url http://127.0.0.1:9 --config /nonexistent";
    let Some(mut run) = OnTerminal::start(&load(folder.path(), more)) else {
        return;
    };
    run.until("ended with");
    let shown = run.end();
    assert!(shown.contains("mintmark: "), "{shown:?}");
    assert!(!shown.contains("ended with 0"), "{shown:?}");
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    if std::env::var_os(CHILD).is_some() {
        let _screen = Screen::open().unwrap();
        std::thread::spawn(|| panic!("made for a test"))
            .join()
            .unwrap_err();
        return;
    }
    let command = format!(
        "{CHILD}=1 {} --exact live::terminal::a_panic_gives_the_terminal_back_before_its_message --nocapture",
        std::env::current_exe().unwrap().display()
    );
    let Some(mut run) = OnTerminal::start(&command) else {
        return;
    };
    run.until("ended with");
    let shown = run.end();
    let message = shown.find("made for a test").unwrap();
    assert!(shown.rfind(GONE).unwrap() < message, "{shown:?}");
}

#[test]
fn no_screen_is_drawn_if_it_is_not_wanted_or_not_possible() {
    let folder = tempfile::tempdir().unwrap();
    for (before, more) in [("", "--no-tui"), ("TERM=dumb ", "")] {
        let command = format!("{before}{}", load(folder.path(), more));
        let Some(mut run) = OnTerminal::start(&command) else {
            return;
        };
        run.until("offered");
        run.keys.write_all(b"\x03").unwrap();
        run.output.read_to_string(&mut run.shown).unwrap();
        run.child.wait().unwrap();
        assert!(!run.shown.contains(UP), "{:?}", run.shown);
        assert!(run.shown.contains("The record is in"), "{:?}", run.shown);
    }
}
