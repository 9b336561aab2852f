//! `mintmark report`: results as people and machines want to see them.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Exit, Failure};
use crate::record::store::write_atomically;
use crate::record::{Library, RunDocument, store};
use crate::report::{
    Summary, run_csv, run_html, run_junit, run_markdown, run_text, side_by_side, side_by_side_text,
    verdict_text,
};

/// Shows results as text, Markdown, HTML, JSON, JUnit or CSV.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark report 20261124T102209Z-quickstart\n  \
    mintmark report results/before results/after -o report.html\n  \
    mintmark report release-1 results/after --format markdown >> \"$GITHUB_STEP_SUMMARY\"\n\n\
    Exit codes: 0 done, 2 a result cannot be read, 3 the file cannot be written.")]
pub(super) struct Flags {
    /// Results: a run's or baseline's name, a folder, or a result.json.
    #[arg(value_name = "RESULT", required = true)]
    results: Vec<String>,

    /// The format; that of the file's ending, or text, unless given.
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// The file to write; standard output unless given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The folder in which runs are looked for by name.
    #[arg(long = "results", value_name = "DIR", default_value = "results")]
    library: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for a terminal.
    Text,
    /// Tables for a job summary or a merge request.
    Markdown,
    /// One page with charts, without anything from elsewhere.
    Html,
    /// The figures, for programs.
    Json,
    /// The verdicts, for a CI server.
    Junit,
    /// The parts of each step, for a spreadsheet.
    Csv,
}

impl Format {
    fn of_ending(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "txt" => Some(Self::Text),
            "md" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "json" => Some(Self::Json),
            "xml" => Some(Self::Junit),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let documents = read(&Library::at(&flags.library), &flags.results)?;
    let format = flags
        .format
        .or_else(|| Format::of_ending(flags.output.as_deref()?))
        .unwrap_or(Format::Text);
    let text = render(format, &documents)?;
    write(flags.output.as_deref(), text.as_bytes())?;
    Ok(Exit::Success)
}

/// Reads results by what the user calls them.
pub(super) fn read(library: &Library, names: &[String]) -> Result<Vec<RunDocument>, Failure> {
    names
        .iter()
        .map(|name| {
            library
                .find(name)
                .and_then(|path| store::read(&path))
                .map_err(Failure::usage)
        })
        .collect()
}

/// Writes to a file, whole or not at all, or to standard output.
pub(super) fn write(to: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match to {
        Some(path) => write_atomically(path, bytes)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display()))),
        None => std::io::stdout().write_all(bytes).map_err(Failure::failed),
    }
}

fn render(format: Format, documents: &[RunDocument]) -> Result<String, Failure> {
    let summaries: Vec<Summary> = documents.iter().map(Summary::of).collect();
    Ok(match format {
        Format::Text => {
            let mut text = String::new();
            if documents.len() > 1 {
                text = side_by_side_text(&side_by_side(documents, &summaries));
            }
            for (document, summary) in documents.iter().zip(&summaries) {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&verdict_text(summary));
                text.push('\n');
                text.push_str(&run_text(document));
            }
            text
        }
        Format::Markdown => run_markdown(&summaries, &side_by_side(documents, &summaries)),
        Format::Html => run_html(documents),
        Format::Json => serde_json::to_string_pretty(&summaries).map_err(Failure::failed)? + "\n",
        Format::Junit => run_junit(&summaries),
        Format::Csv => run_csv(&summaries),
    })
}
