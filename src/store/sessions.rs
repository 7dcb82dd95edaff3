//! Sessions, by their digest; the random bytes of a cookie are never stored.

use std::net::IpAddr;

use uuid::Uuid;

use super::sql::{Both, Cells, Connection, Row, Value, values};
use super::users::{self, user_columns};
use super::{
    Author, Changed, Conflict, EndSessions, Event, LinkKey, LoadedSession, SessionKind,
    SessionOrigin, SessionRow, SignIn, Store, StoreError, changes, checks, events, links,
};
use crate::clock::Timestamp;
use crate::identity::user::{Method, RoleGrant};
use crate::web::client::limit_key;

macro_rules! session_columns {
    () => {
        "s.id, s.user_id, s.method, s.kind, s.created_at, s.last_seen, s.idle, s.expires_at, \
         s.address, s.agent, s.provider, s.provider_subject, s.provider_session"
    };
}

/// Live at the time `$1`, as far as is written: `last_seen` may be a tenth of `idle` behind.
macro_rules! is_live {
    () => {
        "s.expires_at > $1 AND (s.idle IS NULL OR s.last_seen + s.idle > $1)"
    };
}

impl SessionKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Bearer => "bearer",
        }
    }
}

impl Store {
    /// Writes a sign-in: the session, the user's counters and last address, the ended session (a
    /// change), the event.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the account was deleted, deactivated or unlinked from the
    /// provider meanwhile.
    pub async fn insert_session(&self, sign_in: &SignIn) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            let session = &sign_in.session;
            // First, since it holds the account: a deactivation comes wholly before or after.
            let sql = "UPDATE users SET login_count = login_count + 1, last_login_at = $2, \
                 last_address = $3 WHERE id = $1 AND is_active";
            let values = values![session.user, session.created_at, session.address];
            if connection.execute(sql, values).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            if let Some(origin) = &session.origin {
                links::update_sign_in(connection, origin, session).await?;
            }
            checks::wake(connection, session).await?;
            insert(connection, session).await?;
            if let Some(replaced) = sign_in.replaces {
                delete(connection, EndSessions::One(replaced)).await?;
            }
            events::insert(connection, &sign_in.event).await
        });
        written.await
    }

    /// A session with its owner and their grants. Ended and unknown sessions are `None`; lifetimes
    /// are not looked at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_session(&self, id: &[u8; 32]) -> Result<Option<LoadedSession>, StoreError> {
        // One statement: everything is of one instant, in one round trip.
        const SQL: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            user_columns!(),
            ", g.role, g.ends_at FROM sessions s JOIN users u ON u.id = s.user_id \
             LEFT JOIN user_roles g ON g.user_id = s.user_id WHERE s.id = $1 \
             UNION ALL SELECT ",
            session_columns!(),
            ", ",
            user_columns!(),
            ", v.role, CAST(NULL AS BIGINT) FROM sessions s JOIN users u ON u.id = s.user_id \
             JOIN provider_roles v ON v.user_id = s.user_id WHERE s.id = $1"
        );
        let rows = self.pool.read(async |connection| connection.rows(SQL, values![id]).await);
        let mut loaded: Option<LoadedSession> = None;
        for row in rows.await? {
            let mut cells = row.cells();
            let (session, user) = (read_session(&mut cells)?, users::read_user(&mut cells)?);
            let (role, until) = (cells.optional_text()?, cells.optional_time()?);
            let grant = role.map(|role| RoleGrant { role, until });
            let loaded = loaded.get_or_insert(LoadedSession { session, user, grants: Vec::new() });
            loaded.grants.extend(grant);
        }
        if let Some(loaded) = &mut loaded {
            put_in_order(&mut loaded.grants);
        }
        Ok(loaded)
    }

    /// Sessions in the order of their beginning, newest first, of one user or all; live at `now`.
    /// Beside each, its owner's e-mail.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_sessions(
        &self,
        user: Option<Uuid>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(SessionRow, String)>, StoreError> {
        const OF_ALL: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", u.email FROM sessions s JOIN users u ON u.id = s.user_id WHERE ",
            is_live!(),
            " ORDER BY s.created_at DESC LIMIT $2"
        );
        const OF_ONE: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", u.email FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.user_id = $3 AND ",
            is_live!(),
            " ORDER BY s.created_at DESC LIMIT $2"
        );
        let rows = self.pool.read(async |connection| match user {
            None => connection.rows(OF_ALL, values![now, limit]).await,
            Some(id) => connection.rows(OF_ONE, values![now, limit, id]).await,
        });
        let read = |row: &Row| {
            let mut cells = row.cells();
            Ok((read_session(&mut cells)?, cells.text()?))
        };
        rows.await?.iter().map(read).collect()
    }

    /// Whether a live session of the account was signed in from the address, IPv6 by its /64.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_session_from(
        &self,
        user: Uuid,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "SELECT s.created_at FROM sessions s WHERE s.user_id = $2 AND s.network = $3 AND ",
            is_live!(),
            " LIMIT 1"
        );
        let found = self.pool.read(async |connection| {
            let values = values![now, user, limit_key(address)];
            connection.row(SQL, values).await
        });
        Ok(found.await?.is_some())
    }

    /// Writes a later `last_seen`. No change row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_session_seen(
        &self,
        id: &[u8; 32],
        seen: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET last_seen = $2 WHERE id = $1 AND last_seen < $2";
        self.pool.execute(sql, values![id, seen]).await.map(drop)
    }

    /// Ends sessions; says how many (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_sessions(
        &self,
        which: EndSessions,
        event: &Event,
    ) -> Result<u64, StoreError> {
        let deleted =
            self.pool.write(async |connection| delete_with_event(connection, which, event).await);
        deleted.await
    }

    /// The same for their owner, by a session that has to exist still: what asks for it may have taken a while
    /// to come.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the account or that session is gone.
    pub async fn delete_own_sessions(
        &self,
        which: EndSessions,
        (owner, by): (Uuid, [u8; 32]),
        event: &Event,
    ) -> Result<u64, StoreError> {
        let deleted = self.pool.write(async |connection| {
            users::hold_for(connection, owner, Author::Owner(by)).await?;
            delete_with_event(connection, which, event).await
        });
        deleted.await
    }
}

