//! `portcullis check`: what is wrong with a configuration, what is doubtful, what is public.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::desk::Desk;
use super::failure::Failure;
use crate::config::{Allow, Config, Route};

/// `check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Exit with 1 when there are warnings
    #[arg(long)]
    strict: bool,
}

/// Checks the configuration: errors and warnings go to standard error, public routes to standard
/// output.
///
/// # Errors
/// [`Failure::Configuration`] with every error.
pub(super) fn run(args: &CheckArgs, desk: &mut Desk) -> Result<ExitCode, Failure> {
    let examined = desk.examine()?;
    let mut stderr = io::stderr().lock();
    for warning in &examined.warnings {
        writeln!(stderr, "warning: {warning}")?;
    }
    list_public(&examined.config, desk)?;
    let warnings = match examined.warnings.len() {
        0 => "no warnings".to_owned(),
        1 => "1 warning".to_owned(),
        n => format!("{n} warnings"),
    };
    writeln!(desk.out, "{}: no errors, {warnings}", desk.file()?.display())?;
    let is_refused = args.strict && !examined.warnings.is_empty();
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn list_public(config: &Config, desk: &mut Desk) -> Result<(), Failure> {
    let public: Vec<&Route> =
        config.routes.iter().filter(|route| matches!(route.allow, Allow::Public)).collect();
    if public.is_empty() {
        writeln!(desk.out, "no route is public")?;
        return Ok(());
    }
    writeln!(desk.out, "public routes, open to everybody:")?;
    for route in public {
        writeln!(desk.out, "  {} -> {}", super::routes::place(route), route.upstream.name)?;
    }
    Ok(())
}
