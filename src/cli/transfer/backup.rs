//! `portcullis backup`: a copy of the database while the gateway runs.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Desk, Failure, create, remove_unfinished};
use crate::config::DatabaseUrl;
use crate::store::Migrate;

/// `backup`.
#[derive(Args, Debug)]
pub(in crate::cli) struct BackupArgs {
    /// File to write, which must not exist yet
    file: PathBuf,
}

/// Copies the database as it is at one instant into a new file of mode 0600.
///
/// # Errors
/// [`Failure::Usage`] on PostgreSQL, which has a tool of its own.
pub(in crate::cli) async fn backup(args: &BackupArgs, desk: &mut Desk) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    if let DatabaseUrl::Postgres(_) = &config.database.url {
        return Err(Failure::Usage(
            "`backup` copies an SQLite database; this one is on PostgreSQL, whose tool is pg_dump: \
             `pg_dump --format=custom --file=FILE` with the address of the database"
                .to_owned(),
        ));
    }
    let store = desk.open_with(&config, Migrate::Never).await?;
    let file = create(&args.file, &config)?;
    let copied = store.copy_into(&args.file).await.map_err(Failure::from);
    remove_unfinished(&args.file, copied)?;
    let synced = file.sync_all().map_err(Failure::from);
    remove_unfinished(&args.file, synced)?;
    writeln!(desk.out, "copied the database into {}", args.file.display())?;
    Ok(())
}
