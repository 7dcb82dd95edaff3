//! Following the change log: the one number behind staleness.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Inner;
use crate::clock::Tick;
use crate::store::{Changed, StoreError};
use crate::telemetry::log::Causes;

/// How often the log is read.
const PERIOD: Duration = Duration::from_millis(250);
/// Deadline of one read, and of what it calls for.
const DEADLINE: Duration = Duration::from_secs(1);
/// How often the log is read in vain before a gateway does not start.
const FIRST_TRIES: u32 = 5;
/// Rows live this long; a reader that was away longer may have missed some.
const LIFE: Duration = Duration::from_hours(1);

/// The reader's memory.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Ids of the window last read: each is applied once.
    applied: HashSet<i64>,
    last_good: Option<Tick>,
    /// Which database the ids are of.
    database: u64,
    is_failing: bool,
}

/// Reads the log for ever, every [`PERIOD`].
pub(super) async fn follow(inner: Arc<Inner>, mut reader: Reader) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        match reader.read(&inner).await {
            Ok(()) => {
                if std::mem::take(&mut reader.is_failing) {
                    tracing::info!("the change log is read again");
                }
            }
            Err(error) => {
                inner.metrics.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut reader.is_failing, true) {
                    tracing::warn!(error = %Causes(&error), "the change log cannot be read");
                }
            }
        }
    }
}

/// The log, or what it called for, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// No answer within the deadline.
    #[error("the store did not answer in time")]
    TimedOut,
}

impl Reader {
    /// The first read. The database has just been opened: one that is busy, with others that start at the
    /// same time perhaps, is asked again.
    pub(super) async fn read_first(&mut self, inner: &Inner) -> Result<(), FollowError> {
        for _ in 1..FIRST_TRIES {
            if self.read(inner).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(PERIOD).await;
        }
        self.read(inner).await
    }

    /// One read: applies what is new and advances freshness to the moment it began.
    pub(super) async fn read(&mut self, inner: &Inner) -> Result<(), FollowError> {
        let began = inner.clock.tick();
        let read = tokio::time::timeout(DEADLINE, inner.store.list_changes())
            .await
            .map_err(|_elapsed| FollowError::TimedOut)??;
        let is_fresh_start = self.database != read.database
            || self.last_good.is_none_or(|last| began.since(last) > LIFE);
        let new: Vec<_> = read.rows.iter().filter(|row| !self.applied.contains(&row.id)).collect();
        let touches_roles = new.iter().any(|row| matches!(row.subject, Changed::Role(_)));
        if is_fresh_start || touches_roles {
            tokio::time::timeout(DEADLINE, inner.load_roles())
                .await
                .map_err(|_elapsed| FollowError::TimedOut)??;
        }
        if is_fresh_start {
            inner.cache.clear();
            inner.watches.wake_all();
        } else {
            for row in new {
                inner.cache.apply(&row.subject);
                inner.watches.wake(&row.subject);
            }
        }
        self.applied = read.rows.iter().map(|row| row.id).collect();
        (self.last_good, self.database) = (Some(began), read.database);
        inner.freshness.store(began.as_nanos(), Ordering::Release);
        Ok(())
    }
}
