//! A file of roles: what it would do, doing it, and writing one.

use std::collections::{BTreeMap, HashMap};
use std::io;

use serde::{Deserialize, Serialize};

use super::people::ExportError;
use super::read::{Cell, Columns, Faults, Format, Writer, read};
use crate::accounts::draft::{Actor, Mistake};
use crate::accounts::people::People;
use crate::identity::grant::{Grant, is_role_name};
use crate::store::RoleRow;

/// Characters of a description at most.
pub const MAX_DESCRIPTION: usize = 200;

const COLUMNS: &Columns =
    &[("name", Cell::Text), ("description", Cell::Text), ("permissions", Cell::List)];

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    description: Option<String>,
    permissions: Option<Vec<String>>,
}

/// A file of roles without a bad line, compared with the database.
#[derive(Debug)]
pub struct RoleImport {
    roles: Vec<RoleRow>,
    replaces: bool,
    summary: RoleSummary,
}

/// What putting a file of roles in force does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoleSummary {
    /// Roles in the file.
    pub roles: usize,
    /// Of these, such that are new.
    pub added: usize,
    /// Of these, such that exist and become another.
    pub changed: usize,
    /// Roles that are deleted.
    pub deleted: usize,
}

impl std::fmt::Display for RoleSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { roles, added, changed, deleted } = self;
        write!(f, "{roles} roles: {added} added, {changed} changed, {deleted} deleted")
    }
}

impl RoleImport {
    /// What it does.
    #[must_use]
    pub const fn summary(&self) -> RoleSummary {
        self.summary
    }
}

/// A role as it is written somewhere, checked.
pub(super) fn role_of(
    name: &str,
    description: Option<String>,
    permissions: &[String],
) -> Result<RoleRow, String> {
    let name = name.trim().to_owned();
    if !is_role_name(&name) {
        return Err(Mistake::Role(name).to_string());
    }
    let description = description.unwrap_or_default();
    let is_line = !description.chars().any(char::is_control);
    if !is_line || description.chars().count() > MAX_DESCRIPTION {
        return Err(format!("a description is one line of at most {MAX_DESCRIPTION} characters"));
    }
    let grants = permissions.iter().map(|text| {
        Grant::parse(text).map_err(|error| format!("the permission {text:?}: {error}"))
    });
    let mut grants = grants.collect::<Result<Vec<_>, _>>()?;
    grants.sort_by_key(Grant::to_string);
    grants.dedup();
    Ok(RoleRow { name, description, grants })
}

impl People {
    /// Reads a file of roles and says what it would do; changes nothing. Without `replaces` every role
    /// of it must be new. `declared` are the names that the configuration takes.
    ///
    /// # Errors
    /// [`Mistake`] of the store; within, everything that is wrong with the file.
    pub async fn examine_roles(
        &self,
        file: &[u8],
        format: Format,
        declared: &[&str],
        replaces: bool,
    ) -> Result<Result<RoleImport, Faults>, Mistake> {
        let mut faults = Faults::default();
        let records: Vec<(u64, Record)> = read(file, format, COLUMNS, &mut faults);
        let known: BTreeMap<String, RoleRow> = self
            .store()
            .list_roles()
            .await?
            .into_iter()
            .map(|role| (role.name.to_ascii_lowercase(), role))
            .collect();
        let mut summary = RoleSummary::default();
        let mut seen: HashMap<String, u64> = HashMap::new();
        let mut roles = Vec::new();
        for (line, record) in records {
            let Record { name, description, permissions } = record;
            let role = match role_of(&name, description, &permissions.unwrap_or_default()) {
                Ok(role) => role,
                Err(reason) => {
                    faults.note(line, reason);
                    continue;
                }
            };
            let folded = role.name.to_ascii_lowercase();
            if let Some(first) = seen.insert(folded.clone(), line) {
                faults.note(line, format!("line {first} has this role"));
            } else if declared.iter().any(|name| name.eq_ignore_ascii_case(&role.name)) {
                faults.note(line, format!("the role {} is the configuration's", role.name));
            } else if let Some(known) = known.get(&folded) {
                if replaces {
                    summary.changed += usize::from(*known != role);
                } else {
                    faults.note(line, format!("the role {} already exists", known.name));
                }
            } else {
                summary.added += 1;
            }
            roles.push(role);
        }
        summary.roles = roles.len();
        if replaces {
            summary.deleted = known.keys().filter(|name| !seen.contains_key(*name)).count();
        }
        Ok(faults.none_or(RoleImport { roles, replaces, summary }))
    }

    /// Puts a file of roles in force, all of it or, on any error, nothing.
    ///
    /// # Errors
    /// [`Mistake`].
    pub async fn import_roles(
        &self,
        import: RoleImport,
        actor: &Actor,
    ) -> Result<RoleSummary, Mistake> {
        let RoleImport { roles, replaces, summary } = import;
        let kind = if replaces { "roles-replaced" } else { "roles-imported" };
        let mut event = actor.event(self.now(), kind, None);
        event.detail = summary.to_string();
        self.store().insert_roles(&roles, replaces, &event).await?;
        Ok(summary)
    }

    /// Writes every role of the database as a file that [`People::examine_roles`] reads.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn export_roles(
        &self,
        to: &mut dyn io::Write,
        format: Format,
    ) -> Result<usize, ExportError> {
        let roles = self.store().list_roles().await?;
        let mut writer = Writer::new(to, format, COLUMNS)?;
        for role in &roles {
            writer.write(&Record {
                name: role.name.clone(),
                description: Some(role.description.clone()),
                permissions: Some(role.grants.iter().map(Grant::to_string).collect()),
            })?;
        }
        writer.finish()?;
        Ok(roles.len())
    }
}
