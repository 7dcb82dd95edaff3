//! How both databases mean to run every statement of the store, on tables filled to a million rows
//! and analysed: a test that none reads a whole table that grows with use.
//!
//! Every method is called once, and the statements are noted as they are bound; a second test holds
//! that no statement in the source is missing from what was noted.
#![expect(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "test code")]

mod calls;
mod fill;
#[path = "../../tests/it/postgres.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
mod postgres;
mod source;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row, SqliteConnection};

use super::sql::{Both, Value};
use super::{Migrate, Store};
use crate::clock::Clock;
use crate::config::{Database, DatabaseUrl};

/// Which database a statement is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

/// Each statement with the values it was last bound to.
type Statements = BTreeMap<(Backend, &'static str), Vec<Value>>;

static STATEMENTS: Mutex<Statements> = Mutex::new(Statements::new());

/// Notes a statement in the words of both databases, whichever it was bound for.
pub(super) fn note(sql: Both, values: &[Value]) {
    let mut statements = STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    statements.insert((Backend::Sqlite, sql.sqlite), values.to_vec());
    statements.insert((Backend::Postgres, sql.postgres), values.to_vec());
}

fn noted(backend: Backend) -> Vec<(&'static str, Vec<Value>)> {
    let statements = STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = statements.iter().filter(|((of, _), _)| *of == backend);
    own.map(|((_, sql), values)| (*sql, values.clone())).collect()
}

/// Statements that are about a whole table: the first two together end every session there is.
const WHOLE: [&str; 5] = [
    "DELETE FROM sessions",
    "SELECT DISTINCT $1, s.user_id FROM sessions s",
    // What a replacement of all accounts leaves without an account at a provider.
    "AND l.subject = provider_roles.subject)",
    "AND l.subject = sessions.provider_subject)",
    // How many people hold each role.
    "GROUP BY h.role",
];

/// What is put in the place of all accounts: statements that change those after it are about all of them.
const STAGED: &str = "staged_";

/// Tables that grow with use, with the short names the statements give them.
const GROWING: [(&str, &str); 7] = [
    ("users", "u"),
    ("sessions", "s"),
    ("events", "e"),
    ("changes", "c"),
    ("tokens", "t"),
    ("linked_accounts", "l"),
    ("provider_roles", "v"),
];

/// Tables whose rows live an hour or so: sweeping a thousand rows out of one, a database may well
/// prefer to read all of it.
const SHORT_LIVED: [&str; 2] = ["changes", "tokens"];

/// Holds active superusers alone, however many accounts there are.
const SUPERUSERS: &str = "users_superuser";

/// Runs every statement of the store on an empty database; what it ran for this backend.
async fn run_every_statement(
    backend: Backend,
    url: DatabaseUrl,
) -> Vec<(&'static str, Vec<Value>)> {
    let database = Database { url, max_connections: 2, acquire_timeout: Duration::from_secs(10) };
    let store = Store::open(&database, Migrate::Fully, Clock::system()).await.unwrap();
    calls::call_everything(&store).await.unwrap();
    store.close().await;
    // What is asked of a schema that is there is asked only now.
    Store::open(&database, Migrate::Never, Clock::system()).await.unwrap().close().await;
    let statements = noted(backend);
    let others = noted(match backend {
        Backend::Sqlite => Backend::Postgres,
        Backend::Postgres => Backend::Sqlite,
    });
    let missing: Vec<String> = source::fragments()
        .into_iter()
        .filter(|part| !statements.iter().chain(&others).any(|(sql, _)| sql.contains(&**part)))
        .collect();
    assert!(missing.is_empty(), "not called in plans/calls.rs: {missing:#?}");
    assert!(statements.len() > 40, "{}", statements.len());
    let is_whole = |sql: &str| {
        let is_replacement = sql.contains(STAGED) && !sql.starts_with("INSERT");
        is_replacement || WHOLE.iter().any(|whole| sql.ends_with(whole))
    };
    statements.into_iter().filter(|(sql, _)| !is_whole(sql)).collect()
}

#[tokio::test]
async fn no_statement_reads_a_whole_table_of_a_large_sqlite_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portcullis.db");
    let statements = run_every_statement(Backend::Sqlite, DatabaseUrl::Sqlite(path.clone())).await;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-400000");
    let mut connection = options.connect().await.unwrap();
    connection.execute(AssertSqlSafe(super::staging::TABLES.sqlite)).await.unwrap();
    let mut scans = sqlite_scans(&mut connection, &statements).await;
    for rows in fill::statements(Backend::Sqlite) {
        connection.execute(AssertSqlSafe(rows)).await.unwrap();
    }
    connection.execute("ANALYZE").await.unwrap();
    scans.extend(sqlite_scans(&mut connection, &statements).await);
    assert!(scans.is_empty(), "{scans:#?}");
}

