//! Many accounts at once: reading all of them, and putting a whole file of them in force.
//!
//! What is to come is put into tables of one connection first, a few hundred rows at a time, which
//! neither holds a lock that a sign-in waits for nor is seen by anybody. One transaction then takes
//! all of it over by a handful of statements, within seconds whatever the file's size.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::pool::{READ_DEADLINE, WRITE_DEADLINE, within};
use super::sql::{Both, Connection, Value, values};
use super::users::{self, HOLD_SUPERUSERS, account_columns, account_values, user_columns};
use super::{
    Conflict, Event, NewUser, RoleRow, Store, StoreError, changes, events, password_kinds, roles,
};
use crate::clock::Timestamp;
use crate::identity::user::{RoleGrant, User};

/// Over copying a database.
const COPY_DEADLINE: Duration = Duration::from_hours(1);

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
    /// Its accounts at providers.
    pub links: Vec<StagedLink>,
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

/// What a replacement did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replaced {
    /// Accounts made.
    pub added: u64,
    /// Accounts deleted.
    pub deleted: u64,
}

/// The tables of what is to come. They live and end with the connection; on SQLite in memory, so that
/// hashes come to lie in no further file, and with room for the pages that one transaction changes.
pub(super) const TABLES: Both = Both {
    sqlite: "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; \
         CREATE TEMP TABLE staged_users (line INTEGER NOT NULL, id BLOB NOT NULL PRIMARY KEY, \
         email TEXT NOT NULL, email_folded TEXT NOT NULL, username TEXT, username_folded TEXT, \
         password_hash TEXT, password_kind TEXT, keeps_password INTEGER NOT NULL, \
         first_name TEXT, last_name TEXT, organization TEXT, department TEXT, phone TEXT, \
         is_active INTEGER NOT NULL, is_superuser INTEGER NOT NULL, is_verified INTEGER NOT NULL, \
         created_at INTEGER, last_login_at INTEGER, login_count INTEGER NOT NULL, \
         failed_login_count INTEGER NOT NULL) STRICT; \
         CREATE TEMP TABLE staged_links (provider TEXT NOT NULL, subject TEXT NOT NULL, \
         user_id BLOB NOT NULL, email TEXT, PRIMARY KEY (provider, subject)) STRICT; \
         CREATE TEMP TABLE staged_grants (user_id BLOB NOT NULL, role TEXT NOT NULL, \
         ends_at INTEGER, PRIMARY KEY (user_id, role)) STRICT",
    postgres: "CREATE TEMP TABLE staged_users (line BIGINT NOT NULL, id BYTEA NOT NULL PRIMARY KEY, \
         email TEXT NOT NULL, email_folded TEXT COLLATE \"C\" NOT NULL, username TEXT, \
         username_folded TEXT COLLATE \"C\", password_hash TEXT, password_kind TEXT COLLATE \"C\", \
         keeps_password BOOLEAN NOT NULL, first_name TEXT, last_name TEXT, organization TEXT, \
         department TEXT, phone TEXT, is_active BOOLEAN NOT NULL, is_superuser BOOLEAN NOT NULL, \
         is_verified BOOLEAN NOT NULL, created_at BIGINT, last_login_at BIGINT, \
         login_count BIGINT NOT NULL, failed_login_count BIGINT NOT NULL); \
         CREATE TEMP TABLE staged_links (provider TEXT COLLATE \"C\" NOT NULL, \
         subject TEXT COLLATE \"C\" NOT NULL, user_id BYTEA NOT NULL, email TEXT, \
         PRIMARY KEY (provider, subject)); \
         CREATE TEMP TABLE staged_grants (user_id BYTEA NOT NULL, role TEXT COLLATE \"C\" NOT NULL, \
         ends_at BIGINT, PRIMARY KEY (user_id, role))",
};

/// Begins a transaction that sees one instant. Whoever reads what is written may take their time.
const SNAPSHOT: Both = Both {
    sqlite: "BEGIN",
    postgres: "SET idle_in_transaction_session_timeout = 0; \
         BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
};

/// So that PostgreSQL knows how many rows it joins.
const ANALYSE: Both = Both {
    sqlite: "",
    postgres: "ANALYZE staged_users; ANALYZE staged_grants; ANALYZE staged_links",
};

/// Keeps sign-ins and grants waiting for the one transaction, since each would be of an account that
/// it is about to change. SQLite has one writer anyway.
const HOLD_ACCOUNTS: Both =
    Both { sqlite: "", postgres: "LOCK TABLE users, user_roles IN SHARE ROW EXCLUSIVE MODE" };

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

/// Links accounts at providers at the time `$1`.
macro_rules! insert_links {
    () => {
        "INSERT INTO linked_accounts (provider, subject, user_id, email, linked_at) \
     SELECT n.provider, n.subject, n.user_id, n.email, $1 FROM staged_links n"
    };
}

/// Roles that a provider gave to whom its account was linked until now.
const FORGET_MOVED: &str = "DELETE FROM provider_roles WHERE EXISTS (SELECT 1 FROM staged_links n \
     WHERE n.provider = provider_roles.provider AND n.subject = provider_roles.subject \
     AND n.user_id <> provider_roles.user_id)";

