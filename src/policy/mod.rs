//! May this request pass? Pure and synchronous: compile, match, decide, explain.
//!
//! Only this module makes a [`Permit`], and only a [`Permit`] lets the proxy forward.

mod branches;
mod decide;
mod evaluate;
mod explain;
mod findings;
mod locate;
mod missing;
mod pattern;
mod rule;
mod strictness;
mod table;
mod trie;
mod vocabulary;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use self::findings::{below, problem};
use self::locate::Manner;
use self::rule::{Compiler, Gate};
use self::table::{HostPattern, Tables};
use crate::config::{Config, IdentityProfile, KeyPath, Problem, Route};
use crate::identity::access::{Interner, Subject};
use crate::identity::grant::Grant;

pub use self::decide::Verdict;
pub use self::evaluate::Outcome;
pub use self::explain::{ConditionTrace, Explanation, RouteTrace};
pub use self::vocabulary::declared_grants;

/// The compiled routes. Immutable; swapped whole on reload.
#[derive(Debug)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    /// The identity profile of each route.
    profiles: Vec<Arc<IdentityProfile>>,
    /// The compiled rule of each route.
    gates: Vec<Gate>,
    /// What finding a route asks of each.
    manners: Vec<Manner>,
    tables: Tables,
    /// The decoded segments of `portal.path`.
    portal: Vec<Box<[u8]>>,
    /// The permissions that rules name, each once.
    named: Vec<Grant>,
}

/// What compiling found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What makes the configuration unusable.
    pub errors: Vec<Problem>,
    /// What `check` warns of.
    pub warnings: Vec<Problem>,
}

/// A route by its position in [`Config::routes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteId(pub usize);

/// Where a request leads, by host, path and method alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Located {
    /// To a route; `also` are the routes that other readings of the same target lead to (irregular
    /// forms, letter case), which must allow the request as well.
    Route(Destination),
    /// A place that takes other methods: 405 with `Allow`.
    MethodNotAllowed(Vec<Method>),
    /// No place: 404.
    NoPlace,
    /// An irregular form the route does not permit, or a reading that leads elsewhere: 400.
    Ambiguous(&'static str),
}

/// A route and the further routes that must allow the request as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The route the target as received leads to.
    pub route: RouteId,
    /// Further routes, each once.
    pub also: Vec<RouteId>,
}

/// Who asks, from where.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The caller, if known.
    pub caller: Option<&'a Subject>,
    /// The client's address, if known.
    pub client: Option<IpAddr>,
}

/// The answer.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Allow(Permit),
    /// Signing in could help.
    Challenge(Refusal),
    /// It may not.
    Deny(Refusal),
}

/// Leave to forward one request. Made only here.
///
/// ```compile_fail
/// let permit = portcullis::policy::Permit {};
/// ```
#[must_use]
#[derive(Debug)]
pub struct Permit {
    route: RouteId,
    identified: bool,
    by_network: bool,
}

impl Permit {
    /// The route the request goes through.
    #[must_use]
    pub const fn route(&self) -> RouteId {
        self.route
    }

    /// Whether the caller's identity goes along. False for anonymous callers, on public routes, and on
    /// `optional` ones whose rule does not hold for the caller.
    #[must_use]
    pub const fn is_identified(&self) -> bool {
        self.identified
    }

    /// Uses the permit up: one permit, one request. Says what [`Permit::is_identified`] says.
    #[must_use]
    pub const fn spend(self) -> bool {
        self.identified
    }

    /// Whether the request passed only because of `networks` (an anonymous caller under an
    /// `anonymous: true` rule), which makes it subject to the cross-site check.
    #[must_use]
    pub const fn is_by_network(&self) -> bool {
        self.by_network
    }
}

/// Why a request may not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The route that said so.
    pub route: RouteId,
    /// The 403 `detail` (`Requires one of these roles: ['admin']`).
    pub reason: String,
    /// What would have to be granted, for the page shown to superusers: roles, then permissions.
    pub missing: Missing,
}

/// What a caller lacks on the branch that lacks fewest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Missing {
    /// Any one of these roles.
    pub roles: Vec<String>,
    /// All of these permissions.
    pub permissions: Vec<String>,
    /// A verified e-mail.
    pub verification: bool,
    /// Something else: a network, a superuser, a person, something excluded.
    pub other: Vec<String>,
}

