//! Signing in by a provider, as JSON (`docs/json-api.md`). Navigations get pages, which are the
//! portal's.

use http::header::SET_COOKIE;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::bodies::{UserBody, json};
use super::endpoint::Access;
use super::people::{asked_by, change_failure};
use super::{Api, refuse_foreign, unauthorized};
use crate::accounts::visit::{Answer, Visit, empty, form_failure, store_failure};
use crate::accounts::vouching::{Arrival, Departure, Errand, VouchError, read_departure};
use crate::accounts::{Confirmation, Confirmed, Mistake};
use crate::config::Config;
use crate::identity::user::Person;
use crate::session::Identity;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, FormError, RequestBody};

/// An address of a provider's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Leg {
    pub(super) provider: String,
    pub(super) step: Step,
}

/// What is done there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A browser asks where to go.
    Depart(Errand),
    /// It comes back.
    Arrive(Errand),
    /// The provider says that somebody signed out there.
    Notice,
    /// What somebody has linked, at whatever provider.
    List,
    /// Takes the links to a provider away.
    Unlink,
}

impl Step {
    /// Every step at a provider.
    pub(super) const ALL: [Self; 6] = [
        Self::Depart(Errand::SignIn),
        Self::Arrive(Errand::SignIn),
        Self::Notice,
        Self::Depart(Errand::Link),
        Self::Arrive(Errand::Link),
        Self::Unlink,
    ];
}

impl Leg {
    /// The address below `portal.path`.
    pub(super) fn path(&self) -> String {
        let provider = &self.provider;
        match self.step {
            Step::Depart(Errand::SignIn) => format!("{provider}/authorize"),
            Step::Arrive(Errand::SignIn) => format!("{provider}/callback"),
            Step::Notice => format!("{provider}/backchannel-logout"),
            Step::Depart(Errand::Link) => format!("associate/{provider}/authorize"),
            Step::Arrive(Errand::Link) => format!("associate/{provider}/callback"),
            Step::List => "associate".to_owned(),
            Step::Unlink => format!("associate/{provider}"),
        }
    }

    /// The address at the segments below `portal.path`, whether or not there is such a provider.
    pub(super) fn of(segments: &[&str]) -> Option<Self> {
        let (provider, step) = match segments {
            [provider, "authorize"] => (provider, Step::Depart(Errand::SignIn)),
            [provider, "callback"] => (provider, Step::Arrive(Errand::SignIn)),
            [provider, "backchannel-logout"] => (provider, Step::Notice),
            ["associate", provider, "authorize"] => (provider, Step::Depart(Errand::Link)),
            ["associate", provider, "callback"] => (provider, Step::Arrive(Errand::Link)),
            ["associate"] => (&"", Step::List),
            ["associate", provider] => (provider, Step::Unlink),
            _ => return None,
        };
        Some(Self { provider: (*provider).to_owned(), step })
    }

    pub(super) fn is_there(&self, config: &Config, is_navigation: bool) -> bool {
        let is_configured = config.provider(&self.provider).is_some();
        match self.step {
            Step::Depart(_) | Step::Arrive(_) => is_configured && !is_navigation,
            Step::Notice => is_configured,
            // What was linked may be unlinked when the provider is configured no more.
            Step::List | Step::Unlink => true,
        }
    }

    /// Only somebody signed in links an account.
    pub(super) const fn access(&self) -> Access {
        match self.step {
            Step::Depart(Errand::Link) | Step::Arrive(Errand::Link) | Step::List | Step::Unlink => {
                Access::SignedIn
            }
            Step::Depart(Errand::SignIn) | Step::Arrive(Errand::SignIn) | Step::Notice => {
                Access::Anybody
            }
        }
    }

    pub(super) const fn methods(&self) -> &'static [Method] {
        match self.step {
            Step::Depart(_) | Step::Arrive(_) | Step::List => &[Method::GET],
            Step::Unlink => &[Method::DELETE],
            Step::Notice => &[Method::POST],
        }
    }
}

impl Api {
    pub(super) async fn vouch<B: RequestBody>(
        &self,
        visit: &Visit,
        leg: &Leg,
        body: B,
    ) -> Result<Answer, Failure> {
        match leg.step {
            Step::Depart(errand) => self.depart(visit, &leg.provider, errand).await,
            Step::Arrive(errand) => self.arrive(visit, &leg.provider, errand).await,
            Step::Notice => self.heed_logout(visit, &leg.provider, body).await,
            Step::List => self.list_links(caller(visit)?).await,
            Step::Unlink => self.unlink(visit, caller(visit)?, &leg.provider).await,
        }
    }

    async fn list_links(&self, identity: &Identity) -> Result<Answer, Failure> {
        let links = self.accounts.links_of(identity.user().id).await.map_err(store_failure)?;
        let bodies = links.iter().map(|link| {
            json!({
                "provider": link.key.provider,
                "label": link.label,
                "account_email": link.email,
                "linked_at": link.linked_at.to_string(),
            })
        });
        json(StatusCode::OK, &bodies.collect::<Vec<_>>())
    }

