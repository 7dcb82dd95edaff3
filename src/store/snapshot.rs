//! All accounts at once, page by page, and a copy of a whole SQLite database.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::pool::{READ_DEADLINE, within};
use super::sql::{Both, Connection, values};
use super::users::{self, user_columns};
use super::{Store, StoreError};
use crate::identity::user::{RoleGrant, User};

/// Over copying a database.
const COPY_DEADLINE: Duration = Duration::from_hours(1);

/// Begins a transaction that sees one instant. Whoever reads what is written may take their time.
const SNAPSHOT: Both = Both {
    sqlite: "BEGIN",
    postgres: "SET idle_in_transaction_session_timeout = 0; \
         BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
};

impl Store {
    /// A page of accounts with their grants, past ones too, in the order of their folded e-mail, after
    /// the given one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_accounts(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.pool.read(async |connection| list(connection, after, limit).await).await
    }

    /// All accounts as they are at one instant, to be read page by page while others write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let connection = within(READ_DEADLINE, async {
            let mut connection = self.pool.lend_reader().await?;
            connection.run(SNAPSHOT).await?;
            Ok(connection)
        });
        Ok(Snapshot { connection: connection.await? })
    }

    /// Copies an SQLite database, as it is at one instant, into an empty file. Others read and write
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; on PostgreSQL always.
    pub async fn copy_into(&self, file: &Path) -> Result<(), StoreError> {
        let path =
            file.to_str().ok_or_else(|| StoreError::Schema("the name is not UTF-8".into()))?;
        within(COPY_DEADLINE, async {
            let mut connection = self.pool.lend_writer().await?;
            connection.execute("VACUUM INTO $1", values![path]).await?;
            connection.give_back();
            Ok(())
        })
        .await
    }
}

/// An account and the roles granted to it.
pub type Account = (User, Vec<RoleGrant>);

/// All accounts as they were at one instant. On SQLite the instant is that of the first page.
pub struct Snapshot {
    /// Never given back: a transaction is open on it.
    connection: Connection,
}

impl Snapshot {
    /// A page, as [`Store::list_accounts`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_accounts(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        within(READ_DEADLINE, list(&mut self.connection, after, limit)).await
    }
}

async fn list(
    connection: &mut Connection,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Account>, StoreError> {
    const SQL: &str = concat!(
        "SELECT p.*, g.role, g.ends_at FROM (SELECT ",
        user_columns!(),
        " FROM users u WHERE u.email_folded > $1 ORDER BY u.email_folded LIMIT $2) p \
         LEFT JOIN user_roles g ON g.user_id = p.id"
    );
    let rows = connection.rows(SQL, values![after.unwrap_or_default(), limit]).await?;
    // Put in order here: a database would sort all the columns.
    let mut found: BTreeMap<String, Account> = BTreeMap::new();
    for row in rows {
        let mut cells = row.cells();
        let user = users::read_user(&mut cells)?;
        let (role, until) = (cells.optional_text()?, cells.optional_time()?);
        let folded = user.email_folded.to_string();
        let (_, grants) = found.entry(folded).or_insert_with(|| (user, Vec::new()));
        grants.extend(role.map(|role| RoleGrant { role, until }));
    }
    let mut accounts: Vec<_> = found.into_values().collect();
    for (_, grants) in &mut accounts {
        grants.sort_by(|a, b| a.role.cmp(&b.role));
    }
    Ok(accounts)
}
