//! What `check` says of places and rules that are valid but probably not meant.

use std::collections::HashMap;
use std::fmt::Display;

use http::Method;

use super::strictness::is_stricter;
use super::table::{HostPattern, Place, Table, place_at};
use super::{Policy, RouteId};
use crate::config::{Config, KeyPath, Problem};

/// A problem at a place of the configuration.
pub(super) fn problem(at: KeyPath, message: impl Display) -> Problem {
    Problem { at, message: message.to_string() }
}

/// The key path of something below another.
pub(super) fn below(at: &KeyPath, key: &str) -> KeyPath {
    let path = if at.path.is_empty() { key.to_owned() } else { format!("{}.{key}", at.path) };
    KeyPath { file: at.file, path }
}

/// Hosts a warning names before it only counts.
const HOSTS_NAMED: usize = 3;

/// Everything worth a warning about a compiled configuration.
pub(super) fn warnings(policy: &Policy, config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    for table in policy.tables.iter() {
        for place in &table.places {
            found.extend(hidden_by_portal(policy, config, place));
            found.extend(hidden_by_hosts(policy, config, table, place));
            found.extend(unlike_its_tree(policy, config, table, place));
        }
    }
    let order: HashMap<&KeyPath, usize> =
        config.routes.iter().enumerate().map(|(index, route)| (&route.at, index)).collect();
    found.sort_by_cached_key(|problem| order.get(&route_of(&problem.at)).copied());
    found
}

/// The key path of the route that something stands in.
fn route_of(at: &KeyPath) -> KeyPath {
    let path = at.path.split('.').next().unwrap_or_default();
    KeyPath { file: at.file, path: path.to_owned() }
}

fn name_of(config: &Config, route: RouteId) -> &str {
    config.routes.get(route.0).map_or("", |route| route.path.as_str())
}

fn path_of<'c>(config: &'c Config, place: &Place) -> &'c str {
    place.routes().first().map_or("", |route| name_of(config, *route))
}

/// Routes hidden by the portal and by its users' addresses.
fn hidden_by_portal(policy: &Policy, config: &Config, place: &Place) -> Option<Problem> {
    let path = path_of(config, place);
    if place.pattern().is_within(&policy.portal) {
        let text = format!(
            "`{path}` lies at or below `portal.path` (`{}`), which is the gateway's: nothing there \
             is forwarded",
            config.portal.path
        );
        return Some(problem(below(&place_at(place, config), "path"), text));
    }
    let users = config.portal.users_path.as_ref()?;
    let route = place.route_for(&Method::GET)?;
    (path.strip_prefix(users.as_str()) == Some("/me")).then(|| {
        let text = format!("`GET {path}` is the gateway's by `portal.users_path`");
        problem(below(&route_at(config, route), "path"), text)
    })
}

/// Routes a more specific host's table hides, since no other table is looked at.
fn hidden_by_hosts(
    policy: &Policy,
    config: &Config,
    table: &Table,
    place: &Place,
) -> Option<Problem> {
    if let HostPattern::Exact(_) = table.host {
        return None;
    }
    let hosts: Vec<String> = policy
        .tables
        .iter()
        .filter(|other| other.host.shadows(&table.host) && !other.covers(place.pattern()))
        .map(|other| format!("`{}`", other.host))
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let more = hosts.len().saturating_sub(HOSTS_NAMED);
    let mut names = hosts.iter().take(HOSTS_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        names = format!("{names} and {more} more");
    }
    let path = path_of(config, place);
    let text = format!(
        "`{path}` does not serve {names}: a host that routes name is served by those routes alone, \
         and what they do not take is 404"
    );
    Some(problem(place_at(place, config), text))
}

