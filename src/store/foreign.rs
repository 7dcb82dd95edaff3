//! Databases that are not ours, read to bring people along from another program: one file a program.
//!
//! What is there is read as text in one transaction that writes nothing; what it means here is said where
//! accounts are judged (`accounts::transfer`).

mod fastapi_users;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::StoreError;
use super::failure::from_sqlx;
use super::pool::within;
use crate::config::DatabaseUrl;

/// To a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Over reading everything.
const READING: Duration = Duration::from_mins(10);

/// An account of another program.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ForeignUser {
    /// Its columns that mean something here, by name; NULL is left out.
    pub columns: BTreeMap<&'static str, String>,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// Its accounts at providers.
    pub links: Vec<ForeignLink>,
}

/// An account at a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignLink {
    /// What the program calls the provider.
    pub provider: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the provider said the e-mail was.
    pub email: Option<String>,
}

/// A role of another program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Permissions as they are written there.
    pub permissions: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Foreign {
    /// The name of the table of accounts, for messages.
    pub table: String,
    /// Accounts, in the order of their ids.
    pub users: Vec<ForeignUser>,
    /// Roles.
    pub roles: Vec<ForeignRole>,
}

/// Columns alone: one of them is the password's hash.
impl fmt::Debug for ForeignUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignUser")
            .field("columns", &self.columns.keys())
            .field("roles", &self.roles)
            .field("links", &self.links)
            .finish()
    }
}

/// Reads a database of `FastAPI` Users.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Schema`] where there is no table of its accounts.
pub async fn read_fastapi_users(url: &DatabaseUrl) -> Result<Foreign, StoreError> {
    let mut source = within(CONNECT, Source::open(url)).await?;
    within(READING, async {
        source.begin().await?;
        fastapi_users::read(&mut source).await
    })
    .await
}

/// A connection to such a database.
enum Source {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// A table with its columns.
type Tables = BTreeMap<String, Vec<String>>;

impl Source {
    async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
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
    async fn begin(&mut self) -> Result<(), StoreError> {
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
    async fn tables(&mut self) -> Result<Tables, StoreError> {
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
    async fn columns(
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
