//! The tables of `fastapi-users-db-sqlalchemy`, and those for roles that its guides add.
//!
//! Their names are what projects have made of them: the library's `user` and `oauth_account`, or the plural.
//! A table or column that is not there is left out; a table without the columns that make it one is refused.

use std::collections::{BTreeMap, HashMap};

use super::{Foreign, ForeignLink, ForeignRole, ForeignUser, Source, StoreError, Tables};

/// Columns of accounts that mean something here; the first ones have to be there.
const USER: [&str; 15] = [
    "id",
    "email",
    "hashed_password",
    "is_active",
    "is_superuser",
    "is_verified",
    "first_name",
    "last_name",
    "organization",
    "department",
    "phone",
    "created_at",
    "last_login",
    "login_count",
    "failed_login_count",
];
const NEEDED: usize = 6;

fn has(tables: &Tables, table: &str, column: &str) -> bool {
    tables.get(table).is_some_and(|columns| columns.iter().any(|name| name == column))
}

/// The first table of these names that has these columns; `None` where no table has such a name.
///
/// # Errors
/// [`StoreError::Schema`] where those that are there lack columns: what they hold would be lost without a word.
fn find<'n>(
    tables: &Tables,
    names: &[&'n str],
    columns: &[&str],
) -> Result<Option<&'n str>, StoreError> {
    let mut unreadable = None;
    for name in names.iter().filter(|name| tables.contains_key(**name)) {
        let missing = columns.iter().filter(|column| !has(tables, name, column));
        let missing: Vec<&str> = missing.copied().collect();
        if missing.is_empty() {
            return Ok(Some(name));
        }
        unreadable.get_or_insert_with(|| {
            let missing = missing.join(", ");
            StoreError::Schema(format!("the table {name} of that database lacks {missing}"))
        });
    }
    unreadable.map_or(Ok(None), Err)
}

/// The first `needed` of these columns, and the others where the table has all of them.
fn present<'c>(
    tables: &Tables,
    table: &str,
    columns: &'c [&'c str],
    needed: usize,
) -> &'c [&'c str] {
    let (first, others) = columns.split_at(needed);
    if others.iter().all(|column| has(tables, table, column)) { columns } else { first }
}

/// An id in one spelling: a UUID without dashes, in lower case; anything else as it is.
fn key(text: &str) -> String {
    let plain: String = text.strip_prefix("\\x").unwrap_or(text).replace('-', "");
    let is_uuid = plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_uuid { plain.to_ascii_lowercase() } else { text.to_owned() }
}

pub(super) async fn read(source: &mut Source) -> Result<Foreign, StoreError> {
    let tables = source.tables().await?;
    let Some(table) = find(&tables, &["user", "users"], &USER[..NEEDED])? else {
        return Err(StoreError::Schema("that database has no table user or users".to_owned()));
    };
    let present: Vec<&'static str> =
        USER.into_iter().filter(|name| has(&tables, table, name)).collect();
    let mut found = Foreign { table: table.to_owned(), ..Foreign::default() };
    let mut by_id = HashMap::new();
    for row in source.columns(table, &present).await? {
        let cells = present.iter().zip(row).filter_map(|(name, cell)| Some((*name, cell?)));
        let mut columns: BTreeMap<&'static str, String> = cells.collect();
        if let Some(id) = columns.get_mut("id") {
            *id = key(id);
            by_id.insert(id.clone(), found.users.len());
        }
        found.users.push(ForeignUser { columns, ..ForeignUser::default() });
    }
    read_links(source, &tables, &by_id, &mut found).await?;
    read_roles(source, &tables, &by_id, &mut found).await?;
    Ok(found)
}

async fn read_links(
    source: &mut Source,
    tables: &Tables,
    by_id: &HashMap<String, usize>,
    found: &mut Foreign,
) -> Result<(), StoreError> {
    let columns = ["user_id", "oauth_name", "account_id", "account_email"];
    let Some(table) = find(tables, &["oauth_account", "oauth_accounts"], &columns[..3])? else {
        return Ok(());
    };
    for user in &mut found.users {
        user.links = Some(Vec::new());
    }
    for row in source.columns(table, present(tables, table, &columns, 3)).await? {
        let [Some(user), Some(provider), Some(subject), email @ ..] = row.as_slice() else {
            continue;
        };
        let Some(user) = by_id.get(&key(user)).and_then(|at| found.users.get_mut(*at)) else {
            continue;
        };
        let (provider, subject) = (provider.clone(), subject.clone());
        let email = email.first().cloned().flatten();
        user.links.get_or_insert_default().push(ForeignLink { provider, subject, email });
    }
    Ok(())
}

async fn read_roles(
    source: &mut Source,
    tables: &Tables,
    by_id: &HashMap<String, usize>,
    found: &mut Foreign,
) -> Result<(), StoreError> {
    let columns = ["id", "name", "description"];
    let Some(table) = find(tables, &["roles", "role"], &columns[..2])? else { return Ok(()) };
    let mut roles: HashMap<String, usize> = HashMap::new();
    for row in source.columns(table, present(tables, table, &columns, 2)).await? {
        let [Some(id), Some(name), description @ ..] = row.as_slice() else { continue };
        roles.insert(key(id), found.roles.len());
        let description = description.first().cloned().flatten();
        let name = name.clone();
        found.roles.push(ForeignRole { name, description, permissions: Vec::new() });
    }
    let granted = ["user_id", "role_id"];
    if let Some(table) = find(tables, &["user_roles", "user_role"], &granted)? {
        for row in source.columns(table, &granted).await? {
            let [Some(user), Some(role)] = row.as_slice() else { continue };
            let role = roles.get(&key(role)).and_then(|at| found.roles.get(*at));
            let user = by_id.get(&key(user)).and_then(|at| found.users.get_mut(*at));
            if let (Some(user), Some(role)) = (user, role) {
                user.roles.push(role.name.clone());
            }
        }
    }
    read_permissions(source, tables, &roles, found).await
}

async fn read_permissions(
    source: &mut Source,
    tables: &Tables,
    roles: &HashMap<String, usize>,
    found: &mut Foreign,
) -> Result<(), StoreError> {
    let columns = ["id", "name", "resource", "action"];
    let held = ["role_id", "permission_id"];
    let permissions = find(tables, &["permissions", "permission"], &columns[..2])?;
    let links = find(tables, &["role_permissions", "role_permission"], &held)?;
    let (Some(permissions), Some(links)) = (permissions, links) else { return Ok(()) };
    let mut names = HashMap::new();
    for row in source.columns(permissions, present(tables, permissions, &columns, 2)).await? {
        let [Some(id), Some(name), parts @ ..] = row.as_slice() else { continue };
        // The guide looks for the name, which is made of both; where it is not, both are.
        let name = match parts {
            [Some(resource), Some(action)] if !name.contains(':') => format!("{resource}:{action}"),
            _ => name.clone(),
        };
        names.insert(key(id), name);
    }
    for row in source.columns(links, &held).await? {
        let [Some(role), Some(permission)] = row.as_slice() else { continue };
        let role = roles.get(&key(role)).and_then(|at| found.roles.get_mut(*at));
        if let (Some(role), Some(permission)) = (role, names.get(&key(permission))) {
            role.permissions.push(permission.clone());
        }
    }
    Ok(())
}
