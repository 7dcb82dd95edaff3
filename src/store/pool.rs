//! Connections: how they are opened, lent and bounded in time.
//!
//! Every use of the database is under a deadline over the whole of it, waiting for a connection
//! included; what is still under way then is dropped and its connection closed, so a stalled
//! database never keeps a place in the pool.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::SqlitePool;
use sqlx::{ConnectOptions, Connection as _, Executor};

use super::failure::{from_sqlx, overdue};
use super::sql::{Connection, Value};
use super::sqlite::{self, SqliteFile};
use super::{Migrate, StoreError};
use crate::config::{Database, DatabaseUrl};

/// Over a whole writing transaction. Readers of the change log go back 30 s, so a transaction must
/// never commit later than that after it wrote its rows; this leaves room for what a server does on
/// its own after its client is gone.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(8);

/// Over any read.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(8);

/// Over a read that somebody waits for anew every moment.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// What PostgreSQL ends by itself when its client died.
pub(super) const SESSION_SETTINGS: &str = "SET statement_timeout = '8s'; \
     SET idle_in_transaction_session_timeout = '8s'";

/// Has PostgreSQL look whether its client is still there while a statement runs. Else every query given
/// up at its deadline would go on waiting for the lock it waits for, and a second's worth of them would
/// take all the connections the server has.
const NOTICE_CLIENT_GONE: &str = "SET client_connection_check_interval = '1s'";

/// The connections of a store. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    lender: Lender,
    /// Why the last write failed, unless it succeeded.
    write_trouble: Arc<Mutex<Option<String>>>,
}

#[derive(Clone, Debug)]
enum Lender {
    Sqlite(Arc<SqliteFile>),
    Memory(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// Prepares the connections; a database file is made where `migrate` lets it.
    pub(super) async fn open(database: &Database, migrate: Migrate) -> Result<Self, StoreError> {
        let lender = match &database.url {
            DatabaseUrl::Sqlite(path) => {
                Lender::Sqlite(Arc::new(SqliteFile::open(path, database, migrate).await?))
            }
            DatabaseUrl::Postgres(url) => {
                Lender::Postgres(open_postgres(url.expose_secret(), database).await?)
            }
        };
        Ok(Self { lender, write_trouble: Arc::default() })
    }

    /// The connection to a database in memory.
    pub(super) fn in_memory() -> Self {
        Self { lender: Lender::Memory(sqlite::in_memory()), write_trouble: Arc::default() }
    }

    /// Another number after another database has taken the place of the one that was open.
    pub(super) fn number(&self) -> u64 {
        match &self.lender {
            Lender::Sqlite(file) => file.number(),
            Lender::Memory(_) | Lender::Postgres(_) => 0,
        }
    }

    /// Why the last write failed; `None` when it succeeded.
    pub(super) fn write_trouble(&self) -> Option<String> {
        self.write_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a write ended, where the database had a say in it. One that is out of reach is that to
    /// readers as well, and they notice sooner.
    fn note_write<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let trouble = match &done {
            Err(StoreError::Unavailable(error) | StoreError::Failed(error)) => {
                let Some(refusal) = error.as_database_error() else { return done };
                Some(refusal.to_string())
            }
            // The database answered, and would have written.
            Ok(_)
            | Err(
                StoreError::Conflict(_)
                | StoreError::Empty
                | StoreError::Schema(_)
                | StoreError::Corrupt(_),
            ) => None,
        };
        *self.write_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        done
    }

    /// Closes every connection; those in use when they come back.
    pub(super) async fn close(&self) {
        match &self.lender {
            Lender::Sqlite(file) => file.close().await,
            Lender::Memory(pool) => pool.close().await,
            Lender::Postgres(pool) => pool.close().await,
        }
    }

    /// Runs `work` in a transaction: all of it or, on any error, nothing.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = within(WRITE_DEADLINE, async {
            let mut connection = self.lend_writer().await?;
            connection.begin().await?;
            match work(&mut connection).await {
                Ok(value) => {
                    connection.commit().await?;
                    connection.give_back();
                    Ok(value)
                }
                Err(error) => {
                    // Whatever is wrong with the connection, the first error is the one to tell;
                    // one that cannot roll back is closed, which does the same.
                    if connection.rollback().await.is_ok() {
                        connection.give_back();
                    }
                    Err(error)
                }
            }
        });
        self.note_write(done.await)
    }

    /// Runs `work` in a transaction on a connection that has been lent, which is closed after it.
    pub(super) async fn write_on<T>(
        &self,
        mut connection: Connection,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = within(WRITE_DEADLINE, async {
            connection.begin().await?;
            let value = work(&mut connection).await?;
            connection.commit().await?;
            Ok(value)
        });
        self.note_write(done.await)
    }

    /// Runs one statement that needs no transaction around it.
    pub(super) async fn execute(
        &self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let done = within(WRITE_DEADLINE, async {
            let mut connection = self.lend_writer().await?;
            let rows = connection.execute(sql, values).await?;
            connection.give_back();
            Ok(rows)
        });
        self.note_write(done.await)
    }

    /// Runs `work`, which only reads.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read_within(READ_DEADLINE, work).await
    }

    /// Runs `work`, which only reads, under a deadline of its own.
    pub(super) async fn read_within<T>(
        &self,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        within(deadline, async {
            let mut connection = self.lend_reader().await?;
            let value = work(&mut connection).await?;
            connection.give_back();
            Ok(value)
        })
        .await
    }

    /// Lends a connection that may write.
    pub(super) async fn lend_writer(&self) -> Result<Connection, StoreError> {
        match &self.lender {
            Lender::Sqlite(file) => file.current()?.writer.acquire().await.map(Connection::sqlite),
            Lender::Memory(pool) => pool.acquire().await.map(Connection::sqlite),
            Lender::Postgres(pool) => pool.acquire().await.map(Connection::postgres),
        }
        .map_err(from_sqlx)
    }

    /// Lends a connection that only reads.
    pub(super) async fn lend_reader(&self) -> Result<Connection, StoreError> {
        match &self.lender {
            Lender::Sqlite(file) => file.current()?.reader.acquire().await.map(Connection::sqlite),
            Lender::Memory(pool) => pool.acquire().await.map(Connection::sqlite),
            Lender::Postgres(pool) => pool.acquire().await.map(Connection::postgres),
        }
        .map_err(from_sqlx)
    }
}

