//! A million rows in each table that grows with use, made by the databases themselves, in the order
//! in which the rows of a real one come.

use super::Backend;

const MILLION: u32 = 1_000_000;

/// How many rows of a table, and the statement that makes them from `FROM counted`, a table of the
/// numbers from one.
pub(super) fn statements(backend: Backend) -> Vec<String> {
    let id = |bytes: usize| match backend {
        Backend::Sqlite => format!("CAST(printf('%0{bytes}d', i) AS BLOB)"),
        Backend::Postgres => format!("decode(lpad(i::text, {}, '0'), 'hex')", 2 * bytes),
    };
    let (user, digest) = (id(16), id(32));
    let number = match backend {
        Backend::Sqlite => "printf('%07d', i)",
        Backend::Postgres => "lpad(i::text, 7, '0')",
    };
    let mail = format!("'person' || {number} || '@example.com'");
    let at = "1799000000000000 + i * 1000000";
    let tables = [
        (
            MILLION,
            "users (id, email, email_folded, password_hash, password_kind, is_active, is_superuser, \
             is_verified, created_at)",
            format!("{user}, {mail}, {mail}, 'x', 'kind', TRUE, i % 100000 = 0, TRUE, {at}"),
        ),
        (
            MILLION,
            "sessions (id, user_id, method, kind, created_at, last_seen, idle, expires_at, address, \
             network, agent, provider, provider_subject, provider_session)",
            format!(
                "{digest}, {user}, 'password', 'cookie', {at}, {at}, 7200000000, {at} + 43200000000, \
                 '10.0.0.1', '10.0.0.1', 'agent', 'corp', {number}, {number}"
            ),
        ),
        (
            MILLION,
            "events (at, kind, user_id, actor, agent, detail)",
            format!("{at}, 'sign-in', {user}, '', 'agent', ''"),
        ),
        (MILLION / 10, "user_roles (user_id, role)", format!("{user}, 'staff'")),
        (
            MILLION / 10,
            "linked_accounts (provider, subject, user_id, linked_at, next_check)",
            format!("'corp', {number}, {user}, {at}, {at}"),
        ),
        (
            MILLION / 10,
            "provider_roles (provider, subject, user_id, role)",
            format!("'corp', {number}, {user}, 'staff'"),
        ),
        (MILLION / 10, "changes (at, kind, subject)", format!("{at}, 'user', {user}")),
        (
            MILLION / 10,
            "tokens (digest, kind, subject, expires_at)",
            format!("{digest}, 'reset', {user}, {at}"),
        ),
    ];
    tables.iter().map(|(rows, table, cells)| statement(backend, *rows, table, cells)).collect()
}

fn statement(backend: Backend, rows: u32, table: &str, cells: &str) -> String {
    match backend {
        Backend::Sqlite => format!(
            "INSERT INTO {table} WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL \
             SELECT i + 1 FROM counted WHERE i < {rows}) SELECT {cells} FROM counted"
        ),
        Backend::Postgres => {
            format!(
                "INSERT INTO {table} SELECT {cells} FROM generate_series(1, {rows}::bigint) AS i"
            )
        }
    }
}