    /// All links of one's own to a provider; the last way in stays.
    async fn unlink(
        &self,
        visit: &Visit,
        identity: &Identity,
        provider: &str,
    ) -> Result<Answer, Failure> {
        let confirmed = self.confirm(visit, identity).await?;
        let all = (provider, None);
        match self.accounts.unlink((identity, confirmed), all, &visit.actor()).await {
            Ok(true) => Ok(empty(StatusCode::NO_CONTENT)),
            Ok(false) => Err(Failure::new(StatusCode::NOT_FOUND)),
            Err(Mistake::Conflict(Conflict::LastWayIn)) => {
                Err(Failure::new(StatusCode::BAD_REQUEST).detail("LAST_WAY_IN"))
            }
            Err(Mistake::Conflict(Conflict::Gone)) => Err(unauthorized(visit)),
            Err(Mistake::Store(error)) => Err(store_failure(error)),
            Err(mistake) => Err(mistake.into()),
        }
    }

    async fn depart(
        &self,
        visit: &Visit,
        provider: &str,
        errand: Errand,
    ) -> Result<Answer, Failure> {
        refuse_foreign(visit, true)?;
        let read = read_departure(visit);
        let (query, scopes) = read.map_err(|_| Failure::new(StatusCode::BAD_REQUEST))?;
        let confirmed = match errand {
            Errand::SignIn => None,
            Errand::Link => Some(self.confirm(visit, caller(visit)?).await?),
        };
        let going = Departure { provider, confirmed, query: &query, scopes: &scopes };
        let gone = self.accounts.depart(visit, going).await;
        let gone = gone.map_err(|error| failure_of(visit, error, provider))?;
        let body = json!({ "authorization_url": gone.url.as_str() });
        let mut answer = json(StatusCode::OK, &body)?;
        gone.cookies.into_iter().for_each(|cookie| add_cookie(&mut answer, Some(cookie)));
        Ok(answer)
    }

    /// Neither address takes a body: where a change is to be confirmed, the session has to be recent.
    async fn confirm(&self, visit: &Visit, identity: &Identity) -> Result<Confirmed, Failure> {
        let confirmation = asked_by(visit, || Confirmation::Recent);
        let confirmed = self.accounts.confirm_own(identity, confirmation, &visit.actor()).await;
        confirmed.map_err(|error| change_failure(error, String::new(), || unauthorized(visit)))
    }

    async fn arrive(
        &self,
        visit: &Visit,
        provider: &str,
        errand: Errand,
    ) -> Result<Answer, Failure> {
        refuse_foreign(visit, true)?;
        if visit.method == Method::HEAD {
            return Err(Failure::new(StatusCode::BAD_REQUEST));
        }
        let query = read_query(visit)?;
        let coming = Arrival { provider, errand, query: &query };
        let arrived = self.accounts.arrive(visit, coming).await?;
        let mut answer = match arrived.outcome {
            Ok((_, Some(session))) => {
                let mut answer = empty(StatusCode::NO_CONTENT);
                add_cookie(&mut answer, Some(session));
                answer
            }
            Ok((user, None)) => json(StatusCode::OK, &UserBody::of(&Person::of(&user)))?,
            Err(error) => {
                let failure = failure_of(visit, error, &arrived.label);
                failure.as_json(&visit.request_id)
            }
        };
        add_cookie(&mut answer, arrived.clear);
        Ok(answer)
    }

    /// OpenID Connect Back-Channel Logout 1.0 section 2.5 to 2.8.
    async fn heed_logout<B: RequestBody>(
        &self,
        visit: &Visit,
        provider: &str,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = match Form::read(&visit.headers, body).await {
            Ok(form) => form,
            Err(FormError::NotAForm) => Form::default(),
            Err(error) => return Err(form_failure(&error)),
        };
        let token = form.get("logout_token").unwrap_or_default();
        match self.accounts.heed_logout(provider, token, &visit.actor()).await {
            Ok(()) => Ok(empty(StatusCode::OK)),
            Err(VouchError::NoState) => {
                Err(Failure::new(StatusCode::BAD_REQUEST).detail("invalid_request"))
            }
            Err(error) => Err(error.failure(provider)),
        }
    }
}

fn caller(visit: &Visit) -> Result<&Identity, Failure> {
    let (identity, _) = visit.identity()?.ok_or_else(|| unauthorized(visit))?;
    Ok(identity)
}

fn failure_of(visit: &Visit, error: VouchError, provider: &str) -> Failure {
    if matches!(error, VouchError::Anonymous) {
        unauthorized(visit)
    } else {
        error.failure(provider)
    }
}

fn read_query(visit: &Visit) -> Result<Form, Failure> {
    Form::from_query(visit.target.query().unwrap_or_default())
        .map_err(|_| Failure::new(StatusCode::BAD_REQUEST))
}

fn add_cookie(answer: &mut Answer, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
}
