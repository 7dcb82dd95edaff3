//! What an error of the database means to the rest of the gateway.

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use super::{Conflict, StoreError};

/// Sorts an error of the driver: out of reach, a broken rule, or a failure.
pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
    if let Some(conflict) = find_conflict(&error) {
        return StoreError::Conflict(conflict);
    }
    if is_out_of_reach(&error) { StoreError::Unavailable(error) } else { StoreError::Failed(error) }
}

/// The error of a deadline that has passed.
pub(super) fn overdue() -> StoreError {
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "the deadline has passed");
    StoreError::Unavailable(sqlx::Error::Io(error))
}

/// PostgreSQL's names of constraints and SQLite's columns, beside the rule that each one keeps.
const RULES: [(&str, Conflict); 10] = [
    ("users_email", Conflict::Email),
    ("failed: users.email_folded", Conflict::Email),
    ("users_username", Conflict::Username),
    ("failed: users.username_folded", Conflict::Username),
    ("roles_pkey", Conflict::Role),
    ("failed: roles.name", Conflict::Role),
    ("roles_folded", Conflict::Role),
    ("failed: roles.name_folded", Conflict::Role),
    ("linked_accounts_pkey", Conflict::Linked),
    ("failed: linked_accounts.provider, linked_accounts.subject", Conflict::Linked),
];

fn find_conflict(error: &sqlx::Error) -> Option<Conflict> {
    let error = error.as_database_error()?;
    if error.is_foreign_key_violation() {
        // Every reference is to an account, but those of a role's permissions, a provider's roles and an
        // invitation's roles; these are only ever written beside what they refer to.
        return Some(Conflict::Gone);
    }
    if !error.is_unique_violation() {
        return None;
    }
    let (name, message) = (error.constraint(), error.message());
    let kept = |rule: &str| name.map_or_else(|| message.ends_with(rule), |name| name == rule);
    RULES.iter().find(|(rule, _)| kept(rule)).map(|(_, conflict)| *conflict)
}

fn is_out_of_reach(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(error) = error {
        let code = error.code().unwrap_or_default();
        let is_sqlite = error.try_downcast_ref::<SqliteError>().is_some();
        return if is_sqlite { is_passing_sqlite(&code) } else { is_passing_postgres(&code) };
    }
    if let sqlx::Error::Migrate(error) = error {
        let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = &**error
        else {
            return false;
        };
        return is_out_of_reach(error);
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
    )
}

/// Whether a code of PostgreSQL (its manual, appendix A) says that trying again later may help:
/// connection, transaction (serialisation, deadlock, idle too long), resources, intervention
/// (shutting down, starting up, cancelled by a timeout), the system's errors, a standby.
fn is_passing_postgres(code: &str) -> bool {
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    const SINGLE: [&str; 3] = ["25P03", "25006", "55P03"];
    CLASSES.iter().any(|class| code.starts_with(class)) || SINGLE.contains(&code)
}

/// Whether a code of SQLite (`sqlite3.h`; the lowest byte is the primary code) says the same: BUSY,
/// LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
fn is_passing_sqlite(code: &str) -> bool {
    const PRIMARY: [u32; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    code.parse::<u32>().is_ok_and(|code| PRIMARY.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_sorted_into_passing_and_lasting() {
        for code in ["57P01", "57P03", "57014", "08006", "40P01", "53300", "25P03", "25006"] {
            assert!(is_passing_postgres(code), "{code}");
        }
        for code in ["42P01", "28P01", "3D000", "23505", "22021", ""] {
            assert!(!is_passing_postgres(code), "{code}");
        }
        // Extended codes: BUSY_SNAPSHOT, IOERR_SHORT_READ, READONLY_DBMOVED.
        for code in ["5", "517", "522", "1032"] {
            assert!(is_passing_sqlite(code), "{code}");
        }
        // ERROR, CORRUPT, NOTADB, CONSTRAINT, CONSTRAINT_UNIQUE.
        for code in ["1", "11", "26", "19", "2067", ""] {
            assert!(!is_passing_sqlite(code), "{code}");
        }
    }

    #[test]
    fn a_passed_deadline_is_unavailable() {
        assert!(matches!(overdue(), StoreError::Unavailable(_)));
        assert!(matches!(from_sqlx(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
        assert!(matches!(from_sqlx(sqlx::Error::RowNotFound), StoreError::Failed(_)));
    }
}
