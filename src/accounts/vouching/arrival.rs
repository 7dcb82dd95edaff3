//! Coming back from a provider: the state, the code, the account.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use uuid::Uuid;

use super::linking::who_links;
use super::recheck::next_check;
use super::state::{Errand, State, digest_of, was_repeated};
use super::{VouchError, address, keeping, too_long};
use crate::accounts::draft::BUSY_RETRY;
use crate::accounts::sign_in::{Wanted, opening_of};
use crate::accounts::visit::Visit;
use crate::accounts::{Accounts, Actor};
use crate::config;
use crate::identity::provider::{Provider, Redemption, Vouched};
use crate::identity::user::{Method, User};
use crate::limit::Limited;
use crate::session::Identity;
use crate::store::{Changed, LinkKey, SessionOrigin, Sighting};
use crate::telemetry::metrics::SignInOutcome;
use crate::web::failure::Failure;
use crate::web::form::Form;

/// How somebody comes back.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// From which provider.
    pub provider: &'a str,
    /// What they went for.
    pub errand: Errand,
    /// The query of the request.
    pub query: &'a Form,
}

/// What came of it.
#[derive(Debug)]
pub struct Arrived {
    /// Who was signed in, with the `Set-Cookie` of their session; or to whom an account was linked.
    pub outcome: Result<(User, Option<HeaderValue>), VouchError>,
    /// Where they wanted to go.
    pub next: Option<String>,
    /// Takes back the cookie that they were known by.
    pub clear: Option<HeaderValue>,
    /// The browser lost what it was sent away with, for the first time.
    pub may_repeat: bool,
    /// The provider as people call it.
    pub label: String,
}

/// Over everything that is asked of a provider.
const REDEEMED_WITHIN: Duration = Duration::from_secs(30);
/// Longest name of an error, and longest code, that is looked at.
const LONGEST_ERROR: usize = 64;
const LONGEST_CODE: usize = 4096;

impl Accounts {
    /// Signs in, or links, whoever comes back from a provider. The state is spent before the code is
    /// redeemed, so of many who bring it one at most gets any further.
    ///
    /// # Errors
    /// A failure that no browser and no provider is to blame for.
    pub async fn arrive(&self, visit: &Visit, coming: Arrival<'_>) -> Result<Arrived, Failure> {
        let Arrival { provider: name, errand, query } = coming;
        let Some(provider) = self.vouching.get(name) else {
            return Err(VouchError::Unknown.failure(name));
        };
        let sealed = query.get("state").unwrap_or_default();
        let state = State::open(&self.sessions, name, errand, sealed);
        let outcome = self.finish(visit, &provider, &coming, state.as_ref()).await;
        if errand == Errand::SignIn {
            self.count(&outcome);
        }
        // Without a code it is not known yet what comes of it.
        let is_over = !matches!(outcome, Err(VouchError::NoCode | VouchError::TooMany(_)));
        let was_repeated = was_repeated(visit) || state.as_ref().is_some_and(|s| s.is_repeated);
        let cookie = &visit.config.sessions.cookie;
        Ok(Arrived {
            may_repeat: outcome.as_ref().is_err_and(VouchError::is_lost_state) && !was_repeated,
            outcome,
            clear: state.as_ref().filter(|_| is_over).and_then(|state| state.clear_cookie(cookie)),
            next: state.as_ref().and_then(|state| state.next.clone()),
            label: provider.settings().label.clone(),
        })
    }

