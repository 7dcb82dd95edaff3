//! The policy language's truth table: every row a test, from the YAML file to the decision. What needs
//! a request on the wire (cross-site checks, handshakes) is asked of the whole gateway elsewhere; here
//! stands what the decision contributes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use http::Method;
use uuid::Uuid;

use portcullis::clock::Timestamp;
use portcullis::config::{Config, Environment, load_text};
use portcullis::identity::access::{Interner, RoleBook, Subject};
use portcullis::identity::grant::Grant;
use portcullis::identity::user::RoleGrant;
use portcullis::policy::{Decision, Facts, Located, Policy};
use portcullis::web::authority::Authority;
use portcullis::web::headers::UserField;
use portcullis::web::target::Target;

const LAN: &str = "10.1.2.3";
const VPN: &str = "172.16.9.9";
const OUTSIDE: &str = "203.0.113.7";
const ANN: Uuid = Uuid::from_u128(1);
const CAT: Uuid = Uuid::from_u128(2);
const NEEDS_ADMIN: &str = "deny: Requires one of these roles: ['admin']";

struct NoVariables;

impl Environment for NoVariables {
    fn get(&self, _: &str) -> Option<String> {
        None
    }
}

/// Reads a file of these lines; `app` is an upstream anyway.
fn read(lines: &str) -> Result<Config, Vec<String>> {
    let upstreams = r#"upstreams: { app: "http://127.0.0.1:3000" }"#;
    let text = if lines.contains("upstreams:") {
        lines.to_owned()
    } else {
        format!("{upstreams}\n{lines}")
    };
    load_text(&text, Path::new("/nowhere/portcullis.yaml"), &NoVariables)
        .map_err(|found| found.iter().map(|problem| format!("{problem:?}")).collect())
}

/// Everything wrong with a file, whoever finds it.
fn errors(lines: &str) -> Vec<String> {
    match read(lines) {
        Err(found) => found,
        Ok(config) => {
            let (_, findings) = Policy::compile(&config, &Interner::default());
            findings.errors.into_iter().map(|problem| problem.message).collect()
        }
    }
}

/// A route `/**` with this `allow`.
fn everywhere(allow: &str) -> String {
    format!("routes: [{{ path: \"/**\", upstream: app, allow: {allow} }}]")
}

struct World {
    policy: Policy,
    warnings: Vec<String>,
    book: RoleBook,
    file: BTreeMap<String, Vec<Grant>>,
}

impl World {
    fn new(lines: &str) -> Self {
        let config = read(lines).unwrap_or_else(|found| panic!("{found:#?}"));
        let interner = Interner::default();
        let (policy, findings) = Policy::compile(&config, &interner);
        let policy = policy.unwrap_or_else(|| panic!("{:#?}", findings.errors));
        let file: BTreeMap<String, Vec<Grant>> = config
            .roles
            .iter()
            .map(|(name, role)| {
                let grants = role.permissions.iter().map(|text| Grant::parse(text).unwrap());
                (name.clone(), grants.collect())
            })
            .collect();
        let named = policy.named_permissions();
        let book = RoleBook::new(&interner, &file, &BTreeMap::new(), named);
        let warnings = findings.warnings.into_iter().map(|problem| problem.message).collect();
        Self { policy, warnings, book, file }
    }

    fn person(&self, id: Uuid, roles: &[&str]) -> Subject {
        let grants: Vec<RoleGrant> =
            roles.iter().map(|role| RoleGrant { role: (*role).into(), until: None }).collect();
        Subject {
            id,
            email_folded: "somebody@example.com".into(),
            is_verified: true,
            has_username: false,
            is_superuser: false,
            access: self.book.access(&grants, Timestamp::from_seconds(0)).into(),
        }
    }

    fn ann(&self) -> Subject {
        self.person(ANN, &["admin"])
    }

    fn cat(&self) -> Subject {
        self.person(CAT, &[])
    }

    fn unverified(&self) -> Subject {
        Subject { is_verified: false, ..self.cat() }
    }

