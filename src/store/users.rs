//! Accounts (`users`): making, finding and deleting them, and that an active superuser is left. What somebody
//! changes about one, and what that ends, stands in `user_changes`.

use uuid::Uuid;

use super::sql::{Both, Cells, Connection, Row, Value, values};
use super::{
    Author, Changed, Conflict, Event, NewLetter, NewUser, Store, StoreError, Superuser, TokenKind,
    changes, events, grants, invitations, outbox, password_kinds, sessions, tokens,
};
use crate::clock::Timestamp;
use crate::identity::user::{Profile, RoleGrant, User};

/// The columns that [`read_user`] takes, of a table called `u`.
macro_rules! user_columns {
    () => {
        "u.id, u.email, u.email_folded, u.username, u.password_hash, u.first_name, u.last_name, \
         u.organization, u.department, u.phone, u.is_active, u.is_superuser, u.is_verified, \
         u.created_at, u.last_login_at, u.last_address, u.login_count, u.failed_login_count"
    };
}
pub(super) use user_columns;

/// The columns that [`account_values`] fills.
macro_rules! account_columns {
    () => {
        "email, email_folded, username, username_folded, password_hash, password_kind, \
         first_name, last_name, organization, department, phone, \
         is_active, is_superuser, is_verified"
    };
}
pub(super) use account_columns;

const BY_ID: &str = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");

/// Taken first by every transaction that makes or removes an active superuser, so that each sees
/// what the one before it did. The number is arbitrary. SQLite has one writer anyway.
pub(super) const HOLD_SUPERUSERS: Both =
    Both { sqlite: "", postgres: "SELECT pg_advisory_xact_lock(7305791282437012339)" };

impl Store {
    /// Adds an account (and its grants, and the kind of its hash).
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Email`] and [`Conflict::Username`].
    pub async fn insert_user(
        &self,
        id: Uuid,
        user: &NewUser,
        event: &Event,
    ) -> Result<User, StoreError> {
        self.insert_user_with_letter(id, user, None, event).await.map(|(user, _)| user)
    }

    /// As [`Store::insert_user`], with a letter to its owner in the same transaction, unless as many as
    /// stand beside it wait already; says whether the letter was put in.
    ///
    /// # Errors
    /// As [`Store::insert_user`].
    pub async fn insert_user_with_letter(
        &self,
        id: Uuid,
        user: &NewUser,
        letter: Option<(&NewLetter<'_>, u32)>,
        event: &Event,
    ) -> Result<(User, bool), StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            if user.is_superuser {
                connection.run(HOLD_SUPERUSERS).await?;
            }
            insert(connection, id, user, now).await?;
            events::insert(connection, event).await?;
            let is_queued = match letter {
                Some((letter, most)) => outbox::insert(connection, letter, most).await?,
                None => false,
            };
            Ok((find(connection, id).await?, is_queued))
        });
        written.await
    }

    /// Adds the first administrator if there is no active superuser, spending the set-up token, in one
    /// transaction; voids every other set-up token.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::SetUpDone`], [`Conflict::Token`], and those of
    /// [`Store::insert_user`].
    pub async fn insert_first_administrator(
        &self,
        id: Uuid,
        user: &NewUser,
        token_digest: &[u8; 32],
        event: &Event,
    ) -> Result<User, StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            connection.run(HOLD_SUPERUSERS).await?;
            if has_superuser_but(connection, Uuid::nil()).await? {
                return Err(StoreError::Conflict(Conflict::SetUpDone));
            }
            if !tokens::delete_live(connection, TokenKind::SetUp, token_digest, now).await? {
                return Err(StoreError::Conflict(Conflict::Token));
            }
            insert(connection, id, user, now).await?;
            tokens::delete_all(connection, TokenKind::SetUp).await?;
            events::insert(connection, event).await?;
            find(connection, id).await
        });
        written.await
    }

    /// By id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_user(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        self.find_user_where(BY_ID, values![id]).await
    }

    /// By folded e-mail.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_user_by_email(&self, email_folded: &str) -> Result<Option<User>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", user_columns!(), " FROM users u WHERE u.email_folded = $1");
        if email_folded.contains('\0') {
            return Ok(None); // PostgreSQL would refuse the statement.
        }
        self.find_user_where(SQL, values![email_folded]).await
    }

    /// By username, without regard to case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_user_by_username(&self, username: &str) -> Result<Option<User>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", user_columns!(), " FROM users u WHERE u.username_folded = $1");
        if username.contains('\0') {
            return Ok(None); // PostgreSQL would refuse the statement.
        }
        self.find_user_where(SQL, values![fold_username(username)]).await
    }

    async fn find_user_where(
        &self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<Option<User>, StoreError> {
        let row = self.pool.read(async |connection| connection.row(sql, values).await);
        row.await?.map(|row| read_user(&mut row.cells())).transpose()
    }

    /// Page of users in the order of their folded e-mail, after the given one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_users(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<User>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            user_columns!(),
            " FROM users u WHERE u.email_folded > $1 ORDER BY u.email_folded LIMIT $2"
        );
        let rows = self.pool.read(async |connection| {
            connection.rows(SQL, values![after.unwrap_or_default(), limit]).await
        });
        rows.await?.iter().map(|row: &Row| read_user(&mut row.cells())).collect()
    }

    /// Whether any active superuser exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_superuser(&self) -> Result<bool, StoreError> {
        let found =
            self.pool.read(async |connection| has_superuser_but(connection, Uuid::nil()).await);
        found.await
    }

    /// Replaces an outdated hash after a sign-in, if it is still the one verified. No change row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_user_hash(&self, id: Uuid, from: &str, to: &str) -> Result<(), StoreError> {
        let written = self.pool.write(async |connection| {
            let kind = password_kinds::insert(connection, to).await?;
            let sql = "UPDATE users SET password_hash = $3, password_kind = $4 \
                 WHERE id = $1 AND password_hash = $2";
            connection.execute(sql, values![id, from, to, kind]).await.map(drop)
        });
        written.await
    }

    /// Deletes an account with its grants, sessions, tokens and open invitations; the event's detail gets
    /// how many of these.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::LastSuperuser`]; [`Conflict::Gone`] when there is no such account, or its
    /// owner's session has ended; [`Conflict::NoSuperuser`].
    pub async fn delete_user(
        &self,
        id: Uuid,
        author: Author,
        event: &Event,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let deleted = self.pool.write(async |connection| {
            connection.run(HOLD_SUPERUSERS).await?;
            let before = hold_for(connection, id, author).await?;
            keep_a_superuser(connection, &before).await?;
            // Grants, sessions and tokens refer to it and go along.
            connection.execute("DELETE FROM users WHERE id = $1", values![id]).await?;
            changes::insert(connection, &Changed::User(id)).await?;
            let taken_back = invitations::delete_of_inviter(connection, id, now).await?;
            events::insert(connection, &event.clone().and(taken_back)).await
        });
        deleted.await
    }

    /// Counts a failed sign-in. No change row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_user_failed(&self, id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE users SET failed_login_count = failed_login_count + 1 WHERE id = $1";
        self.pool.execute(sql, values![id]).await.map(drop)
    }
}

