//! Compares rules: does one let through everybody the other does?
//!
//! Rules are compared by asking both about callers made of the conditions they name. With more
//! conditions than are tried in every combination the answer is approximate, which is good enough
//! for a warning and used for nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::Facts;
use super::decide::Verdict;
use super::evaluate::Silent;
use super::rule::{Condition, Entry, Gate, Quality};
use crate::identity::access::{Access, Subject};

/// Conditions tried in every combination.
const COMBINED: usize = 6;
/// People and networks looked at.
const SAMPLES: usize = 4;

/// What the rules name.
#[derive(Default)]
struct Named {
    roles: Vec<u32>,
    permissions: Vec<u32>,
    ids: Vec<Uuid>,
    emails: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Something a caller has or has not.
#[derive(Clone, Copy)]
enum Trait {
    Verified,
    Superuser,
    Username,
    Role(u32),
    Permission(u32),
}

/// Whether `one` lets through only callers that `other` lets through too, and not all of them.
pub(super) fn is_stricter(one: &Gate, other: &Gate) -> bool {
    if one.is_open() || (one.entry == other.entry && one.needs == other.needs) {
        return false;
    }
    let mut named = Named::default();
    for gate in [one, other] {
        match &gate.entry {
            Entry::Public => {}
            Entry::Optional(condition) | Entry::Guarded(condition) => named.collect(condition),
        }
    }
    let mut refuses_more = false;
    for caller in named.callers() {
        for client in named.clients() {
            let facts = Facts { caller: caller.as_ref(), client };
            match (passes(one, &facts), passes(other, &facts)) {
                (true, false) => return false,
                (false, true) => refuses_more = true,
                (true, true) | (false, false) => {}
            }
        }
    }
    refuses_more
}

fn passes(gate: &Gate, facts: &Facts<'_>) -> bool {
    gate.judge(facts, &mut Silent).verdict == Verdict::Allow
}

impl Named {
    fn collect(&mut self, condition: &Condition) {
        match condition {
            Condition::Caller(quality) => self.collect_quality(quality),
            Condition::Networks(networks) => {
                self.addresses.extend(networks.iter().map(ipnet::IpNet::addr));
            }
            Condition::All(members) | Condition::Any(members) => {
                for member in members {
                    self.collect(member);
                }
            }
            Condition::Not(member) => self.collect(member),
            Condition::Everybody => {}
        }
    }

    fn collect_quality(&mut self, quality: &Quality) {
        match quality {
            Quality::Roles { set, .. } => self.roles.extend(set.iter()),
            Quality::Permissions { set, .. } => self.permissions.extend(set.iter()),
            Quality::Users { ids, emails } => {
                self.ids.extend(ids);
                self.emails.extend(emails.iter().map(ToString::to_string));
            }
            Quality::SignedIn | Quality::Verified | Quality::Superuser => {}
        }
    }

    fn clients(&self) -> impl Iterator<Item = Option<IpAddr>> {
        self.addresses.iter().take(SAMPLES).copied().map(Some).chain([None])
    }

    /// Nobody, and people with every combination of what the rules name.
    fn callers(&self) -> Vec<Option<Subject>> {
        let traits = self.traits();
        let ids = self.ids.iter().take(SAMPLES).map(|id| (*id, String::new()));
        let emails = self.emails.iter().take(SAMPLES).map(|mail| (Uuid::nil(), mail.clone()));
        let people: Vec<(Uuid, String)> =
            ids.chain(emails).chain([(Uuid::nil(), String::new())]).collect();
        let mut callers = vec![None];
        for mask in masks(traits.len()) {
            for (id, email) in &people {
                callers.push(Some(subject(*id, email, &traits, &mask)));
            }
        }
        callers
    }

    fn traits(&self) -> Vec<Trait> {
        let mut traits = vec![Trait::Verified, Trait::Superuser, Trait::Username];
        let (mut roles, mut permissions) = (self.roles.clone(), self.permissions.clone());
        for list in [&mut roles, &mut permissions] {
            list.sort_unstable();
            list.dedup();
        }
        traits.extend(roles.into_iter().map(Trait::Role));
        traits.extend(permissions.into_iter().map(Trait::Permission));
        traits
    }
}

/// Which of `count` traits a sample has: every combination, or, of many, none, all, one, all but one.
fn masks(count: usize) -> Vec<Vec<bool>> {
    if count <= COMBINED {
        let combinations = 0..1u32 << count;
        return combinations.map(|mask| (0..count).map(|i| mask >> i & 1 == 1).collect()).collect();
    }
    let mut masks = vec![vec![false; count], vec![true; count]];
    for index in 0..count {
        masks.push((0..count).map(|i| i == index).collect());
        masks.push((0..count).map(|i| i != index).collect());
    }
    masks
}

fn subject(id: Uuid, email: &str, traits: &[Trait], mask: &[bool]) -> Subject {
    let mut access = Access::default();
    let mut subject = Subject {
        id,
        email_folded: email.into(),
        is_verified: false,
        has_username: false,
        is_superuser: false,
        access: Arc::default(),
    };
    for (has, _) in traits.iter().zip(mask).filter(|(_, is_set)| **is_set) {
        match has {
            Trait::Verified => subject.is_verified = true,
            Trait::Superuser => subject.is_superuser = true,
            Trait::Username => subject.has_username = true,
            Trait::Role(number) => access.roles.insert(*number),
            Trait::Permission(number) => access.permissions.insert(*number),
        }
    }
    subject.access = Arc::new(access);
    subject
}
