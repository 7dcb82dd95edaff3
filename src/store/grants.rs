//! Which roles people hold (`user_roles`), by name and perhaps until a time.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sql::{Connection, values};
use super::{Changed, Event, Store, StoreError, changes, events};
use crate::clock::Timestamp;
use crate::identity::user::RoleGrant;

const INSERT: &str = "INSERT INTO user_roles (user_id, role, ends_at) VALUES ($1, $2, $3) \
     ON CONFLICT (user_id, role) DO UPDATE SET ends_at = excluded.ends_at";

impl Store {
    /// The roles that operators granted to a user, past ones too, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_grants(&self, id: Uuid) -> Result<Vec<RoleGrant>, StoreError> {
        let rows = self.pool.read(async |connection| {
            let sql =
                "SELECT g.role, g.ends_at FROM user_roles g WHERE g.user_id = $1 ORDER BY g.role";
            connection.rows(sql, values![id]).await
        });
        let rows = rows.await?;
        let grants = rows.iter().map(|row| {
            let mut cells = row.cells();
            Ok(RoleGrant { role: cells.text()?, until: cells.optional_time()? })
        });
        grants.collect()
    }

    /// How many people hold each role (past grants not counted, those of providers counted), by role
    /// name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_grants(&self, now: Timestamp) -> Result<BTreeMap<String, i64>, StoreError> {
        let rows = self.pool.read(async |connection| {
            let sql = "SELECT h.role, COUNT(*) FROM (SELECT g.role, g.user_id FROM user_roles g \
                 WHERE g.ends_at IS NULL OR g.ends_at > $1 \
                 UNION SELECT v.role, v.user_id FROM provider_roles v) h GROUP BY h.role";
            connection.rows(sql, values![now]).await
        });
        let rows = rows.await?;
        let counts = rows.iter().map(|row| {
            let mut cells = row.cells();
            Ok((cells.text()?, cells.int()?))
        });
        counts.collect()
    }

    /// Grants a role by name, or sets the new end of one held.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`](super::Conflict::Gone) when there is no such account.
    pub async fn insert_grant(
        &self,
        id: Uuid,
        grant: &RoleGrant,
        event: &Event,
    ) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            insert(connection, id, grant).await?;
            changes::insert(connection, &Changed::User(id)).await?;
            events::insert(connection, event).await
        });
        written.await
    }

    /// Takes a role away; says whether it was held (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_grant(
        &self,
        id: Uuid,
        role: &str,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let deleted = self.pool.write(async |connection| {
            let sql = "DELETE FROM user_roles WHERE user_id = $1 AND role = $2";
            if connection.execute(sql, values![id, role]).await? == 0 {
                return Ok(false);
            }
            changes::insert(connection, &Changed::User(id)).await?;
            events::insert(connection, event).await?;
            Ok(true)
        });
        deleted.await
    }
}

/// Grants a role within a transaction.
pub(super) async fn insert(
    connection: &mut Connection,
    id: Uuid,
    grant: &RoleGrant,
) -> Result<(), StoreError> {
    connection.execute(INSERT, values![id, grant.role.as_str(), grant.until]).await.map(drop)
}
