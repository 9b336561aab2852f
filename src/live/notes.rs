//! Where do log lines go while a screen is up?
//!
//! To standard error otherwise. A line that is written there while a screen is
//! drawn would tear it, so such lines are kept, shown on it, and written once
//! it is gone. None is lost unless there are very many.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

/// The most lines that are kept for later; beyond, the oldest are dropped and
/// counted.
const MOST: usize = 1_000;

/// A place for log lines, shared by whoever writes them.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    is_held: bool,
    lines: VecDeque<String>,
    dropped: usize,
}

impl Notes {
    /// Keeps lines from now on.
    pub fn hold(&self) {
        self.0.lock().is_held = true;
    }

    /// Writes a line now, or keeps it.
    pub fn say(&self, line: &str) {
        // There is nobody left to tell if standard error is gone.
        let _ = self.write(format!("{line}\n").as_bytes());
    }

    /// Returns the latest lines that are kept, the newest last.
    #[must_use]
    pub fn latest(&self, most: usize) -> Vec<String> {
        let kept = self.0.lock();
        let first = kept.lines.len().saturating_sub(most);
        kept.lines.iter().skip(first).cloned().collect()
    }

    /// Writes what was kept to `out`, and keeps nothing any more.
    ///
    /// # Errors
    ///
    /// As `out` has it.
    pub fn release(&self, out: &mut impl Write) -> io::Result<()> {
        let mut kept = self.0.lock();
        kept.is_held = false;
        if kept.dropped > 0 {
            writeln!(
                out,
                "mintmark: {} older log lines were dropped",
                kept.dropped
            )?;
        }
        kept.dropped = 0;
        for line in std::mem::take(&mut kept.lines) {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut kept = self.0.lock();
        if !kept.is_held {
            // In the lock, so that lines of two threads do not mix.
            return io::stderr().write_all(text);
        }
        for line in String::from_utf8_lossy(text).lines() {
            if kept.lines.len() >= MOST {
                kept.lines.pop_front();
                kept.dropped += 1;
            }
            kept.lines.push_back(line.to_owned());
        }
        Ok(())
    }
}

/// A writer of one log event, which arrives in one piece.
#[derive(Debug)]
pub struct NoteWriter<'a>(&'a Notes);

impl Write for NoteWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Notes {
    type Writer = NoteWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        NoteWriter(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_while_a_screen_is_up_and_written_after_it() {
        let notes = Notes::default();
        notes.hold();
        for number in 0..MOST + 3 {
            notes.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(notes.latest(2), ["line 1001", "line 1002"]);
        let mut out = Vec::new();
        notes.release(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("mintmark: 3 older log lines were dropped\nline 3\n"));
        assert!(text.ends_with("line 1002\n"));
        assert!(notes.latest(1).is_empty());
    }
}
