//! Why a request was refused: the text of the answer, and what the caller lacks.

use super::evaluate::{Outcome, Silent, evaluate, evaluate_need};
use super::rule::{Condition, Entry, Gate, Need, Quality};
use super::{Facts, Missing};
use crate::identity::access::Subject;

/// Said where nothing more may be told.
const FORBIDDEN: &str = "Forbidden";

/// The `detail` of the answer: the roles, then the permissions of the rule's own level, then a missing
/// verification; anything inside `any` and `not`, and networks, is not told.
pub(super) fn reason(gate: &Gate, facts: &Facts<'_>) -> String {
    let (Some(caller), Entry::Guarded(condition)) = (facts.caller, &gate.entry) else {
        return FORBIDDEN.to_owned();
    };
    let mut qualities = Vec::new();
    collect_own(condition, &mut qualities);
    let mut lacking = qualities
        .iter()
        .filter_map(|quality| lacking_text(quality, caller))
        .collect::<Vec<(Rank, String)>>();
    lacking.extend(unmet(gate, facts).map(need_text));
    lacking.sort_by_key(|(rank, _)| *rank);
    lacking.into_iter().next().map_or_else(|| FORBIDDEN.to_owned(), |(_, text)| text)
}

/// The order in which the text names what is lacking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Roles,
    Permissions,
    Verification,
    Username,
}

/// The qualities of the rule's own level: those of the map and of its `all` members.
fn collect_own<'c>(condition: &'c Condition, qualities: &mut Vec<&'c Quality>) {
    match condition {
        Condition::Caller(quality) => qualities.push(quality),
        Condition::All(members) => {
            for member in members {
                collect_own(member, qualities);
            }
        }
        Condition::Everybody | Condition::Networks(_) | Condition::Any(_) | Condition::Not(_) => {}
    }
}

fn lacking_text(quality: &Quality, caller: &Subject) -> Option<(Rank, String)> {
    match quality {
        Quality::Roles { set, names } if !caller.access.roles.intersects(set) => {
            let text = format!("Requires one of these roles: {}", quoted(names.iter()));
            Some((Rank::Roles, text))
        }
        Quality::Permissions { names, .. } => {
            let lacking = lacking_permissions(names, caller);
            let text = || format!("Missing permissions: {}", quoted(lacking.iter()));
            (!lacking.is_empty()).then(|| (Rank::Permissions, text()))
        }
        Quality::Verified if !caller.is_verified => Some(need_text(Need::Verified)),
        Quality::Users { ids, emails }
            if !caller.is_verified
                && !ids.contains(&caller.id)
                && emails.contains(&caller.email_folded) =>
        {
            Some(need_text(Need::Verified))
        }
        Quality::SignedIn
        | Quality::Roles { .. }
        | Quality::Users { .. }
        | Quality::Verified
        | Quality::Superuser => None,
    }
}

fn need_text(need: Need) -> (Rank, String) {
    match need {
        Need::Verified | Need::VerifiedEmail => {
            (Rank::Verification, "E-mail not verified".to_owned())
        }
        Need::Username => (Rank::Username, "No username".to_owned()),
    }
}

/// What is asked beside the rule and the caller does not have.
fn unmet(gate: &Gate, facts: &Facts<'_>) -> impl Iterator<Item = Need> {
    gate.needs.iter().copied().filter(|need| evaluate_need(*need, facts) != Outcome::True)
}

fn lacking_permissions(names: &[(u32, String)], caller: &Subject) -> Vec<String> {
    names
        .iter()
        .filter(|(number, _)| !caller.access.permissions.contains(*number))
        .map(|(_, name)| name.clone())
        .collect()
}

/// `['a', 'b']`, as the applications this answer imitates write it.
fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(", "))
}

