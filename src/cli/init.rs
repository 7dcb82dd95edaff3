//! `portcullis init`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use super::desk::{Desk, LOCAL_FILE};
use super::failure::Failure;

/// The starter configuration: the smallest useful one.
pub(super) const STARTER: &str = include_str!("starter.yaml");

/// Writes the starter configuration where it would be looked for. An existing file stays as it is.
///
/// # Errors
/// [`Failure::Failed`] when the file exists or cannot be written.
pub(super) fn run(desk: &mut Desk) -> Result<(), Failure> {
    let file = desk.named_file().unwrap_or_else(|| PathBuf::from(LOCAL_FILE));
    let refuse = |error: io::Error| {
        Failure::Failed(if error.kind() == io::ErrorKind::AlreadyExists {
            format!("{} exists already and stays as it is", file.display())
        } else {
            format!("cannot write {}: {error}", file.display())
        })
    };
    // create_new: somebody's configuration is never overwritten, not even by a race.
    let mut to = OpenOptions::new().write(true).create_new(true).open(&file).map_err(refuse)?;
    to.write_all(STARTER.as_bytes()).map_err(refuse)?;
    let name = file.display();
    writeln!(desk.out, "wrote {name}")?;
    writeln!(desk.out, "next: name your application in it, then `portcullis serve -c {name}`")?;
    Ok(())
}
