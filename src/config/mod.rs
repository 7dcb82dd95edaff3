//! The configuration as it is meant: checked, with every default filled in.
//!
//! `yaml` reads what the file says; the types here are what it means, and `meaning` leads from one to
//! the other. Nothing here opens a socket or a database. What other modules find wrong with a
//! configuration they report by [`KeyPath`]; only this module turns a key path into file, line and
//! column.

pub mod duration;
mod include;
mod load;
mod meaning;
mod nearest;
mod provider;
mod restart;
mod route;
mod secret;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod warnings;
mod yaml;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ipnet::IpNet;
use secrecy::SecretString;

use crate::web::language::Language;
use crate::web::origin::Origin;

/// Where `/metrics` and `/health/*` are unless the file says otherwise.
pub const MANAGEMENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

pub(crate) use nearest::nearest;

pub use load::{NoFile, Reading, find_file, load, load_partly, load_text, schema};
pub use provider::{
    Admission, ClientAuth, FieldMap, LinkByEmail, OAuth2, Provider, ProviderKind, Who, is_here,
    is_protected, is_provider_name,
};
pub use route::{
    Allow, Cache, IdentityProfile, Route, Rule, RuleMap, Unauthenticated, Upstream, UserRef,
};
pub use secret::check_secret;
pub use settings::{
    AccessLog, AccountRules, AuthLimits, Database, DatabaseUrl, Delivery, Events, Hashing,
    LONGEST_WINDOW, Lifetimes, LogFormat, Mail, MailSecurity, MailServer, PasswordPolicy, Portal,
    Rate, Registration, Role, SameSite, SessionCookie, Sessions, Telemetry, Tokens, UnreadRoles,
};
pub use sources::{Diagnostic, Location, Sources};
pub use warnings::warnings;

/// Where in the configuration something stands: the file's number in [`Sources`] and the key path
/// within it, spelled `routes[1].allow.roles[0]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyPath {
    /// Index of the file in [`Sources`]; 0 is the main file.
    pub file: usize,
    /// The path of keys within that file; empty for the whole document.
    pub path: String,
}

/// Something wrong, or worth a warning, at a place of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place.
    pub at: KeyPath,
    /// One sentence, lower case, no full stop.
    pub message: String,
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses the gateway listens on (plain HTTP/1.1).
    pub listen: Vec<SocketAddr>,
    /// Address of `/metrics` and `/health/*`; `None` when `off`.
    pub management: Option<SocketAddr>,
    /// The portal's origin, no path. Filled in from the first listener where the file leaves it out.
    pub public_url: Origin,
    /// Whether the file itself named `public_url`.
    pub public_url_given: bool,
    /// Peers whose `X-Forwarded-For` and `-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Other sites whose pages may call with credentials.
    pub origins: Vec<Origin>,
    /// The master secret; `None` when one is to be generated in the data directory.
    pub secret: Option<SecretString>,
    /// Earlier master secrets: accepted, never used to sign.
    pub previous_secrets: Vec<SecretString>,
    /// Where the gateway keeps its data.
    pub data: PathBuf,
    /// The database.
    pub database: Database,
    /// Data-plane threads.
    pub workers: usize,
    /// How long requests in flight may take after SIGTERM.
    pub drain: Duration,
    /// Log and access log.
    pub telemetry: Telemetry,
    /// The password-hashing pool.
    pub hashing: Hashing,
    /// The gateway's own pages.
    pub portal: Portal,
    /// Sessions and their cookie.
    pub sessions: Sessions,
    /// Access tokens.
    pub tokens: Tokens,
    /// What people may do with accounts.
    pub accounts: AccountRules,
    /// Limits on what people try who have not proved who they are.
    pub auth_limits: AuthLimits,
    /// What happened to accounts, and how long it is kept.
    pub events: Events,
    /// How mail is sent; `None`: not at all.
    pub mail: Option<Mail>,
    /// Who vouches for people, in the order of the file.
    pub providers: Vec<Arc<Provider>>,
    /// Roles the file declares, by name, with the built-in `admin` unless the file declares it.
    pub roles: BTreeMap<String, Role>,
    /// Roles that could not be read; nothing in a configuration without errors.
    pub unread_roles: UnreadRoles,
    /// Upstreams by name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Distinct identity profiles; [`Route::profile`] is an index into this list. Index 0 is the
    /// top-level `identity`.
    pub profiles: Vec<Arc<IdentityProfile>>,
    /// Routes in the order of the files.
    pub routes: Vec<Route>,
    /// Where everything stands.
    pub sources: Arc<Sources>,
}

impl Config {
    /// The language in which somebody is shown pages, by what their request says.
    #[must_use]
    pub fn language_of(&self, headers: &HeaderMap) -> Language {
        let cookie = self.sessions.cookie.language_name();
        Language::chosen(headers, &cookie, &self.portal.pages.languages())
    }

    /// The provider of this name, if it is configured.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// Says where in its file a problem stands that another module found.
    #[must_use]
    pub fn diagnose(&self, problem: &Problem) -> Diagnostic {
        self.sources.diagnose(problem)
    }
}

/// Every environment variable a file may use. Injected, so that tests say what it holds.
pub trait Environment {
    /// The variable's value, if it is set (a value that is not UTF-8 counts as unset).
    fn get(&self, name: &str) -> Option<String>;
}

/// Whether an address is within one of the networks; IPv4-mapped IPv6 counts as IPv4.
#[must_use]
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
