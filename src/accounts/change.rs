//! Changing and deleting accounts, one's own and those of others, by pages, JSON and command line alike.
//!
//! What a change ends stands in `store`, where it is one transaction with it.

use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

use super::draft::trim_profile;
use super::people::Chooser;
use super::proof::Proof;
use super::{Accounts, Actor, Mistake, People, SignInError};
use crate::identity::user::{InvalidEmail, Method, Profile, User, fold_email, normalise_email};
use crate::session::{Identity, OpenError};
use crate::store::{
    Author, Changed, Conflict, Flag, StoreError, Superuser, UserChange, WrongPassword,
};

/// What is to be different about an account, as entered: nothing is normalised or checked yet. `None`
/// leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// E-mail.
    pub email: Option<String>,
    /// A new password.
    pub password: Option<SecretString>,
    /// Names and the rest; a blank one removes what is there.
    pub profile: Profile,
    /// May sign in; not one's own to change.
    pub is_active: Option<bool>,
    /// Superuser; not one's own to change.
    pub is_superuser: Option<bool>,
    /// Verified; not one's own to change.
    pub is_verified: Option<bool>,
}

/// Whether people show with their password that it is they who change or delete their account.
#[derive(Debug)]
pub enum Confirmation {
    /// Nothing is asked.
    NotAsked,
    /// The password is asked, and what was given.
    Asked(Option<SecretString>),
    /// Nothing can be given along: the session must be of the last minutes.
    Recent,
}

/// An account whose owner has shown that it is them, as far as that is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmed(Uuid);

impl Confirmed {
    /// Which account.
    pub(super) const fn user(self) -> Uuid {
        self.0
    }
}

/// A change of one's own account.
#[derive(Debug)]
pub struct OwnChange<'a> {
    /// Who is signed in, and by which session: it lives on.
    pub identity: &'a Identity,
    /// The change; flags in it are left out.
    pub change: Change,
    /// Asked when the e-mail or the password is to be another one.
    pub confirmation: Confirmation,
    /// Where from; its name is not looked at.
    pub from: &'a Actor,
}

/// Why an account could not be changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The current password is asked for, and none was given.
    #[error("the current password is needed")]
    Unconfirmed,
    /// The current password is another one.
    #[error("the current password is wrong")]
    WrongPassword,
    /// The account has no password (or none can be given), and its owner signed in too long ago for that
    /// to count.
    #[error("the sign-in is not recent")]
    NotRecent,
    /// Too many wrong passwords, or the hashing queue is full: 429.
    #[error("too many attempts")]
    TooMany(Duration),
    /// There is no such account (any more), or the session that acts has ended.
    #[error("there is no such account")]
    Gone,
    /// What is wrong with the change, or the store failed.
    #[error("{0}")]
    Mistake(#[source] Mistake),
    /// The current password could not be checked.
    #[error("the current password could not be checked")]
    Session(#[source] OpenError),
}

impl From<Mistake> for ChangeError {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::TooMany(after) => Self::TooMany(after),
            Mistake::Conflict(Conflict::Gone) => Self::Gone,
            other @ (Mistake::Email
            | Mistake::Username
            | Mistake::Profile(_)
            | Mistake::Role(_)
            | Mistake::Domain
            | Mistake::Closed
            | Mistake::Password(_)
            | Mistake::Conflict(_)
            | Mistake::Store(_)
            | Mistake::Session(_)) => Self::Mistake(other),
        }
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Mistake::from(error).into()
    }
}

impl From<SignInError> for ChangeError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::BadCredentials | SignInError::NotVerified => Self::WrongPassword,
            SignInError::TooMany(after) => Self::TooMany(after),
            SignInError::Store(error) => error.into(),
            SignInError::Session(error) => Self::Session(error),
        }
    }
}

impl Change {
    /// The change as a row, checked and normalised; it has no hash yet.
    fn row(&self) -> Result<UserChange, Mistake> {
        let read = |text: &String| Ok((normalise_email(text)?, fold_email(text)?));
        let email = self.email.as_ref().map(read).transpose();
        Ok(UserChange {
            email: email.map_err(|InvalidEmail| Mistake::Email)?,
            password_hash: None,
            profile: trim_profile(&self.profile)?,
            is_active: self.is_active,
            is_superuser: self.is_superuser,
            is_verified: self.is_verified,
            telling: None,
        })
    }
}

/// Whether a change makes the e-mail another one, rather than write it otherwise.
fn moves(row: &UserChange, user: &User) -> bool {
    row.email.as_ref().is_some_and(|(_, folded)| **folded != *user.email_folded)
}

