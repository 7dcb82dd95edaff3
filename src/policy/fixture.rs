//! Configurations and callers for the tests of this module, written as JSON.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{Decision, Facts, Findings, Located, Policy, declared_grants};
use crate::clock::Timestamp;
use crate::config::{
    AccessLog, AccountRules, Allow, Cache, Config, Database, DatabaseUrl, Hashing, IdentityProfile,
    KeyPath, Lifetimes, LogFormat, PasswordPolicy, Portal, Registration, Role, Route, Rule,
    RuleMap, SameSite, SessionCookie, Sessions, Sources, Telemetry, Tokens, Unauthenticated,
    UnreadRoles, Upstream, UserRef,
};
use crate::identity::access::{Interner, RoleBook, Subject};
use crate::identity::user::RoleGrant;
use crate::web::authority::Authority;
use crate::web::headers::{Preset, Separator, UserField};
use crate::web::origin::Origin;
use crate::web::page::Pages;
use crate::web::target::{Forms, Target};

/// The id of the person who holds `admin`.
pub(super) const ANN: Uuid = Uuid::from_u128(1);
/// The id of the person who holds nothing.
pub(super) const CAT: Uuid = Uuid::from_u128(2);

/// A compiled configuration and the people it is asked about.
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) findings: Findings,
    pub(super) book: RoleBook,
}

impl World {
    /// Compiles `{"roles": {name: [grant]}, "upstreams": {name: case_sensitive}, "users_path": …,
    /// "routes": […]}`; `app` and `other` are upstreams anyway, and `admin` a role.
    pub(super) fn new(json: &Value) -> Self {
        let config = config(json);
        let interner = Interner::default();
        let (policy, findings) = Policy::compile(&config, &interner);
        let policy = policy.unwrap_or_else(|| panic!("{:#?}", findings.errors));
        let file = declared_grants(&config);
        let book = RoleBook::new(&interner, &file, &BTreeMap::new(), policy.named_permissions());
        Self { policy, findings, book }
    }

    pub(super) fn person(&self, id: Uuid, roles: &[&str]) -> Subject {
        let grants: Vec<RoleGrant> =
            roles.iter().map(|role| RoleGrant { role: (*role).into(), until: None }).collect();
        Subject {
            id,
            email_folded: format!("{}@example.com", id.as_u128()).into(),
            is_verified: true,
            has_username: false,
            is_superuser: false,
            access: self.book.access(&grants, Timestamp::from_seconds(0)).into(),
        }
    }

    pub(super) fn ann(&self) -> Subject {
        self.person(ANN, &["admin"])
    }

    pub(super) fn cat(&self) -> Subject {
        self.person(CAT, &[])
    }

    pub(super) fn locate(&self, request: &str) -> Located {
        let (method, host, target) = request_of(request);
        self.policy.locate(host.host(), &target, &method)
    }

    /// What becomes of `GET host/path`: `allow`, `challenge`, `deny: reason`, `404`, `405 ALLOW`,
    /// `400`.
    pub(super) fn ask(&self, request: &str, caller: Option<&Subject>, client: &str) -> String {
        let client: Option<IpAddr> =
            (!client.is_empty()).then(|| client.parse().expect("an address"));
        let destination = match self.locate(request) {
            Located::Route(destination) => destination,
            Located::MethodNotAllowed(methods) => {
                let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
                return format!("405 {}", methods.join(","));
            }
            Located::NoPlace => return "404".into(),
            Located::Ambiguous(_) => return "400".into(),
        };
        match self.policy.decide(&destination, &Facts { caller, client }) {
            Decision::Allow(permit) if permit.is_identified() => "allow".into(),
            Decision::Allow(permit) if permit.is_by_network() => "allow by network".into(),
            Decision::Allow(_) => "allow unidentified".into(),
            Decision::Challenge(_) => "challenge".into(),
            Decision::Deny(refusal) => format!("deny: {}", refusal.reason),
        }
    }

