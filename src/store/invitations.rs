//! Invitations to make an account. What an account begins with that one makes by an invitation stands here
//! and nowhere in a request.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sql::{Both, Connection, Row, values};
use super::{
    Conflict, Event, Invitation, NewLetter, NewUser, Store, StoreError, Superuser, events, outbox,
    users,
};
use crate::clock::Timestamp;
use crate::identity::user::User;

macro_rules! columns {
    () => {
        "i.id, i.email, i.email_folded, i.first_name, i.last_name, i.invited_by, i.inviter, \
         i.created_at, i.expires_at, r.role FROM invitations i LEFT JOIN invitation_roles r ON r.invitation = i.id"
    };
}

/// Of two invitations of the same e-mail at once the later takes the place of the earlier.
const HOLD: Both =
    Both { sqlite: "", postgres: "LOCK TABLE invitations IN SHARE ROW EXCLUSIVE MODE" };

impl Store {
    /// Adds an invitation in place of an earlier one of the same e-mail, with the letter that brings it if
    /// there is to be one; `false`, and nothing is added, when the outbox holds `most` letters already.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Email`] where there is an account with this e-mail;
    /// [`Conflict::NoSuperuser`].
    pub async fn insert_invitation(
        &self,
        invitation: &Invitation,
        by: Option<Superuser>,
        letter: Option<(&NewLetter<'_>, u32)>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let written = self.pool.write(async |connection| {
            if let Some(by) = by {
                // Before the invitations, as everybody holds them who changes an account.
                users::hold_superuser(connection, by).await?;
            }
            connection.run(HOLD).await?;
            let folded = invitation.email_folded.as_str();
            if users::has_email(connection, folded).await? {
                return Err(StoreError::Conflict(Conflict::Email));
            }
            if let Some((letter, most)) = letter
                && !outbox::insert(connection, letter, most).await?
            {
                return Ok(false);
            }
            let sql = "DELETE FROM invitations WHERE email_folded = $1";
            connection.execute(sql, values![folded]).await?;
            insert(connection, invitation).await?;
            events::insert(connection, event).await?;
            Ok(true)
        });
        written.await
    }

    /// By id, past ones too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_invitation(&self, id: Uuid) -> Result<Option<Invitation>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " WHERE i.id = $1");
        let rows = self.pool.read(async |connection| connection.rows(SQL, values![id]).await);
        Ok(read(&rows.await?)?.into_iter().next())
    }

    /// By folded e-mail, past ones too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_invitation_of(
        &self,
        email_folded: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " WHERE i.email_folded = $1");
        let rows =
            self.pool.read(async |connection| connection.rows(SQL, values![email_folded]).await);
        Ok(read(&rows.await?)?.into_iter().next())
    }

    /// Whether an invitation has this token and has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_invitation(
        &self,
        id: Uuid,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.pool.read(async |connection| {
            let sql = "SELECT i.expires_at FROM invitations i \
                 WHERE i.id = $1 AND i.digest = $2 AND i.expires_at > $3";
            connection.row(sql, values![id, digest, now]).await
        });
        Ok(found.await?.is_some())
    }

    /// Those that have not ended, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_invitations(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Invitation>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " WHERE i.id IN (SELECT l.id FROM invitations l WHERE l.expires_at > $1 \
             ORDER BY l.expires_at DESC LIMIT $2)"
        );
        let rows =
            self.pool.read(async |connection| connection.rows(SQL, values![now, limit]).await);
        let mut found = read(&rows.await?)?;
        found.sort_by_key(|invitation| std::cmp::Reverse(invitation.created_at));
        Ok(found)
    }

    /// Gives an invitation the token of its next letter, in place of every earlier one; `false` when it is
    /// gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_invitation(&self, id: Uuid, digest: &[u8; 32]) -> Result<bool, StoreError> {
        let sql = "UPDATE invitations SET digest = $2 WHERE id = $1";
        self.pool.execute(sql, values![id, digest]).await.map(|rows| rows > 0)
    }

    /// Takes an invitation back; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::NoSuperuser`].
    pub async fn delete_invitation(
        &self,
        id: Uuid,
        by: Option<Superuser>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let deleted = self.pool.write(async |connection| {
            if let Some(by) = by {
                users::hold_superuser(connection, by).await?;
            }
            let sql = "DELETE FROM invitations WHERE id = $1";
            if connection.execute(sql, values![id]).await? == 0 {
                return Ok(false);
            }
            events::insert(connection, event).await?;
            Ok(true)
        });
        deleted.await
    }

    /// Makes the account that somebody is invited to and spends the invitation, in one transaction. The
    /// e-mail and the roles are the invitation's, whatever `user` says; the e-mail is verified, since the
    /// invitation came by it.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Token`] where the invitation is spent, ended or gone, and those of
    /// [`Store::insert_user`].
    pub async fn insert_invited_user(
        &self,
        invitation: (Uuid, &[u8; 32]),
        user: (Uuid, NewUser),
        event: &Event,
    ) -> Result<User, StoreError> {
        let ((invited, digest), (id, mut user)) = (invitation, user);
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            const SQL: &str = concat!("SELECT ", columns!(), " WHERE i.id = $1");
            connection.run(users::ENTER).await?;
            let found = read(&connection.rows(SQL, values![invited]).await?)?;
            // Of those who try at once, one deletes the row.
            let sql = "DELETE FROM invitations WHERE id = $1 AND digest = $2 AND expires_at > $3";
            let spent = connection.execute(sql, values![invited, digest, now]).await?;
            let Some(found) = found.into_iter().next().filter(|_| spent > 0) else {
                return Err(StoreError::Conflict(Conflict::Token));
            };
            let Invitation { email, email_folded, roles, .. } = found;
            user = NewUser { email, email_folded, roles, is_verified: true, ..user.clone() };
            users::insert(connection, id, &user, now).await?;
            events::insert(connection, event).await?;
            users::find(connection, id).await
        });
        written.await
    }
}

