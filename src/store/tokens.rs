//! One-time tokens, by the digest of what the link holds.

use uuid::Uuid;

use super::sql::{Connection, values};
use super::{
    Changed, Conflict, EndSessions, Event, LetterKind, Store, StoreError, Telling, TokenKind,
    UserToken, changes, events, links, outbox, password_kinds, sessions, users,
};
use crate::clock::Timestamp;
use crate::identity::user::User;

impl TokenKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::Verified => "verified",
            Self::Spent => "spent",
        }
    }
}

impl Store {
    /// Stores a one-time token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_token(
        &self,
        kind: TokenKind,
        subject: Option<Uuid>,
        digest: &[u8; 32],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let written = self
            .pool
            .write(async |connection| insert(connection, kind, subject, digest, expires_at).await);
        written.await
    }

    /// Whether a one-time token is live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_token(
        &self,
        kind: TokenKind,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.pool.read(async |connection| {
            let sql = "SELECT t.expires_at FROM tokens t \
                 WHERE t.digest = $1 AND t.kind = $2 AND t.expires_at > $3";
            connection.row(sql, values![digest, kind.as_str(), now]).await
        });
        Ok(found.await?.is_some())
    }

    /// Notes that something came that may come once; says whether this was the first time. It is
    /// remembered until its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_spent(
        &self,
        digest: &[u8; 32],
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let written =
            self.pool.write(async |connection| insert_spent(connection, digest, expires_at).await);
        written.await
    }

    /// Stores a token in place of every other of its kind and account. With `event`, that is written
    /// down.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when there is no such account, or it is not active and the
    /// token is for a password.
    pub async fn replace_token(
        &self,
        token: &UserToken,
        event: Option<&Event>,
    ) -> Result<(), StoreError> {
        let UserToken { kind, user, digest, expires_at } = token;
        let may_be_inactive = *kind != TokenKind::Reset;
        let written = self.pool.write(async |connection| {
            // Holds the account: of two tokens made at once the later replaces the earlier.
            let sql = "UPDATE users SET is_active = is_active WHERE id = $1 AND (is_active OR $2)";
            if connection.execute(sql, values![*user, may_be_inactive]).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            delete_of_kind(connection, *kind, *user).await?;
            insert(connection, *kind, Some(*user), digest, *expires_at).await?;
            match event {
                Some(event) => events::insert(connection, event).await,
                None => Ok(()),
            }
        });
        written.await
    }

    /// Sets a new password hash and spends the token that allows it, in one transaction: ends all
    /// sessions, voids every other token of the account, and unlinks its accounts at providers. `user` is
    /// the account as it was when the token was looked at. Says how many letters that tell the owner were
    /// put in with it.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Token`] when the token is not live, or the account is gone, not
    /// active, or has another e-mail meanwhile.
    pub async fn update_password_by_token(
        &self,
        user: &User,
        digest: &[u8; 32],
        (hash, telling): (&str, Option<Telling>),
        event: &Event,
    ) -> Result<u32, StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            let kind = password_kinds::insert(connection, hash).await?;
            // Holds the account: whoever else changes it comes wholly before or after.
            let sql = "UPDATE users SET password_hash = $3, password_kind = $4 \
                 WHERE id = $1 AND email_folded = $2 AND is_active";
            let values = values![user.id, &*user.email_folded, hash, kind];
            if connection.execute(sql, values).await? == 0
                || !delete_live(connection, TokenKind::Reset, digest, now).await?
            {
                return Err(StoreError::Conflict(Conflict::Token));
            }
            // Whoever had a session, or made the account in this name, may have linked an account of
            // their own to come back by. Whoever holds the link has the mail.
            links::delete_of_user(connection, user.id, event).await?;
            delete_of_user(connection, user.id).await?;
            sessions::delete(connection, EndSessions::OfUser(user.id)).await?;
            changes::insert(connection, &Changed::User(user.id)).await?;
            events::insert(connection, event).await?;
            outbox::tell_owner(connection, user, &[LetterKind::PasswordChanged], telling).await
        });
        written.await
    }

    /// Marks an e-mail as verified and spends the token that proves it, in one transaction; the account
    /// as it is then. `user` is the account as it was when the token was looked at, `session` one of that
    /// account in which it happens: without it the accounts at providers are unlinked, with their sessions.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Verified`] when it is verified; [`Conflict::Token`] when the token is
    /// not live, or the account is gone or has another e-mail meanwhile.
    pub async fn update_verified_by_token(
        &self,
        user: &User,
        digest: &[u8; 32],
        session: Option<[u8; 32]>,
        event: &Event,
    ) -> Result<User, StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            // First, as above.
            let sql = "UPDATE users SET is_verified = $3 \
                 WHERE id = $1 AND email_folded = $2 AND is_verified <> $3";
            if connection.execute(sql, values![user.id, &*user.email_folded, true]).await? == 0 {
                return Err(StoreError::Conflict(why_not_verified(connection, user).await?));
            }
            let sql = "UPDATE tokens SET kind = $4 \
                 WHERE digest = $1 AND kind = $2 AND expires_at > $3";
            let (from, to) = (TokenKind::Verify.as_str(), TokenKind::Verified.as_str());
            if connection.execute(sql, values![digest, from, now, to]).await? == 0 {
                return Err(StoreError::Conflict(Conflict::Token));
            }
            let is_owner = match session {
                Some(session) => sessions::has(connection, &session).await?,
                None => false,
            };
            // As above: whoever follows the link need not be who linked an account of their own.
            if !is_owner && links::delete_of_user(connection, user.id, event).await? {
                sessions::delete(connection, EndSessions::OfUser(user.id)).await?;
            }
            changes::insert(connection, &Changed::User(user.id)).await?;
            events::insert(connection, event).await?;
            users::find(connection, user.id).await
        });
        written.await
    }
}

