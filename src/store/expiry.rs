//! Removing what is past its end, in batches that never hold SQLite's one writer for long.

use super::sql::Value;
use super::{Store, StoreError};
use crate::clock::Timestamp;

/// Rows one statement removes at most; every statement says it as `LIMIT 1000`.
const BATCH: u64 = 1000;

/// Batches of one kind in one call; what is left is taken by the next.
const MOST_BATCHES: usize = 100;

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
        self.delete_ended_sessions(now).await?;
        self.delete_ended_tokens(now).await?;
        self.delete_ended_invitations(now).await?;
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
