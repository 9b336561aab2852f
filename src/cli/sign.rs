//! `mintmark sign`: one assertion, or many.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::app_flags::{AppFlags, BULK_BACKEND, USUAL_BACKEND};
use super::{Exit, Failure};
use crate::assertion::bulk::{BulkError, write_lines};
use crate::clock::SystemClock;

/// Signs assertions and writes them, one a line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark sign --config app.json\n  \
    mintmark sign --config app.json --user 12345 --count 1000 --out assertions.txt")]
pub(super) struct Flags {
    #[command(flatten)]
    app: AppFlags,

    /// How many assertions to sign.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,

    /// Where to write them, in place of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Threads that sign; as many as there are processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// The token endpoint, where the profile wants it as the audience.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    // One assertion fills no batch.
    let preferred = if flags.count > 1 {
        BULK_BACKEND
    } else {
        USUAL_BACKEND
    };
    let bound = flags.app.bind(flags.url.as_deref(), preferred)?;
    let threads = match flags.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // More threads than blocks would have nothing to do.
    let useful = usize::try_from(flags.count.div_ceil(64)).unwrap_or(usize::MAX);
    let builders = (0..threads.min(useful).max(1))
        .map(|_| bound.app.builder())
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::usage)?;
    let mut out: Box<dyn Write> = match &flags.out {
        Some(path) => Box::new(create_private(path).map_err(|error| {
            Failure::usage(format!("cannot write {}: {error}", path.display()))
        })?),
        None => Box::new(io::stdout().lock()),
    };
    let written = write_lines(
        builders,
        &*bound.signer,
        &bound.subject,
        &SystemClock::new(),
        flags.count,
        &mut out,
    );
    match written {
        Ok(()) => Ok(Exit::Success),
        // The reader has enough, as `head` has.
        Err(BulkError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Success)
        }
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Makes a file that only its owner reads: an assertion is worth a token as
/// long as it lives.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
