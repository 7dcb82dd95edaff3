//! What must survive a restart. The only SQL in the project; one file per table, and one for each thing that is
//! about several.
//!
//! SQLite (one writer, several readers, WAL) and PostgreSQL stand behind one concrete [`Store`] with
//! the same behaviour, held by one contract test suite that runs on both. Every method that changes a
//! user, role, grant or session in a way others must notice writes its rows to `changes` in the same
//! transaction.

mod changes;
mod checks;
mod events;
mod expiry;
mod failure;
pub mod file;
mod foreign;
mod grants;
mod invitations;
mod links;
mod outbox;
mod password_kinds;
#[cfg(test)]
mod plans;
mod pool;
mod provider_roles;
mod replacement;
mod roles;
mod rows;
mod schema;
mod sessions;
mod snapshot;
mod sql;
mod sqlite;
mod staging;
mod tokens;
mod user_changes;
mod users;
mod vouching;

use pool::Pool;

pub use checks::DueCheck;
pub use events::WrongPassword;
pub use foreign::{Foreign, ForeignLink, ForeignRole, ForeignUser, read_fastapi_users};
pub use links::{LinkKey, LinkRow, NewLink, SessionOrigin, Unlinking};
pub use outbox::Telling;
pub use replacement::Replaced;
pub use rows::{
    Change, Changed, ChangesRead, EndSessions, Event, EventFilter, HeldLetter, Holder, Invitation,
    LetterKind, LoadedSession, NewLetter, NewUser, PastWrongPassword, RoleRow, SessionKind,
    SessionRow, SignIn, TokenKind, UserToken,
};
pub use snapshot::{Account, Snapshot};
pub use staging::{Past, StagedLink, StagedUser, Staging};
pub use user_changes::{Author, Flag, Superuser, UserChange};
pub use vouching::{Notice, Sighting};

use crate::clock::Clock;
use crate::config::Database;

/// The database. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    clock: Clock,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer, or not in time.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused a statement.
    #[error("the database failed")]
    Failed(#[source] sqlx::Error),
    /// A row that should not exist does: which rule it breaks.
    #[error("{0}")]
    Conflict(Conflict),
    /// There is nothing in the database; or, of SQLite, no file.
    #[error("{}", schema::MISSING)]
    Empty,
    /// The schema is too new for this binary, or another's.
    #[error("{0}")]
    Schema(String),
    /// A stored value does not parse.
    #[error("the database holds a value that cannot be read: {0}")]
    Corrupt(String),
}

/// A rule that a write would have broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Conflict {
    /// The e-mail is another account's.
    #[error("an account with this e-mail already exists")]
    Email,
    /// The username is another account's.
    #[error("an account with this username already exists")]
    Username,
    /// A role of this name exists (two that differ only in case are one).
    #[error("a role of this name already exists")]
    Role,
    /// The last active superuser cannot be deleted, demoted or deactivated.
    #[error("the last active superuser cannot be removed")]
    LastSuperuser,
    /// There is a superuser already: set-up is over.
    #[error("set-up is already done")]
    SetUpDone,
    /// The one-time token is unknown, used or past its end.
    #[error("the link is no longer valid")]
    Token,
    /// The account does not exist (any more), or, where it signs in or is sent a link to, is not active.
    #[error("there is no such active account")]
    Gone,
    /// Whoever acts is no active superuser any more, or their session has ended.
    #[error("only a superuser who is signed in may do this")]
    NoSuperuser,
    /// The account's e-mail is verified already.
    #[error("the e-mail is verified already")]
    Verified,
    /// The provider's account is linked to an account here already.
    #[error("this account of the provider is linked already")]
    Linked,
    /// Without this link nobody could sign in to the account any more.
    #[error("this is the last way to sign in to the account")]
    LastWayIn,
}

/// Whether opening may create or change the schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migrate {
    /// Create it in an empty database and bring an older one up to date (`serve`, `migrate`).
    Fully,
    /// Create it in an empty database only (any command that writes).
    CreateOnly,
    /// Neither (commands that only read).
    Never,
}

impl Store {
    /// Opens the database. Connecting is bounded by `acquire_timeout`.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Empty`] under [`Migrate::Never`]; [`StoreError::Schema`] when the
    /// schema is missing where there is something else, or its `oldest_compatible` is beyond this binary.
    pub async fn open(
        database: &Database,
        migrate: Migrate,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let pool = Pool::open(database, migrate).await?;
        let opened = schema::ensure(&pool, migrate).await;
        if opened.is_err() {
            pool.close().await;
        }
        opened.map(|()| Self { pool, clock })
    }

    /// An empty database that nobody else sees and that ends with the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn in_memory(clock: Clock) -> Result<Self, StoreError> {
        let pool = Pool::in_memory();
        schema::ensure(&pool, Migrate::CreateOnly).await?;
        Ok(Self { pool, clock })
    }

    /// Why the last write failed; `None` when it succeeded. Says nothing of reads.
    #[must_use]
    pub fn write_trouble(&self) -> Option<String> {
        self.pool.write_trouble()
    }

    /// Tries to write again after a write has failed, so that it is known when writing works again.
    pub async fn retry_writing(&self) {
        if self.write_trouble().is_some() {
            // Its outcome is noted like that of any write.
            let _noted = self.write_nothing().await;
        }
    }

    /// A write that changes nothing.
    async fn write_nothing(&self) -> Result<(), StoreError> {
        self.pool.execute("UPDATE schema SET version = version", &[]).await.map(drop)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