async fn insert(
    connection: &mut Connection,
    kind: TokenKind,
    subject: Option<Uuid>,
    digest: &[u8; 32],
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO tokens (digest, kind, subject, expires_at) VALUES ($1, $2, $3, $4)";
    let values = values![digest, kind.as_str(), subject, expires_at];
    connection.execute(sql, values).await.map(drop)
}

/// Notes within a transaction that something came that may come once; says whether it is the first time.
pub(super) async fn insert_spent(
    connection: &mut Connection,
    digest: &[u8; 32],
    expires_at: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO tokens (digest, kind, expires_at) VALUES ($1, $2, $3) \
         ON CONFLICT (digest) DO NOTHING";
    let values = values![digest, TokenKind::Spent.as_str(), expires_at];
    Ok(connection.execute(sql, values).await? > 0)
}

/// Why no unverified account with this e-mail was found.
async fn why_not_verified(
    connection: &mut Connection,
    user: &User,
) -> Result<Conflict, StoreError> {
    match users::find(connection, user.id).await {
        Ok(now) if now.is_verified && now.email_folded == user.email_folded => {
            Ok(Conflict::Verified)
        }
        Ok(_) | Err(StoreError::Conflict(Conflict::Gone)) => Ok(Conflict::Token),
        Err(error) => Err(error),
    }
}

/// Voids the tokens of one kind of an account.
pub(super) async fn delete_of_kind(
    connection: &mut Connection,
    kind: TokenKind,
    user: Uuid,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM tokens WHERE subject = $1 AND kind = $2";
    connection.execute(sql, values![user, kind.as_str()]).await.map(drop)
}

/// Voids every token of an account.
pub(super) async fn delete_of_user(
    connection: &mut Connection,
    user: Uuid,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM tokens WHERE subject = $1";
    connection.execute(sql, values![user]).await.map(drop)
}

/// Spends a token, whichever transaction comes first; says whether it was live.
pub(super) async fn delete_live(
    connection: &mut Connection,
    kind: TokenKind,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM tokens WHERE digest = $1 AND kind = $2 AND expires_at > $3";
    Ok(connection.execute(sql, values![digest, kind.as_str(), now]).await? > 0)
}

/// Voids every token of a kind.
pub(super) async fn delete_all(
    connection: &mut Connection,
    kind: TokenKind,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM tokens WHERE kind = $1";
    connection.execute(sql, values![kind.as_str()]).await.map(drop)
}