    /// Where `GET host/path` leads; without a host it is `any.test`.
    fn locate(&self, request: &str) -> Located {
        let (method, rest) = request.split_once(' ').unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let host = if host.is_empty() { "any.test" } else { host };
        let authority = Authority::parse(host.as_bytes()).unwrap();
        let method: Method = method.parse().unwrap();
        self.policy.locate(authority.host(), &Target::parse(path).unwrap(), &method)
    }

    fn ask(&self, request: &str, caller: Option<&Subject>, client: &str) -> String {
        let destination = match self.locate(request) {
            Located::Route(destination) => destination,
            Located::MethodNotAllowed(methods) => {
                let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
                return format!("405 {}", methods.join(","));
            }
            Located::NoPlace => return "404".into(),
            Located::Ambiguous(_) => return "400".into(),
        };
        let client: Option<IpAddr> = client.parse().ok();
        match self.policy.decide(&destination, &Facts { caller, client }) {
            Decision::Allow(permit) if permit.is_identified() => "allow".into(),
            Decision::Allow(permit) if permit.is_by_network() => "allow by network".into(),
            Decision::Allow(_) => "allow as anonymous".into(),
            Decision::Challenge(_) => "challenge".into(),
            Decision::Deny(refusal) => format!("deny: {}", refusal.reason),
        }
    }

    /// The path of the route a request leads to.
    fn route(&self, request: &str) -> String {
        let Located::Route(found) = self.locate(request) else { panic!("{request} leads nowhere") };
        self.policy.route(found.route).path.clone()
    }
}

#[test]
fn row_01_another_letter_case_is_guarded_as_well_unless_the_upstream_tells_case() {
    for (case_sensitive, expected) in [("false", NEEDS_ADMIN), ("true", "allow")] {
        let world = World::new(&format!(
            r#"
upstreams:
  app: {{ targets: ["http://127.0.0.1:3000"], case_sensitive: {case_sensitive} }}
routes:
  - {{ path: "/**", upstream: app, allow: authenticated }}
  - {{ path: "/admin/**", upstream: app, allow: {{ roles: [admin] }} }}
"#
        ));
        assert_eq!(world.ask("GET /Admin/x", Some(&world.cat()), OUTSIDE), expected);
        assert_eq!(world.ask("GET /Admin/x", Some(&world.ann()), OUTSIDE), "allow");
        assert_eq!(world.ask("GET /Other/x", Some(&world.cat()), OUTSIDE), "allow");
    }
}

#[test]
fn row_02_a_network_map_beside_an_anonymous_one_asks_for_somebody_signed_in() {
    let world = World::new(&everywhere(
        "{ any: [{ networks: [10.0.0.0/8], anonymous: true }, { networks: [172.16.0.0/12] }] }",
    ));
    assert_eq!(world.ask("GET /", None, VPN), "challenge");
    assert_eq!(world.ask("GET /", None, LAN), "allow by network");
    assert_eq!(world.ask("GET /", None, OUTSIDE), "deny: Forbidden");
    assert_eq!(world.ask("GET /", Some(&world.cat()), VPN), "allow");
}

#[test]
fn row_03_a_signed_in_caller_passes_by_the_anonymous_branch_too() {
    let world = World::new(&everywhere(
        "{ any: [{ networks: [10.0.0.0/8], anonymous: true }, { roles: [admin] }] }",
    ));
    assert_eq!(world.ask("GET /", Some(&world.cat()), LAN), "allow");
    assert_eq!(world.ask("GET /", Some(&world.cat()), OUTSIDE), "deny: Forbidden");
}

#[test]
fn row_04_siblings_of_an_anonymous_map_keep_asking() {
    let world = World::new(&everywhere(
        "{ all: [{ networks: [10.0.0.0/8], anonymous: true }, { networks: [10.0.0.0/8] }] }",
    ));
    assert_eq!(world.ask("GET /", None, LAN), "challenge");
    assert_eq!(world.ask("GET /", Some(&world.cat()), LAN), "allow");
}

