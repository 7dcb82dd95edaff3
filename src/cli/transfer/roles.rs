//! `portcullis role import` and `export`.

use std::io::Write;

use super::{Desk, ExportArgs, Failure, ImportArgs, count, export, replacement};
use crate::accounts::Actor;
use crate::accounts::transfer::RoleSummary;

/// Puts a file of roles in force, or says what is wrong with it.
///
/// # Errors
/// [`Failure`]; nothing has been changed then.
pub(in crate::cli) async fn import_roles(
    args: &ImportArgs,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let file = args.read()?;
    let store = desk.open_or_try(&config, args.terms.dry_run).await?;
    let people = desk.people(&config, &store);
    let declared: Vec<&str> = config.roles.keys().map(String::as_str).collect();
    let format = args.format(&file);
    let import = people.examine_roles(&file, format, &declared, args.terms.replace).await?;
    let import = import.map_err(|faults| args.refuse(&faults))?;
    let planned = told(import.summary(), args.terms.replace);
    if args.terms.dry_run {
        return Ok(writeln!(desk.out, "would be {planned}")?);
    }
    args.confirm(&planned)?;
    people.import_roles(import, &Actor::cli()).await?;
    writeln!(desk.out, "{planned}")?;
    Ok(())
}

fn told(summary: RoleSummary, replaces: bool) -> String {
    let RoleSummary { roles, added, changed, deleted } = summary;
    if replaces {
        return replacement(&count(roles, "role"), added, changed, deleted);
    }
    format!("imported: {}", count(roles, "role"))
}

/// Writes every role of the database.
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn export_roles(
    args: &ExportArgs,
    desk: &mut Desk,
) -> Result<(), Failure> {
    export(args, desk, "role", async |people, to, format| people.export_roles(to, format).await)
        .await
}
