//! Rules, compiled: names become numbers, and what a map asks for by itself is written out.

use std::sync::Arc;

use http::Method;
use ipnet::{IpNet, Ipv4Net};
use uuid::Uuid;

use super::findings::{below, problem};
use super::vocabulary::Vocabulary;
use crate::config::{Allow, Config, KeyPath, Problem, Route, Rule, RuleMap, UserRef};
use crate::identity::access::{BitSet, Interner};
use crate::identity::grant::Grant;
use crate::identity::user::fold_email;
use crate::web::headers::UserField;

/// Maps may lie this deep in one another.
const MAX_DEPTH: usize = 32;

/// A compiled condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// Something about the person, unknown of an anonymous caller.
    Caller(Quality),
    /// `anonymous: true`: no condition.
    Everybody,
    /// The client is in any of these networks.
    Networks(Vec<IpNet>),
    /// All of these.
    All(Vec<Condition>),
    /// Any of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

/// A condition on the person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Quality {
    /// Signed in.
    SignedIn,
    /// Holds any of these roles.
    Roles { set: BitSet, names: Vec<String> },
    /// Holds all of these permissions.
    Permissions { set: BitSet, names: Vec<(u32, String)> },
    /// Is any of these people; e-mails folded.
    Users { ids: Vec<Uuid>, emails: Vec<Arc<str>> },
    /// The e-mail is verified.
    Verified,
    /// A superuser.
    Superuser,
}

/// Anybody signed in.
const SIGNED_IN: Condition = Condition::Caller(Quality::SignedIn);

/// What is asked, beside the rule, of a caller whose identity is to go along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// A verified e-mail, since `accounts.require_verified` asks everybody for it.
    Verified,
    /// A verified e-mail, from which the user header of the route is made.
    VerifiedEmail,
    /// A username, from which the user header of the route is made.
    Username,
}

/// Who may pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// Everybody, unidentified.
    Public,
    /// Everybody; those for whom the condition holds are identified.
    Optional(Condition),
    /// Those for whom the condition holds.
    Guarded(Condition),
}

/// The compiled rule of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gate {
    pub(super) entry: Entry,
    /// At most one of each kind; most routes have none.
    pub(super) needs: Vec<Need>,
    /// A branch lets anonymous callers through.
    pub(super) admits_anonymous: bool,
    /// Networks stand in the rule.
    pub(super) asks_networks: bool,
}

impl Gate {
    /// Whether the rule is `public`.
    pub(super) fn is_public(&self) -> bool {
        match self.entry {
            Entry::Public => true,
            Entry::Optional(_) | Entry::Guarded(_) => false,
        }
    }

    /// Whether everybody passes.
    pub(super) fn is_open(&self) -> bool {
        match self.entry {
            Entry::Public | Entry::Optional(_) => true,
            Entry::Guarded(_) => false,
        }
    }
}

impl Condition {
    /// Whether this condition or one within it is one that `is_wanted`.
    fn holds_any(&self, is_wanted: fn(&Self) -> bool) -> bool {
        is_wanted(self)
            || match self {
                Self::All(members) | Self::Any(members) => {
                    members.iter().any(|member| member.holds_any(is_wanted))
                }
                Self::Not(member) => member.holds_any(is_wanted),
                Self::Caller(_) | Self::Everybody | Self::Networks(_) => false,
            }
    }
}

/// Compiles rules against the interner and collects what is wrong with them.
pub(super) struct Compiler<'c> {
    interner: &'c Interner,
    vocabulary: Vocabulary,
    requires_verified: bool,
    /// What is wrong.
    pub(super) errors: Vec<Problem>,
    /// What is worth a warning.
    pub(super) warnings: Vec<Problem>,
    /// The permissions rules name.
    pub(super) named: Vec<Grant>,
}

/// Where in a rule the compiler is.
#[derive(Clone, Copy)]
struct Position {
    is_negated: bool,
    depth: usize,
}

impl<'c> Compiler<'c> {
    pub(super) fn new(config: &Config, interner: &'c Interner) -> Self {
        Self {
            interner,
            vocabulary: Vocabulary::new(config),
            requires_verified: config.accounts.require_verified,
            errors: Vec::new(),
            warnings: Vec::new(),
            named: Vec::new(),
        }
    }