/// What is lacking on the branch that lacks fewest.
pub(super) fn fewest(gate: &Gate, facts: &Facts<'_>) -> Missing {
    let mut lack = match &gate.entry {
        Entry::Public | Entry::Optional(_) => Lack::default(),
        Entry::Guarded(condition) => lack_of(condition, facts),
    };
    for need in unmet(gate, facts).filter(|_| facts.caller.is_some()) {
        match need {
            Need::Verified | Need::VerifiedEmail => lack.need_verification(),
            Need::Username => lack.need_other("a username".to_owned()),
        }
    }
    lack.missing
}

/// What is lacking, and how much that is. What no grant can help with weighs more between branches
/// that lack equally many.
#[derive(Default)]
struct Lack {
    count: usize,
    beyond_grants: usize,
    missing: Missing,
}

impl Lack {
    fn need_verification(&mut self) {
        if !self.missing.verification {
            self.count += 1;
            self.missing.verification = true;
        }
    }

    fn need_roles(&mut self, names: &[String]) {
        if self.missing.roles.is_empty() {
            self.count += 1;
            self.missing.roles = names.to_vec();
        } else if self.missing.roles != names {
            let text = format!("one of these roles as well: {}", names.join(", "));
            self.need_other(text);
        }
    }

    fn need_permissions(&mut self, names: Vec<String>) {
        for name in names {
            if !self.missing.permissions.contains(&name) {
                self.count += 1;
                self.missing.permissions.push(name);
            }
        }
    }

    fn need_other(&mut self, text: String) {
        if !self.missing.other.contains(&text) {
            self.count += 1;
            self.beyond_grants += 1;
            self.missing.other.push(text);
        }
    }

    fn absorb(&mut self, other: Self) {
        if !other.missing.roles.is_empty() {
            self.need_roles(&other.missing.roles);
        }
        self.need_permissions(other.missing.permissions);
        if other.missing.verification {
            self.need_verification();
        }
        for text in other.missing.other {
            self.need_other(text);
        }
    }
}

fn lack_of(condition: &Condition, facts: &Facts<'_>) -> Lack {
    let mut lack = Lack::default();
    if evaluate(condition, facts, &mut Silent) == Outcome::True {
        return lack;
    }
    match condition {
        Condition::All(members) => {
            for member in members {
                lack.absorb(lack_of(member, facts));
            }
        }
        Condition::Any(members) => {
            let branches = members.iter().map(|member| lack_of(member, facts));
            lack = branches.min_by_key(|lack| (lack.count, lack.beyond_grants)).unwrap_or(lack);
        }
        Condition::Caller(quality) => lack_quality(quality, facts, &mut lack),
        Condition::Not(_) | Condition::Networks(_) | Condition::Everybody => {
            lack.need_other(condition.to_string());
        }
    }
    lack
}

