//! Where a request leads, in every way the application behind could read it.

use std::collections::HashMap;

use http::Method;

use super::branches::Number;
use super::table::{Place, Table, is_refused_everywhere};
use super::{Destination, HostMatch, Located, PlaceTakes, Policy, RouteId};
use crate::config::Route;
use crate::web::authority::Host;
use crate::web::target::{Forms, Segments, Target};

const NOT_PERMITTED: [(Forms, &str); 5] = [
    (Forms::ENCODED_SLASH, "the path holds an encoded slash, which the route does not permit"),
    (
        Forms::ENCODED_BACKSLASH,
        "the path holds an encoded backslash, which the route does not permit",
    ),
    (Forms::SEMICOLON, "the path holds a semicolon, which the route does not permit"),
    (Forms::DOUBLE_SLASH, "the path holds a double slash, which the route does not permit"),
    (Forms::NON_UTF8, "the path holds bytes that are not UTF-8, which the route does not permit"),
];

fn not_permitted(forms: Forms) -> Located {
    let reason = NOT_PERMITTED.iter().find(|(form, _)| forms.contains(*form));
    Located::Ambiguous(reason.map_or("the path is ambiguous", |(_, text)| text))
}

/// What finding a route asks of it. Few bytes that lie together, so that a table of many routes stays
/// near the processor; the routes themselves do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    permitted: Forms,
    is_case_sensitive: bool,
    /// The same number for the same upstream.
    upstream: Option<Number>,
}

impl Manner {
    /// Of each route.
    pub(super) fn of<'r>(routes: &'r [Route]) -> Vec<Self> {
        let mut upstreams = HashMap::new();
        let manner = |route: &'r Route| {
            let next = Number::of(upstreams.len());
            Self {
                permitted: route.permit_in_path,
                is_case_sensitive: route.upstream.case_sensitive,
                upstream: *upstreams.entry(route.upstream.name.as_str()).or_insert(next),
            }
        };
        routes.iter().map(manner).collect()
    }
}

/// What the places of one reading are looked up with.
struct Search<'p> {
    policy: &'p Policy,
    table: &'p Table,
    method: &'p Method,
}

impl Policy {
    /// Finds the route of a request.
    ///
    /// A path at or below `portal.path` leads to no place: nothing there is ever forwarded.
    #[must_use]
    pub fn locate(&self, host: &Host, target: &Target, method: &Method) -> Located {
        let table = self.tables.table(host.as_str());
        let segments = target.segments();
        let place = table.filter(|_| !self.is_portal(segments)).and_then(|t| t.place(segments));
        let (Some(table), Some(place)) = (table, place) else {
            return nowhere(target, method);
        };
        let Some(route) = place.route_for(method) else {
            return if target.forms().is_empty() {
                Located::MethodNotAllowed(place.methods())
            } else {
                not_permitted(target.forms())
            };
        };
        let refused = target.forms().without(self.manners[route.0].permitted);
        if !refused.is_empty() {
            return not_permitted(refused);
        }
        let search = Search { policy: self, table, method };
        let mut destination = Destination { route, also: Vec::new() };
        let added = if target.forms().is_empty() {
            search.add_letter_cases(segments, &mut destination)
        } else {
            search.add_readings(target, &mut destination)
        };
        added.err().unwrap_or(Located::Route(destination))
    }

    /// Whether a path lies at or below `portal.path`.
    #[must_use]
    pub fn is_portal(&self, segments: &Segments) -> bool {
        let mut portal = self.portal.iter().enumerate();
        portal.all(|(at, want)| segments.get(at).is_some_and(|part| *part == **want))
    }

    /// Whether any route takes this host: exactly (a route names it), by a wildcard, or by the routes
    /// without `host`.
    #[must_use]
    pub fn takes_host(&self, host: &Host) -> HostMatch {
        use super::table::HostPattern;
        match self.tables.table(host.as_str()).map(|table| &table.host) {
            Some(HostPattern::Exact(_)) => HostMatch::Exact,
            Some(HostPattern::Wildcard(..)) => HostMatch::Wildcard,
            Some(HostPattern::Any) => HostMatch::Any,
            None => HostMatch::Nowhere,
        }
    }

