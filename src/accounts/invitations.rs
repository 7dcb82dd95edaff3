//! Invitations: an operator names an e-mail and roles, and whoever gets the letter makes the account.
//!
//! The link holds a token like that of any other link (`links`): the invitation's id and 32 random bytes,
//! stored as a digest together with the e-mail. E-mail and roles are read from the database when the account
//! is made, never from a request.

use http::HeaderValue;
use secrecy::SecretString;
use uuid::Uuid;

use super::change::acting;
use super::draft::unstored;
use super::links::{Link, digest_with, read_owner, write_token};
use super::people::Chooser;
use super::sign_in::opening_of;
use super::{Accounts, Actor, Draft, Mistake, People, Wanted};
use crate::config::Config;
use crate::identity::user::{Profile, User, fold_email};
use crate::mail::{FULL_RETRY, MOST_LETTERS};
use crate::session::Identity;
use crate::store::{Conflict, Invitation, LetterKind, NewLetter, StoreError};
use crate::web::language::Language;

/// Whom to invite, as entered: nothing is normalised or checked yet.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// E-mail.
    pub email: String,
    /// Given name to begin with.
    pub first_name: Option<String>,
    /// Family name to begin with.
    pub last_name: Option<String>,
    /// Roles that the account begins with.
    pub roles: Vec<String>,
}

/// How an invitation gets to its guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By mail, in a language.
    Mail(Language),
    /// Whoever invites hands the link on: [`People::invitation_link`] makes it.
    Hand,
}

/// What somebody finds who opens the link of an invitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InvitationState {
    /// It is good.
    Live(Box<Invitation>),
    /// There is an account with its e-mail meanwhile.
    Taken,
    /// It is spent, past its end, taken back or made up, or nobody may register.
    Void,
}

/// Why somebody could not be invited by mail.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// No mail is sent here.
    #[error("no mail is sent: the configuration has no `mail`")]
    NoMail,
    /// As [`People::invite`] has it, and [`Mistake::TooMany`] where the outbox is full.
    #[error(transparent)]
    Mistake(#[from] Mistake),
}

/// Accepting an invitation, as entered.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// The password.
    pub password: SecretString,
    /// Names and the rest; blank fields count as absent.
    pub profile: Profile,
}

impl People {
    /// Invites somebody, in place of an earlier invitation of the same e-mail. `None` when the letter finds
    /// no room in the outbox: then nobody is invited.
    ///
    /// # Errors
    /// [`Mistake`]: [`Mistake::Closed`] where nobody may register, and [`Conflict::Email`] where there is an
    /// account with this e-mail.
    pub async fn invite(
        &self,
        guest: Guest,
        way: Way,
        actor: &Actor,
    ) -> Result<Option<Invitation>, Mistake> {
        if !self.may_invite() {
            return Err(Mistake::Closed);
        }
        let Guest { email, first_name, last_name, roles } = guest;
        let profile = Profile { first_name, last_name, ..Profile::default() };
        let row = Draft { email, profile, roles, ..Draft::default() }.row()?;
        let now = self.now();
        let invitation = Invitation {
            id: self.fresh_id(),
            email: row.email,
            email_folded: row.email_folded,
            first_name: row.profile.first_name,
            last_name: row.profile.last_name,
            roles: row.roles,
            invited_by: actor.name.clone(),
            inviter: actor.superuser.map(|by| by.account),
            created_at: now,
            expires_at: now.after(self.rules().invitation_lifetime),
        };
        let mut event = actor.event(now, "invite", None);
        event.detail = told(&invitation);
        let letter = |language| NewLetter {
            kind: LetterKind::Invite,
            recipient: &invitation.email_folded,
            language,
            queued_at: now,
        };
        let letter = match way {
            Way::Mail(language) => Some(letter(language)),
            Way::Hand => None,
        };
        let letter = letter.as_ref().map(|letter| (letter, MOST_LETTERS));
        let (store, by) = (self.store(), actor.superuser);
        let is_added = store.insert_invitation(&invitation, by, letter, &event).await?;
        Ok(is_added.then_some(invitation))
    }

