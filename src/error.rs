//! How does a failure reach the person or the program that called?
//!
//! Every boundary has an error enum of its own, beside the code that fails.
//! This module holds only what all of them share: the exit codes, which are a
//! documented interface, and the one way in which a chain of sources is
//! rendered. Messages are lower-case fragments that say what was found and
//! what would be accepted; sources are chained and never pasted into the text.

use std::error::Error;
use std::fmt;

/// The exit code of a verb.
///
/// The numbers are interface: scripts and CI jobs branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The verb did what was asked.
    Success = 0,
    /// An objective was missed, or a comparison found a regression.
    Missed = 1,
    /// The flags, a scenario or a configuration file cannot be used.
    Usage = 2,
    /// The run failed, or was stopped before it was complete.
    Failed = 3,
    /// The run measured itself more than its target, or cannot decide.
    Inconclusive = 4,
    /// The two sides were measured under conditions that do not compare.
    NotComparable = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Displays an error with its chain of sources, separated by `": "`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read \"app.json\"")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no such file")]
    struct Inner;

    #[test]
    fn a_chain_is_rendered_from_the_outside_in() {
        assert_eq!(
            Chain(&Outer(Inner)).to_string(),
            "cannot read \"app.json\": no such file"
        );
    }
}
