//! `portcullis role`: roles of the database, beside those the file declares.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::{self, Desk};
use super::failure::Failure;
use super::output::{Table, printable};
use super::transfer::{self, ExportArgs, ImportArgs};
use crate::accounts::transfer::MAX_DESCRIPTION;
use crate::config::{Config, nearest};
use crate::identity::grant::{Grant, is_role_name};
use crate::server::examine::Examined;
use crate::store::{RoleRow, Store};

/// What to do with roles.
#[derive(Subcommand, Debug)]
pub(super) enum RoleCommand {
    /// Make a role in the database
    Create(CreateArgs),
    /// List the roles of the file and of the database
    List(ListArgs),
    /// Show a role
    Show(ShowArgs),
    /// Delete a role of the database; grants of it stay and give nothing
    Delete(NameArgs),
    /// Add permissions to a role of the database
    Grant(PermissionArgs),
    /// Take permissions from a role of the database
    Revoke(PermissionArgs),
    /// Make the roles of a file, all of them or none
    Import(ImportArgs),
    /// Write every role of the database as import reads it
    Export(ExportArgs),
}

/// `role create`.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Name of the new role
    name: String,
    /// A permission it gives, such as dashboard:read; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// What the role is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
}

/// `role list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `role show`.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// Name of the role
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Names one role.
#[derive(Args, Debug)]
pub(super) struct NameArgs {
    /// Name of the role
    name: String,
}

/// `role grant` and `role revoke`.
#[derive(Args, Debug)]
pub(super) struct PermissionArgs {
    /// Name of the role
    name: String,
    /// Permissions, such as dashboard:read, users:* or *:read
    #[arg(required = true, value_name = "PERMISSION")]
    permissions: Vec<String>,
}

/// Runs a `role` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &RoleCommand, desk: &mut Desk) -> Result<(), Failure> {
    match command {
        RoleCommand::Create(args) => create(args, desk).await,
        RoleCommand::List(args) => list(args, desk).await,
        RoleCommand::Show(args) => show(args, desk).await,
        RoleCommand::Delete(args) => delete(args, desk).await,
        RoleCommand::Grant(args) => change(args, Change::Grant, desk).await,
        RoleCommand::Revoke(args) => change(args, Change::Revoke, desk).await,
        RoleCommand::Import(args) => transfer::import_roles(args, desk).await,
        RoleCommand::Export(args) => transfer::export_roles(args, desk).await,
    }
}

/// A role as `--json` shows it.
#[derive(Debug, Serialize)]
struct RoleView {
    name: String,
    description: String,
    permissions: Vec<String>,
    /// Where it is defined: `file`, `database` or `built-in`.
    defined_in: &'static str,
    /// The database has a role of this name too, which counts for nothing.
    hides_database_role: bool,
    /// How many people hold it now.
    held_by: i64,
}

impl RoleView {
    fn place(&self) -> String {
        let note = if self.hides_database_role { ", hiding one of the database" } else { "" };
        format!("{}{note}", self.defined_in)
    }
}

fn views(config: &Config, rows: &[RoleRow], held: &BTreeMap<String, i64>) -> Vec<RoleView> {
    let held_by = |name: &str| held.get(name).copied().unwrap_or(0);
    let mut views: BTreeMap<&str, RoleView> = BTreeMap::new();
    for row in rows {
        let view = RoleView {
            name: row.name.clone(),
            description: row.description.clone(),
            permissions: row.grants.iter().map(Grant::to_string).collect(),
            defined_in: "database",
            hides_database_role: false,
            held_by: held_by(&row.name),
        };
        views.insert(&row.name, view);
    }
    for (name, role) in &config.roles {
        let view = RoleView {
            name: name.clone(),
            description: role.description.clone(),
            permissions: role.permissions.clone(),
            defined_in: if role.at.is_some() { "file" } else { "built-in" },
            hides_database_role: views.contains_key(name.as_str()),
            held_by: held_by(name),
        };
        views.insert(name, view);
    }
    views.into_values().collect()
}

async fn read(desk: &Desk) -> Result<Vec<RoleView>, Failure> {
    let examined = desk.examine()?;
    let store = desk.open_to_read(&examined.config).await?;
    let rows = desk::database_roles(store.as_ref()).await?;
    let held = match &store {
        Some(store) => store.count_grants(desk.clock.now()).await?,
        None => BTreeMap::new(),
    };
    Ok(views(&examined.config, &rows, &held))
}

async fn list(args: &ListArgs, desk: &mut Desk) -> Result<(), Failure> {
    let roles = read(desk).await?;
    if args.json {
        return Ok(desk.out.json(&roles)?);
    }
    let mut table = Table::new(&["ROLE", "DEFINED IN", "HELD BY", "PERMISSIONS", "DESCRIPTION"]);
    for role in &roles {
        table.row(vec![
            role.name.clone(),
            role.place(),
            role.held_by.to_string(),
            role.permissions.join(", "),
            role.description.clone(),
        ]);
    }
    Ok(table.write(&mut desk.out)?)
}

async fn show(args: &ShowArgs, desk: &mut Desk) -> Result<(), Failure> {
    let roles = read(desk).await?;
    let Some(role) = roles.iter().find(|role| role.name == args.name) else {
        let names = roles.iter().map(|role| role.name.as_str());
        return Err(Failure::Failed(unknown(&args.name, names)));
    };
    if args.json {
        return Ok(desk.out.json(role)?);
    }
    writeln!(desk.out, "{}", role.name)?;
    if !role.description.is_empty() {
        writeln!(desk.out, "  description   {}", printable(&role.description))?;
    }
    writeln!(desk.out, "  defined in    {}", role.place())?;
    writeln!(desk.out, "  held by       {}", role.held_by)?;
    writeln!(desk.out, "  permissions   {}", none_or(&role.permissions))?;
    Ok(())
}

