//! Providers that speak OAuth 2.0 and then say who somebody is in words of their own: GitHub, and those
//! that a field map describes.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::admission::{self, Facts};
use super::claims::{self, Person};
use super::error::ProviderError;
use super::exchange::Exchange;
use super::github::GitHub;
use super::rotation::Rotation;
use super::vouched::{Tokens, Vouched};
use super::wire::Wire;
use super::{Authorization, Redemption, request};
use crate::clock::Clock;
use crate::config::{ClientAuth, OAuth2 as Addresses, Provider as Settings};
use crate::web::json;

/// A provider that speaks plain OAuth 2.0.
#[derive(Debug)]
pub(super) struct OAuth2 {
    settings: Arc<Settings>,
    wire: Wire,
    clock: Clock,
    source: Source,
    rotation: Rotation,
}

/// Where it is, and who is asked who somebody is.
#[derive(Debug)]
enum Source {
    GitHub(GitHub),
    Mapped(Box<Addresses>),
}

/// Somebody as the provider tells of them.
pub(super) struct Known {
    pub(super) subject: String,
    pub(super) person: Person,
    pub(super) organisations: Vec<String>,
}

impl OAuth2 {
    pub(super) fn github(settings: &Arc<Settings>, base: &Url, wire: &Wire, clock: &Clock) -> Self {
        Self::new(settings, Source::GitHub(GitHub::new(base, settings)), wire, clock)
    }

    pub(super) fn mapped(
        settings: &Arc<Settings>,
        addresses: &Addresses,
        wire: &Wire,
        clock: &Clock,
    ) -> Self {
        Self::new(settings, Source::Mapped(Box::new(addresses.clone())), wire, clock)
    }

    fn new(settings: &Arc<Settings>, source: Source, wire: &Wire, clock: &Clock) -> Self {
        Self {
            settings: Arc::clone(settings),
            wire: wire.clone(),
            clock: clock.clone(),
            source,
            rotation: Rotation::default(),
        }
    }

    fn authorize(&self) -> &Url {
        match &self.source {
            Source::GitHub(github) => &github.authorize,
            Source::Mapped(addresses) => &addresses.authorize,
        }
    }

    pub(super) fn authorization(&self, asked: &Authorization<'_>) -> Result<Url, ProviderError> {
        let scopes: Vec<&str> = self.settings.scopes.iter().map(String::as_str).collect();
        request(self.authorize(), &self.settings.client_id, &scopes, asked, &[])
    }

    /// A provider without discovery announces no issuer, so one that is named can only be held against
    /// the address that the browser was sent to.
    fn check_callback(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        let Some(iss) = iss else { return Ok(()) };
        let is_there =
            Url::parse(iss).is_ok_and(|issuer| issuer.origin() == self.authorize().origin());
        if is_there { Ok(()) } else { Err(ProviderError::MixUp) }
    }

    pub(super) async fn redeem(&self, asked: &Redemption<'_>) -> Result<Vouched, ProviderError> {
        self.check_callback(asked.iss)?;
        let tokens = self.exchange().redeem(asked).await?;
        let known = match self.ask(&tokens.access).await {
            // A token that was made a moment ago.
            Err(ProviderError::NoLonger(_)) => Err(ProviderError::Status(401)),
            known => known,
        };
        Ok(self.vouched(known?, tokens))
    }

    pub(super) async fn recheck(
        &self,
        kept: &Tokens,
        subject: &str,
    ) -> Result<Vouched, ProviderError> {
        let is_over = kept.expires_at.is_some_and(|end| end <= self.clock.now());
        let tokens = match &kept.refresh {
            Some(refresh) => {
                let tokens = self.exchange().refresh(&self.rotation.newest(refresh)).await?;
                self.rotation.note(refresh, tokens.refresh.as_ref());
                tokens
            }
            // GitHub's tokens last until somebody takes them back.
            None if !is_over => kept.clone(),
            None => return Err(ProviderError::NothingToAskBy),
        };
        let known = self.ask(&tokens.access).await?;
        if known.subject != subject {
            return Err(ProviderError::NoLonger("it now speaks of somebody else"));
        }
        Ok(self.vouched(known, tokens))
    }

    fn exchange(&self) -> Exchange<'_> {
        let (endpoint, announced) = match &self.source {
            Source::GitHub(github) => (&github.token, ClientAuth::Post),
            Source::Mapped(addresses) => (&addresses.token, ClientAuth::Basic),
        };
        Exchange {
            wire: &self.wire,
            settings: &self.settings,
            endpoint,
            announced: Some(announced),
            clock: &self.clock,
        }
    }

    async fn ask(&self, token: &SecretString) -> Result<Known, ProviderError> {
        match &self.source {
            Source::GitHub(github) => github.ask(&self.wire, token).await,
            Source::Mapped(addresses) => {
                let answer = get(&self.wire, &addresses.userinfo, token).await?;
                let answer = object(answer)?;
                let subject = json::find(&answer, &addresses.fields.subject);
                let subject = claims::subject(subject)
                    .ok_or(ProviderError::Malformed("it does not say whom it is about"))?;
                let groups = self.settings.roles_claim.as_deref();
                let person = claims::mapped(&answer, &addresses.fields, groups);
                Ok(Known { subject, person, organisations: Vec::new() })
            }
        }
    }

    fn vouched(&self, known: Known, tokens: Tokens) -> Vouched {
        let Known { subject, person, organisations } = known;
        let folds_groups = matches!(self.source, Source::GitHub(_));
        let facts = Facts {
            email: person.email.as_deref(),
            email_is_verified: person.email_is_verified,
            organisations: &organisations,
            groups: &person.groups,
            folds_groups,
            ..Facts::default()
        };
        let is_admitted = admission::admits(&self.settings.who, &facts);
        let mut groups = person.groups;
        groups.extend(organisations);
        Vouched {
            issuer: self.authorize().origin().ascii_serialization(),
            subject,
            email: person.email,
            email_is_verified: person.email_is_verified,
            profile: person.profile,
            roles: admission::roles(&self.settings.roles, &groups, folds_groups),
            is_admitted,
            tokens,
            session_id: None,
        }
    }
}

/// Asks with an access token; 401 means that it is not taken any more.
pub(super) async fn get(
    wire: &Wire,
    url: &Url,
    token: &SecretString,
) -> Result<Value, ProviderError> {
    let answer = wire.get(url, Some(token)).await?;
    match (answer.status, answer.body) {
        (200..=299, Some(body)) => Ok(body),
        (200..=299, None) => Err(ProviderError::Malformed("it is not JSON")),
        (401, _) => Err(ProviderError::NoLonger("its access token is not taken")),
        (status, _) => Err(ProviderError::Status(status)),
    }
}

pub(super) fn object(value: Value) -> Result<Map<String, Value>, ProviderError> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(ProviderError::Malformed("it is no JSON object"))
        }
    }
}
