//! `mintmark sign`: one assertion, or many.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::app_flags::AppFlags;
use super::{Exit, Failure};
use crate::clock::{Clock, SystemClock};

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

    /// The token endpoint, where the profile wants it as the audience.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let bound = flags.app.bind(flags.url.as_deref())?;
    let mut builder = bound.app.builder().map_err(Failure::usage)?;
    let mut out: Box<dyn Write> = match &flags.out {
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::usage(format!("cannot write {}: {error}", path.display()))
        })?),
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::with_capacity(1 << 16, &mut out);
    let clock = SystemClock::new();
    let mut line = Vec::new();
    let written = (|| {
        for _ in 0..flags.count {
            line.clear();
            builder
                .write(clock.unix(), &bound.subject, &*bound.signer, &mut line)
                .map_err(io::Error::other)?;
            line.push(b'\n');
            out.write_all(&line)?;
        }
        out.flush()
    })();
    match written {
        Ok(()) => Ok(Exit::Success),
        // The reader has enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => Err(Failure::failed(error)),
    }
}