    /// Compiles the rule of a route whose user header is made from `user`.
    pub(super) fn gate(&mut self, route: &Route, user: UserField) -> Gate {
        let entry = match &route.allow {
            Allow::Public => Entry::Public,
            Allow::Optional(None) => Entry::Optional(SIGNED_IN),
            Allow::Optional(Some(rule)) => Entry::Optional(self.rule(rule, Position::TOP)),
            Allow::Rule(rule) => Entry::Guarded(self.rule(rule, Position::TOP)),
        };
        let (admits_anonymous, asks_networks) = match &entry {
            Entry::Public => (true, false),
            Entry::Optional(condition) | Entry::Guarded(condition) => (
                condition.holds_any(|condition| *condition == Condition::Everybody),
                condition.holds_any(|condition| matches!(condition, Condition::Networks(_))),
            ),
        };
        let mut needs = Vec::new();
        if self.requires_verified {
            needs.push(Need::Verified);
        }
        match user {
            UserField::Email if !self.requires_verified => needs.push(Need::VerifiedEmail),
            UserField::Username => needs.push(Need::Username),
            UserField::Id | UserField::Email => {}
        }
        Gate { entry, needs, admits_anonymous, asks_networks }
    }

    fn rule(&mut self, rule: &Rule, position: Position) -> Condition {
        match rule {
            Rule::Authenticated => SIGNED_IN,
            Rule::Map(map) => self.map(map, position),
        }
    }

    fn map(&mut self, map: &RuleMap, position: Position) -> Condition {
        self.check_shape(map, position);
        let mut conditions = Vec::new();
        if !position.is_negated && !admits_anonymous(map) {
            conditions.push(SIGNED_IN);
        }
        if map.anonymous {
            conditions.push(Condition::Everybody);
        }
        conditions.extend(self.roles(map, position));
        conditions.extend(self.permissions(map, position));
        conditions.extend(self.users(map, position));
        if !map.networks.is_empty() {
            conditions.push(Condition::Networks(map.networks.iter().map(canonical).collect()));
        }
        if map.verified {
            conditions.push(Condition::Caller(Quality::Verified));
        }
        if map.superuser {
            conditions.push(Condition::Caller(Quality::Superuser));
        }
        if position.depth < MAX_DEPTH {
            let below = Position { depth: position.depth + 1, ..position };
            if !map.any.is_empty() {
                let members = map.any.iter().map(|rule| self.rule(rule, below)).collect();
                conditions.push(Condition::Any(members));
            }
            if !map.all.is_empty() {
                let members = map.all.iter().map(|rule| self.rule(rule, below)).collect();
                conditions.push(Condition::All(members));
            }
            if let Some(rule) = &map.not {
                let negated = Position { is_negated: true, ..below };
                conditions.push(Condition::Not(Box::new(self.rule(rule, negated))));
            }
        }
        match <[Condition; 1]>::try_from(conditions) {
            Ok([only]) => only,
            Err(conditions) => Condition::All(conditions),
        }
    }

    /// What the types of the configuration can say but the language cannot.
    fn check_shape(&mut self, map: &RuleMap, position: Position) {
        let bare = RuleMap { at: map.at.clone(), ..RuleMap::default() };
        if *map == bare {
            self.errors.push(problem(map.at.clone(), "an empty rule says nothing"));
        }
        if position.depth == MAX_DEPTH {
            let text = format!("rules may lie at most {MAX_DEPTH} deep in one another");
            self.errors.push(problem(map.at.clone(), text));
        }
        if !map.anonymous {
            return;
        }
        let at = below(&map.at, "anonymous");
        if position.is_negated {
            self.errors.push(problem(at, "`anonymous` may not stand inside `not`"));
        } else if (RuleMap { anonymous: false, networks: Vec::new(), ..map.clone() }) != bare {
            let text = "`anonymous` may stand only beside `networks`: it holds for everybody";
            self.errors.push(problem(at, text));
        }
    }

    fn roles(&mut self, map: &RuleMap, position: Position) -> Option<Condition> {
        for (index, name) in map.roles.iter().enumerate() {
            let Some(text) = self.vocabulary.doubt_role(name) else { continue };
            self.report(&map.at, &format!("roles[{index}]"), text, position);
        }
        let set = map.roles.iter().map(|name| self.interner.role(name)).collect();
        (!map.roles.is_empty())
            .then(|| Condition::Caller(Quality::Roles { set, names: map.roles.clone() }))
    }

    fn permissions(&mut self, map: &RuleMap, position: Position) -> Option<Condition> {
        let mut names = Vec::new();
        for (index, text) in map.permissions.iter().enumerate() {
            let key = format!("permissions[{index}]");
            let grant = match Grant::parse(text) {
                Ok(grant) if !grant.is_wildcard() => grant,
                Ok(_) => {
                    let text = format!("a rule names permissions without `*`: `{text}`");
                    self.errors.push(problem(below(&map.at, &key), text));
                    continue;
                }
                Err(error) => {
                    self.errors.push(problem(below(&map.at, &key), error.to_string()));
                    continue;
                }
            };
            if let Some(text) = self.vocabulary.doubt_permission(&grant, position.is_negated) {
                self.report(&map.at, &key, text, position);
            }
            let name = grant.to_string();
            names.push((self.interner.permission(&name), name));
            self.named.push(grant);
        }
        let set = names.iter().map(|(number, _)| *number).collect();
        (!map.permissions.is_empty())
            .then_some(Condition::Caller(Quality::Permissions { set, names }))
    }

