//! What the file says: its types, one field per key, and nothing of what the keys mean.
//!
//! Only this module and those below it know that the format is YAML. A file goes through them in this
//! order: the span tree ([`tree`], [`read`]), variables ([`variables`]), our own JSON Schema, which is
//! made from the types here ([`schema`]), and serde, over the replaced tree and never over the text again.
//!
//! Doc comments of the fields are the schema's descriptions: editors show them.

mod fault;
mod provider;
pub(super) mod read;
mod route;
pub(super) mod schema;
pub(super) mod spelling;
pub(super) mod tree;
pub(super) mod variables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{LogFormat, SameSite};
pub(super) use provider::{Admission, Fields, Provider, Who};
pub(super) use route::{Allow, Identity, Role, Route, Rule, RuleMap, Upstream, UpstreamMap};
use spelling::{AutoWord, Chosen, OffWord, SecureWord, Text};

type Duration = Text<spelling::Duration>;
type FilePath = Text<spelling::FilePath>;
type Secret = Text<spelling::Secret>;
type Network = Text<spelling::Network>;
type RateText = Text<spelling::RateOrOff>;

/// Configuration of the Portcullis gateway.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a map of settings")]
pub(super) struct Main {
    /// Further files whose routes, upstreams and roles are added; `*` may stand in the file name.
    #[serde(default)]
    pub(super) include: Vec<Text<spelling::Glob>>,
    /// Addresses the gateway listens on. Default: 127.0.0.1:8080.
    #[serde(default)]
    #[schemars(with = "Listen")]
    pub(super) listen: Option<Listen>,
    /// Address of /metrics, /health/live and /health/ready, or off. Default: 127.0.0.1:9180.
    #[serde(default)]
    #[schemars(with = "Text<spelling::AddressOrOff>")]
    pub(super) management: Option<Text<spelling::AddressOrOff>>,
    /// The portal's origin. May be left out only if every listener is on loopback.
    pub(super) public_url: Option<Text<spelling::OriginText>>,
    /// Networks of proxies whose X-Forwarded-For and -Proto are believed. Default: nobody.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Network>,
    /// Other sites whose pages may call with credentials. Default: none.
    #[serde(default)]
    pub(super) origins: Vec<Text<spelling::OriginText>>,
    /// The master secret. Default: one is generated and kept in the data directory.
    pub(super) secret: Option<Secret>,
    /// A file that holds the master secret, readable by its owner only.
    pub(super) secret_file: Option<FilePath>,
    /// Earlier master secrets: still accepted, never used to sign.
    #[serde(default)]
    pub(super) previous_secrets: Vec<Secret>,
    /// Directory of the database and the generated secret. Default: the file's directory.
    pub(super) data: Option<FilePath>,
    /// The database.
    #[serde(default)]
    #[schemars(with = "Database")]
    pub(super) database: Option<Database>,
    /// A file that holds the database's URL, readable by its owner only.
    pub(super) database_file: Option<FilePath>,
    /// Threads that serve requests. Default: auto, as many as cores.
    #[serde(default)]
    #[schemars(with = "Count")]
    pub(super) workers: Option<Count>,
    /// How long requests in flight may take after SIGTERM. Default: 30s.
    #[serde(default)]
    #[schemars(with = "Text<spelling::DurationOrNone>")]
    pub(super) drain: Option<Text<spelling::DurationOrNone>>,
    /// Log and access log.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// The password-hashing pool.
    #[serde(default)]
    pub(super) hashing: Hashing,
    /// The gateway's own pages.
    #[serde(default)]
    pub(super) portal: Portal,
    /// Sessions and their cookie.
    #[serde(default)]
    pub(super) sessions: Sessions,
    /// Access tokens.
    #[serde(default)]
    pub(super) tokens: Tokens,
    /// What people do with accounts.
    #[serde(default)]
    pub(super) accounts: Accounts,
    /// Limits on what is tried from outside, or off. Default: those of each key.
    #[serde(default)]
    #[schemars(with = "Limits")]
    pub(super) limits: Option<Limits>,
    /// What happened to accounts, as it is written down.
    #[serde(default)]
    pub(super) events: Events,
    /// How mail is sent. Default: null, no mail.
    pub(super) mail: Option<Mail>,
    /// Who vouches for people, by name. Default: nobody, people sign in with passwords.
    #[serde(default)]
    pub(super) providers: Named<spelling::ProviderName, Provider>,
    /// Roles by name. `admin` (`*:*`) is built in unless declared here.
    #[serde(default)]
    pub(super) roles: Named<spelling::RoleName, Role>,
    /// Applications behind the gateway, by name.
    #[serde(default)]
    pub(super) upstreams: Named<spelling::UpstreamName, Upstream>,
    /// Identity headers applications get.
    #[serde(default)]
    #[schemars(with = "Identity")]
    pub(super) identity: Option<Identity>,
    /// Who may go where.
    #[serde(default)]
    pub(super) routes: Vec<Route>,
}

