//! Providers that speak OpenID Connect: Google, Microsoft, GitLab and any other, by discovery.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::admission::{self, Domain, Facts};
use super::cached::{Cached, Kept};
use super::claims::{self, Person};
use super::discovery::{self, Metadata};
use super::error::{IdTokenFault, ProviderError};
use super::exchange::Exchange;
use super::keys::KeySet;
use super::rotation::Rotation;
use super::token::{self, Answering, Expected, Issuer, TENANT, Token};
use super::vouched::{LogoutNotice, Tokens, Vouched};
use super::wire::Wire;
use super::{Authorization, Redemption, request};
use crate::clock::Clock;
use crate::config::{Provider as Settings, Who};
use crate::web::json;

/// After this, what a provider says of itself and its keys are asked for again.
const MAX_AGE: Duration = Duration::from_hours(24);
/// A key with a name not known is looked for in keys asked for anew, this often at most.
const NEW_KEYS: Duration = Duration::from_secs(30);
/// Signing out here waits for nobody longer.
const SIGN_OUT: Duration = Duration::from_secs(2);

/// A provider that speaks OpenID Connect.
#[derive(Debug)]
pub(super) struct OpenId {
    settings: Arc<Settings>,
    wire: Wire,
    clock: Clock,
    place: Place,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
    rotation: Rotation,
}

/// Whom to expect, and where.
#[derive(Debug)]
pub(super) struct Place {
    /// As the discovery document has to name it.
    issuer: String,
    /// Below which the document is.
    authority: String,
    /// What people's links are kept under.
    name: String,
    flavour: Flavour,
}

/// What tells the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// The hosted domain counts, not the e-mail's.
    Google,
    /// Many issuers, one for each tenant.
    Microsoft,
    /// Groups are paths, in which letter case means nothing, and stand in the userinfo answer.
    GitLab,
    /// As the standard has it.
    Standard,
}

impl Place {
    /// A provider of one issuer.
    pub(super) fn of(issuer: &str, flavour: Flavour) -> Self {
        let text = || issuer.to_owned();
        Self { issuer: text(), authority: text(), name: text(), flavour }
    }

    /// Microsoft: the issuer of the only tenant that is admitted, or that of any tenant, with a place for
    /// its id.
    pub(super) fn of_microsoft(base: &Url, who: &Who) -> Self {
        let base = base.as_str().trim_end_matches('/');
        let tenant = match who {
            Who::Any(lists) => lists.tenants.first().filter(|_| lists.tenants.len() == 1),
            Who::Anyone => None,
        };
        let at = |tenant: &str| format!("{base}/{tenant}/v2.0");
        Self {
            issuer: at(tenant.map_or(TENANT, String::as_str)),
            authority: at(tenant.map_or("common", String::as_str)),
            // Stays when another tenant is admitted.
            name: base.to_owned(),
            flavour: Flavour::Microsoft,
        }
    }
}

/// An ID token's claims, or none after a refresh that brought no ID token, with the userinfo answer's.
struct Said {
    id_token: Map<String, Value>,
    userinfo: Option<Map<String, Value>>,
}

impl OpenId {
    pub(super) fn new(settings: &Arc<Settings>, place: Place, wire: &Wire, clock: &Clock) -> Self {
        let name = || settings.name.clone();
        Self {
            settings: Arc::clone(settings),
            wire: wire.clone(),
            clock: clock.clone(),
            place,
            metadata: Cached::new(name(), clock.clone(), MAX_AGE),
            keys: Cached::new(name(), clock.clone(), MAX_AGE),
            rotation: Rotation::default(),
        }
    }

    async fn metadata(&self) -> Result<Arc<Kept<Metadata>>, ProviderError> {
        self.metadata.get(|| self.fetch_metadata()).await
    }

