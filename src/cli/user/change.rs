//! Changing accounts.

use std::io::{self, Write};

use secrecy::ExposeSecret;

use super::{GrantArgs, RevokeArgs, SetPasswordArgs, UnlinkArgs, WhoArgs, find};
use crate::accounts::{Actor, LinkKind, Mistake, People};
use crate::cli::desk::{self, Desk};
use crate::cli::failure::Failure;
use crate::cli::output::printable;
use crate::cli::password::ask_openly;
use crate::cli::role::warn_of_undefined;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::identity::user::{RoleGrant, User};
use crate::server::examine::Examined;
use crate::store::{Conflict, Flag, Store, Unlinking};

/// Everything a change needs.
struct Opened {
    examined: Examined,
    store: Store,
    people: People,
    user: User,
}

async fn open(who: &WhoArgs, desk: &Desk) -> Result<Opened, Failure> {
    let examined = desk.examine()?;
    let store = desk.open(&examined.config).await?;
    let people = desk.people(&examined.config, &store);
    let user = find(&people, &who.who).await?;
    Ok(Opened { examined, store, people, user })
}

/// Sets a password.
///
/// # Errors
/// [`Failure`].
pub(super) async fn set_password(args: &SetPasswordArgs, desk: &mut Desk) -> Result<(), Failure> {
    let opened = open(&args.who, desk).await?;
    let password = args.password.read(&opened.user.email)?;
    opened.people.set_password(&opened.user, password, &Actor::cli()).await?;
    writeln!(desk.out, "set the password of {}; every session of it has ended", opened.user.email)?;
    Ok(())
}

/// Prints a link to set a new password: the link alone on standard output, what it is beside it.
///
/// # Errors
/// [`Failure::Failed`] for an account that is not active.
pub(super) async fn reset_link(who: &WhoArgs, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { examined, people, user, .. } = open(who, desk).await?;
    let (kind, config) = (LinkKind::Reset, &examined.config);
    let link = match people.issue_link_as(&user, kind, config, &Actor::cli()).await {
        Err(Mistake::Conflict(Conflict::Gone)) => {
            return Err(Failure::Failed(format!(
                "{} is not active; activate it first",
                printable(&user.email)
            )));
        }
        issued => issued?,
    };
    writeln!(
        io::stderr().lock(),
        "whoever opens this link sets a new password for {}, once, until {}:",
        printable(&user.email),
        link.expires_at
    )?;
    writeln!(desk.out, "{}", link.url.expose_secret())?;
    Ok(())
}

/// Changes a flag.
///
/// # Errors
/// [`Failure`].
pub(super) async fn set_flag(who: &WhoArgs, flag: Flag, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { people, user, .. } = open(who, desk).await?;
    people.set_flag(user.id, flag, &Actor::cli()).await?;
    let email = &user.email;
    match flag {
        Flag::Active(true) => writeln!(desk.out, "activated {email}")?,
        Flag::Active(false) => {
            writeln!(desk.out, "deactivated {email}; every session of it has ended")?;
        }
        Flag::Verified => writeln!(desk.out, "{email} is verified")?,
    }
    Ok(())
}

/// Deletes an account.
///
/// # Errors
/// [`Failure`].
pub(super) async fn delete(who: &WhoArgs, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { people, user, .. } = open(who, desk).await?;
    people.delete(user.id, &Actor::cli()).await?;
    writeln!(desk.out, "deleted {}", user.email)?;
    Ok(())
}

/// Grants roles, for good or until a time.
///
/// # Errors
/// [`Failure`].
pub(super) async fn grant(args: &GrantArgs, desk: &mut Desk) -> Result<(), Failure> {
    let until = end_of(args, desk.clock.now())?;
    let Opened { examined, store, people, user } = open(&args.who, desk).await?;
    for role in &args.roles {
        let grant = RoleGrant { role: role.clone(), until };
        people.grant(user.id, &grant, &Actor::cli()).await?;
        match until {
            None => writeln!(desk.out, "granted {role} to {}", user.email)?,
            Some(end) => writeln!(desk.out, "granted {role} to {} until {end}", user.email)?,
        }
    }
    warn_of_undefined(&args.roles, &examined.config, &desk::database_roles(Some(&store)).await?)
}

/// Takes roles away.
///
/// # Errors
/// [`Failure::Failed`] when one of them was not held (the others are taken all the same).
pub(super) async fn revoke(args: &RevokeArgs, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { people, user, .. } = open(&args.who, desk).await?;
    let mut not_held = Vec::new();
    for role in &args.roles {
        if people.revoke(user.id, role, &Actor::cli()).await? {
            writeln!(desk.out, "took {role} from {}", user.email)?;
        } else {
            not_held.push(role.as_str());
        }
    }
    if not_held.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("{} does not hold {}", user.email, not_held.join(", "))))
}

/// Takes links to a provider away.
///
/// # Errors
/// [`Failure::Failed`] where none is linked, or it is the last way in and nobody says that it is to go.
pub(super) async fn unlink(args: &UnlinkArgs, desk: &mut Desk) -> Result<(), Failure> {
    let Opened { examined, people, user, .. } = open(&args.who, desk).await?;
    let (email, provider) = (printable(&user.email), args.provider.as_str());
    let providers = examined.config.providers.iter();
    let names: Vec<String> = providers.map(|one| one.name.clone()).collect();
    let with =
        |ways_in| Unlinking { user: user.id, provider, subject: None, spared: None, ways_in };
    let ways_in = Some(&*names).filter(|_| !args.yes);
    let was_linked = match people.unlink(&with(ways_in), &Actor::cli()).await {
        Err(Mistake::Conflict(Conflict::LastWayIn)) => {
            confirm_last(&email, provider)?;
            people.unlink(&with(None), &Actor::cli()).await?
        }
        unlinked => unlinked?,
    };
    if !was_linked {
        let provider = printable(provider);
        return Err(Failure::Failed(format!("{email} is not linked to {provider}")));
    }
    writeln!(
        desk.out,
        "unlinked {email} from {provider}; the sessions that came from it have ended"
    )?;
    Ok(())
}

fn confirm_last(email: &str, provider: &str) -> Result<(), Failure> {
    let what = format!("{provider} is the last way in to {email}, which has no password");
    let question = format!("{what}. Unlink? Type yes");
    if ask_openly(&question, &format!("{what}; say --yes to unlink it all the same"))? == "yes" {
        return Ok(());
    }
    Err(Failure::Failed("nothing was changed".to_owned()))
}

fn end_of(args: &GrantArgs, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let end = match (&args.until, &args.duration) {
        (Some(text), _) => Timestamp::parse(text).ok_or_else(|| {
            Failure::Usage(format!("--until {text}: not a time such as 2027-01-31T18:00:00Z"))
        })?,
        (None, Some(text)) => {
            let duration = duration::read(text);
            now.after(duration.map_err(|error| Failure::Usage(format!("--for {text}: {error}")))?)
        }
        (None, None) => return Ok(None),
    };
    if end <= now {
        return Err(Failure::Usage(format!("the grant would end at {end}, which is past")));
    }
    Ok(Some(end))
}