async fn sqlite_scans(
    connection: &mut SqliteConnection,
    statements: &[(&str, Vec<Value>)],
) -> Vec<String> {
    let mut scans = Vec::new();
    for (sql, _) in statements {
        let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        for step in connection.fetch_all(plan).await.unwrap() {
            let step: String = step.get("detail");
            // A walk along an index is fine where it ends at a limit, or sees only superusers.
            let is_bounded = sql.contains("LIMIT") || step.contains(SUPERUSERS);
            let is_sorted = !step.contains("TEMP B-TREE") || !sql.contains("LIMIT");
            let is_scan = GROWING.iter().flat_map(|(name, short)| [name, short]).any(|table| {
                step == format!("SCAN {table}")
                    || (step.starts_with(&format!("SCAN {table} ")) && !is_bounded)
            });
            if is_scan || !is_sorted {
                scans.push(format!("{step}: {sql}"));
            }
        }
    }
    scans
}

#[tokio::test]
async fn no_statement_reads_a_whole_table_of_a_large_postgresql_database() {
    let url = postgres::Postgres::start().database().await;
    let given = DatabaseUrl::Postgres(url.clone().into());
    let statements = run_every_statement(Backend::Postgres, given).await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    // Neither references nor the log of a database that is thrown away.
    let hasten = "SET session_replication_role = replica; SET maintenance_work_mem = '256MB'; \
         ALTER TABLE outbox SET UNLOGGED; \
         ALTER TABLE tokens SET UNLOGGED; ALTER TABLE sessions SET UNLOGGED; \
         ALTER TABLE user_roles SET UNLOGGED; \
         ALTER TABLE provider_roles SET UNLOGGED; ALTER TABLE linked_accounts SET UNLOGGED; ALTER TABLE users SET UNLOGGED; \
         ALTER TABLE events SET UNLOGGED";
    connection.execute(hasten).await.unwrap();
    connection.execute(AssertSqlSafe(super::staging::TABLES.postgres)).await.unwrap();
    for rows in fill::statements(Backend::Postgres) {
        connection.execute(AssertSqlSafe(rows)).await.unwrap();
    }
    connection.execute("ANALYZE").await.unwrap();
    // A plan is made for the values at hand, or once for any; the server chooses.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let set = AssertSqlSafe(format!("SET plan_cache_mode = {mode}"));
        connection.execute(set).await.unwrap();
        let scans = postgres_scans(&mut connection, &statements).await;
        assert!(scans.is_empty(), "{mode}: {scans:#?}");
    }
}

async fn postgres_scans(
    connection: &mut PgConnection,
    statements: &[(&str, Vec<Value>)],
) -> Vec<String> {
    let mut scans = Vec::new();
    for (sql, values) in statements {
        let (types, values): (Vec<&str>, Vec<String>) = values.iter().map(written).unzip();
        let in_brackets = |list: String| if list.is_empty() { list } else { format!("({list})") };
        let prepare = format!("PREPARE asked{} AS {sql}", in_brackets(types.join(", ")));
        let explain = "EXPLAIN (FORMAT JSON) EXECUTE asked";
        let explain = format!("{explain}{}", in_brackets(values.join(", ")));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let plan = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
        connection.execute("DEALLOCATE asked").await.unwrap();
        let plan: &str = plan.try_get_unchecked(0).unwrap();
        let plan: Json = serde_json::from_str(plan).unwrap();
        let mut found = Vec::new();
        find_scans(&plan[0]["Plan"], false, &mut found);
        found.retain(|(_, table)| {
            !(sql.starts_with("DELETE") && SHORT_LIVED.contains(&table.as_str()))
        });
        scans.extend(found.into_iter().map(|(kind, table)| format!("{kind} on {table}: {sql}")));
    }
    scans
}

/// A value's type and spelling.
fn written(value: &Value) -> (&'static str, String) {
    let null = || "NULL".to_owned();
    match value {
        Value::Int(value) => ("bigint", value.map_or_else(null, |value| value.to_string())),
        Value::Bool(value) => ("boolean", value.to_string()),
        Value::Text(value) => {
            let quoted = value.as_ref().map(|text| format!("'{}'", text.replace('\'', "''")));
            ("text", quoted.unwrap_or_else(null))
        }
        Value::Bytes(value) => {
            let digits = |bytes: &Vec<u8>| {
                bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
            };
            let digits = value.as_ref().map(digits);
            ("bytea", digits.map_or_else(null, |digits| format!("'\\x{digits}'")))
        }
    }
}

/// Notes the steps of a plan that read all of a growing table. `is_bounded`: a limit above ends the
/// step, so a walk along an index reads no more than is asked for.
fn find_scans(step: &Json, is_bounded: bool, found: &mut Vec<(String, String)>) {
    let kind = step["Node Type"].as_str().unwrap_or_default();
    let table = step["Relation Name"].as_str().unwrap_or_default();
    let index = step["Index Name"].as_str().unwrap_or_default();
    if GROWING.iter().any(|(name, _)| *name == table) {
        let is_walk = kind.starts_with("Index") && step.get("Index Cond").is_none();
        if kind == "Seq Scan" || (is_walk && !is_bounded && index != SUPERUSERS) {
            found.push((format!("{kind} {index}"), table.to_owned()));
        }
    }
    for child in step["Plans"].as_array().into_iter().flatten() {
        let is_outer = child["Parent Relationship"] == "Outer";
        let passes = matches!(kind, "Nested Loop" | "Subquery Scan" | "LockRows" | "Gather Merge");
        let is_bounded = kind == "Limit" || (passes && is_outer && is_bounded);
        find_scans(child, is_bounded, found);
    }
}
