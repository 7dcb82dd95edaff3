//! Who acts, what is to be made, and what can be wrong with it.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::identity::grant::is_role_name;
use crate::identity::hashing::Busy;
use crate::identity::password::Rejected;
use crate::identity::user::{
    Profile, ProfileField, User, fold_email, is_username, normalise_email,
};
use crate::session::OpenError;
use crate::store::{Conflict, Event, NewUser, StoreError, Superuser};
use crate::web::language::Language;

/// Who acts, from where; it goes into the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// An e-mail, `cli`, or empty.
    pub name: String,
    /// The superuser who acts on something of others.
    pub superuser: Option<Superuser>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// `User-Agent`; cut at 256 characters when written.
    pub agent: String,
    /// What they read: letters about what they do are in it, no event.
    pub language: Language,
}

impl Actor {
    /// The command line.
    #[must_use]
    pub fn cli() -> Self {
        Self { name: "cli".into(), ..Self::default() }
    }
}

/// An account to be made, as entered: nothing is normalised or checked yet.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// E-mail.
    pub email: String,
    /// The password; `None` for an account that cannot sign in with one.
    pub password: Option<SecretString>,
    /// Username.
    pub username: Option<String>,
    /// Names and the rest; blank fields count as absent.
    pub profile: Profile,
    /// Superuser.
    pub is_superuser: bool,
    /// Verified.
    pub is_verified: bool,
    /// May sign in.
    pub is_active: bool,
    /// Roles granted at once, by name; whether anything defines them is the caller's to ask.
    pub roles: Vec<String>,
}

/// Why an account could not be made or changed: what the person may read.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    /// The e-mail is none, or its domain has no dot.
    #[error("not an e-mail address")]
    Email,
    /// The username does not match `[A-Za-z0-9][A-Za-z0-9._-]{0,49}`.
    #[error(
        "a username is 1 to 50 letters, digits, dots, underscores and hyphens, beginning with a letter or digit"
    )]
    Username,
    /// A field of the profile is over 200 characters or holds a control character.
    #[error(
        "the {} is longer than 200 characters or holds a control character", .0.as_str().replace('_', " ")
    )]
    Profile(ProfileField),
    /// The name of a role does not have a role's shape.
    #[error("not a role name: {0}")]
    Role(String),
    /// The e-mail is of a domain that people may not register (`accounts.email_domains`).
    #[error("e-mail addresses of this domain are not admitted here")]
    Domain,
    /// Nobody may make an account for themselves, or nobody without an invitation.
    #[error("registration is closed")]
    Closed,
    /// The password policy refused the password; the reason is for the person.
    #[error("{0}")]
    Password(Rejected),
    /// Too many attempts, or the hashing queue is full: 429.
    #[error("too many attempts")]
    TooMany(Duration),
    /// Another account has it, the last superuser, a spent link, ….
    #[error("{0}")]
    Conflict(Conflict),
    /// The store failed.
    #[error("the account could not be stored")]
    Store(#[source] StoreError),
    /// The first session could not be made.
    #[error("the session could not be made")]
    Session(#[source] OpenError),
}

impl From<OpenError> for Mistake {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Sign(_) | OpenError::Cookie => Self::Session(error),
        }
    }
}

/// When to try again after the hashing queue was full.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);
/// Most characters of a name, organization, department or phone.
const MAX_PROFILE: usize = 200;
/// Most characters of a `User-Agent` that an event keeps.
const MAX_AGENT: usize = 256;

impl Draft {
    /// The first administrator: an active, verified superuser with the role `admin`.
    #[must_use]
    pub fn administrator(email: String, password: SecretString) -> Self {
        Self {
            email,
            password: Some(password),
            is_superuser: true,
            is_verified: true,
            is_active: true,
            roles: vec!["admin".into()],
            ..Self::default()
        }
    }

    /// The draft as a row, checked and normalised; it has no hash yet.
    pub(super) fn row(&self) -> Result<NewUser, Mistake> {
        let email = normalise_email(&self.email).map_err(|_| Mistake::Email)?;
        let email_folded = fold_email(&self.email).map_err(|_| Mistake::Email)?;
        let username = filled(self.username.as_deref());
        if username.as_deref().is_some_and(|name| !is_username(name)) {
            return Err(Mistake::Username);
        }
        if let Some(role) = self.roles.iter().find(|role| !is_role_name(role)) {
            return Err(Mistake::Role(role.clone()));
        }
        Ok(NewUser {
            email,
            email_folded,
            username,
            password_hash: None,
            profile: without_blanks(trim_profile(&self.profile)?),
            is_active: self.is_active,
            is_superuser: self.is_superuser,
            is_verified: self.is_verified,
            roles: self.roles.clone(),
        })
    }
}

