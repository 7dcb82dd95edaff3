//! A file of accounts on its way in. What puts it in the place of all accounts stands in `replacement`.
//!
//! What is to come is put into tables of one connection first, a few hundred rows at a time, which
//! neither holds a lock that a sign-in waits for nor is seen by anybody. One transaction then takes
//! all of it over by a handful of statements, within seconds whatever the file's size.

use uuid::Uuid;

use super::pool::{WRITE_DEADLINE, within};
use super::sql::{Both, Connection, Value, values};
use super::users::{HOLD_SUPERUSERS, account_columns, account_values};
use super::{Event, NewUser, RoleRow, Store, StoreError, events, password_kinds, roles};
use crate::clock::Timestamp;
use crate::identity::user::RoleGrant;

/// An account of a file, to be put in force with all the others.
#[derive(Clone, Debug)]
pub struct StagedUser {
    /// Its line in the file.
    pub line: u64,
    /// Its id: that of an account that exists already, where it is to take that one's place.
    pub id: Uuid,
    /// The account. Its `roles` are not looked at.
    pub user: NewUser,
    /// The roles it holds.
    pub grants: Vec<RoleGrant>,
    /// When it was made; `None`: now.
    pub created_at: Option<Timestamp>,
    /// An account that exists keeps the password it has.
    pub keeps_password: bool,
    /// Its accounts at providers. `None`: an account that exists keeps those it has, unless it gets another
    /// password.
    pub links: Option<Vec<StagedLink>>,
    /// What was counted elsewhere; an account that exists keeps what was counted here.
    pub past: Past,
}

/// An account at a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedLink {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the provider said the e-mail was.
    pub email: Option<String>,
}

/// What another program has counted of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// Sign-ins.
    pub login_count: i64,
    /// Sign-ins that failed.
    pub failed_login_count: i64,
}

/// The tables of what is to come. They live and end with the connection; on SQLite in memory, so that
/// hashes come to lie in no further file, and with room for the pages that one transaction changes.
/// There references are not looked at on this connection: to look for what refers to each row that goes takes
/// longer than all the rest, so what refers to accounts is deleted by statements.
pub(super) const TABLES: Both = Both {
    sqlite: "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA foreign_keys = OFF; \
         CREATE TEMP TABLE staged_users (line INTEGER NOT NULL, id BLOB NOT NULL PRIMARY KEY, \
         email TEXT NOT NULL, email_folded TEXT NOT NULL, username TEXT, username_folded TEXT, \
         password_hash TEXT, password_kind TEXT, keeps_password INTEGER NOT NULL, \
         keeps_links INTEGER NOT NULL, \
         first_name TEXT, last_name TEXT, organization TEXT, department TEXT, phone TEXT, \
         is_active INTEGER NOT NULL, is_superuser INTEGER NOT NULL, is_verified INTEGER NOT NULL, \
         created_at INTEGER, last_login_at INTEGER, login_count INTEGER NOT NULL, \
         failed_login_count INTEGER NOT NULL) STRICT; \
         CREATE TEMP TABLE staged_links (provider TEXT NOT NULL, subject TEXT NOT NULL, \
         user_id BLOB NOT NULL, email TEXT, PRIMARY KEY (provider, subject)) STRICT; \
         CREATE TEMP TABLE staged_grants (user_id BLOB NOT NULL, role TEXT NOT NULL, \
         ends_at INTEGER, PRIMARY KEY (user_id, role)) STRICT, WITHOUT ROWID",
    postgres: "CREATE TEMP TABLE staged_users (line BIGINT NOT NULL, id BYTEA NOT NULL PRIMARY KEY, \
         email TEXT NOT NULL, email_folded TEXT COLLATE \"C\" NOT NULL, username TEXT, \
         username_folded TEXT COLLATE \"C\", password_hash TEXT, password_kind TEXT COLLATE \"C\", \
         keeps_password BOOLEAN NOT NULL, keeps_links BOOLEAN NOT NULL, first_name TEXT, last_name TEXT, organization TEXT, \
         department TEXT, phone TEXT, is_active BOOLEAN NOT NULL, is_superuser BOOLEAN NOT NULL, \
         is_verified BOOLEAN NOT NULL, created_at BIGINT, last_login_at BIGINT, \
         login_count BIGINT NOT NULL, failed_login_count BIGINT NOT NULL); \
         CREATE TEMP TABLE staged_links (provider TEXT COLLATE \"C\" NOT NULL, \
         subject TEXT COLLATE \"C\" NOT NULL, user_id BYTEA NOT NULL, email TEXT, \
         PRIMARY KEY (provider, subject)); \
         CREATE TEMP TABLE staged_grants (user_id BYTEA NOT NULL, role TEXT COLLATE \"C\" NOT NULL, \
         ends_at BIGINT, PRIMARY KEY (user_id, role))",
};

