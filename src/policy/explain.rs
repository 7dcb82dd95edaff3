//! Why a decision is what it is: the very evaluation the proxy runs, written down.

use std::fmt;

use serde::Serialize;

use super::decide::{Journal, Verdict};
use super::evaluate::{Evaluated, Outcome, Recorder};
use super::missing;
use super::rule::{Condition, Gate, Need, Quality, describe_allow};
use super::table::describe_place;
use super::{Decision, Destination, Facts, Missing, Policy, RouteId};

/// A decision and how it came about. Displays as indented text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Verdict,
    /// The name of the route that said so.
    pub route: String,
    /// The text of a refusal's answer.
    pub reason: Option<String>,
    /// Whether the caller's identity goes along.
    pub is_identified: bool,
    /// Whether the request passed only because of `networks`.
    pub is_by_network: bool,
    /// What is lacking on the branch that lacks fewest; empty when allowed.
    pub missing: Missing,
    /// Every route asked, the one chosen by the target as received first.
    pub routes: Vec<RouteTrace>,
}

/// What one route said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteTrace {
    /// Its name.
    pub name: String,
    /// Its methods, host and path.
    pub place: String,
    /// Where it leads.
    pub upstream: String,
    /// Its rule, as configured.
    pub allow: String,
    /// Whether the target as received leads here; else another reading of it (an irregular form, or
    /// letter case) does.
    pub is_chosen: bool,
    /// What it said.
    pub verdict: Verdict,
    /// The conditions, as compiled.
    pub conditions: Vec<ConditionTrace>,
}

/// A condition, its outcome, and those it is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ConditionTrace {
    /// The condition.
    pub condition: String,
    /// Whether it holds.
    pub outcome: Outcome,
    /// Its parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<ConditionTrace>,
}

/// Writes down an evaluation.
struct Writer<'p> {
    policy: &'p Policy,
    chosen: RouteId,
    /// Finished conditions, by depth of what is still open.
    open: Vec<Vec<ConditionTrace>>,
    routes: Vec<RouteTrace>,
}

impl Recorder for Writer<'_> {
    const IS_THOROUGH: bool = true;

    fn enter(&mut self) {
        self.open.push(Vec::new());
    }

    fn leave(&mut self, evaluated: Evaluated<'_>, outcome: Outcome) {
        let of = self.open.pop().unwrap_or_default();
        let trace = ConditionTrace { condition: label(evaluated), outcome, of };
        match self.open.last_mut() {
            Some(siblings) => siblings.push(trace),
            None => self.open.push(vec![trace]),
        }
    }
}

impl Journal for Writer<'_> {
    fn close(&mut self, id: RouteId, verdict: Verdict) {
        let route = self.policy.route(id);
        self.routes.push(RouteTrace {
            name: route.name.clone(),
            place: describe_place(route),
            upstream: route.upstream.name.clone(),
            allow: describe_allow(&route.allow),
            is_chosen: id == self.chosen,
            verdict,
            conditions: std::mem::take(&mut self.open).into_iter().flatten().collect(),
        });
    }
}

impl Policy {
    /// Decides as [`Self::decide`] does, by the same code, and tells why.
    #[must_use]
    pub fn explain(&self, destination: &Destination, facts: &Facts<'_>) -> Explanation {
        let mut writer = Writer {
            policy: self,
            chosen: destination.route,
            open: Vec::new(),
            routes: Vec::new(),
        };
        let decision = self.judge(destination, facts, &mut writer);
        let lacking = |route: RouteId| missing::fewest(&self.gates[route.0], facts);
        let (verdict, route, reason, missing) = match &decision {
            Decision::Allow(permit) => (Verdict::Allow, permit.route, None, Missing::default()),
            Decision::Challenge(refusal) => {
                let reason = Some(refusal.reason.clone());
                (Verdict::Challenge, refusal.route, reason, lacking(refusal.route))
            }
            Decision::Deny(refusal) => {
                let reason = Some(refusal.reason.clone());
                (Verdict::Deny, refusal.route, reason, refusal.missing.clone())
            }
        };
        let (is_identified, is_by_network) = match &decision {
            Decision::Allow(permit) => (permit.identified, permit.by_network),
            Decision::Challenge(_) | Decision::Deny(_) => (false, false),
        };
        Explanation {
            decision: verdict,
            route: self.route(route).name.clone(),
            reason,
            is_identified,
            is_by_network,
            missing,
            routes: writer.routes,
        }
    }
}

fn label(evaluated: Evaluated<'_>) -> String {
    match evaluated {
        Evaluated::Condition(condition) => match condition {
            Condition::All(_) => "all of".to_owned(),
            Condition::Any(_) => "any of".to_owned(),
            Condition::Not(_) => "not".to_owned(),
            Condition::Caller(_) | Condition::Everybody | Condition::Networks(_) => {
                condition.to_string()
            }
        },
        Evaluated::Need(need) => describe_need(need).to_owned(),
        Evaluated::AsAnonymous => "goes on as anonymous, whom the rule lets through".to_owned(),
    }
}

const fn describe_need(need: Need) -> &'static str {
    match need {
        Need::Verified => "verified: true (implied: `accounts.require_verified`)",
        Need::VerifiedEmail => "verified: true (implied: the user header is made from the e-mail)",
        Need::Username => "a username (implied: the user header is made from it)",
    }
}

