//! Inviting people.

use std::io::{self, Write};

use clap::Args;
use secrecy::ExposeSecret;

use crate::accounts::{Actor, Guest, Mistake, Way};
use crate::cli::desk::{self, Desk};
use crate::cli::failure::Failure;
use crate::cli::output::printable;
use crate::cli::role::warn_of_undefined;
use crate::store::Conflict;
use crate::web::language::Language;

/// `user invite`.
#[derive(Args, Debug)]
pub(in crate::cli) struct InviteArgs {
    /// E-mail of whoever is to make an account
    email: String,
    /// Grant a role to the account; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Given name to begin with
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// Family name to begin with
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// Language of the letter, such as de
    #[arg(long, value_name = "CODE", default_value = "en", value_parser = read_language)]
    language: Language,
}

fn read_language(code: &str) -> Result<Language, String> {
    Language::parse(code).ok_or_else(|| "not the code of a language".to_owned())
}

/// Invites somebody: by mail where the configuration sends any, else by a link that is printed.
///
/// # Errors
/// [`Failure::Failed`] where nobody may register, or there is an account with this e-mail.
pub(super) async fn invite(args: &InviteArgs, desk: &mut Desk) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let config = &examined.config;
    if !config.portal.pages.languages().contains(&args.language) {
        return Err(Failure::Usage(format!("--language {}: no such texts", args.language.code())));
    }
    let store = desk.open(config).await?;
    let people = desk.people(config, &store);
    let guest = Guest {
        email: args.email.clone(),
        first_name: args.first_name.clone(),
        last_name: args.last_name.clone(),
        roles: args.roles.clone(),
    };
    let way = if config.mail.is_some() { Way::Mail(args.language) } else { Way::Hand };
    let invitation = match people.invite(guest, way, &Actor::cli()).await {
        Err(Mistake::Closed) => {
            return Err(Failure::Failed(
                "registration is closed: set `accounts.registration` to `invite`".to_owned(),
            ));
        }
        invited => invited?,
    };
    let invitation = invitation.ok_or_else(|| {
        Failure::Failed("the outbox is full: look why mail does not go out".to_owned())
    })?;
    warn_of_undefined(&args.roles, config, &desk::database_roles(Some(&store)).await?)?;
    let (email, end) = (printable(&invitation.email), invitation.expires_at);
    match way {
        Way::Mail(_) => {
            writeln!(desk.out, "invited {email} until {end}; the gateway mails the link")?;
        }
        Way::Hand => {
            let link = people.invitation_link(&invitation, config).await?;
            // Taken back in between, as an account that is gone.
            let link = link.ok_or(Mistake::Conflict(Conflict::Gone))?;
            writeln!(
                io::stderr().lock(),
                "whoever opens this link makes the account of {email}, once, until {end}:"
            )?;
            writeln!(desk.out, "{}", link.url.expose_secret())?;
        }
    }
    Ok(())
}