/// A place guarded otherwise than the subtree around it, where that is likely a mistake.
fn unlike_its_tree(
    policy: &Policy,
    config: &Config,
    table: &Table,
    place: &Place,
) -> Option<Problem> {
    let tree = table.around(place)?;
    let (path, around) = (path_of(config, place), path_of(config, tree));
    let pairs = comparable_routes(place, tree);
    let gate = |route: RouteId| &policy.gates[route.0];
    if !place.pattern().is_root() {
        let is_open_inside =
            |(own, outer): &(RouteId, RouteId)| gate(*own).is_open() && !gate(*outer).is_open();
        if let Some((own, _)) = pairs.iter().find(|pair| is_open_inside(pair)) {
            let word = if gate(*own).is_public() { "public" } else { "open (`optional`)" };
            let text = format!("`{path}` is {word} inside the guarded `{around}`");
            return Some(problem(below(&route_at(config, *own), "allow"), text));
        }
    }
    if place.pattern().is_subtree() {
        return None;
    }
    let stricter = pairs.iter().find(|(own, outer)| is_stricter(gate(*own), gate(*outer)))?;
    let text = format!(
        "`{path}` is guarded more strictly than `{around}` around it, which takes what lies below: \
         write `{}/**` if that is to be guarded alike",
        path.trim_end_matches('/')
    );
    Some(problem(below(&route_at(config, stricter.0), "allow"), text))
}

fn route_at(config: &Config, route: RouteId) -> KeyPath {
    config.routes.get(route.0).map(|route| route.at.clone()).unwrap_or_default()
}