/// A gate's rule as configured, with what is asked beside it.
pub(super) fn describe_rule(allow: &crate::config::Allow, gate: &Gate) -> String {
    let mut rule = describe_allow(allow);
    for need in gate.needs.iter().filter(|_| !gate.is_public()) {
        rule.push_str(match need {
            Need::Verified | Need::VerifiedEmail => " + verified: true",
            Need::Username => " + username",
        });
    }
    rule
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(quality) => quality.fmt(f),
            Self::Everybody => f.write_str("anonymous: true"),
            Self::Networks(networks) => write!(f, "networks: [{}]", joined(networks)),
            Self::All(members) => write!(f, "all: [{}]", joined(members)),
            Self::Any(members) => write!(f, "any: [{}]", joined(members)),
            Self::Not(member) => write!(f, "not: {{{member}}}"),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("authenticated"),
            Self::Roles { names, .. } => write!(f, "roles: [{}]", names.join(", ")),
            Self::Permissions { names, .. } => {
                let names: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
                write!(f, "permissions: [{}]", names.join(", "))
            }
            Self::Users { ids, emails } => {
                let mut people: Vec<String> = ids.iter().map(ToString::to_string).collect();
                people.extend(emails.iter().map(ToString::to_string));
                write!(f, "users: [{}]", people.join(", "))
            }
            Self::Verified => f.write_str("verified: true"),
            Self::Superuser => f.write_str("superuser: true"),
        }
    }
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::False => "false",
            Self::Unknown => "unknown",
            Self::True => "true",
        })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.roles.is_empty() {
            parts.push(format!("one of these roles: {}", self.roles.join(", ")));
        }
        if !self.permissions.is_empty() {
            parts.push(format!("these permissions: {}", self.permissions.join(", ")));
        }
        if self.verification {
            parts.push("a verified e-mail".to_owned());
        }
        parts.extend(self.other.iter().cloned());
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for ConditionTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = f.width().unwrap_or(0);
        writeln!(f, "{:indent$}{:<8}{}", "", self.outcome, self.condition)?;
        self.of.iter().try_for_each(|part| write!(f, "{part:width$}", width = indent + 2))
    }
}

impl fmt::Display for RouteTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_chosen { "route" } else { "also" };
        writeln!(f, "{how} {}: {} -> {}", self.name, self.place, self.upstream)?;
        writeln!(f, "  allow: {}", self.allow)?;
        self.conditions.iter().try_for_each(|condition| write!(f, "{condition:4}"))?;
        writeln!(f, "  says {}", self.verdict)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.routes.iter().try_for_each(|route| route.fmt(f))?;
        write!(f, "{}", self.decision)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason} (route {})", self.route)?;
        } else if self.is_identified {
            f.write_str(", identity goes along")?;
        } else {
            f.write_str(", without identity")?;
        }
        writeln!(f)?;
        if self.missing != Missing::default() {
            writeln!(f, "lacks: {}", self.missing)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::policy::fixture::{CAT, World};
    use crate::policy::{Explanation, Facts, Located};

    fn explained(world: &World, request: &str, roles: &[&str]) -> Explanation {
        let Located::Route(destination) = world.locate(request) else { panic!("{request}") };
        let mut caller = world.person(CAT, roles);
        caller.is_verified = false;
        let client = "10.1.1.1".parse().ok();
        world.policy.explain(&destination, &Facts { caller: Some(&caller), client })
    }

    fn world() -> World {
        World::new(&json!({ "routes": [
            { "path": "/**", "allow": "authenticated" },
            { "path": "/Admin/**", "preset": "remote-user", "name": "admin", "allow": {
                "any": [{ "roles": ["admin"] }, { "networks": ["10.0.0.0/8"], "verified": true }],
                "not": { "superuser": true },
            } },
        ] }))
    }

    #[test]
    fn an_explanation_shows_every_route_and_condition() {
        let text = explained(&world(), "GET /admin/x", &[]).to_string();
        assert_eq!(
            text,
            "\
route /**: * /** -> app
  allow: authenticated
    true    authenticated
  says allow
also admin: * /Admin/** -> app
  allow: {any: [{roles: [admin]}, {networks: [10.0.0.0/8], verified: true}], not: {superuser: true}}
    false   all of
      true    authenticated
      false   any of
        false   all of
          true    authenticated
          false   roles: [admin]
        false   all of
          true    authenticated
          true    networks: [10.0.0.0/8]
          false   verified: true
      true    not
        false   superuser: true
    false   verified: true (implied: the user header is made from the e-mail)
  says deny
deny: E-mail not verified (route admin)
lacks: one of these roles: admin; a verified e-mail
"
        );
    }

    #[test]
    fn an_explanation_is_json_too() {
        let told = explained(&world(), "GET /x", &[]);
        let json = serde_json::to_value(&told).unwrap_or_default();
        assert_eq!(
            json,
            json!({
                "decision": "allow",
                "route": "/**",
                "reason": null,
                "is_identified": true,
                "is_by_network": false,
                "missing":
                    { "roles": [], "permissions": [], "verification": false, "other": [] },
                "routes": [{
                    "name": "/**",
                    "place": "* /**",
                    "upstream": "app",
                    "allow": "authenticated",
                    "is_chosen": true,
                    "verdict": "allow",
                    "conditions": [{ "condition": "authenticated", "outcome": "true" }],
                }],
            })
        );
    }
}