    /// Whether some route of the place that `target` leads to takes `method` (for preflights), and
    /// whether every route of that place is public.
    #[must_use]
    pub fn place_takes(&self, host: &Host, target: &Target, method: &Method) -> PlaceTakes {
        let segments = target.segments();
        let place = self
            .tables
            .table(host.as_str())
            .filter(|_| !self.is_portal(segments))
            .and_then(|table| table.place(segments));
        PlaceTakes {
            exists: place.is_some(),
            takes_method: place.is_some_and(|place| place.route_for(method).is_some()),
            is_guarded: place.is_some_and(|place| {
                place.routes().iter().any(|route| !self.gates[route.0].is_public())
            }),
        }
    }

    /// Whether a route of the place leads to the upstream of `route`.
    fn shares_upstream(&self, place: &Place, route: RouteId) -> bool {
        place.routes().iter().any(|other| self.is_same_upstream(*other, route))
    }

    fn is_same_upstream(&self, one: RouteId, other: RouteId) -> bool {
        self.manners[one.0].upstream == self.manners[other.0].upstream
    }
}

fn nowhere(target: &Target, method: &Method) -> Located {
    if !target.forms().is_empty() {
        not_permitted(target.forms())
    } else if is_refused_everywhere(method) {
        Located::MethodNotAllowed(Vec::new())
    } else {
        Located::NoPlace
    }
}

impl Search<'_> {
    /// Adds the routes of the places a path could be taken for by an application that ignores case.
    ///
    /// A place that leads to the same upstream but not by this method is a refusal: asked for in its
    /// own spelling it would not be forwarded either.
    fn add_letter_cases(
        &self,
        segments: &Segments,
        destination: &mut Destination,
    ) -> Result<(), Located> {
        let route = destination.route;
        if self.policy.manners[route.0].is_case_sensitive {
            return Ok(());
        }
        let counts = |place: &Place| self.policy.shares_upstream(place, route);
        for place in self.table.places_ignoring_case(segments, counts) {
            match place.route_for(self.method) {
                Some(also) => destination.add(also),
                None => return Err(Located::MethodNotAllowed(place.methods())),
            }
        }
        Ok(())
    }

    /// Adds the routes of every reading of an irregular path.
    fn add_readings(&self, target: &Target, destination: &mut Destination) -> Result<(), Located> {
        let permitted = self.policy.manners[destination.route.0].permitted;
        let readings = target
            .readings(permitted)
            .map_err(|_| Located::Ambiguous("the path can be read in too many ways"))?;
        for reading in &readings {
            if self.policy.is_portal(reading) {
                return Err(Located::Ambiguous("the path can be read as one of the gateway's own"));
            }
            let also = self
                .table
                .place(reading)
                .and_then(|place| place.route_for(self.method))
                .ok_or(Located::Ambiguous("the path can be read as one that no route takes"))?;
            if !self.policy.is_same_upstream(also, destination.route) {
                return Err(Located::Ambiguous("the path can be read as another application's"));
            }
            destination.add(also);
            self.add_letter_cases(reading, destination)?;
        }
        Ok(())
    }
}

