//! Which roles people hold by their accounts at providers (`provider_roles`), apart from those that operators
//! granted.

use uuid::Uuid;

use super::sql::{Connection, values};
use super::{Event, LinkKey, Store, StoreError, events};

impl Store {
    /// The roles that providers give to somebody, each with the provider, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_provider_roles(
        &self,
        user: Uuid,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.pool.read(async |connection| {
            let sql = "SELECT v.role, v.provider FROM provider_roles v WHERE v.user_id = $1";
            connection.rows(sql, values![user]).await
        });
        let rows = rows.await?;
        let roles = rows.iter().map(|row| {
            let mut cells = row.cells();
            Ok((cells.text()?, cells.text()?))
        });
        let mut roles = roles.collect::<Result<Vec<_>, StoreError>>()?;
        roles.sort();
        roles.dedup();
        Ok(roles)
    }
}

/// Puts roles in the place of those that the link gave; says whether they are others. Each that is
/// another is recorded with what `event` says of the occasion.
pub(super) async fn replace(
    connection: &mut Connection,
    (key, user): (&LinkKey, Uuid),
    roles: &[String],
    event: &Event,
) -> Result<bool, StoreError> {
    let record = |kind: &str, role: &str| Event {
        kind: kind.to_owned(),
        user: Some(user),
        detail: format!("{role} by {}", key.provider),
        ..event.clone()
    };
    let (provider, subject) = (key.provider.as_str(), key.subject.as_str());
    let sql = "SELECT v.role FROM provider_roles v WHERE v.provider = $1 AND v.subject = $2";
    let rows = connection.rows(sql, values![provider, subject]).await?;
    let had = rows.iter().map(|row| row.cells().text()).collect::<Result<Vec<_>, _>>()?;
    let mut is_other = false;
    for role in had.iter().filter(|role| !roles.contains(role)) {
        is_other = true;
        let sql = "DELETE FROM provider_roles WHERE provider = $1 AND subject = $2 AND role = $3";
        connection.execute(sql, values![provider, subject, &**role]).await?;
        events::insert(connection, &record("revoke", role)).await?;
    }
    for role in roles.iter().filter(|role| !had.contains(role)) {
        is_other = true;
        let sql = "INSERT INTO provider_roles (provider, subject, user_id, role) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (provider, subject, role) DO NOTHING";
        connection.execute(sql, values![provider, subject, user, &**role]).await?;
        events::insert(connection, &record("grant", role)).await?;
    }
    Ok(is_other)
}
