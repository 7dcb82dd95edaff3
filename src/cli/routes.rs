//! `portcullis routes`: the compiled table, most specific first.

use clap::Args;

use super::desk::Desk;
use super::failure::Failure;
use super::output::Table;
use crate::config::Route;

/// `routes`.
#[derive(Args, Debug)]
pub(super) struct RoutesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists the routes in the order in which they are looked at.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(args: &RoutesArgs, desk: &mut Desk) -> Result<(), Failure> {
    let rows = desk.examine()?.policy.table();
    if args.json {
        return Ok(desk.out.json(&rows)?);
    }
    let mut table = Table::new(&["HOST", "PATH", "METHODS", "UPSTREAM", "ALLOW", "NAME"]);
    for row in rows {
        let methods = if row.methods.is_empty() { "any".to_owned() } else { row.methods.join(",") };
        table.row(vec![row.host, row.path, methods, row.upstream, row.rule, row.name]);
    }
    Ok(table.write(&mut desk.out)?)
}

/// Where a route is: its methods, if it names any, its host, if it names one, and its path.
pub(super) fn place(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    let methods = if methods.is_empty() { String::new() } else { methods.join(",") + " " };
    format!("{methods}{}{}", route.host.as_deref().unwrap_or_default(), route.path)
}