    /// The path of the route a request leads to, or the status.
    pub(super) fn route(&self, request: &str) -> String {
        match self.locate(request) {
            Located::Route(found) => self.policy.route(found.route).path.clone(),
            Located::MethodNotAllowed(_) => "405".into(),
            Located::NoPlace => "404".into(),
            Located::Ambiguous(_) => "400".into(),
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.findings.warnings.iter().map(|problem| problem.message.clone()).collect()
    }
}

/// The messages that compiling refuses a configuration with, each with its key path.
pub(super) fn errors(json: &Value) -> Vec<(String, String)> {
    let (policy, findings) = Policy::compile(&config(json), &Interner::default());
    assert_eq!(policy.is_some(), findings.errors.is_empty());
    findings.errors.into_iter().map(|problem| (problem.at.path, problem.message)).collect()
}

/// Reads `GET host/path`; without a host it is `any.test`.
pub(super) fn request_of(text: &str) -> (Method, Authority, Target) {
    let (method, rest) = text.split_once(' ').expect("a method");
    let slash = rest.find('/').expect("a path");
    let host = if slash == 0 { "any.test" } else { &rest[..slash] };
    (
        method.parse().unwrap(),
        Authority::parse(host.as_bytes()).unwrap(),
        Target::parse(&rest[slash..]).unwrap(),
    )
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|item| item.as_str().expect("a text").to_owned()).collect()
}

pub(super) fn at(path: &str) -> KeyPath {
    KeyPath { file: 0, path: path.to_owned() }
}

pub(super) fn upstream(name: &str, case_sensitive: bool) -> Arc<Upstream> {
    Arc::new(Upstream {
        name: name.to_owned(),
        host: "127.0.0.1".into(),
        port: 3000,
        authority: "127.0.0.1:3000".into(),
        preserve_host: true,
        case_sensitive,
        permit_headers: Vec::new(),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_mins(1),
        idle_timeout: Duration::from_mins(5),
        keep_alive: Duration::from_mins(1),
        at: at(&format!("upstreams.{name}")),
    })
}

fn profile(preset: Preset, user: UserField) -> Arc<IdentityProfile> {
    let separator = Separator::Comma;
    Arc::new(IdentityProfile { preset, user, separator, headers: Vec::new(), at: at("identity") })
}

/// A configuration with these routes and defaults everywhere else.
pub(super) fn with_routes(routes: Vec<Route>) -> Config {
    let admin = Role { description: String::new(), permissions: vec!["*:*".into()], at: None };
    let lifetimes = Lifetimes { idle: Duration::from_hours(2), lifetime: Duration::from_hours(12) };
    Config {
        listen: Vec::new(),
        management: None,
        public_url: Origin::parse("http://127.0.0.1:8080").unwrap(),
        public_url_given: false,
        trusted_proxies: Vec::new(),
        origins: Vec::new(),
        secret: None,
        previous_secrets: Vec::new(),
        data: PathBuf::new(),
        database: Database {
            url: DatabaseUrl::Sqlite(PathBuf::new()),
            max_connections: 8,
            acquire_timeout: Duration::from_secs(2),
        },
        workers: 1,
        drain: Duration::from_secs(30),
        telemetry: Telemetry {
            level: "info".into(),
            format: LogFormat::Text,
            access_log: AccessLog::Off,
        },
        hashing: Hashing { concurrent: 1, queue: 64 },
        portal: Portal { path: "/auth".into(), users_path: None, pages: Pages::built_in() },
        sessions: Sessions {
            cookie: cookie(),
            plain: lifetimes,
            remember: lifetimes,
            cache_entries: 1,
            max_staleness: Duration::from_secs(5),
        },
        tokens: Tokens { access_lifetime: Duration::from_hours(1), audience: Vec::new() },
        auth_limits: crate::config::AuthLimits::default(),
        events: crate::config::Events { retention: Duration::from_hours(2160) },
        mail: None,
        providers: Vec::new(),
        accounts: account_rules(),
        roles: BTreeMap::from([("admin".to_owned(), admin)]),
        unread_roles: UnreadRoles::default(),
        upstreams: BTreeMap::new(),
        profiles: vec![
            profile(Preset::Portcullis, UserField::Id),
            profile(Preset::RemoteUser, UserField::Email),
            profile(Preset::XForwarded, UserField::Username),
        ],
        routes,
        sources: Arc::new(Sources::default()),
    }
}

fn account_rules() -> AccountRules {
    AccountRules {
        invitation_lifetime: Duration::from_hours(168),
        registration: Registration::Closed,
        require_verified: false,
        email_domains: Vec::new(),
        default_roles: Vec::new(),
        confirm_changes: false,
        password: PasswordPolicy {
            min_length: 8,
            max_length: 256,
            min_strength: 0,
            deny_common: true,
            deny_profile: true,
        },
    }
}

