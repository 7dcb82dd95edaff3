//! The SQLite file: its connections, and what holds when it goes or another takes its place.
//!
//! An open file outlives its name. A gateway that went on with a file that was removed or replaced would
//! never hear of what the command line changes, and would call itself fresh. So whoever asks for a
//! connection gets one to the file of that name, or an error.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};

use super::failure::from_sqlx;
use super::pool::within;
use super::{Migrate, StoreError, file};
use crate::config::Database;

/// How long SQLite waits for another process's transaction; below the deadline of a write, so that the
/// error says what it was.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that a reading connection keeps, as the pragma says it (KiB, negative). The system keeps the
/// file's pages as well, and there are several connections.
const READER_CACHE: &str = "-512";

/// A database file by its name.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    most: u32,
    patience: Duration,
    open: Mutex<Arc<Opened>>,
}

/// The connections to one file: one writer, since SQLite has one anyway and waiting in our own queue is
/// fair; several readers, which never wait for it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
    inode: Inode,
    number: u64,
}

/// Device and number.
type Inode = (u64, u64);

fn inode(path: &Path) -> io::Result<Inode> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn out_of_reach(error: io::Error) -> StoreError {
    StoreError::Unavailable(sqlx::Error::Io(error))
}

impl SqliteFile {
    /// Opens a file, made where `migrate` lets it.
    pub(super) async fn open(
        path: &Path,
        database: &Database,
        migrate: Migrate,
    ) -> Result<Self, StoreError> {
        match migrate {
            Migrate::Never => {
                if !path.exists() {
                    return Err(StoreError::Empty);
                }
            }
            Migrate::Fully | Migrate::CreateOnly => {
                file::create_private(path).map_err(out_of_reach)?;
            }
        }
        let (most, patience) = (database.max_connections.max(1), database.acquire_timeout);
        enter_wal(&writing(path), patience).await?;
        let inode = inode(path).map_err(out_of_reach)?;
        let open = Mutex::new(Arc::new(connect(path, most, patience, (inode, 0))));
        Ok(Self { path: path.to_path_buf(), most, patience, open })
    }

    /// The connections to the file that has the name now.
    pub(super) fn current(&self) -> Result<Arc<Opened>, StoreError> {
        let found = inode(&self.path).map_err(out_of_reach)?;
        let mut open = self.lock();
        if open.inode != found {
            tracing::warn!("another database file has taken the place of the one in use");
            let opened = connect(&self.path, self.most, self.patience, (found, open.number + 1));
            let former = std::mem::replace(&mut *open, Arc::new(opened));
            tokio::spawn(async move { former.close().await });
        }
        Ok(Arc::clone(&open))
    }

    /// How many files have taken the place of the first.
    pub(super) fn number(&self) -> u64 {
        self.lock().number
    }

    /// Closes every connection; those in use when they come back.
    pub(super) async fn close(&self) {
        let open = Arc::clone(&self.lock());
        open.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
}

fn writing(path: &Path) -> SqliteConnectOptions {
    reading(path).journal_mode(SqliteJournalMode::Wal)
}

fn connect(path: &Path, most: u32, patience: Duration, (inode, number): (Inode, u64)) -> Opened {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(writing(path));
    let reader = SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(patience)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(
            reading(path).pragma("query_only", "ON").pragma("cache_size", READER_CACHE),
        );
    Opened { writer, reader, inode, number }
}

/// A database of its own in memory. It lives and ends with its one connection.
pub(super) fn in_memory() -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(SqliteConnectOptions::new().in_memory(true).disable_statement_logging())
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
