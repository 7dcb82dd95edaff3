//! Accounts at providers that are linked to accounts here (`linked_accounts`): finding, making and taking
//! away links. What a provider says of whom it is linked to later stands in `vouching`.
//!
//! The tokens of providers come here encrypted and leave as they came.

use std::fmt;

use uuid::Uuid;

use super::sql::{Cells, Connection, Row, values};
use super::users::{self, user_columns};
use super::{
    Author, Changed, Conflict, EndSessions, Event, NewUser, SessionRow, Store, StoreError, changes,
    events, sessions, tokens,
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

/// Where a session came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionOrigin {
    /// The account at the provider.
    pub link: LinkKey,
    /// The provider's own session (`sid`), if it names one.
    pub session: Option<String>,
}

/// Links to be taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unlinking<'a> {
    /// Whose.
    pub user: Uuid,
    /// To which provider.
    pub provider: &'a str,
    /// Which account there; `None`: every one that is linked.
    pub subject: Option<&'a str>,
    /// The session its owner asks in, which has to exist still, and stays though it may have come from it; none
    /// for an operator.
    pub spared: Option<[u8; 32]>,
    /// The providers that people can sign in by, where a way in has to be left: a link to another is none.
    /// `None`: the last one goes as well.
    pub ways_in: Option<&'a [String]>,
}

impl Unlinking<'_> {
    fn takes(&self, link: &LinkKey) -> bool {
        link.provider == self.provider && self.subject.is_none_or(|subject| link.subject == subject)
    }
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
        let read = |row: Row| {
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

    /// Links an account at a provider to that of somebody signed in.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Linked`]; [`Conflict::Gone`] when there is no such account, or its session
    /// has ended: whoever holds a stolen one may have been at the provider meanwhile.
    pub async fn insert_link(
        &self,
        user: Uuid,
        session: [u8; 32],
        link: &NewLink,
        event: &Event,
    ) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            users::hold_for(connection, user, Author::Owner(session)).await?;
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
                hand_over(connection, user.id, event).await?;
            }
            insert(connection, user.id, link).await?;
            events::insert(connection, event).await
        });
        written.await
    }

    /// Takes links away, ends the other sessions that came from them and takes away the roles they gave. Says
    /// whether there was one (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::LastWayIn`]; [`Conflict::Gone`] when there is no such account, or its owner's
    /// session has ended.
    pub async fn delete_links(
        &self,
        unlinking: &Unlinking<'_>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let Unlinking { user, spared, ways_in, .. } = *unlinking;
        let deleted = self.pool.write(async |connection| {
            // Held: of two links that go at once the later sees that it is the last.
            let author = spared.map_or(Author::Operator(None), Author::Owner);
            let has_password =
                users::hold_for(connection, user, author).await?.password_hash.is_some();
            let (gone, left): (Vec<_>, Vec<_>) =
                keys_of(connection, user).await?.into_iter().partition(|key| unlinking.takes(key));
            if gone.is_empty() {
                return Ok(false);
            }
            let has_way = |ways: &[String]| left.iter().any(|key| ways.contains(&key.provider));
            if !has_password && ways_in.is_some_and(|ways| !has_way(ways)) {
                return Err(StoreError::Conflict(Conflict::LastWayIn));
            }
            let spared = spared.unwrap_or_default();
            for LinkKey { provider, subject } in &gone {
                let sql = "DELETE FROM linked_accounts \
                     WHERE provider = $1 AND subject = $2 AND user_id = $3";
                connection.execute(sql, values![&**provider, &**subject, user]).await?;
                let sql = "DELETE FROM sessions WHERE provider = $1 AND provider_subject = $2 \
                     AND id <> $3";
                connection.execute(sql, values![&**provider, &**subject, &spared]).await?;
            }
            changes::insert(connection, &Changed::User(user)).await?;
            events::insert(connection, event).await?;
            Ok(true)
        });
        deleted.await
    }
}

async fn keys_of(connection: &mut Connection, user: Uuid) -> Result<Vec<LinkKey>, StoreError> {
    let sql = "SELECT l.provider, l.subject FROM linked_accounts l WHERE l.user_id = $1";
    let rows = connection.rows(sql, values![user]).await?;
    rows.iter().map(|row| read_key(&mut row.cells())).collect()
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

/// Unlinks everything from an account, with the roles that came by it, as part of what an event tells of; each
/// link is an event of its own. Says whether there was one.
pub(super) async fn delete_of_user(
    connection: &mut Connection,
    user: Uuid,
    event: &Event,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM linked_accounts WHERE user_id = $1 RETURNING provider";
    let deleted = connection.rows(sql, values![user]).await?;
    for row in &deleted {
        let (kind, detail) = ("unlink".to_owned(), row.cells().text()?);
        events::insert(connection, &Event { kind, detail, ..event.clone() }).await?;
    }
    Ok(!deleted.is_empty())
}

/// Makes an account that anybody may have made in somebody's name that somebody's.
async fn hand_over(
    connection: &mut Connection,
    user: Uuid,
    event: &Event,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = NULL, password_kind = NULL, is_verified = $2 \
         WHERE id = $1";
    connection.execute(sql, values![user, true]).await?;
    delete_of_user(connection, user, event).await?;
    sessions::delete(connection, EndSessions::OfUser(user)).await?;
    tokens::delete_of_user(connection, user).await?;
    changes::insert(connection, &Changed::User(user)).await
}

fn read_key(cells: &mut Cells<'_>) -> Result<LinkKey, StoreError> {
    Ok(LinkKey { provider: cells.text()?, subject: cells.text()? })
}

pub(super) fn read_link(cells: &mut Cells<'_>) -> Result<LinkRow, StoreError> {
    Ok(LinkRow {
        key: read_key(cells)?,
        user: cells.uuid()?,
        issuer: cells.optional_text()?,
        email: cells.optional_text()?,
        linked_at: cells.time()?,
        last_sign_in: cells.optional_time()?,
        tokens: cells.optional_bytes()?,
    })
}
