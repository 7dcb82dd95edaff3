//! What the file says of roles, upstreams, identity headers, routes and their rules.

use schemars::JsonSchema;
use serde::Deserialize;

use super::spelling::{self, AllowWord, Asked, AuthenticatedWord, Chosen, HostWord, Text};
use super::{Duration, Named, Network};
use crate::config::{Cache, Unauthenticated};
use crate::web::headers::{Field, Preset, Separator, UserField};
use crate::web::target::Forms;

/// A role.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Role {
    /// What it is for.
    #[serde(default)]
    #[schemars(with = "Text<spelling::Description>")]
    pub(in crate::config) description: Option<Text<spelling::Description>>,
    /// What it grants.
    #[serde(default)]
    pub(in crate::config) permissions: Vec<Text<spelling::Grant>>,
}

/// An application behind the gateway: its address, or a map that holds it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(
    title = "a target such as http://127.0.0.1:3000 (scheme, host and port, nothing else), or a map with targets"
)]
pub(in crate::config) enum Upstream {
    /// The target alone.
    Target(Text<spelling::Target>),
    /// As a map.
    Map(Box<UpstreamMap>),
}

/// An application behind the gateway.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamMap {
    /// Its address: scheme, host and port.
    pub(in crate::config) targets: Targets,
    /// The Host header: the caller's, or the target's. Default: preserve.
    #[serde(default)]
    #[schemars(with = "Chosen<HostWord>")]
    pub(in crate::config) host: Option<Chosen<HostWord>>,
    /// The application tells /A from /a. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) case_sensitive: Option<bool>,
    /// Header names that are let through although they would be stripped.
    #[serde(default)]
    pub(in crate::config) permit_headers: Vec<Text<spelling::HeaderText>>,
    /// To a TCP connection. Default: 2s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) connect_timeout: Option<Duration>,
    /// From the last byte of the request sent to the head of the answer. Default: 60s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) response_timeout: Option<Duration>,
    /// Without a byte of the answer's body, or of an open stream. Default: 5m.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) idle_timeout: Option<Duration>,
    /// How long an idle connection is kept. Default: 60s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) keep_alive: Option<Duration>,
}

/// Exactly one target.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(transparent)]
#[schemars(title = "a list of exactly one target (several are not supported)")]
pub(in crate::config) struct Targets(
    #[schemars(length(min = 1, max = 1))] pub(in crate::config) Vec<Text<spelling::Target>>,
);

/// Identity headers.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Identity {
    /// The family of header names. Default: portcullis.
    #[serde(default)]
    #[schemars(with = "Chosen<Preset>")]
    pub(in crate::config) preset: Option<Chosen<Preset>>,
    /// What fills the user header. Default: the preset's own.
    #[serde(default)]
    #[schemars(with = "Chosen<UserField>")]
    pub(in crate::config) user: Option<Chosen<UserField>>,
    /// Between items of a list. Default: a comma.
    #[serde(default)]
    #[schemars(with = "Chosen<Separator>")]
    pub(in crate::config) separator: Option<Chosen<Separator>>,
    /// Further headers: name and field.
    #[serde(default)]
    pub(in crate::config) headers: Named<spelling::HeaderText, Chosen<Field>>,
}

/// A route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Shown in logs, metrics and explanations. Default: made of host and path.
    pub(in crate::config) name: Option<Text<spelling::RouteName>>,
    /// Exact host or *.domain. Default: any host.
    pub(in crate::config) host: Option<Text<spelling::HostText>>,
    /// Path pattern: /a, /a/*, /a/{name}, /a/**.
    pub(in crate::config) path: Text<spelling::PathText>,
    /// Methods. Default: any.
    #[serde(default)]
    pub(in crate::config) methods: Vec<Text<spelling::MethodText>>,
    /// Name of the upstream.
    pub(in crate::config) upstream: Text<spelling::UpstreamName>,
    /// Who may pass.
    pub(in crate::config) allow: Allow,
    /// Identity headers, in place of the top-level ones.
    #[serde(default)]
    #[schemars(with = "Identity")]
    pub(in crate::config) identity: Option<Identity>,
    /// How a request without credentials is answered. Default: auto.
    #[serde(default)]
    #[schemars(with = "Chosen<Unauthenticated>")]
    pub(in crate::config) unauthenticated: Option<Chosen<Unauthenticated>>,
    /// From the request's head to the answer's head. Default: none.
    pub(in crate::config) timeout: Option<Duration>,
    /// Answers are never stored. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) no_store: Option<bool>,
    /// Whether shared caches may keep answers. Default: private.
    #[serde(default)]
    #[schemars(with = "Chosen<Cache>")]
    pub(in crate::config) cache: Option<Chosen<Cache>>,
    /// Irregular forms of a path that are let through. Default: none.
    #[serde(default)]
    pub(in crate::config) permit_in_path: Vec<Chosen<Forms>>,
}

/// Who may pass.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "public, optional, authenticated or a map of conditions")]
pub(in crate::config) enum Allow {
    /// A word.
    Word(Chosen<AllowWord>),
    /// Everybody; identity goes along for whom the rule holds.
    Optional(Box<OptionalMap>),
    /// Conditions that must all hold.
    Map(Box<RuleMap>),
}

/// Everybody; identity goes along for whom the rule holds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OptionalMap {
    /// For whom the identity goes along.
    pub(in crate::config) optional: Rule,
}

/// A rule.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a map of conditions, or the word authenticated")]
pub(in crate::config) enum Rule {
    /// Anybody signed in.
    Word(Chosen<AuthenticatedWord>),
    /// Conditions that must all hold.
    Map(Box<RuleMap>),
}

/// Conditions that must all hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a map of at least one condition", extend("minProperties" = 1))]
pub(in crate::config) struct RuleMap {
    /// Any of these roles.
    #[serde(default)]
    #[schemars(with = "Vec<Text<spelling::RoleName>>", length(min = 1))]
    pub(in crate::config) roles: Option<Vec<Text<spelling::RoleName>>>,
    /// All of these permissions.
    #[serde(default)]
    #[schemars(with = "Vec<Text<spelling::Permission>>", length(min = 1))]
    pub(in crate::config) permissions: Option<Vec<Text<spelling::Permission>>>,
    /// Any of these people, by id or verified e-mail.
    #[serde(default)]
    #[schemars(with = "Vec<Text<spelling::UserText>>", length(min = 1))]
    pub(in crate::config) users: Option<Vec<Text<spelling::UserText>>>,
    /// From any of these networks.
    #[serde(default)]
    #[schemars(with = "Vec<Network>", length(min = 1))]
    pub(in crate::config) networks: Option<Vec<Network>>,
    /// The e-mail is verified.
    #[serde(default)]
    #[schemars(with = "Asked")]
    pub(in crate::config) verified: Option<Asked>,
    /// A superuser.
    #[serde(default)]
    #[schemars(with = "Asked")]
    pub(in crate::config) superuser: Option<Asked>,
    /// Nobody need sign in; only beside networks.
    #[serde(default)]
    #[schemars(with = "Asked")]
    pub(in crate::config) anonymous: Option<Asked>,
    /// Any of these rules.
    #[serde(default)]
    #[schemars(with = "Vec<Rule>", length(min = 1))]
    pub(in crate::config) any: Option<Vec<Rule>>,
    /// All of these rules.
    #[serde(default)]
    #[schemars(with = "Vec<Rule>", length(min = 1))]
    pub(in crate::config) all: Option<Vec<Rule>>,
    /// Not this rule.
    #[serde(default)]
    #[schemars(with = "Rule")]
    pub(in crate::config) not: Option<Rule>,
}
