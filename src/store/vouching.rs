//! What providers say of people after they were linked: that they vouch for them still, that they no longer
//! do, that somebody signed out there. Making and taking away links stands in `links`.

use std::fmt;

use uuid::Uuid;

use super::sql::{Connection, Value, values};
use super::{
    Changed, Conflict, Event, LinkKey, LinkRow, Store, StoreError, changes, events, provider_roles,
    tokens,
};
use crate::clock::Timestamp;

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

impl Store {
    /// Writes down what a provider that was just asked about somebody says; whose roles are others than
    /// before (only then others must notice).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the link is gone, or another than it was.
    pub async fn update_link(&self, seen: &Sighting) -> Result<Option<Uuid>, StoreError> {
        let Sighting { key, roles, .. } = seen;
        let written = self.pool.write(async |connection| {
            // Before the link, as whoever deletes the account holds them.
            let hold = "UPDATE users SET is_active = is_active WHERE id = (SELECT l.user_id \
                 FROM linked_accounts l WHERE l.provider = $1 AND l.subject = $2)";
            connection.execute(hold, values![&*key.provider, &*key.subject]).await?;
            let sql = "UPDATE linked_accounts SET email = COALESCE($3, email), \
                 tokens = $4, next_check = $5, issuer = $6 \
                 WHERE provider = $1 AND subject = $2 \
                 AND ($7 IS NULL OR tokens = $7) RETURNING user_id";
            let values = [
                key.provider.as_str().into(),
                key.subject.as_str().into(),
                (&seen.email).into(),
                Value::Bytes(seen.tokens.clone()),
                seen.next_check.into(),
                seen.issuer.as_str().into(),
                Value::Bytes(seen.replaces.clone()),
            ];
            let row = connection.row(sql, &values).await?;
            let row = row.ok_or(StoreError::Conflict(Conflict::Gone))?;
            let user = row.cells().uuid()?;
            let is_other =
                provider_roles::replace(connection, (key, user), roles, &seen.event).await?;
            if is_other {
                changes::insert(connection, &Changed::User(user)).await?;
            }
            Ok(is_other.then_some(user))
        });
        written.await
    }

    /// Takes away the tokens and roles of a link whose provider no longer vouches for the person, and
    /// ends the sessions that came from it, in one transaction: else one that breaks off between would
    /// leave sessions that nobody asks about any more. `link` is the link as it was when the provider was
    /// asked. There is an event only where a session ended.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the link is gone, or other tokens are kept meanwhile.
    pub async fn delete_vouching(&self, link: &LinkRow, event: &Event) -> Result<(), StoreError> {
        let LinkKey { provider, subject } = &link.key;
        let written = self.pool.write(async |connection| {
            let sql = "UPDATE linked_accounts SET tokens = NULL, next_check = NULL \
                 WHERE provider = $1 AND subject = $2 AND user_id = $3 \
                 AND tokens IS NOT DISTINCT FROM $4";
            let values = [
                provider.as_str().into(),
                subject.as_str().into(),
                link.user.into(),
                Value::Bytes(link.tokens.clone()),
            ];
            if connection.execute(sql, &values).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            if provider_roles::replace(connection, (&link.key, link.user), &[], event).await? {
                changes::insert(connection, &Changed::User(link.user)).await?;
            }
            delete_sessions(connection, provider, Some(subject), None, event).await.map(drop)
        });
        written.await
    }

    /// Ends the sessions that a provider's notice names; says which (only then is there an event).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Token`] for a notice that came before.
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
         AND provider_session = $2 RETURNING id, user_id";
    const OF_SUBJECT: &str = "DELETE FROM sessions WHERE provider = $1 \
         AND provider_subject = $2 RETURNING id, user_id";
    // One whose session there was not told may be the one.
    const OF_BOTH: &str = "DELETE FROM sessions WHERE provider = $1 AND provider_subject = $2 \
         AND (provider_session = $3 OR provider_session IS NULL) RETURNING id, user_id";
    let (sql, which) = match (subject, session) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(session)) => (OF_SESSION, vec![session]),
        (Some(subject), None) => (OF_SUBJECT, vec![subject]),
        (Some(subject), Some(session)) => (OF_BOTH, vec![subject, session]),
    };
    let values: Vec<_> = std::iter::once(provider).chain(which).map(Value::from).collect();
    let rows = connection.rows(sql, &values).await?;
    let mut ended = Vec::new();
    for row in rows {
        let mut cells = row.cells();
        let (id, user) = (cells.digest()?, cells.uuid()?);
        changes::insert(connection, &Changed::Session(id)).await?;
        ended.push((id, user));
    }
    if let Some((_, user)) = ended.first() {
        let event = Event { user: Some(*user), ..event.clone() };
        events::insert(connection, &event).await?;
    }
    Ok(ended.into_iter().map(|(id, _)| id).collect())
}
