//! The meaning of upstreams, identity headers, routes and their rules.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::KeyPath;
use crate::web::headers::{Field, Preset, Separator, UserField};
use crate::web::target::Forms;

/// An application behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `host:port` (or `[host]:port`), as sent with `host: upstream`.
    pub authority: String,
    /// Whether the caller's `Host` goes on.
    pub preserve_host: bool,
    /// Whether the application tells `/A` from `/a`.
    pub case_sensitive: bool,
    /// Header names let through that would be stripped for their family, `_` or `.`; lower case.
    pub permit_headers: Vec<String>,
    /// To a TCP connection.
    pub connect_timeout: Duration,
    /// From the last byte of the request sent to the head of the answer.
    pub response_timeout: Duration,
    /// Without a byte of the answer's body, or of an open stream in either direction.
    pub idle_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Where it stands.
    pub at: KeyPath,
}

/// What identity headers an application gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProfile {
    /// The family of names.
    pub preset: Preset,
    /// What fills the user header.
    pub user: UserField,
    /// Between list items.
    pub separator: Separator,
    /// Further headers: name (lower case) and field, in the order of the names.
    pub headers: Vec<(http::HeaderName, Field)>,
    /// Where it stands (empty path when it is the default).
    pub at: KeyPath,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, or a name made of its place (`/admin/**`, `app.example.com/admin/**`).
    pub name: String,
    /// Exact host or `*.` wildcard, as written (policy normalises it).
    pub host: Option<String>,
    /// The path pattern, as written.
    pub path: String,
    /// Methods; empty means any.
    pub methods: Vec<http::Method>,
    /// Where allowed requests go.
    pub upstream: Arc<Upstream>,
    /// Who may pass.
    pub allow: Allow,
    /// Index into [`Config::profiles`](super::Config::profiles).
    pub profile: usize,
    /// How a challenge is answered.
    pub unauthenticated: Unauthenticated,
    /// From the head read to the head of the answer.
    pub timeout: Option<Duration>,
    /// Answers are never stored.
    pub no_store: bool,
    /// Whether shared caches may keep answers.
    pub cache: Cache,
    /// Irregular target forms let through.
    pub permit_in_path: Forms,
    /// Where it stands.
    pub at: KeyPath,
}

/// How a challenge is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// By what the request looks like.
    Auto,
    /// Always a redirect to sign-in.
    Redirect,
    /// Always 401.
    Status401,
}

/// Whether shared caches may keep answers of a guarded route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// No.
    Private,
    /// As the upstream says.
    Upstream,
}

/// A route's `allow`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everybody; identity is not looked up.
    Public,
    /// Everybody; identity goes along for whom the rule holds (no rule: anybody signed in).
    Optional(Option<Rule>),
    /// Those for whom the rule holds.
    Rule(Rule),
}

/// A rule, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anybody signed in.
    Authenticated,
    /// All conditions of a map.
    Map(Box<RuleMap>),
}

/// A map of conditions, all of which must hold. An empty list means the key was absent (the file
/// may not say an empty list).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleMap {
    /// Any of these roles.
    pub roles: Vec<String>,
    /// All of these permissions.
    pub permissions: Vec<String>,
    /// Any of these people.
    pub users: Vec<UserRef>,
    /// From any of these networks.
    pub networks: Vec<IpNet>,
    /// E-mail verified.
    pub verified: bool,
    /// Superusers.
    pub superuser: bool,
    /// Signing in is not asked for.
    pub anonymous: bool,
    /// Any of these rules.
    pub any: Vec<Rule>,
    /// All of these rules.
    pub all: Vec<Rule>,
    /// Not this rule.
    pub not: Option<Rule>,
    /// Where it stands.
    pub at: KeyPath,
}

/// A person named by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// By id.
    Id(uuid::Uuid),
    /// By verified e-mail, as written (policy folds it).
    Email(String),
}
