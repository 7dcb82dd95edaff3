//! What a person may: role and permission names as numbers, and sets of them.
//!
//! The [`Interner`] is append-only, outlives reloads and never reuses a number, so a set made before
//! a reload still means what it meant.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::grant::Grant;
use super::user::{RoleGrant, User};
use crate::clock::Timestamp;

/// A set of small numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BitSet(Vec<u64>);

impl BitSet {
    /// Adds a number.
    pub fn insert(&mut self, number: u32) {
        let word = (number / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Whether the two sets share a number.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether every number of `other` is in this set.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(i, b)| self.0.get(i).copied().unwrap_or(0) & b == *b)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            (0..64u32)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| u32::try_from(i).unwrap_or(u32::MAX) * 64 + bit)
        })
    }
}

impl FromIterator<u32> for BitSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

/// Names of roles and of permissions (never wildcards) as numbers. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    roles: Arc<Mutex<Numbers>>,
    permissions: Arc<Mutex<Numbers>>,
}

/// Names with their numbers, which count up from zero.
type Numbers = HashMap<String, u32>;

impl Interner {
    /// The number of a role, given on first sight.
    #[must_use]
    pub fn role(&self, name: &str) -> u32 {
        number_of(&self.roles, name)
    }

    /// The number of a permission, given on first sight.
    #[must_use]
    pub fn permission(&self, name: &str) -> u32 {
        number_of(&self.permissions, name)
    }
}

fn number_of(numbers: &Mutex<Numbers>, name: &str) -> u32 {
    let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&number) = numbers.get(name) {
        return number;
    }
    let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(name.to_owned(), number);
    number
}

/// Every defined role and what it grants: the file's roles, and the database's where the file
/// declares none of that name; and every permission known by name.
#[derive(Clone, Debug, Default)]
pub struct RoleBook {
    roles: BTreeMap<String, RoleEntry>,
    /// Every known permission with its number: named without `*` by a rule, a file role or a
    /// database role.
    known: Vec<(Grant, u32)>,
    interner: Interner,
}

#[derive(Clone, Debug)]
struct RoleEntry {
    number: u32,
    grants: Vec<Grant>,
}

/// What a person may at some instant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Access {
    /// Roles held that something defines.
    pub roles: BitSet,
    /// Known permissions held.
    pub permissions: BitSet,
    /// Names of the roles held, sorted.
    pub role_names: Vec<String>,
    /// Grants held, sorted, wildcards as they are.
    pub grants: Vec<Grant>,
    /// Every known permission held, then the wildcards held, sorted: the expanded list for headers.
    pub expanded: Vec<String>,
    /// The nearest end of a grant that counted; past it this value is stale.
    pub until: Option<Timestamp>,
}

impl RoleBook {
    /// Puts a book together. `file` wins over `database` for a role both define; `named` are the
    /// permissions that rules name.
    #[must_use]
    pub fn new(
        interner: &Interner,
        file: &BTreeMap<String, Vec<Grant>>,
        database: &BTreeMap<String, Vec<Grant>>,
        named: &[Grant],
    ) -> Self {
        let mut roles = BTreeMap::new();
        for (name, grants) in database.iter().chain(file) {
            let entry = RoleEntry { number: interner.role(name), grants: grants.clone() };
            roles.insert(name.clone(), entry);
        }
        let mut known: Vec<Grant> = named.to_vec();
        known.extend(roles.values().flat_map(|role| role.grants.iter().cloned()));
        known.retain(|grant| !grant.is_wildcard());
        known.sort();
        known.dedup();
        let known = known
            .into_iter()
            .map(|grant| {
                let number = interner.permission(&grant.to_string());
                (grant, number)
            })
            .collect();
        Self { roles, known, interner: interner.clone() }
    }

