//! Rules against a slow evaluator written from the words of the specification ("Rules"), and `explain`
//! against `decide`.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::fixture::{ANN, CAT, World, read_allow};
use super::super::{Decision, Facts, Located, Verdict};
use crate::config::{Allow, Rule, RuleMap, UserRef};
use crate::identity::access::Subject;

/// What each role grants.
const GRANTS: [(&str, &[&str]); 5] = [
    ("admin", &["*:*"]),
    ("staff", &["admin:*", "pages:edit"]),
    ("guest", &["*:read"]),
    ("clerk", &["admin:users:*", "a.b:c-d"]),
    ("idle", &[]),
];
const ROLES: [&str; 5] = ["admin", "staff", "guest", "clerk", "idle"];
/// Of which some role other than `admin` grants each, so that it may stand inside `not`.
const PERMISSIONS: [&str; 7] = [
    "admin:users:read",
    "admin:users:write",
    "admin:write",
    "administrator:read",
    "pages:edit",
    "pages:read",
    "a.b:c-d",
];
/// Networks as written, with the first address and the length of each.
const NETWORKS: [(&str, &str, u32); 7] = [
    ("10.0.0.0/8", "10.0.0.0", 8),
    ("10.1.2.3/32", "10.1.2.3", 32),
    ("192.0.2.128/25", "192.0.2.128", 25),
    ("2001:db8::/33", "2001:db8::", 33),
    ("::ffff:10.1.0.0/112", "10.1.0.0", 16),
    ("0.0.0.0/0", "0.0.0.0", 0),
    ("::/0", "::", 0),
];
const CLIENTS: [&str; 11] = [
    "10.1.2.3",
    "::ffff:10.1.2.3",
    "10.1.2.4",
    "::ffff:10.200.0.1",
    "11.0.0.1",
    "192.0.2.127",
    "192.0.2.200",
    "2001:db8::1",
    "2001:db8:8000::1",
    "::1",
    "",
];

/// Where the routes of a table lead that differ in case alone.
const PATHS: [&str; 10] =
    ["/", "/a", "/A", "/a/b", "/A/b", "/a/B/", "/x/b", "/x/B", "/%41/%62", "/c/d/e"];

fn networks() -> impl Strategy<Value = Value> {
    let written: Vec<&str> = NETWORKS.iter().map(|(written, ..)| *written).collect();
    proptest::sample::subsequence(written, 1..=3).prop_map(|networks| json!(networks))
}

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    subsequence(names, 1..=names.len().min(3)).prop_map(|names| json!(names))
}

fn user_lists(is_negated: bool) -> BoxedStrategy<Value> {
    let id = |id: Uuid| id.to_string();
    let mut all = vec![id(ANN), id(CAT)];
    if !is_negated {
        all.extend(["1@EXAMPLE.com".to_owned(), "nobody@example.com".to_owned()]);
    }
    let most = all.len();
    subsequence(all, 1..=most).prop_map(|users| json!(users)).boxed()
}

fn plain_conditions(is_negated: bool) -> BoxedStrategy<(&'static str, Value)> {
    prop_oneof![
        some_of(&ROLES).prop_map(|value| ("roles", value)),
        some_of(&PERMISSIONS).prop_map(|value| ("permissions", value)),
        user_lists(is_negated).prop_map(|value| ("users", value)),
        networks().prop_map(|value| ("networks", value)),
        Just(("verified", json!(true))),
        Just(("superuser", json!(true))),
    ]
    .boxed()
}

fn anonymous_maps() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!({ "anonymous": true })),
        networks().prop_map(|list| json!({ "anonymous": true, "networks": list })),
    ]
    .boxed()
}