/// Adds an account, with a row in the change log.
pub(super) async fn insert(
    connection: &mut Connection,
    id: Uuid,
    user: &NewUser,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = concat!(
        "INSERT INTO users (id, created_at, ",
        account_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
    );
    if let Some(hash) = &user.password_hash {
        password_kinds::insert(connection, hash).await?;
    }
    let values: Vec<Value> =
        [id.into(), now.into()].into_iter().chain(account_values(user)).collect();
    connection.execute(SQL, &values).await?;
    for role in &user.roles {
        grants::insert(connection, id, &RoleGrant { role: role.clone(), until: None }).await?;
    }
    changes::insert(connection, &Changed::User(id)).await
}

/// What a new account writes into [`account_columns`].
pub(super) fn account_values(user: &NewUser) -> [Value; 14] {
    let profile = &user.profile;
    let kind = user.password_hash.as_deref().and_then(password_kinds::kind_of);
    [
        user.email.as_str().into(),
        user.email_folded.as_str().into(),
        (&user.username).into(),
        user.username.as_deref().map(fold_username).into(),
        (&user.password_hash).into(),
        kind.into(),
        (&profile.first_name).into(),
        (&profile.last_name).into(),
        (&profile.organization).into(),
        (&profile.department).into(),
        (&profile.phone).into(),
        user.is_active.into(),
        user.is_superuser.into(),
        user.is_verified.into(),
    ]
}

/// The account within a transaction; [`Conflict::Gone`] when there is none.
pub(super) async fn find(connection: &mut Connection, id: Uuid) -> Result<User, StoreError> {
    let row = connection.row(BY_ID, values![id]).await?;
    row.map_or(Err(StoreError::Conflict(Conflict::Gone)), |row| read_user(&mut row.cells()))
}