    /// Whether a role is defined.
    #[must_use]
    pub fn defines(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// The interner its numbers come from.
    #[must_use]
    pub fn interner(&self) -> &Interner {
        &self.interner
    }

    /// What somebody holding `grants` may at `now`. A grant past its end, or of a role that nothing
    /// defines, gives nothing.
    #[must_use]
    pub fn access(&self, grants: &[RoleGrant], now: Timestamp) -> Access {
        let mut access = Access::default();
        for grant in grants {
            if grant.until.is_some_and(|until| until <= now) {
                continue;
            }
            let Some(entry) = self.roles.get(&grant.role) else { continue };
            access.roles.insert(entry.number);
            access.role_names.push(grant.role.clone());
            access.grants.extend(entry.grants.iter().cloned());
            access.until = match (access.until, grant.until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        access.role_names.sort();
        access.role_names.dedup();
        access.grants.sort();
        access.grants.dedup();
        access.permissions = self
            .known
            .iter()
            .filter(|(permission, _)| access.grants.iter().any(|grant| grant.covers(permission)))
            .map(|(_, number)| *number)
            .collect();
        access.expanded = self.expand(&access);
        access
    }

    fn expand(&self, access: &Access) -> Vec<String> {
        let mut list: Vec<String> = self
            .known
            .iter()
            .filter(|(_, number)| access.permissions.contains(*number))
            .map(|(permission, _)| permission.to_string())
            .collect();
        list.extend(access.grants.iter().filter(|g| g.is_wildcard()).map(ToString::to_string));
        list
    }
}

/// What policy needs to know about a signed-in caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The id.
    pub id: Uuid,
    /// The e-mail, folded.
    pub email_folded: Arc<str>,
    /// The e-mail is verified.
    pub is_verified: bool,
    /// A username is set.
    pub has_username: bool,
    /// A superuser.
    pub is_superuser: bool,
    /// Roles and permissions; those who hold the same share it.
    pub access: Arc<Access>,
}

impl Subject {
    /// A person with what they may.
    #[must_use]
    pub fn of(user: &User, access: Arc<Access>) -> Self {
        Self {
            id: user.id,
            email_folded: Arc::clone(&user.email_folded),
            is_verified: user.is_verified,
            has_username: user.username.is_some(),
            is_superuser: user.is_superuser,
            access,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts
            .iter()
            .map(|text| Grant::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
            .collect()
    }

    fn roles(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<Grant>> {
        list.iter().map(|(name, texts)| ((*name).to_owned(), grants(texts))).collect()
    }

    fn held(role: &str, until: Option<i64>) -> RoleGrant {
        RoleGrant { role: role.to_owned(), until: until.map(at) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn names(access: &Access, book: &RoleBook) -> Vec<String> {
        let held = book.known.iter().filter(|(_, number)| access.permissions.contains(*number));
        held.map(|(permission, _)| permission.to_string()).collect()
    }

    #[test]
    fn a_role_of_the_file_hides_the_databases_of_that_name_whole() {
        let interner = Interner::default();
        let file = roles(&[("analyst", &["dashboard:read"])]);
        let database = roles(&[("analyst", &["dashboard:write"]), ("editor", &["pages:write"])]);
        let book = RoleBook::new(&interner, &file, &database, &[]);
        let access = book.access(&[held("analyst", None)], at(0));
        assert_eq!(names(&access, &book), ["dashboard:read"]);
        let access = book.access(&[held("editor", None)], at(0));
        assert_eq!(names(&access, &book), ["pages:write"]);
    }

    #[test]
    fn a_role_that_nothing_defines_gives_nothing_and_is_not_named() {
        let book = RoleBook::new(&Interner::default(), &roles(&[]), &roles(&[]), &[]);
        assert_eq!(book.access(&[held("ghost", None)], at(0)), Access::default());
        assert!(!book.defines("ghost"));
    }

    #[test]
    fn an_expired_grant_gives_nothing_from_its_end_on() {
        let file = roles(&[("admin", &["*:*"]), ("staff", &["a:read"])]);
        let named = grants(&["b:write"]);
        let book = RoleBook::new(&Interner::default(), &file, &roles(&[]), &named);
        let mine = [held("admin", Some(10)), held("staff", Some(20)), held("staff", None)];
        let before = book.access(&mine, at(9));
        assert_eq!(before.role_names, ["admin", "staff"]);
        assert_eq!(names(&before, &book), ["a:read", "b:write"]);
        assert_eq!(before.until, Some(at(10)), "the nearest end");
        let after = book.access(&mine, at(10));
        assert_eq!(after.role_names, ["staff"]);
        assert_eq!(names(&after, &book), ["a:read"]);
        assert_eq!(after.until, Some(at(20)), "ends that passed are not the nearest");
        assert_eq!(book.access(&mine, at(20)).until, None);
    }

    #[test]
    fn a_wildcard_expands_to_every_known_permission_and_then_itself() {
        let file = roles(&[("ops", &["admin:*"]), ("other", &["admin:keys:read", "pages:read"])]);
        let named = grants(&["admin:users:write", "administrator:read"]);
        let book = RoleBook::new(&Interner::default(), &file, &roles(&[]), &named);
        let access = book.access(&[held("ops", None)], at(0));
        assert_eq!(access.expanded, ["admin:keys:read", "admin:users:write", "admin:*"]);
    }

    #[test]
    fn numbers_outlive_the_books_that_gave_them() {
        let interner = Interner::default();
        let role = interner.role("admin");
        let permission = interner.permission("a:read");
        let again = interner.clone();
        assert_eq!(again.role("admin"), role);
        assert_ne!(again.role("editor"), role);
        assert_eq!(again.permission("a:read"), permission);
        assert_ne!(interner.permission("a:write"), permission);
    }

    proptest! {
        #[test]
        fn bit_sets_are_sets(a in proptest::collection::btree_set(0u32..200, 0..20),
                             b in proptest::collection::btree_set(0u32..200, 0..20),
                             probe in 0u32..200) {
            let (one, other): (BitSet, BitSet) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(one.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(one.contains(probe), a.contains(&probe));
            prop_assert_eq!(one.intersects(&other), !a.is_disjoint(&b));
            prop_assert_eq!(one.is_superset(&other), a.is_superset(&b));
            prop_assert_eq!(one.is_empty(), a.is_empty());
        }
    }
}
