//! GitHub, and GitHub Enterprise Server: its REST interface, as far as it says who somebody is.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::claims::{self, Person};
use super::error::ProviderError;
use super::oauth2::{Known, get, object};
use super::wire::Wire;
use crate::config::{Provider as Settings, Who};
use crate::identity::user::Profile;
use crate::web::json;

/// Entries on one page, GitHub's maximum.
const PAGE: usize = 100;
/// Pages that are read at most: beyond that somebody belongs to nothing that a configuration means.
const MAX_PAGES: usize = 10;

/// Addresses of a GitHub.
#[derive(Debug)]
pub(super) struct GitHub {
    pub(super) authorize: Url,
    pub(super) token: Url,
    /// Without a final slash.
    interface: String,
    asks_organisations: bool,
    asks_teams: bool,
}

impl GitHub {
    pub(super) fn new(base: &Url, settings: &Settings) -> Self {
        let (organisations, teams) = match &settings.who {
            Who::Anyone => (false, false),
            Who::Any(lists) => (!lists.organisations.is_empty(), !lists.groups.is_empty()),
        };
        let has_roles = !settings.roles.is_empty();
        let is_public = base.host_str() == Some("github.com");
        let text = base.as_str().trim_end_matches('/');
        let at = |path: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
            url
        };
        Self {
            authorize: at("/login/oauth/authorize"),
            token: at("/login/oauth/access_token"),
            interface: if is_public {
                "https://api.github.com".to_owned()
            } else {
                format!("{text}/api/v3")
            },
            asks_organisations: organisations || has_roles,
            asks_teams: teams || has_roles,
        }
    }

    /// Who the token's owner is.
    pub(super) async fn ask(
        &self,
        wire: &Wire,
        token: &SecretString,
    ) -> Result<Known, ProviderError> {
        let user = object(get(wire, &self.address("/user")?, token).await?)?;
        let subject = claims::subject(user.get("id").filter(|id| id.is_number()))
            .ok_or(ProviderError::Malformed("it does not say whom it is about"))?;
        let emails = self.list(wire, token, "/user/emails").await?;
        let organisations = if self.asks_organisations {
            self.list(wire, token, "/user/orgs").await?
        } else {
            Vec::new()
        };
        let teams =
            if self.asks_teams { self.list(wire, token, "/user/teams").await? } else { Vec::new() };
        let (email, email_is_verified) = primary(&emails);
        let person = Person {
            email,
            email_is_verified,
            profile: Profile { first_name: claims::shown(user.get("name")), ..Profile::default() },
            groups: teams.iter().filter_map(team).collect(),
        };
        let organisations = organisations.iter().filter_map(login).collect();
        Ok(Known { subject, person, organisations })
    }

    fn address(&self, path: &str) -> Result<Url, ProviderError> {
        Url::parse(&format!("{}{path}", self.interface))
            .map_err(|_| ProviderError::Malformed("its address is none"))
    }

    /// All pages of a list.
    async fn list(
        &self,
        wire: &Wire,
        token: &SecretString,
        path: &str,
    ) -> Result<Vec<Map<String, Value>>, ProviderError> {
        let mut entries = Vec::new();
        for page in 1..=MAX_PAGES {
            let url = self.address(&format!("{path}?per_page={PAGE}&page={page}"))?;
            let Value::Array(list) = get(wire, &url, token).await? else {
                return Err(ProviderError::Malformed("it is no list"));
            };
            let is_last = list.len() < PAGE;
            entries.extend(list.into_iter().filter_map(|entry| object(entry).ok()));
            if is_last {
                break;
            }
        }
        Ok(entries)
    }
}

/// The primary e-mail, which is the one people know they are known by, and whether it is verified.
fn primary(emails: &[Map<String, Value>]) -> (Option<String>, bool) {
    let primary = emails.iter().find(|entry| claims::is_true(entry.get("primary")));
    let email = primary.and_then(|entry| claims::email(entry.get("email")));
    let is_verified = primary.is_some_and(|entry| claims::is_true(entry.get("verified")));
    (email, is_verified)
}

fn login(organisation: &Map<String, Value>) -> Option<String> {
    json::text(organisation, "login").map(str::to_lowercase)
}

/// `organisation:team`, in lower case: GitHub tells neither by case.
fn team(team: &Map<String, Value>) -> Option<String> {
    let organisation = team.get("organization")?.as_object()?;
    let slug = json::text(team, "slug")?;
    Some(format!("{}:{}", login(organisation)?, slug.to_lowercase()))
}