/// A further file of routes, upstreams and roles.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a map of routes, upstreams and roles")]
pub(super) struct Included {
    /// Roles by name.
    #[serde(default)]
    pub(super) roles: Named<spelling::RoleName, Role>,
    /// Applications behind the gateway, by name.
    #[serde(default)]
    pub(super) upstreams: Named<spelling::UpstreamName, Upstream>,
    /// Who may go where.
    #[serde(default)]
    pub(super) routes: Vec<Route>,
}

/// A map whose keys have a spelling of their own.
pub(super) struct Named<K, V> {
    pub(super) entries: BTreeMap<String, V>,
    kind: std::marker::PhantomData<K>,
}

impl<K, V> Default for Named<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), kind: std::marker::PhantomData }
    }
}

impl<'de, K, V: Deserialize<'de>> Deserialize<'de> for Named<K, V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::deserialize(deserializer)?;
        Ok(Self { entries, kind: std::marker::PhantomData })
    }
}

impl<K: spelling::Spelling, V: JsonSchema> JsonSchema for Named<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}Map", V::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let values = generator.subschema_for::<V>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": K::schema(),
            "additionalProperties": values,
        })
    }
}

/// One address, or a list of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "an address such as 127.0.0.1:8080, or a list of them")]
pub(super) enum Listen {
    /// One.
    One(Text<spelling::Address>),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<Listener>),
}

/// A listener: an address, or a map that holds it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "an address such as 127.0.0.1:8080, or a map with address")]
pub(super) enum Listener {
    /// The address alone.
    Address(Text<spelling::Address>),
    /// As a map.
    Map(ListenerMap),
}

/// A listener.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerMap {
    /// IP address and port.
    pub(super) address: Text<spelling::Address>,
}

/// A database: a URL, or a map that holds it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a database URL (sqlite:// and a path, or postgres://…), or a map with url")]
pub(super) enum Database {
    /// The URL alone.
    Url(Text<spelling::DatabaseText>),
    /// As a map.
    Map(DatabaseMap),
}

/// The database.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseMap {
    /// `sqlite://` and a path relative to the data directory, or `postgres://…`. Default:
    /// `sqlite://portcullis.db`.
    #[serde(default)]
    #[schemars(with = "Text<spelling::DatabaseText>")]
    pub(super) url: Option<Text<spelling::DatabaseText>>,
    /// Connections at most. Default: 8.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1000))]
    pub(super) max_connections: Option<u32>,
    /// How long a query waits for a connection. Default: 2s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) acquire_timeout: Option<Duration>,
}

/// A number, or `auto`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a whole number from 1 to 1024, or auto")]
pub(super) enum Count {
    /// Worked out from the number of cores.
    Auto(Chosen<AutoWord>),
    /// As said.
    Exactly(#[schemars(range(min = 1, max = 1024))] u32),
}

/// Log and access log.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    /// A level or a filter directive. Default: info.
    #[serde(default)]
    #[schemars(with = "Text<spelling::Level>")]
    pub(super) level: Option<Text<spelling::Level>>,
    /// Format of log and access log. Default: text.
    #[serde(default)]
    #[schemars(with = "Chosen<LogFormat>")]
    pub(super) format: Option<Chosen<LogFormat>>,
    /// Where access lines go: on (standard output), off, or a path. Default: on.
    #[serde(default)]
    #[schemars(with = "Text<spelling::AccessLogText>")]
    pub(super) access_log: Option<Text<spelling::AccessLogText>>,
}

