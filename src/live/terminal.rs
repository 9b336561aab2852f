//! How does a run get the terminal, and how does it give it back?
//!
//! The screen is drawn on standard error, so that standard output stays a
//! pipe. Whatever ends the run, the terminal is as it was before: on drop, and
//! on a panic of any thread before its message is printed. A signal is no
//! sudden end: it asks the run to stop.

use std::io::{self, BufWriter, IsTerminal, Stderr, stderr};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::{Frame, Terminal};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// Is the terminal ours at the moment?
static IS_UP: AtomicBool = AtomicBool::new(false);

/// A screen on the terminal of standard error.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
}

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Asked for the end of the run.
    Stop,
    /// Changed the size of the terminal, or came back to it.
    Redraw,
    /// Pressed another key.
    Key(char),
}

impl Screen {
    /// Can a screen be drawn? Standard error has to be a terminal that knows
    /// how to move its cursor, and this process has to be in its foreground:
    /// one in the background that reads keys would be suspended.
    #[must_use]
    pub fn is_possible() -> bool {
        let knows_how =
            std::env::var_os("TERM").is_some_and(|name| name != "dumb" && !name.is_empty());
        stderr().is_terminal()
            && knows_how
            && tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
    }

    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// The terminal refuses; it is as it was then.
    pub fn open() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        IS_UP.store(true, Ordering::SeqCst);
        let opened = execute!(stderr(), EnterAlternateScreen, cursor::Hide).and_then(|()| {
            let backend = CrosstermBackend::new(BufWriter::new(stderr()));
            Terminal::new(backend)
        });
        match opened {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws, unless the terminal was given back.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if IS_UP.load(Ordering::SeqCst) {
            self.terminal.draw(draw)?;
        }
        Ok(())
    }

    /// Waits for up to `longest` for something that the user does.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn input(&self, longest: Duration) -> io::Result<Option<Input>> {
        if !event::poll(longest)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c') if with_control => Some(Input::Stop),
                    KeyCode::Char('q') if !with_control => Some(Input::Stop),
                    KeyCode::Char('l') if with_control => Some(Input::Redraw),
                    KeyCode::Char(key) if !with_control => Some(Input::Key(key)),
                    _ => None,
                }
            }
            Event::Resize(..) => Some(Input::Redraw),
            _ => None,
        })
    }

    /// Draws everything anew at the next drawing.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        // Not `clear`, which asks the terminal for its cursor by way of
        // standard output.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once.
fn restore() {
    if IS_UP.swap(false, Ordering::SeqCst) {
        // There is nobody left to tell if the terminal is gone.
        let _ = execute!(stderr(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