/// Takes back what somebody who is no active superuser any more has open; says how many, for an event.
pub(super) async fn delete_of_inviter(
    connection: &mut Connection,
    inviter: Uuid,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let sql = "DELETE FROM invitations WHERE inviter = $1 AND expires_at > $2";
    connection.execute(sql, values![inviter, now]).await.map(taken_back)
}

/// Takes back what all those have open who are no active superusers any more; says how many, for an event.
pub(super) async fn delete_of_former_inviters(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let sql = "DELETE FROM invitations WHERE inviter IS NOT NULL AND expires_at > $1 \
         AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = invitations.inviter \
         AND u.is_superuser AND u.is_active)";
    let deleted = connection.execute(sql, values![now]).await?;
    // For a connection that does not look at references.
    let sql = "DELETE FROM invitation_roles WHERE NOT EXISTS (SELECT 1 FROM invitations i \
         WHERE i.id = invitation_roles.invitation)";
    connection.execute(sql, &[]).await?;
    Ok(taken_back(deleted))
}

fn taken_back(deleted: u64) -> Option<String> {
    (deleted > 0).then(|| format!("invitations taken back: {deleted}"))
}

async fn insert(connection: &mut Connection, invitation: &Invitation) -> Result<(), StoreError> {
    let sql = "INSERT INTO invitations (id, email, email_folded, first_name, last_name, invited_by, \
         inviter, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = values![
        invitation.id,
        invitation.email.as_str(),
        invitation.email_folded.as_str(),
        &invitation.first_name,
        &invitation.last_name,
        invitation.invited_by.as_str(),
        invitation.inviter,
        invitation.created_at,
        invitation.expires_at,
    ];
    connection.execute(sql, values).await?;
    for role in &invitation.roles {
        let sql = "INSERT INTO invitation_roles (invitation, role) VALUES ($1, $2) \
             ON CONFLICT (invitation, role) DO NOTHING";
        connection.execute(sql, values![invitation.id, role.as_str()]).await?;
    }
    Ok(())
}

/// Reads rows of [`columns`]: one for each role. The roles of an invitation are in order.
fn read(rows: &[Row]) -> Result<Vec<Invitation>, StoreError> {
    let mut found: BTreeMap<Uuid, Invitation> = BTreeMap::new();
    for row in rows {
        let mut cells = row.cells();
        let invitation = Invitation {
            id: cells.uuid()?,
            email: cells.text()?,
            email_folded: cells.text()?,
            first_name: cells.optional_text()?,
            last_name: cells.optional_text()?,
            invited_by: cells.text()?,
            inviter: cells.optional_uuid()?,
            created_at: cells.time()?,
            expires_at: cells.time()?,
            roles: Vec::new(),
        };
        let role = cells.optional_text()?;
        found.entry(invitation.id).or_insert(invitation).roles.extend(role);
    }
    let mut found: Vec<_> = found.into_values().collect();
    for invitation in &mut found {
        invitation.roles.sort();
    }
    Ok(found)
}