/// Puts a deadline over something; past it the thing is dropped.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(overdue()))
}

async fn open_postgres(url: &str, database: &Database) -> Result<PgPool, StoreError> {
    let mut options: PgConnectOptions = url.parse().map_err(from_sqlx)?;
    if options.get_application_name().is_none() {
        options = options.application_name("portcullis");
    }
    let options = options.disable_statement_logging();
    // The pool would report a refused connection as a timeout; this says what it was.
    within(database.acquire_timeout, async {
        let connection = PgConnection::connect_with(&options).await.map_err(from_sqlx)?;
        connection.close().await.map_err(from_sqlx)
    })
    .await?;
    Ok(PgPoolOptions::new()
        .max_connections(database.max_connections.max(1))
        .acquire_timeout(database.acquire_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION_SETTINGS).await?;
                // Before version 14, and on some systems, there is no such setting.
                let _refused = connection.execute(NOTICE_CLIENT_GONE).await;
                Ok(())
            })
        })
        .connect_lazy_with(options))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::clock::Clock;
    use crate::store::Store;

    #[tokio::test]
    async fn a_transaction_ends_without_effect_at_its_deadline_however_short_its_statements() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database {
            url: DatabaseUrl::Sqlite(directory.path().join("portcullis.db")),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
        };
        let clock = Clock::system();
        let store = Store::open(&database, Migrate::Fully, clock.clone()).await.unwrap();
        let started = clock.tick();
        let slow: Result<(), StoreError> = store
            .pool
            .write(async |connection| {
                loop {
                    let sql = "INSERT INTO password_kinds (kind) VALUES ('x') \
                         ON CONFLICT (kind) DO NOTHING";
                    connection.execute(sql, &[]).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
            .await;
        assert!(matches!(slow, Err(StoreError::Unavailable(_))), "{slow:?}");
        let waited = clock.tick().since(started);
        assert!(waited >= WRITE_DEADLINE && waited < Duration::from_secs(10), "{waited:?}");
        let sql = "DELETE FROM password_kinds";
        assert_eq!(store.pool.execute(sql, &[]).await.unwrap(), 0);
    }
}