/// An account at a provider that was linked here already is linked to the account it belongs to now.
const MOVE_LINKS: &str = concat!(
    insert_links!(),
    " WHERE TRUE ON CONFLICT (provider, subject) \
     DO UPDATE SET user_id = excluded.user_id, email = excluded.email"
);

/// Of the accounts put aside, those of an id that is not there yet.
const INSERT_NEW_USERS: &str =
    concat!(insert_users!(), " WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = n.id)");

/// The first steps of a replacement: passwords that stay, sessions and links that do not.
const PREPARE: [&str; 3] = [
    // First, so that what follows compares and writes one and the same.
    "UPDATE staged_users AS n SET password_hash = u.password_hash, \
     password_kind = u.password_kind FROM users u WHERE u.id = n.id AND n.keeps_password",
    "DELETE FROM sessions WHERE user_id IN (SELECT u.id FROM staged_users n \
     JOIN users u ON u.id = n.id \
     WHERE NOT n.is_active OR u.password_hash IS DISTINCT FROM n.password_hash)",
    "DELETE FROM tokens WHERE subject IN (SELECT u.id FROM staged_users n \
     JOIN users u ON u.id = n.id \
     WHERE NOT n.is_active OR u.password_hash IS DISTINCT FROM n.password_hash)",
];

/// Grants, sessions and tokens refer to accounts and go along.
const DELETE_OTHERS: &str =
    "DELETE FROM users WHERE NOT EXISTS (SELECT 1 FROM staged_users n WHERE n.id = users.id)";

/// What becomes of the accounts that stay, and of their grants.
const CHANGE_KEPT: [&str; 3] = [
    // Two accounts may have exchanged their names; uniqueness is looked at row by row.
    "UPDATE users AS u SET email_folded = '!' || CAST(n.line AS TEXT), username_folded = NULL \
     FROM staged_users n WHERE n.id = u.id AND (u.email_folded <> n.email_folded \
     OR u.username_folded IS DISTINCT FROM n.username_folded)",
    "UPDATE users AS u SET email = n.email, email_folded = n.email_folded, \
     username = n.username, username_folded = n.username_folded, \
     password_hash = n.password_hash, password_kind = n.password_kind, \
     first_name = n.first_name, last_name = n.last_name, organization = n.organization, \
     department = n.department, phone = n.phone, is_active = n.is_active, \
     is_superuser = n.is_superuser, is_verified = n.is_verified FROM staged_users n \
     WHERE n.id = u.id AND (u.email <> n.email OR u.email_folded <> n.email_folded \
     OR u.username IS DISTINCT FROM n.username \
     OR u.username_folded IS DISTINCT FROM n.username_folded \
     OR u.password_hash IS DISTINCT FROM n.password_hash \
     OR u.password_kind IS DISTINCT FROM n.password_kind \
     OR u.first_name IS DISTINCT FROM n.first_name OR u.last_name IS DISTINCT FROM n.last_name \
     OR u.organization IS DISTINCT FROM n.organization \
     OR u.department IS DISTINCT FROM n.department OR u.phone IS DISTINCT FROM n.phone \
     OR u.is_active <> n.is_active OR u.is_superuser <> n.is_superuser \
     OR u.is_verified <> n.is_verified)",
    "DELETE FROM user_roles WHERE NOT EXISTS (SELECT 1 FROM staged_grants n \
     WHERE n.user_id = user_roles.user_id AND n.role = user_roles.role)",
];

impl Store {
    /// A page of accounts with their grants, past ones too, in the order of their folded e-mail, after
    /// the given one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_accounts(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.pool.read(async |connection| list(connection, after, limit).await).await
    }

    /// All accounts as they are at one instant, to be read page by page while others write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let connection = within(READ_DEADLINE, async {
            let mut connection = self.pool.lend_reader().await?;
            connection.run(SNAPSHOT).await?;
            Ok(connection)
        });
        Ok(Snapshot { connection: connection.await? })
    }

    /// Copies an SQLite database, as it is at one instant, into an empty file. Others read and write
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; on PostgreSQL always.
    pub async fn copy_into(&self, file: &Path) -> Result<(), StoreError> {
        let path =
            file.to_str().ok_or_else(|| StoreError::Schema("the name is not UTF-8".into()))?;
        within(COPY_DEADLINE, async {
            let mut connection = self.pool.lend_writer().await?;
            connection.execute("VACUUM INTO $1", values![path]).await?;
            connection.give_back();
            Ok(())
        })
        .await
    }

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

/// An account and the roles granted to it.
pub type Account = (User, Vec<RoleGrant>);

/// All accounts as they were at one instant. On SQLite the instant is that of the first page.
pub struct Snapshot {
    /// Never given back: a transaction is open on it.
    connection: Connection,
}

impl Snapshot {
    /// A page, as [`Store::list_accounts`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_accounts(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        within(READ_DEADLINE, list(&mut self.connection, after, limit)).await
    }
}

