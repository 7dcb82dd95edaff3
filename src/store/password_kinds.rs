//! The kinds of password hashes present, and what verifying one of each costs.

use std::time::Duration;

use super::sql::{Connection, values};
use super::{Store, StoreError, users};
use crate::identity::hashing::Kind;

impl Store {
    /// Every kind of hash present with its measured cost, if measured. A kind that no account has any
    /// more is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_password_kinds(&self) -> Result<Vec<(Kind, Option<Duration>)>, StoreError> {
        let rows = self.pool.read(async |connection| {
            // The first kind in the index that is not below this one: where most accounts have the
            // same kind, PostgreSQL would answer `EXISTS` by reading all of them.
            let sql = "SELECT k.kind, k.cost FROM password_kinds k WHERE k.kind = \
                 (SELECT u.password_kind FROM users u WHERE u.password_kind >= k.kind \
                 ORDER BY u.password_kind LIMIT 1) ORDER BY k.kind";
            connection.rows(sql, &[]).await
        });
        let rows = rows.await?;
        let kinds = rows.iter().map(|row| {
            let mut cells = row.cells();
            Ok((Kind::from_stored(&cells.text()?), cells.optional_duration()?))
        });
        kinds.collect()
    }

    /// Writes what a kind costs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_password_kind(
        &self,
        kind: &Kind,
        cost: Duration,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO password_kinds (kind, cost) VALUES ($1, $2) \
             ON CONFLICT (kind) DO UPDATE SET cost = excluded.cost";
        self.pool.execute(sql, values![kind.as_str(), cost]).await.map(drop)
    }
}

/// Notes the kind of a hash about to be stored, for the account's own column. A hash that is not
/// usable has none: it is never verified.
pub(super) async fn insert(
    connection: &mut Connection,
    hash: &str,
) -> Result<Option<String>, StoreError> {
    let Some(kind) = kind_of(hash) else { return Ok(None) };
    connection.run(users::ENTER).await?;
    let sql = "INSERT INTO password_kinds (kind, cost) VALUES ($1, NULL) \
         ON CONFLICT (kind) DO NOTHING";
    connection.execute(sql, values![kind.as_str()]).await?;
    Ok(Some(kind))
}

/// What the account's own column says of a hash; nothing of one that is not usable.
pub(super) fn kind_of(hash: &str) -> Option<String> {
    Kind::of(hash).ok().map(|kind| kind.as_str().to_owned())
}

/// Notes the kinds of the hashes put aside.
pub(super) async fn insert_staged(connection: &mut Connection) -> Result<(), StoreError> {
    let sql = "INSERT INTO password_kinds (kind) SELECT DISTINCT n.password_kind \
         FROM staged_users n WHERE n.password_kind IS NOT NULL ON CONFLICT (kind) DO NOTHING";
    connection.execute(sql, &[]).await.map(drop)
}
