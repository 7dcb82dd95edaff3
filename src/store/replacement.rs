//! A file of accounts in the place of all there are.
//!
//! What becomes of an account that stays follows the rules of a change by an operator (`user_changes`). The
//! statements are about all accounts at once, and what refers to accounts that go is deleted before them:
//! a database would look for it once for each.

use uuid::Uuid;

use super::pool::{WRITE_DEADLINE, within};
use super::sql::{Both, values};
use super::staging::{ANALYSE, Staging, insert_grants, insert_links, insert_users};
use super::users::{self, HOLD_SUPERUSERS};
use super::{
    Conflict, Event, RoleRow, StoreError, changes, events, invitations, password_kinds, roles,
};

/// What a replacement did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replaced {
    /// Accounts made.
    pub added: u64,
    /// Accounts deleted.
    pub deleted: u64,
}

/// Keeps sign-ins and grants waiting for the one transaction, since each would be of an account that
/// it is about to change. SQLite has one writer anyway.
const HOLD_ACCOUNTS: Both =
    Both { sqlite: "", postgres: "LOCK TABLE users, user_roles IN SHARE ROW EXCLUSIVE MODE" };

/// An account that stays and keeps its password, by its id.
macro_rules! same_password {
    ($id:literal) => {
        concat!(
            "SELECT 1 FROM staged_users n JOIN users u ON u.id = n.id WHERE n.id = ",
            $id,
            " AND u.password_hash IS NOT DISTINCT FROM n.password_hash"
        )
    };
}

/// An account whose sessions and links outlive the replacement.
macro_rules! same_owner {
    ($id:literal) => {
        concat!(same_password!($id), " AND u.email_folded = n.email_folded AND n.is_active")
    };
}

/// What ends before any account changes.
const END: [&str; 7] = [
    // First, so that what follows compares and writes one and the same.
    "UPDATE staged_users AS n SET password_hash = u.password_hash, \
     password_kind = u.password_kind FROM users u WHERE u.id = n.id AND n.keeps_password",
    concat!(
        "DELETE FROM linked_accounts WHERE NOT EXISTS (",
        same_password!("linked_accounts.user_id"),
        " AND n.keeps_links) AND NOT EXISTS (SELECT 1 FROM staged_links k \
         WHERE k.provider = linked_accounts.provider AND k.subject = linked_accounts.subject \
         AND k.user_id = linked_accounts.user_id)"
    ),
    "DELETE FROM provider_roles WHERE NOT EXISTS (SELECT 1 FROM linked_accounts l \
     WHERE l.provider = provider_roles.provider AND l.subject = provider_roles.subject)",
    concat!("DELETE FROM sessions WHERE NOT EXISTS (", same_owner!("sessions.user_id"), ")"),
    "DELETE FROM sessions WHERE provider IS NOT NULL AND NOT EXISTS (SELECT 1 \
     FROM linked_accounts l WHERE l.provider = sessions.provider \
     AND l.subject = sessions.provider_subject)",
    concat!(
        "DELETE FROM tokens WHERE subject IS NOT NULL AND NOT EXISTS (",
        same_owner!("tokens.subject"),
        ")"
    ),
    "DELETE FROM outbox WHERE subject IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM staged_users n WHERE n.id = outbox.subject)",
];

/// Takes away grants. SQLite empties a table at once and fills it as fast as it would compare.
const DELETE_GRANTS: Both = Both {
    sqlite: "DELETE FROM user_roles",
    postgres: "DELETE FROM user_roles WHERE NOT EXISTS (SELECT 1 FROM staged_grants n \
     WHERE n.user_id = user_roles.user_id AND n.role = user_roles.role)",
};

const DELETE_OTHERS: &str =
    "DELETE FROM users WHERE NOT EXISTS (SELECT 1 FROM staged_users n WHERE n.id = users.id)";

/// What becomes of the accounts that stay.
const CHANGE_KEPT: [&str; 2] = [
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
];

/// Of the accounts put aside, those of an id that is not there yet.
const INSERT_NEW_USERS: &str =
    concat!(insert_users!(), " WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = n.id)");

const INSERT_GRANTS: &str = concat!(
    insert_grants!(),
    " WHERE TRUE ON CONFLICT (user_id, role) DO UPDATE SET ends_at = excluded.ends_at \
     WHERE user_roles.ends_at IS DISTINCT FROM excluded.ends_at"
);

/// Links that are there already are of the same accounts.
const INSERT_LINKS: &str = concat!(
    insert_links!(),
    " WHERE TRUE ON CONFLICT (provider, subject) DO UPDATE SET email = excluded.email"
);

impl Staging {
    /// Makes them the only accounts there are, or on any error changes nothing. Accounts of an id
    /// that exists are changed and keep what the file does not say (counters, the time they were
    /// made). Sessions and links end, and accounts at providers are unlinked, where a change by an operator
    /// would do that; so do invitations of whoever is no active superuser then, and the event's detail gets
    /// how many.
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
            for sql in END {
                connection.execute(sql, &[]).await?;
            }
            connection.execute(DELETE_GRANTS, &[]).await?;
            let deleted = connection.execute(DELETE_OTHERS, &[]).await?;
            for sql in CHANGE_KEPT {
                connection.execute(sql, &[]).await?;
            }
            password_kinds::insert_staged(connection).await?;
            let added = connection.execute(INSERT_NEW_USERS, values![now]).await?;
            connection.execute(INSERT_GRANTS, &[]).await?;
            connection.execute(INSERT_LINKS, values![now]).await?;
            roles::insert_all(connection, roles).await?;
            if !users::has_superuser_but(connection, Uuid::nil()).await? {
                return Err(StoreError::Conflict(Conflict::LastSuperuser));
            }
            let taken_back = invitations::delete_of_former_inviters(connection, now).await?;
            events::insert(connection, &event.clone().and(taken_back)).await?;
            Ok(Replaced { added, deleted })
        });
        done.await
    }
}
