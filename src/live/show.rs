//! When is a picture drawn, and who may look at it meanwhile?
//!
//! The thread that watches a run tells events, which change a model within
//! a lock that is held for microseconds. Another thread draws it: a screen
//! four times a second, or a line once a second. Threads that send know
//! nothing of either.

use std::io::{self, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ratatui::Frame;

use super::model::Picture;
use super::screen::{Palette, draw};
use super::terminal::{Input, Screen};
use super::{Model, Notes, lines};

/// How often a screen is drawn. Rates are those of a second; four times as
/// often is what the eye follows.
const FRAME: Duration = Duration::from_millis(250);

/// How long a key may wait for an answer.
const KEYS: Duration = Duration::from_millis(100);

/// How often a line is written.
const LINE: Duration = Duration::from_secs(1);

/// The most log lines that a screen asks for.
const NOTES: usize = 5;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// On a screen, if the terminal is fit for it; in lines if not.
    Screen,
    /// A line of text each second.
    Text,
    /// A line of JSON each second.
    Json,
}

/// Something that goes on and can be shown.
pub trait Subject: Send + 'static {
    /// What is shown of it.
    type Picture: Pictured;

    /// Returns what holds at this moment.
    fn picture(&self, now: Instant, is_stopping: bool) -> Self::Picture;
}

/// What can be drawn, or said in a line.
pub trait Pictured {
    /// Draws it; `notes` are the latest log lines, the newest last.
    fn draw(&self, frame: &mut Frame<'_>, notes: &[String], palette: Palette);

    /// Says it in a line of text, if there is something to say.
    fn text(&self) -> Option<String>;

    /// Says it in a line of JSON, if there is something to say.
    fn json(&self) -> Option<String>;
}

impl Subject for Model {
    type Picture = Picture;

    fn picture(&self, _: Instant, is_stopping: bool) -> Picture {
        let mut picture = self.picture.clone();
        picture.is_stopping = is_stopping;
        picture
    }
}

impl Pictured for Picture {
    fn draw(&self, frame: &mut Frame<'_>, notes: &[String], palette: Palette) {
        draw(frame, self, notes, palette);
    }

    fn text(&self) -> Option<String> {
        Some(lines::text(self))
    }

    fn json(&self) -> Option<String> {
        Some(lines::json(self))
    }
}

/// Something that is shown while it goes on.
pub struct Show {
    notes: Notes,
    is_screen: bool,
    /// Dropped to end the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    /// Begins to show what `model` holds. Keys that ask for the end set `stop`;
    /// `press` hears of others.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start<S: Subject>(
        model: &Arc<Mutex<S>>,
        look: Look,
        notes: &Notes,
        stop: &Arc<AtomicBool>,
        press: impl Fn(char) + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        // A terminal that refuses gets lines.
        let screen = (look == Look::Screen && Screen::is_possible())
            .then(Screen::open)
            .and_then(Result::ok);
        let is_screen = screen.is_some();
        if is_screen {
            notes.hold();
        }
        let shown = Shown {
            model: Arc::clone(model),
            notes: notes.clone(),
            stop: Arc::clone(stop),
        };
        let thread = thread::Builder::new()
            .name("show".into())
            .spawn(move || match screen {
                Some(screen) => shown.on(screen, &press, &ended),
                None => shown.in_lines(look, &ended),
            })?;
        Ok(Self {
            notes: notes.clone(),
            is_screen,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Is there a screen, which lines of others would tear?
    #[must_use]
    pub fn is_screen(&self) -> bool {
        self.is_screen
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its own hook.
            let _ = thread.join();
        }
        if self.is_screen {
            // Log lines are a courtesy; nobody can be told if they fail.
            let _ = self.notes.release(&mut stderr());
        }
    }
}

/// What the drawing thread has.
struct Shown<S> {
    model: Arc<Mutex<S>>,
    notes: Notes,
    stop: Arc<AtomicBool>,
}

impl<S: Subject> Shown<S> {
    /// Copies the picture, so that no slow terminal holds the lock.
    fn picture(&self) -> S::Picture {
        let is_stopping = self.stop.load(Ordering::Relaxed);
        self.model.lock().picture(Instant::now(), is_stopping)
    }

    fn on(&self, mut screen: Screen, press: &impl Fn(char), ended: &mpsc::Receiver<()>) {
        let palette = Palette::of_environment();
        let mut drawn: Option<Instant> = None;
        while !matches!(ended.try_recv(), Err(mpsc::TryRecvError::Disconnected)) {
            if drawn.is_none_or(|at| at.elapsed() >= FRAME) {
                drawn = Some(Instant::now());
                let notes = self.notes.latest(NOTES);
                let picture = self.picture();
                let drawing = |frame: &mut Frame<'_>| picture.draw(frame, &notes, palette);
                if screen.draw(drawing).is_err() {
                    return;
                }
            }
            match screen.input(KEYS) {
                Ok(Some(Input::Stop)) => {
                    self.stop.store(true, Ordering::Relaxed);
                    drawn = None;
                }
                Ok(Some(Input::Redraw)) => {
                    if screen.clear().is_err() {
                        return;
                    }
                    drawn = None;
                }
                Ok(Some(Input::Key(key))) => {
                    press(key);
                    drawn = None;
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn in_lines(&self, look: Look, ended: &mpsc::Receiver<()>) {
        let mut next = Instant::now() + LINE;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            match ended.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            next += LINE;
            let picture = self.picture();
            let line = match look {
                Look::Json => picture.json(),
                Look::Text | Look::Screen => picture.text(),
            };
            if let Some(line) = line {
                // Whoever reads it may be gone; the run goes on.
                let _ = writeln!(stderr(), "{line}");
            }
        }
    }
}