impl People {
    /// Changes an account. What that ends is said at [`crate::store::Store::update_user`]. The account
    /// as it is then, and how many letters tell its owner of another e-mail or password.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Email`], [`Conflict::LastSuperuser`], [`Conflict::Gone`].
    pub async fn change(
        &self,
        user: &User,
        change: Change,
        author: Author,
        actor: &Actor,
    ) -> Result<(User, u32), Mistake> {
        let mut row = UserChange { telling: self.telling(actor), ..change.row()? };
        let chooser = match author {
            Author::Operator(_) => Chooser::Operator,
            Author::Owner(_) => {
                row = UserChange { is_active: None, is_superuser: None, is_verified: None, ..row };
                self.check_domain(&row, user)?;
                Chooser::Owner
            }
        };
        if let Some(password) = change.password {
            let judged = row.applied_to(user);
            row.password_hash = Some(self.hash_new(password, &judged, chooser, actor).await?);
        }
        let event = actor.event(self.now(), "update", Some(user.id));
        Ok(self.store().update_user_with_letters(user.id, &row, author, &event).await?)
    }

    /// Whether people may move their own account to another e-mail.
    fn check_domain(&self, row: &UserChange, user: &User) -> Result<(), Mistake> {
        let is_admitted = |(_, folded): &(_, String)| self.rules().admits_email(folded);
        if moves(row, user) && !row.email.as_ref().is_some_and(is_admitted) {
            return Err(Mistake::Domain);
        }
        Ok(())
    }

    /// Sets a new password as an operator: ends every session of the account.
    ///
    /// # Errors
    /// [`Mistake`].
    pub async fn set_password(
        &self,
        user: &User,
        password: SecretString,
        actor: &Actor,
    ) -> Result<(), Mistake> {
        let change = Change { password: Some(password), ..Change::default() };
        self.change(user, change, Author::Operator(None), actor).await.map(drop)
    }

    /// Changes a flag as an operator; switching off `is_active` ends every session.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::LastSuperuser`].
    pub async fn set_flag(&self, id: Uuid, flag: Flag, actor: &Actor) -> Result<(), Mistake> {
        let event = actor.event(self.now(), "update", Some(id));
        let change = flag.into();
        let changed = self.store().update_user(id, &change, Author::Operator(None), &event).await;
        Ok(changed.map(drop)?)
    }

    /// Deletes an account with everything that is its own, as an operator.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::LastSuperuser`]; [`Conflict::Gone`].
    pub async fn delete(&self, id: Uuid, actor: &Actor) -> Result<(), Mistake> {
        self.delete_by(id, Author::Operator(actor.superuser), actor).await
    }

    async fn delete_by(&self, id: Uuid, author: Author, actor: &Actor) -> Result<(), Mistake> {
        let event = actor.event(self.now(), "delete", Some(id));
        Ok(self.store().delete_user(id, author, &event).await?)
    }
}

