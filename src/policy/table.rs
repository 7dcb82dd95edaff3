//! Tables and places: the host chooses the table, the path the place, the method the route of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use http::Method;

use super::RouteId;
use super::branches::Number;
use super::findings::{below, problem};
use super::pattern::{Pattern, Step};
use super::trie::{Comparison, Trie};
use crate::config::{Config, KeyPath, Problem, Route};
use crate::web::authority::Host;
use crate::web::target::Segments;

/// What a table is for. The order is the one of listings: exact hosts, then the longest wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum HostPattern {
    Exact(String),
    /// Any host below this domain; compared by length first.
    Wildcard(Reverse<usize>, String),
    Any,
}

/// The routes of one host and path. What most requests ask of it stands here and the rest elsewhere,
/// so that the places of a large table stay near the processor.
#[derive(Debug)]
pub(super) struct Place {
    /// The route that takes GET.
    get: Option<Number>,
    /// Whether what takes GET takes every method that any route may take.
    is_simple: bool,
    rest: Box<Details>,
}

#[derive(Debug)]
struct Details {
    pattern: Pattern,
    named: Vec<(Method, RouteId)>,
    unnamed: Option<RouteId>,
    /// Each route once, in the order of the file.
    routes: Vec<RouteId>,
}

/// The places of one host.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) host: HostPattern,
    /// Most specific first.
    pub(super) places: Vec<Place>,
    exact: Trie,
    /// `None` where no place is written with a capital: `exact` is in lower case then.
    folded: Option<Folded>,
}

/// The places of one host for an application that ignores ASCII case.
#[derive(Debug)]
struct Folded {
    trie: Trie,
    /// The places that are one in lower case, for each pattern of the trie.
    alike: Vec<Vec<usize>>,
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    list: Vec<Table>,
    exact: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    any: Option<usize>,
}

impl HostPattern {
    /// Reads a route's `host`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, &'static str> {
        let Some(text) = text else { return Ok(Self::Any) };
        let (is_wildcard, name) =
            text.strip_prefix("*.").map_or((false, text), |domain| (true, domain));
        let host = Host::parse(name)
            .map_err(|_| "not a host: expected a name such as app.example.com or *.example.com")?;
        let name = host.as_str().to_owned();
        Ok(if is_wildcard { Self::Wildcard(Reverse(name.len()), name) } else { Self::Exact(name) })
    }

    /// Whether requests for this host could have come to the other table, were this one not there.
    pub(super) fn shadows(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Exact(_)) => false,
            (Self::Exact(_) | Self::Wildcard(..), Self::Any) => true,
            (Self::Exact(host) | Self::Wildcard(_, host), Self::Wildcard(_, domain)) => {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(_, domain) => write!(f, "*.{domain}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// CONNECT and TRACE, which no route takes.
pub(super) fn is_refused_everywhere(method: &Method) -> bool {
    *method == Method::CONNECT || *method == Method::TRACE
}

impl Place {
    fn new(pattern: Pattern) -> Self {
        let (named, routes) = (Vec::new(), Vec::new());
        let rest = Box::new(Details { pattern, named, unnamed: None, routes });
        Self { get: None, is_simple: true, rest }
    }

    /// The path.
    pub(super) fn pattern(&self) -> &Pattern {
        &self.rest.pattern
    }

    /// The route that takes a method: one that names it, else the one without `methods`. HEAD goes to
    /// a route that names HEAD, else to the one that names GET.
    pub(super) fn route_for(&self, method: &Method) -> Option<RouteId> {
        if is_refused_everywhere(method) {
            None
        } else if self.is_simple || *method == Method::GET {
            self.get.map(|number| RouteId(number.position()))
        } else {
            self.rest.route_for(method)
        }
    }

    /// What `Allow` says.
    pub(super) fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<Method> =
            self.rest.named.iter().map(|(method, _)| method.clone()).collect();
        if self.rest.unnamed.is_some() {
            let usual = [
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ];
            methods.extend(usual);
        }
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }

    /// Every route of the place.
    pub(super) fn routes(&self) -> &[RouteId] {
        &self.rest.routes
    }

    /// The route without `methods`.
    pub(super) fn unnamed(&self) -> Option<RouteId> {
        self.rest.unnamed
    }

    /// The methods that routes of the place name.
    pub(super) fn named_methods(&self) -> impl Iterator<Item = &Method> {
        self.rest.named.iter().map(|(method, _)| method)
    }

    fn add(&mut self, id: RouteId, route: &Route) -> Vec<Problem> {
        let problems = self.rest.add(id, route);
        self.get = self.rest.route_for(&Method::GET).and_then(|id| Number::of(id.0));
        self.is_simple = self.rest.named.is_empty();
        problems
    }
}

impl Details {
    fn route_for(&self, method: &Method) -> Option<RouteId> {
        let named = |wanted: &Method| {
            self.named.iter().find(|(method, _)| method == wanted).map(|(_, route)| *route)
        };
        named(method)
            .or_else(|| if *method == Method::HEAD { named(&Method::GET) } else { None })
            .or(self.unnamed)
    }

    fn add(&mut self, id: RouteId, route: &Route) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.routes.push(id);
        if route.methods.is_empty() && self.unnamed.replace(id).is_some() {
            let text = "another route without `methods` has the same host and path";
            problems.push(problem(route.at.clone(), text));
        }
        for (index, method) in route.methods.iter().enumerate() {
            let at = below(&route.at, &format!("methods[{index}]"));
            if is_refused_everywhere(method) {
                problems.push(problem(at, format!("{method} is refused on every route")));
            } else if self.named.iter().any(|(named, _)| named == method) {
                let text =
                    format!("{method} is already taken by a route of the same host and path");
                problems.push(problem(at, text));
            } else {
                self.named.push((method.clone(), id));
            }
        }
        problems
    }
}

