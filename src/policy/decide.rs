//! The decision: every route involved must let the request through.

use super::evaluate::{Evaluated, Outcome, Recorder, Silent, evaluate, evaluate_needs};
use super::missing;
use super::rule::{Entry, Gate};
use super::{Decision, Destination, Facts, Missing, Permit, Policy, Refusal, RouteId};

/// What one route says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// Signing in could help.
    Challenge,
    /// It may not.
    Deny,
}

/// What one route makes of a request.
pub(super) struct Passage {
    pub(super) verdict: Verdict,
    /// Whether the identity goes along.
    pub(super) is_identified: bool,
}

/// A recorder that also hears which route is asked.
pub(super) trait Journal: Recorder {
    /// The evaluations since the last call were those of this route.
    fn close(&mut self, route: RouteId, verdict: Verdict);
}

impl Journal for Silent {
    fn close(&mut self, _: RouteId, _: Verdict) {}
}

impl Gate {
    /// Lets one request through, or not.
    pub(super) fn judge<R: Recorder>(&self, facts: &Facts<'_>, recorder: &mut R) -> Passage {
        match &self.entry {
            Entry::Public => Passage { verdict: Verdict::Allow, is_identified: false },
            Entry::Optional(condition) => {
                let held = evaluate(condition, facts, recorder);
                let met = evaluate_needs(&self.needs, facts, recorder);
                let is_identified = facts.caller.is_some() && held.min(met) == Outcome::True;
                Passage { verdict: Verdict::Allow, is_identified }
            }
            Entry::Guarded(condition) => {
                let held = evaluate(condition, facts, recorder);
                if facts.caller.is_none() {
                    let verdict = match held {
                        Outcome::True => Verdict::Allow,
                        Outcome::Unknown => Verdict::Challenge,
                        Outcome::False => Verdict::Deny,
                    };
                    return Passage { verdict, is_identified: false };
                }
                let met = evaluate_needs(&self.needs, facts, recorder);
                let is_identified = held.min(met) == Outcome::True;
                let passes = is_identified
                    || (held == Outcome::True && self.passes_as_anonymous(facts, recorder));
                let verdict = if passes { Verdict::Allow } else { Verdict::Deny };
                Passage { verdict, is_identified }
            }
        }
    }

    /// Whether a caller who cannot be identified here passes as an anonymous one would.
    fn passes_as_anonymous<R: Recorder>(&self, facts: &Facts<'_>, recorder: &mut R) -> bool {
        let anonymous = Facts { caller: None, client: facts.client };
        let outcome = match &self.entry {
            Entry::Guarded(condition) if self.admits_anonymous => {
                evaluate(condition, &anonymous, &mut Silent)
            }
            Entry::Guarded(_) | Entry::Optional(_) | Entry::Public => return false,
        };
        recorder.enter();
        recorder.leave(Evaluated::AsAnonymous, outcome);
        outcome == Outcome::True
    }
}

impl Policy {
    /// Whether deciding needs the caller: false only if every route involved is `public`.
    #[must_use]
    pub fn needs_caller(&self, destination: &Destination) -> bool {
        destination.routes().any(|route| !self.gates[route.0].is_public())
    }

    /// Decides.
    pub fn decide(&self, destination: &Destination, facts: &Facts<'_>) -> Decision {
        self.judge(destination, facts, &mut Silent)
    }

    /// The one implementation behind [`Self::decide`] and [`Self::explain`].
    pub(super) fn judge<J: Journal>(
        &self,
        destination: &Destination,
        facts: &Facts<'_>,
        journal: &mut J,
    ) -> Decision {
        let mut permit = Permit { route: destination.route, identified: false, by_network: false };
        let mut challenged = None;
        let mut denied = None;
        for route in destination.routes() {
            let gate = &self.gates[route.0];
            let passage = gate.judge(facts, journal);
            journal.close(route, passage.verdict);
            match passage.verdict {
                Verdict::Allow => {
                    if route == destination.route {
                        permit.identified = passage.is_identified;
                    }
                    permit.by_network |=
                        !passage.is_identified && gate.asks_networks && !gate.is_open();
                }
                Verdict::Challenge => challenged = challenged.or(Some(route)),
                Verdict::Deny => denied = denied.or(Some(route)),
            }
            if denied.is_some() && !J::IS_THOROUGH {
                break;
            }
        }
        match (denied, challenged) {
            (Some(route), _) => {
                let gate = &self.gates[route.0];
                let (reason, missing) =
                    (missing::reason(gate, facts), missing::fewest(gate, facts));
                Decision::Deny(Refusal { route, reason, missing })
            }
            (None, Some(route)) => {
                let (reason, missing) = ("Unauthorized".to_owned(), Missing::default());
                Decision::Challenge(Refusal { route, reason, missing })
            }
            (None, None) => Decision::Allow(permit),
        }
    }
}

impl Destination {
    /// Every route involved, the chosen one first.
    pub(super) fn routes(&self) -> impl Iterator<Item = RouteId> + '_ {
        std::iter::once(self.route).chain(self.also.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::policy::fixture::World;
    use crate::policy::{Decision, Facts, Located};

    #[test]
    fn the_smallest_useful_file_does_what_it_says() {
        let world = World::new(&json!({ "routes": [
            { "path": "/**", "allow": "authenticated" },
            { "path": "/", "allow": "public" },
            { "path": "/admin/**", "allow": json!({ "roles": ["admin"] }) },
            { "path": "/dashboard/**", "allow": { "permissions": ["dashboard:read"] } },
        ] }));
        assert_eq!(world.warnings(), Vec::<String>::new());
        let (ann, cat) = (world.ann(), world.cat());
        let cases = [
            ("GET /", None, "allow unidentified"),
            ("GET /x", None, "challenge"),
            ("GET /x", Some(&cat), "allow"),
            ("GET /admin", Some(&cat), "deny: Requires one of these roles: ['admin']"),
            ("GET /admin/", Some(&ann), "allow"),
            ("GET /dashboard/a", Some(&cat), "deny: Missing permissions: ['dashboard:read']"),
            ("GET /dashboard/a", Some(&ann), "allow"),
            ("GET /auth/login", Some(&ann), "404"),
        ];
        for (request, caller, expected) in cases {
            assert_eq!(world.ask(request, caller, ""), expected, "{request}");
        }
    }

    #[test]
    fn only_public_routes_need_no_caller() {
        let world = World::new(&json!({ "routes": [
            { "path": "/**", "allow": "public" },
            { "path": "/optional", "allow": "optional" },
            { "path": "/admin", "allow": json!({ "roles": ["admin"] }) },
        ] }));
        for (request, expected) in
            [("GET /", false), ("GET /optional", true), ("GET /admin", true), ("GET /ADMIN", true)]
        {
            let Located::Route(destination) = world.locate(request) else { panic!("{request}") };
            assert_eq!(world.policy.needs_caller(&destination), expected, "{request}");
            let facts = Facts { caller: None, client: None };
            let is_open = matches!(world.policy.decide(&destination, &facts), Decision::Allow(_));
            assert_eq!(is_open, !request.to_lowercase().ends_with("admin"));
        }
    }
}