fn rules(depth: u32, is_negated: bool) -> BoxedStrategy<Value> {
    let conditions = if depth == 0 {
        plain_conditions(is_negated)
    } else {
        let members = proptest::collection::vec(rules(depth - 1, is_negated), 1..3);
        let members = members.prop_map(Value::from);
        prop_oneof![
            3 => plain_conditions(is_negated),
            1 => members.clone().prop_map(|value| ("any", value)),
            1 => members.prop_map(|value| ("all", value)),
            1 => rules(depth - 1, true).prop_map(|value| ("not", value)),
        ]
        .boxed()
    };
    let map = proptest::collection::vec(conditions, 1..3).prop_map(|conditions| {
        Value::Object(conditions.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    });
    let anonymous =
        if is_negated { Just(json!("authenticated")).boxed() } else { anonymous_maps() };
    prop_oneof![6 => map, 1 => Just(json!("authenticated")), 2 => anonymous].boxed()
}

fn allows() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(json!("public")),
        1 => Just(json!("optional")),
        2 => rules(2, false).prop_map(|rule| json!({ "optional": rule })),
        8 => rules(3, false),
    ]
}

#[derive(Clone, Debug)]
struct Asker {
    who: Option<(Uuid, Vec<&'static str>)>,
    is_verified: bool,
    is_superuser: bool,
    has_username: bool,
    client: &'static str,
}

fn askers() -> impl Strategy<Value = Asker> {
    let who = (select(&[ANN, CAT][..]), subsequence(&ROLES[..], 0..=3));
    (proptest::option::weighted(0.7, who), any::<[bool; 3]>(), select(&CLIENTS[..])).prop_map(
        |(who, [is_verified, is_superuser, has_username], client)| Asker {
            who,
            is_verified,
            is_superuser,
            has_username,
            client,
        },
    )
}

impl Asker {
    fn subject(&self, world: &World) -> Option<Subject> {
        let (id, roles) = self.who.as_ref()?;
        let (is_verified, is_superuser) = (self.is_verified, self.is_superuser);
        let has_username = self.has_username;
        Some(Subject { is_verified, has_username, is_superuser, ..world.person(*id, roles) })
    }

    fn address(&self) -> Option<IpAddr> {
        self.client.parse().ok()
    }
}

fn table(routes: &Value) -> World {
    let roles: serde_json::Map<String, Value> =
        GRANTS.iter().map(|(role, grants)| ((*role).to_owned(), json!(grants))).collect();
    World::new(&json!({ "roles": roles, "routes": routes }))
}

/// True, false, or `None`: cannot be said.
type Kleene = Option<bool>;

fn and(values: impl IntoIterator<Item = Kleene>) -> Kleene {
    let values: Vec<Kleene> = values.into_iter().collect();
    if values.contains(&Some(false)) {
        return Some(false);
    }
    (!values.contains(&None)).then_some(true)
}

fn or(values: impl IntoIterator<Item = Kleene>) -> Kleene {
    and(values.into_iter().map(|value| value.map(|held| !held))).map(|held| !held)
}

/// One caller, as the naive evaluator sees them.
struct Naive<'a> {
    asker: &'a Asker,
    roles: Vec<&'static str>,
}

