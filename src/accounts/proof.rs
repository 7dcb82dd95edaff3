//! Proving with a password to be who somebody says, under the limits on attempts, and writing failures down.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::draft::BUSY_RETRY;
use super::{Accounts, Actor, People, SignInError};
use crate::config::AuthLimits;
use crate::identity::hashing::Busy;
use crate::identity::keys::sha256;
use crate::identity::user::{User, fold_email};
use crate::limit::PastFailure;
use crate::store::{Event, StoreError, WrongPassword};
use crate::web::client::limit_key;

/// A password somebody shows to be who they say.
pub(super) struct Proof<'a> {
    /// The name under which attempts are counted, as typed.
    pub(super) name: &'a str,
    /// The password.
    pub(super) password: SecretString,
    /// What it is shown for.
    pub(super) failed: WrongPassword,
}

/// Longest password that is verified, in characters. Far above any policy, so that lowering a policy
/// locks nobody out; what is longer runs the verification of an unknown account instead.
const LONGEST_ATTEMPT: usize = 4096;
/// Longest name kept as it is for counting; longer ones are counted by digest.
const LONGEST_NAME: usize = 320;
/// Wrong passwords that are remembered over a restart at most.
const MOST_FAILURES: u32 = 100_000;

/// What an event says about why an attempt failed. Operators read it; clients never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Unknown,
    Inactive,
    NoPassword,
    WrongPassword,
    Unverified,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown account",
            Self::Inactive => "inactive account",
            Self::NoPassword => "account without password",
            Self::WrongPassword => "wrong password",
            Self::Unverified => "e-mail not verified",
        }
    }

    /// Why verifying `found` failed.
    fn of(found: Option<&User>) -> Self {
        match found {
            None => Self::Unknown,
            Some(user) if !user.is_active => Self::Inactive,
            Some(user) if user.password_hash.is_none() => Self::NoPassword,
            Some(_) => Self::WrongPassword,
        }
    }
}

impl Accounts {
    /// Checks limits and password, and records a failure after the answer.
    pub(super) async fn verify(
        &self,
        proof: Proof<'_>,
        found: Option<User>,
        from: &Actor,
    ) -> Result<User, SignInError> {
        let Proof { name, password, failed } = proof;
        let is_familiar = self.is_familiar(found.as_ref(), from.address).await?;
        let key = counted_name(name, found.as_ref());
        let attempt = self
            .limits
            .begin(from.address, &key, is_familiar)
            .map_err(|limited| SignInError::TooMany(limited.retry_after))?;
        let is_too_long = password.expose_secret().chars().count() > LONGEST_ATTEMPT;
        let stored = found
            .as_ref()
            .filter(|user| user.is_active && !is_too_long)
            .and_then(|user| user.password_hash.clone());
        let password = if is_too_long { SecretString::default() } else { password };
        let verified = self.people.hasher().verify(password, stored.clone(), from.address).await;
        match (verified, found) {
            (Err(Busy), _) => {
                attempt.take_back();
                Err(SignInError::TooMany(BUSY_RETRY))
            }
            // A hash that was not there cannot have been verified, whatever the pool says.
            (Ok(true), Some(user)) if stored.is_some() => {
                attempt.take_back();
                Ok(user)
            }
            (Ok(_), found) => {
                drop(attempt);
                let mut event = from.event(self.people.now(), failed.kind(), None);
                // What is no e-mail may be a password typed into the wrong field: it is not written down.
                event.actor = fold_email(name).unwrap_or_default();
                Reason::of(found.as_ref()).as_str().clone_into(&mut event.detail);
                self.record_failure(found.map(|user| user.id), event);
                Err(SignInError::BadCredentials)
            }
        }
    }