/// The password-hashing pool.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Hashing {
    /// Verifications at a time. Default: auto, one less than cores, at least 1.
    #[serde(default)]
    #[schemars(with = "Count")]
    pub(super) concurrent: Option<Count>,
    /// Attempts that may wait. Default: 64.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 100_000))]
    pub(super) queue: Option<u32>,
}

/// The gateway's own pages.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Portal {
    /// Everything at or below it is the gateway's. Default: /auth.
    #[serde(default)]
    #[schemars(with = "Text<spelling::PortalPath>")]
    pub(super) path: Option<Text<spelling::PortalPath>>,
    /// "/users" serves `FastAPI` Users' addresses there as well. Default: null.
    pub(super) users_path: Option<Text<spelling::PortalPath>>,
    /// Shown on every page, as the name of what people sign in to. Default: null.
    pub(super) title: Option<Text<spelling::Title>>,
    /// A picture shown on every page: PNG, SVG, JPEG or WebP, at most 512 KiB. Default: null.
    pub(super) logo: Option<FilePath>,
    /// A directory of files that stand in for templates, texts, style sheet and letters. Default: null.
    pub(super) templates: Option<FilePath>,
}

/// Sessions and their cookie.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    /// The session cookie.
    #[serde(default)]
    pub(super) cookie: Cookie,
    /// A session ends this long after its last use. Default: 2h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) idle: Option<Duration>,
    /// A session ends this long after the sign-in. Default: 12h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) lifetime: Option<Duration>,
    /// Both, when "remember me" was ticked.
    #[serde(default)]
    pub(super) remember: Remember,
    /// The session cache.
    #[serde(default)]
    pub(super) cache: SessionCache,
    /// How old what is known about a session may be. Default: 5s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) max_staleness: Option<Duration>,
}

/// The session cookie.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Cookie {
    /// Name without prefix. Default: portcullis.
    #[serde(default)]
    #[schemars(with = "Text<spelling::CookieName>")]
    pub(super) name: Option<Text<spelling::CookieName>>,
    /// `Domain` attribute, for several hosts under one domain. Default: null.
    pub(super) domain: Option<Text<spelling::Domain>>,
    /// `SameSite` attribute. Default: lax.
    #[serde(default)]
    #[schemars(with = "Chosen<SameSite>")]
    pub(super) same_site: Option<Chosen<SameSite>>,
    /// `Secure` attribute; auto takes it from `public_url`'s scheme. Default: auto.
    #[serde(default)]
    #[schemars(with = "Chosen<SecureWord>")]
    pub(super) secure: Option<Chosen<SecureWord>>,
}

/// Lifetimes with "remember me".
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Remember {
    /// Since the last use. Default: 7d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) idle: Option<Duration>,
    /// Since the sign-in. Default: 30d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) lifetime: Option<Duration>,
}

/// The session cache.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionCache {
    /// Sessions kept in memory. Default: 100000.
    #[serde(default)]
    #[schemars(with = "u64", range(min = 1, max = 100_000_000))]
    pub(super) entries: Option<u64>,
}

/// Access tokens.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    /// Life of an access token. Default: 1h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) access_lifetime: Option<Duration>,
    /// `aud` of access tokens. Default: fastapi-users:auth.
    #[serde(default)]
    #[schemars(with = "Vec<Text<spelling::Audience>>", length(min = 1))]
    pub(super) audience: Option<Vec<Text<spelling::Audience>>>,
}

