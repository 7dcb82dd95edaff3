//! `portcullis import`: accounts of another program's database.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::users::{put_in_force, told};
use super::{Desk, Failure, Terms, refuse};
use crate::accounts::transfer::Meaning;
use crate::cli::desk;
use crate::cli::role::warn_of_undefined;
use crate::config::DatabaseUrl;
use crate::server::examine::Examined;
use crate::store::read_fastapi_users;

/// The variable that names the other database: a password in it is then in no list of processes.
const VARIABLE: &str = "PORTCULLIS_IMPORT_URL";

const URL_HELP: &str =
    "Its database: sqlite:///FILE or postgres://… [default: $PORTCULLIS_IMPORT_URL]";

/// `import`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ForeignArgs {
    /// The program whose database it is
    #[arg(long, value_enum)]
    from: Program,
    #[arg(long, value_name = "URL", help = URL_HELP)]
    url: Option<String>,
    /// A provider's name there and in the configuration here, if they differ; may be repeated
    #[arg(long = "provider", value_name = "THERE=HERE", value_parser = read_pair)]
    providers: Vec<(String, String)>,
    #[command(flatten)]
    terms: Terms,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Program {
    #[value(help = "FastAPI Users with SQLAlchemy")]
    FastapiUsers,
}

fn read_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(there, here)| !there.is_empty() && !here.is_empty());
    let (there, here) = pair.ok_or("expected a name there, =, and a name here")?;
    Ok((there.to_owned(), here.to_owned()))
}

/// Brings another program's accounts along, or says what is wrong with them.
///
/// # Errors
/// [`Failure`]; nothing has been changed then.
pub(in crate::cli) async fn import_foreign(
    args: &ForeignArgs,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let url = args.url.clone().or_else(|| desk.env.get(VARIABLE)).ok_or_else(|| {
        Failure::Usage(format!("say where the database is, by --url or {VARIABLE}"))
    })?;
    let foreign = match args.from {
        Program::FastapiUsers => read_fastapi_users(&address_of(&url)?).await?,
    };
    let table = foreign.table.clone();
    let store = desk.open_or_try(&examined.config, args.terms.dry_run).await?;
    let people = desk.people(&examined.config, &store);
    let meaning = Meaning {
        providers: args.providers.iter().cloned().collect::<BTreeMap<_, _>>(),
        declared: examined.config.roles.keys().cloned().collect(),
        replaces: args.terms.replace,
    };
    let import = people.examine_foreign(foreign, &meaning).await?;
    let import = import.map_err(|faults| refuse(&table, &faults))?;
    let mut roles = desk::database_roles(Some(&store)).await?;
    roles.extend(import.new_roles().iter().cloned());
    warn_of_undefined(&import.roles(), &examined.config, &roles)?;
    warn_of_providers(&import.providers(), &examined)?;
    let new_roles: Vec<_> = import.new_roles().iter().map(|role| role.name.clone()).collect();
    let planned = told(import.summary(), args.terms.replace);
    if args.terms.dry_run {
        writeln!(desk.out, "would be {planned}")?;
        return tell_roles(&new_roles, desk);
    }
    args.terms.confirm(&planned, false)?;
    put_in_force(&people, import, args.terms.replace, desk).await?;
    tell_roles(&new_roles, desk)
}

fn tell_roles(names: &[String], desk: &mut Desk) -> Result<(), Failure> {
    if !names.is_empty() {
        writeln!(desk.out, "with the roles {}", names.join(", "))?;
    }
    Ok(())
}

/// Accounts at a provider that the configuration does not name are of no use.
fn warn_of_providers(names: &[String], examined: &Examined) -> Result<(), Failure> {
    for name in names.iter().filter(|name| examined.config.provider(name).is_none()) {
        writeln!(
            io::stderr().lock(),
            "warning: the configuration has no provider `{name}`: nobody signs in by it"
        )?;
    }
    Ok(())
}

/// Reads a database's address as `SQLAlchemy` writes it, driver included. It may hold a password, so no
/// message shows any of it.
fn address_of(url: &str) -> Result<DatabaseUrl, Failure> {
    let wrong = || Failure::Usage("--url: expected sqlite:///FILE or postgres://…".to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let kind = scheme.split('+').next().unwrap_or_default();
    match kind {
        "sqlite" => Ok(DatabaseUrl::Sqlite(file_of(rest).ok_or_else(wrong)?)),
        "postgres" | "postgresql" => Ok(DatabaseUrl::Postgres(format!("postgres://{rest}").into())),
        _ => Err(wrong()),
    }
}

/// The file of `sqlite://` and this. Behind a third slash `SQLAlchemy` means a relative path, and others an
/// absolute one: it is the one that is there.
fn file_of(rest: &str) -> Option<PathBuf> {
    let path = rest.split('?').next().unwrap_or_default();
    let relative = path.strip_prefix('/').unwrap_or(path);
    let absolute = Path::new(path);
    let is_there = absolute.is_absolute() && absolute.is_file() && !Path::new(relative).exists();
    let found = if is_there { path } else { relative };
    Some(PathBuf::from(found)).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn an_address_is_read_as_sqlalchemy_writes_it() {
        for (url, path) in [
            ("sqlite:///./test.db", "./test.db"),
            ("sqlite+aiosqlite:///test.db", "test.db"),
            ("sqlite:////var/lib/test.db", "/var/lib/test.db"),
            ("sqlite://test.db", "test.db"),
            ("sqlite:///test.db?timeout=5", "test.db"),
        ] {
            let found = address_of(url).ok();
            let is_it = matches!(&found, Some(DatabaseUrl::Sqlite(at)) if at == Path::new(path));
            assert!(is_it, "{url}: {found:?}");
        }
        let directory = tempfile::tempdir().ok();
        let file = directory.as_ref().map(|at| at.path().join("test.db"));
        let made = file.as_ref().is_some_and(|file| std::fs::write(file, "").is_ok());
        let written = file.as_ref().map(|file| format!("sqlite://{}", file.display()));
        let found = written.and_then(|url| address_of(&url).ok());
        let is_it =
            matches!((&found, &file), (Some(DatabaseUrl::Sqlite(at)), Some(file)) if at == file);
        assert!(made && is_it, "{found:?}");
        for url in ["postgresql+asyncpg://u:p@h/d", "postgres://u:p@h/d", "postgresql://u:p@h/d"] {
            let found = address_of(url).ok();
            let is_it = matches!(&found, Some(DatabaseUrl::Postgres(url)) if url.expose_secret() == "postgres://u:p@h/d");
            assert!(is_it, "{url}");
        }
        for url in ["", "test.db", "mysql://h/d", "sqlite://", "sqlite:///"] {
            assert!(address_of(url).is_err(), "{url}");
        }
    }
}
