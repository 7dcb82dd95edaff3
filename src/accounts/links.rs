//! Single-use links: how somebody proves themselves who cannot sign in, or shows that an e-mail is theirs.
//!
//! The link holds a token: unpadded base64url of the account's id and 32 random bytes. Stored is the
//! digest of the token together with the account's e-mail, so a link never outlives the e-mail that it was
//! made for, whoever changes that and however. What a link leads to is in `portal`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use uuid::Uuid;

use super::people::Chooser;
use super::{Accounts, Actor, Mistake, People};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::identity::keys::sha256;
use crate::identity::password::Rejected;
use crate::identity::user::User;
use crate::limit::Attempt;
use crate::session::Identity;
use crate::store::{Changed, Conflict, Event, StoreError, TokenKind, UserToken};

/// What a link is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// Setting a new password.
    Reset,
    /// Verifying the e-mail.
    Verify,
}

/// A link, in clear for the one it is given to. The store holds its digest alone.
#[derive(Debug)]
pub struct Link {
    /// The address below `public_url`, with the token.
    pub url: SecretString,
    /// Its end.
    pub expires_at: Timestamp,
}

/// What somebody finds who opens a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// It is good, for this account.
    Live(Box<User>),
    /// The e-mail is verified, by this link or otherwise.
    Done,
    /// It is spent, past its end, made up, or void for another cause.
    Void,
}

/// Why a link could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is spent, past its end, made up, or void for another cause: which is told to nobody.
    #[error("the link is no longer valid")]
    Void,
    /// The e-mail is verified already.
    #[error("the e-mail is verified already")]
    Verified,
    /// The password policy refused the password; the reason is for the person.
    #[error("{0}")]
    Password(Rejected),
    /// Too many tokens that were none, or the hashing queue is full: 429.
    #[error("too many attempts")]
    TooMany(Duration),
    /// The store failed, or something that no link can cause.
    #[error("the link could not be used")]
    Failed(#[source] Mistake),
}

/// How long a link is good for: as long as those of `FastAPI` Users.
const LIFE: Duration = Duration::from_hours(1);
/// Bytes of an id, which a token begins with.
const ID: usize = 16;
/// Random bytes of a token.
const RANDOM: usize = 32;

/// A token that belongs to an account, with the digest under which it is stored.
struct Held {
    user: User,
    digest: [u8; 32],
}

impl LinkKind {
    /// The page below `portal.path`.
    const fn page(self) -> &'static str {
        match self {
            Self::Reset => "reset-password",
            Self::Verify => "verify",
        }
    }

    /// The event of handing one on.
    const fn event(self) -> &'static str {
        match self {
            Self::Reset => "reset-link",
            Self::Verify => "verify-link",
        }
    }

    const fn token(self) -> TokenKind {
        match self {
            Self::Reset => TokenKind::Reset,
            Self::Verify => TokenKind::Verify,
        }
    }
}

impl People {
    /// Makes a link for an account, valid one hour, in place of every earlier one of its kind. It leads
    /// to `public_url`, whatever host a request was made to, and is void once the account has another
    /// e-mail than `user` says.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Gone`] when the account is gone, or is not active and asks for a
    /// password.
    pub async fn issue_link(
        &self,
        user: &User,
        kind: LinkKind,
        config: &Config,
    ) -> Result<Link, Mistake> {
        self.issue(user, kind, config, None).await
    }

    /// As [`People::issue_link`], for an operator who hands the link on: written down as an event.
    ///
    /// # Errors
    /// As [`People::issue_link`].
    pub async fn issue_link_as(
        &self,
        user: &User,
        kind: LinkKind,
        config: &Config,
        actor: &Actor,
    ) -> Result<Link, Mistake> {
        let event = actor.event(self.now(), kind.event(), Some(user.id));
        self.issue(user, kind, config, Some(&event)).await
    }

    async fn issue(
        &self,
        user: &User,
        kind: LinkKind,
        config: &Config,
        event: Option<&Event>,
    ) -> Result<Link, Mistake> {
        let token = write_token(user.id, &self.entropy().bytes::<RANDOM>());
        let expires_at = self.now().after(LIFE);
        let row = UserToken {
            kind: kind.token(),
            user: user.id,
            digest: digest_of(&token, user),
            expires_at,
        };
        self.store().replace_token(&row, event).await?;
        let (site, portal) = (&config.public_url, &config.portal.path);
        let url = format!("{site}{portal}/{}?token={token}", kind.page());
        Ok(Link { url: url.into(), expires_at })
    }