impl Naive<'_> {
    fn person(&self, says: impl FnOnce(Uuid) -> Kleene) -> Kleene {
        self.asker.who.as_ref().and_then(|(id, _)| says(*id))
    }

    fn has(&self, permission: &str) -> bool {
        let held = GRANTS.iter().filter(|(role, _)| self.roles.contains(role));
        held.flat_map(|(_, grants)| *grants).any(|grant| covers(grant, permission))
    }

    fn rule(&self, rule: &Rule, is_negated: bool) -> Kleene {
        match rule {
            Rule::Authenticated => self.person(|_| Some(true)),
            Rule::Map(map) => self.map(map, is_negated),
        }
    }

    fn map(&self, map: &RuleMap, is_negated: bool) -> Kleene {
        let mut all = Vec::new();
        if !is_negated && !says_anonymous(map) {
            all.push(self.person(|_| Some(true)));
        }
        if !map.roles.is_empty() {
            let held = map.roles.iter().any(|role| self.roles.contains(&role.as_str()));
            all.push(self.person(|_| Some(held)));
        }
        for permission in &map.permissions {
            all.push(self.person(|_| Some(self.has(permission))));
        }
        if !map.users.is_empty() {
            all.push(or(map.users.iter().map(|user| match user {
                UserRef::Id(id) => self.person(|own| Some(own == *id)),
                UserRef::Email(mail) => self.person(|own| {
                    let own = format!("{}@example.com", own.as_u128());
                    self.asker.is_verified.then(|| own.eq_ignore_ascii_case(mail))
                }),
            })));
        }
        if !map.networks.is_empty() {
            let client = self.asker.address();
            let written: Vec<String> = map.networks.iter().map(ToString::to_string).collect();
            let is_named =
                |network: &&(&str, &str, u32)| written.iter().any(|one| one == network.0);
            let mut named = NETWORKS.iter().filter(is_named);
            all.push(Some(
                named.any(|network| client.is_some_and(|client| lies_in(client, network))),
            ));
        }
        if map.verified {
            all.push(self.person(|_| Some(self.asker.is_verified)));
        }
        if map.superuser {
            all.push(self.person(|_| Some(self.asker.is_superuser)));
        }
        if !map.any.is_empty() {
            all.push(or(map.any.iter().map(|rule| self.rule(rule, is_negated))));
        }
        all.extend(map.all.iter().map(|rule| self.rule(rule, is_negated)));
        all.extend(map.not.iter().map(|rule| self.rule(rule, true).map(|held| !held)));
        and(all)
    }
}

/// The last colon divides. `*` stands for the whole resource or the whole action; with every action of
/// a resource goes all below it.
fn covers(grant: &str, permission: &str) -> bool {
    let (resource, action) = grant.rsplit_once(':').unwrap();
    let (asked_resource, asked_action) = permission.rsplit_once(':').unwrap();
    let is_below = action == "*" && asked_resource.starts_with(&format!("{resource}:"));
    (resource == "*" || resource == asked_resource || is_below)
        && (action == "*" || action == asked_action)
}

/// Whether an address has the first bits of a network of its own kind; mapped ones are IPv4.
fn lies_in(client: IpAddr, (_, first, length): &(&str, &str, u32)) -> bool {
    fn bits(address: IpAddr) -> (u32, u128) {
        match address {
            IpAddr::V4(address) => (32, u32::from(address).into()),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => bits(IpAddr::V4(mapped)),
                None => (128, address.into()),
            },
        }
    }
    let ((width, client), (other, first)) = (bits(client), bits(first.parse().unwrap()));
    width == other && (client ^ first).checked_shr(width - length).unwrap_or(0) == 0
}

fn says_anonymous(map: &RuleMap) -> bool {
    let members = map.any.iter().chain(&map.all);
    map.anonymous
        || members.into_iter().any(|rule| match rule {
            Rule::Map(map) => says_anonymous(map),
            Rule::Authenticated => false,
        })
}