fn lack_quality(quality: &Quality, facts: &Facts<'_>, lack: &mut Lack) {
    match quality {
        Quality::Roles { names, .. } => lack.need_roles(names),
        Quality::Permissions { names, .. } => lack.need_permissions(match facts.caller {
            Some(caller) => lacking_permissions(names, caller),
            None => names.iter().map(|(_, name)| name.clone()).collect(),
        }),
        Quality::Verified => lack.need_verification(),
        Quality::Users { emails, .. } => match facts.caller {
            Some(caller) if !caller.is_verified && emails.contains(&caller.email_folded) => {
                lack.need_verification();
            }
            Some(_) | None => lack.need_other("one of the people the rule names".to_owned()),
        },
        Quality::Superuser => lack.need_other("a superuser".to_owned()),
        Quality::SignedIn => lack.need_other("somebody signed in".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::policy::fixture::{CAT, World};
    use crate::policy::{Decision, Facts, Located, Missing};

    fn world(allow: &Value, preset: &str) -> World {
        World::new(&json!({
            "roles": { "staff": ["a:read"], "editor": ["a:write"] },
            "routes": [{ "path": "/**", "allow": allow, "preset": preset }],
        }))
    }

    #[test]
    fn the_answer_names_roles_then_permissions_then_verification() {
        let cases = [
            (json!({ "roles": ["admin"] }), "Requires one of these roles: ['admin']"),
            (
                json!({ "roles": ["admin", "editor"], "permissions": ["a:write"] }),
                "Requires one of these roles: ['admin', 'editor']",
            ),
            (
                json!({ "permissions": ["a:write", "a:read", "b:x"] }),
                "Missing permissions: ['a:write', 'b:x']",
            ),
            (
                json!({ "roles": ["staff"], "permissions": ["b:x"], "verified": true }),
                "Missing permissions: ['b:x']",
            ),
            (json!({ "roles": ["staff"], "verified": true }), "E-mail not verified"),
            (json!({ "all": [{ "roles": ["admin"] }] }), "Requires one of these roles: ['admin']"),
            (json!({ "any": [{ "roles": ["admin"] }] }), "Forbidden"),
            (json!({ "not": { "roles": ["staff"] } }), "Forbidden"),
            (json!({ "networks": ["10.0.0.0/8"] }), "Forbidden"),
            (json!({ "superuser": true }), "Forbidden"),
        ];
        for (allow, expected) in cases {
            let world = world(&allow, "portcullis");
            let mut caller = world.person(CAT, &["staff"]);
            caller.is_verified = false;
            let answer = world.ask("GET /", Some(&caller), "203.0.113.7");
            assert_eq!(answer, format!("deny: {expected}"), "{allow}");
        }
    }

    #[test]
    fn a_missing_username_is_said() {
        let world = world(&json!("authenticated"), "username");
        let mut cat = world.cat();
        assert_eq!(world.ask("GET /", Some(&cat), ""), "deny: No username");
        cat.has_username = true;
        assert_eq!(world.ask("GET /", Some(&cat), ""), "allow");
    }

    #[test]
    fn who_cannot_be_named_passes_where_an_anonymous_caller_would() {
        let rule =
            json!({ "any": [{ "networks": ["10.0.0.0/8"], "anonymous": true }, "authenticated"] });
        let world = world(&rule, "remote-user");
        let mut cat = world.cat();
        assert_eq!(world.ask("GET /", Some(&cat), "10.0.0.1"), "allow");
        cat.is_verified = false;
        assert_eq!(world.ask("GET /", Some(&cat), "10.0.0.1"), "allow by network");
        assert_eq!(world.ask("GET /", Some(&cat), "11.0.0.1"), "deny: E-mail not verified");
    }

    #[test]
    fn the_branch_that_lacks_fewest_is_named() {
        let lacks = |roles: &[&str], permissions: &[&str]| Missing {
            roles: roles.iter().map(ToString::to_string).collect(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            ..Missing::default()
        };
        let cases = [
            (
                json!({ "roles": ["admin"], "permissions": ["a:read", "a:write"] }),
                lacks(&["admin"], &["a:write"]),
            ),
            (
                json!({ "any": [{ "roles": ["admin"], "permissions": ["a:write"] },
                             { "roles": ["editor"] }] }),
                lacks(&["editor"], &[]),
            ),
            (
                json!({ "any": [{ "networks": ["10.0.0.0/8"] }, { "permissions": ["a:write"] }] }),
                lacks(&[], &["a:write"]),
            ),
            (
                json!({ "any": [{ "permissions": ["a:write", "b:x"] }, { "superuser": true }] }),
                Missing { other: vec!["a superuser".into()], ..Missing::default() },
            ),
            (
                json!({ "roles": ["admin"], "all": [{ "roles": ["editor"] }] }),
                Missing {
                    roles: vec!["admin".into()],
                    other: vec!["one of these roles as well: editor".into()],
                    ..Missing::default()
                },
            ),
        ];
        for (allow, expected) in cases {
            let world = world(&allow, "portcullis");
            let caller = world.person(CAT, &["staff"]);
            let Located::Route(destination) = world.locate("GET /") else { panic!("no route") };
            let facts = Facts { caller: Some(&caller), client: None };
            let Decision::Deny(refusal) = world.policy.decide(&destination, &facts) else {
                panic!("{allow} lets through");
            };
            assert_eq!(refusal.missing, expected, "{allow}");
        }
    }
}