fn cookie() -> SessionCookie {
    SessionCookie {
        name: "portcullis".into(),
        wire_name: "portcullis".into(),
        domain: None,
        same_site: SameSite::Lax,
        secure: false,
    }
}

/// A route of `app` for everybody signed in.
pub(super) fn plain_route(path: &str, index: usize) -> Route {
    Route {
        name: path.to_owned(),
        host: None,
        path: path.to_owned(),
        methods: Vec::new(),
        upstream: upstream("app", false),
        allow: Allow::Rule(Rule::Authenticated),
        profile: 0,
        unauthenticated: Unauthenticated::Auto,
        timeout: None,
        no_store: false,
        cache: Cache::Private,
        permit_in_path: Forms::NONE,
        at: at(&format!("routes[{index}]")),
    }
}

pub(super) fn config(json: &Value) -> Config {
    let routes = json["routes"].as_array().expect("routes");
    let routes = routes.iter().enumerate().map(|(index, route)| read_route(route, index, json));
    let mut config = with_routes(routes.collect());
    for (name, grants) in json["roles"].as_object().into_iter().flatten() {
        let permissions = strings(grants);
        let role = Role { description: String::new(), permissions, at: Some(at("roles")) };
        config.roles.insert(name.clone(), role);
    }
    config.portal.users_path = json["users_path"].as_str().map(str::to_owned);
    config
}

fn read_route(route: &Value, index: usize, json: &Value) -> Route {
    let plain = plain_route(route["path"].as_str().expect("a path"), index);
    let name = route["upstream"].as_str().unwrap_or("app");
    let is_case_sensitive = json["upstreams"][name].as_bool().unwrap_or(false);
    let permitted = strings(&route["permit_in_path"]);
    Route {
        name: route["name"].as_str().unwrap_or(&plain.path).to_owned(),
        host: route["host"].as_str().map(str::to_owned),
        methods: strings(&route["methods"]).iter().map(|name| name.parse().unwrap()).collect(),
        upstream: upstream(name, is_case_sensitive),
        allow: read_allow(&route["allow"], &format!("routes[{index}].allow")),
        profile: match route["preset"].as_str() {
            None | Some("portcullis") => 0,
            Some("remote-user") => 1,
            Some("username") => 2,
            Some(other) => panic!("no preset {other}"),
        },
        permit_in_path: Forms::NAMED
            .iter()
            .filter(|(_, name)| permitted.iter().any(|form| form == name))
            .fold(Forms::NONE, |all, (form, _)| all.with(*form)),
        ..plain
    }
}

pub(super) fn read_allow(value: &Value, path: &str) -> Allow {
    if value == "public" {
        Allow::Public
    } else if value == "optional" {
        Allow::Optional(None)
    } else if let Some(rule) = value.get("optional") {
        Allow::Optional(Some(read_rule(rule, &format!("{path}.optional"))))
    } else {
        Allow::Rule(read_rule(value, path))
    }
}

fn read_rule(value: &Value, path: &str) -> Rule {
    if value == "authenticated" {
        return Rule::Authenticated;
    }
    let map = value.as_object().unwrap_or_else(|| panic!("no rule: {value}"));
    let mut rule = RuleMap { at: at(path), ..RuleMap::default() };
    for (key, value) in map {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "roles" => rule.roles = strings(value),
            "permissions" => rule.permissions = strings(value),
            "users" => rule.users = strings(value).iter().map(|text| read_user(text)).collect(),
            "networks" => {
                rule.networks = strings(value).iter().map(|text| text.parse().unwrap()).collect();
            }
            "verified" => rule.verified = value == true,
            "superuser" => rule.superuser = value == true,
            "anonymous" => rule.anonymous = value == true,
            "any" => rule.any = read_rules(value, &path),
            "all" => rule.all = read_rules(value, &path),
            "not" => rule.not = Some(read_rule(value, &path)),
            other => panic!("no key {other}"),
        }
    }
    Rule::Map(Box::new(rule))
}

fn read_rules(value: &Value, path: &str) -> Vec<Rule> {
    let rules = value.as_array().expect("rules").iter().enumerate();
    rules.map(|(index, rule)| read_rule(rule, &format!("{path}[{index}]"))).collect()
}

fn read_user(text: &str) -> UserRef {
    text.parse().map_or_else(|_| UserRef::Email(text.to_owned()), UserRef::Id)
}
