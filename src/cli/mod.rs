//! The command line. One file per command or group of commands; each reads the configuration, does
//! its work through the modules below and writes what it was asked for. Kept out: anything a running
//! gateway needs.
//!
//! Exit codes: 0 good, 1 anything else that failed, 2 usage, 69 store or listener unavailable,
//! 78 configuration. Only this module reads the environment.

mod check;
mod demo;
mod desk;
mod environment;
mod event;
mod explain;
mod failure;
mod health;
mod init;
mod invitation;
mod output;
mod password;
mod permission;
mod role;
mod routes;
mod sample;
mod serve;
mod session;
mod shell;
mod transfer;
mod user;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use desk::{Desk, block_on};
use environment::ProcessEnvironment;
use failure::Failure;
use output::Output;

use crate::config::Environment;

const CONFIG_HELP: &str = "Configuration file [default: $PORTCULLIS_CONFIG, ./portcullis.yaml, \
                           /etc/portcullis/portcullis.yaml]";

/// A reverse-proxy authentication gateway: signs people in, decides route by route who may pass, and
/// tells the application who is asking.
#[derive(Parser, Debug)]
#[command(name = "portcullis", version, max_term_width = 100, propagate_version = false)]
struct CommandLine {
    #[arg(short, long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what it does: a configuration, a sample application and three people
    Demo(demo::DemoArgs),
    /// Run the gateway
    Serve,
    /// Say what is wrong with the configuration, what is doubtful and what is public
    Check(check::CheckArgs),
    /// Bring the database up to date with this version
    Migrate,
    /// Write a configuration to start from
    Init,
    /// Ask the running gateway whether it is ready
    Health,
    /// Print the JSON Schema of the configuration
    Schema,
    /// List the routes, the most specific first
    Routes(routes::RoutesArgs),
    /// Say what becomes of a request, and why
    Explain(explain::ExplainArgs),
    /// Manage people's accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manage roles of the database
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// See permissions
    #[command(subcommand)]
    Permission(permission::PermissionCommand),
    /// See invitations and take them back
    #[command(subcommand)]
    Invitation(invitation::InvitationCommand),
    /// See and end sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// See what happened to accounts
    #[command(subcommand)]
    Events(event::EventCommand),
    /// Bring the accounts of another program's database along, all of them or none
    Import(transfer::ForeignArgs),
    /// Copy an SQLite database while the gateway runs
    Backup(transfer::BackupArgs),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Runs a command line, its program's name first, in the process's environment.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_in(Arc::new(ProcessEnvironment), arguments, Box::new(io::stdout()))
}

/// Runs a command line in an environment given, which writes what it was asked for to `out`. It starts
/// a runtime of its own where it waits for the store, so it is not for use on one.
pub fn run_in(
    env: Arc<dyn Environment + Send + Sync>,
    arguments: impl IntoIterator<Item = OsString>,
    out: Box<dyn Write>,
) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let program = arguments.peek().map(|name| name.to_string_lossy().into_owned());
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Nobody reads: nothing to be told.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(failure::USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let program = program.unwrap_or_else(|| "portcullis".to_owned());
    let mut desk = Desk::new(program, line.config, env, Output::new(out));
    let result = dispatch(&line.command, &mut desk);
    let flushed = desk.out.flush().map_err(Failure::from);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(failure) => {
            // Standard error is the last place to say anything.
            let _ = failure.write(&mut io::stderr().lock());
            failure.exit_code()
        }
    }
}

fn dispatch(command: &Command, desk: &mut Desk) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => demo::run(args, desk).map(good),
        Command::Serve => serve::run(desk).map(good),
        Command::Check(args) => check::run(args, desk),
        Command::Migrate => block_on(serve::migrate(desk)).map(good),
        Command::Init => init::run(desk).map(good),
        Command::Health => block_on(health::run(desk)),
        Command::Schema => shell::schema(desk).map(good),
        Command::Routes(args) => routes::run(args, desk).map(good),
        Command::Explain(args) => block_on(explain::run(args, desk)),
        Command::User(command) => block_on(user::run(command, desk)).map(good),
        Command::Role(command) => block_on(role::run(command, desk)).map(good),
        Command::Permission(command) => block_on(permission::run(command, desk)).map(good),
        Command::Invitation(command) => block_on(invitation::run(command, desk)).map(good),
        Command::Session(command) => block_on(session::run(command, desk)).map(good),
        Command::Events(command) => block_on(event::run(command, desk)).map(good),
        Command::Import(args) => block_on(transfer::import_foreign(args, desk)).map(good),
        Command::Backup(args) => block_on(transfer::backup(args, desk)).map(good),
        Command::Completions(args) => {
            shell::completions(args, CommandLine::command(), desk).map(good)
        }
        Command::Man => shell::man(CommandLine::command(), desk).map(good),
    }
}

/// The exit code of a command that has nothing to say by it.
fn good((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
