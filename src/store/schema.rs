//! The schema: which version a database is at, and bringing it up to date.
//!
//! The table `schema` holds `version` and `oldest_compatible`: the oldest binary, by the version it
//! knows, that may still work on it. A migration that old binaries cannot live with raises both.

use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::pool::{Pool, SESSION_SETTINGS, within};
use super::sql::{Both, Connection};
use super::{Migrate, StoreError};

/// The schema this binary knows.
const VERSION: i64 = 6;

/// What is said of a database without our schema.
pub(super) const MISSING: &str =
    "the database has no portcullis schema yet: run `portcullis migrate`";

/// Over bringing the schema up to date; PostgreSQL's own limits are lifted meanwhile.
const MIGRATION_DEADLINE: Duration = Duration::from_mins(10);

const SQLITE: [(i64, &str, &str); 6] = [
    (1, "initial", include_str!("../../migrations/sqlite/0001_initial.sql")),
    (2, "outbox", include_str!("../../migrations/sqlite/0002_outbox.sql")),
    (3, "providers", include_str!("../../migrations/sqlite/0003_providers.sql")),
    (4, "invitations", include_str!("../../migrations/sqlite/0004_invitations.sql")),
    (5, "inviters", include_str!("../../migrations/sqlite/0005_inviters.sql")),
    (6, "checks", include_str!("../../migrations/sqlite/0006_checks.sql")),
];
const POSTGRES: [(i64, &str, &str); 6] = [
    (1, "initial", include_str!("../../migrations/postgres/0001_initial.sql")),
    (2, "outbox", include_str!("../../migrations/postgres/0002_outbox.sql")),
    (3, "providers", include_str!("../../migrations/postgres/0003_providers.sql")),
    (4, "invitations", include_str!("../../migrations/postgres/0004_invitations.sql")),
    (5, "inviters", include_str!("../../migrations/postgres/0005_inviters.sql")),
    (6, "checks", include_str!("../../migrations/postgres/0006_checks.sql")),
];

/// How long an older schema stays the same that nobody is changing.
const SETTLED: Duration = Duration::from_secs(2);

enum State {
    Missing { is_empty: bool },
    Present { version: i64, oldest_compatible: i64 },
}

/// Checks the schema, and makes or changes it as far as `migrate` goes.
pub(super) async fn ensure(pool: &Pool, migrate: Migrate) -> Result<(), StoreError> {
    let state = match migrate {
        Migrate::Fully => look(pool).await?,
        Migrate::CreateOnly | Migrate::Never => look_when_settled(pool).await?,
    };
    let must_change = match (state, migrate) {
        (State::Present { version, oldest_compatible }, _) if oldest_compatible > VERSION => {
            return Err(StoreError::Schema(format!(
                "the database is at schema {version} and needs a portcullis that knows schema \
                 {oldest_compatible} or later; this one knows schema {VERSION}: install a newer one"
            )));
        }
        (State::Present { version, .. }, Migrate::Fully) => version < VERSION,
        (State::Present { version, .. }, Migrate::CreateOnly | Migrate::Never) => {
            if version < VERSION {
                return Err(StoreError::Schema(format!(
                    "the database is at schema {version}, older than this portcullis's {VERSION}: \
                     run `portcullis migrate`"
                )));
            }
            false
        }
        (State::Missing { .. }, Migrate::Fully)
        | (State::Missing { is_empty: true }, Migrate::CreateOnly) => true,
        (State::Missing { is_empty: true }, Migrate::Never) => return Err(StoreError::Empty),
        (State::Missing { is_empty: false }, Migrate::CreateOnly | Migrate::Never) => {
            return Err(StoreError::Schema(MISSING.to_owned()));
        }
    };
    if must_change {
        within(MIGRATION_DEADLINE, change(pool)).await?;
    }
    Ok(())
}

async fn look(pool: &Pool) -> Result<State, StoreError> {
    pool.read(async |connection| find_state(connection).await).await
}

/// What there is once nobody is at it any more: migrations are committed one by one, so while a gateway makes
/// the schema it looks like an older one that grows.
async fn look_when_settled(pool: &Pool) -> Result<State, StoreError> {
    let mut seen = None;
    loop {
        let state = look(pool).await?;
        match state {
            State::Present { version, .. } if version < VERSION && seen != Some(version) => {
                seen = Some(version);
                tokio::time::sleep(SETTLED).await;
            }
            State::Present { .. } | State::Missing { .. } => return Ok(state),
        }
    }
}

async fn find_state(connection: &mut Connection) -> Result<State, StoreError> {
    const TABLES: Both = Both {
        sqlite: "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'schema'), \
             EXISTS (SELECT 1 FROM sqlite_master \
             WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' \
             AND name <> '_sqlx_migrations')",
        postgres: "SELECT to_regclass('schema') IS NOT NULL, \
             EXISTS (SELECT 1 FROM pg_catalog.pg_tables \
             WHERE schemaname = current_schema() AND tablename <> '_sqlx_migrations')",
    };
    if let Some(row) = connection.row(TABLES, &[]).await? {
        let mut cells = row.cells();
        let (is_present, has_tables) = (cells.bool()?, cells.bool()?);
        if !is_present {
            return Ok(State::Missing { is_empty: !has_tables });
        }
    }
    let row = connection
        .row("SELECT known.version, known.oldest_compatible FROM schema known", &[])
        .await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("the table schema is empty".to_owned()))?;
    let mut cells = row.cells();
    Ok(State::Present { version: cells.int()?, oldest_compatible: cells.int()? })
}

async fn change(pool: &Pool) -> Result<(), StoreError> {
    const LIFT_LIMITS: Both = Both {
        sqlite: "",
        postgres: "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
    };
    let mut connection = pool.lend_writer().await?;
    connection.run(LIFT_LIMITS).await?;
    connection.migrate(&migrator(&SQLITE), &migrator(&POSTGRES)).await?;
    connection.run(Both { sqlite: "", postgres: SESSION_SETTINGS }).await?;
    connection.give_back();
    Ok(())
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations_up_to_the_known_version() {
        let names = |list: &[(i64, &'static str, &str)]| {
            list.iter().map(|(version, name, _)| (*version, *name)).collect::<Vec<_>>()
        };
        assert_eq!(names(&SQLITE), names(&POSTGRES));
        assert_eq!(SQLITE.last().map(|(version, ..)| *version), Some(VERSION));
    }
}
