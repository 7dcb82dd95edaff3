//! `portcullis serve` and `portcullis migrate`: the commands that may change an existing schema.

use std::io::Write;
use std::sync::Arc;

use super::desk::Desk;
use super::failure::Failure;
use crate::server::{self, ServeError, StartError};
use crate::store::Migrate;
use crate::telemetry::log::Causes;

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// [`Failure::Configuration`], and [`Failure::Unavailable`] for a store or listener.
pub(super) fn run(desk: &mut Desk) -> Result<(), Failure> {
    let file = desk.file()?;
    desk.out.flush()?;
    server::serve(&file, Arc::clone(&desk.env)).map_err(|error| match error {
        ServeError::Configuration(diagnostics) => Failure::Configuration(diagnostics),
        ServeError::Start(
            StartError::Store(_) | StartError::Follow(_) | StartError::Listen { .. },
        ) => Failure::Unavailable(Causes(&error).to_string()),
        ServeError::Start(
            StartError::Configuration(_)
            | StartError::Secret(_)
            | StartError::Providers(_)
            | StartError::Carrier(_)
            | StartError::Mail(_)
            | StartError::Thread(_),
        )
        | ServeError::Log(_)
        | ServeError::Process(_) => Failure::failed(&error),
    })
}

/// Brings the schema of the database up to date, making the database if it is missing.
///
/// # Errors
/// [`Failure`].
pub(super) async fn migrate(desk: &mut Desk) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let store = desk.open_with(&config, Migrate::Fully).await?;
    store.close().await;
    writeln!(desk.out, "the database is up to date")?;
    Ok(())
}