impl Table {
    fn new(host: HostPattern, mut places: Vec<Place>) -> Self {
        places.sort_by(|a, b| a.pattern().steps().cmp(b.pattern().steps()));
        let exact = Trie::new(places.iter().map(|place| place.pattern().steps()));
        let has_capitals = places.iter().any(|place| place.pattern().has_capital());
        let folded = has_capitals.then(|| Folded::new(&places));
        Self { host, places, exact, folded }
    }

    /// The most specific place that takes a path.
    pub(super) fn place(&self, segments: &Segments) -> Option<&Place> {
        self.exact.find(segments, Comparison::Exact, |index| self.places.get(index))
    }

    /// The places an application that ignores ASCII case could take a path for: the most specific
    /// ones under such a comparison among those that `counts` lets count. Empty where case cannot
    /// matter.
    pub(super) fn places_ignoring_case(
        &self,
        segments: &Segments,
        counts: impl Fn(&Place) -> bool,
    ) -> Vec<&Place> {
        let pick = |indices: &[usize]| {
            let places: Vec<&Place> = indices
                .iter()
                .filter_map(|index| self.places.get(*index))
                .filter(|place| counts(place))
                .collect();
            (!places.is_empty()).then_some(places)
        };
        let found = match &self.folded {
            Some(Folded { trie, alike }) => trie.find(segments, Comparison::Folded, |index| {
                alike.get(index).and_then(|indices| pick(indices))
            }),
            None if segments.has_capital() => {
                self.exact.find(segments, Comparison::Folded, |index| pick(&[index]))
            }
            None => None,
        };
        found.unwrap_or_default()
    }

    /// Whether one place takes everything that `pattern` takes.
    pub(super) fn covers(&self, pattern: &Pattern) -> bool {
        self.exact.covers(pattern.steps())
    }

    /// The subtree around a place: the most specific other place that takes it and all below it.
    pub(super) fn around(&self, place: &Place) -> Option<&Place> {
        self.exact.around(place.pattern().steps(), &|index| {
            self.places.get(index).filter(|found| found.pattern() != place.pattern())
        })
    }
}

impl Folded {
    fn new(places: &[Place]) -> Self {
        let mut alike: BTreeMap<Vec<Step>, Vec<usize>> = BTreeMap::new();
        for (index, place) in places.iter().enumerate() {
            alike.entry(place.pattern().folded_steps()).or_default().push(index);
        }
        let trie = Trie::new(alike.keys().map(Vec::as_slice));
        Self { trie, alike: alike.into_values().collect() }
    }
}

impl Tables {
    /// Puts the routes into tables and places.
    pub(super) fn compile(config: &Config, errors: &mut Vec<Problem>) -> Self {
        let mut hosts: BTreeMap<HostPattern, BTreeMap<Vec<Step>, Place>> = BTreeMap::new();
        for (index, route) in config.routes.iter().enumerate() {
            let host = HostPattern::parse(route.host.as_deref())
                .map_err(|text| errors.push(problem(below(&route.at, "host"), text)));
            let pattern = Pattern::parse(&route.path)
                .map_err(|error| errors.push(problem(below(&route.at, "path"), error.to_string())));
            let (Ok(host), Ok(pattern)) = (host, pattern) else { continue };
            let place = hosts
                .entry(host)
                .or_default()
                .entry(pattern.steps().to_vec())
                .or_insert_with(|| Place::new(pattern.clone()));
            if place.pattern().has_names_of(&pattern) {
                errors.extend(place.add(RouteId(index), route));
            } else {
                errors.push(other_spelling(route, place, config));
            }
        }
        let mut tables = Self::default();
        for (host, places) in hosts {
            tables.add(Table::new(host, places.into_values().collect()));
        }
        tables
    }

    fn add(&mut self, table: Table) {
        let index = self.list.len();
        match &table.host {
            HostPattern::Exact(host) => {
                self.exact.insert(host.clone(), index);
            }
            HostPattern::Wildcard(_, domain) => {
                self.wildcards.insert(domain.clone(), index);
            }
            HostPattern::Any => self.any = Some(index),
        }
        self.list.push(table);
    }