/// So that PostgreSQL knows how many rows it joins.
pub(super) const ANALYSE: Both = Both {
    sqlite: "",
    postgres: "ANALYZE staged_users; ANALYZE staged_grants; ANALYZE staged_links",
};

/// Makes accounts at the time `$1`.
macro_rules! insert_users {
    () => {
        "INSERT INTO users (id, email, email_folded, username, username_folded, \
     password_hash, password_kind, first_name, last_name, organization, department, phone, \
     is_active, is_superuser, is_verified, created_at, last_login_at, login_count, \
     failed_login_count) SELECT n.id, n.email, n.email_folded, n.username, n.username_folded, n.password_hash, \
     n.password_kind, n.first_name, n.last_name, n.organization, n.department, n.phone, \
     n.is_active, n.is_superuser, n.is_verified, COALESCE(n.created_at, $1), n.last_login_at, \
     n.login_count, n.failed_login_count FROM staged_users n"
    };
}

pub(super) use insert_users;

/// Links accounts at providers at the time `$1`.
macro_rules! insert_links {
    () => {
        "INSERT INTO linked_accounts (provider, subject, user_id, email, linked_at) \
     SELECT n.provider, n.subject, n.user_id, n.email, $1 FROM staged_links n"
    };
}
pub(super) use insert_links;

/// Grants the roles.
macro_rules! insert_grants {
    () => {
        "INSERT INTO user_roles (user_id, role, ends_at) \
     SELECT n.user_id, n.role, n.ends_at FROM staged_grants n"
    };
}
pub(super) use insert_grants;

impl Store {
    /// Prepares to put many accounts in force at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stage(&self) -> Result<Staging, StoreError> {
        let connection = within(WRITE_DEADLINE, async {
            let mut connection = self.pool.lend_writer().await?;
            connection.run(TABLES).await?;
            Ok(connection)
        });
        Ok(Staging { store: self.clone(), connection: connection.await? })
    }
}

/// Accounts of a file on their way into the database. Dropped, it leaves nothing.
pub struct Staging {
    pub(super) store: Store,
    /// Never given back: its tables end with it.
    pub(super) connection: Connection,
}

impl Staging {
    /// Puts some accounts aside: a few hundred, for which there is time enough.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert(&mut self, users: &[StagedUser]) -> Result<(), StoreError> {
        const USER: &str = concat!(
            "INSERT INTO staged_users (line, id, keeps_password, keeps_links, created_at, \
             last_login_at, login_count, failed_login_count, ",
            account_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19, $20, $21, $22)"
        );
        const LINK: &str = "INSERT INTO staged_links (provider, subject, user_id, email) \
             VALUES ($1, $2, $3, $4)";
        const GRANT: &str =
            "INSERT INTO staged_grants (user_id, role, ends_at) VALUES ($1, $2, $3)";
        within(WRITE_DEADLINE, async {
            for staged in users {
                self.connection.execute(USER, &parameters(staged)).await?;
                for grant in &staged.grants {
                    let values = values![staged.id, grant.role.as_str(), grant.until];
                    self.connection.execute(GRANT, values).await?;
                }
                for link in staged.links.iter().flatten() {
                    let (provider, subject) = (link.provider.as_str(), link.subject.as_str());
                    let values = values![provider, subject, staged.id, &link.email];
                    self.connection.execute(LINK, values).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Adds all of them, or on any error none. Nobody is signed in to a new account, so nobody else
    /// must notice and there are no rows in the change log.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Email`](super::Conflict::Email) and
    /// [`Conflict::Username`](super::Conflict::Username) when somebody was faster.
    pub async fn add(self, roles: &[RoleRow], event: &Event) -> Result<(), StoreError> {
        let Self { store, mut connection } = self;
        let now = store.clock.now();
        within(WRITE_DEADLINE, connection.run(ANALYSE)).await?;
        let done = store.pool.write_on(connection, async |connection| {
            connection.run(HOLD_SUPERUSERS).await?;
            password_kinds::insert_staged(connection).await?;
            connection.execute(insert_users!(), values![now]).await?;
            connection.execute(insert_grants!(), &[]).await?;
            connection.execute(insert_links!(), values![now]).await?;
            roles::insert_all(connection, roles).await?;
            events::insert(connection, event).await
        });
        done.await
    }
}

/// What an account of a file writes: what stands beside it, then [`account_columns`].
fn parameters(staged: &StagedUser) -> Vec<Value> {
    let own = [
        i64::try_from(staged.line).unwrap_or(i64::MAX).into(),
        staged.id.into(),
        staged.keeps_password.into(),
        staged.links.is_none().into(),
        staged.created_at.into(),
        staged.past.last_login_at.into(),
        staged.past.login_count.into(),
        staged.past.failed_login_count.into(),
    ];
    own.into_iter().chain(account_values(&staged.user)).collect()
}
