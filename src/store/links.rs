//! Accounts at providers that are linked to accounts here, and the roles that providers give.
//!
//! The tokens of providers come here encrypted and leave as they came.

use std::fmt;

use uuid::Uuid;

use super::sql::{Cells, Connection, values};
use super::users::{self, user_columns};
use super::{
    Changed, Conflict, EndSessions, Event, NewUser, SessionRow, Store, StoreError, changes, events,
    sessions, tokens,
};
use crate::clock::Timestamp;
use crate::identity::user::User;

macro_rules! link_columns {
    () => {
        "l.provider, l.subject, l.user_id, l.issuer, l.email, l.linked_at, l.last_sign_in, l.tokens"
    };
}
pub(super) use link_columns;

/// An account at a provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkKey {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's own name for the person; never changes and is never given to another.
    pub subject: String,
}

/// A linked account.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Which.
    pub key: LinkKey,
    /// Whose here.
    pub user: Uuid,
    /// The address of the provider that said so; `None`: not known yet.
    pub issuer: Option<String>,
    /// What the provider said the e-mail was.
    pub email: Option<String>,
    /// When it was linked.
    pub linked_at: Timestamp,
    /// When somebody last signed in by it.
    pub last_sign_in: Option<Timestamp>,
    /// The provider's tokens, encrypted.
    pub tokens: Option<Vec<u8>>,
}

impl fmt::Debug for LinkRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRow")
            .field("key", &self.key)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A link to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLink {
    /// Which account at the provider.
    pub key: LinkKey,
    /// The address of the provider that says so, if it is known.
    pub issuer: Option<String>,
    /// What the provider says the e-mail is.
    pub email: Option<String>,
    /// When.
    pub linked_at: Timestamp,
}

/// What a provider that has just vouched for somebody says.
#[derive(Clone, PartialEq, Eq)]
pub struct Sighting {
    /// For which account.
    pub key: LinkKey,
    /// The provider's address.
    pub issuer: String,
    /// What the e-mail is.
    pub email: Option<String>,
    /// Tokens, encrypted.
    pub tokens: Option<Vec<u8>>,
    /// The roles they have by it now.
    pub roles: Vec<String>,
    /// When.
    pub at: Timestamp,
    /// When the provider is to be asked again.
    pub next_check: Option<Timestamp>,
    /// The tokens by which it was asked, encrypted: where others are kept meanwhile, nothing is written.
    pub replaces: Option<Vec<u8>>,
    /// What is recorded, as `grant` or `revoke`, of each role that is another.
    pub event: Event,
}

impl fmt::Debug for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sighting")
            .field("key", &self.key)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// Where a session came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionOrigin {
    /// The account at the provider.
    pub link: LinkKey,
    /// The provider's own session (`sid`), if it names one.
    pub session: Option<String>,
}

/// What a provider tells of somebody who signed out there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// Who.
    pub subject: Option<&'a str>,
    /// Of which session there; `None`: of all of them.
    pub session: Option<&'a str>,
    /// The digest of its id, and until when it is remembered: a notice counts once.
    pub once: ([u8; 32], Timestamp),
}

/// A link to be taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unlinking<'a> {
    /// Whose.
    pub user: Uuid,
    /// Which.
    pub key: &'a LinkKey,
    /// The session that stays, though it came from it.
    pub spared: Option<[u8; 32]>,
    /// The providers that people can sign in by: a link to another is no way in.
    pub providers: &'a [String],
}