#[test]
fn row_05_contradictions_are_configuration_errors() {
    for allow in [
        "{ not: { users: [bob@x] } }",
        "{ not: { users: [bob@example.com] } }",
        "{ roles: [admin], anonymous: true }",
        "{ superuser: false }",
        "{ any: [public, authenticated] }",
        "{ permissions: [\"users:*\"] }",
        "{ roles: [] }",
        "{}",
    ] {
        let found = errors(&everywhere(allow));
        assert!(!found.is_empty(), "{allow} is accepted");
    }
    assert_eq!(errors(&everywhere("{ roles: [admin] }")), Vec::<String>::new());
}

#[test]
fn row_06_head_goes_to_the_route_that_names_get() {
    let world = World::new(
        r#"
routes:
  - { path: "/a", methods: [GET], upstream: app, allow: public }
  - { path: "/a", upstream: app, allow: { roles: [admin] } }
"#,
    );
    assert_eq!(world.ask("HEAD /a", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("POST /a", None, OUTSIDE), "challenge");
}

#[test]
fn row_07_head_goes_to_the_route_that_names_head_first() {
    let world = World::new(
        r#"
routes:
  - { path: "/a", methods: [GET], upstream: app, allow: public }
  - { path: "/a", methods: [HEAD], upstream: app, allow: { roles: [admin] } }
"#,
    );
    assert_eq!(world.ask("HEAD /a", None, OUTSIDE), "challenge");
    assert_eq!(world.ask("GET /a", None, OUTSIDE), "allow as anonymous");
}

#[test]
fn row_08_a_method_the_place_does_not_take_never_falls_through() {
    let world = World::new(
        r#"
routes:
  - { path: "/a", methods: [POST], upstream: app, allow: public }
  - { path: "/**", upstream: app, allow: public }
"#,
    );
    assert_eq!(world.ask("GET /a", None, OUTSIDE), "405 POST");
    assert_eq!(world.ask("OPTIONS /a", None, OUTSIDE), "405 POST");
    assert_eq!(world.ask("GET /b", None, OUTSIDE), "allow as anonymous");
}

#[test]
fn row_09_an_exact_place_takes_its_slash_form_and_nothing_below() {
    let world = World::new(
        r#"
routes:
  - { path: "/a", upstream: app, allow: public }
  - { path: "/a/**", upstream: app, allow: { roles: [admin] } }
"#,
    );
    assert_eq!(world.ask("GET /a", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("GET /a/", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("GET /a/b", None, OUTSIDE), "challenge");
    assert_eq!(world.warnings, ["`/a` is public inside the guarded `/a/**`"]);
}

#[test]
fn row_10_a_parameter_takes_no_empty_segment() {
    let world = World::new(
        r#"
routes:
  - { path: "/a/*", upstream: app, allow: { roles: [admin] } }
  - { path: "/**", upstream: app, allow: authenticated }
"#,
    );
    assert_eq!(world.ask("GET /a/b/", Some(&world.cat()), OUTSIDE), NEEDS_ADMIN);
    assert_eq!(world.ask("GET /a/", Some(&world.cat()), OUTSIDE), "allow");
    assert_eq!(world.warnings.len(), 1);
    assert!(world.warnings[0].starts_with("`/a/*` is guarded more strictly than `/**`"));
}

#[test]
fn row_11_two_names_for_one_position_are_an_error() {
    let found = errors(
        r#"
routes:
  - { path: "/u/{id}", methods: [GET], upstream: app, allow: authenticated }
  - { path: "/u/{uid}", methods: [DELETE], upstream: app, allow: authenticated }
"#,
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("`/u/{id}`"), "{found:?}");
}

#[test]
fn row_12_only_places_that_take_the_whole_path_compete() {
    let world = World::new(
        r#"
routes:
  - { path: "/a/*/c", upstream: app, allow: public }
  - { path: "/*/b/d", upstream: app, allow: public }
  - { path: "/**", upstream: app, allow: public }
"#,
    );
    assert_eq!(world.route("GET /a/b/d"), "/*/b/d");
}

#[test]
fn row_13_the_first_segment_that_differs_decides() {
    let world = World::new(
        r#"
routes:
  - { path: "/a/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/*/pub", upstream: app, allow: public }
"#,
    );
    assert_eq!(world.ask("GET /a/pub", None, OUTSIDE), "challenge");
    assert_eq!(world.ask("GET /b/pub", None, OUTSIDE), "allow as anonymous");
}

#[test]
fn row_14_what_a_hosts_own_table_lacks_is_nowhere() {
    let world = World::new(
        r#"
routes:
  - { host: app, path: "/pub", upstream: app, allow: public }
  - { path: "/**", upstream: app, allow: public }
"#,
    );
    assert_eq!(world.ask("GET app/x", None, OUTSIDE), "404");
    assert_eq!(world.ask("GET app/pub", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("GET other/x", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.warnings.len(), 1);
    assert!(world.warnings[0].starts_with("`/**` does not serve `app`"), "{:?}", world.warnings);
}

#[test]
fn row_15_a_wildcard_takes_one_or_more_labels_in_any_spelling() {
    let world = World::new(
        r#"routes: [{ host: "*.example.com", path: "/**", upstream: app, allow: public }]"#,
    );
    assert_eq!(world.ask("GET example.com/", None, OUTSIDE), "404");
    assert_eq!(world.ask("GET a.b.example.com/", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("GET APP.example.com.:8443/", None, OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("GET notexample.com/", None, OUTSIDE), "404");
}

#[test]
fn row_16_an_unverified_caller_is_anonymous_where_the_header_is_the_email() {
    let world = World::new(
        r#"
identity: { preset: remote-user }
routes: [{ path: "/**", upstream: app, allow: optional }]
"#,
    );
    assert_eq!(world.ask("GET /", Some(&world.cat()), OUTSIDE), "allow");
    assert_eq!(world.ask("GET /", Some(&world.unverified()), OUTSIDE), "allow as anonymous");
}

#[test]
fn row_17_an_unverified_caller_is_refused_where_the_header_is_the_email() {
    let world = World::new(
        r#"
identity: { preset: remote-user }
routes: [{ path: "/**", upstream: app, allow: authenticated }]
"#,
    );
    assert_eq!(world.ask("GET /", Some(&world.cat()), OUTSIDE), "allow");
    assert_eq!(world.ask("GET /", Some(&world.unverified()), OUTSIDE), "deny: E-mail not verified");
}

#[test]
fn row_18_an_optional_rule_stops_nobody_and_identifies_whom_it_names() {
    let world = World::new(&everywhere("{ optional: { roles: [admin] } }"));
    assert_eq!(world.ask("POST /", Some(&world.cat()), OUTSIDE), "allow as anonymous");
    assert_eq!(world.ask("POST /", Some(&world.ann()), OUTSIDE), "allow");
    assert_eq!(world.ask("POST /", None, OUTSIDE), "allow as anonymous");
}

#[test]
fn row_19_signing_in_does_not_help_against_a_network() {
    let world = World::new(&everywhere("{ roles: [admin], networks: [10.0.0.0/8] }"));
    assert_eq!(world.ask("GET /", None, OUTSIDE), "deny: Forbidden");
    assert_eq!(world.ask("GET /", None, LAN), "challenge");
    assert_eq!(world.ask("GET /", Some(&world.ann()), LAN), "allow");
    assert_eq!(world.ask("GET /", Some(&world.ann()), "unknown"), "deny: Forbidden");
}

#[test]
fn row_20_wildcard_grants_cover_what_they_say() {
    let cases = [
        ("admin:*", "admin:users:read", true),
        ("*:read", "admin:users:read", true),
        ("admin:*", "administrator:read", false),
        ("*:read", "administrator:read", true),
        ("admin:*", "admin:users:write", true),
        ("*:read", "admin:users:write", false),
    ];
    for (held, asked, is_enough) in cases {
        let rule = everywhere(&format!("{{ permissions: [\"{asked}\"] }}"));
        let world =
            World::new(&format!("roles: {{ holder: {{ permissions: [\"{held}\"] }} }}\n{rule}"));
        let expected = if is_enough {
            "allow".to_owned()
        } else {
            format!("deny: Missing permissions: ['{asked}']")
        };
        let holder = world.person(ANN, &["holder"]);
        assert_eq!(world.ask("GET /", Some(&holder), OUTSIDE), expected, "{held} for {asked}");
    }
}

#[test]
fn row_21_a_role_of_the_file_has_the_files_permissions_only() {
    let world = World::new(
        r#"
roles: { analyst: { permissions: ["dashboard:read"] } }
routes:
  - { path: "/read", upstream: app, allow: { permissions: ["dashboard:read"] } }
  - { path: "/write", upstream: app, allow: { permissions: ["dashboard:write"] } }
"#,
    );
    let database =
        BTreeMap::from([("analyst".to_owned(), vec![Grant::parse("dashboard:write").unwrap()])]);
    let named = world.policy.named_permissions();
    let book = RoleBook::new(world.book.interner(), &world.file, &database, named);
    let held = [RoleGrant { role: "analyst".into(), until: None }];
    let access = book.access(&held, Timestamp::from_seconds(0));
    let holder = Subject { access: access.into(), ..world.cat() };
    assert_eq!(world.ask("GET /read", Some(&holder), OUTSIDE), "allow");
    assert_eq!(
        world.ask("GET /write", Some(&holder), OUTSIDE),
        "deny: Missing permissions: ['dashboard:write']"
    );
}

#[test]
fn row_22_role_names_are_compared_byte_for_byte() {
    let rule = everywhere("{ roles: [Admin] }");
    let world = World::new(&rule);
    assert_eq!(
        world.ask("GET /", Some(&world.ann()), OUTSIDE),
        "deny: Requires one of these roles: ['Admin']"
    );
    let doubt = "the role `Admin` is defined nowhere in the configuration; did you mean `admin`?";
    assert_eq!(world.warnings, [doubt]);
    let both = "roles: { admin: { permissions: [\"a:b\"] }, Admin: { permissions: [\"a:b\"] } }";
    assert!(!errors(&format!("{both}\n{rule}")).is_empty(), "two that differ only in case");
}

#[test]
fn row_23_an_optional_route_lets_a_handshake_through_and_identifies_the_caller() {
    let world = World::new(&everywhere("optional"));
    assert_eq!(world.ask("GET /", Some(&world.cat()), OUTSIDE), "allow");
    assert_eq!(world.ask("GET /", None, OUTSIDE), "allow as anonymous");
}

#[test]
fn row_24_a_routes_identity_replaces_the_top_level_one() {
    let world = World::new(
        r#"
identity: { user: id }
routes:
  - { path: "/mail", upstream: app, allow: authenticated, identity: { preset: remote-user } }
  - { path: "/id", upstream: app, allow: authenticated }
"#,
    );
    for (request, user) in [("GET /mail", UserField::Email), ("GET /id", UserField::Id)] {
        let Located::Route(found) = world.locate(request) else { panic!("{request}") };
        assert_eq!(world.policy.profile(found.route).user, user, "{request}");
        assert_eq!(world.ask(request, Some(&world.ann()), OUTSIDE), "allow");
    }
}

#[test]
fn row_25_a_grant_counts_until_its_end_and_not_at_it() {
    let world = World::new(&everywhere("{ roles: [admin] }"));
    let ten = Timestamp::from_seconds(36_000);
    let grants = [RoleGrant { role: "admin".into(), until: Some(ten) }];
    for (seconds, expected, roles) in
        [(35_999, "allow", vec!["admin".to_owned()]), (36_000, NEEDS_ADMIN, Vec::new())]
    {
        let access = world.book.access(&grants, Timestamp::from_seconds(seconds));
        let ann = Subject { access: access.into(), ..world.cat() };
        assert_eq!(world.ask("GET /", Some(&ann), OUTSIDE), expected);
        assert_eq!(ann.access.role_names, roles);
    }
}
