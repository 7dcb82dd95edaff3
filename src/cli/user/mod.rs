//! `portcullis user`: people's accounts.

mod change;
mod create;
mod invite;
mod view;

use clap::{Args, Subcommand};

use super::desk::Desk;
use super::failure::Failure;
use super::password::PasswordSource;
use super::transfer::{self, ExportArgs, ImportArgs};
use crate::accounts::{Mistake, People};
use crate::identity::user::User;
use crate::store::Flag;
use crate::telemetry::log::Causes;

/// What to do with accounts.
#[derive(Subcommand, Debug)]
pub(super) enum UserCommand {
    /// Make an account
    Create(CreateArgs),
    /// Make an administrator: a verified superuser with the role admin. Does nothing if the account is
    /// one already, or, without an address, if there is any
    CreateAdmin(CreateAdminArgs),
    /// List accounts
    List(ListArgs),
    /// Show an account with its roles
    Show(ShowArgs),
    /// Set a password, ending every session of the account
    SetPassword(SetPasswordArgs),
    /// Print a link by which the owner of an account sets a new password, good once and for an hour
    ResetLink(WhoArgs),
    /// Invite somebody to make an account with roles: by mail, or by a link that is printed where none is
    /// sent
    Invite(invite::InviteArgs),
    /// Let an account sign in again
    Activate(WhoArgs),
    /// Keep an account from signing in, ending its sessions
    Deactivate(WhoArgs),
    /// Mark the e-mail of an account as verified
    Verify(WhoArgs),
    /// Delete an account
    Delete(WhoArgs),
    /// Grant roles to an account
    Grant(GrantArgs),
    /// Take roles away from an account
    Revoke(RevokeArgs),
    /// Take an account's links to a provider away, with the roles they gave and the sessions that came
    /// from them
    Unlink(UnlinkArgs),
    /// Make the accounts of a file, all of them or none
    Import(ImportArgs),
    /// Write every account, with the hash of its password, as import reads it
    Export(ExportArgs),
}

/// `user create`.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// E-mail of the new account
    email: String,
    #[command(flatten)]
    password: PasswordSource,
    /// Grant a role; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Let the account administer the gateway (grants no role by itself)
    #[arg(long)]
    superuser: bool,
    /// Do not count the e-mail as verified
    #[arg(long)]
    unverified: bool,
    /// Do not let the account sign in yet
    #[arg(long)]
    inactive: bool,
    /// Given name
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// Family name
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// Username, which some applications ask for
    #[arg(long, value_name = "USERNAME")]
    username: Option<String>,
}

/// `user create-admin`.
#[derive(Args, Debug)]
pub(super) struct CreateAdminArgs {
    /// E-mail of the administrator; asked for when left out
    email: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
}

/// `user list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `user show`.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `user set-password`.
#[derive(Args, Debug)]
pub(super) struct SetPasswordArgs {
    #[command(flatten)]
    who: WhoArgs,
    #[command(flatten)]
    password: PasswordSource,
}

/// Names one account.
#[derive(Args, Debug)]
pub(super) struct WhoArgs {
    /// E-mail, username or id of the account
    #[arg(value_name = "EMAIL")]
    who: String,
}

/// `user grant`.
#[derive(Args, Debug)]
pub(super) struct GrantArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Roles to grant
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// The grant ends at this time, such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "for")]
    until: Option<String>,
    /// The grant ends after this long, such as 8h or 30d
    #[arg(long = "for", id = "for", value_name = "DURATION")]
    duration: Option<String>,
}

/// `user revoke`.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Roles to take away
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
}

/// `user unlink`.
#[derive(Args, Debug)]
pub(super) struct UnlinkArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Name of the provider in the configuration
    provider: String,
    /// Do not ask before the last way in goes: without a password and another link nobody can sign in to
    /// the account
    #[arg(long)]
    yes: bool,
}

/// Runs a `user` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &UserCommand, desk: &mut Desk) -> Result<(), Failure> {
    match command {
        UserCommand::Create(args) => create::create(args, desk).await,
        UserCommand::CreateAdmin(args) => create::create_admin(args, desk).await,
        UserCommand::List(args) => view::list(args, desk).await,
        UserCommand::Show(args) => view::show(args, desk).await,
        UserCommand::SetPassword(args) => change::set_password(args, desk).await,
        UserCommand::ResetLink(args) => change::reset_link(args, desk).await,
        UserCommand::Invite(args) => invite::invite(args, desk).await,
        UserCommand::Activate(args) => change::set_flag(args, Flag::Active(true), desk).await,
        UserCommand::Deactivate(args) => change::set_flag(args, Flag::Active(false), desk).await,
        UserCommand::Verify(args) => change::set_flag(args, Flag::Verified, desk).await,
        UserCommand::Delete(args) => change::delete(args, desk).await,
        UserCommand::Grant(args) => change::grant(args, desk).await,
        UserCommand::Revoke(args) => change::revoke(args, desk).await,
        UserCommand::Unlink(args) => change::unlink(args, desk).await,
        UserCommand::Import(args) => transfer::import_users(args, desk).await,
        UserCommand::Export(args) => transfer::export_users(args, desk).await,
    }
}

/// Finds the account a command names.
///
/// # Errors
/// [`Failure::Failed`] when there is none.
pub(super) async fn find(people: &People, who: &str) -> Result<User, Failure> {
    let found = people.find(who).await?;
    found.ok_or_else(|| Failure::Failed(format!("there is no account {who}")))
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::Store(error) => error.into(),
            other @ (Mistake::Email
            | Mistake::Username
            | Mistake::Profile(_)
            | Mistake::Role(_)
            | Mistake::Domain
            | Mistake::Closed
            | Mistake::Password(_)
            | Mistake::TooMany(_)
            | Mistake::Session(_)
            | Mistake::Conflict(_)) => Self::Failed(Causes(&other).to_string()),
        }
    }
}