    /// A name nothing defines: an error inside `not`, where it would exclude nobody, else a warning.
    fn report(&mut self, at: &KeyPath, key: &str, text: String, position: Position) {
        let found = problem(below(at, key), text);
        let list = if position.is_negated { &mut self.errors } else { &mut self.warnings };
        if !list.iter().any(|known| known.message == found.message) || position.is_negated {
            list.push(found);
        }
    }

    fn users(&mut self, map: &RuleMap, position: Position) -> Option<Condition> {
        let (mut ids, mut emails) = (Vec::new(), Vec::new());
        for (index, user) in map.users.iter().enumerate() {
            let at = || below(&map.at, &format!("users[{index}]"));
            match user {
                UserRef::Id(id) => ids.push(*id),
                UserRef::Email(_) if position.is_negated => {
                    let text = "inside `not` a person is named by id: who owns an account can \
                                change its e-mail";
                    self.errors.push(problem(at(), text));
                }
                UserRef::Email(text) => match fold_email(text) {
                    Ok(email) => emails.push(email.into()),
                    Err(error) => self.errors.push(problem(at(), error.to_string())),
                },
            }
        }
        (!map.users.is_empty()).then_some(Condition::Caller(Quality::Users { ids, emails }))
    }
}

impl Position {
    const TOP: Self = Self { is_negated: false, depth: 0 };
}

/// Whether a map says `anonymous: true` or has such a map among its `any` or `all` members at any
/// depth: then it does not ask for somebody signed in.
fn admits_anonymous(map: &RuleMap) -> bool {
    map.anonymous
        || map.any.iter().chain(&map.all).any(|rule| match rule {
            Rule::Authenticated => false,
            Rule::Map(map) => admits_anonymous(map),
        })
}

/// An IPv4-mapped network is an IPv4 network, since addresses are compared that way.
fn canonical(network: &IpNet) -> IpNet {
    match network {
        IpNet::V6(wide) if wide.prefix_len() >= 96 => wide
            .addr()
            .to_ipv4_mapped()
            .and_then(|address| Ipv4Net::new(address, wide.prefix_len() - 96).ok())
            .map_or(*network, IpNet::V4),
        IpNet::V4(_) | IpNet::V6(_) => *network,
    }
}

/// A rule as the configuration would write it.
pub(super) fn describe_allow(allow: &Allow) -> String {
    match allow {
        Allow::Public => "public".to_owned(),
        Allow::Optional(None) => "optional".to_owned(),
        Allow::Optional(Some(rule)) => format!("optional: {}", describe_rule(rule)),
        Allow::Rule(rule) => describe_rule(rule),
    }
}

/// The methods of a route as the listing writes them.
pub(super) fn describe_methods(methods: &[Method]) -> String {
    if methods.is_empty() {
        return "*".to_owned();
    }
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(",")
}

fn describe_rule(rule: &Rule) -> String {
    match rule {
        Rule::Authenticated => "authenticated".to_owned(),
        Rule::Map(map) => describe_map(map),
    }
}