    /// Whether an invitation would lead to an account.
    #[must_use]
    pub fn may_invite(&self) -> bool {
        self.rules().admits_guests()
    }

    /// Makes a link for an invitation, in place of every earlier one; `None` when the invitation is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invitation_link(
        &self,
        invitation: &Invitation,
        config: &Config,
    ) -> Result<Option<Link>, StoreError> {
        let token = write_token(invitation.id, &self.entropy().bytes());
        let digest = digest_with(&token, &invitation.email_folded);
        let (site, portal) = (&config.public_url, &config.portal.path);
        let url = format!("{site}{portal}/invitation?token={token}").into();
        let is_there = self.store().update_invitation(invitation.id, &digest).await?;
        Ok(is_there.then_some(Link { url, expires_at: invitation.expires_at }))
    }

    /// The invitation that a letter brings, while it is of use.
    pub(super) async fn invitation_of(
        &self,
        email_folded: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        Ok(self.find_invitation(email_folded).await?.filter(|_| self.may_invite()))
    }

    /// The open invitation of an e-mail in any spelling.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_invitation(&self, email: &str) -> Result<Option<Invitation>, StoreError> {
        let Ok(folded) = fold_email(email) else { return Ok(None) };
        let found = self.store().find_invitation_of(&folded).await?;
        Ok(found.filter(|found| found.expires_at > self.now()))
    }

    /// Those that have not ended, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_invitations(&self, limit: u32) -> Result<Vec<Invitation>, StoreError> {
        self.store().list_invitations(self.now(), limit).await
    }

    /// Takes an invitation back; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::NoSuperuser`].
    pub async fn revoke_invitation(&self, id: Uuid, actor: &Actor) -> Result<bool, StoreError> {
        let Some(found) = self.store().find_invitation(id).await? else { return Ok(false) };
        let mut event = actor.event(self.now(), "invitation-revoked", None);
        event.detail = told(&found);
        self.store().delete_invitation(id, actor.superuser, &event).await
    }

    /// What the link of an invitation would do; spends nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look_at_invitation(&self, token: &str) -> Result<InvitationState, StoreError> {
        let Some((invitation, _)) = self.find_by_token(token).await? else {
            return Ok(InvitationState::Void);
        };
        let account = self.store().find_user_by_email(&invitation.email_folded).await?;
        Ok(match account {
            Some(_) => InvitationState::Taken,
            None => InvitationState::Live(Box::new(invitation)),
        })
    }

    /// The live invitation of a token, with the token's digest.
    async fn find_by_token(
        &self,
        token: &str,
    ) -> Result<Option<(Invitation, [u8; 32])>, StoreError> {
        let Some(id) = read_owner(token).filter(|_| self.may_invite()) else { return Ok(None) };
        let Some(invitation) = self.store().find_invitation(id).await? else { return Ok(None) };
        let digest = digest_with(token, &invitation.email_folded);
        let is_live = self.store().has_invitation(id, &digest, self.now()).await?;
        Ok(is_live.then_some((invitation, digest)))
    }

    /// Makes the account somebody is invited to: active and verified. The token is looked at before the
    /// password, so that made-up links cost nothing.
    async fn accept(
        &self,
        token: &str,
        email: Option<&str>,
        acceptance: Acceptance,
        actor: &Actor,
    ) -> Result<User, Mistake> {
        let bad = Mistake::Conflict(Conflict::Token);
        let Some((invitation, digest)) = self.find_by_token(token).await? else {
            return Err(bad);
        };
        // Blank is what the guest wants; absent is what the guest was not asked.
        let mut profile = acceptance.profile;
        profile.first_name = profile.first_name.or_else(|| invitation.first_name.clone());
        profile.last_name = profile.last_name.or_else(|| invitation.last_name.clone());
        let draft = Draft {
            email: email.unwrap_or(&invitation.email).to_owned(),
            profile,
            is_active: true,
            ..Draft::default()
        };
        let mut row = draft.row()?;
        if row.email_folded != invitation.email_folded {
            return Err(bad);
        }
        let id = self.fresh_id();
        let judged = unstored(id, &row, self.now());
        row.password_hash =
            Some(self.hash_new(acceptance.password, &judged, Chooser::Owner, actor).await?);
        let mut event = actor.event(self.now(), "register", Some(id));
        event.actor.clone_from(&invitation.email);
        event.detail = format!("{BY}{}: {}", invitation.invited_by, told(&invitation));
        let spent = (invitation.id, &digest);
        Ok(self.store().insert_invited_user(spent, (id, row), &event).await?)
    }
}

