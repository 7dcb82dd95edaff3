//! A connection to a database of another program: its tables, and their columns as text.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::super::StoreError;
use super::super::failure::from_sqlx;
use crate::config::DatabaseUrl;

/// A connection to such a database.
pub(super) enum Source {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// A table with its columns.
pub(super) type Tables = BTreeMap<String, Vec<String>>;

impl Source {
    pub(super) async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                let opened = options.disable_statement_logging().connect().await;
                Ok(Self::Sqlite(Box::new(opened.map_err(from_sqlx)?)))
            }
            DatabaseUrl::Postgres(url) => {
                let options: PgConnectOptions = url.expose_secret().parse().map_err(from_sqlx)?;
                let options = options.application_name("portcullis").disable_statement_logging();
                let opened = PgConnection::connect_with(&options).await;
                Ok(Self::Postgres(Box::new(opened.map_err(from_sqlx)?)))
            }
        }
    }

    /// Begins a transaction that sees one instant; it ends with the connection.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql("BEGIN").execute(&mut **connection).await.map(drop)
            }
            Self::Postgres(connection) => {
                let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop)
            }
        }
        .map_err(from_sqlx)
    }

    /// Every table of the schema that is looked into first.
    pub(super) async fn tables(&mut self) -> Result<Tables, StoreError> {
        let sql = match self {
            Self::Sqlite(_) => {
                "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                 WHERE m.type = 'table'"
            }
            Self::Postgres(_) => {
                "SELECT table_name::text, column_name::text FROM information_schema.columns \
                 WHERE table_schema = current_schema()"
            }
        };
        let mut tables = Tables::new();
        for row in self.rows(sql.to_owned(), 2).await? {
            let [Some(table), Some(column)] = row.as_slice() else { continue };
            tables.entry(table.clone()).or_default().push(column.clone());
        }
        Ok(tables)
    }

    /// A column as text, whatever its type: bytes as hexadecimal digits.
    fn text(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => format!(
                "CASE typeof(\"{column}\") WHEN 'blob' THEN hex(\"{column}\") \
                 ELSE CAST(\"{column}\" AS TEXT) END"
            ),
            Self::Postgres(_) => format!("\"{column}\"::text"),
        }
    }

    /// Columns of a table as text, in the order of the first.
    pub(super) async fn columns(
        &mut self,
        table: &str,
        columns: &[&str],
    ) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        let list: Vec<String> = columns.iter().map(|column| self.text(column)).collect();
        let sql = format!("SELECT {} FROM \"{table}\" ORDER BY 1", list.join(", "));
        self.rows(sql, columns.len()).await
    }

    /// `sql` is put together of names that stand in the source; nothing of the database's is in it.
    async fn rows(
        &mut self,
        sql: String,
        columns: usize,
    ) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await;
                let cells = |row: sqlx::sqlite::SqliteRow| {
                    (0..columns).map(|at| row.try_get::<Option<String>, _>(at)).collect()
                };
                rows.map_err(from_sqlx)?.into_iter().map(cells).collect::<Result<_, _>>()
            }
            Self::Postgres(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await;
                let cells = |row: sqlx::postgres::PgRow| {
                    (0..columns).map(|at| row.try_get::<Option<String>, _>(at)).collect()
                };
                rows.map_err(from_sqlx)?.into_iter().map(cells).collect::<Result<_, _>>()
            }
        }
        .map_err(from_sqlx)
    }
}