/// Whether an account has this folded e-mail.
pub(super) async fn has_email(
    connection: &mut Connection,
    email_folded: &str,
) -> Result<bool, StoreError> {
    let sql = "SELECT u.created_at FROM users u WHERE u.email_folded = $1";
    Ok(connection.row(sql, values![email_folded]).await?.is_some())
}

/// The account within a transaction, which nobody else changes until its end.
pub(super) async fn hold(connection: &mut Connection, id: Uuid) -> Result<User, StoreError> {
    let sql = "UPDATE users SET is_active = is_active WHERE id = $1";
    if connection.execute(sql, values![id]).await? == 0 {
        return Err(StoreError::Conflict(Conflict::Gone));
    }
    find(connection, id).await
}

/// Whether somebody may administer the gateway.
pub(super) const fn is_operating(user: &User) -> bool {
    user.is_superuser && user.is_active
}

/// As [`hold`], with whoever changes the account: [`Conflict::Gone`] when its owner's session has ended,
/// [`Conflict::NoSuperuser`] as [`hold_superuser`] has it. Two accounts are held in the order of their ids, so
/// that two superusers who change each other never wait for each other.
pub(super) async fn hold_for(
    connection: &mut Connection,
    id: Uuid,
    author: Author,
) -> Result<User, StoreError> {
    match author {
        Author::Operator(None) => hold(connection, id).await,
        Author::Operator(Some(by)) if by.account < id => {
            hold_superuser(connection, by).await?;
            hold(connection, id).await
        }
        Author::Operator(Some(by)) => {
            let user = hold(connection, id).await?;
            hold_superuser(connection, by).await?;
            Ok(user)
        }
        Author::Owner(session) => {
            let user = hold(connection, id).await?;
            if sessions::has(connection, &session).await? {
                return Ok(user);
            }
            Err(StoreError::Conflict(Conflict::Gone))
        }
    }
}

/// Before what somebody writes to other tables first and then to their account: whoever replaces all accounts
/// holds them first, and would wait for ever for one who waits for them.
pub(super) const ENTER: Both =
    Both { sqlite: "", postgres: "LOCK TABLE users IN ROW EXCLUSIVE MODE" };

/// Holds the account of a superuser who acts within a transaction; [`Conflict::NoSuperuser`] when they are none
/// any more, or their session has ended.
pub(super) async fn hold_superuser(
    connection: &mut Connection,
    by: Superuser,
) -> Result<(), StoreError> {
    let may_act = match hold(connection, by.account).await {
        Ok(user) => is_operating(&user) && sessions::has(connection, &by.session).await?,
        Err(StoreError::Conflict(Conflict::Gone)) => false,
        Err(error) => return Err(error),
    };
    if may_act { Ok(()) } else { Err(StoreError::Conflict(Conflict::NoSuperuser)) }
}

/// Refuses to go on when the account is the only active superuser.
pub(super) async fn keep_a_superuser(
    connection: &mut Connection,
    user: &User,
) -> Result<(), StoreError> {
    if is_operating(user) && !has_superuser_but(connection, user.id).await? {
        return Err(StoreError::Conflict(Conflict::LastSuperuser));
    }
    Ok(())
}

/// Whether there is an active superuser other than this one.
pub(super) async fn has_superuser_but(
    connection: &mut Connection,
    id: Uuid,
) -> Result<bool, StoreError> {
    let sql = "SELECT u.created_at FROM users u \
         WHERE u.is_superuser AND u.is_active AND u.id <> $1 LIMIT 1";
    Ok(connection.row(sql, values![id]).await?.is_some())
}

/// Usernames are ASCII, so this is the whole of "without regard to case".
fn fold_username(username: &str) -> String {
    username.to_ascii_lowercase()
}

pub(super) fn read_user(cells: &mut Cells<'_>) -> Result<User, StoreError> {
    Ok(User {
        id: cells.uuid()?,
        email: cells.text()?,
        email_folded: cells.text()?.into(),
        username: cells.optional_text()?,
        password_hash: cells.optional_text()?,
        profile: Profile {
            first_name: cells.optional_text()?,
            last_name: cells.optional_text()?,
            organization: cells.optional_text()?,
            department: cells.optional_text()?,
            phone: cells.optional_text()?,
        },
        is_active: cells.bool()?,
        is_superuser: cells.bool()?,
        is_verified: cells.bool()?,
        created_at: cells.time()?,
        last_login_at: cells.optional_time()?,
        last_address: cells.optional_address()?,
        login_count: cells.int()?,
        failed_login_count: cells.int()?,
    })
}