impl Store {
    /// A linked account and whose it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_link(&self, key: &LinkKey) -> Result<Option<(LinkRow, User)>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            link_columns!(),
            ", ",
            user_columns!(),
            " FROM linked_accounts l JOIN users u ON u.id = l.user_id \
             WHERE l.provider = $1 AND l.subject = $2"
        );
        if key.subject.contains('\0') {
            return Ok(None); // PostgreSQL would refuse the statement.
        }
        let values = values![&*key.provider, &*key.subject];
        let row = self.pool.read(async |connection| connection.row(SQL, values).await).await?;
        let read = |row: super::sql::Row| {
            let mut cells = row.cells();
            Ok((read_link(&mut cells)?, users::read_user(&mut cells)?))
        };
        row.map(read).transpose()
    }

    /// The accounts linked to an account, in the order of their providers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_links(&self, user: Uuid) -> Result<Vec<LinkRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", link_columns!(), " FROM linked_accounts l WHERE l.user_id = $1");
        let rows = self.pool.read(async |connection| connection.rows(SQL, values![user]).await);
        let links = rows.await?;
        let links = links.iter().map(|row| read_link(&mut row.cells()));
        let mut links = links.collect::<Result<Vec<_>, _>>()?;
        links.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(links)
    }

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

    /// Links an account at a provider to an account.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Linked`]; [`Conflict::Gone`] when there is no such active account.
    pub async fn insert_link(
        &self,
        user: Uuid,
        link: &NewLink,
        event: &Event,
    ) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            // Holds the account: a deactivation comes wholly before or after.
            let sql = "UPDATE users SET is_active = is_active WHERE id = $1 AND is_active";
            if connection.execute(sql, values![user]).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            insert(connection, user, link).await?;
            events::insert(connection, event).await
        });
        written.await
    }

    /// Adds an account for somebody a provider vouches for, linked to it.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Linked`]; [`Conflict::Email`].
    pub async fn insert_linked_user(
        &self,
        id: Uuid,
        user: &NewUser,
        link: &NewLink,
        event: &Event,
    ) -> Result<User, StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            users::insert(connection, id, user, now).await?;
            insert(connection, id, link).await?;
            events::insert(connection, event).await?;
            users::find(connection, id).await
        });
        written.await
    }

    /// Links the account that has an e-mail, which the provider has verified. Where it was not verified
    /// here, whoever made it need not be its owner: it loses its password, its sessions, its links and
    /// every other link to a provider first, and is verified then. `user` is the account as it was when
    /// it was looked at.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Linked`]; [`Conflict::Gone`] when the account is another than `user`
    /// says meanwhile.
    pub async fn insert_link_by_email(
        &self,
        user: &User,
        link: &NewLink,
        event: &Event,
    ) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            let sql = "UPDATE users SET is_active = is_active WHERE id = $1 AND email_folded = $2 \
                 AND is_verified = $3 AND is_active";
            let values = values![user.id, &*user.email_folded, user.is_verified];
            if connection.execute(sql, values).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            if !user.is_verified {
                hand_over(connection, user.id).await?;
            }
            insert(connection, user.id, link).await?;
            events::insert(connection, event).await
        });
        written.await
    }

    /// Writes down what a provider that was just asked about somebody says; whose roles are others than
    /// before (only then others must notice).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the link is gone, or another than it was.
    pub async fn update_link(&self, seen: &Sighting) -> Result<Option<Uuid>, StoreError> {
        let Sighting { key, roles, .. } = seen;
        let written = self.pool.write(async |connection| {
            let sql = "UPDATE linked_accounts SET email = COALESCE($3, email), \
                 tokens = $4, checked_at = $5, next_check = $6, issuer = $7 \
                 WHERE provider = $1 AND subject = $2 \
                 AND ($8 IS NULL OR tokens = $8) RETURNING user_id";
            let values = [
                key.provider.as_str().into(),
                key.subject.as_str().into(),
                (&seen.email).into(),
                super::sql::Value::Bytes(seen.tokens.clone()),
                seen.at.into(),
                seen.next_check.into(),
                seen.issuer.as_str().into(),
                super::sql::Value::Bytes(seen.replaces.clone()),
            ];
            let row = connection.row(sql, &values).await?;
            let row = row.ok_or(StoreError::Conflict(Conflict::Gone))?;
            let user = row.cells().uuid()?;
            let is_other = replace_roles(connection, (key, user), roles, &seen.event).await?;
            if is_other {
                changes::insert(connection, &Changed::User(user)).await?;
            }
            Ok(is_other.then_some(user))
        });
        written.await
    }

    /// Unlinks an account at a provider, ends the other sessions that came from it and takes away the
    /// roles it gave. Says whether it was linked (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::LastWayIn`].
    pub async fn delete_link(
        &self,
        unlinking: &Unlinking<'_>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let Unlinking { user, key, spared, providers } = *unlinking;
        let deleted = self.pool.write(async |connection| {
            // Holds the account: of two links that go at once the later sees that it is the last.
            let sql =
                "UPDATE users SET is_active = is_active WHERE id = $1 RETURNING password_hash";
            let Some(row) = connection.row(sql, values![user]).await? else { return Ok(false) };
            let has_password = row.cells().optional_text()?.is_some();
            let sql = "DELETE FROM linked_accounts \
                 WHERE provider = $1 AND subject = $2 AND user_id = $3";
            let values = values![&*key.provider, &*key.subject, user];
            if connection.execute(sql, values).await? == 0 {
                return Ok(false);
            }
            let sql = "SELECT l.provider FROM linked_accounts l WHERE l.user_id = $1";
            let others = connection.rows(sql, values![user]).await?;
            let others = others.iter().map(|row| row.cells().text());
            let others = others.collect::<Result<Vec<_>, _>>()?;
            let has_other = others.iter().any(|provider| providers.contains(provider));
            if !has_password && !has_other {
                return Err(StoreError::Conflict(Conflict::LastWayIn));
            }
            let sql = "DELETE FROM sessions WHERE provider = $1 AND provider_subject = $2 \
                 AND id <> $3";
            let spared = spared.unwrap_or_default();
            connection.execute(sql, values![&*key.provider, &*key.subject, &spared]).await?;
            changes::insert(connection, &Changed::User(user)).await?;
            events::insert(connection, event).await?;
            Ok(true)
        });
        deleted.await
    }

    /// Takes away the tokens and roles of a link whose provider no longer vouches for the person, and
    /// ends the sessions that came from it, in one transaction: else one that breaks off between would
    /// leave sessions that nobody asks about any more. `link` is the link as it was when the provider was
    /// asked. There is an event only where a session ended.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the link is gone, or other tokens are kept meanwhile.
    pub async fn delete_vouching(
        &self,
        link: &LinkRow,
        at: Timestamp,
        event: &Event,
    ) -> Result<(), StoreError> {
        let LinkKey { provider, subject } = &link.key;
        let written = self.pool.write(async |connection| {
            let sql = "UPDATE linked_accounts SET tokens = NULL, checked_at = $3, next_check = NULL \
                 WHERE provider = $1 AND subject = $2 AND user_id = $4 AND tokens = $5";
            let values = [
                provider.as_str().into(),
                subject.as_str().into(),
                at.into(),
                link.user.into(),
                super::sql::Value::Bytes(link.tokens.clone()),
            ];
            if connection.execute(sql, &values).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            if replace_roles(connection, (&link.key, link.user), &[], event).await? {
                changes::insert(connection, &Changed::User(link.user)).await?;
            }
            delete_sessions(connection, provider, Some(subject), None, event).await.map(drop)
        });
        written.await
    }

    /// Ends the sessions that a provider's notice names; says which (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Token`] for a notice that came before; [`Conflict::Gone`] for one about
    /// somebody else's session.
    pub async fn delete_noticed_sessions(
        &self,
        notice: &Notice<'_>,
        event: &Event,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let Notice { provider, subject, session, once: (digest, until) } = notice;
        let ended = self.pool.write(async |connection| {
            if !tokens::insert_spent(connection, digest, *until).await? {
                return Err(StoreError::Conflict(Conflict::Token));
            }
            delete_sessions(connection, provider, *subject, *session, event).await
        });
        ended.await
    }
}