async fn delete_with_event(
    connection: &mut Connection,
    which: EndSessions,
    event: &Event,
) -> Result<u64, StoreError> {
    let ended = delete(connection, which).await?;
    if ended > 0 {
        events::insert(connection, event).await?;
    }
    Ok(ended)
}

/// In the order of the roles, each once: where several give a role, the one that lasts longest.
fn put_in_order(grants: &mut Vec<RoleGrant>) {
    let end = |grant: &RoleGrant| grant.until.unwrap_or(Timestamp::NEVER);
    grants.sort_by(|a, b| a.role.cmp(&b.role).then_with(|| end(b).cmp(&end(a))));
    grants.dedup_by(|later, kept| later.role == kept.role);
}

/// Ends sessions within a transaction, with the rows of the change log.
pub(super) async fn delete(
    connection: &mut Connection,
    which: EndSessions,
) -> Result<u64, StoreError> {
    let (ended, changed) = match which {
        EndSessions::One(id) => {
            let sql = "DELETE FROM sessions WHERE id = $1";
            (connection.execute(sql, values![&id]).await?, Changed::Session(id))
        }
        EndSessions::OfUser(user) => {
            let sql = "DELETE FROM sessions WHERE user_id = $1";
            (connection.execute(sql, values![user]).await?, Changed::User(user))
        }
        EndSessions::OfUserBut(user, spared) => {
            let sql = "DELETE FROM sessions WHERE user_id = $1 AND id <> $2";
            (connection.execute(sql, values![user, &spared]).await?, Changed::User(user))
        }
        EndSessions::All => return delete_all(connection).await,
    };
    if ended > 0 {
        changes::insert(connection, &changed).await?;
    }
    Ok(ended)
}

/// Whether there is such a session, within a transaction.
pub(super) async fn has(connection: &mut Connection, id: &[u8; 32]) -> Result<bool, StoreError> {
    let sql = "SELECT s.created_at FROM sessions s WHERE s.id = $1";
    Ok(connection.row(sql, values![id]).await?.is_some())
}

async fn delete_all(connection: &mut Connection) -> Result<u64, StoreError> {
    // Else a session made between the two statements would end without a row that says so.
    const HOLD: Both =
        Both { sqlite: "", postgres: "LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE" };
    connection.run(HOLD).await?;
    changes::insert_all_with_sessions(connection).await?;
    connection.execute("DELETE FROM sessions", &[]).await
}

async fn insert(connection: &mut Connection, session: &SessionRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (id, user_id, method, kind, created_at, last_seen, idle, \
         expires_at, address, network, agent, provider, provider_subject, provider_session) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let origin = session.origin.as_ref();
    let values: [Value; 14] = [
        (&session.id).into(),
        session.user.into(),
        session.method.as_str().into(),
        session.kind.as_str().into(),
        session.created_at.into(),
        session.last_seen.into(),
        session.idle.into(),
        session.expires_at.into(),
        session.address.into(),
        session.address.map(limit_key).into(),
        events::clip(&session.agent, events::AGENT).into(),
        origin.map(|origin| origin.link.provider.clone()).into(),
        origin.map(|origin| origin.link.subject.clone()).into(),
        origin.and_then(|origin| origin.session.clone()).into(),
    ];
    connection.execute(sql, &values).await.map(drop)
}

fn read_session(cells: &mut Cells<'_>) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: cells.digest()?,
        user: cells.uuid()?,
        method: read_method(&cells.text()?)?,
        kind: read_kind(&cells.text()?)?,
        created_at: cells.time()?,
        last_seen: cells.time()?,
        idle: cells.optional_duration()?,
        expires_at: cells.time()?,
        address: cells.optional_address()?,
        agent: cells.text()?,
        origin: read_origin(cells)?,
    })
}

fn read_origin(cells: &mut Cells<'_>) -> Result<Option<SessionOrigin>, StoreError> {
    let (provider, subject) = (cells.optional_text()?, cells.optional_text()?);
    let session = cells.optional_text()?;
    Ok(provider
        .zip(subject)
        .map(|(provider, subject)| SessionOrigin { link: LinkKey { provider, subject }, session }))
}

fn read_method(text: &str) -> Result<Method, StoreError> {
    let methods = [Method::Password, Method::Provider];
    let known = methods.into_iter().find(|method| method.as_str() == text);
    known.ok_or_else(|| StoreError::Corrupt(format!("the sign-in method {text:?}")))
}

fn read_kind(text: &str) -> Result<SessionKind, StoreError> {
    let kinds = [SessionKind::Cookie, SessionKind::Bearer];
    let known = kinds.into_iter().find(|kind| kind.as_str() == text);
    known.ok_or_else(|| StoreError::Corrupt(format!("the kind of session {text:?}")))
}
