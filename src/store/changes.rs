//! The change log: what other nodes, and on SQLite other processes, must notice.

use std::time::Duration;

use super::pool::ANSWER_DEADLINE;
use super::sql::{Connection, Row, parse_digest, parse_uuid, values};
use super::{Change, Changed, ChangesRead, Store, StoreError};

const USER: &str = "user";
const SESSION: &str = "session";
const ROLE: &str = "role";

/// How far each read goes back, in the database's time. Rows become visible in the order of their
/// commits, not of their numbers, and no transaction is open as long as this.
const WINDOW: Duration = Duration::from_secs(30);

/// How long rows are kept: a reader whose last good read is older must take everything as changed.
const KEPT: Duration = Duration::from_hours(1);

impl Store {
    /// Rows of the change log of the last 30 s of database time, under a one-second deadline.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_changes(&self) -> Result<ChangesRead, StoreError> {
        let rows = self.pool.read_within(ANSWER_DEADLINE, async |connection| {
            let sql = "SELECT c.id, c.kind, c.subject FROM changes c \
                 WHERE c.at >= (SELECT d.micros FROM database_time d) - $1";
            connection.rows(sql, values![WINDOW]).await
        });
        let mut rows = rows.await?.iter().map(read_change).collect::<Result<Vec<_>, _>>()?;
        // Not by the database: SQLite would walk the whole table in this order to save a sort.
        rows.sort_by_key(|change| change.id);
        Ok(ChangesRead { rows, database: self.pool.number() })
    }

    /// Removes rows no reader asks for any more.
    pub(super) async fn delete_old_changes(&self) -> Result<(), StoreError> {
        self.delete_in_batches(
            "DELETE FROM changes WHERE id IN (SELECT c.id FROM changes c \
             WHERE c.at < (SELECT d.micros FROM database_time d) - $1 ORDER BY c.at LIMIT 1000)",
            values![KEPT],
        )
        .await
    }
}

/// Writes a row within the transaction that makes the change.
pub(super) async fn insert(
    connection: &mut Connection,
    changed: &Changed,
) -> Result<(), StoreError> {
    let (kind, subject) = match changed {
        Changed::User(id) => (USER, id.as_bytes().to_vec()),
        Changed::Session(id) => (SESSION, id.to_vec()),
        Changed::Role(name) => (ROLE, name.as_bytes().to_vec()),
    };
    let sql = "INSERT INTO changes (kind, subject) VALUES ($1, $2)";
    connection.execute(sql, values![kind, subject]).await.map(drop)
}

/// Writes a row for everybody who has a session.
pub(super) async fn insert_all_with_sessions(
    connection: &mut Connection,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO changes (kind, subject) SELECT DISTINCT $1, s.user_id FROM sessions s";
    connection.execute(sql, values![USER]).await.map(drop)
}

fn read_change(row: &Row) -> Result<Change, StoreError> {
    let mut cells = row.cells();
    let (id, kind, subject) = (cells.int()?, cells.text()?, cells.bytes()?);
    let subject = match kind.as_str() {
        USER => Changed::User(parse_uuid(&subject)?),
        SESSION => Changed::Session(parse_digest(&subject)?),
        ROLE => Changed::Role(
            String::from_utf8(subject).map_err(|_| StoreError::Corrupt("a role".to_owned()))?,
        ),
        _ => return Err(StoreError::Corrupt(format!("a change of kind {kind}"))),
    };
    Ok(Change { id, subject })
}