    async fn finish(
        &self,
        visit: &Visit,
        provider: &Arc<Provider>,
        coming: &Arrival<'_>,
        state: Option<&State>,
    ) -> Result<(User, Option<HeaderValue>), VouchError> {
        let query = coming.query;
        if let Some(error) = query.get("error") {
            return Err(VouchError::Refused(read_error(error)));
        }
        let code = query.get("code").filter(|code| (1..=LONGEST_CODE).contains(&code.len()));
        let code = code.ok_or(VouchError::NoCode)?;
        let address = visit.actor().address;
        let limited = |limited: Limited| VouchError::TooMany(limited.retry_after);
        let (state, linker) = match admit(visit, coming.errand, state) {
            Ok(admitted) => admitted,
            Err(error) => {
                // Refuses nobody whose state is good: another site can send a browser here with any other.
                if error.is_lost_state() {
                    let _counted = self.limits.begin_state(address).map_err(limited)?;
                }
                return Err(error);
            }
        };
        // Not held meanwhile: those who wait for a provider have guessed at nothing.
        self.limits.begin_code(address).map_err(limited)?.take_back();
        let outcome = self.redeem(visit, provider, coming, (code, state, linker)).await;
        if outcome.as_ref().is_err_and(VouchError::is_guess) {
            let _counted = self.limits.begin_code(address);
        }
        outcome
    }

    async fn redeem(
        &self,
        visit: &Visit,
        provider: &Arc<Provider>,
        coming: &Arrival<'_>,
        (code, state, linker): (&str, &State, Option<&Arc<Identity>>),
    ) -> Result<(User, Option<HeaderValue>), VouchError> {
        let Ok(_place) = self.vouching.places(coming.provider).try_acquire_owned() else {
            return Err(VouchError::TooMany(BUSY_RETRY));
        };
        let digest = digest_of(coming.query.get("state").unwrap_or_default());
        if !self.people.store().insert_spent(&digest, state.end()).await? {
            return Err(VouchError::ForeignState);
        }
        let redirect_uri = address(&visit.config, &coming.errand.callback(coming.provider));
        let verifier = state.verifier();
        let redemption = Redemption {
            code,
            iss: coming.query.get("iss"),
            verifier: &verifier,
            nonce: &state.nonce,
            redirect_uri: &redirect_uri,
        };
        let vouched = tokio::time::timeout(REDEEMED_WITHIN, provider.redeem(redemption)).await;
        let vouched = vouched.unwrap_or_else(|_| Err(too_long()))?;
        match linker {
            None => self.sign_in_vouched(visit, provider, vouched).await,
            Some(identity) => {
                let user = self.link(visit, provider.settings(), &vouched, identity).await?;
                self.see(visit, provider, &vouched).await?;
                Ok((user, None))
            }
        }
    }

    /// Signs in whom a provider vouches for; whoever had a session in this browser has it no more.
    async fn sign_in_vouched(
        &self,
        visit: &Visit,
        provider: &Provider,
        vouched: Vouched,
    ) -> Result<(User, Option<HeaderValue>), VouchError> {
        let settings = provider.settings();
        let from = visit.actor();
        let user = match self.account_of(visit, settings, &vouched).await {
            Ok(user) => user,
            Err(error) => {
                let turned_away = (error.account(), &error);
                self.record_turned_away(settings, &vouched, &from, turned_away);
                return Err(error);
            }
        };
        self.see(visit, provider, &vouched).await?;
        if self.people.rules().require_verified && !user.is_verified {
            let turned_away = (Some(user.id), &VouchError::NotVerified);
            self.record_turned_away(settings, &vouched, &from, turned_away);
            return Err(VouchError::NotVerified);
        }
        let old = visit.cookie_identity(&self.sessions).await;
        let old = old.map_err(|_| VouchError::Unrecognised)?;
        let wanted = Wanted::Cookie { remember: false };
        let mut opening = opening_of(&user, wanted, &from, visit.now);
        opening.method = Method::Provider;
        opening.event.detail.clone_from(&settings.name);
        opening.replaces = old.map(|old: Arc<Identity>| old.session().id);
        opening.origin = Some(SessionOrigin {
            link: key_of(settings, &vouched),
            session: vouched.session_id.clone(),
        });
        let opened = self.sessions.open_cookie(&opening, visit.now).await?;
        Ok((user, Some(opened.set_cookie)))
    }