impl Accounts {
    /// Invites somebody by mail, on behalf of a superuser.
    ///
    /// # Errors
    /// [`InviteError`].
    pub async fn invite(
        &self,
        guest: Guest,
        language: Language,
        by: &Identity,
        from: &Actor,
    ) -> Result<Invitation, InviteError> {
        let Some(outbox) = &self.outbox else { return Err(InviteError::NoMail) };
        let invited = self.people.invite(guest, Way::Mail(language), &acting(by, from)).await?;
        let invitation = invited.ok_or(Mistake::TooMany(FULL_RETRY))?;
        outbox.note_queued();
        Ok(invitation)
    }

    /// Takes an invitation back, on behalf of a superuser; says whether there was one.
    ///
    /// # Errors
    /// [`Mistake`].
    pub async fn revoke_invitation(
        &self,
        id: Uuid,
        by: &Identity,
        from: &Actor,
    ) -> Result<bool, Mistake> {
        Ok(self.people.revoke_invitation(id, &acting(by, from)).await?)
    }

    /// As [`Accounts::accept_invitation`], and signs in with a cookie; `replaces` is the session that this
    /// browser had.
    ///
    /// # Errors
    /// As [`Accounts::accept_invitation`].
    pub async fn accept_and_sign_in(
        &self,
        token: &str,
        acceptance: Acceptance,
        from: &Actor,
        replaces: Option<&Identity>,
    ) -> Result<HeaderValue, Mistake> {
        let user = self.accept_invitation(token, None, acceptance, from).await?;
        let now = self.people.now();
        let mut opening = opening_of(&user, Wanted::Cookie { remember: false }, from, now);
        opening.replaces = replaces.map(|old| old.session().id);
        Ok(self.sessions.open_cookie(&opening, now).await?.set_cookie)
    }

    /// Makes the account somebody is invited to, which spends the invitation. `email` is what they say
    /// theirs is, if they say so: another than the invitation's is as good as a token that is none.
    ///
    /// # Errors
    /// [`Mistake`]: [`Conflict::Token`] for an invitation that is spent, ended, taken back or made up,
    /// [`Conflict::Email`] where there is an account with its e-mail, [`Mistake::Password`].
    pub async fn accept_invitation(
        &self,
        token: &str,
        email: Option<&str>,
        acceptance: Acceptance,
        from: &Actor,
    ) -> Result<User, Mistake> {
        let attempt = self.limits.begin_link(from.address);
        let attempt = attempt.map_err(|limited| Mistake::TooMany(limited.retry_after))?;
        let accepted = self.people.accept(token, email, acceptance, from).await;
        if !matches!(accepted, Err(Mistake::Conflict(Conflict::Token))) {
            attempt.take_back();
        }
        if accepted.is_ok() {
            let people = self.people.clone();
            tokio::spawn(async move { people.measure_new_kinds().await });
        }
        accepted
    }
}

/// In front of whoever invited, in the event of the account that is made.
const BY: &str = "invited by ";

/// The detail of an event as its owner may read it: without whoever invited them.
pub(super) fn without_inviter(detail: &str) -> String {
    let told = detail.strip_prefix(BY).and_then(|rest| rest.split_once(": "));
    told.map_or_else(|| detail.to_owned(), |(_, told)| format!("invited: {told}"))
}

/// What an event says of an invitation.
fn told(invitation: &Invitation) -> String {
    let roles = invitation.roles.join(", ");
    let separator = if roles.is_empty() { "" } else { ": " };
    format!("{}{separator}{roles}", invitation.email)
}
