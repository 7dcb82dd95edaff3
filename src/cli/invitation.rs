//! `portcullis invitation`: who is invited, and taking that back. Inviting stands with the accounts.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::Desk;
use super::failure::Failure;
use super::output::{Table, printable};
use crate::accounts::Actor;
use crate::store::Invitation;

/// What to do with invitations.
#[derive(Subcommand, Debug)]
pub(super) enum InvitationCommand {
    /// List open invitations, newest first
    List(ListArgs),
    /// Take an invitation back: its link is worth nothing from then on
    Revoke(RevokeArgs),
}

/// `invitation list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `invitation revoke`.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// E-mail of whoever is invited
    email: String,
}

/// An invitation as `--json` shows it: never its token.
#[derive(Debug, Serialize)]
struct InvitationView {
    id: String,
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
    roles: Vec<String>,
    invited_by: String,
    created_at: String,
    expires_at: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            email: invitation.email,
            first_name: invitation.first_name,
            last_name: invitation.last_name,
            roles: invitation.roles,
            invited_by: invitation.invited_by,
            created_at: invitation.created_at.to_string(),
            expires_at: invitation.expires_at.to_string(),
        }
    }
}

/// Runs an `invitation` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &InvitationCommand, desk: &mut Desk) -> Result<(), Failure> {
    match command {
        InvitationCommand::List(args) => list(args, desk).await,
        InvitationCommand::Revoke(args) => revoke(args, desk).await,
    }
}

async fn list(args: &ListArgs, desk: &mut Desk) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let mut invitations: Vec<InvitationView> = Vec::new();
    if let Some(store) = desk.open_to_read(&config).await? {
        let found = desk.people(&config, &store).list_invitations(args.limit).await?;
        invitations.extend(found.into_iter().map(InvitationView::from));
    }
    if args.json {
        return Ok(desk.out.json(&invitations)?);
    }
    let mut table = Table::new(&["E-MAIL", "ROLES", "BY", "INVITED", "ENDS"]);
    for invitation in invitations {
        let InvitationView { email, roles, invited_by, created_at, expires_at, .. } = invitation;
        table.row(vec![email, roles.join(", "), invited_by, created_at, expires_at]);
    }
    Ok(table.write(&mut desk.out)?)
}

async fn revoke(args: &RevokeArgs, desk: &mut Desk) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let store = desk.open(&config).await?;
    let people = desk.people(&config, &store);
    let missing =
        || Failure::Failed(format!("{} has no open invitation", printable(args.email.trim())));
    let invitation = people.find_invitation(&args.email).await?.ok_or_else(missing)?;
    if !people.revoke_invitation(invitation.id, &Actor::cli()).await? {
        return Err(missing());
    }
    Ok(writeln!(desk.out, "took back the invitation of {}", printable(&invitation.email))?)
}
