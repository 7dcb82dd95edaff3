//! The meaning of the file's single settings: what stands once, not per route or upstream.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::SecretString;

use super::KeyPath;
use crate::web::page::Pages;

/// `database`.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which store and where.
    pub url: DatabaseUrl,
    /// Upper bound of the connection pool.
    pub max_connections: u32,
    /// How long a query waits for a connection.
    pub acquire_timeout: Duration,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL connection URL (may hold a password).
    Postgres(SecretString),
}

/// `telemetry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// A level (`info`) or a `tracing-subscriber` filter directive.
    pub level: String,
    /// Line format of log and access log.
    pub format: LogFormat,
    /// Where access lines go.
    pub access_log: AccessLog,
}

/// Line format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    On,
    /// Nowhere.
    Off,
    /// Appended to a file.
    File(PathBuf),
}

/// `hashing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Verifications at a time.
    pub concurrent: usize,
    /// Attempts that may wait.
    pub queue: usize,
}

/// `portal`.
#[derive(Clone, Debug)]
pub struct Portal {
    /// Begins with `/`, does not end with one, is not `/`.
    pub path: String,
    /// Where `FastAPI` Users' addresses are served as well, if anywhere. Same shape as `path`.
    pub users_path: Option<String>,
    /// How the pages look and what they say.
    pub pages: Arc<Pages>,
}

/// `sessions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The session cookie.
    pub cookie: SessionCookie,
    /// Lifetimes without "remember me".
    pub plain: Lifetimes,
    /// Lifetimes with "remember me".
    pub remember: Lifetimes,
    /// Entries of the session cache.
    pub cache_entries: u64,
    /// How old freshness may be before a cached session is no longer used.
    pub max_staleness: Duration,
}

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Since its last use.
    pub idle: Duration,
    /// Since the sign-in.
    pub lifetime: Duration,
}

/// `sessions.cookie`, with `auto` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    /// The name without prefix (`portcullis`).
    pub name: String,
    /// The name with the prefix in force (`__Host-portcullis`).
    pub wire_name: String,
    /// `Domain` attribute, lower case, no leading dot.
    pub domain: Option<String>,
    /// `SameSite` attribute.
    pub same_site: SameSite,
    /// `Secure` attribute.
    pub secure: bool,
}

impl SessionCookie {
    /// The name of a cookie of the portal's own: it is of one host, whatever `domain` says of the session's.
    #[must_use]
    pub fn portal_name(&self, kind: &str) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}{}-{kind}", self.name)
    }

    /// The name of the cookie that keeps the language somebody chose.
    #[must_use]
    pub fn language_name(&self) -> String {
        format!("{}-language", self.wire_name)
    }
}

/// `SameSite` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent on same-site requests and top-level navigations.
    Lax,
    /// Sent on same-site requests only.
    Strict,
    /// Sent always (needs `Secure`).
    None,
}

impl From<SameSite> for cookie::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Lax => Self::Lax,
            SameSite::Strict => Self::Strict,
            SameSite::None => Self::None,
        }
    }
}

/// `tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Life of an access token.
    pub access_lifetime: Duration,
    /// `aud` of access tokens.
    pub audience: Vec<String>,
}

/// `accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRules {
    /// Who may make an account for themselves.
    pub registration: Registration,
    /// Nobody signs in, and no session gives access, before its e-mail is verified.
    pub require_verified: bool,
    /// How long an invitation is good for.
    pub invitation_lifetime: Duration,
    /// Domains, as A-labels, of which people may register an e-mail or change theirs to one; empty:
    /// every domain.
    pub email_domains: Vec<String>,
    /// Roles granted to whoever registers.
    pub default_roles: Vec<String>,
    /// A change of one's own e-mail or password through the API asks for the current password.
    pub confirm_changes: bool,
    /// Rules for passwords.
    pub password: PasswordPolicy,
}

/// Who may make an account for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Nobody.
    Closed,
    /// Whoever was invited.
    Invite,
    /// Anybody.
    Open,
}

