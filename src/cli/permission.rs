//! `portcullis permission`: every permission that is known by name.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::{self, Desk};
use super::failure::Failure;
use super::output::Table;
use crate::config::Config;
use crate::identity::grant::Grant;
use crate::policy::declared_grants;
use crate::store::RoleRow;

/// What to do with permissions.
#[derive(Subcommand, Debug)]
pub(super) enum PermissionCommand {
    /// List permissions that rules name or roles give, and the roles that give them
    List(ListArgs),
}

/// `permission list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A permission as `--json` shows it.
#[derive(Debug, Serialize)]
struct PermissionView {
    permission: String,
    /// Whether a rule names it.
    asked_for: bool,
    /// Roles that give it, by name or by a wildcard.
    given_by: Vec<String>,
}

/// Runs a `permission` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &PermissionCommand, desk: &mut Desk) -> Result<(), Failure> {
    let PermissionCommand::List(args) = command;
    let examined = desk.examine()?;
    let store = desk.open_to_read(&examined.config).await?;
    let rows = desk::database_roles(store.as_ref()).await?;
    let roles = roles(&examined.config, &rows);
    let permissions = views(examined.policy.named_permissions(), &roles);
    if args.json {
        return Ok(desk.out.json(&permissions)?);
    }
    let mut table = Table::new(&["PERMISSION", "ASKED FOR", "GIVEN BY"]);
    for view in &permissions {
        table.row(vec![
            view.permission.clone(),
            super::output::yes_or_no(view.asked_for),
            view.given_by.join(", "),
        ]);
    }
    Ok(table.write(&mut desk.out)?)
}

/// What each role gives, the file's before the database's of the same name.
fn roles(config: &Config, rows: &[RoleRow]) -> BTreeMap<String, Vec<Grant>> {
    let mut roles: BTreeMap<String, Vec<Grant>> =
        rows.iter().map(|row| (row.name.clone(), row.grants.clone())).collect();
    roles.extend(declared_grants(config));
    roles
}

fn views(named: &[Grant], roles: &BTreeMap<String, Vec<Grant>>) -> Vec<PermissionView> {
    let mut known: Vec<&Grant> = named.iter().chain(roles.values().flatten()).collect();
    known.retain(|grant| !grant.is_wildcard());
    known.sort();
    known.dedup();
    let gives = |grants: &[Grant], known: &Grant| grants.iter().any(|grant| grant.covers(known));
    known
        .into_iter()
        .map(|permission| PermissionView {
            permission: permission.to_string(),
            asked_for: named.contains(permission),
            given_by: roles
                .iter()
                .filter(|(_, grants)| gives(grants, permission))
                .map(|(name, _)| name.clone())
                .collect(),
        })
        .collect()
}