/// Trims every field; a blank one becomes a text of nothing.
pub(super) fn trim_profile(profile: &Profile) -> Result<Profile, Mistake> {
    let field = |name, text: &Option<String>| {
        let text = text.as_deref().map(str::trim);
        let is_bad = text
            .is_some_and(|t| t.chars().count() > MAX_PROFILE || t.chars().any(char::is_control));
        if is_bad { Err(Mistake::Profile(name)) } else { Ok(text.map(str::to_owned)) }
    };
    Ok(Profile {
        first_name: field(ProfileField::FirstName, &profile.first_name)?,
        last_name: field(ProfileField::LastName, &profile.last_name)?,
        organization: field(ProfileField::Organization, &profile.organization)?,
        department: field(ProfileField::Department, &profile.department)?,
        phone: field(ProfileField::Phone, &profile.phone)?,
    })
}

/// A new account's profile: what is blank is absent.
fn without_blanks(profile: Profile) -> Profile {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    Profile {
        first_name: some(profile.first_name),
        last_name: some(profile.last_name),
        organization: some(profile.organization),
        department: some(profile.department),
        phone: some(profile.phone),
    }
}

fn filled(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl From<StoreError> for Mistake {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(conflict) => Self::Conflict(conflict),
            StoreError::Unavailable(_)
            | StoreError::Failed(_)
            | StoreError::Empty
            | StoreError::Schema(_)
            | StoreError::Corrupt(_) => Self::Store(error),
        }
    }
}

impl From<Busy> for Mistake {
    fn from(_: Busy) -> Self {
        Self::TooMany(BUSY_RETRY)
    }
}

impl Actor {
    /// The event of something this actor did, to `user` if it was to somebody.
    #[must_use]
    pub fn event(&self, at: Timestamp, kind: &str, user: Option<Uuid>) -> Event {
        Event {
            at,
            kind: kind.to_owned(),
            user,
            actor: self.name.clone(),
            address: self.address,
            agent: self.short_agent(),
            detail: String::new(),
        }
    }

    /// The agent, cut to what an event keeps.
    pub(super) fn short_agent(&self) -> String {
        self.agent.chars().take(MAX_AGENT).collect()
    }
}

/// The account a draft would become, for the password policy to look at.
pub(super) fn unstored(id: Uuid, row: &NewUser, now: Timestamp) -> User {
    User {
        id,
        email: row.email.clone(),
        email_folded: row.email_folded.as_str().into(),
        username: row.username.clone(),
        password_hash: None,
        profile: row.profile.clone(),
        is_active: row.is_active,
        is_superuser: row.is_superuser,
        is_verified: row.is_verified,
        created_at: now,
        last_login_at: None,
        last_address: None,
        login_count: 0,
        failed_login_count: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_normalised_or_refused() {
        let good = Draft::administrator(" Ann@EXAMPLE.com ".into(), "x".to_owned().into());
        let row = good.row();
        assert!(row.is_ok_and(|row| row.email == "Ann@example.com"
            && row.email_folded == "ann@example.com"
            && row.is_superuser
            && row.is_verified
            && row.is_active
            && row.roles == ["admin"]
            && row.password_hash.is_none()));
        let with = |change: fn(&mut Draft)| {
            let mut draft = good.clone();
            change(&mut draft);
            draft.row()
        };
        assert!(matches!(with(|d| d.email = "ann@localhost".into()), Err(Mistake::Email)));
        assert!(matches!(with(|d| d.username = Some("a@b".into())), Err(Mistake::Username)));
        assert!(with(|d| d.username = Some("  ".into())).is_ok_and(|row| row.username.is_none()));
        assert!(matches!(with(|d| d.roles = vec!["a:b".into()]), Err(Mistake::Role(_))));
        let long = |d: &mut Draft| d.profile.phone = Some("1".repeat(201));
        assert!(matches!(with(long), Err(Mistake::Profile(ProfileField::Phone))));
        let control = |d: &mut Draft| d.profile.last_name = Some("a\r\nX-User: b".into());
        assert!(matches!(with(control), Err(Mistake::Profile(ProfileField::LastName))));
        let blank = with(|d| d.profile.first_name = Some(" \t".into()));
        assert!(blank.is_ok_and(|row| row.profile.first_name.is_none()));
    }

    #[test]
    fn an_event_keeps_no_more_than_256_characters_of_an_agent() {
        let actor = Actor { agent: "é".repeat(10_000), ..Actor::cli() };
        let event = actor.event(Timestamp::from_seconds(0), "grant", None);
        assert_eq!(event.agent.chars().count(), 256);
        assert_eq!(event.actor, "cli");
    }
}