    /// Counts the wrong passwords that were written down and would still count: a restart frees nobody.
    /// Names that are no e-mail and belong to no account were not written down.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remember_failures(&self, limits: &AuthLimits) -> Result<(), StoreError> {
        let rates = [
            limits.failures_per_address,
            limits.failures_per_account_and_address,
            limits.failures_per_account,
        ];
        let Some(longest) = rates.into_iter().flatten().map(|rate| rate.within).max() else {
            return Ok(());
        };
        let now = self.people.now();
        let found =
            self.people.store().list_wrong_passwords(now.before(longest), MOST_FAILURES).await?;
        let past = found.into_iter().map(|failure| PastFailure {
            age: now.since(failure.at),
            address: failure.address,
            account: Some(failure.account).filter(|account| !account.is_empty()),
        });
        self.limits.restore(&past.collect::<Vec<_>>());
        Ok(())
    }

    /// Whether an attempt comes from where the account was used last. The store is asked for unknown
    /// accounts as well, so that both take as long.
    async fn is_familiar(
        &self,
        user: Option<&User>,
        address: Option<IpAddr>,
    ) -> Result<bool, SignInError> {
        let Some(address) = address else { return Ok(false) };
        let id = user.map_or(Uuid::nil(), |user| user.id);
        let now = self.people.now();
        let has_session = self.people.store().has_session_from(id, address, now).await?;
        let last = user.and_then(|user| user.last_address);
        Ok(has_session || last.is_some_and(|last| limit_key(last) == limit_key(address)))
    }

    /// Writes down a failure after the answer, so that it takes as long for every account.
    fn record_failure(&self, user: Option<Uuid>, mut event: Event) {
        event.user = user;
        let people = self.people.clone();
        tokio::spawn(async move {
            if let Err(error) = write_failure(&people, user, &event).await {
                tracing::warn!(%error, "a failed sign-in could not be recorded");
            }
        });
    }

    /// Writes down that somebody with the right password was not signed in.
    pub(super) fn record_refusal(&self, user: &User, from: &Actor) {
        let mut event = from.event(self.people.now(), "sign-in-refused", None);
        event.actor.clone_from(&user.email);
        Reason::Unverified.as_str().clone_into(&mut event.detail);
        self.record_failure(Some(user.id), event);
    }
}

/// What an account is counted under: its e-mail, so that a username gives no further attempts, or the
/// folded name as typed where there is none. One name alone is counted alike in both cases.
fn counted_name(name: &str, found: Option<&User>) -> String {
    let name = found.map_or(name.trim(), |user| &*user.email_folded);
    let folded = fold_email(name).unwrap_or_else(|_| name.to_lowercase());
    if folded.len() <= LONGEST_NAME {
        return folded;
    }
    URL_SAFE_NO_PAD.encode(sha256(folded.as_bytes()))
}

async fn write_failure(
    people: &People,
    user: Option<Uuid>,
    event: &Event,
) -> Result<(), StoreError> {
    if let Some(id) = user {
        people.store().update_user_failed(id).await?;
    }
    people.store().insert_event(event).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { password_hash: Some("x".into()), ..User::sample() }
    }

    #[test]
    fn a_name_is_counted_alike_in_every_spelling_and_never_at_length() {
        assert_eq!(counted_name(" Ann ", None), counted_name("aNN", None));
        assert_eq!(counted_name("Ann@EXAMPLE.com ", None), counted_name("ann@example.com", None));
        assert_ne!(counted_name("ann", None), counted_name("bob", None));
        assert_eq!(counted_name(&"a".repeat(60_000), None).len(), 43);
    }

    #[test]
    fn bru_02_every_name_of_an_account_is_counted_as_one() {
        let found = user();
        let counted = counted_name("ann@example.com", Some(&found));
        for name in ["ann", " ANN ", "Ann@Example.com"] {
            assert_eq!(counted_name(name, Some(&found)), counted, "{name}");
        }
        // An account made or deleted meanwhile changes nothing.
        assert_eq!(counted_name("ann@example.com", None), counted);
        assert_ne!(counted_name("ann", None), counted);
    }

    #[test]
    fn a_failure_says_why_to_operators() {
        let mut found = user();
        assert_eq!(Reason::of(None), Reason::Unknown);
        assert_eq!(Reason::of(Some(&found)), Reason::WrongPassword);
        found.password_hash = None;
        assert_eq!(Reason::of(Some(&found)), Reason::NoPassword);
        found.is_active = false;
        assert_eq!(Reason::of(Some(&found)), Reason::Inactive);
    }
}
