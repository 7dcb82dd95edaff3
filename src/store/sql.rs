//! Statements and rows of both databases in one shape, so that a statement is written once.
//!
//! Both accept `$1` as a numbered parameter. Values and cells are of four kinds only: integers,
//! truth values, text and bytes; times are microseconds, ids bytes, addresses text.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Decode, Postgres, Row as _, Sqlite, Type};
use uuid::Uuid;

use super::StoreError;
use super::failure::from_sqlx;
use crate::clock::Timestamp;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A connection lent by a pool. Dropped without [`Connection::give_back`] it is closed: whatever
/// was under way on it is not known to have ended.
pub(super) struct Connection(Option<Lent>);

enum Lent {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// How long a connection may take to prove itself when it is given back.
const RETURN_DEADLINE: Duration = Duration::from_secs(5);

impl Connection {
    /// How a transaction begins. PostgreSQL's level is said because a server may have another
    /// default, under which a lock taken first would still leave an older snapshot.
    const BEGIN: Both = Both {
        sqlite: "BEGIN IMMEDIATE",
        postgres: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    };

    pub(super) const fn sqlite(lent: PoolConnection<Sqlite>) -> Self {
        Self(Some(Lent::Sqlite(lent)))
    }

    pub(super) const fn postgres(lent: PoolConnection<Postgres>) -> Self {
        Self(Some(Lent::Postgres(lent)))
    }

    /// Starts a transaction that may write.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.run(Self::BEGIN).await
    }

    /// Ends a transaction for good.
    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.run(Both::same("COMMIT")).await
    }

    /// Ends a transaction without effect.
    pub(super) async fn rollback(&mut self) -> Result<(), StoreError> {
        self.run(Both::same("ROLLBACK")).await
    }

    /// Runs statements without parameters; an empty text runs nothing.
    pub(super) async fn run(&mut self, sql: Both) -> Result<(), StoreError> {
        match self.lent()? {
            Lent::Sqlite(_) if sql.sqlite.is_empty() => Ok(()),
            Lent::Postgres(_) if sql.postgres.is_empty() => Ok(()),
            Lent::Sqlite(lent) => {
                sqlx::raw_sql(sql.sqlite).execute(&mut **lent).await.map(drop).map_err(from_sqlx)
            }
            Lent::Postgres(lent) => {
                sqlx::raw_sql(sql.postgres).execute(&mut **lent).await.map(drop).map_err(from_sqlx)
            }
        }
    }

    /// Runs a statement; says how many rows it touched.
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<Both>,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let sql = sql.into();
        #[cfg(test)]
        super::plans::note(sql, values);
        match self.lent()? {
            Lent::Sqlite(lent) => {
                let done = bound_sqlite(sql.sqlite, values).execute(&mut **lent).await;
                done.map(|done| done.rows_affected()).map_err(from_sqlx)
            }
            Lent::Postgres(lent) => {
                let done = bound_postgres(sql.postgres, values).execute(&mut **lent).await;
                done.map(|done| done.rows_affected()).map_err(from_sqlx)
            }
        }
    }

    /// Every row of a query.
    pub(super) async fn rows(
        &mut self,
        sql: impl Into<Both>,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        #[cfg(test)]
        super::plans::note(sql, values);
        match self.lent()? {
            Lent::Sqlite(lent) => {
                let rows = bound_sqlite(sql.sqlite, values).fetch_all(&mut **lent).await;
                Ok(rows.map_err(from_sqlx)?.into_iter().map(Row::Sqlite).collect())
            }
            Lent::Postgres(lent) => {
                let rows = bound_postgres(sql.postgres, values).fetch_all(&mut **lent).await;
                Ok(rows.map_err(from_sqlx)?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row of a query, if there is one.
    pub(super) async fn row(
        &mut self,
        sql: impl Into<Both>,
        values: &[Value],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Applies missing migrations. PostgreSQL's migrator takes an advisory lock against others who
    /// try at once; SQLite's does not, so there one transaction holds all of it.
    pub(super) async fn migrate(
        &mut self,
        sqlite: &Migrator,
        postgres: &Migrator,
    ) -> Result<(), StoreError> {
        let done = match self.lent()? {
            Lent::Sqlite(lent) => migrate_alone(lent, sqlite).await,
            Lent::Postgres(lent) => postgres.run_direct(None, &mut **lent, false).await,
        };
        done.map_err(|error| from_sqlx(sqlx::Error::from(error)))
    }

    /// Returns the connection to its pool. Only for one on which nothing is under way.
    pub(super) fn give_back(mut self) {
        // The pool pings a connection that comes back, without a deadline of its own: on a stalled
        // network that would hold a place of the pool until the kernel gives up.
        match self.0.take() {
            Some(Lent::Sqlite(mut lent)) => {
                tokio::spawn(tokio::time::timeout(RETURN_DEADLINE, lent.return_to_pool()));
            }
            Some(Lent::Postgres(mut lent)) => {
                tokio::spawn(tokio::time::timeout(RETURN_DEADLINE, lent.return_to_pool()));
            }
            None => {}
        }
    }

    fn lent(&mut self) -> Result<&mut Lent, StoreError> {
        self.0.as_mut().ok_or(StoreError::Unavailable(sqlx::Error::PoolClosed))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Lent::Sqlite(lent)) => drop(lent.detach()),
            Some(Lent::Postgres(lent)) => drop(lent.detach()),
            None => {}
        }
    }
}

async fn migrate_alone(
    lent: &mut PoolConnection<Sqlite>,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    let mut transaction = lent.begin_with("BEGIN IMMEDIATE").await?;
    // Not `run`: its bounds make the future impossible to send to another thread.
    migrator.run_direct(None, &mut *transaction, false).await?;
    Ok(transaction.commit().await?)
}

/// A statement whose text differs between the databases.
#[derive(Clone, Copy)]
pub(super) struct Both {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Both {
    pub(super) const fn same(sql: &'static str) -> Self {
        Self { sqlite: sql, postgres: sql }
    }
}

impl From<&'static str> for Both {
    fn from(sql: &'static str) -> Self {
        Self::same(sql)
    }
}

type Bound<'q, D> = sqlx::query::Query<'q, D, <D as sqlx::Database>::Arguments>;

fn bound_sqlite<'q>(sql: &'static str, values: &'q [Value]) -> Bound<'q, Sqlite> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

fn bound_postgres<'q>(sql: &'static str, values: &'q [Value]) -> Bound<'q, Postgres> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// A row of a result.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Its cells, to be taken in the order of the columns.
    pub(super) const fn cells(&self) -> Cells<'_> {
        Cells { row: self, next: 0 }
    }
}