impl Destination {
    fn add(&mut self, route: RouteId) {
        if route != self.route && !self.also.contains(&route) {
            self.also.push(route);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::fixture::{World, request_of};

    fn world(routes: &Value) -> World {
        World::new(&json!({ "routes": routes }))
    }

    /// The paths of all routes involved, or the status.
    fn involved(world: &World, request: &str) -> Vec<String> {
        match world.locate(request) {
            Located::Route(found) => {
                let paths = found.routes().map(|id| world.policy.route(id).path.clone());
                paths.collect()
            }
            Located::MethodNotAllowed(methods) => {
                methods.iter().map(|method| format!("405 {method}")).collect()
            }
            Located::NoPlace => vec!["404".to_owned()],
            Located::Ambiguous(_) => vec!["400".to_owned()],
        }
    }

    #[test]
    fn the_slash_form_alone_overrides_what_takes_both() {
        let world = world(&json!([
            { "path": "/a", "allow": "public" },
            { "path": "/a/", "allow": "public" },
            { "path": "/u/{id}", "allow": "public" },
            { "path": "/u/{id}/", "allow": "public" },
            { "path": "/x/**", "allow": "public" },
        ]));
        let cases = [
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/u/1", "/u/{id}"),
            ("/u/1/", "/u/{id}/"),
            ("/u/", "404"),
            ("/x", "/x/**"),
            ("/x/", "/x/**"),
            ("/x/y/z/", "/x/**"),
            ("/xy", "404"),
            ("/", "404"),
        ];
        for (path, expected) in cases {
            assert_eq!(world.route(&format!("GET {path}")), expected, "{path}");
        }
    }

    #[test]
    fn one_table_is_looked_at_and_the_longest_wildcard_wins() {
        let world = world(&json!([
            { "path": "/any", "allow": "public" },
            { "path": "/wide", "host": "*.example.com", "allow": "public" },
            { "path": "/narrow", "host": "*.b.example.com", "allow": "public" },
            { "path": "/exact", "host": "A.B.Example.com.", "allow": "public" },
        ]));
        let cases = [
            ("a.b.example.com", "/exact", HostMatch::Exact),
            ("x.b.example.com", "/narrow", HostMatch::Wildcard),
            ("b.example.com", "/wide", HostMatch::Wildcard),
            ("y.x.example.com", "/wide", HostMatch::Wildcard),
            ("example.com", "/any", HostMatch::Any),
            ("10.0.0.1", "/any", HostMatch::Any),
            ("[::1]", "/any", HostMatch::Any),
        ];
        for (host, path, taken) in cases {
            for other in ["/any", "/wide", "/narrow", "/exact"] {
                let expected = if other == path { path } else { "404" };
                assert_eq!(world.route(&format!("GET {host}{other}")), expected, "{host}");
            }
            let (_, authority, _) = request_of(&format!("GET {host}/"));
            assert_eq!(world.policy.takes_host(authority.host()), taken, "{host}");
        }
    }

    #[test]
    fn a_host_no_table_takes_is_nowhere() {
        let world = world(&json!([{ "path": "/**", "host": "app.test", "allow": "public" }]));
        assert_eq!(world.route("GET other.test/"), "404");
        let (_, authority, _) = request_of("GET other.test/");
        assert_eq!(world.policy.takes_host(authority.host()), HostMatch::Nowhere);
    }

    #[test]
    fn nothing_at_or_below_the_portal_is_located() {
        let world = world(&json!([{ "path": "/**", "allow": "public" }]));
        let cases = [
            ("/auth", "404"),
            ("/auth/", "404"),
            ("/auth/x", "404"),
            ("/%61uth/x", "404"),
            ("/authx", "/**"),
            ("/x/auth", "/**"),
        ];
        for (path, expected) in cases {
            assert_eq!(world.route(&format!("GET {path}")), expected, "{path}");
        }
    }

    #[test]
    fn connect_and_trace_are_taken_nowhere() {
        let world = world(&json!([{ "path": "/a", "allow": "public" }]));
        for method in ["TRACE", "CONNECT"] {
            let found = involved(&world, &format!("{method} /a"));
            assert_eq!(found.len(), 7, "{found:?}");
            assert_eq!(
                world.locate(&format!("{method} /b")),
                Located::MethodNotAllowed(Vec::new())
            );
        }
    }

    #[test]
    fn an_irregular_form_needs_a_route_that_permits_it() {
        let world = world(&json!([
            { "path": "/**", "allow": "public" },
            { "path": "/open/**", "allow": "public", "permit_in_path":
                ["encoded-slash", "encoded-backslash", "semicolon", "double-slash", "non-utf8"] },
            { "path": "/slash/**", "allow": "public", "permit_in_path": ["encoded-slash"] },
            { "path": "/post", "methods": ["POST"], "allow": "public" },
        ]));
        let cases = [
            ("/x%2fy", "400"),
            ("/x%5cy", "400"),
            ("/x;y", "400"),
            ("/x%3by", "400"),
            ("/x//y", "400"),
            ("/x%ff", "400"),
            ("/open/x;y", "/open/**"),
            ("/open/x%3by", "/open/**"),
            ("/open/x%ff", "/open/**"),
            ("/slash/x%2fy", "/slash/**"),
            ("/slash/x%2fy;z", "400"),
            ("/post;x", "400"),
            ("/post%2f", "400"),
        ];
        for (path, expected) in cases {
            assert_eq!(world.route(&format!("GET {path}")), expected, "{path}");
        }
    }

    #[test]
    fn where_no_place_is_an_irregular_form_is_still_refused() {
        let world = world(&json!([{ "path": "/a", "allow": "public" }]));
        assert_eq!(world.route("GET /b"), "404");
        assert_eq!(world.route("GET /b;c"), "400");
    }

    #[test]
    fn every_reading_must_lead_to_the_same_application() {
        let permitted = json!(["encoded-slash", "semicolon"]);
        let world = world(&json!([
            { "path": "/f/*", "allow": "public", "permit_in_path": permitted },
            { "path": "/f/a/b", "allow": { "roles": ["admin"] } },
            { "path": "/f/a/other", "upstream": "other", "allow": "public" },
            { "path": "/f/a/post", "methods": ["POST"], "allow": "public" },
            { "path": "/*", "allow": "public", "permit_in_path": permitted },
        ]));
        let cases = [
            ("/f/a%2fb", vec!["/f/*", "/f/a/b"]),
            ("/f/a%2fother", vec!["400"]),
            ("/f/a%2fpost", vec!["400"]),
            ("/f/a%2fnowhere", vec!["400"]),
            ("/auth;x", vec!["400"]),
            ("/auth%2flogin", vec!["400"]),
            ("/x;y", vec!["/*"]),
        ];
        for (path, expected) in cases {
            assert_eq!(involved(&world, &format!("GET {path}")), expected, "{path}");
        }
        let ann = world.ann();
        assert_eq!(world.ask("GET /f/a%2fb", Some(&ann), ""), "allow unidentified");
        assert_eq!(world.ask("GET /f/a%2fb", None, ""), "challenge");
    }

    #[test]
    fn letter_case_matters_only_for_the_same_application() {
        let world = World::new(&json!({
            "upstreams": { "exact": true },
            "routes": [
                { "path": "/**", "allow": "public" },
                { "path": "/admin/**", "allow": { "roles": ["admin"] } },
                { "path": "/Mixed", "allow": "authenticated" },
                { "path": "/get", "methods": ["GET"], "allow": "public" },
                { "path": "/other/x", "upstream": "other", "allow": "public" },
                { "path": "/other/**", "allow": { "roles": ["admin"] } },
                { "path": "/cs/**", "upstream": "exact", "allow": "public" },
                { "path": "/cs/a", "upstream": "exact", "allow": { "roles": ["admin"] } },
            ],
        }));
        let cases = [
            ("GET /admin", vec!["/admin/**"]),
            ("GET /ADMIN/x", vec!["/**", "/admin/**"]),
            ("GET /%41dmin/x", vec!["/**", "/admin/**"]),
            ("GET /mixed", vec!["/**", "/Mixed"]),
            ("GET /Get", vec!["/**", "/get"]),
            ("POST /Get", vec!["405 GET", "405 HEAD"]),
            ("GET /other/x", vec!["/other/x"]),
            ("GET /Other/x", vec!["/**", "/other/**"]),
            ("GET /cs/A", vec!["/cs/**"]),
        ];
        for (request, expected) in cases {
            assert_eq!(involved(&world, request), expected, "{request}");
        }
    }

    #[test]
    fn places_that_differ_in_case_alone_must_both_allow() {
        let world = world(&json!([
            { "path": "/Admin/**", "allow": "authenticated" },
            { "path": "/admin/**", "allow": { "roles": ["admin"] } },
        ]));
        assert_eq!(involved(&world, "GET /Admin/x"), ["/Admin/**", "/admin/**"]);
        assert_eq!(involved(&world, "GET /admin/x"), ["/admin/**", "/Admin/**"]);
        assert!(world.ask("GET /Admin/x", Some(&world.cat()), "").starts_with("deny"));
    }

    #[test]
    fn a_preflight_learns_what_the_place_takes() {
        let world = world(&json!([
            { "path": "/a", "methods": ["GET"], "allow": "public" },
            { "path": "/a", "methods": ["POST"], "allow": "authenticated" },
            { "path": "/b", "allow": "public" },
        ]));
        let cases = [
            ("GET /a", (true, true, true)),
            ("POST /a", (true, true, true)),
            ("PUT /a", (true, false, true)),
            ("PUT /b", (true, true, false)),
            ("PUT /c", (false, false, false)),
            ("GET /auth", (false, false, false)),
        ];
        for (request, (exists, takes_method, is_guarded)) in cases {
            let (method, authority, target) = request_of(request);
            let found = world.policy.place_takes(authority.host(), &target, &method);
            assert_eq!(found, PlaceTakes { exists, takes_method, is_guarded }, "{request}");
        }
    }
}