async fn list(
    connection: &mut Connection,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Account>, StoreError> {
    const SQL: &str = concat!(
        "SELECT p.*, g.role, g.ends_at FROM (SELECT ",
        user_columns!(),
        " FROM users u WHERE u.email_folded > $1 ORDER BY u.email_folded LIMIT $2) p \
         LEFT JOIN user_roles g ON g.user_id = p.id"
    );
    let rows = connection.rows(SQL, values![after.unwrap_or_default(), limit]).await?;
    // Put in order here: a database would sort all the columns.
    let mut found: BTreeMap<String, Account> = BTreeMap::new();
    for row in rows {
        let mut cells = row.cells();
        let user = users::read_user(&mut cells)?;
        let (role, until) = (cells.optional_text()?, cells.optional_time()?);
        let folded = user.email_folded.to_string();
        let (_, grants) = found.entry(folded).or_insert_with(|| (user, Vec::new()));
        grants.extend(role.map(|role| RoleGrant { role, until }));
    }
    let mut accounts: Vec<_> = found.into_values().collect();
    for (_, grants) in &mut accounts {
        grants.sort_by(|a, b| a.role.cmp(&b.role));
    }
    Ok(accounts)
}

/// Accounts of a file on their way into the database. Dropped, it leaves nothing.
pub struct Staging {
    store: Store,
    /// Never given back: its tables end with it.
    connection: Connection,
}

impl Staging {
    /// Puts some accounts aside: a few hundred, for which there is time enough.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert(&mut self, users: &[StagedUser]) -> Result<(), StoreError> {
        const USER: &str = concat!(
            "INSERT INTO staged_users (line, id, keeps_password, created_at, last_login_at, \
             login_count, failed_login_count, ",
            account_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19, $20, $21)"
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
                for link in &staged.links {
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
    /// [`StoreError`]; [`Conflict::Email`] and [`Conflict::Username`] when somebody was faster.
    pub async fn add(self, roles: &[RoleRow], event: &Event) -> Result<(), StoreError> {
        let Self { store, mut connection } = self;
        let now = store.clock.now();
        within(WRITE_DEADLINE, connection.run(ANALYSE)).await?;
        let done = store.pool.write_on(connection, async |connection| {
            connection.run(HOLD_SUPERUSERS).await?;
            password_kinds::insert_staged(connection).await?;
            connection.execute(insert_users!(), values![now]).await?;
            let sql = "INSERT INTO user_roles (user_id, role, ends_at) \
                 SELECT n.user_id, n.role, n.ends_at FROM staged_grants n";
            connection.execute(sql, &[]).await?;
            connection.execute(insert_links!(), values![now]).await?;
            roles::insert_all(connection, roles).await?;
            events::insert(connection, event).await
        });
        done.await
    }

    /// Makes them the only accounts there are, or on any error changes nothing. Accounts of an id
    /// that exists are changed and keep what the file does not say (counters, the time they were
    /// made); their sessions end where the password is another or the account is inactive.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::LastSuperuser`] when none of them is an active superuser.
    pub async fn replace(self, roles: &[RoleRow], event: &Event) -> Result<Replaced, StoreError> {
        let Self { store, mut connection } = self;
        let now = store.clock.now();
        within(WRITE_DEADLINE, connection.run(ANALYSE)).await?;
        let done = store.pool.write_on(connection, async |connection| {
            connection.run(HOLD_SUPERUSERS).await?;
            connection.run(HOLD_ACCOUNTS).await?;
            changes::insert_all_with_sessions(connection).await?;
            for sql in PREPARE {
                connection.execute(sql, &[]).await?;
            }
            let deleted = connection.execute(DELETE_OTHERS, &[]).await?;
            for sql in CHANGE_KEPT {
                connection.execute(sql, &[]).await?;
            }
            password_kinds::insert_staged(connection).await?;
            let added = connection.execute(INSERT_NEW_USERS, values![now]).await?;
            let sql = "INSERT INTO user_roles (user_id, role, ends_at) \
                 SELECT n.user_id, n.role, n.ends_at FROM staged_grants n WHERE TRUE \
                 ON CONFLICT (user_id, role) DO UPDATE SET ends_at = excluded.ends_at \
                 WHERE user_roles.ends_at IS DISTINCT FROM excluded.ends_at";
            connection.execute(sql, &[]).await?;
            connection.execute(FORGET_MOVED, &[]).await?;
            connection.execute(MOVE_LINKS, values![now]).await?;
            roles::insert_all(connection, roles).await?;
            if !users::has_superuser_but(connection, Uuid::nil()).await? {
                return Err(StoreError::Conflict(Conflict::LastSuperuser));
            }
            events::insert(connection, event).await?;
            Ok(Replaced { added, deleted })
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
        staged.created_at.into(),
        staged.past.last_login_at.into(),
        staged.past.login_count.into(),
        staged.past.failed_login_count.into(),
    ];
    own.into_iter().chain(account_values(&staged.user)).collect()
}
