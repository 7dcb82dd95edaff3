//! Removing what is past its end, in batches that never hold SQLite's one writer for long.

use super::sql::{Value, values};
use super::{Store, StoreError};
use crate::clock::Timestamp;

/// Rows one statement removes at most; every statement says it as `LIMIT 1000`.
const BATCH: u64 = 1000;

/// Batches of one kind in one call; what is left is taken by the next.
const MOST_BATCHES: usize = 100;

/// Each removes what ended at the time `$1` or before. A session ends absolutely, or when it was idle for
/// longer than any unwritten use could make up for; no change rows: the times are in every cached session
/// too.
const ENDED: [&str; 4] = [
    "DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s \
     WHERE s.expires_at <= $1 ORDER BY s.expires_at LIMIT 1000)",
    "DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s \
     WHERE (s.last_seen + s.idle + s.idle / 8) <= $1 \
     ORDER BY (s.last_seen + s.idle + s.idle / 8) LIMIT 1000)",
    "DELETE FROM tokens WHERE digest IN (SELECT t.digest FROM tokens t \
     WHERE t.expires_at <= $1 ORDER BY t.expires_at LIMIT 1000)",
    "DELETE FROM invitations WHERE id IN (SELECT i.id FROM invitations i \
     WHERE i.expires_at <= $1 ORDER BY i.expires_at LIMIT 1000)",
];

impl Store {
    /// Removes sessions, tokens and invitations past their end, old changes (an hour), events older than
    /// `events_before`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_expired(
        &self,
        now: Timestamp,
        events_before: Timestamp,
    ) -> Result<(), StoreError> {
        for sql in ENDED {
            self.delete_in_batches(sql, values![now]).await?;
        }
        self.delete_old_changes().await?;
        self.delete_old_events(events_before).await
    }

    /// Repeats a statement that removes at most 1,000 rows until it has nothing left to do.
    pub(super) async fn delete_in_batches(
        &self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<(), StoreError> {
        for _ in 0..MOST_BATCHES {
            if self.pool.execute(sql, values).await? < BATCH {
                break;
            }
        }
        Ok(())
    }
}
