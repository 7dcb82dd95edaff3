//! Letters: asking for one without saying who one is, and who gets which.

use std::sync::Arc;

use super::{Accounts, Actor, Link, LinkKind, Mistake, People};
use crate::config::Config;
use crate::identity::user::{InvalidEmail, User, fold_email, mail_address};
use crate::mail::{Addressee, AskError, Desk, DeskError};
use crate::store::{Conflict, HeldLetter, LetterKind, StoreError};

/// An e-mail somebody typed, folded: whether or not there is such an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedEmail(String);

impl TypedEmail {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`InvalidEmail`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        fold_email(text).map(Self)
    }
}

impl Accounts {
    /// Whether mail is sent at all.
    #[must_use]
    pub const fn sends_mail(&self) -> bool {
        self.outbox.is_some()
    }

    /// Has letters go out at once that were put in together with what they tell of.
    pub(super) fn note_letters(&self, count: u32) {
        let Some(outbox) = &self.outbox else { return };
        for _ in 0..count {
            outbox.note_queued();
        }
    }

    /// Asks for a letter to an address. What is done here is the same whether or not there is such an
    /// account: who gets a letter is looked up later. Without `mail` nothing is.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask_for_letter(
        &self,
        kind: LetterKind,
        email: &TypedEmail,
        from: &Actor,
    ) -> Result<(), AskError> {
        match &self.outbox {
            Some(outbox) => outbox.ask(kind, &email.0, from.language, from.address).await,
            None => Ok(()),
        }
    }
}

/// Tells the courier whom a letter is for.
pub struct LetterDesk {
    people: People,
    config: Arc<Config>,
}

impl LetterDesk {
    /// A desk over accounts; links lead to the configuration's `public_url`.
    #[must_use]
    pub const fn new(people: People, config: Arc<Config>) -> Self {
        Self { people, config }
    }

    /// The account a letter is for: once it was found, that one and no other, and only while it has
    /// the e-mail the letter was asked for with.
    async fn find(&self, kind: LinkKind, letter: &HeldLetter) -> Result<Option<User>, StoreError> {
        let store = self.people.store();
        let found = match letter.subject {
            Some(id) => store.find_user(id).await?,
            None => store.find_user_by_email(&letter.recipient).await?,
        };
        let is_for = |user: &User| *user.email_folded == *letter.recipient;
        Ok(found.filter(is_for).filter(|user| may_get(kind, user)))
    }

    /// A link for an account.
    async fn to_account(
        &self,
        kind: LinkKind,
        letter: &HeldLetter,
    ) -> Result<Option<Addressee>, DeskError> {
        let Some(user) = self.find(kind, letter).await? else { return Ok(None) };
        match self.people.issue_link(&user, kind, &self.config).await {
            Ok(Link { url, expires_at }) => Ok(Some(Addressee {
                user: Some(user.id),
                email: mail_address(&user.email, &user.email_folded),
                link: url,
                expires_at: Some(expires_at),
            })),
            // Gone or switched off since it was looked up.
            Err(Mistake::Conflict(Conflict::Gone)) => Ok(None),
            Err(mistake) => Err(mistake.into()),
        }
    }

    /// A link for somebody who has no account yet.
    async fn to_guest(&self, letter: &HeldLetter) -> Result<Option<Addressee>, DeskError> {
        let Some(invitation) = self.people.invitation_of(&letter.recipient).await? else {
            return Ok(None);
        };
        let link = self.people.invitation_link(&invitation, &self.config).await?;
        let email = mail_address(&invitation.email, &invitation.email_folded);
        Ok(link.map(|Link { url, expires_at }| Addressee {
            user: None,
            email,
            link: url,
            expires_at: Some(expires_at),
        }))
    }

    /// What tells somebody of a change goes to the e-mail that they had then, whatever became of the account
    /// since, even if it is gone, and leads to a page.
    fn to_owner(&self, letter: &HeldLetter, page: &str) -> Addressee {
        let (site, portal) = (&self.config.public_url, &self.config.portal.path);
        Addressee {
            user: None,
            email: letter.recipient.clone(),
            link: format!("{site}{portal}/{page}").into(),
            expires_at: None,
        }
    }
}

/// Mail goes only to people who may sign in, and nobody verifies an e-mail twice.
const fn may_get(kind: LinkKind, user: &User) -> bool {
    match kind {
        LinkKind::Reset => user.is_active,
        LinkKind::Verify => user.is_active && !user.is_verified,
    }
}

impl Desk for LetterDesk {
    async fn address(&self, letter: &HeldLetter) -> Result<Option<Addressee>, DeskError> {
        match letter.kind {
            LetterKind::Reset => self.to_account(LinkKind::Reset, letter).await,
            LetterKind::Verify => self.to_account(LinkKind::Verify, letter).await,
            LetterKind::Invite => self.to_guest(letter).await,
            LetterKind::EmailChanged => Ok(Some(self.to_owner(letter, "login"))),
            LetterKind::PasswordChanged => Ok(Some(self.to_owner(letter, "forgot-password"))),
        }
    }
}
