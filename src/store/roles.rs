//! Roles of the database and what they grant. Roles of the configuration file never come here.

use super::sql::{Connection, values};
use super::{Changed, Event, RoleRow, Store, StoreError, changes, events};
use crate::identity::grant::Grant;

impl Store {
    /// Every role of the database, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_roles(&self) -> Result<Vec<RoleRow>, StoreError> {
        let rows = self.pool.read(async |connection| {
            let sql = "SELECT r.name, r.description, p.permission FROM roles r \
                 LEFT JOIN role_permissions p ON p.role = r.name ORDER BY r.name, p.permission";
            connection.rows(sql, &[]).await
        });
        let mut roles: Vec<RoleRow> = Vec::new();
        for row in rows.await? {
            let mut cells = row.cells();
            let (name, description) = (cells.text()?, cells.text()?);
            let grant = cells.optional_text()?.map(|text| read_grant(&text)).transpose()?;
            match roles.last_mut() {
                Some(role) if role.name == name => role.grants.extend(grant),
                Some(_) | None => {
                    roles.push(RoleRow { name, description, grants: grant.into_iter().collect() });
                }
            }
        }
        Ok(roles)
    }

    /// Makes a role.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Role`](super::Conflict::Role) when one of that name exists, in
    /// whatever case.
    pub async fn insert_role(&self, role: &RoleRow, event: &Event) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            insert(connection, role).await?;
            note(connection, &role.name, event).await
        });
        written.await
    }

    /// Makes roles, all of them or none; `replaces`: they take the place of all there are.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Role`](super::Conflict::Role) as [`Store::insert_role`].
    pub async fn insert_roles(
        &self,
        roles: &[RoleRow],
        replaces: bool,
        event: &Event,
    ) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            if replaces {
                // Permissions refer to roles and go along.
                for row in connection.rows("SELECT r.name FROM roles r", &[]).await? {
                    changes::insert(connection, &Changed::Role(row.cells().text()?)).await?;
                }
                connection.execute("DELETE FROM roles", &[]).await?;
            }
            insert_all(connection, roles).await?;
            events::insert(connection, event).await
        });
        written.await
    }

    /// Adds permissions to a role; says whether the role exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_role_grants(
        &self,
        role: &str,
        grants: &[Grant],
        event: &Event,
    ) -> Result<bool, StoreError> {
        let written = self.pool.write(async |connection| {
            if !hold(connection, role).await? {
                return Ok(false);
            }
            insert_grants(connection, role, grants).await?;
            note(connection, role, event).await?;
            Ok(true)
        });
        written.await
    }

    /// Takes permissions from a role; says whether the role exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_role_grants(
        &self,
        role: &str,
        grants: &[Grant],
        event: &Event,
    ) -> Result<bool, StoreError> {
        let written = self.pool.write(async |connection| {
            if !hold(connection, role).await? {
                return Ok(false);
            }
            for grant in grants {
                let sql = "DELETE FROM role_permissions WHERE role = $1 AND permission = $2";
                connection.execute(sql, values![role, grant.to_string()]).await?;
            }
            note(connection, role, event).await?;
            Ok(true)
        });
        written.await
    }

    /// Deletes a role; grants of it stay and count for nothing. Says whether it existed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_role(&self, role: &str, event: &Event) -> Result<bool, StoreError> {
        let deleted = self.pool.write(async |connection| {
            let sql = "DELETE FROM roles WHERE name = $1";
            if connection.execute(sql, values![role]).await? == 0 {
                return Ok(false);
            }
            note(connection, role, event).await?;
            Ok(true)
        });
        deleted.await
    }
}

/// Makes roles that are not there yet.
pub(super) async fn insert_all(
    connection: &mut Connection,
    roles: &[RoleRow],
) -> Result<(), StoreError> {
    for role in roles {
        insert(connection, role).await?;
        changes::insert(connection, &Changed::Role(role.name.clone())).await?;
    }
    Ok(())
}

/// Whether a role exists; if so nobody else changes or deletes it until the transaction ends.
async fn hold(connection: &mut Connection, role: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE roles SET description = description WHERE name = $1";
    Ok(connection.execute(sql, values![role]).await? > 0)
}

async fn insert(connection: &mut Connection, role: &RoleRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO roles (name, name_folded, description) VALUES ($1, $2, $3)";
    let folded = role.name.to_ascii_lowercase();
    let values = values![role.name.as_str(), folded, role.description.as_str()];
    connection.execute(sql, values).await?;
    insert_grants(connection, &role.name, &role.grants).await
}

async fn insert_grants(
    connection: &mut Connection,
    role: &str,
    grants: &[Grant],
) -> Result<(), StoreError> {
    for grant in grants {
        let sql = "INSERT INTO role_permissions (role, permission) VALUES ($1, $2) \
             ON CONFLICT (role, permission) DO NOTHING";
        connection.execute(sql, values![role, grant.to_string()]).await?;
    }
    Ok(())
}

async fn note(connection: &mut Connection, role: &str, event: &Event) -> Result<(), StoreError> {
    changes::insert(connection, &Changed::Role(role.to_owned())).await?;
    events::insert(connection, event).await
}

fn read_grant(text: &str) -> Result<Grant, StoreError> {
    Grant::parse(text).map_err(|_| StoreError::Corrupt(format!("the permission {text:?}")))
}