    async fn fetch_metadata(&self) -> Result<Metadata, ProviderError> {
        let address = discovery::address(&self.place.authority);
        let address = address.ok_or(ProviderError::Malformed("its issuer is no address"))?;
        discovery::read(&self.wire.get(&address, None).await?.object()?, &self.place.issuer)
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<KeySet, ProviderError> {
        KeySet::read(&self.wire.get(&metadata.keys, None).await?.object()?)
    }

    /// Whose tokens are taken.
    fn expected_issuer(&self) -> Issuer {
        if self.place.issuer.contains(TENANT) {
            Issuer::OfTenant(self.place.issuer.clone())
        } else {
            Issuer::Exactly(self.place.issuer.clone())
        }
    }

    /// Checks a callback's `iss` (RFC 9207 section 2.4).
    async fn check_callback(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        let metadata = self.metadata().await?;
        let is_good = match iss {
            Some(iss) => self.expected_issuer().is_named(iss),
            None => !metadata.value.announces_iss,
        };
        if is_good { Ok(()) } else { Err(ProviderError::MixUp) }
    }

    pub(super) async fn authorization(
        &self,
        asked: &Authorization<'_>,
    ) -> Result<Url, ProviderError> {
        let metadata = self.metadata().await?;
        let mut scopes: Vec<&str> = self.settings.scopes.iter().map(String::as_str).collect();
        let asks_later = self.settings.recheck.is_some();
        let mut further = vec![("nonce", asked.nonce)];
        match self.place.flavour {
            Flavour::Google if asks_later => further.push(("access_type", "offline")),
            // Core section 11: the scope counts only beside this prompt.
            Flavour::Standard if asks_later && metadata.value.offers_offline_access => {
                if !scopes.contains(&"offline_access") {
                    scopes.push("offline_access");
                }
                further.push(("prompt", "consent"));
            }
            Flavour::Google | Flavour::Microsoft | Flavour::GitLab | Flavour::Standard => {}
        }
        let endpoint = &metadata.value.authorization;
        request(endpoint, &self.settings.client_id, &scopes, asked, &further)
    }

    pub(super) async fn redeem(&self, asked: &Redemption<'_>) -> Result<Vouched, ProviderError> {
        self.check_callback(asked.iss).await?;
        let metadata = self.metadata().await?;
        let tokens = self.exchange(&metadata.value).redeem(asked).await?;
        let Some(id_token) = &tokens.id_token else {
            return Err(ProviderError::Malformed("it sent no ID token"));
        };
        let answering = Answering {
            nonce: Some(asked.nonce),
            access_token: Some(tokens.access.expose_secret()),
        };
        let id_token = self.read_id_token(&metadata.value, id_token, &answering).await?;
        let userinfo = self.userinfo(&metadata.value, &tokens, &id_token).await?;
        self.vouched(&Said { id_token, userinfo }, tokens)
    }

    pub(super) async fn recheck(
        &self,
        kept: &Tokens,
        subject: &str,
    ) -> Result<Vouched, ProviderError> {
        let metadata = self.metadata().await?;
        let Some(refresh) = &kept.refresh else { return Err(ProviderError::NothingToAskBy) };
        let newest = self.rotation.newest(refresh);
        let tokens = self.exchange(&metadata.value).refresh(&newest).await?;
        self.rotation.note(refresh, tokens.refresh.as_ref());
        let vouched = self.read_refreshed(&metadata.value, tokens).await?;
        if vouched.subject != subject {
            return Err(ProviderError::NoLonger("it now speaks of somebody else"));
        }
        Ok(vouched)
    }

    async fn read_refreshed(
        &self,
        metadata: &Metadata,
        tokens: Tokens,
    ) -> Result<Vouched, ProviderError> {
        let id_token = match &tokens.id_token {
            Some(id_token) => {
                let access_token = Some(tokens.access.expose_secret());
                let answering = Answering { nonce: None, access_token };
                self.read_id_token(metadata, id_token, &answering).await?
            }
            // Core section 12.2: a refresh need not bring one.
            None => Map::new(),
        };
        let userinfo = self.userinfo(metadata, &tokens, &id_token).await?;
        self.vouched(&Said { id_token, userinfo }, tokens)
    }

    fn exchange<'a>(&'a self, metadata: &'a Metadata) -> Exchange<'a> {
        Exchange {
            wire: &self.wire,
            settings: &self.settings,
            endpoint: &metadata.token,
            announced: metadata.client_auth,
            clock: &self.clock,
        }
    }

    async fn read_id_token(
        &self,
        metadata: &Metadata,
        text: &SecretString,
        answering: &Answering<'_>,
    ) -> Result<Map<String, Value>, ProviderError> {
        let token = Token::read(text.expose_secret(), &metadata.algorithms)?;
        self.with_keys(metadata, |keys, expected| {
            token::check_id_token(&token, keys, expected, answering).cloned()
        })
        .await
    }

    /// Checks something signed; once more with keys asked for anew if its key is not known.
    async fn with_keys<T>(
        &self,
        metadata: &Metadata,
        check: impl Fn(&KeySet, &Expected<'_>) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let issuer = self.expected_issuer();
        let expected = Expected {
            issuer: &issuer,
            client_id: &self.settings.client_id,
            now: self.clock.now(),
            leeway: self.settings.leeway,
        };
        let keys = self.keys.get(|| self.fetch_keys(metadata)).await?;
        match check(&keys.value, &expected) {
            Err(ProviderError::IdToken(IdTokenFault::Key)) => {
                let newer = self.keys.renew(&keys, NEW_KEYS, || self.fetch_keys(metadata)).await;
                check(&newer.value, &expected)
            }
            checked => checked,
        }
    }

    /// Asks who somebody is, where the ID token leaves something out that is needed. Google and
    /// Microsoft put everything into it.
    async fn userinfo(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        id_token: &Map<String, Value>,
    ) -> Result<Option<Map<String, Value>>, ProviderError> {
        let lacks = |name: &str| !id_token.contains_key(name);
        let is_needed = match self.place.flavour {
            Flavour::Google | Flavour::Microsoft => id_token.is_empty(),
            Flavour::GitLab => true,
            Flavour::Standard => {
                let claim = self.settings.roles_claim.as_deref().unwrap_or("groups");
                lacks("email") || lacks("email_verified") || json::find(id_token, claim).is_none()
            }
        };
        let Some(endpoint) = metadata.userinfo.as_ref().filter(|_| is_needed) else {
            return Ok(None);
        };
        let answer = self.wire.get(endpoint, Some(&tokens.access)).await?;
        if answer.status == 401 && id_token.is_empty() {
            return Err(ProviderError::NoLonger("its access token is not taken"));
        }
        let answer = answer.object()?;
        // Core section 5.3.2: an answer about somebody else must not be used.
        let said = token::subject(&answer).ok_or(IdTokenFault::Subject)?;
        if !id_token.is_empty() && Some(said) != token::subject(id_token) {
            return Err(ProviderError::Malformed("its userinfo is about somebody else"));
        }
        Ok(Some(answer))
    }

    fn vouched(&self, said: &Said, tokens: Tokens) -> Result<Vouched, ProviderError> {
        let any = if said.id_token.is_empty() { said.userinfo.as_ref() } else { None };
        let source = any.unwrap_or(&said.id_token);
        let tenant = json::text(&said.id_token, "tid");
        let subject = match self.place.flavour {
            Flavour::Microsoft => microsoft_subject(&said.id_token)?,
            Flavour::Google | Flavour::GitLab | Flavour::Standard => {
                token::subject(source).ok_or(IdTokenFault::Subject)?.to_owned()
            }
        };
        let groups = self.settings.roles_claim.as_deref();
        let mut person = claims::standard(&said.id_token, said.userinfo.as_ref(), groups);
        if self.place.flavour == Flavour::Microsoft {
            // Any tenant's administrator writes any address there; this claim alone says that the
            // domain is the tenant's own.
            person.email_is_verified = claims::is_true(said.id_token.get("xms_edov"));
        }
        let is_admitted = self.admits(&person, said, tenant);
        let Person { email, email_is_verified, profile, groups } = person;
        Ok(Vouched {
            issuer: self.place.name.clone(),
            subject,
            email,
            email_is_verified,
            profile,
            roles: admission::roles(&self.settings.roles, &groups, self.folds_groups()),
            is_admitted,
            session_id: token::session(&said.id_token).map(str::to_owned),
            tokens,
        })
    }

    fn folds_groups(&self) -> bool {
        self.place.flavour == Flavour::GitLab
    }

    fn admits(&self, person: &Person, said: &Said, tenant: Option<&str>) -> bool {
        let hosted = || Domain::Hosted(json::text(&said.id_token, "hd"));
        let facts = Facts {
            email: person.email.as_deref(),
            email_is_verified: person.email_is_verified,
            domain: match self.place.flavour {
                Flavour::Google => hosted(),
                Flavour::Microsoft | Flavour::GitLab | Flavour::Standard => Domain::OfEmail,
            },
            organisations: &[],
            groups: &person.groups,
            folds_groups: self.folds_groups(),
            tenant,
        };
        admission::admits(&self.settings.who, &facts)
    }

    pub(super) async fn logout_url(&self, back_to: &str) -> Option<Url> {
        let known = match self.metadata.known() {
            Some(known) => known,
            None => tokio::time::timeout(SIGN_OUT, self.metadata()).await.ok()?.ok()?,
        };
        let mut url = known.value.end_session.clone()?;
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.settings.client_id);
        query.append_pair("post_logout_redirect_uri", back_to);
        drop(query);
        Some(url)
    }

    pub(super) async fn read_logout_token(
        &self,
        text: &str,
    ) -> Result<LogoutNotice, ProviderError> {
        if self.place.flavour == Flavour::Microsoft {
            // Its logout tokens would name a subject that is not tenant and object id.
            return Err(ProviderError::Unsupported);
        }
        let metadata = self.metadata().await?;
        let token = Token::read(text, &metadata.value.algorithms)?;
        self.with_keys(&metadata.value, |keys, expected| {
            let said = token::check_logout_token(&token, keys, expected)?;
            Ok(LogoutNotice {
                subject: said.subject.map(str::to_owned),
                session: said.session.map(str::to_owned),
                id: said.id.to_owned(),
                until: said.until,
            })
        })
        .await
    }
}

/// A person across all of an organisation's applications; `sub` is another for every one of them.
fn microsoft_subject(claims: &Map<String, Value>) -> Result<String, ProviderError> {
    let id = |name: &str| {
        let text = json::text(claims, name)?;
        uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
    };
    let (Some(tenant), Some(object)) = (id("tid"), id("oid")) else {
        return Err(IdTokenFault::Subject.into());
    };
    Ok(format!("{tenant}/{object}"))
}
