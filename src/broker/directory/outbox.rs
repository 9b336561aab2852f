//! Which notices are still to be delivered, and what became of the others?
//!
//! Notices are written with the change that they tell of and stay for good.
//! Whoever delivers one claims it first, so that of several processes on the
//! same registry one does, and records success or failure after. A failed one
//! becomes due again later and later, and after [`MAX_ATTEMPTS`] stays with
//! its last error.

use rusqlite::{OptionalExtension, Row, params};

use super::people::now_s;
use super::record::Notice;
use super::{Directory, DirectoryError};

/// How often delivery is tried: over a little more than an hour.
pub const MAX_ATTEMPTS: u32 = 12;

/// How long a claim lasts, in seconds; longer than any attempt.
const CLAIM_S: i64 = 120;

/// The pause after the first failure, in seconds; it doubles each time.
const FIRST_PAUSE_S: i64 = 5;

/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE_S: i64 = 900;

/// The most of an error that is kept, in characters.
const MAX_ERROR: usize = 300;

const NOTICE: &str = "SELECT number, at_s, recipient, client_id, subject, body, sent_at_s, \
    attempts, error FROM notice";

impl Directory {
    /// Lists the notices to administrators, oldest first.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn notices(&self) -> Result<Vec<Notice>, DirectoryError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare(&format!("{NOTICE} ORDER BY number"))?;
        let rows = statement.query_map((), read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes the oldest notice that is due for delivery, which nobody else
    /// then gets before the claim has run out.
    pub(in crate::broker) fn claim_notice(&self) -> Result<Option<Notice>, DirectoryError> {
        let connection = self.connection.lock();
        let now = now_s();
        let claimed = connection
            .query_row(
                "UPDATE notice SET due_at_s = ?2, attempts = attempts + 1 WHERE number = \
                 (SELECT number FROM notice WHERE sent_at_s IS NULL AND due_at_s <= ?1 \
                 AND attempts < ?3 ORDER BY number LIMIT 1) RETURNING number",
                params![now, now + CLAIM_S, MAX_ATTEMPTS],
                |row| row.get::<_, i64>(0),
            )
            .optional()?;
        let Some(number) = claimed else {
            return Ok(None);
        };
        let sql = format!("{NOTICE} WHERE number = ?1");
        Ok(Some(connection.query_row(&sql, [number], read)?))
    }

    /// Records that a notice was delivered.
    pub(in crate::broker) fn notice_sent(&self, number: u64) -> Result<(), DirectoryError> {
        self.connection.lock().execute(
            "UPDATE notice SET sent_at_s = ?2, error = NULL WHERE number = ?1",
            params![number, now_s()],
        )?;
        Ok(())
    }

    /// Records why a notice was not delivered, and when to try again.
    pub(in crate::broker) fn notice_failed(
        &self,
        notice: &Notice,
        error: &str,
    ) -> Result<(), DirectoryError> {
        let doublings = notice.attempts.saturating_sub(1).min(20);
        let pause = (FIRST_PAUSE_S << doublings).min(LONGEST_PAUSE_S);
        let error: String = error.chars().take(MAX_ERROR).collect();
        self.connection.lock().execute(
            "UPDATE notice SET due_at_s = ?2, error = ?3 WHERE number = ?1",
            params![notice.number, now_s() + pause, error],
        )?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Notice> {
    Ok(Notice {
        number: row.get(0)?,
        at_s: row.get(1)?,
        recipient: row.get(2)?,
        client_id: row.get(3)?,
        subject: row.get(4)?,
        body: row.get(5)?,
        sent_at_s: row.get(6)?,
        attempts: row.get(7)?,
        error: row.get(8)?,
    })
}