    /// Writes down what a provider that has just vouched for somebody said: roles, in force at once, and
    /// what it is to be asked by later.
    async fn see(
        &self,
        visit: &Visit,
        provider: &Provider,
        vouched: &Vouched,
    ) -> Result<(), VouchError> {
        let settings = provider.settings();
        let key = key_of(settings, vouched);
        let now = self.people.now();
        let former = self.people.store().find_link(&key).await?;
        let former = former.and_then(|(link, _)| link.tokens);
        let former = keeping::open(&self.sessions, &key, former.as_deref());
        let tokens = keeping::renewed(&vouched.tokens, former);
        let sealed = keeping::seal(&self.sessions, &key, &tokens);
        let next_check = sealed.as_ref().and_then(|_| next_check(provider, &tokens, now));
        let sighting = Sighting {
            issuer: vouched.issuer.clone(),
            email: vouched.email.clone(),
            tokens: sealed,
            roles: vouched.roles.clone(),
            next_check,
            replaces: None,
            event: visit.actor().event(now, "grant", None),
            key,
        };
        if let Some(user) = self.people.store().update_link(&sighting).await? {
            self.sessions.apply(&Changed::User(user));
        }
        Ok(())
    }

    /// Writes down why somebody was turned away, after the answer. It is no failure that counts against the
    /// account of that e-mail: nobody guessed at anything.
    fn record_turned_away(
        &self,
        settings: &config::Provider,
        vouched: &Vouched,
        from: &Actor,
        (account, error): (Option<Uuid>, &VouchError),
    ) {
        let mut event = from.event(self.people.now(), "sign-in-refused", account);
        event.actor = vouched.email.clone().unwrap_or_default();
        event.detail = format!("{}: {error}", settings.name);
        let people = self.people.clone();
        tokio::spawn(async move {
            if let Err(error) = people.store().insert_event(&event).await {
                tracing::warn!(%error, "a failed sign-in could not be recorded");
            }
        });
    }

    fn count<T>(&self, outcome: &Result<T, VouchError>) {
        self.metrics.counters.signed_in(match outcome {
            Ok(_) => SignInOutcome::Succeeded,
            Err(VouchError::TooMany(_)) => SignInOutcome::Limited,
            Err(
                VouchError::Store(_)
                | VouchError::Session(_)
                | VouchError::Unrecognised
                | VouchError::Provider(_),
            ) => SignInOutcome::Error,
            Err(
                VouchError::Unknown
                | VouchError::BadScope
                | VouchError::Refused(_)
                | VouchError::NoCode
                | VouchError::NoState
                | VouchError::OldState
                | VouchError::ForeignState
                | VouchError::OtherPerson
                | VouchError::Anonymous
                | VouchError::NoEmail
                | VouchError::Taken
                | VouchError::LinkedElsewhere
                | VouchError::NotAdmitted { .. }
                | VouchError::NotVerified
                | VouchError::BadCode(_),
            ) => SignInOutcome::Failed,
        });
    }
}

/// The state, if it is this browser's and in time, and who links an account by it.
fn admit<'a>(
    visit: &'a Visit,
    errand: Errand,
    state: Option<&'a State>,
) -> Result<(&'a State, Option<&'a Arc<Identity>>), VouchError> {
    let state = state.ok_or(VouchError::NoState)?;
    state.check(visit)?;
    match errand {
        Errand::SignIn => Ok((state, None)),
        Errand::Link => {
            let identity = who_links(visit)?;
            if state.user != Some(identity.user().id) {
                return Err(VouchError::OtherPerson);
            }
            Ok((state, Some(identity)))
        }
    }
}

/// The account at the provider.
pub(super) fn key_of(settings: &config::Provider, vouched: &Vouched) -> LinkKey {
    LinkKey { provider: settings.name.clone(), subject: vouched.subject.clone() }
}

/// The name of an error, if it is made of what such names are made of.
fn read_error(text: &str) -> Option<String> {
    let is_character =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_name = (1..=LONGEST_ERROR).contains(&text.len()) && text.bytes().all(is_character);
    is_name.then(|| text.to_owned())
}