/// Verdict and whether the identity goes along, by the words.
fn naive_decision(allow: &Allow, asker: &Asker, header: &str) -> (Verdict, bool) {
    let roles = asker.who.as_ref().map(|(_, roles)| roles.clone()).unwrap_or_default();
    let naive = Naive { asker, roles };
    let is_known = asker.who.is_some();
    let may_be_named = match header {
        "remote-user" => asker.is_verified,
        "username" => asker.has_username,
        _ => true,
    };
    match allow {
        Allow::Public => (Verdict::Allow, false),
        Allow::Optional(None) => (Verdict::Allow, is_known && may_be_named),
        Allow::Optional(Some(rule)) => {
            let holds = naive.rule(rule, false) == Some(true);
            (Verdict::Allow, is_known && holds && may_be_named)
        }
        Allow::Rule(rule) => match naive.rule(rule, false) {
            Some(true) if is_known && !may_be_named => {
                let stranger = Asker { who: None, ..asker.clone() };
                let as_stranger = Naive { asker: &stranger, roles: Vec::new() }.rule(rule, false);
                let passes = as_stranger == Some(true);
                (if passes { Verdict::Allow } else { Verdict::Deny }, false)
            }
            Some(true) => (Verdict::Allow, is_known),
            Some(false) => (Verdict::Deny, false),
            None if is_known => (Verdict::Deny, false),
            None => (Verdict::Challenge, false),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_evaluator_decides_what_the_words_say(
        allow in allows(),
        header in select(&["portcullis", "remote-user", "username"][..]),
        askers in proptest::collection::vec(askers(), 16),
    ) {
        let world = table(&json!([{ "path": "/**", "allow": allow, "preset": header }]));
        let Located::Route(destination) = world.locate("GET /") else { panic!("no route") };
        let rule = read_allow(&allow, "");
        for asker in &askers {
            let subject = asker.subject(&world);
            let facts = Facts { caller: subject.as_ref(), client: asker.address() };
            let found = match world.policy.decide(&destination, &facts) {
                Decision::Allow(permit) => (Verdict::Allow, permit.is_identified()),
                Decision::Challenge(_) => (Verdict::Challenge, false),
                Decision::Deny(_) => (Verdict::Deny, false),
            };
            prop_assert_eq!(found, naive_decision(&rule, asker, header), "{:?}", asker);
        }
    }

    #[test]
    fn explain_tells_what_decide_decides(
        rules in proptest::collection::vec((allows(), select(&["portcullis", "remote-user"][..])), 4),
        requests in proptest::collection::vec(select(&PATHS[..]), 4),
        askers in proptest::collection::vec(askers(), 6),
    ) {
        let paths = ["/**", "/a/**", "/A/*", "/*/b"];
        let routes: Vec<Value> = paths
            .iter()
            .zip(&rules)
            .map(|(path, (allow, preset))| json!({ "path": path, "allow": allow, "preset": preset }))
            .collect();
        let world = table(&Value::from(routes));
        for (path, asker) in requests.iter().flat_map(|path| askers.iter().map(move |a| (path, a))) {
            let Located::Route(destination) = world.locate(&format!("GET {path}")) else {
                panic!("{path} leads nowhere");
            };
            let subject = asker.subject(&world);
            let facts = Facts { caller: subject.as_ref(), client: asker.address() };
            let told = world.policy.explain(&destination, &facts);
            let worst = told.routes.iter().map(|route| severity(route.verdict)).max().unwrap();
            prop_assert_eq!(severity(told.decision), worst);
            prop_assert_eq!(told.routes.len(), 1 + destination.also.len());
            match world.policy.decide(&destination, &facts) {
                Decision::Allow(permit) => {
                    prop_assert_eq!(told.decision, Verdict::Allow);
                    prop_assert_eq!(told.is_identified, permit.is_identified());
                    prop_assert_eq!(told.is_by_network, permit.is_by_network());
                    prop_assert_eq!(&told.reason, &None);
                }
                Decision::Challenge(refusal) => {
                    prop_assert_eq!(told.decision, Verdict::Challenge);
                    prop_assert_eq!(told.reason, Some(refusal.reason));
                    prop_assert_eq!(&told.route, &world.policy.route(refusal.route).name);
                }
                Decision::Deny(refusal) => {
                    prop_assert_eq!(told.decision, Verdict::Deny);
                    prop_assert_eq!(told.reason, Some(refusal.reason));
                    prop_assert_eq!(told.missing, refusal.missing);
                    prop_assert_eq!(&told.route, &world.policy.route(refusal.route).name);
                }
            }
        }
    }
}

fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Challenge => 1,
        Verdict::Deny => 2,
    }
}
