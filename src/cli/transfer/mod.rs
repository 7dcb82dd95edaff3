//! Moving accounts and roles between files and the database, and copying the database.

mod backup;
mod bar;
mod foreign;
mod roles;
mod users;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::desk::Desk;
use super::failure::Failure;
use super::output::printable;
use super::password::ask_openly;
use crate::accounts::People;
use crate::accounts::transfer::{ExportError, Faults, Format};
use crate::config::{Config, DatabaseUrl};
use crate::store::Migrate;
use crate::store::file::give_to_owner_of;
use crate::telemetry::log::Causes;

pub(super) use backup::{BackupArgs, backup};
pub(super) use foreign::{ForeignArgs, import_foreign};
pub(super) use roles::{export_roles, import_roles};
pub(super) use users::{export_users, import_users};

/// Bytes of a file at most: it is held in memory.
const MAX_FILE: u64 = 1024 * 1024 * 1024;

/// `user import` and `role import`.
#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// JSON lines or CSV; - reads standard input
    file: PathBuf,
    /// How the file is written [default: by its name, else by what it begins with]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    #[command(flatten)]
    terms: Terms,
}

/// Whether a file's name means standard input or output.
fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// How far what is brought along goes.
#[derive(Args, Debug)]
struct Terms {
    /// Say what is wrong and what it would do; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Have the database hold what is brought along and nothing else
    #[arg(long)]
    replace: bool,
    /// Replace without asking
    #[arg(long, requires = "replace")]
    yes: bool,
}

/// `user export` and `role export`.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// File to write, which must not exist yet; standard output when left out or -
    file: Option<PathBuf>,
    /// How to write it [default: by its name, else JSON lines]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum FormatName {
    /// One JSON object a line
    Jsonl,
    /// A line of column names, then one record a line
    Csv,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Jsonl => Self::JsonLines,
            FormatName::Csv => Self::Csv,
        }
    }
}

impl ImportArgs {
    /// The name for messages.
    fn name(&self) -> String {
        if self.is_standard_input() {
            return "standard input".to_owned();
        }
        printable(&self.file.display().to_string())
    }

    fn is_standard_input(&self) -> bool {
        is_standard(&self.file)
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let failed = |error| Failure::Failed(format!("cannot read {}: {error}", self.name()));
        let mut bytes = Vec::new();
        let read = if self.is_standard_input() {
            io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)
        } else {
            let file = File::open(&self.file).map_err(failed)?;
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)
        };
        if read.map_err(failed)? as u64 > MAX_FILE {
            return Err(Failure::Failed(format!("{} is over 1 GiB", self.name())));
        }
        Ok(bytes)
    }

    fn format(&self, bytes: &[u8]) -> Format {
        let named = self.format.map(Format::from);
        named
            .or_else(|| Format::of_name(&self.file.to_string_lossy()))
            .unwrap_or_else(|| Format::of_content(bytes))
    }

    /// Tells everything that is wrong with the file, on standard error.
    fn refuse(&self, faults: &Faults) -> Failure {
        refuse(&self.name(), faults)
    }

    /// Asks before anything is replaced.
    fn confirm(&self, what: &str) -> Result<(), Failure> {
        self.terms.confirm(what, self.is_standard_input())
    }
}

impl Terms {
    /// Asks before anything is replaced. Where standard input is the file, nobody can answer there.
    fn confirm(&self, what: &str, reads_input: bool) -> Result<(), Failure> {
        if self.yes || !self.replace {
            return Ok(());
        }
        let question = format!("{what}. Replace? Type yes");
        let instead = "--replace changes and deletes what is there; say --yes as well";
        if reads_input {
            return Err(Failure::Usage(instead.to_owned()));
        }
        if ask_openly(&question, instead)? == "yes" {
            return Ok(());
        }
        Err(Failure::Failed("nothing was changed".to_owned()))
    }
}

/// Tells everything that is wrong with a file or table, on standard error.
fn refuse(name: &str, faults: &Faults) -> Failure {
    let mut stderr = io::stderr().lock();
    for fault in &faults.told {
        let place = if fault.line == 0 { String::new() } else { format!(":{}", fault.line) };
        // Standard error is the last place to say anything.
        let _ = writeln!(stderr, "{name}{place}: {}", printable(&fault.reason));
    }
    let untold = faults.total - faults.told.len();
    if untold > 0 {
        let _ = writeln!(stderr, "and {untold} more");
    }
    let faults = count(faults.total, "mistake");
    Failure::Failed(format!("{faults} in {name}; nothing was changed"))
}

impl ExportArgs {
    /// The file to write, unless that is standard output.
    fn file(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| !is_standard(file))
    }

    fn format(&self) -> Format {
        let named = self.format.map(Format::from);
        let by_name = || Format::of_name(&self.file()?.to_string_lossy());
        named.or_else(by_name).unwrap_or(Format::JsonLines)
    }
}

/// Makes a file that nobody else may read, with the owner of the database.
fn create(path: &Path, config: &Config) -> Result<File, Failure> {
    let failed = |error| Failure::Failed(format!("cannot make {}: {error}", path.display()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    if let DatabaseUrl::Sqlite(database) = &config.database.url {
        give_to_owner_of(database, &file).map_err(failed)?;
    }
    Ok(file)
}

/// Removes what could not be finished.
fn remove_unfinished<T>(path: &Path, done: Result<T, Failure>) -> Result<T, Failure> {
    if done.is_err() {
        // The error that kept it from being finished is the one to tell.
        let _ = fs::remove_file(path);
    }
    done
}

/// `1 account`, `2 accounts`.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Write(_) => Self::Failed(Causes(&error).to_string()),
        }
    }
}

/// Says what a replacement would do.
fn replacement(what: &str, added: usize, changed: usize, deleted: usize) -> String {
    format!("{what}: {added} added, {changed} changed, {deleted} deleted")
}

/// Writes what `write` finds in the database, a number of `what`, where the command line says.
async fn export(
    args: &ExportArgs,
    desk: &mut Desk,
    what: &str,
    write: impl AsyncFnOnce(&People, &mut dyn Write, Format) -> Result<usize, ExportError>,
) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let store = desk.open_with(&config, Migrate::Never).await?;
    let people = desk.people(&config, &store);
    let written = {
        let mut to = with_target(args, &config, desk)?;
        write(&people, &mut *to, args.format()).await.map_err(Failure::from)
    };
    let Some(path) = args.file() else { return written.map(drop) };
    let written = remove_unfinished(path, written)?;
    writeln!(desk.out, "exported {}", count(written, what))?;
    Ok(())
}

/// Where an export goes: its file, or the command's output.
fn with_target<'d>(
    args: &ExportArgs,
    config: &Config,
    desk: &'d mut Desk,
) -> Result<Box<dyn Write + 'd>, Failure> {
    Ok(match args.file() {
        Some(path) => Box::new(create(path, config)?),
        None => Box::new(&mut desk.out),
    })
}
