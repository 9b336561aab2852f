//! What does the program log, and where?
//!
//! To standard error, as text or as a line of JSON for each event; while a
//! screen is up, to that screen. Only events of this program are logged, not
//! those of the libraries below it: these may quote what they were given.

use std::sync::LazyLock;

use clap::{Args, ValueEnum};
use serde_json::json;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::time::Uptime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::live::Notes;

/// Where log lines go.
static NOTES: LazyLock<Notes> = LazyLock::new(Notes::default);

/// Flags that all verbs have.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct LogFlags {
    /// How progress and log lines are written.
    #[arg(long, value_enum, global = true, value_name = "FORMAT", default_value_t = Format::Text)]
    log_format: Format,

    /// The least important events to log.
    #[arg(long, value_enum, global = true, value_name = "LEVEL", default_value_t = Least::Warn)]
    log_level: Least,
}

/// How lines on standard error look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Least {
    /// Nothing.
    Off,
    /// What ended the program's work.
    Error,
    /// What makes its figures doubtful, and failing requests.
    Warn,
    /// What it does: steps, and brokers that start and end.
    Info,
    /// Each slice of a load.
    Debug,
    /// Everything.
    Trace,
}

/// Returns where log lines go, for whoever draws a screen.
pub(super) fn notes() -> &'static Notes {
    &NOTES
}

impl LogFlags {
    /// Says something to the user, besides results and events.
    pub(super) fn say(self, text: &str) {
        notes().say(&if self.is_json() {
            json!({"type": "note", "message": text}).to_string()
        } else {
            format!("mintmark: {text}")
        });
    }

    /// Does standard error hold lines of JSON?
    pub(super) fn is_json(self) -> bool {
        self.log_format == Format::Json
    }

    /// Begins to log.
    pub(super) fn start(self) {
        let least = match self.log_level {
            Least::Off => LevelFilter::OFF,
            Least::Error => Level::ERROR.into(),
            Least::Warn => Level::WARN.into(),
            Least::Info => Level::INFO.into(),
            Least::Debug => Level::DEBUG.into(),
            Least::Trace => Level::TRACE.into(),
        };
        let own = Targets::new().with_target(env!("CARGO_PKG_NAME"), least);
        let registry = tracing_subscriber::registry().with(own);
        // Only a program that embeds this one can have set another before.
        let _ = match self.log_format {
            Format::Text => registry
                .with(
                    fmt::layer()
                        .with_ansi(false)
                        .with_target(false)
                        .with_timer(Uptime::default())
                        .with_writer(notes().clone()),
                )
                .try_init(),
            Format::Json => registry
                .with(
                    fmt::layer()
                        .json()
                        .flatten_event(true)
                        .with_current_span(false)
                        .with_span_list(false)
                        .with_writer(notes().clone()),
                )
                .try_init(),
        };
    }
}