/// The routes of two places that take the same method, one pair for each method that either names
/// and one for all others.
fn comparable_routes(place: &Place, tree: &Place) -> Vec<(RouteId, RouteId)> {
    let methods = place.named_methods().chain(tree.named_methods());
    let mut pairs: Vec<(RouteId, RouteId)> = methods
        .filter_map(|method| place.route_for(method).zip(tree.route_for(method)))
        .chain(place.unnamed().zip(tree.unnamed()))
        .collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::policy::fixture::World;

    /// The key path and message of each warning.
    fn warnings(json: &Value) -> Vec<(String, String)> {
        let found = World::new(json).findings.warnings.into_iter();
        found.map(|problem| (problem.at.path, problem.message)).collect()
    }

    fn of_rules(place: &Value, tree: &Value) -> Vec<(String, String)> {
        warnings(&json!({
            "roles": { "staff": ["a:read"], "boss": ["a:read"] },
            "routes": [{ "path": "/x", "allow": place }, { "path": "/**", "allow": tree }],
        }))
    }

    #[test]
    fn a_place_guarded_more_strictly_than_its_tree_is_noticed() {
        let staff = json!({ "roles": ["staff"] });
        let cases = [
            (json!({ "roles": ["admin"] }), json!("authenticated"), true),
            (json!({ "roles": ["admin"] }), json!("public"), true),
            (json!("authenticated"), json!("public"), true),
            (json!("authenticated"), json!("optional"), true),
            (json!({ "roles": ["boss"] }), json!({ "roles": ["boss", "staff"] }), true),
            (json!({ "roles": ["staff"], "permissions": ["a:read"] }), staff.clone(), true),
            (json!({ "verified": true }), json!("authenticated"), true),
            (json!({ "networks": ["10.0.0.0/8"] }), json!("authenticated"), true),
            (staff.clone(), staff.clone(), false),
            (json!({ "roles": ["boss"] }), staff.clone(), false),
            (json!("authenticated"), staff, false),
            (json!({ "all": ["authenticated"] }), json!("authenticated"), false),
            (json!("public"), json!("public"), false),
        ];
        for (place, tree, expected) in cases {
            let found = of_rules(&place, &tree);
            assert_eq!(!found.is_empty(), expected, "{place} in {tree}: {found:?}");
            if expected {
                assert_eq!(found[0].0, "routes[0].allow");
                assert!(found[0].1.contains("write `/x/**`"), "{found:?}");
            }
        }
    }

    #[test]
    fn an_own_subtree_answers_for_a_place() {
        let admin = json!({ "roles": ["admin"] });
        let found = warnings(&json!({ "routes": [
            { "path": "/admin", "allow": admin },
            { "path": "/admin/**", "allow": admin },
            { "path": "/**", "allow": "authenticated" },
        ] }));
        assert_eq!(found, []);
    }

    #[test]
    fn strictness_is_compared_method_by_method() {
        let admin = json!({ "roles": ["admin"] });
        let found = warnings(&json!({ "routes": [
            { "path": "/x", "methods": ["GET"], "allow": "authenticated" },
            { "path": "/x", "methods": ["POST"], "allow": admin },
            { "path": "/**", "methods": ["GET"], "allow": "authenticated" },
            { "path": "/**", "methods": ["POST"], "allow": "authenticated" },
        ] }));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "routes[1].allow");
    }

    #[test]
    fn an_open_place_inside_a_guarded_tree_is_noticed() {
        let found = warnings(&json!({ "routes": [
            { "path": "/", "allow": "public" },
            { "path": "/static/**", "allow": "public" },
            { "path": "/hello", "allow": "optional" },
            { "path": "/**", "allow": "authenticated" },
        ] }));
        let expected = [
            ("routes[1].allow", "`/static/**` is public inside the guarded `/**`"),
            ("routes[2].allow", "`/hello` is open (`optional`) inside the guarded `/**`"),
        ];
        let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_public_site_whose_admin_alone_is_guarded_is_fine() {
        let found = warnings(&json!({ "routes": [
            { "path": "/**", "allow": "public" },
            { "path": "/admin/**", "allow": { "roles": ["admin"] } },
        ] }));
        assert_eq!(found, []);
    }

    #[test]
    fn routes_the_portal_hides_are_named() {
        let found = warnings(&json!({ "users_path": "/users", "routes": [
            { "path": "/auth/**", "allow": "public" },
            { "path": "/auth", "methods": ["GET"], "allow": "public" },
            { "path": "/authors", "allow": "public" },
            { "path": "/users/me", "methods": ["GET"], "allow": "public" },
            { "path": "/users/manage", "allow": "public" },
        ] }));
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["routes[0].path", "routes[1].path", "routes[3].path"]);
    }

    #[test]
    fn the_route_whose_get_is_the_gateways_is_named() {
        let route = |methods: &[&str]| json!({ "path": "/users/me", "methods": methods, "allow": "authenticated" });
        for (routes, expected) in [
            (json!([route(&[])]), Some("routes[0].path")),
            (json!([route(&["PATCH"]), route(&["POST", "GET"])]), Some("routes[1].path")),
            (json!([route(&["PATCH"]), route(&[])]), Some("routes[1].path")),
            (json!([route(&["PATCH"])]), None),
        ] {
            let found = warnings(&json!({ "users_path": "/users", "routes": routes }));
            let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
            assert_eq!(places, expected.into_iter().collect::<Vec<_>>(), "{routes}");
        }
    }

    #[test]
    fn routes_a_hosts_own_table_hides_are_named_with_the_hosts() {
        let found = warnings(&json!({ "routes": [
            { "path": "/a", "host": "one.test", "allow": "public" },
            { "path": "/**", "host": "two.test", "allow": "public" },
            { "path": "/b", "host": "*.test", "allow": "public" },
            { "path": "/a", "allow": "public" },
            { "path": "/c", "allow": "public" },
        ] }));
        let texts: Vec<String> = found
            .iter()
            .map(|(place, text)| {
                format!("{place}: {}", text.split(": a host").next().unwrap_or_default())
            })
            .collect();
        assert_eq!(
            texts,
            [
                "routes[2]: `/b` does not serve `one.test`",
                "routes[3]: `/a` does not serve `*.test`",
                "routes[4]: `/c` does not serve `one.test`, `*.test`",
            ]
        );
    }

    #[test]
    fn names_nobody_defined_are_doubted_once() {
        let found = warnings(&json!({
            "roles": { "analyst": ["dashboard:read"], "ops": ["admin:*"] },
            "routes": [
                { "path": "/a", "allow": { "roles": ["analist"] } },
                { "path": "/b", "allow": { "roles": ["analist"] } },
                { "path": "/c", "allow": { "roles": ["of-the-database"] } },
                { "path": "/d", "allow": { "permissions": ["dashbord:read"] } },
                { "path": "/e", "allow": { "permissions": ["admin:keys:read"] } },
                { "path": "/f", "allow": { "permissions": ["unheard:of"] } },
            ],
        }));
        let expected = [
            (
                "routes[0].allow.roles[0]",
                "the role `analist` is defined nowhere in the configuration; did you mean \
                 `analyst`?",
            ),
            (
                "routes[2].allow.roles[0]",
                "the role `of-the-database` is defined nowhere in the configuration",
            ),
            (
                "routes[3].allow.permissions[0]",
                "no role of the configuration grants the permission `dashbord:read` but by `*:*`; \
                 did you mean `dashboard:read`?",
            ),
        ];
        let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_permission_no_role_grants_is_noticed() {
        let found = warnings(&json!({
            "roles": { "admin": ["pages:*"] },
            "routes": [{ "path": "/**", "allow": { "permissions": ["unheard:of"] } }],
        }));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