/// The cells of a row, taken one after another.
pub(super) struct Cells<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    fn take<T>(&mut self) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        let column = self.next;
        self.next += 1;
        let cell = match self.row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        };
        cell.map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        self.take()
    }

    pub(super) fn optional_int(&mut self) -> Result<Option<i64>, StoreError> {
        self.take()
    }

    pub(super) fn bool(&mut self) -> Result<bool, StoreError> {
        self.take()
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.take()
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        self.take()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.take()
    }

    pub(super) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.take()
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp::from_micros)
    }

    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_int()?.map(Timestamp::from_micros))
    }

    pub(super) fn optional_duration(&mut self) -> Result<Option<Duration>, StoreError> {
        let micros = self.optional_int()?;
        Ok(micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, StoreError> {
        parse_uuid(&self.bytes()?)
    }

    pub(super) fn optional_uuid(&mut self) -> Result<Option<Uuid>, StoreError> {
        self.optional_bytes()?.as_deref().map(parse_uuid).transpose()
    }

    pub(super) fn digest(&mut self) -> Result<[u8; 32], StoreError> {
        parse_digest(&self.bytes()?)
    }

    pub(super) fn optional_address(&mut self) -> Result<Option<IpAddr>, StoreError> {
        let text = self.optional_text()?;
        let parsed = text.map(|text| text.parse()).transpose();
        parsed.map_err(|_| StoreError::Corrupt("an address".to_owned()))
    }
}

/// Reads an id as stored.
pub(super) fn parse_uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::Corrupt("an id".to_owned()))
}

/// Reads the id of a session as stored.
pub(super) fn parse_digest(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("a digest".to_owned()))
}

/// Parameters in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use values;

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Bytes(Some(value.as_bytes().to_vec()))
    }
}

impl From<Option<Uuid>> for Value {
    fn from(value: Option<Uuid>) -> Self {
        Self::Bytes(value.map(|value| value.as_bytes().to_vec()))
    }
}

impl From<&[u8; 32]> for Value {
    fn from(value: &[u8; 32]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_micros()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_micros))
    }
}

impl From<Option<Duration>> for Value {
    fn from(value: Option<Duration>) -> Self {
        Self::Int(value.map(stored_duration))
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Int(Some(stored_duration(value)))
    }
}

impl From<Option<IpAddr>> for Value {
    fn from(value: Option<IpAddr>) -> Self {
        Self::Text(value.map(|value| value.to_canonical().to_string()))
    }
}

impl From<IpAddr> for Value {
    fn from(value: IpAddr) -> Self {
        Self::from(Some(value))
    }
}

/// Microseconds, a thousand years at most: the databases add durations to times, and a sum beyond
/// 64 bits is an error there.
fn stored_duration(value: Duration) -> i64 {
    const MOST: i64 = 1_000 * 366 * 86_400 * 1_000_000;
    i64::try_from(value.as_micros()).unwrap_or(MOST).min(MOST)
}