impl Missing {
    /// Whether a verified e-mail is all that is missing.
    #[must_use]
    pub const fn is_verification_alone(&self) -> bool {
        self.verification
            && self.roles.is_empty()
            && self.permissions.is_empty()
            && self.other.is_empty()
    }
}

/// One line of `portcullis routes`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TableRow {
    /// The route's name.
    pub name: String,
    /// Normalised host, `*.` wildcard, or `*`.
    pub host: String,
    /// Path, as written.
    pub path: String,
    /// Methods; empty means any.
    pub methods: Vec<String>,
    /// Name of the upstream.
    pub upstream: String,
    /// The rule, with what it implies.
    pub rule: String,
}

impl Policy {
    /// Compiles the routes of a configuration. `None` beside errors.
    #[must_use]
    pub fn compile(config: &Config, interner: &Interner) -> (Option<Self>, Findings) {
        let mut compiler = Compiler::new(config, interner);
        let mut errors = Vec::new();
        let tables = Tables::compile(config, &mut errors);
        let portal = pattern::literal_segments(&config.portal.path).unwrap_or_else(|error| {
            let at = KeyPath { file: 0, path: "portal.path".to_owned() };
            errors.push(problem(at, error));
            Vec::new()
        });
        let mut profiles = Vec::with_capacity(config.routes.len());
        let mut gates = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let Some(profile) = config.profiles.get(route.profile) else {
                errors.push(problem(below(&route.at, "identity"), "there is no such profile"));
                continue;
            };
            gates.push(compiler.gate(route, profile.user));
            profiles.push(Arc::clone(profile));
        }
        errors.append(&mut compiler.errors);
        let mut named = compiler.named;
        named.sort();
        named.dedup();
        if !errors.is_empty() {
            return (None, Findings { errors, warnings: compiler.warnings });
        }
        let routes = config.routes.iter().cloned().map(Arc::new).collect();
        let manners = Manner::of(&config.routes);
        let policy = Self { routes, profiles, gates, manners, tables, portal, named };
        let mut warnings = compiler.warnings;
        warnings.extend(findings::warnings(&policy, config));
        (Some(policy), Findings { errors, warnings })
    }

    /// Permissions that rules name, for the role book.
    #[must_use]
    pub fn named_permissions(&self) -> &[Grant] {
        &self.named
    }

    /// A route as configured.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &Arc<Route> {
        &self.routes[id.0]
    }

    /// The identity profile of a route.
    #[must_use]
    pub fn profile(&self, id: RouteId) -> &Arc<IdentityProfile> {
        &self.profiles[id.0]
    }

    /// The compiled rule of a route as the configuration would write it, with what it implies.
    #[must_use]
    pub fn rule_text(&self, id: RouteId) -> String {
        explain::describe_rule(&self.routes[id.0].allow, &self.gates[id.0])
    }

    /// The compiled table, most specific first: exact hosts, then the longest wildcards, then the
    /// routes without `host`; in each the places by precedence.
    #[must_use]
    pub fn table(&self) -> Vec<TableRow> {
        let mut rows = Vec::with_capacity(self.routes.len());
        for table in self.tables.iter() {
            let routes = table.places.iter().flat_map(table::Place::routes);
            rows.extend(routes.map(|id| self.row(&table.host, *id)));
        }
        rows
    }

    fn row(&self, host: &HostPattern, id: RouteId) -> TableRow {
        let route = &self.routes[id.0];
        TableRow {
            name: route.name.clone(),
            host: host.to_string(),
            path: route.path.clone(),
            methods: route.methods.iter().map(ToString::to_string).collect(),
            upstream: route.upstream.name.clone(),
            rule: self.rule_text(id),
        }
    }

    /// Every route that is `public`, in the order of the file.
    #[must_use]
    pub fn public_routes(&self) -> Vec<RouteId> {
        (0..self.gates.len()).map(RouteId).filter(|id| self.gates[id.0].is_public()).collect()
    }
}

/// How a host is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostMatch {
    /// A route names it.
    Exact,
    /// A wildcard covers it.
    Wildcard,
    /// Only routes without `host` take it.
    Any,
    /// No route takes it.
    Nowhere,
}

/// What a place says of a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaceTakes {
    /// There is a place.
    pub exists: bool,
    /// A route of it takes the method.
    pub takes_method: bool,
    /// A route of it is not public.
    pub is_guarded: bool,
}
