//! Connections: how they are opened, lent and bounded in time.
//!
//! Every use of the database is under a deadline over the whole of it, waiting for a connection
//! included; what is still under way then is dropped and its connection closed, so a stalled
//! database never keeps a place in the pool.

use std::future::Future;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Executor};

use super::failure::{from_sqlx, overdue};
use super::sql::{Connection, Value};
use super::{Migrate, StoreError, file};
use crate::config::{Database, DatabaseUrl};

/// Over a whole writing transaction. Readers of the change log go back 30 s, so a transaction must
/// never commit later than that after it wrote its rows; this leaves room for what a server does on
/// its own after its client is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(8);

/// Over any read.
const READ_DEADLINE: Duration = Duration::from_secs(8);

/// Over a read that somebody waits for anew every moment.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// How long SQLite waits for another process's transaction; below the deadline, so that the error
/// says what it was.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that a reading connection of SQLite keeps, as the pragma says it (KiB, negative). The system
/// keeps the file's pages as well, and there are several connections.
const READER_CACHE: &str = "-512";

/// What PostgreSQL ends by itself when its client died.
const SESSION_SETTINGS: &str = "SET statement_timeout = '8s'; \
     SET idle_in_transaction_session_timeout = '8s'";

/// The connections of a store. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    /// One writer, since SQLite has one anyway and waiting in our own queue is fair; several
    /// readers, which never wait for it.
    Sqlite {
        writer: SqlitePool,
        reader: SqlitePool,
    },
    Postgres(PgPool),
}

impl Pool {
    /// Prepares the connections; a database file is made where `migrate` lets it.
    pub(super) async fn open(database: &Database, migrate: Migrate) -> Result<Self, StoreError> {
        match &database.url {
            DatabaseUrl::Sqlite(path) => open_sqlite(path, database, migrate).await,
            DatabaseUrl::Postgres(url) => open_postgres(url.expose_secret(), database).await,
        }
    }

    /// Closes every connection; those in use when they come back.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Runs `work` in a transaction: all of it or, on any error, nothing.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        within(WRITE_DEADLINE, async {
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
        })
        .await
    }

    /// Runs one statement that needs no transaction around it.
    pub(super) async fn execute(
        &self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        within(WRITE_DEADLINE, async {
            let mut connection = self.lend_writer().await?;
            let rows = connection.execute(sql, values).await?;
            connection.give_back();
            Ok(rows)
        })
        .await
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
        match self {
            Self::Sqlite { writer, .. } => writer.acquire().await.map(Connection::sqlite),
            Self::Postgres(pool) => pool.acquire().await.map(Connection::postgres),
        }
        .map_err(from_sqlx)
    }

    async fn lend_reader(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite { reader, .. } => reader.acquire().await.map(Connection::sqlite),
            Self::Postgres(pool) => pool.acquire().await.map(Connection::postgres),
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

async fn open_sqlite(
    path: &std::path::Path,
    database: &Database,
    migrate: Migrate,
) -> Result<Pool, StoreError> {
    match migrate {
        Migrate::Never => {
            if !path.exists() {
                return Err(super::schema::missing());
            }
        }
        Migrate::Fully | Migrate::CreateOnly => {
            file::create_private(path)
                .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
        }
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal);
    enter_wal(&writing, database.acquire_timeout).await?;
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(database.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(writing);
    let reader = SqlitePoolOptions::new()
        .max_connections(database.max_connections.max(1))
        .acquire_timeout(database.acquire_timeout)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "ON").pragma("cache_size", READER_CACHE));
    Ok(Pool::Sqlite { writer, reader })
}

/// Opens the file once. Switching a new file to WAL needs it alone, which SQLite's busy timeout does
/// not wait for; two processes may be making it at once.
async fn enter_wal(options: &SqliteConnectOptions, patience: Duration) -> Result<(), StoreError> {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        match within(BUSY_TIMEOUT, async { options.connect().await.map_err(from_sqlx) }).await {
            Ok(connection) => return connection.close().await.map_err(from_sqlx),
            Err(StoreError::Unavailable(_)) if waited < patience => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn open_postgres(url: &str, database: &Database) -> Result<Pool, StoreError> {
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
    let pool = PgPoolOptions::new()
        .max_connections(database.max_connections.max(1))
        .acquire_timeout(database.acquire_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION_SETTINGS).await.map(drop) })
        })
        .connect_lazy_with(options);
    Ok(Pool::Postgres(pool))
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
