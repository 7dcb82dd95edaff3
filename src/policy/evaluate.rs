//! Three-valued evaluation of conditions: one implementation for the proxy and for `explain`, which
//! differ only in the recorder.

use super::Facts;
use super::rule::{Condition, Need, Quality};
use crate::config::contains;
use crate::identity::access::Subject;

/// Holds, does not hold, or cannot be said of this caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It does not hold.
    False,
    /// It cannot be said.
    Unknown,
    /// It holds.
    True,
}

impl Outcome {
    const fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    const fn negated(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

/// Watches an evaluation.
pub(super) trait Recorder {
    /// Whether every member is looked at, also when the outcome is settled.
    const IS_THOROUGH: bool;

    /// An evaluation begins; those of its members come before the matching `leave`.
    fn enter(&mut self);

    /// It ends.
    fn leave(&mut self, evaluated: Evaluated<'_>, outcome: Outcome);
}

/// What was evaluated.
#[derive(Clone, Copy)]
pub(super) enum Evaluated<'c> {
    Condition(&'c Condition),
    Need(Need),
    /// The caller cannot be identified here and goes on as anonymous, if the rule lets that through.
    AsAnonymous,
}

/// The proxy's recorder: nothing.
pub(super) struct Silent;

impl Recorder for Silent {
    const IS_THOROUGH: bool = false;

    fn enter(&mut self) {}

    fn leave(&mut self, _: Evaluated<'_>, _: Outcome) {}
}

/// Evaluates a condition.
pub(super) fn evaluate<R: Recorder>(
    condition: &Condition,
    facts: &Facts<'_>,
    recorder: &mut R,
) -> Outcome {
    recorder.enter();
    let outcome = match condition {
        Condition::All(members) => lowest(members, facts, recorder),
        Condition::Any(members) => highest(members, facts, recorder),
        Condition::Not(member) => evaluate(member, facts, recorder).negated(),
        Condition::Everybody => Outcome::True,
        Condition::Networks(networks) => {
            Outcome::of(facts.client.is_some_and(|client| contains(networks, client)))
        }
        Condition::Caller(quality) => {
            facts.caller.map_or(Outcome::Unknown, |caller| evaluate_quality(quality, caller))
        }
    };
    recorder.leave(Evaluated::Condition(condition), outcome);
    outcome
}

fn lowest<R: Recorder>(members: &[Condition], facts: &Facts<'_>, recorder: &mut R) -> Outcome {
    let mut outcome = Outcome::True;
    for member in members {
        outcome = outcome.min(evaluate(member, facts, recorder));
        if outcome == Outcome::False && !R::IS_THOROUGH {
            break;
        }
    }
    outcome
}

fn highest<R: Recorder>(members: &[Condition], facts: &Facts<'_>, recorder: &mut R) -> Outcome {
    let mut outcome = Outcome::False;
    for member in members {
        outcome = outcome.max(evaluate(member, facts, recorder));
        if outcome == Outcome::True && !R::IS_THOROUGH {
            break;
        }
    }
    outcome
}

fn evaluate_quality(quality: &Quality, caller: &Subject) -> Outcome {
    match quality {
        Quality::SignedIn => Outcome::True,
        Quality::Roles { set, .. } => Outcome::of(caller.access.roles.intersects(set)),
        Quality::Permissions { set, .. } => Outcome::of(caller.access.permissions.is_superset(set)),
        Quality::Users { ids, emails } => {
            if ids.contains(&caller.id) {
                Outcome::True
            } else if caller.is_verified {
                Outcome::of(emails.contains(&caller.email_folded))
            } else if emails.is_empty() {
                Outcome::False
            } else {
                Outcome::Unknown
            }
        }
        Quality::Verified => Outcome::of(caller.is_verified),
        Quality::Superuser => Outcome::of(caller.is_superuser),
    }
}

/// Whether the caller has everything that is asked beside the rule.
pub(super) fn evaluate_needs<R: Recorder>(
    needs: &[Need],
    facts: &Facts<'_>,
    recorder: &mut R,
) -> Outcome {
    let mut outcome = Outcome::True;
    for need in needs {
        let met = evaluate_need(*need, facts);
        recorder.enter();
        recorder.leave(Evaluated::Need(*need), met);
        outcome = outcome.min(met);
    }
    outcome
}

/// Whether the caller has one thing that is asked beside the rule.
pub(super) fn evaluate_need(need: Need, facts: &Facts<'_>) -> Outcome {
    match (need, facts.caller) {
        (Need::Verified | Need::VerifiedEmail | Need::Username, None) => Outcome::Unknown,
        (Need::Verified | Need::VerifiedEmail, Some(caller)) => Outcome::of(caller.is_verified),
        (Need::Username, Some(caller)) => Outcome::of(caller.has_username),
    }
}