async fn create(args: &CreateArgs, desk: &mut Desk) -> Result<(), Failure> {
    if !is_role_name(&args.name) {
        return Err(Failure::Failed(format!(
            "{}: a role's name is 1 to 50 letters, digits, spaces, dots, underscores and hyphens, \
             beginning with a letter or digit",
            args.name
        )));
    }
    let is_printable = !args.description.chars().any(char::is_control);
    if args.description.chars().count() > MAX_DESCRIPTION || !is_printable {
        return Err(Failure::Failed(format!(
            "a description is one line of at most {MAX_DESCRIPTION} characters"
        )));
    }
    let grants = parse(&args.permissions)?;
    let Opened { examined, store } = open(desk).await?;
    refuse_declared(&args.name, &examined)?;
    let role = RoleRow { name: args.name.clone(), description: args.description.clone(), grants };
    let event = desk.event("role-created", &args.name);
    store.insert_role(&role, &event).await?;
    writeln!(desk.out, "created the role {}", args.name)?;
    Ok(())
}

async fn delete(args: &NameArgs, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { examined, store } = open(desk).await?;
    let event = desk.event("role-deleted", &args.name);
    // A role that the file hides may go all the same: it counts for nothing.
    if !store.delete_role(&args.name, &event).await? {
        refuse_declared(&args.name, &examined)?;
        return Err(no_such_role(&args.name, &store).await?);
    }
    writeln!(desk.out, "deleted the role {}", args.name)?;
    Ok(())
}

/// What to do with permissions of a role.
#[derive(Clone, Copy)]
enum Change {
    Grant,
    Revoke,
}

async fn change(args: &PermissionArgs, change: Change, desk: &mut Desk) -> Result<(), Failure> {
    let grants = parse(&args.permissions)?;
    let Opened { examined, store } = open(desk).await?;
    refuse_declared(&args.name, &examined)?;
    let detail = format!("{}: {}", args.name, args.permissions.join(", "));
    let (exists, done) = match change {
        Change::Grant => {
            let event = desk.event("role-granted", &detail);
            (store.insert_role_grants(&args.name, &grants, &event).await?, "now gives")
        }
        Change::Revoke => {
            let event = desk.event("role-revoked", &detail);
            (store.delete_role_grants(&args.name, &grants, &event).await?, "no longer gives")
        }
    };
    if !exists {
        return Err(no_such_role(&args.name, &store).await?);
    }
    writeln!(desk.out, "{} {done} {}", args.name, args.permissions.join(", "))?;
    Ok(())
}

struct Opened {
    examined: Examined,
    store: Store,
}

async fn open(desk: &Desk) -> Result<Opened, Failure> {
    let examined = desk.examine()?;
    let store = desk.open(&examined.config).await?;
    Ok(Opened { examined, store })
}

fn parse(permissions: &[String]) -> Result<Vec<Grant>, Failure> {
    let parse = |text: &String| {
        Grant::parse(text).map_err(|error| Failure::Failed(format!("{text}: {error}")))
    };
    permissions.iter().map(parse).collect()
}

/// What the file declares is changed in the file alone; a role of the database that differs from it
/// only in case would be taken for it by people.
fn refuse_declared(name: &str, examined: &Examined) -> Result<(), Failure> {
    let config = &examined.config;
    let Some((declared, role)) =
        config.roles.iter().find(|(declared, _)| declared.eq_ignore_ascii_case(name))
    else {
        return Ok(());
    };
    Err(Failure::Failed(match &role.at {
        Some(at) => {
            let place = config.sources.locate(at);
            format!(
                "the role {declared} is declared in {}:{}; change it there",
                place.file.display(),
                place.line
            )
        }
        None => format!("the role {declared} is built in; declare it in the file to change it"),
    }))
}

async fn no_such_role(name: &str, store: &Store) -> Result<Failure, Failure> {
    let rows = store.list_roles().await?;
    Ok(Failure::Failed(unknown(name, rows.iter().map(|row| row.name.as_str()))))
}

/// Warns, on standard error, of granted roles that nothing defines: they give nothing.
///
/// # Errors
/// Never for the warning's own sake.
pub(super) fn warn_of_undefined(
    granted: &[String],
    config: &Config,
    rows: &[RoleRow],
) -> Result<(), Failure> {
    let defined: Vec<&str> =
        config.roles.keys().map(String::as_str).chain(rows.iter().map(|row| &*row.name)).collect();
    let mut stderr = io::stderr().lock();
    for role in granted.iter().filter(|role| !defined.contains(&role.as_str())) {
        let text = unknown(role, defined.iter().copied());
        writeln!(stderr, "warning: {text}; it gives nothing until one is made")?;
    }
    Ok(())
}

fn unknown<'a>(name: &str, defined: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, defined) {
        Some(near) => format!("there is no role {name} (did you mean {near}?)"),
        None => format!("there is no role {name}"),
    }
}

fn none_or(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_role_is_told_with_the_nearest_one_and_no_far_fetched_one() {
        let defined = ["admin", "analyst", "editor"];
        let cases = [
            ("edtor", "there is no role edtor (did you mean editor?)"),
            ("Admin", "there is no role Admin (did you mean admin?)"),
            ("ops", "there is no role ops"),
        ];
        for (name, expected) in cases {
            assert_eq!(unknown(name, defined.into_iter()), expected);
        }
    }
}
