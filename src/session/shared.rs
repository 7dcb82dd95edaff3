//! What many sessions hold alike, kept once: sets of roles with what they allow, and names of identity
//! headers. A hundred thousand cached sessions hold few different ones.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;

use crate::clock::Timestamp;
use crate::identity::access::{Access, RoleBook};
use crate::identity::user::RoleGrant;

/// Different values kept of each kind. Beyond it everybody has their own.
const KEPT: usize = 10_000;

/// Values in use under one state of roles and configuration.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Differs between any two states of one process.
    pub(super) generation: u64,
    /// Generation of the configuration it belongs to.
    pub(super) configuration: u64,
    held: Mutex<HashMap<Arc<[RoleGrant]>, Arc<Access>>>,
    names: Mutex<HashSet<Arc<[HeaderName]>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Of a state of roles and configuration.
    pub(super) fn new(generation: u64, configuration: u64) -> Self {
        Self { generation, configuration, ..Self::default() }
    }

    /// What somebody holding `grants` may at `now`, and the grants themselves.
    pub(super) fn access(
        &self,
        roles: &RoleBook,
        grants: Arc<[RoleGrant]>,
        now: Timestamp,
    ) -> (Arc<[RoleGrant]>, Arc<Access>) {
        // What ends means something else at another time.
        if grants.iter().any(|grant| grant.until.is_some()) {
            let access = Arc::new(roles.access(&grants, now));
            return (grants, access);
        }
        let mut held = lock(&self.held);
        if let Some((grants, access)) = held.get_key_value(&grants) {
            return (Arc::clone(grants), Arc::clone(access));
        }
        let access = Arc::new(roles.access(&grants, now));
        if held.len() < KEPT {
            held.insert(Arc::clone(&grants), Arc::clone(&access));
        }
        (grants, access)
    }

    /// A list of names.
    pub(super) fn names(&self, list: Vec<HeaderName>) -> Arc<[HeaderName]> {
        let mut names = lock(&self.names);
        if let Some(known) = names.get(list.as_slice()) {
            return Arc::clone(known);
        }
        let list: Arc<[HeaderName]> = list.into();
        if names.len() < KEPT {
            names.insert(Arc::clone(&list));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::identity::access::Interner;

    fn grants(list: &[(&str, Option<i64>)]) -> Arc<[RoleGrant]> {
        let grant = |(role, until): &(&str, Option<i64>)| RoleGrant {
            role: (*role).to_owned(),
            until: until.map(Timestamp::from_seconds),
        };
        list.iter().map(grant).collect()
    }

    #[test]
    fn the_same_roles_are_one_value_and_those_with_an_end_are_nobody_elses() {
        let roles = BTreeMap::from([("staff".to_owned(), Vec::new())]);
        let book = RoleBook::new(&Interner::default(), &roles, &BTreeMap::new(), &[]);
        let shared = Shared::default();
        let access = |list: &[(&str, Option<i64>)], now| {
            shared.access(&book, grants(list), Timestamp::from_seconds(now))
        };
        let (first, second) = (access(&[("staff", None)], 0), access(&[("staff", None)], 1));
        assert!(Arc::ptr_eq(&first.0, &second.0) && Arc::ptr_eq(&first.1, &second.1));
        assert_eq!(first.1.role_names, ["staff"]);
        assert!(access(&[], 0).1.role_names.is_empty());
        // A value kept from before the end would go on giving the role.
        assert_eq!(access(&[("staff", Some(5))], 4).1.role_names, ["staff"]);
        assert!(access(&[("staff", Some(5))], 5).1.role_names.is_empty());
    }

    #[test]
    fn the_same_names_are_one_list() {
        let shared = Shared::default();
        let list = |names: &[&'static str]| {
            shared.names(names.iter().map(|name| HeaderName::from_static(name)).collect())
        };
        assert!(Arc::ptr_eq(&list(&["a", "b"]), &list(&["a", "b"])));
        assert_eq!(list(&["a"]).len(), 1);
    }
}