impl AccountRules {
    /// Whether whoever was invited may make an account.
    #[must_use]
    pub const fn admits_guests(&self) -> bool {
        match self.registration {
            Registration::Closed => false,
            Registration::Invite | Registration::Open => true,
        }
    }

    /// Whether people may have an e-mail, as it is folded, of its domain.
    #[must_use]
    pub fn admits_email(&self, folded: &str) -> bool {
        let domain = folded.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.email_domains.is_empty() || self.email_domains.iter().any(|one| one == domain)
    }
}

/// `accounts.password`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Characters at least.
    pub min_length: usize,
    /// Characters at most.
    pub max_length: usize,
    /// zxcvbn score at least (0 to 4).
    pub min_strength: u8,
    /// Refuse the commonest passwords.
    pub deny_common: bool,
    /// Refuse passwords made of the person's own data.
    pub deny_profile: bool,
}

/// Longest a window of a limit may be.
pub const LONGEST_WINDOW: Duration = Duration::from_hours(24);

/// So many times within so long: `20/10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Times at most.
    pub times: u32,
    /// Within any time of this length, [`LONGEST_WINDOW`] at most.
    pub within: Duration,
}

impl Rate {
    const fn new(times: u32, minutes: u64) -> Self {
        Self { times, within: Duration::from_mins(minutes) }
    }
}

/// `limits.auth`: what people may try who have not proved who they are. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthLimits {
    /// Failed sign-ins from one address, at whatever account.
    pub failures_per_address: Option<Rate>,
    /// Failed sign-ins from one address at one account.
    pub failures_per_account_and_address: Option<Rate>,
    /// Failed sign-ins at one account, from wherever.
    pub failures_per_account: Option<Rate>,
    /// Tokens of links from one address that are not good.
    pub links_per_address: Option<Rate>,
    /// Registrations, and changes to another e-mail, from one address, whatever comes of them.
    pub registrations_per_address: Option<Rate>,
    /// Letters asked for from one address.
    pub letters_per_address: Option<Rate>,
    /// Letters of one kind to one recipient, whoever asks.
    pub letters_per_recipient: Option<Rate>,
}

impl AuthLimits {
    /// No limit at all.
    pub const OFF: Self = Self {
        failures_per_address: None,
        failures_per_account_and_address: None,
        failures_per_account: None,
        links_per_address: None,
        registrations_per_address: None,
        letters_per_address: None,
        letters_per_recipient: None,
    };
}

impl Default for AuthLimits {
    fn default() -> Self {
        Self {
            failures_per_address: Some(Rate::new(20, 10)),
            failures_per_account_and_address: Some(Rate::new(10, 10)),
            failures_per_account: Some(Rate::new(100, 60)),
            links_per_address: Some(Rate::new(20, 10)),
            registrations_per_address: Some(Rate::new(20, 60)),
            letters_per_address: Some(Rate::new(20, 10)),
            letters_per_recipient: Some(Rate::new(5, 60)),
        }
    }
}

/// `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// How long an event is kept.
    pub retention: Duration,
}

/// `mail`.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Who it is from.
    pub from: Mailbox,
    /// Where it goes.
    pub delivery: Delivery,
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// To a mail server.
    Smtp(MailServer),
    /// Into a directory, one file a message.
    Directory(PathBuf),
}

/// A mail server that takes our messages.
#[derive(Clone, Debug)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// User and password, where it asks for them.
    pub credentials: Option<(String, SecretString)>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS by STARTTLS (RFC 3207); a server that does not offer it gets nothing.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all, as the file asks for.
    Plain,
}

/// What a configuration with errors lacks of its roles: a rule that names them is not to blame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnreadRoles {
    /// Names declared where a role was refused, or one of its permissions.
    pub names: BTreeSet<String>,
    /// Not even the names are known.
    pub may_be_any: bool,
}

/// A role the file declares (or the built-in `admin`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// What it is for.
    pub description: String,
    /// Grants: `resource:action`, either may be `*`.
    pub permissions: Vec<String>,
    /// Where it stands; `None` for the built-in one.
    pub at: Option<KeyPath>,
}
