//! `portcullis completions`, `man` and `schema`: files for shells, manuals and editors.

use std::io::Write;

use clap::{Arg, Args, Command};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use super::desk::Desk;
use super::failure::Failure;

/// `completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints a completion script.
///
/// # Errors
/// Those of the output.
pub(super) fn completions(
    args: &CompletionsArgs,
    mut command: Command,
    desk: &mut Desk,
) -> Result<(), Failure> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "portcullis", &mut script);
    Ok(desk.out.write_all(&script)?)
}

/// Prints the manual: one page with every command in it.
///
/// # Errors
/// Those of the output.
pub(super) fn man(mut command: Command, desk: &mut Desk) -> Result<(), Failure> {
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(&mut desk.out)?;
    page.render_name_section(&mut desk.out)?;
    page.render_synopsis_section(&mut desk.out)?;
    page.render_options_section(&mut desk.out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    describe_below(&command, &mut roff);
    Ok(roff.to_writer(&mut desk.out)?)
}

fn describe_below(command: &Command, roff: &mut Roff) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        if below.has_subcommands() {
            describe_below(below, roff);
            continue;
        }
        let usage = below.clone().render_usage().to_string();
        roff.control("SS", [usage.trim_start_matches("Usage: ")]);
        roff.text([roman(below.get_about().map(ToString::to_string).unwrap_or_default())]);
        let own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
        for argument in below.get_arguments().filter(own) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            roff.control("TP", []);
            roff.text([bold(argument.to_string())]);
            roff.text([roman(help)]);
        }
    }
}

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// Those of the output.
pub(super) fn schema(desk: &mut Desk) -> Result<(), Failure> {
    Ok(writeln!(desk.out, "{}", crate::config::schema().trim_end())?)
}
