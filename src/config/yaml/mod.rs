//! What the file says: its types, one field per key, and nothing of what the keys mean.
//!
//! Only this module and those below it know that the format is YAML. A file goes through them in this
//! order: the span tree ([`tree`], [`read`]), variables ([`variables`]), our own JSON Schema, which is
//! made from the types here ([`schema`]), and serde, over the replaced tree and never over the text again.
//!
//! Doc comments of the fields are the schema's descriptions: editors show them.

mod accounts;
mod fault;
mod provider;
pub(super) mod read;
mod route;
pub(super) mod schema;
mod sessions;
pub(super) mod spelling;
pub(super) mod tree;
pub(super) mod variables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::LogFormat;
pub(super) use accounts::{Accounts, AuthLimits, AuthLimitsMap, Events, Limits, Mail, Password};
pub(super) use provider::{Admission, Fields, Provider, Who};
pub(super) use route::{Allow, Identity, Role, Route, Rule, RuleMap, Upstream, UpstreamMap};
pub(super) use sessions::{Cookie, Sessions, Tokens};
use spelling::{AutoWord, Chosen, Text};

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
