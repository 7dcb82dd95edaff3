//! Making accounts.

use std::io::Write;

use super::{CreateAdminArgs, CreateArgs};
use crate::accounts::{Actor, Draft, Mistake, People};
use crate::cli::desk::{self, Desk};
use crate::cli::failure::Failure;
use crate::cli::password::ask_openly;
use crate::cli::role::warn_of_undefined;
use crate::identity::user::{Profile, normalise_email};
use crate::store::Conflict;

/// Makes an account.
///
/// # Errors
/// [`Failure`].
pub(super) async fn create(args: &CreateArgs, desk: &mut Desk) -> Result<(), Failure> {
    // Refused before a password is asked for.
    normalise_email(&args.email).map_err(|error| Failure::Failed(error.to_string()))?;
    let examined = desk.examine()?;
    let store = desk.open(&examined.config).await?;
    let people = desk.people(&examined.config, &store);
    if people.find(&args.email).await?.is_some() {
        return Err(Mistake::Conflict(Conflict::Email).into());
    }
    let draft = Draft {
        email: args.email.clone(),
        password: Some(args.password.read(&args.email)?),
        username: args.username.clone(),
        profile: Profile {
            first_name: args.first_name.clone(),
            last_name: args.last_name.clone(),
            ..Profile::default()
        },
        is_superuser: args.superuser,
        is_verified: !args.unverified,
        is_active: !args.inactive,
        roles: args.roles.clone(),
    };
    let user = people.create(draft, &Actor::cli()).await?;
    warn_of_undefined(&args.roles, &examined.config, &desk::database_roles(Some(&store)).await?)?;
    writeln!(desk.out, "created {} ({})", user.email, user.id)?;
    Ok(())
}

/// Makes an administrator, or says that there is one.
///
/// # Errors
/// [`Failure`]; an account of that e-mail that is no superuser is not made one.
pub(super) async fn create_admin(args: &CreateAdminArgs, desk: &mut Desk) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let store = desk.open(&examined.config).await?;
    let people = desk.people(&examined.config, &store);
    let email = match &args.email {
        Some(email) => email.clone(),
        None if store.has_superuser().await? => {
            writeln!(desk.out, "an administrator already exists")?;
            return Ok(());
        }
        None => ask_openly("E-mail of the administrator", "name the administrator's e-mail")?,
    };
    normalise_email(&email).map_err(|error| Failure::Failed(error.to_string()))?;
    if already_exists(&email, &people, desk).await? {
        return Ok(());
    }
    let password = args.password.read(&email)?;
    match people.create(Draft::administrator(email.clone(), password), &Actor::cli()).await {
        Ok(user) => writeln!(desk.out, "created the administrator {} ({})", user.email, user.id)?,
        // Made by somebody else in the meantime, which is as good if it is an administrator.
        Err(Mistake::Conflict(Conflict::Email)) => {
            already_exists(&email, &people, desk).await?;
        }
        Err(other) => return Err(other.into()),
    }
    Ok(())
}

async fn already_exists(email: &str, people: &People, desk: &mut Desk) -> Result<bool, Failure> {
    let Some(user) = people.find(email).await? else { return Ok(false) };
    if !user.is_superuser {
        return Err(Failure::Failed(format!(
            "{} exists and is no superuser; delete the account or choose another e-mail",
            user.email
        )));
    }
    writeln!(desk.out, "{} already exists", user.email)?;
    Ok(true)
}