    /// What a link would do; spends nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look_at_link(&self, kind: LinkKind, token: &str) -> Result<LinkState, StoreError> {
        let Some(held) = self.find_token(token).await? else { return Ok(LinkState::Void) };
        let is_live = self.is_live(kind.token(), &held).await?;
        let (is_usable, is_known) = match kind {
            LinkKind::Reset => (is_live && held.user.is_active, false),
            LinkKind::Verify if held.user.is_verified => {
                (false, is_live || self.is_live(TokenKind::Verified, &held).await?)
            }
            LinkKind::Verify => (is_live, false),
        };
        Ok(match (is_usable, is_known) {
            (true, _) => LinkState::Live(Box::new(held.user)),
            (false, true) => LinkState::Done,
            (false, false) => LinkState::Void,
        })
    }

    /// Sets a new password by the token of a link, which is spent by nothing but success: ends every
    /// session of the account and voids its other links. The token is looked at before the password,
    /// so that made-up links cost nothing. Says whose it was, and how many letters tell them.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Token`] for a token that is spent, past its end, unknown, or of an
    /// account that is not active; [`Mistake::Password`].
    async fn reset_password(
        &self,
        token: &str,
        password: SecretString,
        actor: &Actor,
    ) -> Result<(User, u32), Mistake> {
        let bad = Mistake::Conflict(Conflict::Token);
        let Some(held) = self.find_token(token).await? else { return Err(bad) };
        if !held.user.is_active || !self.is_live(TokenKind::Reset, &held).await? {
            return Err(bad);
        }
        let hash = self.hash_new(password, &held.user, Chooser::Owner, actor).await?;
        let event = self.event_of_owner("reset", &held.user, actor);
        let Held { user, digest } = held;
        let new = (&*hash, self.telling(actor));
        let letters = self.store().update_password_by_token(&user, &digest, new, &event).await?;
        Ok((user, letters))
    }

    /// Verifies an e-mail by the token of a link; the account as it is then. It need not be active.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Token`] for a token that is spent, past its end, unknown, or of an
    /// account that has another e-mail now; [`Conflict::Verified`] for a good one, or the one that did
    /// it, when the e-mail is verified.
    async fn verify_email(
        &self,
        token: &str,
        by: Option<&Identity>,
        actor: &Actor,
    ) -> Result<User, Mistake> {
        let bad = Mistake::Conflict(Conflict::Token);
        let Some(held) = self.find_token(token).await? else { return Err(bad) };
        let is_live = self.is_live(TokenKind::Verify, &held).await?;
        if !is_live && !self.is_live(TokenKind::Verified, &held).await? {
            return Err(bad);
        }
        if held.user.is_verified {
            return Err(Mistake::Conflict(Conflict::Verified));
        }
        let event = self.event_of_owner("verify", &held.user, actor);
        let own = by.filter(|by| by.user().id == held.user.id).map(|by| by.session().id);
        let (user, digest) = (&held.user, &held.digest);
        Ok(self.store().update_verified_by_token(user, digest, own, &event).await?)
    }

    async fn find_token(&self, token: &str) -> Result<Option<Held>, StoreError> {
        let Some(id) = read_owner(token) else { return Ok(None) };
        let user = self.store().find_user(id).await?;
        Ok(user.map(|user| Held { digest: digest_of(token, &user), user }))
    }

    async fn is_live(&self, kind: TokenKind, held: &Held) -> Result<bool, StoreError> {
        self.store().has_token(kind, &held.digest, self.now()).await
    }

    /// Whoever holds a link acts as the account's owner.
    fn event_of_owner(&self, kind: &str, user: &User, actor: &Actor) -> Event {
        let mut event = actor.event(self.now(), kind, Some(user.id));
        event.actor.clone_from(&user.email);
        event
    }
}

