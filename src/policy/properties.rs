//! The matcher and the evaluator against slow ones written from the words of the specification, and
//! `explain` against `decide`, on random tables, rules and requests.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::fixture::{ANN, CAT, World, read_allow};
use super::{Decision, Facts, Located, Verdict};
use crate::config::{Allow, Rule, RuleMap, UserRef};
use crate::identity::access::Subject;

const ROLES: [&str; 3] = ["admin", "staff", "guest"];
const PERMISSIONS: [&str; 3] = ["a:read", "a:write", "b:read"];
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"];
const CLIENTS: [&str; 4] = ["10.1.2.3", "::ffff:10.200.0.1", "2001:db8::1", ""];

// ---- places ----

fn path_parts(parts: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(parts), 0..=most)
        .prop_map(|parts| parts.iter().flat_map(|part| ["/", part]).collect())
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let end = select(&["", "", "/", "/**"][..]);
    let pattern = (path_parts(&["a", "A", "b", "Bc", "*"], 3), end).prop_map(|(path, end)| {
        if path.is_empty() && end.is_empty() { "/".to_owned() } else { path + end }
    });
    proptest::collection::btree_set(pattern, 1..12).prop_map(|set| set.into_iter().collect())
}

fn requests() -> impl Strategy<Value = String> {
    (path_parts(&["a", "A", "b", "B", "bC", "Bc", "c", "%61"], 4), select(&["", "/"][..]))
        .prop_map(|(path, end)| if path.is_empty() { "/".to_owned() } else { path + end })
}

/// The segments of a path or pattern; a final slash is a last, empty one.
fn segments(path: &str) -> Vec<String> {
    path[1..].split('/').map(|part| part.replace("%61", "a")).collect()
}

/// Whether a place takes a path, by the words: exact, `*` one non-empty segment, both also with one
/// trailing slash; `/**` the path itself, with slash, and everything below.
fn takes(pattern: &str, path: &str) -> bool {
    let path = segments(path);
    let alike = |wanted: &[String], path: &[String]| {
        wanted.iter().zip(path).all(
            |(want, part)| {
                if want == "*" { !part.is_empty() } else { want == part }
            },
        )
    };
    if let Some(base) = pattern.strip_suffix("/**") {
        let wanted = if base.is_empty() { Vec::new() } else { segments(base) };
        return path.len() >= wanted.len() && alike(&wanted, &path);
    }
    let wanted = segments(pattern);
    let with_slash = format!("{pattern}/");
    (path.len() == wanted.len() && alike(&wanted, &path))
        || (!pattern.ends_with('/')
            && path.len() == wanted.len() + 1
            && alike(&segments(&with_slash), &path))
}

/// End of path over literal over parameter over `/**`; the slash form alone over both ends.
fn ranks(pattern: &str) -> Vec<u8> {
    let mut ranks: Vec<u8> = segments(pattern)
        .iter()
        .map(|part| match part.as_str() {
            "" => 0,
            "**" => 4,
            "*" => 3,
            _ => 2,
        })
        .collect();
    if !matches!(ranks.last(), Some(0 | 4)) {
        ranks.push(1);
    }
    ranks
}

fn most_specific<'p>(patterns: &'p [String], path: &str) -> Option<&'p String> {
    patterns.iter().filter(|pattern| takes(pattern, path)).min_by_key(|pattern| ranks(pattern))
}

/// The places of one upstream that tie for the most specific when case is ignored.
fn ignoring_case<'p>(
    patterns: &'p [String],
    upstream_of: impl Fn(&str) -> &'static str,
    path: &str,
    upstream: &str,
) -> Vec<&'p String> {
    let folded = path.to_ascii_lowercase();
    let takers: Vec<&String> = patterns
        .iter()
        .filter(|pattern| upstream_of(pattern) == upstream)
        .filter(|pattern| takes(&pattern.to_ascii_lowercase(), &folded))
        .collect();
    let best = takers.iter().map(|pattern| ranks(pattern)).min();
    let ties = takers.into_iter().filter(|pattern| Some(ranks(pattern)) == best);
    ties.collect()
}

/// Gives some places to another application, by a rule both sides know.
fn upstream_of(pattern: &str) -> &'static str {
    if pattern.len() % 3 == 2 { "other" } else { "app" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_finds_what_the_words_say(
        patterns in patterns(),
        requests in proptest::collection::vec(requests(), 12),
    ) {
        let routes: Vec<Value> = patterns
            .iter()
            .map(|path| json!({ "path": path, "upstream": upstream_of(path), "allow": "public" }))
            .collect();
        let world = World::new(&json!({ "routes": routes }));
        for path in &requests {
            let expected = most_specific(&patterns, path);
            let Located::Route(found) = world.locate(&format!("GET {path}")) else {
                prop_assert_eq!(expected, None, "{}", path);
                continue;
            };
            let chosen = &world.policy.route(found.route).path;
            prop_assert_eq!(Some(chosen), expected, "{}", path);
            let mut also: Vec<&String> =
                found.also.iter().map(|id| &world.policy.route(*id).path).collect();
            also.sort();
            let mut wanted = ignoring_case(&patterns, upstream_of, path, upstream_of(chosen));
            wanted.retain(|pattern| *pattern != chosen);
            wanted.sort();
            prop_assert_eq!(also, wanted, "{} chose {}", path, chosen);
        }
    }
}

// ---- rules ----

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    subsequence(names, 1..=names.len()).prop_map(|names| json!(names))
}

fn user_lists(is_negated: bool) -> BoxedStrategy<Value> {
    let id = |id: uuid::Uuid| id.to_string();
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
        some_of(&NETWORKS).prop_map(|value| ("networks", value)),
        Just(("verified", json!(true))),
        Just(("superuser", json!(true))),
    ]
    .boxed()
}

fn anonymous_maps() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!({ "anonymous": true })),
        some_of(&NETWORKS).prop_map(|list| json!({ "anonymous": true, "networks": list })),
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
    who: Option<(uuid::Uuid, Vec<&'static str>)>,
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

    fn address(&self) -> Option<std::net::IpAddr> {
        self.client.parse().ok()
    }
}

fn table(routes: &Value) -> World {
    World::new(&json!({
        "roles": { "admin": ["*:*"], "staff": ["a:*", "b:read"], "guest": ["a:read", "a:write"] },
        "routes": routes,
    }))
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
    fn person(&self, says: impl FnOnce(uuid::Uuid) -> Kleene) -> Kleene {
        self.asker.who.as_ref().and_then(|(id, _)| says(*id))
    }

    fn has(&self, permission: &str) -> bool {
        self.roles.iter().any(|role| match *role {
            "admin" => true,
            "staff" => permission.starts_with("a:") || permission == "b:read",
            _ => permission == "a:read" || permission == "a:write",
        })
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
            let client = self.asker.address().map(|address| address.to_canonical());
            let holds = |client| map.networks.iter().any(|network| network.contains(&client));
            all.push(Some(client.is_some_and(holds)));
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
        requests in proptest::collection::vec(requests(), 4),
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