/// Ends sessions of a provider within a transaction.
async fn delete_sessions(
    connection: &mut Connection,
    provider: &str,
    subject: Option<&str>,
    session: Option<&str>,
    event: &Event,
) -> Result<Vec<[u8; 32]>, StoreError> {
    const OF_SESSION: &str = "DELETE FROM sessions WHERE provider = $1 \
         AND provider_session = $2 RETURNING id, user_id, provider_subject";
    const OF_SUBJECT: &str = "DELETE FROM sessions WHERE provider = $1 \
         AND provider_subject = $2 RETURNING id, user_id, provider_subject";
    let (sql, which) = match (session, subject) {
        (Some(session), _) => (OF_SESSION, session),
        (None, Some(subject)) => (OF_SUBJECT, subject),
        (None, None) => return Ok(Vec::new()),
    };
    let rows = connection.rows(sql, values![provider, which]).await?;
    let mut ended = Vec::new();
    for row in rows {
        let mut cells = row.cells();
        let (id, user, of) = (cells.digest()?, cells.uuid()?, cells.optional_text()?);
        if session.is_some() && subject.is_some_and(|subject| of.as_deref() != Some(subject)) {
            return Err(StoreError::Conflict(Conflict::Gone));
        }
        changes::insert(connection, &Changed::Session(id)).await?;
        ended.push((id, user));
    }
    if let Some((_, user)) = ended.first() {
        let event = Event { user: Some(*user), ..event.clone() };
        events::insert(connection, &event).await?;
    }
    Ok(ended.into_iter().map(|(id, _)| id).collect())
}