impl Accounts {
    /// Sets a new password by the token of a link, which only success spends: ends every session of the
    /// account, here at once, and voids its other links. Says whose it was.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn reset_password(
        &self,
        token: &str,
        password: SecretString,
        from: &Actor,
    ) -> Result<User, LinkError> {
        let attempt = self.begin_link(from)?;
        let outcome = self.people.reset_password(token, password, from).await;
        let (user, letters) = settle(attempt, outcome)?;
        self.sessions.apply(&Changed::User(user.id));
        self.note_letters(letters);
        let people = self.people.clone();
        tokio::spawn(async move { people.measure_new_kinds().await });
        Ok(user)
    }

    /// Verifies an e-mail by the token of a link, in force here at once; `by` is who is signed in where that
    /// happens. Unless that is the owner, accounts at providers are unlinked: whoever linked them need not
    /// be who has the mail. The account as it is then.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn verify_email(
        &self,
        token: &str,
        by: Option<&Identity>,
        from: &Actor,
    ) -> Result<User, LinkError> {
        let attempt = self.begin_link(from)?;
        let user = settle(attempt, self.people.verify_email(token, by, from).await)?;
        self.sessions.apply(&Changed::User(user.id));
        Ok(user)
    }

    fn begin_link(&self, from: &Actor) -> Result<Attempt<'_, 1>, LinkError> {
        self.limits
            .begin_link(from.address)
            .map_err(|limited| LinkError::TooMany(limited.retry_after))
    }
}

/// Ends an attempt: only a token that is not good counts.
fn settle<T>(attempt: Attempt<'_, 1>, outcome: Result<T, Mistake>) -> Result<T, LinkError> {
    if !matches!(outcome, Err(Mistake::Conflict(Conflict::Token))) {
        attempt.take_back();
    }
    outcome.map_err(|mistake| match mistake {
        Mistake::Conflict(Conflict::Token) => LinkError::Void,
        Mistake::Conflict(Conflict::Verified) => LinkError::Verified,
        Mistake::Password(reason) => LinkError::Password(reason),
        Mistake::TooMany(after) => LinkError::TooMany(after),
        other @ (Mistake::Email
        | Mistake::Username
        | Mistake::Profile(_)
        | Mistake::Role(_)
        | Mistake::Domain
        | Mistake::Closed
        | Mistake::Conflict(_)
        | Mistake::Store(_)
        | Mistake::Session(_)) => LinkError::Failed(other),
    })
}

/// The token of a link for an account or an invitation.
pub(super) fn write_token(user: Uuid, random: &[u8; RANDOM]) -> String {
    URL_SAFE_NO_PAD.encode([user.as_bytes().as_slice(), random].concat())
}

/// The id in a token of the right shape.
pub(super) fn read_owner(token: &str) -> Option<Uuid> {
    if token.len() != (ID + RANDOM).div_ceil(3) * 4 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    Uuid::from_slice(bytes.get(..ID)?).ok()
}

/// A token of an account as it is stored.
fn digest_of(token: &str, user: &User) -> [u8; 32] {
    digest_with(token, &user.email_folded)
}

/// A token as it is stored: neither part can hold the line break between them.
pub(super) fn digest_with(token: &str, email_folded: &str) -> [u8; 32] {
    sha256(format!("{token}\n{email_folded}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_account_and_nothing_else_does() {
        let id = Uuid::from_u128(42);
        let token = write_token(id, &[7; RANDOM]);
        assert_eq!(token.len(), 64);
        assert_eq!(read_owner(&token), Some(id));
        let long = format!("{token}AAAA");
        let padded = format!("{}==", token.get(..62).unwrap_or_default());
        let spaced = format!("{} ", token.get(..63).unwrap_or_default());
        for other in ["", "x", &long, &padded, &spaced, token.get(1..).unwrap_or_default()] {
            assert_eq!(read_owner(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_is_stored_as_one_of_its_e_mail() {
        let user = User::sample();
        let moved = User { email_folded: "ann@example.org".into(), ..User::sample() };
        assert_eq!(digest_of("a", &user), digest_of("a", &user));
        assert_ne!(digest_of("a", &user), digest_of("a", &moved));
        assert_ne!(digest_of("a", &user), digest_of("b", &user));
    }

    #[test]
    fn a_link_prints_no_token() {
        let link = Link { url: "https://a/?token=secret".into(), expires_at: Timestamp::NEVER };
        assert!(!format!("{link:?}").contains("secret"));
    }
}