fn describe_map(map: &RuleMap) -> String {
    let rules = |rules: &[Rule]| rules.iter().map(describe_rule).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    let mut list = |key: &str, items: String| {
        if !items.is_empty() {
            parts.push(format!("{key}: [{items}]"));
        }
    };
    list("roles", map.roles.join(", "));
    list("permissions", map.permissions.join(", "));
    list("users", map.users.iter().map(describe_user).collect::<Vec<_>>().join(", "));
    list("networks", map.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    list("any", rules(&map.any));
    list("all", rules(&map.all));
    let words =
        [("verified", map.verified), ("superuser", map.superuser), ("anonymous", map.anonymous)];
    parts.extend(words.iter().filter(|(_, is_said)| *is_said).map(|(w, _)| format!("{w}: true")));
    parts.extend(map.not.as_ref().map(|rule| format!("not: {}", describe_rule(rule))));
    format!("{{{}}}", parts.join(", "))
}

fn describe_user(user: &UserRef) -> String {
    match user {
        UserRef::Id(id) => id.to_string(),
        UserRef::Email(email) => email.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::policy::fixture::{World, errors};

    fn errors_of(allow: &Value) -> Vec<(String, String)> {
        let roles = json!({ "staff": ["pages:write", "admin:*"] });
        errors(&json!({ "roles": roles, "routes": [{ "path": "/**", "allow": allow }] }))
    }

    #[test]
    fn what_a_rule_may_not_say_is_an_error() {
        let cases = [
            (json!({ "any": [{}] }), "any[0]"),
            (json!({ "verified": true, "anonymous": true }), "anonymous"),
            (json!({ "not": { "anonymous": true } }), "not.anonymous"),
            (json!({ "not": { "any": [{ "anonymous": true }] } }), "not.any[0].anonymous"),
            (json!({ "not": { "roles": ["stuff"] } }), "not.roles[0]"),
            (json!({ "not": { "all": [{ "roles": ["nobody"] }] } }), "not.all[0].roles[0]"),
            (json!({ "not": { "permissions": ["pages:read"] } }), "not.permissions[0]"),
            (json!({ "not": { "users": ["a@example.com"] } }), "not.users[0]"),
            (json!({ "users": ["no address"] }), "users[0]"),
            (json!({ "permissions": ["*:*"] }), "permissions[0]"),
            (json!({ "permissions": ["read"] }), "permissions[0]"),
        ];
        for (allow, place) in cases {
            let found = errors_of(&allow);
            assert_eq!(found.len(), 1, "{allow}: {found:?}");
            assert_eq!(found[0].0, format!("routes[0].allow.{place}"), "{allow}");
        }
    }

    #[test]
    fn inside_not_names_that_the_file_defines_are_fine() {
        for allow in [
            json!({ "not": { "roles": ["staff", "admin"] } }),
            json!({ "not": { "permissions": ["pages:write", "admin:users:read"] } }),
            json!({ "not": { "networks": ["10.0.0.0/8"] } }),
            json!({ "not": { "users": ["00000000-0000-0000-0000-000000000001"] } }),
        ] {
            assert_eq!(errors_of(&allow), [], "{allow}");
        }
    }

    #[test]
    fn rules_that_lie_too_deep_are_refused() {
        let mut allow = json!({ "verified": true });
        for _ in 0..40 {
            allow = json!({ "all": [allow] });
        }
        assert_eq!(errors_of(&allow).len(), 1);
    }

    #[test]
    fn an_exclusion_asks_for_somebody_signed_in_first() {
        let rule = json!({ "not": { "roles": ["admin"] } });
        let world = World::new(&json!({ "routes": [{ "path": "/**", "allow": rule }] }));
        assert_eq!(world.ask("GET /", None, ""), "challenge");
        assert_eq!(world.ask("GET /", Some(&world.cat()), ""), "allow");
        assert_eq!(world.ask("GET /", Some(&world.ann()), ""), "deny: Forbidden");
    }

    #[test]
    fn a_mapped_network_is_its_ipv4_network() {
        let rule = json!({ "networks": ["::ffff:10.0.0.0/104"], "anonymous": true });
        let world = World::new(&json!({ "routes": [{ "path": "/**", "allow": rule }] }));
        assert_eq!(world.ask("GET /", None, "10.9.9.9"), "allow by network");
        assert_eq!(world.ask("GET /", None, "::ffff:10.9.9.9"), "allow by network");
        assert_eq!(world.ask("GET /", None, "11.0.0.1"), "deny: Forbidden");
        assert_eq!(world.ask("GET /", None, ""), "deny: Forbidden");
    }

    #[test]
    fn without_networks_anonymous_is_nobodys_network() {
        let rule = json!({ "anonymous": true });
        let world = World::new(&json!({ "routes": [{ "path": "/**", "allow": rule }] }));
        assert_eq!(world.ask("GET /", None, ""), "allow unidentified");
        assert_eq!(world.ask("GET /", Some(&world.cat()), ""), "allow");
    }

    #[test]
    fn people_are_named_by_id_or_verified_email() {
        let rule = json!({ "users": ["2@Example.COM", "00000000-0000-0000-0000-000000000001"] });
        let world = World::new(&json!({ "routes": [{ "path": "/**", "allow": rule }] }));
        let (ann, mut cat) = (world.ann(), world.cat());
        assert_eq!(world.ask("GET /", Some(&ann), ""), "allow");
        assert_eq!(world.ask("GET /", Some(&cat), ""), "allow");
        cat.is_verified = false;
        assert_eq!(world.ask("GET /", Some(&cat), ""), "deny: E-mail not verified");
        cat.email_folded = "3@example.com".into();
        assert_eq!(world.ask("GET /", Some(&cat), ""), "deny: Forbidden");
    }

    #[test]
    fn superusers_hold_no_role_by_that() {
        let world = World::new(&json!({ "routes": [
            { "path": "/super", "allow": { "superuser": true } },
            { "path": "/admin", "allow": { "roles": ["admin"] } },
        ] }));
        let mut cat = world.cat();
        assert_eq!(world.ask("GET /super", Some(&cat), ""), "deny: Forbidden");
        cat.is_superuser = true;
        assert_eq!(world.ask("GET /super", Some(&cat), ""), "allow");
        assert!(world.ask("GET /admin", Some(&cat), "").starts_with("deny"));
    }
}