impl Accounts {
    /// Changes one's own account, in force here at once. The account as it is then.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_own(&self, asked: OwnChange<'_>) -> Result<User, ChangeError> {
        let OwnChange { identity, change, confirmation, from } = asked;
        let user = self.own(identity).await?;
        let is_moved = moves(&change.row()?, &user);
        if is_moved || change.password.is_some() {
            self.confirm_owner((identity, &user), confirmation, from).await?;
        }
        if is_moved {
            // Tells whether an e-mail has an account, as registering does, and counts as that.
            let counted = self.limits.register(from.address);
            counted.map_err(|limited| ChangeError::TooMany(limited.retry_after))?;
        }
        let author = Author::Owner(identity.session().id);
        let actor = Actor { name: user.email.clone(), ..from.clone() };
        let (changed, letters) = self.people.change(&user, change, author, &actor).await?;
        self.sessions.apply(&Changed::User(user.id));
        self.note_letters(letters);
        if is_moved {
            self.send_verification(&changed, from).await;
        }
        Ok(changed)
    }

    /// Changes somebody's account as a superuser, in force here at once. The account as it is then. For
    /// their own it asks and refuses what [`Accounts::change_own`] does: a stolen session of a superuser
    /// is still not the superuser.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_other(
        &self,
        user: &User,
        change: Change,
        (by, confirmation): (&Identity, Confirmation),
        from: &Actor,
    ) -> Result<User, ChangeError> {
        if user.id == by.user().id {
            let row = change.row()?;
            if moves(&row, user) || change.password.is_some() {
                self.confirm_owner((by, user), confirmation, from).await?;
            }
            self.people.check_domain(&row, user)?;
        }
        let actor = acting(by, from);
        let author = Author::Operator(actor.superuser);
        let (changed, letters) = self.people.change(user, change, author, &actor).await?;
        self.sessions.apply(&Changed::User(user.id));
        self.note_letters(letters);
        Ok(changed)
    }

    /// Deletes one's own account with everything that is its own.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn delete_own(
        &self,
        identity: &Identity,
        confirmation: Confirmation,
        from: &Actor,
    ) -> Result<(), ChangeError> {
        let user = self.own(identity).await?;
        self.confirm_owner((identity, &user), confirmation, from).await?;
        let author = Author::Owner(identity.session().id);
        let actor = Actor { name: user.email, ..from.clone() };
        self.people.delete_by(user.id, author, &actor).await?;
        self.sessions.apply(&Changed::User(user.id));
        Ok(())
    }

    /// Deletes an account as a superuser, with everything that is its own.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn delete_other(
        &self,
        id: Uuid,
        by: &Identity,
        from: &Actor,
    ) -> Result<(), ChangeError> {
        self.people.delete(id, &acting(by, from)).await?;
        self.sessions.apply(&Changed::User(id));
        Ok(())
    }

    /// The account of whoever is signed in, as it is stored now.
    async fn own(&self, identity: &Identity) -> Result<User, ChangeError> {
        let found = self.find_user(identity.user().id).await?;
        found.filter(|user| user.is_active).ok_or(ChangeError::Gone)
    }

    /// Has whoever is signed in show that it is them, before an account at a provider is linked or unlinked:
    /// that is another way in, as a password is.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn confirm_own(
        &self,
        identity: &Identity,
        confirmation: Confirmation,
        from: &Actor,
    ) -> Result<Confirmed, ChangeError> {
        let user = self.own(identity).await?;
        self.confirm_owner((identity, &user), confirmation, from).await?;
        Ok(Confirmed(user.id))
    }

    /// Checks the current password, under the limits of signing in. Whoever has none shows that it is them by
    /// having just signed in by a provider.
    async fn confirm_owner(
        &self,
        (identity, user): (&Identity, &User),
        confirmation: Confirmation,
        from: &Actor,
    ) -> Result<(), ChangeError> {
        let password = match confirmation {
            Confirmation::NotAsked => return Ok(()),
            Confirmation::Recent => return self.check_recent(identity, user).await,
            Confirmation::Asked(_) if user.password_hash.is_none() => {
                return self.check_recent(identity, user).await;
            }
            Confirmation::Asked(None) => return Err(ChangeError::Unconfirmed),
            Confirmation::Asked(Some(password)) => password,
        };
        let failed = WrongPassword::Confirmation;
        let proof = Proof { name: &user.email, password, failed };
        self.verify(proof, Some(user.clone()), from).await?;
        Ok(())
    }

    /// Whether a session is so recent that it shows who somebody is. One from a provider that was linked
    /// only just now does not, since whoever holds a session could have linked an account of their own;
    /// unless the account was made by it.
    async fn check_recent(&self, identity: &Identity, user: &User) -> Result<(), ChangeError> {
        let (session, now) = (identity.session(), self.people.now());
        if now.since(session.created_at) >= RECENT {
            return Err(ChangeError::NotRecent);
        }
        match session.method {
            Method::Password if user.password_hash.is_some() => return Ok(()),
            Method::Password => return Err(ChangeError::NotRecent),
            Method::Provider => {}
        }
        let store = self.people.store();
        let loaded = store.find_session(&session.id).await?;
        let origin = loaded.and_then(|loaded| loaded.session.origin);
        let origin = origin.ok_or(ChangeError::NotRecent)?;
        let link = store.find_link(&origin.link).await?;
        let is_old = link.is_some_and(|(link, _)| {
            let is_first = link.linked_at <= user.created_at;
            link.user == user.id && (is_first || now.since(link.linked_at) >= RECENT)
        });
        if is_old { Ok(()) } else { Err(ChangeError::NotRecent) }
    }
}

/// How long ago a sign-in still shows who somebody is.
const RECENT: Duration = Duration::from_mins(5);

pub(super) fn acting(by: &Identity, from: &Actor) -> Actor {
    let user = by.user();
    let superuser = Superuser { account: user.id, session: by.session().id };
    Actor { name: user.email.to_string(), superuser: Some(superuser), ..from.clone() }
}