/// Notes a sign-in by a link within the transaction that makes the session.
pub(super) async fn update_sign_in(
    connection: &mut Connection,
    origin: &SessionOrigin,
    session: &SessionRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE linked_accounts SET last_sign_in = $4 \
         WHERE provider = $1 AND subject = $2 AND user_id = $3";
    let LinkKey { provider, subject } = &origin.link;
    let values = values![&**provider, &**subject, session.user, session.created_at];
    match connection.execute(sql, values).await? {
        0 => Err(StoreError::Conflict(Conflict::Gone)),
        _ => Ok(()),
    }
}

async fn insert(connection: &mut Connection, user: Uuid, link: &NewLink) -> Result<(), StoreError> {
    let sql = "INSERT INTO linked_accounts (provider, subject, user_id, email, linked_at, issuer) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    let LinkKey { provider, subject } = &link.key;
    let values = values![&**provider, &**subject, user, &link.email, link.linked_at, &link.issuer];
    connection.execute(sql, values).await.map(drop)
}

/// Unlinks everything from an account, with the roles that came by it.
pub(super) async fn delete_of_user(
    connection: &mut Connection,
    user: Uuid,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM linked_accounts WHERE user_id = $1";
    connection.execute(sql, values![user]).await
}

/// Makes an account that anybody may have made in somebody's name that somebody's.
async fn hand_over(connection: &mut Connection, user: Uuid) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = NULL, password_kind = NULL, is_verified = $2 \
         WHERE id = $1";
    connection.execute(sql, values![user, true]).await?;
    delete_of_user(connection, user).await?;
    sessions::delete(connection, EndSessions::OfUser(user)).await?;
    tokens::delete_of_user(connection, user).await?;
    changes::insert(connection, &Changed::User(user)).await
}

/// Puts roles in the place of those that the link gave; says whether they are others. Each that is
/// another is recorded with what `event` says of the occasion.
async fn replace_roles(
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

pub(super) fn read_link(cells: &mut Cells<'_>) -> Result<LinkRow, StoreError> {
    Ok(LinkRow {
        key: LinkKey { provider: cells.text()?, subject: cells.text()? },
        user: cells.uuid()?,
        issuer: cells.optional_text()?,
        email: cells.optional_text()?,
        linked_at: cells.time()?,
        last_sign_in: cells.optional_time()?,
        tokens: cells.optional_bytes()?,
    })
}
