//! How are months of results queried?
//!
//! As tables of an SQLite database. The documents stay the truth: a database
//! can be deleted and made again. A run that is exported twice is there once.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

use super::summary::slices::slices;
use super::summary::{Percentiles, Summary};
use crate::record::RunDocument;

/// Durations are nanoseconds, shares 0 to 1, rates per second.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, started_at TEXT NOT NULL, scenario TEXT NOT NULL,
    tool_version TEXT NOT NULL, standing TEXT NOT NULL, partial TEXT, signed_by TEXT NOT NULL,
    cpu_model TEXT NOT NULL, cpus INTEGER NOT NULL, kernel TEXT NOT NULL,
    load_average REAL NOT NULL, steal_share REAL NOT NULL, elapsed_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS verdicts (
    run TEXT NOT NULL, subject TEXT NOT NULL, standing TEXT NOT NULL, word TEXT NOT NULL,
    sentence TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
    run TEXT NOT NULL, step TEXT NOT NULL, model TEXT NOT NULL, offered_per_s REAL,
    sent_per_s REAL, goodput_per_s REAL NOT NULL, calls INTEGER NOT NULL,
    failed INTEGER NOT NULL, client_cpu_per_call_ns INTEGER);
CREATE TABLE IF NOT EXISTS parts (
    run TEXT NOT NULL, step TEXT NOT NULL, part TEXT NOT NULL, count INTEGER NOT NULL,
    mean_ns INTEGER NOT NULL, p50_ns INTEGER, p90_ns INTEGER, p99_ns INTEGER, p999_ns INTEGER,
    max_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS slices (
    run TEXT NOT NULL, step TEXT NOT NULL, start_ns INTEGER NOT NULL,
    length_ns INTEGER NOT NULL, scheduled INTEGER, answered INTEGER NOT NULL,
    failed INTEGER NOT NULL, p50_ns INTEGER, p99_ns INTEGER, max_ns INTEGER);
CREATE TABLE IF NOT EXISTS backends (
    run TEXT NOT NULL, backend TEXT NOT NULL, version TEXT NOT NULL, rank INTEGER NOT NULL,
    per_core_per_s REAL NOT NULL, speed REAL, lower REAL, upper REAL);
CREATE TABLE IF NOT EXISTS rates (
    run TEXT NOT NULL, per_s REAL NOT NULL, is_met INTEGER NOT NULL, share_over REAL NOT NULL,
    share_failed REAL NOT NULL, p50_ns INTEGER, p99_ns INTEGER);
CREATE TABLE IF NOT EXISTS warnings (
    run TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL);
";

const NAMES: [&str; 8] = [
    "runs", "verdicts", "steps", "parts", "slices", "backends", "rates", "warnings",
];

/// Adds results to the database at `path`, which is made if it is missing.
///
/// # Errors
///
/// The file is no database, or cannot be written; it is then as it was.
pub fn export_database(path: &Path, documents: &[RunDocument]) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError {
        path: path.to_owned(),
        source,
    };
    let mut connection = Connection::open(path).map_err(failed)?;
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(TABLES).map_err(failed)?;
    for document in documents {
        insert(&transaction, document).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn insert(to: &Transaction<'_>, document: &RunDocument) -> rusqlite::Result<()> {
    let summary = Summary::of(document);
    let run = &document.run;
    for table in NAMES {
        to.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run])?;
    }
    let (host, quality) = (&document.host, &document.quality);
    to.execute(
        "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            run,
            summary.started_at,
            summary.scenario,
            document.tool.version,
            summary.standing().name(),
            document.partial,
            document.signed_by,
            host.cpu_model,
            host.cpus,
            host.kernel,
            quality.load_average,
            quality.steal_share,
            document.elapsed_ns,
        ],
    )?;
    for verdict in &summary.verdicts {
        to.execute(
            "INSERT INTO verdicts VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                run,
                verdict.subject,
                verdict.standing.name(),
                verdict.word,
                verdict.sentence
            ],
        )?;
    }
    steps(to, document, &summary)?;
    others(to, run, &summary)
}

fn steps(to: &Transaction<'_>, document: &RunDocument, summary: &Summary) -> rusqlite::Result<()> {
    let run = &document.run;
    for step in &summary.steps {
        to.execute(
            "INSERT INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                run,
                step.name,
                step.model,
                step.offered_per_s,
                step.sent_per_s,
                step.goodput_per_s,
                step.calls,
                step.failed,
                step.client_cpu_per_call_ns,
            ],
        )?;
        for part in &step.parts {
            let Percentiles {
                count,
                mean_ns,
                p50_ns,
                p90_ns,
                p99_ns,
                p999_ns,
                max_ns,
            } = part.times;
            to.execute(
                "INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run, step.name, part.name, count, mean_ns, p50_ns, p90_ns, p99_ns, p999_ns,
                    max_ns
                ],
            )?;
        }
    }
    for step in &document.steps {
        for slice in slices(step) {
            let at = |q: f64| {
                slice
                    .response
                    .quantile(q)
                    .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            };
            to.execute(
                "INSERT INTO slices VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run,
                    step.name,
                    slice.start_ns,
                    slice.length_ns,
                    slice.scheduled,
                    slice.answered,
                    slice.failed,
                    at(0.5),
                    at(0.99),
                    at(1.0)
                ],
            )?;
        }
    }
    Ok(())
}

fn others(to: &Transaction<'_>, run: &str, summary: &Summary) -> rusqlite::Result<()> {
    for line in &summary.backends {
        to.execute(
            "INSERT INTO backends VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                run,
                line.name,
                line.version,
                line.rank,
                line.per_core_per_s,
                line.speed,
                line.lower,
                line.upper
            ],
        )?;
    }
    for line in &summary.rates {
        to.execute(
            "INSERT INTO rates VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                run,
                line.per_s,
                line.is_met,
                line.share_over,
                line.share_failed,
                line.response.and_then(|times| times.p50_ns),
                line.response.and_then(|times| times.p99_ns)
            ],
        )?;
    }
    for warning in &summary.warnings {
        to.execute(
            "INSERT INTO warnings VALUES (?1, ?2, ?3)",
            params![run, warning.code, warning.message],
        )?;
    }
    Ok(())
}

/// Results could not be exported to a database.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the database {}", path.display())]
pub struct DatabaseError {
    path: PathBuf,
    #[source]
    source: rusqlite::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn a_run_that_is_exported_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("months.sqlite");
        let mut another = sample::document();
        another.run = "another".into();
        export_database(&path, &[sample::document(), another]).unwrap();
        let mut changed = sample::document();
        changed.steps.remove(0);
        export_database(&path, &[changed]).unwrap();
        let connection = Connection::open(&path).unwrap();
        let count =
            |query: &str| -> u64 { connection.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(count("SELECT count(*) FROM runs"), 2);
        assert_eq!(count("SELECT count(*) FROM steps"), 3);
        assert_eq!(count("SELECT count(*) FROM rates WHERE is_met"), 4);
        assert_eq!(
            count("SELECT sum(answered) FROM slices WHERE run = 'another' AND step = 'open'"),
            995
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let text = "not a database, and longer than its header".repeat(40);
        std::fs::write(&path, &text).unwrap();
        assert!(export_database(&path, &[sample::document()]).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