    /// The tables: exact hosts, then the longest wildcards, then the one without host.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.list.iter()
    }

    /// The one table of a host.
    pub(super) fn table(&self, host: &str) -> Option<&Table> {
        let index = self.exact.get(host).or_else(|| self.wildcard(host)).or(self.any.as_ref())?;
        self.list.get(*index)
    }

    fn wildcard(&self, host: &str) -> Option<&usize> {
        if self.wildcards.is_empty() {
            return None;
        }
        host.match_indices('.').find_map(|(dot, _)| self.wildcards.get(&host[dot + 1..]))
    }
}

fn other_spelling(route: &Route, place: &Place, config: &Config) -> Problem {
    let first = place.routes().first().and_then(|id| config.routes.get(id.0));
    let other = first.map_or("", |route| route.path.as_str());
    let text = format!("the same path is written `{other}` elsewhere: name its parameters alike");
    problem(below(&route.at, "path"), text)
}

/// The key path of the first route of a place.
pub(super) fn place_at(place: &Place, config: &Config) -> KeyPath {
    let first = place.routes().first().and_then(|id| config.routes.get(id.0));
    first.map(|route| route.at.clone()).unwrap_or_default()
}

/// A route's methods, host and path, for people.
pub(super) fn describe_place(route: &Route) -> String {
    let methods = super::rule::describe_methods(&route.methods);
    let host = route.host.as_deref().unwrap_or("");
    format!("{methods} {host}{}", route.path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::policy::fixture::{World, errors};

    #[test]
    fn what_two_routes_of_one_place_may_not_do_is_an_error() {
        let route = |path: &str, methods: &[&str]| json!({ "path": path, "methods": methods, "allow": "public" });
        let on = |host: &str| json!({ "path": "/a", "host": host, "allow": "public" });
        let cases = [
            (vec![route("/a", &["GET"]), route("/a", &["GET"])], "routes[1].methods[0]"),
            (vec![route("/a", &["GET", "GET"])], "routes[0].methods[1]"),
            (vec![route("/a", &[]), route("/a", &[])], "routes[1]"),
            (vec![route("/a", &[]), route("/%61", &[])], "routes[1]"),
            (vec![route("/*", &["GET"]), route("/{x}", &["POST"])], "routes[1].path"),
            (vec![route("/a", &["TRACE"])], "routes[0].methods[0]"),
            (vec![on("App.test"), on("app.test.")], "routes[1]"),
            (vec![on("*")], "routes[0].host"),
            (vec![on("a.*.test")], "routes[0].host"),
            (vec![on("app.test:8080")], "routes[0].host"),
            (vec![route("/a//b", &[])], "routes[0].path"),
        ];
        for (routes, place) in cases {
            let found = errors(&json!({ "routes": routes }));
            assert_eq!(found.len(), 1, "{routes:?}: {found:?}");
            assert_eq!(found[0].0, place, "{routes:?}: {found:?}");
        }
    }

    #[test]
    fn every_error_is_found_in_one_run() {
        let found = errors(&json!({ "routes": [
            { "path": "a", "allow": { "permissions": ["nope"] } },
            { "path": "/b", "host": "*.", "allow": {} },
            { "path": "/**/c", "allow": "public" },
        ] }));
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "routes[0].path",
                "routes[1].host",
                "routes[2].path",
                "routes[0].allow.permissions[0]",
                "routes[1].allow",
            ]
        );
    }

    #[test]
    fn the_table_lists_the_most_specific_first() {
        let world = World::new(&json!({ "routes": [
            { "path": "/**", "allow": "public" },
            { "path": "/*/b", "allow": "optional" },
            { "path": "/a/**", "allow": { "roles": ["admin"] }, "preset": "remote-user" },
            { "path": "/a", "methods": ["GET"], "allow": "public" },
            { "path": "/a/", "allow": "public" },
            { "path": "/", "allow": "authenticated", "preset": "username" },
            { "path": "/**", "host": "*.test", "allow": "public" },
            { "path": "/**", "host": "*.long.test", "allow": "public" },
            { "path": "/**", "host": "z.test", "allow": "public", "upstream": "other" },
        ] }));
        let rows: Vec<String> = world
            .policy
            .table()
            .iter()
            .map(|row| {
                let methods = row.methods.join(",");
                format!("{} {} [{methods}] {} {}", row.host, row.path, row.upstream, row.rule)
            })
            .collect();
        assert_eq!(
            rows,
            [
                "z.test /** [] other public",
                "*.long.test /** [] app public",
                "*.test /** [] app public",
                "* / [] app authenticated + username",
                "* /a/ [] app public",
                "* /a [GET] app public",
                "* /a/** [] app {roles: [admin]} + verified: true",
                "* /*/b [] app optional",
                "* /** [] app public",
            ]
        );
        let public = world.policy.public_routes();
        assert_eq!(public.len(), 6);
    }
}