/// What people do with accounts.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Accounts {
    /// Who may make an account for themselves: nobody (closed), whoever was invited (invite) or anybody
    /// (open, which needs `mail`). Default: closed.
    #[serde(default)]
    #[schemars(with = "Chosen<crate::config::Registration>")]
    pub(super) registration: Option<Chosen<crate::config::Registration>>,
    /// Let nobody sign in before their e-mail is verified; needs `mail`. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(super) require_verified: Option<bool>,
    /// How long an invitation is good for. Default: 7d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) invitation_lifetime: Option<Duration>,
    /// Domains of which people may register an e-mail, or change theirs to one. Default: [], every
    /// domain.
    #[serde(default)]
    pub(super) email_domains: Vec<Text<spelling::Domain>>,
    /// Roles granted to whoever registers. Default: [].
    #[serde(default)]
    pub(super) default_roles: Vec<Text<spelling::RoleName>>,
    /// Ask for the current password when somebody changes their e-mail or password through the API; the
    /// pages always ask. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(super) confirm_changes: Option<bool>,
    /// Rules for passwords.
    #[serde(default)]
    pub(super) password: Password,
}

/// Limits on what is tried from outside: `off`, or a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "off, or a map with auth")]
pub(super) enum Limits {
    /// None.
    Off(Chosen<OffWord>),
    /// As a map.
    Map(LimitsMap),
}

/// Limits on what is tried from outside.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsMap {
    /// Limits on what people try who have not proved who they are, or off.
    #[serde(default)]
    #[schemars(with = "AuthLimits")]
    pub(super) auth: Option<AuthLimits>,
}

/// Limits on what people try who have not proved who they are: `off`, or a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "off, or a map of limits")]
pub(super) enum AuthLimits {
    /// None.
    Off(Chosen<OffWord>),
    /// As a map.
    Map(AuthLimitsMap),
}

/// Limits on what people try who have not proved who they are: how many times within how long, or off.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthLimitsMap {
    /// Failed sign-ins from one address (IPv6: of one /64), over all accounts. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) failures_per_address: Option<RateText>,
    /// Failed sign-ins from one address at one account. Default: 10/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) failures_per_account_and_address: Option<RateText>,
    /// Failed sign-ins at one account, from wherever. Default: 100/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) failures_per_account: Option<RateText>,
    /// Links from one address that are not good: guesses at their tokens. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) links_per_address: Option<RateText>,
    /// Registrations from one address, whatever comes of them. Default: 20/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) registrations_per_address: Option<RateText>,
    /// Letters that one address asks for. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) letters_per_address: Option<RateText>,
    /// Letters of a kind to one recipient, whoever asks. Default: 5/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(super) letters_per_recipient: Option<RateText>,
}

/// What happened to accounts, as it is written down.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    /// How long an event is kept. Default: 90d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(super) retention: Option<Duration>,
}

/// How mail is sent: one of `smtp`, `smtp_file` and `directory`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a map with from and one of smtp, smtp_file and directory")]
pub(super) struct Mail {
    /// Who the mail is from: an address, or a name with the address in angle brackets.
    pub(super) from: Text<spelling::MailboxText>,
    /// The mail server: `smtp://` (STARTTLS, port 587) or `smtps://` (TLS at once, port 465), with user
    /// and password if it asks for them.
    pub(super) smtp: Option<Text<spelling::MailServer>>,
    /// A file that holds the mail server's URL, readable by its owner only.
    pub(super) smtp_file: Option<FilePath>,
    /// A directory, relative to the data directory, in which each message becomes a file.
    pub(super) directory: Option<FilePath>,
}

/// Rules for passwords.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    /// Characters at least. Default: 8.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub(super) min_length: Option<u32>,
    /// Characters at most. Default: 256.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub(super) max_length: Option<u32>,
    /// zxcvbn score at least, 0 to 4. Default: 0.
    #[serde(default)]
    #[schemars(with = "u8", range(min = 0, max = 4))]
    pub(super) min_strength: Option<u8>,
    /// Refuse the commonest passwords. Default: true.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(super) deny_common: Option<bool>,
    /// Refuse passwords made of the person's own data, where they choose it themselves. Default: true.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(super) deny_profile: Option<bool>,
}
