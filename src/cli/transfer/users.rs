//! `portcullis user import` and `export`.

use std::io::Write;

use super::bar::Bar;
use super::{Desk, ExportArgs, Failure, ImportArgs, count, export, replacement};
use crate::accounts::transfer::{Step, Summary, UserImport};
use crate::accounts::{Actor, People};
use crate::cli::desk;
use crate::cli::role::warn_of_undefined;

/// Puts a file of accounts in force, or says what is wrong with it.
///
/// # Errors
/// [`Failure`]; nothing has been changed then.
pub(in crate::cli) async fn import_users(
    args: &ImportArgs,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let file = args.read()?;
    let store = desk.open_or_try(&examined.config, args.terms.dry_run).await?;
    let people = desk.people(&examined.config, &store);
    let import = people.examine_users(&file, args.format(&file), args.terms.replace).await?;
    let import = import.map_err(|faults| args.refuse(&faults))?;
    drop(file);
    let roles = desk::database_roles(Some(&store)).await?;
    warn_of_undefined(&import.roles(), &examined.config, &roles)?;
    let planned = told(import.summary(), args.terms.replace);
    if args.terms.dry_run {
        return Ok(writeln!(desk.out, "would be {planned}")?);
    }
    args.confirm(&planned)?;
    put_in_force(&people, import, args.terms.replace, desk).await
}

/// Puts accounts in force and says so.
pub(super) async fn put_in_force(
    people: &People,
    import: UserImport,
    replaces: bool,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let mut bar = Bar::new();
    let progress = |step: Step, done: usize, total: usize| match step {
        Step::Hashing => bar.draw("hashing passwords", done, total),
        Step::Staging => bar.draw("reading accounts in", done, total),
        Step::Committing => bar.draw("putting them in force", done, total),
    };
    let done = people.import_users(import, &Actor::cli(), progress).await;
    drop(bar);
    writeln!(desk.out, "{}", told(done?, replaces))?;
    Ok(())
}

/// What an import did or would do.
pub(super) fn told(summary: Summary, replaces: bool) -> String {
    let Summary { accounts, added, changed, deleted } = summary;
    if replaces {
        return replacement(&count(accounts, "account"), added, changed, deleted);
    }
    format!("imported: {}", count(accounts, "account"))
}

/// Writes every account, hashes included.
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn export_users(
    args: &ExportArgs,
    desk: &mut Desk,
) -> Result<(), Failure> {
    export(args, desk, "account", async |people, to, format| people.export_users(to, format).await)
        .await
}
