//! Registering: who may make an account for themselves, and what it begins with.

use secrecy::SecretString;
use uuid::Uuid;

use super::people::Chooser;
use super::{Accounts, Actor, Draft, Mistake, People};
use crate::config::Registration as Policy;
use crate::identity::user::{Profile, User, fold_email};
use crate::mail::{AskError, MOST_LETTERS};
use crate::store::{Conflict, Event, LetterKind, NewUser};
use crate::telemetry::log::Causes;
use crate::web::language::Language;

/// An account that somebody makes for themselves, as entered: nothing is normalised or checked yet.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// E-mail.
    pub email: String,
    /// The password.
    pub password: SecretString,
    /// Names and the rest; blank fields count as absent.
    pub profile: Profile,
}

impl People {
    /// Whether anybody may make an account for themselves, so that it is of use to ask them for
    /// anything.
    #[must_use]
    pub fn is_registration_open(&self) -> bool {
        match self.rules().registration {
            Policy::Open => true,
            Policy::Closed | Policy::Invite => false,
        }
    }

    /// The account of whoever asks and may: active, not verified, with the default roles; and the event of
    /// making it. The policy for passwords comes before existence.
    ///
    /// # Errors
    /// [`Mistake`]: [`Mistake::Domain`], [`Mistake::Password`].
    async fn prepare_registered(
        &self,
        asked: Registration,
        actor: &Actor,
    ) -> Result<(Uuid, NewUser, Event), Mistake> {
        let rules = self.rules().clone();
        let folded = fold_email(&asked.email).map_err(|_| Mistake::Email)?;
        if !rules.admits_email(&folded) {
            return Err(Mistake::Domain);
        }
        let draft = Draft {
            email: asked.email,
            password: Some(asked.password),
            profile: asked.profile,
            is_active: true,
            roles: rules.default_roles.clone(),
            ..Draft::default()
        };
        let (id, row) = self.prepare(draft, Chooser::Owner, actor).await?;
        let mut event = actor.event(self.now(), "register", Some(id));
        event.actor.clone_from(&row.email);
        Ok((id, row, event))
    }
}

impl Accounts {
    /// Makes an account for whoever asks, together with the letter that verifies its e-mail.
    ///
    /// # Errors
    /// [`Mistake`]: [`Mistake::Closed`], [`Mistake::Domain`], [`Mistake::Password`], and
    /// [`Conflict::Email`] when taken.
    pub async fn register(&self, asked: Registration, from: &Actor) -> Result<User, Mistake> {
        if !self.people.is_registration_open() {
            return Err(Mistake::Closed);
        }
        let limited = self.limits.register(from.address);
        limited.map_err(|limited| Mistake::TooMany(limited.retry_after))?;
        let (id, row, event) = self.people.prepare_registered(asked, from).await?;
        let user = self.insert_registered(id, &row, from.language, &event).await?;
        let people = self.people.clone();
        tokio::spawn(async move { people.measure_new_kinds().await });
        Ok(user)
    }

    /// Adds the account and its letter, both or neither. An account whose letter may not be sent now is
    /// made all the same, as one that is there already is told nothing of it either.
    async fn insert_registered(
        &self,
        id: Uuid,
        row: &NewUser,
        language: Language,
        event: &Event,
    ) -> Result<User, Mistake> {
        let counted = self.outbox.as_ref().and_then(|outbox| {
            let kind = LetterKind::Verify;
            outbox.count(kind, &row.email_folded, language, event.address).ok()
        });
        let letter = counted.as_ref().map(|letter| (letter, MOST_LETTERS));
        let added = self.people.store().insert_user_with_letter(id, row, letter, event).await?;
        match (added, &self.outbox) {
            ((user, true), Some(outbox)) => {
                outbox.note_queued();
                Ok(user)
            }
            ((user, false), Some(_)) => {
                tracing::warn!(user.id = %id, "too many letters wait or were asked for: the one that \
                     verifies an e-mail is not sent");
                Ok(user)
            }
            ((user, _), None) => Ok(user),
        }
    }

    /// As [`Accounts::register`], without telling whether there is such an account already: to somebody who
    /// has one goes the letter that leads to a new password. It is no letter to verify the e-mail: whoever
    /// made the account may be somebody else, who would then know the password of a verified one.
    ///
    /// # Errors
    /// [`Mistake`], but for an e-mail that is taken.
    pub async fn register_unseen(&self, asked: Registration, from: &Actor) -> Result<(), Mistake> {
        let folded = fold_email(&asked.email).map_err(|_| Mistake::Email)?;
        match self.register(asked, from).await {
            Ok(_) => Ok(()),
            Err(Mistake::Conflict(Conflict::Email)) => {
                let Some(outbox) = &self.outbox else { return Ok(()) };
                match outbox.ask(LetterKind::Reset, &folded, from.language, from.address).await {
                    // Too many letters are told to nobody: a new account is told nothing of it either.
                    Ok(()) | Err(AskError::TooMany(_)) => Ok(()),
                    Err(AskError::Store(error)) => Err(error.into()),
                }
            }
            Err(mistake) => Err(mistake),
        }
    }

    /// Asks for the letter that verifies an e-mail just entered. What keeps it from being sent is logged:
    /// the account is as it is, and its owner may ask again.
    pub(super) async fn send_verification(&self, user: &User, from: &Actor) {
        let Some(outbox) = self.outbox.as_ref().filter(|_| !user.is_verified) else { return };
        let (kind, language) = (LetterKind::Verify, from.language);
        match outbox.ask(kind, &user.email_folded, language, from.address).await {
            Ok(()) => {}
            Err(AskError::TooMany(_)) => {
                tracing::warn!(user.id = %user.id, "too many letters were asked for: the one that \
                     verifies an e-mail is not sent");
            }
            Err(error @ AskError::Store(_)) => {
                tracing::warn!(user.id = %user.id, error = %Causes(&error), "the letter that \
                     verifies an e-mail is not sent");
            }
        }
    }
}
